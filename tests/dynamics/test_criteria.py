"""Which geometries the criteria let pass; that dynamics ends at them is tested with dynamics."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.dynamics import (
    NVE,
    BondsKept,
    CloserThan,
    Criterion,
    DistanceWindow,
    EnergyBelow,
    Observation,
    init,
    step,
)


def seen(n_copies, energy=0.0):
    zeros = torch.zeros(n_copies, dtype=torch.float64)
    return Observation(
        zeros + energy,
        zeros.new_zeros(0, 3),
        zeros,
        zeros,
        zeros,
        zeros.long(),
        zeros.new_zeros(0),
        zeros.new_zeros(len(zeros), 3, 3),
    )


def failing(criterion, *atoms, reach=None):
    """Which of the structures fail; the edges are those that dynamics provides."""
    structures = with_edges(Structures.from_atoms(atoms), reach or max(getattr(criterion, "reach", 0.0), 0.1))
    return criterion(structures, seen(len(atoms))).tolist()


def stretched(atoms, factor):
    return Atoms(atoms.numbers, factor * atoms.positions)


@pytest.fixture
def mixture(rattled):
    """Molecules of several sizes and elements, heavily distorted."""
    return [one for name in ("H2O", "NH3", "CH3OH", "N2") for one in rattled(molecule(name), 8, stdev=0.25)]


# --- windows of distances -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elements", [("H", "H"), ("O", "H"), ("H", "O"), ("N", "N")])
@pytest.mark.parametrize(("low", "high"), [(1.3, 1.9), (1.4, math.inf), (0.0, 1.7)])
def test_a_window_of_elements_is_about_every_pair_of_them_and_about_no_other(mixture, elements, low, high):
    expected = []
    for atoms in mixture:
        symbols, distances = atoms.get_chemical_symbols(), atoms.get_all_distances()
        pairs = [(i, j) for i in range(len(atoms)) for j in range(i)]
        meant = [distances[i, j] for i, j in pairs if sorted((symbols[i], symbols[j])) == sorted(elements)]
        expected.append(any(not low <= distance <= high for distance in meant))
    found = failing(DistanceWindow(*elements, low=low, high=high), *mixture)
    assert found == expected
    if "N" not in elements:
        assert {True, False} == set(expected)


def test_a_window_of_listed_pairs_is_about_these_alone(mixture):
    window = DistanceWindow((0, 2), (1, 0), low=1.0, high=1.25)
    molecules = [atoms for atoms in mixture if len(atoms) > 2]
    expected = [any(not 1.0 <= atoms.get_distance(*pair) <= 1.25 for pair in ((0, 1), (0, 2))) for atoms in molecules]
    assert failing(window, *molecules) == expected
    assert {True, False} == set(expected)


@pytest.mark.parametrize("window", [DistanceWindow("Na", "Cl", 2.2, 3.4), DistanceWindow((0,), (1,), 2.2, 3.4)])
def test_in_a_crystal_the_nearest_image_counts(window):
    """Three cells so oblique that rounding fractional coordinates finds the wrong image."""
    cells = [np.diag([4.0, 5.0, 6.0]), [[4, 0, 0], [3, 4, 0], [1, 3, 5]], [[5, 0, 0], [-2, 5, 0], [4, 4, 4]]]
    generator = np.random.default_rng(0)
    structures = [
        Atoms("NaCl", scaled_positions=generator.uniform(-1, 2, (2, 3)), cell=cell, pbc=True)
        for cell in cells
        for _ in range(12)
    ]
    nearest = []
    for atoms in structures:
        images = np.stack(np.meshgrid(*[np.arange(-7, 8)] * 3), -1).reshape(-1, 3) @ atoms.cell.array
        nearest.append(np.linalg.norm(atoms.positions[1] + images - atoms.positions[0], axis=1).min())
    expected = [bool(distance < 2.2 or distance > 3.4) for distance in nearest]
    assert failing(window, *structures) == expected
    assert {True, False} == set(expected)
    apart = DistanceWindow("Na", "Cl", low=2.2)
    assert failing(apart, *structures) == [distance < 2.2 for distance in nearest]


def test_an_atoms_own_images_are_no_pair_that_may_be_too_far():
    cell = Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 3]], cell=[2.0, 2.0, 10.0], pbc=True)
    assert failing(DistanceWindow("Ar", "Ar", high=3.5), cell) == [False]
    assert failing(DistanceWindow("Ar", "Ar", high=2.5), cell) == [True]
    assert failing(DistanceWindow("Ar", "Ar", low=2.5), cell) == [True]  # but they may be too close


def test_a_molecule_beside_a_crystal_is_judged_as_if_it_were_alone():
    crystal = bulk("NaCl", "rocksalt", a=5.6)
    window = DistanceWindow("Na", "Cl", 2.0, 3.0)
    bonded, parted = (Atoms("NaCl", [[0, 0, 0], [0, 0, d]]) for d in (2.4, 9.0))
    assert failing(window, bonded, crystal, parted) == [False, False, True]


# --- bonds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n_bonds"), [("H2O", 2), ("NH3", 3), ("CH3OH", 5), ("C6H6", 12), ("C60", 90), ("CH3CONH2", 8)]
)
def test_the_bonds_of_a_molecule_are_those_that_a_chemist_draws(name, n_bonds):
    assert len(BondsKept(molecule(name)).bonds) == n_bonds


def test_a_crystals_bonds_go_to_images_and_each_is_there_once():
    assert len(BondsKept(bulk("Si")).bonds) == 4
    assert len(BondsKept(bulk("Si", cubic=True)).bonds) == 16
    chain = Atoms("C", cell=[1.4, 0, 0], pbc=[True, False, False])
    assert [bond.shift for bond in BondsKept(chain).bonds] in ([(1.0, 0.0, 0.0)], [(-1.0, 0.0, 0.0)])


def test_bonds_are_kept_within_factors_of_their_own_lengths(ammonia):
    kept = BondsKept(ammonia, (0.7, 1.5))
    copies = [stretched(ammonia, factor) for factor in (0.69, 0.71, 1.0, 1.49, 1.51)]
    assert failing(kept, *copies) == [True, False, False, False, True]
    structures = Structures.from_atoms(copies)
    factors = torch.tensor([0.69, 0.71, 1.0, 1.49, 1.51]).double().unsqueeze(1).expand(-1, 3)
    torch.testing.assert_close(kept.stretch(structures), factors)
    gone = ammonia.copy()
    gone.positions[2] *= 2
    assert failing(kept, ammonia, gone) == [False, True]


def test_an_atom_that_has_left_its_cell_is_bonded_as_before():
    silicon = bulk("Si", cubic=True)
    kept = BondsKept(silicon, (0.8, 1.2))
    drifting = silicon.copy()
    drifting.positions += [7.3, -2.0, 11.0]
    hopped = silicon.copy()
    hopped.positions[0] += silicon.cell[0]  # the same crystal, but no bond of this atom survived the way there
    assert failing(kept, silicon, drifting, hopped) == [False, False, True]
    np.testing.assert_allclose([bond.length for bond in kept.bonds], 5.43 * math.sqrt(3) / 4)


# --- in dynamics ----------------------------------------------------------------------------------------------------


def test_no_criterion_asks_the_device(committee, ammonia, never_asks):
    criteria = [
        CloserThan(0.3),
        EnergyBelow(-1e9),
        DistanceWindow("H", "H", 0.5, 9.0),
        DistanceWindow((0, 1), (1, 2), 0.3, 9.0),
        BondsKept(ammonia, (0.1, 9.0)),
    ]
    members = committee(dtype=torch.float32)
    start = Structures.from_atoms([ammonia] * 3)
    state = init(members, start, ensemble=NVE(300.0), seed=0, criteria=criteria)
    with never_asks():
        for _ in range(3):
            state = step(members, state, ensemble=NVE(300.0), timestep=0.5, criteria=criteria)
    assert state.status.tolist() == [0, 0, 0]


def test_criteria_say_in_words_what_they_ask(ammonia):
    criteria = {
        CloserThan(0.5): "atoms closer than 0.5 Å",
        EnergyBelow(-1.25): "energy below -1.25 eV",
        DistanceWindow("H", "H", 0.8, 2.55): "H-H outside 0.8 to 2.55 Å",
        DistanceWindow((0, 0, 1), (1, 2, 0), 0.8): "0-1 0-2 closer than 0.8 Å",
        BondsKept(ammonia): "a bond outside 0.6 to 1.6 of its length",
    }
    for criterion, words in criteria.items():
        assert str(criterion) == words
        assert isinstance(criterion, Criterion)


# --- wrong use ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(2.0, 1.0), (1.0, 1.0), (-0.1, 1.0), (0.0, math.inf), (math.nan, 1.0)])
def test_a_window_that_is_empty_or_excludes_nothing_is_an_error(low, high):
    with pytest.raises(ValueError, match="needs 0 <= low < high, and one of them, got"):
        DistanceWindow("H", "H", low, high)


@pytest.mark.parametrize("pair", [("Hx", "H"), ("h", "H")])
def test_an_unknown_element_is_an_error(pair):
    with pytest.raises(ValueError, match=r"unknown element '(Hx|h)'"):
        DistanceWindow(*pair, low=1.0)


@pytest.mark.parametrize("pair", [("H", (0,)), ((0, 1), (1,)), ((0,), (0,)), ((-1,), (0,)), ((), ())])
def test_lists_that_make_no_pairs_are_an_error(pair):
    with pytest.raises(ValueError, match="two elements, or two lists"):
        DistanceWindow(*pair, low=1.0)


def test_a_criterion_says_if_a_structure_has_nothing_that_it_is_about(ammonia, water):
    structures = Structures.from_atoms([ammonia, water])
    DistanceWindow("H", "H", 0.8).check(structures)
    with pytest.raises(ValueError, match=r"N-H closer than 0\.8 Å: the structure has no pair of N and H"):
        DistanceWindow("N", "H", 0.8).check(structures)
    with pytest.raises(ValueError, match="no pair of O and O"):
        DistanceWindow("O", "O", 0.8).check(structures)
    with pytest.raises(ValueError, match="there is no atom 3; the structure has 3, counted from 0"):
        DistanceWindow((0,), (3,), 0.8).check(structures)
    with pytest.raises(ValueError, match="the bonds are those of another molecule"):
        BondsKept(ammonia).check(structures)
    BondsKept(ammonia).check(structures.take([0, 0]))


def test_bonds_need_bonds_and_factors_around_one(ammonia):
    with pytest.raises(ValueError, match="there are no bonds in Ar2; use CloserThan or DistanceWindow"):
        BondsKept(Atoms("Ar2", [[0, 0, 0], [0, 0, 4]]))
    for factor in ((1.1, 1.6), (0.6, 0.9), (-0.1, 2.0)):
        with pytest.raises(ValueError, match="one below and one above 1, got"):
            BondsKept(ammonia, factor)
