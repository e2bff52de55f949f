"""Thermal spread of bonds and angles over all copies of a structure, collected while they move."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.internal_coordinates import InternalCoordinate, values
from sparring.dynamics.records import State

__all__ = ["LATEST", "LEAST", "Moments", "SpreadOfCopies"]

LATEST = 10
"""Number of last rows before a failure that do not count: on the way to it, a coordinate is not thermal any more."""
LEAST = {"bond": 0.02, "angle": math.radians(3)}
"""Smallest spread, in Å and radians, that a deviation is measured by: copies that fail at once have none of their own.
A C-H bond has about 0.03 Å at 300 K, an angle of hydrogens 5°."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Number, means and sums of squared deviations of samples of bonds and angles.

    Attributes:
        n_samples: Number of samples.
        mean: Means, in Å or radians.
        squares: Sums of squared deviations from the means, in Å² or radians².
    """

    n_samples: int
    mean: Float[np.ndarray, " n_coordinates"]
    squares: Float[np.ndarray, " n_coordinates"]

    @classmethod
    def none(cls, n_coordinates: int) -> "Moments":
        """No samples."""
        return cls(n_samples=0, mean=np.zeros(n_coordinates), squares=np.zeros(n_coordinates))

    @classmethod
    def joined(cls, several: Sequence["Moments"]) -> "Moments":
        """Moments of all samples together (Chan, Golub and LeVeque 1979)."""
        return reduce(cls._plus, several)

    def _plus(self, other: "Moments") -> "Moments":
        n = self.n_samples + other.n_samples
        if not n:
            return self
        apart = other.mean - self.mean
        return Moments(
            n_samples=n,
            mean=self.mean + apart * other.n_samples / n,
            squares=self.squares + other.squares + apart**2 * self.n_samples * other.n_samples / n,
        )

    def spread(self, kinds: Sequence[str]) -> Float[np.ndarray, " n_coordinates"]:
        """Standard deviations, at least those that count as thermal."""
        measured = np.sqrt(self.squares / max(1, self.n_samples - 1))
        return np.asarray(np.maximum(measured, [LEAST[kind] for kind in kinds]))


class SpreadOfCopies:
    """Sees the states of moving copies, and collects the moments of their bonds and angles.

    A row counts after ten more, for the copies that have not failed until then. The sums stay on the device.

    Args:
        coordinates: Bonds and angles.
    """

    def __init__(self, coordinates: Sequence[InternalCoordinate]) -> None:
        self.coordinates = coordinates
        self.rows: deque[tuple[Int[Tensor, " n_copies"], Float[Tensor, "n_copies n_coordinates"]]] = deque()
        self.origin: Tensor | None = None
        self.count, self.sums, self.squares = torch.zeros(()), torch.zeros(()), torch.zeros(())

    def __call__(self, state: State) -> None:
        """Take a row."""
        n_copies = state.system.n_copies
        if not self.coordinates or not n_copies:
            return
        if state.step == 0:  # copies that did not fit the memory begin anew
            self.rows.clear()
        positions = state.phase.positions.unflatten(0, (n_copies, -1))
        now = values(positions, self.coordinates, state.phase.cells)
        if self.origin is None:  # all copies have the same start: sums about it lose no digits
            self.origin = now[0].clone()
            self.count, self.sums, self.squares = self.count.to(now), self.sums.to(now), self.squares.to(now)
        self.rows.append((state.system.copy, now - self.origin))
        if len(self.rows) > LATEST:
            copies, old = self.rows.popleft()
            well = torch.isin(copies, state.system.copy).to(old).unsqueeze(-1)
            self.count = self.count + well.sum()
            self.sums = self.sums + (well * old).sum(0)
            self.squares = self.squares + (well * old.square()).sum(0)

    def moments(self) -> Moments:
        """Moments of all rows that count."""
        n_samples = int(self.count)
        if self.origin is None or not n_samples:
            return Moments.none(len(self.coordinates))
        mean = self.sums / n_samples
        squares = (self.squares - n_samples * mean.square()).clamp(min=0.0)
        return Moments(n_samples=n_samples, mean=(self.origin + mean).cpu().numpy(), squares=squares.cpu().numpy())
