"""Foreign potentials by the name of their adapter, tested at load."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from sparring.potentials.base import Architecture
from sparring.potentials.foreign.adapters import adapter_class
from sparring.potentials.foreign.base import ForeignPotential
from sparring.potentials.foreign.self_test import self_test
from sparring.potentials.stacking import cast

__all__ = ["load_potential", "load_potentials"]

SAME = "train them with the same settings"


def load_potential(
    adapter: str,
    model: nn.Module | Path | str,
    *,
    trust_pickle: bool = False,
    head: str | None = None,
    dtype: torch.dtype | None = None,
) -> Architecture:
    """A potential that another package trained, ready for a committee.

    Args:
        adapter: Name of the adapter: "mace", "chgnet", "sevennet", "torchani", or that of another package.
        model: Module of the other package, path of a checkpoint, or the name of a model in the package.
        trust_pickle: Consent to unpickle the checkpoint, which can run any program: only for files from a source that
            you trust. Not needed for state dictionaries and safetensors.
        head: Name of the head of a model with several.
        dtype: Precision of the weights; by default that of the model.

    Raises:
        ValueError: If the adapter is unknown or its package not installed, the checkpoint cannot be read or is not
            trusted, or the model does not pass the self-test (:func:`sparring.potentials.foreign.self_test.self_test`).
    """
    made = adapter_class(adapter)
    if isinstance(model, nn.Module):
        potential: Architecture = made.from_module(model, head=head)
    else:
        potential = made.from_file(model, trust_pickle=trust_pickle, head=head)
    potential = potential.eval().requires_grad_(requires_grad=False)
    self_test(potential, name=f"{adapter} model {_named(model)}")
    if dtype is None:
        return potential
    precise = cast(potential, dtype=dtype)
    assert isinstance(precise, Architecture)
    return precise


def load_potentials(
    adapter: str,
    models: Sequence[nn.Module | Path | str],
    *,
    trust_pickle: bool = False,
    head: str | None = None,
    dtype: torch.dtype | None = None,
) -> list[Architecture]:
    """The members of one committee, see :func:`load_potential`.

    Their elements, cutoffs, heads and precisions must be the same.

    Args:
        adapter: Name of the adapter.
        models: Modules, checkpoints or names of models, one for each member.
        trust_pickle: Consent to unpickle the checkpoints.
        head: Name of the head of models with several.
        dtype: Precision of the weights; by default that of the models.

    Raises:
        ValueError: If one cannot be loaded, or differs from the first in its elements, cutoff, head or precision.
    """
    members = []
    for index, one in enumerate(models):
        try:
            members.append(load_potential(adapter, one, trust_pickle=trust_pickle, head=head, dtype=dtype))
        except ValueError as error:
            raise ValueError(f"model {index} ({_named(one)}): {error}") from error
    for index, member in enumerate(members):
        first = members[0]
        assert isinstance(member, ForeignPotential)
        assert isinstance(first, ForeignPotential)
        for what, own, other, advice in (
            ("elements", sorted(member.elements), sorted(first.elements), SAME),
            ("cutoff in Å", member.cutoff, first.cutoff, SAME),
            ("head", getattr(member, "head", None), getattr(first, "head", None), "choose one by head"),
            ("precision", _precision(member), _precision(first), "choose one by dtype"),
        ):
            if own != other:
                raise ValueError(
                    f"members of a committee must have the same {what}: model {index} ({_named(models[index])}) has "
                    f"{own}, model 0 {other}; {advice}"
                )
    return members


def _precision(member: nn.Module) -> torch.dtype | None:
    return next((weight.dtype for weight in member.parameters() if weight.is_floating_point()), None)


def _named(model: nn.Module | Path | str) -> str:
    return type(model).__name__ if isinstance(model, nn.Module) else str(model)
