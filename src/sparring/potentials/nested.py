"""Architectures inside others: their kind and hyperparameters as JSON, and a module built from these."""

from collections.abc import Mapping

from torch import nn

from sparring.potentials.base import Architecture

__all__ = ["built", "described"]


def described(module: nn.Module) -> dict[str, object] | None:
    """Kind, revision and hyperparameters of a module; None if it is no architecture, so that it cannot be saved."""
    if not isinstance(module, Architecture):
        return None
    return {"kind": module.kind, "revision": module.revision, "hyperparameters": dict(module.hyperparameters)}


def built(description: Mapping[str, object], role: str) -> Architecture:
    """The module of a description, with weights that mean nothing.

    Args:
        description: Result of :func:`described`.
        role: Name of the module in messages.

    Raises:
        ValueError: If this installation does not have the architecture, or has another revision of it.
    """
    from sparring.potentials.registry import saved_architecture  # the registry knows architectures that have others

    kind, hyperparameters = str(description["kind"]), description["hyperparameters"]
    architecture = saved_architecture(kind, None)
    if description.get("revision", 1) != architecture.revision:
        raise ValueError(f"the {role} is of another revision of {kind!r} than {architecture.revision}; train it again")
    assert isinstance(hyperparameters, Mapping)
    return architecture(**hyperparameters)
