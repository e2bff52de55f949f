"""Neighbours in dynamics of crystals: found a few times, with the trajectories of lists that are found in each step."""

from dataclasses import replace

import pytest
import torch
from ase.build import bulk

from sparring.atoms import verlet
from sparring.atoms.neighbors import distances, with_edges
from sparring.atoms.structures import Structures
from sparring.atoms.verlet import NeighborList
from sparring.committee import Committee
from sparring.dynamics import NPT, NVE, Langevin, simulate


class Morse:
    """Pairs with a minimum at the distance of neighbours in copper; ends smoothly."""

    cutoff = 5.0

    def __call__(self, structures):
        distance = distances(structures)
        well = 0.34 * ((1 - torch.exp(-1.4 * (distance - 2.6))) ** 2 - 1)
        x = (distance / self.cutoff).clamp(max=1.0)
        owner = structures.structure_index[structures.edges.target]
        energies = torch.zeros(structures.n_structures, dtype=distance.dtype)
        return energies.index_add(0, owner, well * (1 - x**2) ** 3 / 2)


def copper(n_copies, stdev=0.05):
    copies = [bulk("Cu", cubic=True) * (2, 2, 2) for _ in range(n_copies)]
    for seed, atoms in enumerate(copies):
        atoms.rattle(stdev, seed=seed)
    return Structures.from_atoms(copies)


def run(start, *, temperature=600.0, n_steps=100, every=10, **options):
    committee = Committee([Morse()])
    ensemble = options.pop("ensemble", NVE(temperature))
    return simulate(committee, start, ensemble=ensemble, timestep=2.0, n_steps=n_steps, seed=0, every=every, **options)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize(
    "ensemble", [NVE(600.0), Langevin(600.0, 0.01), NPT(600.0, 0.03, False)], ids=["nve", "langevin", "npt"]
)
def test_a_hot_crystal_finds_neighbours_a_few_times_and_goes_the_same_way(monkeypatch, searches, ahead, ensemble):
    original = NeighborList.__init__
    monkeypatch.setattr(NeighborList, "__init__", lambda self, cutoff, **_: original(self, cutoff, ahead=ahead))
    monkeypatch.setattr(verlet, "MORE_EDGES", {})
    monkeypatch.setattr(verlet, "SKINS", {"cuda": 0.5})
    kept = run(copper(1), ensemble=ensemble)
    assert 1 < len(searches) <= 20
    fresh = lambda self, structures: with_edges(replace(structures, edges=None), self.cutoff)  # noqa: E731
    monkeypatch.setattr(NeighborList, "update", fresh)
    found = run(copper(1), ensemble=ensemble)
    torch.testing.assert_close(kept.structures.positions, found.structures.positions, rtol=0, atol=1e-7)
    torch.testing.assert_close(kept.energy, found.energy, rtol=0, atol=1e-8)
    torch.testing.assert_close(kept.structures.cells, found.structures.cells, rtol=0, atol=1e-7)
    if ensemble.moves_cells:
        assert kept.volume[-1].item() < 0.96 * kept.volume[0].item()
    assert float((kept.conserved - kept.conserved[0]).abs().max()) < 0.05


def test_replicas_keep_their_bits_in_parts_and_beside_others_that_fail(searches):
    start = copper(3)
    whole, parts = (run(start, max_memory=memory) for memory in (None, 1.0))
    assert torch.equal(whole.structures.positions, parts.structures.positions)
    assert torch.equal(whole.energy, parts.energy)
    hot = NVE(torch.tensor([600.0, 30000.0, 600.0]))
    beside = run(start, ensemble=hot, criteria=[lambda structures, seen: seen.energy > 0.0])
    assert beside.status.tolist() == [0, 2, 0]
    for copy in (0, 2):
        atoms = start.structure_index == copy
        assert torch.equal(whole.structures.positions[atoms], beside.structures.positions[atoms])
