"""Members of one architecture as one set of weights with a leading axis of members."""

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from sparring.atoms.structures import Structures
from sparring.potentials.base import Architecture, Potential

__all__ = [
    "Weights",
    "architectures",
    "can_be_stacked",
    "cast",
    "cast_members",
    "frozen",
    "same_architecture",
    "stack",
    "stacked_energies",
    "unstack",
]

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
    """Parameters and buffers of modules of one architecture, each with a leading axis of members.

    Those of a submodule that members share have none.
    """
    states, prefix = [member.state_dict() for member in members], _shared_prefix(members[0])
    return {
        name: (
            weight if prefix and name.startswith(prefix) else torch.stack([state[name] for state in states])
        ).detach()
        for name, weight in states[0].items()
    }


def unstack(architecture: nn.Module, weights: Weights) -> list[nn.Module]:
    """One module for each member: the inverse of :func:`stack`; constants among the weights are left as they are."""
    constants = {name for name, _ in architecture.named_buffers()} - architecture.state_dict().keys()
    weights = {name: weight for name, weight in weights.items() if name not in constants}
    prefix = _shared_prefix(architecture)
    common = {name: weight for name, weight in weights.items() if prefix and name.startswith(prefix)}
    own = {name: weight for name, weight in weights.items() if name not in common}
    known: dict[int, object] = {}  # a copy of the architecture has these parts themselves, not copies of them
    if prefix:
        architecture.load_state_dict(common, strict=False, assign=True)
        part = architecture.get_submodule(prefix[:-1])
        known[id(part)] = part
    first, members = next(iter(own.values())), []
    for index in range(len(first)):
        member = copy.deepcopy(architecture, dict(known)).to(device=first.device)
        member.load_state_dict({**common, **{name: w[index].clone() for name, w in own.items()}}, assign=True)
        members.append(member)
    return members


def _shared_prefix(module: nn.Module) -> str:
    """First part of the names of weights that members share; empty if there are none."""
    shared = getattr(module, "shared", None)
    return f"{shared}." if isinstance(shared, str) else ""


def frozen(members: Iterable[Potential]) -> tuple[Potential, ...]:
    """Copies of modules that are not trained any more; parts that they share stay shared."""
    copies: dict[int, object] = {}

    def freeze(member: Potential) -> Potential:
        if not isinstance(member, nn.Module):
            return member
        copied: Potential = copy.deepcopy(member, copies).eval().requires_grad_(requires_grad=False)
        return copied

    return tuple(freeze(member) for member in members)


def cast_members(
    members: Iterable[Potential], *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> list[Potential]:
    """Members on another device or in another precision; parts that they share stay shared, functions stay."""
    copies: dict[int, object] = {}
    return [
        _cast(copy.deepcopy(member, copies), dtype, device) if isinstance(member, nn.Module) else member
        for member in members
    ]


def cast(module: nn.Module, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> nn.Module:
    """A copy of the module on another device or in another precision.

    Buffers of an architecture keep their precision, which may be double on purpose, unless it says otherwise. Those of
    other modules do not.
    """
    return _cast(copy.deepcopy(module), dtype, device)


def _cast(module: nn.Module, dtype: torch.dtype | None, device: torch.device | str | None) -> nn.Module:
    module = module.to(device=device)
    if not isinstance(module, Architecture) or module.casts_buffers:
        return module.to(dtype=dtype)
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype=dtype)
    if module.shared is not None:
        _cast(module.get_submodule(module.shared), dtype, device)
    return module


def can_be_stacked(members: Sequence[Potential]) -> bool:
    """True if all members can be evaluated in one pass."""
    return same_architecture(members) and all(getattr(member, "supports_vmap", False) for member in members)


def architectures(members: Sequence[Potential]) -> list[slice]:
    """Slices of members that stand next to each other and are of one architecture; others are all in one slice."""
    firsts = [0]
    for index in range(1, len(members)):
        both = members[index - 1 : index + 1]
        if not same_architecture(both) and any(isinstance(member, Architecture) for member in both):
            firsts.append(index)
    return [slice(*edges) for edges in itertools.pairwise([*firsts, len(members)])]


def same_architecture(members: Sequence[Potential]) -> bool:
    """True if all members are of one architecture, with the same hyperparameters and the same shared part."""
    if not all(isinstance(member, Architecture) for member in members):
        return False
    first = members[0]
    assert isinstance(first, Architecture)
    return all(
        type(member) is type(first)
        and member.hyperparameters == first.hyperparameters
        and (first.shared is None or member.get_submodule(first.shared) is first.get_submodule(first.shared))
        for member in members
        if isinstance(member, Architecture)
    )
