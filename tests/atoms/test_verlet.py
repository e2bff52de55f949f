"""Lists that are kept while atoms move: every pair within the cutoff, few searches, the same tensors in between."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from sparring.atoms.neighbors import distances, with_edges
from sparring.atoms.strain import strained
from sparring.atoms.structures import Structures
from sparring.atoms.verlet import NeighborList

CUTOFF = 4.0


def batch(dtype=torch.float64):
    """A crystal, a slab, a wire, a molecule and a small left-handed, skewed cell."""
    skewed = Atoms(
        "NaCl", scaled_positions=[[0, 0, 0], [0.4, 0.5, 0.6]], cell=[[0, 4, 1], [5, 1, 0], [1, -1, 4]], pbc=1
    )
    wire = Atoms("HF", positions=[[0, 0, 0], [0.8, 0.3, 9.0]], cell=[2.5, 0, 0], pbc=[1, 0, 0])
    silicon = bulk("Si", "diamond", a=5.43, cubic=True)
    atoms = [silicon, fcc111("Cu", (2, 2, 3), vacuum=5.0), wire, molecule("H2O"), skewed]
    return Structures.from_atoms(atoms, dtype=dtype)


def rows(structures, cutoff=None):
    source, target, shifts = structures.edges
    found = list(zip(target.tolist(), source.tolist(), *shifts.long().T.tolist(), strict=True))
    near = [True] * len(found) if cutoff is None else (distances(structures) < cutoff).tolist()
    return [row for row, is_near in zip(found, near, strict=True) if is_near]


def walk(structures, n_steps, *, length, strain=0.0, seed=0):
    """A path with steps of this length in all directions, also beyond the skin; cells and what is in them strained."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n_steps):
        yield structures
        step = torch.randn(structures.positions.shape, generator=generator, dtype=torch.float64)
        structures = structures.with_positions(structures.positions + length * step.to(structures.positions))
        matrix = torch.randn(structures.n_structures, 3, 3, generator=generator, dtype=torch.float64)
        matrix = matrix * (structures.pbc.any(1)[:, None, None] * strain)
        structures = strained(structures, ((matrix + matrix.mT) / 2).to(structures.positions))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("length", "strain"), [(0.01, 0.0), (0.003, 0.003), (0.2, 0.05), (0.0, 0.01)])
@pytest.mark.parametrize("ahead", [False, True])
def test_the_list_has_every_pair_within_the_cutoff_at_each_step(dtype, length, strain, ahead):
    neighbors = NeighborList(CUTOFF, ahead=ahead)
    for structures in walk(batch(dtype), 40, length=length, strain=strain):
        followed = neighbors.update(structures)
        while not neighbors.is_complete():
            followed = neighbors.update(structures)
        fresh = with_edges(replace(structures, edges=None), CUTOFF)
        # Molecules have longer edges, and so may all others.
        expected = rows(fresh, CUTOFF - 1e-5)
        missing = set(expected) - set(rows(followed))
        assert not missing
        assert [row for row in rows(followed, CUTOFF - 1e-5) if row in set(expected)] == expected


@pytest.mark.parametrize("ahead", [False, True])
def test_edges_stay_sorted_each_with_its_reverse(ahead):
    neighbors = NeighborList(CUTOFF, ahead=ahead)
    for structures in walk(batch(), 30, length=0.03, strain=0.003):
        found = rows(neighbors.update(structures))
        neighbors.is_complete()
        assert {(j, i, -a, -b, -c) for i, j, a, b, c in found} == set(found)
        pairs = [(target, source) for target, source, *_ in found]
        assert pairs == sorted(pairs)


def test_edges_are_the_same_tensors_until_an_atom_has_moved_by_half_of_the_skin(searches):
    structures = Structures.from_atoms([bulk("Si", "diamond", a=5.43, cubic=True)])
    neighbors = NeighborList(CUTOFF, skin=0.5, more_edges=10.0)  # the widest skin: 0.5 Å
    first = neighbors.update(structures)
    # One atom moves against the centre of eight: by 7/8 of its shift.
    for shift, is_kept in [(0.1, True), (0.28, True), (0.3, False)]:
        positions = structures.positions.clone()
        positions[3, 1] += shift
        moved = neighbors.update(structures.with_positions(positions))
        assert all(one is other for one, other in zip(moved.edges, first.edges, strict=True)) == is_kept
    assert searches == [1, 1]


def test_a_shift_of_the_whole_and_a_strain_of_the_whole_do_not_move_atoms_against_each_other(searches):
    structures = batch()
    neighbors = NeighborList(CUTOFF, skin=0.5, more_edges=10.0)
    first = neighbors.update(structures)
    far = neighbors.update(structures.with_positions(structures.positions + 100.0))
    assert far.edges is first.edges
    strain = (
        0.03 * torch.eye(3, dtype=torch.float64).expand(structures.n_structures, 3, 3) * structures.pbc.unsqueeze(1)
    )
    assert neighbors.update(strained(structures, strain)).edges is first.edges
    assert len(searches) == 1


def test_only_structures_that_are_due_are_found_anew_and_each_list_depends_on_its_own_path_only(searches):
    together, alone = NeighborList(CUTOFF), NeighborList(CUTOFF)
    calm = Structures.from_atoms([bulk("Cu", cubic=True)])
    for wild, _ in zip(walk(batch(), 30, length=0.05), range(30), strict=True):
        both = Structures.from_atoms(wild.to_atoms() + calm.to_atoms())
        calm = calm.with_positions(calm.positions + 0.01 * torch.sin(calm.positions + len(searches)))
        both = both.with_positions(torch.cat([wild.positions, calm.positions]))
        found = [row for row in rows(together.update(both)) if row[0] >= wild.n_atoms]
        own = [(i + wild.n_atoms, j + wild.n_atoms, *shift) for i, j, *shift in rows(alone.update(calm))]
        assert found == own
    assert min(searches) < 6


def test_some_of_the_structures_keep_their_lists(searches):
    structures = batch()
    neighbors = NeighborList(CUTOFF)
    whole = neighbors.update(structures)
    chosen = torch.tensor([0, 2, 3])
    few = neighbors.take(chosen).update(structures.take(chosen))
    kept = np.isin(structures.structure_index.numpy(), chosen)
    number = dict(zip(np.flatnonzero(kept).tolist(), range(kept.sum()), strict=True))
    assert rows(few) == [(number[i], number[j], *shift) for i, j, *shift in rows(whole) if kept[i]]
    assert len(searches) == 1


def test_a_skin_is_wide_where_distances_have_gaps_and_narrow_where_it_would_cost(searches):
    crystal = bulk("Si", "diamond", a=5.43, cubic=True) * (2, 2, 2)
    gas = Atoms("He100", positions=np.random.default_rng(0).uniform(0, 12, (100, 3)), cell=[12, 12, 12], pbc=True)
    structures = Structures.from_atoms([crystal, gas])
    exact = with_edges(structures, 4.7)
    found = NeighborList(4.7).update(structures)
    owner = structures.structure_index
    before, after = (torch.bincount(owner[some.edges.target]) for some in (exact, found))
    assert before[0] == after[0]
    assert before[1] < after[1] < 1.05 * before[1]
    assert found.longer_edges
    assert found.edge_cutoff == 4.7


def test_a_list_that_is_found_ahead_of_time_is_seldom_found_too_late(searches):
    structures, late, n_steps = batch(), 0, 200
    neighbors = NeighborList(CUTOFF, skin=0.5, more_edges=10.0, ahead=True)
    direction = torch.randn(structures.positions.shape, generator=torch.Generator().manual_seed(0)).double()
    for step in range(n_steps):
        moved = structures.with_positions(structures.positions + 0.004 * step * direction)
        neighbors.update(moved)
        late += not neighbors.is_complete()
    assert late == 0
    assert len(searches) < n_steps / 5


def test_an_update_that_was_never_asked_about_is_followed_by_a_search(searches):
    neighbors = NeighborList(CUTOFF, ahead=True)
    for structures in walk(batch(), 3, length=0.0):
        neighbors.update(structures)
    assert searches == [5, 5, 5]


def test_atoms_of_molecules_alone_keep_all_their_pairs(water, searches):
    neighbors = NeighborList(CUTOFF)
    structures = Structures.from_atoms([water])
    first = neighbors.update(structures)
    again = neighbors.update(structures.with_positions(3 * structures.positions))
    assert again.edges is first.edges
    assert len(first.edges.target) == 6
    assert len(searches) == 1


def test_positions_that_are_not_finite_do_not_loop(searches):
    structures = Structures.from_atoms([molecule("H2O"), bulk("Cu")])
    neighbors = NeighborList(CUTOFF, ahead=True)
    for value in (0.0, torch.nan):
        positions = structures.positions.clone()
        positions[0, 0] += value
        neighbors.update(structures.with_positions(positions))
        while not neighbors.is_complete():
            neighbors.update(structures.with_positions(positions))
    assert len(searches) < 4


def test_a_skin_that_is_not_positive_and_a_slack_without_a_list_are_errors(water):
    with pytest.raises(ValueError, match=r"the skin must be positive, got 0\.0 Å"):
        NeighborList(CUTOFF, skin=0.0)
    with pytest.raises(ValueError, match=r"no neighbours yet; call update\(structures\) first"):
        NeighborList(CUTOFF).slack(Structures.from_atoms([water]))
