import math

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.vibrations import VibrationsData

from sparring.atoms.inheritance import bare_copy
from sparring.starting_data.displacements import uniform_displacements
from sparring.starting_data.normal_modes import NormalModes, hessian, normal_modes
from sparring.starting_data.relaxation import RelaxationError, relax
from sparring.starting_data.sampling import normal_mode_displacements, normal_mode_sample
from sparring.units import kT

# Textbook: a force constant of 1 mdyn/Å (6.2415 eV/Å²) and a reduced mass of 1 u vibrate at 1302.79 cm⁻¹.
WAVENUMBER = 1302.79
MDYN_PER_ANGSTROM = 6.241509


class Springs(Calculator):
    """Harmonic springs between pairs of atoms: (i, j, force constant in eV/Å², length in Å)."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, *springs):
        super().__init__()
        self.springs = springs

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        energy, forces = 0.0, np.zeros((len(self.atoms), 3))
        for i, j, constant, length in self.springs:
            vector = self.atoms.positions[j] - self.atoms.positions[i]
            distance = np.linalg.norm(vector)
            energy += constant / 2 * (distance - length) ** 2
            pull = constant * (distance - length) * vector / distance
            forces[i] += pull
            forces[j] -= pull
        self.results = {"energy": energy, "forces": forces}


class Broken(Springs):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["forces"] = self.results["forces"] * np.nan


def label_with(calculator):
    def label_many(structures):
        labelled = [atoms.copy() for atoms in structures]
        for atoms in labelled:
            atoms.info["REF_energy"] = calculator.get_potential_energy(atoms)
            atoms.arrays["REF_forces"] = calculator.get_forces(atoms)
        return labelled

    return label_many


@pytest.fixture
def water():
    return relax(molecule("H2O"), EMT(), fmax=1e-5)


@pytest.fixture
def water_modes(water):
    return normal_modes(water, hessian(water, label_with(EMT())))


def test_a_copy_to_be_moved_keeps_the_molecule_and_loses_the_label():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.7]], info={"charge": 1, "REF_energy": -1.0, "label": "abc"})
    atoms.arrays["REF_forces"] = np.zeros((2, 3))
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    copy = bare_copy(atoms)
    assert copy.info == {"charge": 1}
    assert set(copy.arrays) == {"numbers", "positions"}
    assert copy.calc is None
    assert atoms.info["REF_energy"] == -1.0


def test_relaxation_finds_the_length_of_the_spring_and_brings_its_energy_along():
    stretched = Atoms("H2", [[0, 0, 0], [0, 0, 1.0]])
    relaxed = relax(stretched, Springs((0, 1, 30.0, 0.74)), fmax=1e-6)
    assert relaxed.get_distance(0, 1) == pytest.approx(0.74, abs=1e-6)
    assert relaxed.get_potential_energy() == pytest.approx(0, abs=1e-10)
    assert np.abs(relaxed.get_forces()).max() < 1e-6
    assert stretched.get_distance(0, 1) == 1.0


def test_a_relaxation_that_does_not_arrive_is_an_error():
    with pytest.raises(RelaxationError, match=r"largest force is .* eV/Å after 1 steps, wanted 0.005"):
        relax(molecule("H2O"), EMT(), max_steps=1)


def test_a_relaxation_on_forces_that_are_not_finite_is_an_error():
    with pytest.raises(RelaxationError, match="forces are not finite after 0 steps"):
        relax(Atoms("H2", [[0, 0, 0], [0, 0, 1.0]]), Broken((0, 1, 30.0, 0.74)))


def test_the_hessian_of_springs_is_their_force_constant():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])
    found = hessian(atoms, label_with(Springs((0, 1, 30.0, 0.74))))
    expected = np.zeros((6, 6))
    expected[np.ix_([2, 5], [2, 5])] = [[30, -30], [-30, 30]]
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_a_hessian_with_a_label_missing_is_an_error():
    with pytest.raises(ValueError, match="needs 12 labels, got 11"):
        hessian(Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]), lambda structures: label_with(EMT())(structures[1:]))


def test_a_diatomic_vibrates_as_the_textbook_says():
    carbon_monoxide = Atoms("CO", [[0, 0, 0], [0, 0, 1.128]])
    constant = 19.02 * MDYN_PER_ANGSTROM
    modes = normal_modes(carbon_monoxide, hessian(carbon_monoxide, label_with(Springs((0, 1, constant, 1.128)))))
    mass_c, mass_o = carbon_monoxide.get_masses()
    reduced = mass_c * mass_o / (mass_c + mass_o)
    assert modes.frequencies == pytest.approx([WAVENUMBER * math.sqrt(19.02 / reduced)], rel=1e-3)
    # Along a displacement of unit length the bond stretches by (m_C + m_O) / sqrt(m_C² + m_O²).
    stretch = (mass_c + mass_o) / math.hypot(mass_c, mass_o)
    assert modes.force_constants == pytest.approx([constant * stretch**2], rel=1e-3)
    assert np.linalg.norm(modes.modes[0]) == pytest.approx(1)


def test_a_linear_molecule_has_3n_minus_5_vibrations():
    atoms = Atoms("OCO", [[0, 0, -1.16], [0, 0, 0], [0, 0, 1.16]])
    constant = 16.0 * MDYN_PER_ANGSTROM
    springs = Springs((0, 1, constant, 1.16), (1, 2, constant, 1.16))
    modes = normal_modes(atoms, hessian(atoms, label_with(springs)))
    mass_o, mass_c, _ = atoms.get_masses()
    symmetric, asymmetric = math.sqrt(16 / mass_o), math.sqrt(16 * (1 / mass_o + 2 / mass_c))
    assert len(modes.frequencies) == 4
    assert modes.frequencies[2:] == pytest.approx([WAVENUMBER * symmetric, WAVENUMBER * asymmetric], rel=1e-3)


def test_frequencies_are_those_of_ase(water, water_modes):
    second_derivatives = hessian(water, label_with(EMT()))
    reference = VibrationsData.from_2d(water, second_derivatives).get_frequencies()[6:].real
    np.testing.assert_allclose(water_modes.frequencies, reference, rtol=1e-5)


def test_modes_neither_move_nor_turn_the_molecule(water, water_modes):
    masses = water.get_masses()[:, None]
    arms = water.positions - water.get_center_of_mass()
    for mode in water_modes.modes:
        assert np.abs((masses * mode).sum(axis=0)).max() < 1e-10
        assert np.abs(np.cross(arms, masses * mode).sum(axis=0)).max() < 1e-10


def test_the_frequencies_do_not_depend_on_where_the_molecule_stands(water):
    turned = water.copy()
    turned.rotate(37, (1, 2, 3))
    turned.translate((10, -20, 5))
    here, there = (normal_modes(one, hessian(one, label_with(EMT()), step=1e-3)) for one in (water, turned))
    np.testing.assert_allclose(there.frequencies, here.frequencies, rtol=1e-3)


def test_an_imaginary_frequency_is_negative():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])
    assert normal_modes(atoms, -hessian(atoms, label_with(Springs((0, 1, 30.0, 0.74))))).frequencies[0] < -1000


def test_one_atom_does_not_vibrate():
    assert normal_modes(Atoms("Ar"), np.zeros((3, 3))).frequencies.shape == (0,)


def test_a_crystal_may_not_turn_so_only_translations_are_taken_out():
    crystal = Atoms("Al2", [[0, 0, 0], [0, 0, 2.0]], cell=[4, 4, 4], pbc=True)
    assert normal_modes(crystal, np.eye(6)).modes.shape == (3, 2, 3)


def test_a_hessian_that_is_not_finite_is_an_error(water):
    with pytest.raises(ValueError, match="81 elements that are not finite"):
        normal_modes(water, np.full((9, 9), np.nan))


def test_displacements_have_the_energy_of_the_classical_ensemble(water, water_modes):
    temperature, n_structures = 10.0, 4000  # cold enough for straight lines: the bend of this water is soft
    drawn = normal_mode_displacements(water, water_modes, n_structures, temperatures=(temperature, temperature), seed=0)
    second_derivatives = hessian(water, label_with(EMT()))
    delta = np.array([one.positions - water.positions for one in drawn]).reshape(n_structures, -1)
    energies = np.einsum("si,ij,sj->s", delta, second_derivatives, delta) / 2
    # Equipartition: kT/2 for each of three modes; its spread over structures is kT sqrt(3/2).
    spread = kT(temperature) * math.sqrt(1.5 / n_structures)
    assert energies.mean() == pytest.approx(1.5 * kT(temperature), abs=4 * spread)


def test_displacements_carry_their_provenance_and_no_label(water, water_modes):
    water.info.update(charge=0, REF_energy=-1.0)
    water.set_constraint(FixAtoms([0]))
    drawn = normal_mode_displacements(water, water_modes, 20, seed=1)
    temperatures = [one.info.pop("temperature") for one in drawn]
    assert all(250 <= temperature <= 750 for temperature in temperatures)
    assert all(one.info == {"charge": 0, "source": "normal_mode", "parent": -1} for one in drawn)
    assert all((one.positions[0] == water.positions[0]).all() for one in drawn)
    assert all((one.positions[1:] != water.positions[1:]).any() for one in drawn)


def test_the_same_seed_draws_the_same_bits_however_many_are_drawn(water, water_modes):
    few, many = (normal_mode_displacements(water, water_modes, n, seed=7) for n in (3, 9))
    assert all((a.positions == b.positions).all() for a, b in zip(few, many, strict=False))
    other = normal_mode_displacements(water, water_modes, 1, seed=8)
    assert not np.allclose(few[0].positions, other[0].positions)


def test_imaginary_and_soft_modes_are_left_alone():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])
    along = np.array([[[0, 0, 1.0], [0, 0, -1.0]], [[0, 1.0, 0], [0, -1.0, 0]], [[1.0, 0, 0], [-1.0, 0, 0]]]) / 2**0.5
    modes = NormalModes(
        frequencies=np.array([-500.0, 49.0, 51.0]), modes=along, force_constants=np.array([-1.0, 0.001, 1.0])
    )
    delta = normal_mode_displacements(atoms, modes, 1, seed=0)[0].positions - atoms.positions
    assert np.abs(delta[:, 0]).min() > 0
    assert np.abs(delta[:, 1:]).max() == 0


def test_a_molecule_without_a_stiff_mode_cannot_be_displaced_along_one():
    modes = normal_modes(Atoms("Ar"), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="Ar has no vibration above 50"):
        normal_mode_displacements(Atoms("Ar"), modes, 1, seed=0)


@pytest.mark.parametrize("temperatures", [(0.0, 300.0), (500.0, 300.0), (300.0, math.inf)])
def test_temperatures_out_of_order_are_an_error(water, water_modes, temperatures):
    with pytest.raises(ValueError, match="temperatures must be positive, the lower one first"):
        normal_mode_displacements(water, water_modes, 1, temperatures=temperatures, seed=0)


def test_from_a_rough_geometry_to_labelled_data_around_its_minimum():
    sample = normal_mode_sample(molecule("H2O"), EMT(), label_with(EMT()), n_structures=5, seed=0)
    assert len(sample.structures) == 5
    assert all(one.info["REF_energy"] > sample.minimum.info["REF_energy"] for one in sample.structures)
    assert np.abs(sample.minimum.arrays["REF_forces"]).max() < 0.005
    assert sample.minimum.info["source"] == "minimum"
    assert sample.minimum.calc is None


def test_uniform_displacements_fill_their_interval_and_no_more():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])
    drawn = uniform_displacements(atoms, 500, amplitude=0.3, seed=0)
    delta = np.array([one.positions - atoms.positions for one in drawn])
    assert 0.29 < np.abs(delta).max() <= 0.3
    assert np.abs(delta).mean() == pytest.approx(0.15, abs=0.01)
    assert drawn[0].info["source"] == "displacement"
    again = uniform_displacements(atoms, 1, amplitude=0.3, seed=0)
    assert (again[0].positions == drawn[0].positions).all()


@pytest.mark.parametrize("amplitude", [0.0, -1.0, math.nan, math.inf])
def test_an_amplitude_that_is_no_length_is_an_error(amplitude):
    with pytest.raises(ValueError, match="must be a positive length"):
        uniform_displacements(Atoms("H"), 1, amplitude=amplitude, seed=0)


def test_a_virial_does_not_move_along_with_atoms(water):
    water.info.update(virial=[1.0] * 9, REF_stress=[0.0] * 6, weight=2.0)
    assert set(bare_copy(water).info) == {"weight"}
