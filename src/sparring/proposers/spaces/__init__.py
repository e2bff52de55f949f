"""Spaces of attacks: how a displacement delta turns seeds into structures."""

from sparring.proposers.spaces.base import Space
from sparring.proposers.spaces.cartesian import Cartesian
from sparring.proposers.spaces.combined import Combined
from sparring.proposers.spaces.dihedrals import Dihedrals
from sparring.proposers.spaces.directions import Directions
from sparring.proposers.spaces.function import CollectiveVariables
from sparring.proposers.spaces.registry import plugin
from sparring.proposers.spaces.rigid import Rigid
from sparring.proposers.spaces.strain import Strain
from sparring.proposers.spaces.uniform import RandomDisplacement, Uniform

__all__ = [
    "Cartesian",
    "CollectiveVariables",
    "Combined",
    "Dihedrals",
    "Directions",
    "RandomDisplacement",
    "Rigid",
    "Space",
    "Strain",
    "Uniform",
    "plugin",
]
