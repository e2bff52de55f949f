"""Whatever names people give to atoms' images, lattice vectors, origin and axes, a crystal is the same crystal."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, graphene

from sparring.atoms.crystals import Crystal, crystal_distance, least_distance


def distance(first, second, *, align=True, permute=False):
    crystals = [Crystal.of(one.positions, one.cell.array, one.pbc) for one in (first, second)]
    return crystal_distance(*crystals, first.numbers, align=align, permute=permute)


def rattled(atoms, seed=1, stdev=0.1):
    copy = atoms.copy()
    copy.rattle(stdev, seed=seed)
    return copy


@pytest.fixture
def copper():
    return rattled(bulk("Cu", cubic=True))


@pytest.fixture
def quartz_like():
    """A triclinic cell of two elements."""
    cell = [[5.0, 0.0, 0.0], [-2.3, 4.4, 0.0], [0.6, 0.3, 5.6]]
    return rattled(Atoms("Si2O4", np.random.default_rng(0).uniform(size=(6, 3)) @ cell, cell=cell, pbc=True))


@pytest.fixture
def slab():
    platinum = fcc111("Pt", (2, 2, 3), vacuum=6.0)
    platinum.pbc = (True, True, False)
    return rattled(platinum, stdev=0.05)


@pytest.fixture
def chain():
    positions = [[0, 0, 0], [0.7, 1.2, 0], [0, -1, 0.1], [0.7, 2.2, 0.3]]
    return Atoms("C2H2", positions, cell=[2.5, 0, 0], pbc=[True, False, False])


SHAPES = ("copper", "quartz_like", "slab", "chain")


@pytest.fixture(params=SHAPES)
def crystal(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("align", [True, False])
def test_an_atom_that_leaves_through_a_wall_is_where_it_was(crystal, align):
    through = crystal.copy()
    axis = int(np.flatnonzero(crystal.pbc)[0])
    through.positions[0] += crystal.cell[axis]
    through.positions[1] -= 3 * crystal.cell[axis]
    assert distance(crystal, through, align=align) == pytest.approx(0, abs=1e-12)


def test_the_origin_and_the_axes_of_a_crystal_are_nobodys_business(crystal):
    moved = crystal.copy()
    moved.translate([0.3, 0.2, 1.1])
    moved.rotate(37, (1, 2, 3), rotate_cell=True)
    moved.wrap()
    assert distance(crystal, moved) == pytest.approx(0, abs=1e-9)
    assert distance(crystal, moved, align=False) > 0.3


def test_other_lattice_vectors_of_the_same_lattice_are_the_same_crystal(quartz_like):
    renamed = quartz_like.copy()
    a, b, c = quartz_like.cell
    renamed.set_cell([a, b + a, c - 2 * b])
    renamed.wrap()
    assert distance(quartz_like, renamed) == pytest.approx(0, abs=1e-12)
    assert distance(quartz_like, renamed, align=False) == pytest.approx(0, abs=1e-12)


def test_a_crystal_turned_by_a_quarter_within_its_cubic_cell_is_the_same(copper):
    quarter = copper.copy()
    quarter.rotate(90, "z", rotate_cell=False)
    quarter.wrap()
    assert distance(copper, quarter) == pytest.approx(0, abs=1e-9)


def test_a_slab_turned_upside_down_is_the_same_and_its_vacuum_does_not_count(slab):
    turned = slab.copy()
    turned.rotate(180, "x", rotate_cell=True)
    turned.cell[2] = [0, 0, 50.0]
    assert distance(slab, turned) == pytest.approx(0, abs=1e-9)


def test_a_mirror_image_is_another_crystal(quartz_like):
    mirrored = quartz_like.copy()
    mirrored.set_cell(mirrored.cell.array * [1, 1, -1], scale_atoms=True)
    assert distance(quartz_like, mirrored) > 0.1


def test_exchanged_atoms_count_only_without_permutation(crystal):
    exchanged = crystal[np.lexsort((np.random.default_rng(3).permutation(len(crystal)), crystal.numbers))]
    crystal = crystal[np.argsort(crystal.numbers, kind="stable")]
    if (crystal.positions == exchanged.positions).all():
        exchanged = crystal[[1, 0, *range(2, len(crystal))]]
    exchanged.wrap()
    assert distance(crystal, exchanged) > 0.04
    assert distance(crystal, exchanged, permute=True, align=False) == pytest.approx(0, abs=1e-9)
    if crystal.pbc.sum() > 1:  # a chain is turned about its axis as its atoms are numbered
        exchanged.translate([0.4, 0.1, 0.2])
        exchanged.rotate(50, (1, 1, 0), rotate_cell=True)
        assert distance(crystal, exchanged, permute=True) == pytest.approx(0, abs=1e-9)


def test_equal_positions_in_another_cell_are_another_crystal(copper):
    other = copper.copy()
    other.set_cell(other.cell * 1.05)
    for align in (True, False):
        assert distance(copper, other, align=align) > 0.12


@pytest.mark.parametrize("strain", [0.001, 0.05])
def test_a_strain_counts_as_much_as_it_changes_the_distance_of_nearest_neighbours(strain):
    perfect = bulk("Cu", cubic=True)
    stretched = perfect.copy()
    stretched.set_cell(perfect.cell * (1 + strain), scale_atoms=True)
    nearest = 3.61 / np.sqrt(2)
    assert distance(perfect, stretched) == pytest.approx(np.log1p(strain) * nearest * (1 + strain / 2), rel=1e-9)
    assert distance(perfect, stretched, align=False) == pytest.approx(distance(perfect, stretched), rel=1e-3)


def test_crystals_of_one_atom_differ_by_their_cells_and_by_nothing_else():
    copper, wider, elsewhere = bulk("Cu"), bulk("Cu", a=3.7), bulk("Cu")
    elsewhere.positions += 0.7
    assert distance(copper, wider) == pytest.approx(np.log(3.7 / 3.61) * (3.61 + 3.7) / 2 / np.sqrt(2))
    assert distance(copper, elsewhere) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("permute", [False, True])
def test_supercells_are_as_far_apart_as_the_crystals_that_they_repeat(copper, permute):
    strained = copper.copy()
    strained.set_cell(copper.cell.array @ np.array([[1.02, 0.01, 0], [0, 0.99, 0], [0, 0, 1.01]]), scale_atoms=True)
    strained.rattle(0.02, seed=9)
    single = distance(copper, strained, permute=permute)
    for repeats in ((2, 1, 1), (2, 2, 2)):
        pair = [one.repeat(repeats) for one in (copper, strained)]
        assert distance(*pair, permute=permute) == pytest.approx(single, rel=1e-6)


def test_atoms_that_move_a_little_are_as_far_apart_as_they_moved(crystal):
    moves = np.random.default_rng(5).normal(scale=0.02, size=crystal.positions.shape)
    moved = crystal.copy()
    moved.positions += moves
    assert distance(crystal, moved, align=False) == pytest.approx(np.sqrt((moves**2).sum(1).mean()), rel=1e-9)
    centred = moves - moves.mean(axis=0)
    most = np.sqrt((centred**2).sum(1).mean())
    assert 0.5 * most < distance(crystal, moved) <= most * (1 + 1e-9)


def test_a_distance_is_the_same_both_ways_and_keeps_to_the_triangle(quartz_like):
    generator = np.random.default_rng(0)
    three = []
    for seed in range(3):
        one = rattled(quartz_like, seed=seed, stdev=0.05)
        one.set_cell(one.cell.array @ (np.eye(3) + generator.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
        one.rotate(40 * seed, (1, 0, 1), rotate_cell=True)
        three.append(one)
    there = np.array([[distance(a, b) for b in three] for a in three])
    np.testing.assert_allclose(there, there.T, atol=1e-9)
    np.testing.assert_allclose(there.diagonal(), 0, atol=1e-9)
    assert there[0, 2] <= there[0, 1] + there[1, 2]


@pytest.mark.parametrize("align", [True, False])
def test_the_bound_from_volumes_is_never_above_the_distance(align, quartz_like):
    generator = np.random.default_rng(1)
    for _ in range(20):
        other = rattled(quartz_like)
        other.set_cell(other.cell.array @ (np.eye(3) + generator.normal(scale=0.05, size=(3, 3))), scale_atoms=True)
        pair = [Crystal.of(one.positions, one.cell.array, one.pbc) for one in (quartz_like, other)]
        measured = crystal_distance(*pair, quartz_like.numbers, align=align, permute=False)
        assert least_distance(*pair) <= measured * (1 + 1e-9)


def test_a_sheet_in_a_skewed_cell_knows_its_symmetry():
    sheet = rattled(graphene(size=(2, 2, 1), vacuum=5.0), stdev=0.03)
    sheet.pbc = (True, True, False)
    turned = sheet[np.random.default_rng(0).permutation(len(sheet))]
    turned.rotate(60, "z", rotate_cell=False)
    turned.wrap()
    assert distance(sheet, turned, permute=True) == pytest.approx(0, abs=1e-9)
