import math

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from sparring.starting_data.relaxation import RelaxationError, relax
from sparring.systems.ammonia import (
    inversion_barrier,
    planar_geometry,
    relax_planar,
    starting_data,
    starting_geometry,
)
from sparring.units import KCAL_PER_MOL

BOND, STIFFNESS = 1.01, 40.0
BETWEEN_HYDROGENS, STIFFNESS_BETWEEN = 1.63, 3.0


class Umbrella(Calculator):
    """Ammonia of springs: hydrogens that are closer than planarity allows, so that it is a pyramid with a barrier.

    Forces may carry noise that does not know of the symmetry, as a network's do in single precision.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, *, between=BETWEEN_HYDROGENS, noise=0.0):
        super().__init__()
        self.between, self.noise = between, noise
        self.generator = np.random.default_rng(0)

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        springs = [(0, i, STIFFNESS, BOND) for i in (1, 2, 3)]
        springs += [(i, j, STIFFNESS_BETWEEN, self.between) for i, j in ((1, 2), (2, 3), (3, 1))]
        energy, forces = 0.0, np.zeros((4, 3))
        for i, j, constant, length in springs:
            vector = self.atoms.positions[j] - self.atoms.positions[i]
            distance = np.linalg.norm(vector)
            energy += constant / 2 * (distance - length) ** 2
            pull = constant * (distance - length) * vector / distance
            forces[i] += pull
            forces[j] -= pull
        self.results = {"energy": energy, "forces": forces + self.noise * self.generator.normal(size=(4, 3))}


class Repulsion(Umbrella):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        arms = self.atoms.positions - self.atoms.positions.mean(axis=0)
        self.results = {"energy": -float((arms**2).sum()), "forces": 2 * arms}


class Broken(Umbrella):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["forces"] = self.results["forces"] * np.nan


def planar_closed_form():
    """Bond and energy where three N-H and three H-H springs balance in the plane."""
    stiff = STIFFNESS + 3 * STIFFNESS_BETWEEN
    bond = (STIFFNESS * BOND + STIFFNESS_BETWEEN * math.sqrt(3) * BETWEEN_HYDROGENS) / stiff
    energy = 1.5 * STIFFNESS * (bond - BOND) ** 2
    return bond, energy + 1.5 * STIFFNESS_BETWEEN * (math.sqrt(3) * bond - BETWEEN_HYDROGENS) ** 2


def test_the_start_is_ammonia_with_the_nitrogen_first():
    atoms = starting_geometry(seed=3)
    assert atoms.get_chemical_symbols() == ["N", "H", "H", "H"]
    assert atoms.info == {"charge": 0, "multiplicity": 1}
    np.testing.assert_allclose(atoms.get_distances(0, [1, 2, 3]), 1.019, atol=2e-3)
    assert (atoms.positions == starting_geometry(seed=3).positions).all()


def test_a_negative_seed_is_an_error():
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        starting_geometry(seed=-1)


def test_planar_ammonia_is_planar_with_three_equal_bonds_and_angles():
    atoms = planar_geometry(1.01)
    assert (atoms.positions[:, 2] == 0).all()
    np.testing.assert_allclose(atoms.get_distances(0, [1, 2, 3]), 1.01)
    np.testing.assert_allclose([atoms.get_angle(1, 0, 2), atoms.get_angle(2, 0, 3), atoms.get_angle(3, 0, 1)], 120)


@pytest.mark.parametrize("bond", [0.75, 0.99, 1.3])
def test_planar_ammonia_relaxes_to_the_balance_of_its_springs(bond):
    planar = relax_planar(Umbrella(), bond=bond)
    expected, energy = planar_closed_form()
    assert planar.get_distance(0, 1) == pytest.approx(expected, abs=1e-5)
    assert planar.get_potential_energy() == pytest.approx(energy, abs=1e-8)
    assert np.abs(planar.get_forces()).max() < 1e-3


def test_a_relaxed_geometry_stays_where_it_is():
    bond, _ = planar_closed_form()
    assert relax_planar(Umbrella(), bond=bond).get_distance(0, 1) == pytest.approx(bond, abs=1e-5)


def test_the_barrier_is_that_of_the_closed_form():
    barrier = inversion_barrier(Umbrella())
    bond, energy = planar_closed_form()
    radius = BETWEEN_HYDROGENS / math.sqrt(3)
    assert barrier.height == pytest.approx(energy, abs=1e-5)
    assert barrier.hydrogen_radius == pytest.approx(radius, abs=1e-3)
    assert barrier.nitrogen_height == pytest.approx(math.sqrt(BOND**2 - radius**2), abs=2e-3)
    assert barrier.planar_bond == pytest.approx(bond, abs=1e-5)


def test_forces_that_respect_symmetry_only_to_rounding_do_not_bend_the_planar_molecule():
    barrier = inversion_barrier(Umbrella(noise=1e-4))
    assert (barrier.planar.positions[:, 2] == 0).all()
    np.testing.assert_allclose(barrier.planar.get_distances(0, [1, 2, 3]), barrier.planar_bond, rtol=1e-14)
    assert barrier.height == pytest.approx(planar_closed_form()[1], abs=1e-4)


def test_a_potential_without_a_barrier_has_none():
    assert inversion_barrier(Umbrella(between=BOND * math.sqrt(3) + 0.05)).height == pytest.approx(0, abs=1e-4)


def test_a_barrier_starts_from_the_geometry_it_is_given():
    start = planar_geometry(1.0)
    start.positions[0, 2] = 0.3
    barrier = inversion_barrier(Umbrella(), start)
    assert barrier.nitrogen_height == pytest.approx(math.sqrt(BOND**2 - BETWEEN_HYDROGENS**2 / 3), abs=2e-3)
    assert start.positions[0, 2] == 0.3


def test_a_potential_without_a_planar_molecule_is_an_error():
    with pytest.raises(RelaxationError, match="the force still points the same way"):
        relax_planar(Repulsion(), bond=1.0)


def test_a_force_that_is_not_finite_is_an_error():
    with pytest.raises(RelaxationError, match=r"the force at a bond of 1\.0000 Å is nan"):
        relax_planar(Broken(), bond=1.0)


def test_starting_data_are_displacements_of_one_pyramid():
    calculator = Umbrella()

    def label_many(structures):
        labelled = [atoms.copy() for atoms in structures]
        for atoms in labelled:
            atoms.info["REF_energy"] = calculator.get_potential_energy(atoms)
            atoms.arrays["REF_forces"] = calculator.get_forces(atoms)
        return labelled

    sample = starting_data(calculator, label_many, seed=0)
    assert len(sample.structures) == 78
    assert sample.modes.frequencies.shape == (6,)
    assert (sample.modes.frequencies > 100).all()
    minimum = sample.minimum
    assert minimum.info["REF_energy"] == pytest.approx(relax(minimum, calculator).get_potential_energy())
    assert all(one.info["REF_energy"] > minimum.info["REF_energy"] for one in sample.structures)
    assert {signed_volume(one) > 0 for one in sample.structures} == {signed_volume(minimum) > 0}
    again = starting_data(calculator, label_many, seed=0)
    assert all((a.positions == b.positions).all() for a, b in zip(sample.structures, again.structures, strict=True))


def signed_volume(ammonia: Atoms) -> float:
    return float(np.linalg.det(ammonia.positions[1:] - ammonia.positions[0]))


@pytest.mark.slow
def test_the_barrier_of_the_dft_is_the_reference_and_costs_nothing_the_second_time(tmp_path):
    from sparring.labels import LabelStore, PySCF, StoredCalculator

    store = LabelStore(tmp_path)
    barrier = inversion_barrier(StoredCalculator(PySCF(method="BP86-D3BJ/def2-SVP"), store))
    assert barrier.height / KCAL_PER_MOL == pytest.approx(6.31, abs=0.01)
    assert barrier.hydrogen_radius == pytest.approx(0.939, abs=1e-3)
    assert barrier.nitrogen_height == pytest.approx(0.425, abs=2e-3)
    assert barrier.planar_bond == pytest.approx(1.011, abs=1e-3)
    n_labels = len(store)
    again = inversion_barrier(StoredCalculator(PySCF(method="BP86-D3BJ/def2-SVP"), store))
    assert again.height == barrier.height
    assert len(store) == n_labels
