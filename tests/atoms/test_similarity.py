import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from scipy.cluster.hierarchy import fcluster
from scipy.cluster.hierarchy import linkage as tree
from scipy.spatial.distance import squareform

from sparring.atoms.geometry import rmsd_matrix, rmsd_of_pairs
from sparring.atoms.permutations import least_permuted_rmsd
from sparring.atoms.similarity import alike
from sparring.atoms.structures import Structures


def partition(clusters):
    return sorted(np.flatnonzero(clusters == one).tolist() for one in np.unique(clusters))


def distorted(name, n, *, stdev, seed=0):
    """Copies that are rattled, turned, and whose like atoms are exchanged."""
    generator = np.random.default_rng(seed)
    copies = []
    for index in range(n):
        one = molecule(name)
        one.rattle(stdev, seed=seed + index)
        one.rotate(generator.uniform(0, 360), generator.normal(size=3))
        order = np.lexsort((generator.permutation(len(one)), one.numbers))
        copies.append(one[order])
    return copies


def compare_all(atoms, *, rmsd, permute, linkage):
    """The plain way: every distance, one tree."""
    positions = np.stack([one.positions for one in atoms])
    matrix = rmsd_matrix(positions, atoms[0].numbers, permute=permute)
    return fcluster(tree(squareform(matrix), method=linkage), t=rmsd, criterion="distance")


@pytest.mark.parametrize("linkage", ["average", "single", "complete"])
@pytest.mark.parametrize(("name", "permute"), [("NH3", True), ("NH3", False), ("CH3CHO", True)])
@pytest.mark.parametrize("rmsd", [0.03, 0.1, 0.2])
def test_clusters_are_those_of_a_tree_of_all_distances(name, permute, linkage, rmsd):
    atoms = distorted(name, 25, stdev=0.08)
    clusters = alike(Structures.from_atoms(atoms), rmsd=rmsd, permute=permute, linkage=linkage)
    assert partition(clusters) == partition(compare_all(atoms, rmsd=rmsd, permute=permute, linkage=linkage))


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("name", ["NH3", "CH3CHO", "C6H6"])
def test_the_bound_of_the_permuted_rmsd_is_never_above_it_and_says_something(name, align):
    atoms = distorted(name, 8, stdev=0.1)
    positions = np.stack([one.positions for one in atoms])
    first, second = np.triu_indices(len(atoms), k=1)
    bounds = least_permuted_rmsd(positions, first, second, atoms[0].numbers, align=align)
    measured = rmsd_of_pairs(positions, first, second, atoms[0].numbers, align=align, permute=True)
    assert (bounds <= measured + 1e-12).all()
    assert np.median(bounds / measured) > (0.2 if align else 0.0)


def test_ruling_permutations_out_finds_the_best_of_all_of_them():
    atoms = distorted("CH3CHO", 6, stdev=0.15)[:6]
    ethanols = distorted("CH3CH2OH", 4, stdev=0.2)
    for group in (atoms, ethanols):
        positions, numbers = np.stack([one.positions for one in group]), group[0].numbers
        hydrogens = np.flatnonzero(numbers == 1)
        carbons = np.flatnonzero(numbers == 6)
        for i, j in itertools.combinations(range(3), 2):
            best = np.inf
            for c, h in itertools.product(itertools.permutations(carbons), itertools.permutations(hydrogens)):
                order = np.arange(len(numbers))
                order[carbons], order[hydrogens] = c, h
                pair = np.stack([positions[i], positions[j][order]])
                best = min(best, rmsd_of_pairs(pair, np.array([0]), np.array([1]))[0])
            found = rmsd_of_pairs(positions, np.array([i]), np.array([j]), numbers, permute=True)[0]
            assert found == pytest.approx(best, abs=1e-12)


def test_progress_ends_with_all_pairs_and_never_goes_back():
    seen = []
    atoms = [*distorted("CH3CHO", 40, stdev=0.01), *distorted("H2O", 5, stdev=0.1), bulk("Cu"), bulk("Cu")]
    structures = Structures.from_atoms(atoms)
    alike(structures, rmsd=0.1, permute=True, progress=lambda done, total: seen.append((done, total)))
    total = 40 * 39 // 2 + 5 * 4 // 2 + 1
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) > 2


def test_single_atoms_of_one_element_are_alike_wherever_they_are():
    atoms = [Atoms("H"), Atoms("O"), Atoms("H", [[3.0, 0, 0]]), Atoms("X"), Atoms("X", [[1.0, 0, 0]])]
    assert partition(alike(Structures.from_atoms(atoms), rmsd=0.01)) == [[0, 2], [1], [3], [4]]
    assert partition(alike(Structures.from_atoms(atoms[:3]), rmsd=0.01, align=False)) == [[0], [1], [2]]


def test_molecules_crystals_slabs_and_single_atoms_are_told_apart_in_one_batch(water):
    slab = fcc111("Cu", (1, 1, 4), vacuum=5.0)
    slab.pbc = (True, True, False)
    copper = bulk("Cu", cubic=True)
    cluster = copper.copy()
    cluster.pbc = False
    wider = copper.copy()
    wider.set_cell(copper.cell * 1.05, scale_atoms=True)
    turned = copper.copy()
    turned.rotate(20, "x", rotate_cell=True)
    turned.translate([0.5, 0.5, 0])
    upside = slab.copy()
    upside.rotate(180, "y", rotate_cell=True)
    atoms = [copper, slab, cluster, water, Atoms("Cu"), wider, turned, upside, bulk("Cu"), Atoms("Cu", [[5.0, 0, 0]])]
    found = partition(alike(Structures.from_atoms(atoms), rmsd=0.05))
    assert found == [[0, 6], [1, 7], [2], [3], [4, 9], [5], [8]]


def test_a_molecule_in_a_box_that_repeats_is_a_crystal_and_without_it_a_molecule(water):
    boxed = [water.copy(), water.copy()]
    for one, angle in zip(boxed, (0, 70), strict=True):
        one.rotate(angle, "y")
        one.set_cell([8.0, 9.0, 10.0])
    assert len(set(alike(Structures.from_atoms(boxed), rmsd=0.05))) == 1
    for one in boxed:
        one.pbc = True
    assert len(set(alike(Structures.from_atoms(boxed), rmsd=0.05))) == 2
