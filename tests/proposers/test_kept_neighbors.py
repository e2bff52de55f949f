"""Neighbours in attacks on crystals: found a few times, with the results of lists that are found in each step."""

from dataclasses import replace

import pytest
import torch
from ase.build import bulk

from sparring.atoms import verlet
from sparring.atoms.neighbors import with_edges
from sparring.atoms.strain import volumes
from sparring.atoms.structures import Structures
from sparring.atoms.verlet import NeighborList
from sparring.committee import Committee
from sparring.potentials import ACE
from sparring.potentials.stacked import StackedModule
from sparring.potentials.stacking import cast
from sparring.proposers.ascent import attack
from sparring.proposers.objectives import force_variance
from sparring.proposers.spaces import Strain

CUTOFF = 5.0


@pytest.fixture
def silicon(rattled):
    """64 atoms."""
    return Structures.from_atoms(rattled(bulk("Si", "diamond", a=5.43, cubic=True) * (2, 2, 2), 1, stdev=0.05))


def aces(n_members=2):
    members = []
    for seed in range(n_members):
        network = ACE(n_features=4, n_interactions=1, cutoff=CUTOFF, mean_neighbors=28.0, energy_scale=0.1)
        network.initialise(torch.Generator().manual_seed(seed))
        members.append(cast(network, dtype=torch.float64))
    return Committee(members)


@pytest.fixture
def found_in_each_step(monkeypatch):
    def switch_on():
        fresh = lambda self, structures: with_edges(replace(structures, edges=None), self.cutoff)  # noqa: E731
        monkeypatch.setattr(NeighborList, "update", fresh)

    return switch_on


def assert_same_ways(one, other):
    close = {"rtol": 1e-7, "atol": 1e-9}
    torch.testing.assert_close(one.positions, other.positions, **close)
    torch.testing.assert_close(one.objective, other.objective, **close)
    torch.testing.assert_close(one.structures.cells, other.structures.cells, **close)


@pytest.fixture(params=["few more edges", "the widest skin"])
def most_searches(request, monkeypatch):
    """Most searches in sixty steps, with the skin of a CPU, where edges cost time, and with that of a graphics card."""
    if request.param == "few more edges":
        return 40
    monkeypatch.setattr(verlet, "MORE_EDGES", {})
    monkeypatch.setattr(verlet, "SKINS", {"cuda": 0.5})
    return 8


@pytest.mark.parametrize("kind", ["ace", "schnet without an envelope"])
def test_an_attack_of_sixty_steps_finds_neighbours_a_few_times(
    silicon, committee, searches, found_in_each_step, most_searches, kind
):
    members = aces() if kind == "ace" else committee(2, cutoff=CUTOFF, envelope="without" not in kind)
    kept = attack(members, silicon, force_variance, seed=0, max_memory=None)
    assert kept.positions.shape[0] == 61
    assert float((kept.positions[-1] - kept.positions[0]).norm(dim=1).max()) > 0.3
    assert 1 < len(searches) <= most_searches
    found_in_each_step()
    assert_same_ways(kept, attack(members, silicon, force_variance, seed=0, max_memory=None))


def test_an_attack_on_the_cell_finds_neighbours_a_few_times(silicon, searches, found_in_each_step, most_searches):
    def small(prediction, structures):
        return -volumes(structures.cells) / 100 + force_variance(prediction, structures)

    options = {"seed": 0, "space": Strain(radius=0.2), "n_steps": 40, "learning_rate": 0.005, "max_memory": None}
    kept = attack(aces(), silicon, small, **options)
    assert float(volumes(kept.cells[-1]) / volumes(kept.cells[0])) < 0.8
    assert 1 < len(searches) <= most_searches
    found_in_each_step()
    assert_same_ways(kept, attack(aces(), silicon, small, **options))


def test_layouts_of_potentials_are_kept_as_long_as_neighbours_are(silicon, searches, monkeypatch):
    seen = []
    original = StackedModule.blocks

    def watched(self, structures):
        blocks = original(self, structures)
        seen.append(id(blocks))
        return blocks

    monkeypatch.setattr(StackedModule, "blocks", watched)
    attack(Committee([cast(one, dtype=torch.float32) for one in aces().members]), silicon, force_variance, seed=0)
    assert len(seen) > 60
    assert len(set(seen)) <= len(searches) + 2  # those that measure the memory


def test_seeds_in_chunks_have_the_neighbours_that_they_have_together(rattled, committee):
    crystals = rattled(bulk("Cu", cubic=True), 2, stdev=0.2) + rattled(bulk("Si", cubic=True), 1, stdev=0.05)
    seeds, options = Structures.from_atoms(crystals), {"seed": 0, "n_steps": 30, "learning_rate": 0.02}
    whole, parts = (
        attack(committee(2, cutoff=4.0), seeds, force_variance, max_memory=memory, **options) for memory in (None, 1.0)
    )
    assert_same_ways(whole, parts)
