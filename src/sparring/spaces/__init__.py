"""What an attack moves: how a displacement delta turns seeds into structures."""

from sparring.spaces.base import Space
from sparring.spaces.cartesian import Cartesian
from sparring.spaces.combined import Combined
from sparring.spaces.dihedrals import Dihedrals
from sparring.spaces.directions import Directions
from sparring.spaces.function import CollectiveVariables
from sparring.spaces.registry import plugin
from sparring.spaces.uniform import RandomDisplacement, Uniform

__all__ = [
    "Cartesian",
    "CollectiveVariables",
    "Combined",
    "Dihedrals",
    "Directions",
    "RandomDisplacement",
    "Space",
    "Uniform",
    "plugin",
]
