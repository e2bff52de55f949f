"""What users give that cannot be right: one clear error for each, and attacks that go on without it."""

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from torch import nn

from sparring.atoms.neighbors import distances, with_edges
from sparring.atoms.structures import Structures
from sparring.candidates import Status
from sparring.committee import Committee
from sparring.potentials.looped import require_same_precision
from sparring.proposers.ascent import attack
from sparring.proposers.objectives import force_variance


class Repulsion(nn.Module):
    """Atoms that repel each other; with dropout, and without a number for atoms that overlap."""

    cutoff = 6.0
    elements = ("H", "O")

    def __init__(self, strength=1.0, *, overlap=0.0, dropout=0.0):
        super().__init__()
        self.strength = nn.Parameter(torch.tensor(strength, dtype=torch.float64))
        self.overlap, self.dropout = overlap, nn.Dropout(dropout)

    def forward(self, structures):
        d = distances(structures)
        pairs = self.dropout(self.strength * torch.exp(-d)) * torch.where(d < self.overlap, torch.nan, 1.0)
        owner = structures.structure_index[structures.edges.target]
        return pairs.new_zeros(structures.n_structures).index_add(0, owner, pairs)


@pytest.fixture
def pair():
    return Structures.from_atoms([Atoms("OH", positions=[[0, 0, 0], [0, 0, 1.0]])])


@pytest.mark.parametrize(
    "what", [lambda e: (e, -e), lambda e: {"forces": e}, lambda e: None, lambda e: e.detach().numpy()]
)
def test_a_model_that_returns_no_energies_is_named_with_what_it_returns(pair, what):
    def model(structures):
        return what(Repulsion()(structures))

    model.cutoff = 6.0
    with pytest.raises(
        ValueError, match=r"member 1 \(model\) must return a tensor .* in eV, got (tuple|dict|None|nda)"
    ):
        Committee([Repulsion(), model]).predict(pair)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_member_in_half_precision_is_named(dtype):
    with pytest.raises(ValueError, match=rf"member 1 \(Repulsion\) has weights in {dtype}.*call \.float\(\)"):
        Committee([Repulsion(), Repulsion().to(dtype)])


def test_a_member_on_another_device_is_named():
    with pytest.raises(
        ValueError, match=r"same device: member 1 \(Repulsion\) has meta, member 0 cpu; call \.to\(cpu\)"
    ):
        require_same_precision([Repulsion(), Repulsion().to("meta")])


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_compiled_member_is_named():
    with pytest.raises(ValueError, match=r"member 1 \(OptimizedModule\) is compiled by torch\.compile"):
        require_same_precision([Repulsion(), torch.compile(Repulsion())])


def test_an_element_that_members_do_not_know_is_named():
    with pytest.raises(ValueError, match="has C, on which the committee was not trained"):
        Committee([Repulsion(), Repulsion(2.0)]).predict(Structures.from_atoms([Atoms("C")]))


def test_dropout_of_a_model_in_training_mode_is_switched_off(pair):
    model = Repulsion(dropout=0.9).train()
    committee = Committee([model, Repulsion(2.0)])
    first, second = (committee.predict(pair, differentiable=False).energy for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert model.training


def test_edges_that_do_not_reach_the_cutoff_are_refused_and_longer_ones_are_not():
    crystal = Structures.from_atoms([bulk("Cu") * (2, 1, 1)])
    with pytest.raises(
        ValueError, match=r"have edges up to 3\.0 Å, and 6\.0 Å are needed.*with_edges\(structures, 6\.0\)"
    ):
        with_edges(with_edges(crystal, 3.0), 6.0)
    longer = with_edges(crystal, 7.0)
    assert with_edges(longer, 6.0) is longer
    moved = with_edges(longer.with_positions(longer.positions + 0.01), 3.0)
    assert moved.edge_cutoff == 3.0


def test_an_attack_on_overlapping_atoms_stops_with_a_status_and_others_go_on():
    committee = Committee([Repulsion(1.0, overlap=0.8), Repulsion(1.5, overlap=0.8)])
    seeds = Structures.from_atoms([Atoms("OH", positions=[[0, 0, 0], [0, 0, d]]) for d in (0.2, 0.7, 1.5)])
    result = attack(committee, seeds, force_variance, seed=0, n_steps=5, learning_rate=0.01)
    assert result.status.tolist() == [Status.OVERLAP, Status.NOT_FINITE, Status.FINISHED]
    assert torch.isfinite(result.structures.positions).all()
