"""Potentials that ship with Sparring, by name."""

from sparring.potentials.base import Architecture, Potential, Together
from sparring.potentials.mlp import CoordinateMLP
from sparring.potentials.schnet import SchNet

__all__ = ["ARCHITECTURES", "Architecture", "CoordinateMLP", "Potential", "SchNet", "Together"]

ARCHITECTURES: dict[str, type[Architecture]] = {kind.kind: kind for kind in (SchNet, CoordinateMLP)}
