"""The sections about labels: who computes them, where they are kept and which are believed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sparring.config.base import Section
from sparring.config.values import Count, Energy, Force, Integer, Length, Names

__all__ = ["ASE", "Bounds", "GroundTruth", "Labels", "OpenMM", "Plugin", "PySCF"]


class GroundTruth(Section):
    """The formula of a toy well labels its own points."""

    kind: Literal["ground_truth"]


class PySCF(Section):
    """Quantum chemistry by PySCF."""

    kind: Literal["pyscf"]
    method: str = "BP86-D3BJ/def2-SVP"
    auxiliary_basis: str | None = "def2-universal-jkfit"
    grid_level: Annotated[Integer, Field(ge=0, le=9)] = 3
    max_cycles: Count = 50


class ASE(Section):
    """Any calculator that ASE knows by name."""

    kind: Literal["ase"]
    name: str
    parameters: Mapping[str, object] = {}


class Plugin(Section):
    """A labeller that an installed package registers under the entry-point group ``sparring.labellers``."""

    kind: Literal["plugin"]
    name: str
    parameters: Mapping[str, object] = {}


class OpenMM(Section):
    """A force field, or any system that OpenMM has serialised."""

    kind: Literal["openmm"]
    forcefield: Names | None = None
    topology: Path | None = None
    system: Path | None = None
    combination: Literal["geometric", "lorentz_berthelot"] | None = None
    platform: str = "Reference"
    properties: Mapping[str, str] = {}


class Bounds(Section):
    """What a label must satisfy to be believed; null switches a bound off."""

    min_distance: Length | None = 0.5
    max_force: Force | None = 100.0
    energy_window: Energy | None = None


class Labels(Section):
    """Who labels, where labels are kept, and which are believed."""

    labeller: Annotated[GroundTruth | PySCF | OpenMM | ASE | Plugin, Field(discriminator="kind")]
    store: Path | None = None
    n_workers: Count | None = None
    bounds: Bounds = Bounds()
