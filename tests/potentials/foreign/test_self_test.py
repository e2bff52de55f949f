"""What the self-test at load refuses, with the reason. The models are toys: no extra is needed."""

import pytest
import torch
from torch import nn

from sparring.atoms.neighbors import distances
from sparring.potentials.foreign.checkpoints import read_checkpoint
from sparring.potentials.foreign.loading import load_potential
from sparring.potentials.foreign.self_test import self_test


class Pairs(nn.Module):
    """A pair potential that goes to zero smoothly."""

    cutoff = 3.5
    elements = ("H", "O")

    def __init__(self, change=lambda energy: energy, distance=lambda lengths: lengths):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
        self.change, self.distance = change, distance

    def forward(self, structures):
        lengths = self.distance(distances(structures))
        pairs = self.weight * torch.where(lengths < self.cutoff, (1 - (lengths / self.cutoff) ** 2), 0.0) ** 4
        owner = structures.structure_index[structures.edges.target]
        return self.change(pairs.new_zeros(structures.n_structures).index_add(0, owner, pairs))


class NoSecondDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * 2 * x.detach()


def test_a_potential_that_can_be_differentiated_twice_passes():
    self_test(Pairs())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda energy: energy.detach(), "detaches its energy"),
        (lambda energy: {"energy": energy}, "must return a tensor with the energy of each structure in eV, got dict"),
        (lambda energy: energy.sum(), r"one energy for each structure, of shape \(1,\), got \(\)"),
        (lambda energy: energy + torch.rand(()), "other energies when it is evaluated again"),
        (lambda energy: energy * torch.nan, "has the energy nan"),
        (lambda energy: energy + energy.detach() * energy, "dE/dx along a direction is"),
        (lambda energy: energy.float().double(), "dE/dx along a direction is .* round to single precision"),
        (NoSecondDerivative.apply, "d²E/dx² along a direction is"),
    ],
)
def test_a_model_that_would_be_attacked_wrongly_is_refused_with_the_reason(change, message):
    with pytest.raises(ValueError, match=f"own model.*{message}"):
        self_test(Pairs(change), name="own model")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_compiled_model_is_refused():
    with pytest.raises(ValueError, match=r"compiled by torch\.compile"):
        self_test(torch.compile(Pairs()))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_model_that_torchscript_compiled_is_refused():
    class Scripted(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = torch.jit.script(nn.Linear(1, 1))

    with pytest.raises(ValueError, match="compiled by TorchScript"):
        self_test(Scripted())


def test_a_model_in_half_precision_is_refused():
    with pytest.raises(ValueError, match=r"weights in torch\.float16; allowed are float32 and float64"):
        self_test(Pairs().half())


def test_an_adapter_that_does_not_exist_or_is_not_installed_is_named(monkeypatch):
    with pytest.raises(ValueError, match="unknown adapter 'mac', did you mean 'mace'"):
        load_potential("mac", "a.model")
    monkeypatch.setattr("sparring.potentials.foreign.packages.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the package 'chgnet', which is not installed.*sparring\[chgnet\]"):
        load_potential("chgnet", "default")


def test_a_pickle_is_read_only_where_it_is_trusted(tmp_path):
    state, module = tmp_path / "state.pt", tmp_path / "module.pt"
    torch.save(nn.Linear(2, 1).state_dict(), state)
    torch.save(nn.Linear(2, 1), module)
    assert set(read_checkpoint(state)) == {"weight", "bias"}
    with pytest.raises(
        ValueError,
        match=r"is a pickle.*can run any program.*--trust-pickle.*TRUST_PICKLE=1.*trust_pickle=True",
    ):
        read_checkpoint(module)
    assert isinstance(read_checkpoint(module, trust_pickle=True), nn.Linear)
    with pytest.raises(ValueError, match=r"there is no checkpoint .*none\.pt"):
        read_checkpoint(tmp_path / "none.pt")
    state.write_bytes(state.read_bytes()[:100])
    for trust in (False, True):
        with pytest.raises(ValueError, match=r"cannot be read|is a pickle|cannot be unpickled"):
            read_checkpoint(state, trust_pickle=trust)
