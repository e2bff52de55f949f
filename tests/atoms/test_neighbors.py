import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import neighbor_list

from sparring.atoms.neighbors import distances, edge_vectors, with_edges
from sparring.atoms.structures import Structures

CUTOFF = 4.5


def skewed():
    cell = [[3.0, 0.0, 0.0], [2.5, 2.0, 0.0], [-1.0, 1.5, 2.5]]
    return Atoms("CO", scaled_positions=[[0.1, 0.2, 0.3], [0.7, 0.5, 0.9]], cell=cell, pbc=True)


def out_of_its_cell():
    crystal = bulk("NaCl", "rocksalt", a=5.0, cubic=True)
    crystal.positions += np.random.default_rng(0).integers(-2, 3, crystal.positions.shape) @ crystal.cell.array
    return crystal


PERIODIC = {
    "several images": bulk("NaCl", "rocksalt", a=5.0),
    "one atom that sees only itself": bulk("Cu", a=3.6),
    "skewed": skewed(),
    "atoms outside of their cell": out_of_its_cell(),
    "slab": fcc111("Cu", (2, 2, 3), vacuum=6.0),
    "slab without a third vector": fcc111("Cu", (1, 1, 2)),
    "wire": Atoms("H2", positions=[[0, 0, 0], [0.8, 0.3, 0.1]], cell=[1.9, 0, 0], pbc=[True, False, False]),
    "repeats along the last vector": Atoms("He", cell=[10, 10, 2.0], pbc=[False, False, True]),
}


def sorted_edges(structures):
    source, target, shifts = structures.edges
    return sorted(zip(target.tolist(), source.tolist(), map(tuple, shifts.int().tolist()), strict=True))


def sorted_rows(table):
    return np.array(sorted(np.round(table, 8).tolist()))


def edges_of_ase(atoms, cutoff):
    target, source, shifts = neighbor_list("ijS", atoms, cutoff)
    return sorted(zip(target.tolist(), source.tolist(), map(tuple, shifts.tolist()), strict=True))


@pytest.mark.parametrize("atoms", PERIODIC.values(), ids=PERIODIC)
def test_neighbours_of_a_crystal_are_those_of_ase(atoms):
    structures = with_edges(Structures.from_atoms([atoms]), CUTOFF)
    assert sorted_edges(structures) == edges_of_ase(atoms, CUTOFF)
    assert len(structures.edges.source) > 0


@pytest.mark.parametrize("atoms", PERIODIC.values(), ids=PERIODIC)
def test_edges_point_from_an_atom_to_its_neighbour(atoms):
    structures = with_edges(Structures.from_atoms([atoms]), CUTOFF)
    target, vectors, lengths = neighbor_list("iDd", atoms, CUTOFF)
    found = np.column_stack([structures.edges.target, edge_vectors(structures)])
    np.testing.assert_allclose(sorted_rows(found), sorted_rows(np.column_stack([target, vectors])), atol=1e-8)
    np.testing.assert_allclose(np.sort(distances(structures)), np.sort(lengths), atol=1e-12)


def test_atoms_of_a_molecule_all_see_each_other_however_far_they_are(ammonia, water):
    ammonia.positions[0] += 100.0
    structures = with_edges(Structures.from_atoms([ammonia, water]), cutoff=1.0)
    everyone = [(i, j, (0, 0, 0)) for i in range(4) for j in range(4) if i != j]
    everyone += [(i, j, (0, 0, 0)) for i in range(4, 7) for j in range(4, 7) if i != j]
    assert sorted_edges(structures) == everyone


def test_an_atom_alone_has_no_neighbours(particle, water):
    structures = with_edges(Structures.from_atoms([particle(), water, particle()]), cutoff=3.0)
    assert set(structures.edges.target.tolist()) == {1, 2, 3}
    assert len(with_edges(Structures.from_atoms([particle()]), cutoff=3.0).edges.source) == 0


def test_molecules_and_crystals_in_one_batch_have_the_neighbours_that_they_have_alone():
    atoms = [molecule("NH3"), *PERIODIC.values(), molecule("H2O"), Atoms("X")]
    together = with_edges(Structures.from_atoms(atoms), CUTOFF)
    alone, first = [], 0
    for one in atoms:
        edges = sorted_edges(with_edges(Structures.from_atoms([one]), CUTOFF))
        alone += [(first + target, first + source, shift) for target, source, shift in edges]
        first += len(one)
    assert sorted_edges(together) == alone


def test_edges_are_sorted_by_the_atom_that_looks():
    atoms = [molecule("NH3"), *PERIODIC.values()]
    for batch in (atoms[:1] * 3, atoms):
        target = with_edges(Structures.from_atoms(batch), CUTOFF).edges.target
        assert (target.diff() >= 0).all()


def test_edges_that_are_there_are_kept(water):
    structures = with_edges(Structures.from_atoms([water]), 3.0)
    assert with_edges(structures, 5.0) is structures


@pytest.mark.parametrize("cutoff", [0.0, -1.0])
def test_a_cutoff_that_is_not_positive_is_an_error(water, cutoff):
    with pytest.raises(ValueError, match="the cutoff must be positive"):
        with_edges(Structures.from_atoms([water]), cutoff)


def test_looking_along_edges_that_nobody_has_found_is_an_error(water):
    with pytest.raises(ValueError, match=r"no edges yet; call neighbors\.with_edges"):
        distances(Structures.from_atoms([water]))
