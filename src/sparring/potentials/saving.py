"""Members of a committee as tensors and as a description that JSON has, and members from these."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from sparring.potentials.base import Architecture, Potential
from sparring.potentials.registry import provider, require_readable, saved_architecture
from sparring.potentials.stacking import Weights, architectures, stack, unstack

__all__ = ["digest", "restored", "saved"]

SEVERAL = "several"
"""Name of the architecture of a committee whose members are of more than one."""


def saved(members: Sequence[Potential]) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Weights with a leading axis of members, and what else rebuilds these.

    Raises:
        ValueError: If :func:`restored` could not make the members again: one is of no architecture that ships with
            Sparring or that an installed package registers.
    """
    if not all(isinstance(member, Architecture) for member in members):
        kinds = ", ".join(dict.fromkeys(type(member).__name__ for member in members))
        raise ValueError(
            f"a committee of {kinds} cannot be saved: all members must be of a sparring.Architecture; keep other "
            "members in a script of your own"
        )
    groups = [
        _saved_group([m for m in members[rows] if isinstance(m, Architecture)]) for rows in architectures(members)
    ]
    if len(groups) == 1:
        return groups[0]
    weights = {f"{index}.{name}": w for index, (part, _) in enumerate(groups) for name, w in part.items()}
    about = {"architecture": SEVERAL, "revision": 1, "hyperparameters": {"groups": [about for _, about in groups]}}
    return weights, {**about, "n_members": len(members), "weights_sha256": digest(weights)}


def _saved_group(members: Sequence[Architecture]) -> tuple[dict[str, Tensor], dict[str, object]]:
    first = members[0]
    require_readable(first)
    weights = {name: weight.contiguous().cpu() for name, weight in stack(members).items()}
    package = provider(first.kind)
    return weights, {
        "architecture": first.kind,
        **({} if package is None else {"package": package}),
        "revision": first.revision,
        "hyperparameters": dict(first.hyperparameters),
        "n_members": len(members),
        "weights_sha256": digest(weights),
    }


def restored(weights: Weights, about: Mapping[str, Any]) -> list[Potential]:
    """The members that were saved.

    Raises:
        ValueError: If the package of an architecture is not installed, an architecture is of another revision, or the
            weights are not those that were saved.
    """
    kind = str(about["architecture"])
    groups: Sequence[Mapping[str, Any]] = about["hyperparameters"]["groups"] if kind == SEVERAL else ()
    architecture = None if groups else saved_architecture(kind, about.get("package"))
    if architecture is not None and about.get("revision", 1) != architecture.revision:
        raise ValueError(
            f"the committee is of another revision of {kind!r} than {architecture.revision}; train it again"
        )
    if digest(weights) != about["weights_sha256"]:
        raise ValueError("the committee's weights are damaged: their SHA-256 is not the one saved with them")
    if architecture is not None:
        return unstack(architecture(**about["hyperparameters"]), weights)  # type: ignore[return-value]
    members: list[Potential] = []
    for index, group in enumerate(groups):
        head = f"{index}."
        part = {name.removeprefix(head): weight for name, weight in weights.items() if name.startswith(head)}
        members += restored(part, group)
    return members


def digest(weights: Weights) -> str:
    """SHA-256 of weights, names and shapes included."""
    seen = hashlib.sha256()
    for name in sorted(weights):
        weight = weights[name].detach().cpu().contiguous()
        seen.update(json.dumps([name, str(weight.dtype), list(weight.shape)]).encode())
        seen.update(weight.numpy().tobytes())
    return seen.hexdigest()
