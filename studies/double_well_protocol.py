"""All choices of a loop of a double well, and what a loop is on its way."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sparring.potentials import CoordinateMLP
from sparring.support.seeds import derive
from sparring.systems.wells import DoubleWell1D, DoubleWell2D
from sparring.training.splits import Splits

__all__ = ["WELLS", "Course", "Protocol"]

WELLS: dict[str, DoubleWell1D | DoubleWell2D] = {"1d": DoubleWell1D(), "2d": DoubleWell2D()}  # type: ignore[no-untyped-call]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """All choices of a loop; energies in the well's own unit, taken as eV, lengths in Å, times in fs.

    Attributes:
        well: ``1d`` or ``2d``.
        seed: All random numbers follow from it and the number of the loop.
        n_start: Starting points of the 2D well: the first so many uniform ones with E < -2. (In the paper, as many as
            there are among 800, which are 59 in the mean.) In 1D they are the 66 of a regular grid.
        n_units: Width of the networks; 1,024 in the paper.
        budget: Most labels a generation, for all strategies.
        kT: Of the attack's Boltzmann weight, and of molecular dynamics.
        spread: Standard deviation of the displacement that attacks begin with.
        amplitude: Largest random displacement of a coordinate.
        dynamics_steps: Longest trajectory; there is one from each training point.
        snapshot_steps: After how many steps the committee's uncertainty is looked at.
    """

    well: str = "2d"
    seed: int = 0
    n_start: int = 59
    n_members: int = 5
    n_layers: int = 4
    n_units: int = 64
    n_generations: int = 7
    n_epochs: int = 600
    batch_size: int = 35
    learning_rate: float = 8e-3
    energy_weight: float = 0.1
    force_weight: float = 1.0
    percentile: float = 80.0
    distance: float = 0.02
    budget: int = 20
    kT: float = 5.0
    attack_steps: int = 600
    attack_rate: float = 0.003
    spread: float = 0.01
    amplitude: float = 1.0
    timestep: float = 0.25
    friction: float = 0.05
    dynamics_steps: int = 400
    snapshot_steps: int = 4

    @property
    def n_coordinates(self) -> int:
        """Of the well."""
        return WELLS[self.well].n_coordinates

    @property
    def network(self) -> CoordinateMLP:
        """One member."""
        return CoordinateMLP(n_coordinates=self.n_coordinates, n_layers=self.n_layers, n_units=self.n_units)


class Course(NamedTuple):
    """One loop under one strategy: what it has to learn from, and what has been noted of it.

    Attributes:
        number: Of the loop.
        strategy: One of STRATEGIES.
        points: All labelled points.
        splits: Who learns from which of them.
        record: What is noted, one entry a generation.
    """

    number: int
    strategy: str
    points: np.ndarray
    splits: Splits
    record: tuple[dict[str, Any], ...] = ()

    @property
    def generation(self) -> int:
        """Which committee is to be trained next, from 1."""
        return len(self.record) + 1

    @property
    def train(self) -> np.ndarray:
        """Points that all members learn from."""
        return self.points[list(self.splits.train[0])]

    def seed(self, protocol: Protocol, stage: str) -> int:
        """Of a stage of this generation."""
        strategy = self.strategy if self.generation > 1 or stage != "fit" else "start"
        return derive(protocol.seed, self.number, strategy, self.generation, stage)
