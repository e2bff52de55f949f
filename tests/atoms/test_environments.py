import jaxtyping
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, graphene, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from sparring.atoms.environments import cut_environment
from sparring.atoms.inheritance import bare_copy, inherit
from sparring.atoms.reference import FORCES_MASK


def forces_of(atoms):
    free = atoms.copy()
    free.set_constraint()
    free.calc = EMT()
    return free.get_forces()


def shortest(atoms):
    return atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)].min()


@pytest.fixture(scope="module")
def copper():
    crystal = bulk("Cu", cubic=True) * (6, 6, 6)
    crystal.rattle(0.12, seed=1)
    return crystal


@pytest.fixture
def chain():
    """An alkane with fourteen carbon atoms, of standard bonds and angles in zigzag."""
    numbers, positions = [], []
    for i in range(14):
        x, side = 1.28 * i, (-1) ** i
        numbers += [6, 1, 1]
        positions += [(x, 0.0, 0.43 * side), (x, 0.9, 1.03 * side), (x, -0.9, 1.03 * side)]
    ends = [(-0.9, 0.0, -0.2), (1.28 * 13 + 0.9, 0.0, 0.2)]
    return Atoms([*numbers, 1, 1], [*positions, *ends])


@pytest.mark.parametrize(("kind", "shell", "tolerance"), [("periodic", 3.0, 1e-4), ("cluster", 5.0, 1e-4)])
def test_forces_on_the_core_are_those_of_the_large_structure(copper, kind, shell, tolerance):
    cut = cut_environment(copper, 100, core=3.0, shell=shell, kind=kind)
    assert len(cut) < len(copper) / 2
    assert cut.pbc.all() == (kind == "periodic")
    core = cut.arrays[FORCES_MASK]
    near = copper.get_distances(100, range(len(copper)), mic=True) <= 3.0
    assert core.sum() == near.sum() > 10
    found, wanted = forces_of(cut), forces_of(copper)
    np.testing.assert_allclose(found[0], wanted[100], atol=tolerance)
    by_size = [np.sort(np.linalg.norm(rows, axis=1)) for rows in (found[core], wanted[near])]
    np.testing.assert_allclose(*by_size, atol=0.02)


def test_a_cell_is_cut_where_the_lattice_goes_on(copper):
    cut = cut_environment(copper, 7, core=2.7, shell=3.0)
    n = cut.cell.lengths() / (copper.cell.lengths() / 6)
    np.testing.assert_allclose(n, n.round(), atol=0.1)
    assert len(cut) == pytest.approx(4 * np.prod(n.round()), abs=3)  # atoms that have moved through a face
    assert shortest(cut) > 0.9 * shortest(copper)


def test_atoms_outside_the_core_are_fixed_and_only_the_core_has_forces_to_learn(copper):
    cut = cut_environment(copper, 7, core=3.0, shell=3.0)
    (fixed,) = cut.constraints
    assert isinstance(fixed, FixAtoms)
    assert set(fixed.index) == set(np.flatnonzero(~cut.arrays[FORCES_MASK]))
    assert cut.info == {"cut_from": 7}
    heir = inherit(cut, cut)
    assert (heir.arrays[FORCES_MASK] == cut.arrays[FORCES_MASK]).all()
    assert FORCES_MASK in bare_copy(cut).arrays


def test_a_structure_that_is_no_larger_stays_as_it_is():
    primitive = bulk("Cu")
    cut = cut_environment(primitive, 0, core=2.0, shell=4.0)
    np.testing.assert_array_equal(cut.cell.array, primitive.cell.array)
    assert len(cut) == 1


def test_of_a_slab_the_vacuum_stays():
    slab = fcc111("Cu", (10, 10, 3), vacuum=6.0)
    cut = cut_environment(slab, 250, core=2.7, shell=3.0)
    assert cut.pbc.tolist() == [True, True, False]
    assert cut.cell.lengths()[2] == pytest.approx(slab.cell.lengths()[2])
    assert len(cut) % 3 == 0
    assert len(cut) < 100
    np.testing.assert_allclose(forces_of(cut)[0], forces_of(slab)[250], atol=1e-3)


def test_small_molecules_stay_whole_in_a_cell_and_in_a_cluster():
    water = molecule("H2O")
    water.set_cell([3.1] * 3)
    water.pbc = True
    box = water * (6, 6, 6)
    box.rattle(0.05, seed=2)
    box.wrap()
    for kind in ("periodic", "cluster"):
        cut = cut_environment(box, 300, core=3.0, shell=3.0, kind=kind)
        counts = np.bincount(cut.numbers)
        assert counts[1] == 2 * counts[8] < 432 / 2
        oxygen = cut.numbers == 8
        distances = cut.get_all_distances(mic=kind == "periodic")[oxygen]
        assert ((distances < 1.2).sum(1) == 3).all()  # itself, and two hydrogen atoms


@pytest.mark.parametrize(("shell", "formula"), [(1.5, "C5H12"), (3.0, "C7H16"), (30.0, "C14H30")])
def test_single_bonds_that_are_cut_end_in_hydrogen(chain, shell, formula):
    cut = cut_environment(chain, 18, core=1.6, shell=shell)
    assert cut.get_chemical_formula() == formula
    assert 1.0 < shortest(cut) < 1.2
    assert not cut.pbc.any()
    carbon = np.flatnonzero(cut.numbers == 6)
    assert all((cut.get_distances(i, range(len(cut))) < 1.7).sum() == 5 for i in carbon)  # itself and four neighbours


def test_caps_are_no_part_of_the_core(chain):
    cut = cut_environment(chain, 18, core=2.5, shell=0.05)
    caps = np.arange(len(cut) - 2, len(cut))
    assert cut.get_distances(0, caps).max() < 2.5
    assert not cut.arrays[FORCES_MASK][caps].any()


def test_a_double_bond_is_not_cut():
    for name in ("C2H4", "butadiene", "C6H6"):
        assert len(cut_environment(molecule(name), 0, core=0.5, shell=0.5)) == len(molecule(name))


def test_diamond_is_cut_into_a_cluster_whose_caps_do_not_meet():
    diamond = bulk("C", "diamond", a=3.57, cubic=True) * (5, 5, 5)
    cut = cut_environment(diamond, 3, core=2.0, shell=2.0, kind="cluster")
    assert shortest(cut) > 1.0
    assert {int(number) for number in cut.numbers} == {1, 6}


def test_a_kind_that_does_not_exist_is_an_error_for_people_too(monkeypatch, ammonia):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="an environment is periodic or cluster, got 'sphere'"):
        cut_environment(ammonia, 0, kind="sphere")


def test_what_has_no_bond_to_cut_is_an_error_with_a_remedy():
    sheet = graphene(size=(12, 12, 1), vacuum=8.0)
    with pytest.raises(ValueError, match=r"no bond within 6 Å .* can be cut.*cut a periodic environment"):
        cut_environment(sheet, 3, core=2.0, shell=3.0, kind="cluster")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"centre": 5}, "must be an atom from 0 to 3, got 5"),
        ({"core": 0.0}, "must be positive lengths, got 0.0 Å and 6.0 Å"),
        ({"kind": "periodic"}, "has no periodic environments; cut a cluster"),
    ],
)
def test_what_cannot_be_cut_is_an_error(ammonia, changes, message):
    with pytest.raises(ValueError, match=message):
        cut_environment(ammonia, **{"centre": 0, **changes})
