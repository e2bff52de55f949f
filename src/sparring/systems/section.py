"""A section ``system`` of a configuration: what must be known of a system before it is built.

Sections import nothing heavy, so that a configuration is read in no time; each builds its :class:`System` from a module
of its own.
"""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from sparring.schema.base import Section
from sparring.schema.values import Rate, Temperature, Time, TimeOrZero
from sparring.units import quantity

if TYPE_CHECKING:
    from sparring.systems.base import System

__all__ = ["Langevin", "SystemSection"]


class Langevin(Section):
    """Snapshots of Langevin dynamics under the force field that labels, minimised first."""

    kind: Literal["langevin"] = "langevin"
    temperature: Temperature = 300.0
    friction: Rate = quantity("1 1/ps", "rate")
    timestep: Time = 2.0
    duration: Time = quantity("2 ns", "time")
    every: Time = quantity("2 ps", "time")
    equilibration: TimeOrZero = 0.0


class SystemSection(Section):
    """A section ``system``: its keys, and what a configuration must know before anything is built.

    Attributes:
        defaults: Rest of the configuration that fits the system.
        example: Files of the example that `sparring init` writes, the configuration first.
        n_coordinates: Number of coordinates of a particle; None for molecules.
        forcefield: Force field that OpenMM labels with by default; a system that has one has its topology, too.
        weight_counts_per: Amount of structure that kT of the Boltzmann weight is meant for by default.
        paths: Keys that name files, relative to the configuration.
    """

    defaults: ClassVar[Mapping[str, object]] = {
        "labels": {"labeller": {"kind": "pyscf"}},
        "committee": {"potential": {"kind": "schnet"}},
    }
    example: ClassVar[tuple[str, ...]] = ()
    n_coordinates: ClassVar[int | None] = None
    forcefield: ClassVar[str | None] = None
    weight_counts_per: ClassVar[Literal["structure", "atom", "degree_of_freedom"]] = "degree_of_freedom"
    paths: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def build(self) -> "System":
        """The system."""

    def dynamics(self) -> tuple[str, Langevin] | None:
        """The key of the section about dynamics that starting data are taken from, and the section."""
        return None

    def steps(self) -> tuple[str, ...]:
        """Work that needs labels one after the other, each with what can be done without, as the end of a sentence."""
        return ()

    def files(self) -> tuple[Path, ...]:
        """All files that the section names."""
        return ()
