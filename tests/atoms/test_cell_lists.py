"""Cell lists against a plain sum over images, in cells of every kind."""

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from sparring.atoms.cell_lists import FINDERS
from sparring.atoms.neighbors import distances, with_edges
from sparring.atoms.structures import Structures

BOTH = pytest.mark.parametrize("method", list(FINDERS))
CUTOFF = 4.0


def every_image(atoms, cutoff):
    """Pairs within the cutoff, by looking at all atoms in all images that could matter."""
    cell = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
    inverse = np.linalg.pinv(cell)
    span = np.ptp(atoms.positions @ inverse, axis=0)
    n = np.ceil(cutoff * np.linalg.norm(inverse, axis=0) + span).astype(int)
    found = []
    for shift in itertools.product(*(range(-k, k + 1) if p else (0,) for k, p in zip(n, atoms.pbc, strict=True))):
        vectors = atoms.positions[None] + shift @ cell - atoms.positions[:, None]
        for i, j in np.argwhere(np.linalg.norm(vectors, axis=-1) < cutoff):
            if i != j or any(shift):
                found.append((i, j, *shift))
    return sorted(found)


def rows(structures):
    source, target, shifts = structures.edges
    return list(zip(target.tolist(), source.tolist(), *shifts.long().T.tolist(), strict=True))


def random_crystal(seed):
    """A crystal, slab or wire in a skewed cell of either hand, with atoms that may be far outside."""
    rng = np.random.default_rng(seed)
    while True:
        cell = rng.normal(size=(3, 3)) * rng.uniform(1.0, 6.0, (3, 1))
        lengths = np.linalg.norm(cell, axis=1)
        if abs(np.linalg.det(cell)) > max(0.1 * lengths.prod(), 4.0):
            break
    pbc = [(1, 1, 1), (1, 1, 0), (1, 0, 1), (0, 1, 0), (0, 0, 1)][seed % 5]
    n = int(rng.integers(1, 9))
    inside = rng.uniform(0, 1, (n, 3)) @ cell
    outside = rng.integers(-4, 5, (n, 3)) if seed % 2 else np.zeros((n, 3))
    atoms = Atoms(numbers=[14] * n, positions=inside + outside @ cell, cell=cell, pbc=pbc)
    if seed % 3 == 0:
        atoms.set_cell(np.where(np.array(pbc)[:, None], cell, 0.0))
    return atoms


NAMED = {
    "one atom": Atoms("Si", cell=[2.0, 2.1, 2.2], pbc=True),
    "left-handed": Atoms(
        "NaCl", scaled_positions=[[0, 0, 0], [0.4, 0.5, 0.6]], cell=np.eye(3)[[1, 0, 2]] * 3, pbc=True
    ),
    "very skewed": Atoms("C2", positions=[[0, 0, 0], [1, 1, 1]], cell=[[3, 0, 0], [27, 2, 0], [14, 19, 2.5]], pbc=True),
    "far outside": Atoms("He2", positions=[[1e4, -3e4, 7e3], [1, 1, 1]], cell=[3.0, 3.5, 4.0], pbc=True),
    "far from the slab": Atoms("He2", positions=[[0, 0, 0], [1, 1, 1e6]], cell=[3.0, 3.0, 0.0], pbc=[1, 1, 0]),
    "no neighbour": Atoms("He", cell=[20, 20, 20], pbc=True),
    "flat and not periodic": fcc111("Cu", (2, 2, 1)),
}


@BOTH
@pytest.mark.parametrize("atoms", NAMED.values(), ids=NAMED)
def test_pairs_are_those_of_a_sum_over_images(atoms, method):
    # Far outside, the images that a plain sum has to visit are too many: its atoms are compared inside.
    moved = atoms.copy()
    wraps = np.floor(atoms.get_scaled_positions(wrap=False)) * atoms.pbc
    moved.positions -= wraps @ atoms.cell.array
    shift = wraps.astype(int)
    expected = sorted((i, j, *(np.array(s) + shift[i] - shift[j])) for i, j, *s in every_image(moved, CUTOFF))
    found = rows(with_edges(Structures.from_atoms([atoms]), CUTOFF, method=method))
    assert sorted(found) == expected


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_cells_of_every_kind_in_one_batch_have_the_pairs_of_a_sum_over_images(method, dtype):
    batch = []
    for seed in range(60):
        (atoms,) = Structures.from_atoms([random_crystal(seed)], dtype=dtype).to_atoms()  # rounded to the precision
        batch.append(atoms)
        if seed % 7 == 0:
            batch.append(molecule("H2O"))
    expected, first = [], 0
    for atoms in batch:
        found = every_image(atoms, CUTOFF if atoms.pbc.any() else 100.0)
        expected += [(first + i, first + j, *shift) for i, j, *shift in found]
        first += len(atoms)
    structures = with_edges(Structures.from_atoms(batch, dtype=dtype), CUTOFF, method=method)
    assert sorted(rows(structures)) == sorted(expected)
    assert structures.edges.shifts.dtype == dtype


def test_both_find_the_same_edges_in_the_same_order():
    batch = Structures.from_atoms(
        [*map(random_crystal, range(40)), molecule("NH3"), bulk("Cu", cubic=True) * (3, 3, 3)]
    )
    one, other = (with_edges(batch, CUTOFF, method=method) for method in FINDERS)
    for left, right in zip(one.edges, other.edges, strict=True):
        assert torch.equal(left, right)


@BOTH
def test_each_edge_has_its_reverse_and_edges_are_sorted_by_target_and_source(method):
    structures = with_edges(Structures.from_atoms(list(map(random_crystal, range(40)))), CUTOFF, method=method)
    found = rows(structures)
    assert {(j, i, -a, -b, -c) for i, j, a, b, c in found} == set(found)
    assert len(set(found)) == len(found)
    pairs = [(target, source) for target, source, *_ in found]
    assert pairs == sorted(pairs)
    assert float(distances(structures).max()) <= CUTOFF + 1e-9


@BOTH
def test_a_supercell_of_a_cell_smaller_than_the_cutoff_has_as_many_neighbours(method):
    small = bulk("NaCl", "rocksalt", a=5.0)
    one = with_edges(Structures.from_atoms([small]), 5.1, method=method)
    large = with_edges(Structures.from_atoms([small * (4, 4, 4)]), 5.1, method=method)
    assert len(large.edges.target) == 64 * len(one.edges.target)
    lengths = [np.sort(distances(some).numpy()) for some in (one, large)]
    np.testing.assert_allclose(np.repeat(lengths[0], 64), lengths[1], atol=1e-9)


def test_a_cell_list_that_does_not_exist_is_an_error(water):
    with pytest.raises(ValueError, match="unknown cell list 'cells'; wanted one of torch, vesin"):
        with_edges(Structures.from_atoms([water]), 3.0, method="cells")
