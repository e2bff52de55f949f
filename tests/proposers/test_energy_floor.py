import dataclasses
import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.emt import EMT

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.structures import Structures
from sparring.committee import Prediction
from sparring.proposers.energy_floor import EnergyFloor, below_floor, reachable
from sparring.proposers.formulas import objective_of
from sparring.proposers.spaces import Cartesian
from sparring.units import kT

THERMAL = kT(300.0) / 2
K, LENGTH, LOWEST = 40.0, 1.2, -7.0


def by_emt(frames):
    for atoms in frames:
        copy = atoms.copy()
        copy.calc = EMT()
        atoms.info[ENERGY], atoms.arrays[FORCES] = copy.get_potential_energy(), copy.get_forces()
    return Dataset.from_atoms(frames)


def spring(length):
    """A molecule of two atoms whose energy is that of the floor's own formula."""
    atoms = Atoms("N2", [[0, 0, 0], [length, 0, 0]])
    longer = max(length, LENGTH)
    x, slope = (length - LENGTH) / longer, LENGTH / longer**2 if length > LENGTH else 1 / LENGTH
    atoms.info[ENERGY], pull = LOWEST + 0.5 * K * x**2, K * x * slope
    atoms.arrays[FORCES] = np.array([[pull, 0, 0], [-pull, 0, 0]])
    return atoms


def counted(strain):
    """Strain that counts: all of a little, half of much."""
    reach = THERMAL * (1 + 4 * math.sqrt(2))
    return strain / 2 + reach / 2 * (1 - math.exp(-strain / reach))


def agreeing(energies, structures):
    energy = torch.tensor(energies, dtype=torch.float64).expand(2, -1)
    return Prediction(energy, torch.zeros(2, structures.n_atoms, 3, dtype=torch.float64))


@pytest.fixture
def springs():
    return Dataset.from_atoms([spring(LENGTH * s) for s in (0.98, 0.99, 1.01, 1.02)])


def test_the_floor_of_a_bond_is_its_energy_where_the_labels_are_those_of_the_formula(springs):
    floor = EnergyFloor.from_dataset(300.0, springs)
    far = [spring(LENGTH * s) for s in (0.7, 1.0, 1.3, 2.0)]
    expected = torch.tensor([LOWEST + counted(atoms.info[ENERGY] - LOWEST) for atoms in far], dtype=torch.float64)
    torch.testing.assert_close(floor(Structures.from_atoms(far)), expected, rtol=0, atol=2e-4)


def test_the_minimum_below_all_labels_is_no_hole_and_a_strained_geometry_of_that_energy_is_one(springs):
    # A floor at the lowest label plus f kT/2 would reward the relaxation of the molecule.
    assert springs.energy.min() > LOWEST + 0.001
    structures = Structures.from_atoms([spring(LENGTH), spring(LENGTH * 1.3)])
    depth = below_floor(300.0, springs)(agreeing([LOWEST, LOWEST], structures), structures)
    expected = counted(0.5 * K * (0.3 / 1.3) ** 2) / THERMAL
    torch.testing.assert_close(depth, torch.tensor([math.log(2), expected]).double(), rtol=2e-2, atol=0)


def test_no_label_within_reach_lies_below_its_own_floor_and_one_of_them_is_on_it(ammonia, water, rattled):
    data = by_emt([*rattled(ammonia, 30, stdev=0.01), *rattled(water, 30, stdev=0.01)])
    above = data.energy - EnergyFloor.from_dataset(300.0, data)(data.structures)
    assert above.min() > -1e-10
    assert above[:30].min() < 1e-10
    assert above[30:].min() < 1e-10


def test_labels_beyond_reach_do_not_change_the_floor(springs):
    wrong = spring(LENGTH * 1.2)
    wrong.info[ENERGY] = LOWEST + 0.2  # the formula has 0.56 eV
    more = Dataset.from_atoms([*springs.to_atoms(), wrong])
    structures = Structures.from_atoms([spring(LENGTH * 1.3)])
    assert torch.equal(
        EnergyFloor.from_dataset(300.0, more)(structures), EnergyFloor.from_dataset(300.0, springs)(structures)
    )


def test_without_forces_and_in_crystals_the_floor_is_the_lowest_label(salt, rattled):
    bare = [spring(LENGTH * s) for s in (0.98, 1.03)]
    for atoms in bare:
        del atoms.arrays[FORCES]
    crystals = rattled(salt, 2)
    for index, atoms in enumerate(crystals):
        atoms.info[ENERGY], atoms.arrays[FORCES] = -20.0 - 1e-3 * index, np.ones((len(atoms), 3))
    data = Dataset.from_atoms([*bare, *crystals])
    lowest = [bare[0].info[ENERGY]] * 2 + [-20.001] * 2
    torch.testing.assert_close(EnergyFloor.from_dataset(300.0, data)(data.structures), torch.tensor(lowest).double())


def test_each_molecule_and_each_charge_has_a_floor_of_its_own_and_others_have_none(springs, water):
    ion = spring(LENGTH)
    ion.info.update({ENERGY: 3.0, "charge": 1})
    floor = EnergyFloor.from_dataset(300.0, Dataset.from_atoms([*springs.to_atoms(), ion]))
    longer = Atoms("N3", positions=np.eye(3))
    found = floor(Structures.from_atoms([spring(LENGTH), ion, water, longer]))
    torch.testing.assert_close(found[:2], torch.tensor([LOWEST, 3.0]).double(), rtol=0, atol=1e-3)
    assert torch.isnan(found[2:]).all()


def test_energies_within_reach_cost_nothing_and_those_above_the_square_of_their_excess(springs):
    structures = springs.structures.take([0, 0, 0])
    deviation = math.sqrt(0.5) * kT(300.0)
    reach = LOWEST + THERMAL + 4 * deviation
    score = reachable(300.0, springs)(agreeing([reach - 1.0, reach - 0.01, reach + 0.5], structures), structures)
    torch.testing.assert_close(score, -torch.tensor([0.0, 0.0, (0.5 / deviation) ** 2]).double(), rtol=1e-3, atol=0)


@pytest.mark.parametrize(("term", "above"), [(below_floor, -0.1), (reachable, 0.5)])
def test_the_slope_of_a_hole_seeking_term_is_that_of_finite_differences(
    term, above, committee, ammonia, water, rattled, slope, copies
):
    members, data = committee(), by_emt([*rattled(ammonia, 5, stdev=0.03), *rattled(water, 5, stdev=0.03)])
    seeds, space = Structures.from_atoms([*rattled(ammonia, 1, seed=7), *rattled(water, 1, seed=7)]), Cartesian()
    # Labels are moved so that predictions lie near the floor, or beyond reach: no term is zero.
    floors, predicted = EnergyFloor.from_dataset(300.0, data)(seeds), members.predict(seeds).energy.mean(0)
    shift = (predicted - floors - above).detach().repeat_interleave(5)
    shifted = dataclasses.replace(data, energy=data.energy + shift)
    objective = term(300.0, shifted)
    delta = space.initial(seeds, torch.Generator().manual_seed(0))

    def score(points):
        moved = space.displace(copies(seeds, len(points)), points.flatten(0, 1))
        return objective(members.predict(moved), moved).reshape(len(points), -1).sum(1)

    point = delta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(point.unsqueeze(0)).sum(), point)
    torch.testing.assert_close(gradient, slope(score, delta, step=1e-4), rtol=1e-6, atol=1e-6)
    assert gradient.abs().max() > 1e-3


def test_atoms_that_are_turned_and_moved_have_the_same_floor(ammonia, rattled):
    floor = EnergyFloor.from_dataset(300.0, by_emt(rattled(ammonia, 10, stdev=0.03)))
    (one,) = rattled(ammonia, 1, seed=5)
    turned = one.copy()
    turned.rotate(50, (1, 2, 3))
    turned.translate([3.0, -1.0, 2.0])
    found = floor(Structures.from_atoms([one, turned]))
    assert found[0].item() == pytest.approx(found[1].item())


def test_no_term_of_pairs_makes_the_device_wait(committee, ammonia, rattled, never_asks):
    formula = "below_floor(300 K) + reachable(300 K) + bond_window(0.8, 1.3) + mutual_repulsion(0.1 Å, among=2)"
    data = by_emt(rattled(ammonia, 3))
    members, objective = committee().without_domain(), objective_of(formula, reference=data)
    structures = members.prepare(data.structures)
    prediction = members.predict(structures)
    objective(prediction, structures)  # tables are copied to the device once
    with never_asks():
        objective(prediction, structures)


@pytest.mark.parametrize("temperature", [0.0, -3.0, math.inf, math.nan])
@pytest.mark.parametrize("term", [below_floor, reachable])
def test_a_temperature_that_is_not_positive_is_an_error(term, temperature, springs):
    with pytest.raises(ValueError, match="the temperature of the floor must be positive, got"):
        term(temperature, springs)
