"""Potentials that ship with Sparring, and the interface for those of other packages."""

from sparring.potentials.ace.network import ACE
from sparring.potentials.base import Architecture, Potential, StackedModel
from sparring.potentials.mlp import CoordinateMLP
from sparring.potentials.painn import PaiNN
from sparring.potentials.prior import WithPrior
from sparring.potentials.registry import ARCHITECTURES, architecture_class, plugin
from sparring.potentials.schnet import SchNet

__all__ = [
    "ACE",
    "ARCHITECTURES",
    "Architecture",
    "CoordinateMLP",
    "PaiNN",
    "Potential",
    "SchNet",
    "StackedModel",
    "WithPrior",
    "architecture_class",
    "plugin",
]
