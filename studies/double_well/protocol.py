"""The protocol of a loop of a double well, and the state of a loop."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sparring.potentials import CoordinateMLP
from sparring.support.seeds import derive
from sparring.systems.wells import DoubleWell1D, DoubleWell2D
from sparring.training.splits import Splits

__all__ = ["WELLS", "LoopState", "Protocol"]

WELLS: dict[str, DoubleWell1D | DoubleWell2D] = {"1d": DoubleWell1D(), "2d": DoubleWell2D()}  # type: ignore[no-untyped-call]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """All choices of a loop; energies in the well's own unit, taken as eV, lengths in Å, times in fs.

    Attributes:
        well: ``1d`` or ``2d``.
        seed: Seed of all random numbers, together with the number of the loop.
        n_start: Number of starting points of the 2D well: the first uniform points with E < -2. (In the paper, all such
            points among 800, which are 59 on average.) In 1D they are the 66 points of a regular grid.
        n_units: Width of the networks; 1,024 in the paper.
        budget: Largest number of labels a generation, for all strategies.
        kT: Energy of the attack's Boltzmann weight, and temperature of molecular dynamics.
        spread: Standard deviation of the displacement that attacks start with.
        amplitude: Largest random displacement of a coordinate.
        dynamics_steps: Largest number of steps of a trajectory; there is one from each training point.
        snapshot_steps: Number of steps between two evaluations of the committee's uncertainty.
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
        """Number of coordinates of the well."""
        return WELLS[self.well].n_coordinates

    @property
    def network(self) -> CoordinateMLP:
        """One member."""
        return CoordinateMLP(n_coordinates=self.n_coordinates, n_layers=self.n_layers, n_units=self.n_units)


class LoopState(NamedTuple):
    """One loop under one strategy: its labelled points and what has been recorded.

    Attributes:
        number: Number of the loop.
        strategy: Name out of STRATEGIES.
        points: Positions of all labelled points.
        splits: Training, validation and test points of the members.
        record: Results, one entry a generation.
    """

    number: int
    strategy: str
    points: np.ndarray
    splits: Splits
    record: tuple[dict[str, Any], ...] = ()

    @property
    def generation(self) -> int:
        """Number of the committee that is trained next, from 1."""
        return len(self.record) + 1

    @property
    def train(self) -> np.ndarray:
        """Training points of all members."""
        return self.points[list(self.splits.train[0])]

    def seed(self, protocol: Protocol, stage: str) -> int:
        """Seed of a stage of this generation."""
        strategy = self.strategy if self.generation > 1 or stage != "fit" else "start"
        return derive(protocol.seed, self.number, strategy, self.generation, stage)
