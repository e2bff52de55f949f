"""What ends the trajectory of a copy, other than numbers that are not finite."""

from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from sparring.dynamics.system import Observation
from sparring.neighbors import shortest_distance
from sparring.structures import Structures

__all__ = ["CloserThan", "EnergyBelow"]


@dataclass(frozen=True)
class CloserThan:
    """Two atoms, or an atom and an image, have run into each other.

    Attributes:
        distance: In Å.

    Raises:
        ValueError: If the distance is not positive.
    """

    distance: float

    def __post_init__(self) -> None:
        """Check the distance."""
        if not self.distance > 0:
            raise ValueError(f"the distance must be positive, got {self.distance} Å")

    @property
    def reach(self) -> float:
        """How far it looks, in Å."""
        return self.distance

    def __call__(self, structures: Structures, observation: Observation) -> Bool[Tensor, " n_copies"]:
        """Copies with such a pair."""
        return shortest_distance(structures) < self.distance


@dataclass(frozen=True)
class EnergyBelow:
    """The energy has fallen into a hole that cannot be there.

    Attributes:
        energy: In eV, on the committee's scale.
    """

    energy: float

    def __call__(self, structures: Structures, observation: Observation) -> Bool[Tensor, " n_copies"]:
        """Copies whose mean energy is below."""
        return observation.energy < self.energy
