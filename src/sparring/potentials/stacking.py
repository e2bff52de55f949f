"""Members of one architecture as one set of weights with a leading axis of members."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from sparring.atoms.structures import Structures
from sparring.potentials.base import Architecture, Potential

__all__ = ["Weights", "can_be_stacked", "cast", "same_architecture", "stack", "stacked_energies", "unstack"]

Weights = Mapping[str, Tensor]


def stacked_energies(
    architecture: Architecture, weights: Weights, structures: Structures, per_member: Mapping[str, object]
) -> Float[Tensor, "n_members n_structures"]:
    """Energies of all members: one vectorised pass, or one member after another if vmap cannot transform the module.

    Args:
        architecture: The module, as written for one member.
        weights: Parameters and buffers, each with a leading axis of members.
        structures: Structures that all members evaluate.
        per_member: Fields of the structures that differ between members, each with a leading axis of members.
    """

    def one_member(weights: Weights, fields: Mapping[str, object]) -> Tensor:
        moved = replace(structures, **fields)  # type: ignore[arg-type]
        energies: Tensor = functional_call(architecture, dict(weights), (moved,))
        return energies

    if architecture.supports_vmap:
        return vmap(one_member)(dict(weights), dict(per_member))
    n_members = len(next(iter(weights.values())))
    rows = [tree_map(lambda values, i=i: values[i], (dict(weights), dict(per_member))) for i in range(n_members)]
    return torch.stack([one_member(*row) for row in rows])


def stack(members: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Parameters and buffers of modules of one architecture, each with a leading axis of members."""
    states = [member.state_dict() for member in members]
    return {name: torch.stack([state[name] for state in states]).detach() for name in states[0]}


def unstack(architecture: nn.Module, weights: Weights) -> list[nn.Module]:
    """One module for each member: the inverse of :func:`stack`; constants among the weights are left as they are."""
    constants = {name for name, _ in architecture.named_buffers()} - architecture.state_dict().keys()
    first, members = next(iter(weights.values())), []
    for index in range(len(first)):
        member = copy.deepcopy(architecture).to(device=first.device)
        own = {name: weight[index].clone() for name, weight in weights.items() if name not in constants}
        member.load_state_dict(own, assign=True)
        members.append(member)
    return members


def cast(module: nn.Module, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> nn.Module:
    """A copy of the module on another device or in another precision.

    Buffers of an architecture keep their precision, which may be double on purpose, unless it says otherwise. Those of
    other modules do not.
    """
    copied = copy.deepcopy(module).to(device=device)
    if not isinstance(module, Architecture) or module.casts_buffers:
        return copied.to(dtype=dtype)
    for parameter in copied.parameters():
        parameter.data = parameter.data.to(dtype=dtype)
    return copied


def can_be_stacked(members: Sequence[Potential]) -> bool:
    """True if all members can be evaluated in one pass."""
    return same_architecture(members) and all(getattr(member, "supports_vmap", False) for member in members)


def same_architecture(members: Sequence[Potential]) -> bool:
    """True if all members are of one architecture, with the same hyperparameters."""
    if not all(isinstance(member, Architecture) for member in members):
        return False
    first = members[0]
    assert isinstance(first, Architecture)
    return all(
        type(member) is type(first) and member.hyperparameters == first.hyperparameters
        for member in members
        if isinstance(member, Architecture)
    )
