"""The smallest cell of a crystal: the same crystal, with as few atoms as it takes."""

import numpy as np
import pytest
from ase.build import bulk, fcc111, make_supercell, molecule

from sparring.atoms.primitive import has_vacuum, is_crystal, primitive

CRYSTALS = {
    "fcc": (bulk("Cu", cubic=True), 1),
    "diamond": (bulk("Si", cubic=True), 2),
    "rocksalt": (bulk("NaCl", "rocksalt", a=5.6, cubic=True), 2),
    "hcp": (bulk("Mg"), 2),
}
SUPERCELLS = {
    "2 x 1 x 3": np.diag([2, 1, 3]),
    "skewed": np.array([[1, 1, 0], [0, 2, 1], [0, 0, 2]]),
    "left-handed": np.array([[0, 2, 0], [2, 0, 0], [0, 0, 1]]),
}


def shells(atoms, radius=6.0):
    """Elements and distances of the neighbours of each element, sorted: the same for each cell of one crystal."""
    n = np.ceil(radius * np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)).astype(int) + 1
    images = np.stack(np.meshgrid(*[np.arange(-k, k + 1) for k in n], indexing="ij"), axis=-1).reshape(-1, 3)
    found = {}
    positions = atoms.get_positions(wrap=True)
    for number, position in zip(atoms.numbers, positions, strict=True):
        away = positions[None] + (images @ atoms.cell.array)[:, None] - position
        distance = np.linalg.norm(away, axis=-1)
        near = (distance > 1e-3) & (distance < radius)
        others = np.broadcast_to(atoms.numbers, distance.shape)[near]
        found[int(number)] = sorted(zip(others.tolist(), distance[near].round(3).tolist(), strict=True))
    return found


@pytest.mark.parametrize("supercell", SUPERCELLS)
@pytest.mark.parametrize("crystal", CRYSTALS)
def test_a_supercell_becomes_the_smallest_cell_of_the_same_crystal(crystal, supercell):
    cell, n_atoms = CRYSTALS[crystal]
    large = make_supercell(cell, SUPERCELLS[supercell])
    small = primitive(large)
    assert len(small) == n_atoms
    assert small.cell.volume / n_atoms == pytest.approx(cell.cell.volume / len(cell))
    assert np.linalg.det(small.cell.array) > 0
    assert shells(small) == shells(cell)
    # It keeps its orientation: the vectors of the large cell are whole numbers of those of the small one.
    multiples = large.cell.array @ np.linalg.inv(small.cell.array)
    np.testing.assert_allclose(multiples, multiples.round(), atol=1e-9)


def test_displaced_atoms_are_averaged():
    cell, n_atoms = CRYSTALS["rocksalt"]
    large = cell * 2
    large.rattle(0.01, seed=1)
    small = primitive(large)
    assert len(small) == n_atoms
    distance = small.get_distance(0, 1, mic=True)
    assert distance == pytest.approx(2.8, abs=0.005)  # the mean of 32 errs by less than each


@pytest.mark.parametrize("change", ["vacancy", "another element", "a large displacement", "a charge", "a moment"])
def test_what_a_smaller_cell_does_not_repeat_stays_as_it_is(change):
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    if change == "vacancy":
        del atoms[0]
    elif change == "another element":
        atoms.symbols[0] = "Au"
    elif change == "a large displacement":
        atoms.positions[0] += 0.3
    elif change == "a charge":
        atoms.info["charge"] = 1
    else:
        atoms.set_initial_magnetic_moments([1.0, -1.0] * 4)
    found = primitive(atoms)
    np.testing.assert_array_equal(found.numbers, atoms.numbers)
    np.testing.assert_array_equal(found.positions, atoms.positions)
    np.testing.assert_array_equal(found.cell.array, atoms.cell.array)


def test_an_ordered_alloy_keeps_its_order():
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[[0, 1]] = "Au"  # layers, as in L1_0
    small = primitive(atoms * (1, 1, 2))
    assert sorted(small.get_chemical_symbols()) == ["Au", "Cu"]
    assert shells(small) == shells(atoms)


def test_slabs_and_boxes_have_vacuum_and_layered_crystals_do_not():
    slab = fcc111("Cu", (1, 1, 3), vacuum=5.0)
    slab.pbc = True
    box = molecule("H2O", vacuum=5.0, pbc=True)
    layers = bulk("Mg")
    layers.set_cell(layers.cell.array * [[1], [1], [1.5]])  # planes 3.9 Å apart, one gap in each cell
    assert [has_vacuum(one) for one in (slab, box, layers)] == [True, True, False]
    assert [is_crystal(one) for one in (slab, box, layers)] == [False, False, True]
    layers.pbc = (True, True, False)
    assert not is_crystal(layers)
