"""Members that are evaluated one after another are checked, and the error names the member."""

import pytest
import torch
from torch import nn

from sparring.atoms.structures import Structures
from sparring.committee import Committee


def spring(structures):
    squares = structures.positions.square().sum(1)
    return squares.new_zeros(structures.n_structures).index_add(0, structures.structure_index, squares)


class Spring(nn.Module):
    def __init__(self):
        super().__init__()
        self.stiffness = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("factor", torch.tensor(0.5))

    def forward(self, structures):
        assert self.factor.dtype == self.stiffness.dtype == structures.positions.dtype
        return self.factor * self.stiffness * spring(structures)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda energy: energy.detach(), r"member 1 \(other\) returns energies without a graph"),
        (lambda energy: {"energy": energy}, r"member 1 \(other\) must return a tensor .* got dict"),
        (lambda energy: energy.unsqueeze(1), r"member 1 \(other\) must return one energy .* \(1,\), got \(1, 1\)"),
    ],
)
def test_a_member_that_returns_no_energies_with_a_graph_is_named(water, change, message):
    def other(structures):
        return change(spring(structures))

    with pytest.raises(ValueError, match=message):
        Committee([spring, other]).predict(Structures.from_atoms([water]))


def test_members_of_two_precisions_are_refused():
    with pytest.raises(
        ValueError, match=r"same precision: member 1 \(Spring\) has torch.float64, member 0 torch.float"
    ):
        Committee([Spring(), Spring().double()])
    with pytest.raises(ValueError, match=r"member 0 \(Spring\) has weights in torch.float16; allowed are float32"):
        Committee([Spring().half()])


def test_members_without_an_element_in_common_are_refused():
    first, second = Spring(), Spring()
    first.elements, second.elements = ("H", "O"), ("Mg",)
    with pytest.raises(ValueError, match=r"member 1 \(Spring\) has parameters for Mg, the members before it for H, O"):
        Committee([first, second])


def test_a_module_of_ones_own_changes_its_precision_with_its_buffers(water):
    structures = Structures.from_atoms([water])
    committee = Committee([Spring(), Spring()])
    single, double = (one.predict(structures).energy for one in (committee, committee.to(dtype=torch.float64)))
    torch.testing.assert_close(single.double(), double, rtol=1e-6, atol=1e-6)
