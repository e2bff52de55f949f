"""Data of a report: plain arrays, and the unit in which energies are shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Bool, Float, Int

from sparring.labels import LabelError
from sparring.runs.uncertain_atoms import UncertainAtoms
from sparring.runs.yields import Yield
from sparring.systems.base import System
from sparring.units import EnergyUnit
from sparring.validation.errors.common_set import CommonErrors


@dataclass(frozen=True, kw_only=True)
class Training:
    """Losses (Eq. 3, in eV²) of every member after every epoch: one row each."""

    epoch: Int[np.ndarray, " n_rows"]
    member: Int[np.ndarray, " n_rows"]
    train_loss: Float[np.ndarray, " n_rows"]
    validation_loss: Float[np.ndarray, " n_rows"]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """A committee's mean on its own data set, beside the labels.

    Energies are in eV above the lowest label of the composition. Force components, all atoms' in one row, are in eV/Å,
    the six components of stresses, all structures' in one row, in eV/Å³.
    """

    energy: Float[np.ndarray, " n_structures"]
    committee_energy: Float[np.ndarray, " n_structures"]
    is_test: Bool[np.ndarray, " n_structures"]
    forces: Float[np.ndarray, " n_components"]
    committee_forces: Float[np.ndarray, " n_components"]
    is_test_component: Bool[np.ndarray, " n_components"]
    stress: Float[np.ndarray, " n_stress_components"]
    committee_stress: Float[np.ndarray, " n_stress_components"]
    is_test_stress: Bool[np.ndarray, " n_stress_components"]


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Attacks, step by step: the committee's mean energy in eV above the lowest label, and its σ_F in eV/Å."""

    energy: Float[np.ndarray, "n_points n_seeds"]
    force_sigma: Float[np.ndarray, "n_points n_seeds"]
    best_step: Int[np.ndarray, " n_seeds"]
    status: Int[np.ndarray, " n_seeds"]


@dataclass(frozen=True, kw_only=True)
class TorsionPaths:
    """The same attacks in the plane of two torsions, in radians."""

    names: tuple[str, str]
    angles: Float[np.ndarray, "n_points n_seeds 2"]
    best_step: Int[np.ndarray, " n_seeds"]


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """Labelled structures: their energy in eV above the lowest label of their composition, and where they came from."""

    energy: Float[np.ndarray, " n_structures"]
    source: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Labelled(Sampled):
    """Labels of a generation, with the predictions of its committee before it was trained on them.

    `force_sigma` is the committee's own σ_F, `force_error` the root mean square of its error over all force components,
    both in eV/Å. `wall_time` is the time in which the label was computed, in seconds.
    """

    force_sigma: Float[np.ndarray, " n_structures"]
    force_error: Float[np.ndarray, " n_structures"]
    wall_time: Float[np.ndarray, " n_structures"]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A candidate that got no label, and why; `files` is the folder that its labeller left, if there is one."""

    candidate: str
    reason: str
    message: str
    files: str = ""


@dataclass(frozen=True, kw_only=True)
class Generation:
    """All that one generation has committed; what it has not is None or empty.

    `n_selected` is the number of structures that were selected for labelling. `open_failures` have stopped the run.
    """

    number: int
    metrics: Mapping[str, Any]
    training: Training | None
    predictions: Predictions | None
    paths: Paths | None
    labelled: Labelled | None
    failures: tuple[Failure, ...]
    torsions: TorsionPaths | None = None
    n_selected: int | None = None
    open_failures: tuple[LabelError, ...] = ()

    def metric(self, *keys: str) -> Any:  # noqa: ANN401
        """The entry of the metrics under these keys, None where there is none."""
        value: Any = self.metrics
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Labelled structures with one origin: the start of the run, or one generation.

    `generation` is 0 for the start; `file` is where they are, seen from the run's folder.
    """

    generation: int
    file: str
    frames: tuple[Atoms, ...]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as the report shows it.

    Attributes:
        folder: Folder of the run.
        name: Name of the folder.
        system: System of the run.
        strategy: Kind of the attack: adversarial, random and others, or portfolio; empty if the configuration has none.
        config: The whole configuration, as text.
        n_planned: Planned number of generations.
        versions: Versions of packages.
        start: Structures that the run began with.
        generations: All that have a folder.
        lowest: The lowest label of every composition, in eV.
        origins: Every labelled structure, in the order in which data sets have them.
        newest: Predictions of the newest committee for its data; empty before there is one.
        newest_generation: Its number.
        common: Errors of all committees on one set, None where they have not been computed.
        labels: False for a run that ends with the structures to be labelled.
        yields: Yield of each proposer in each generation; empty where there is a single proposer.
        uncertain: Uncertain atoms of the structures selected last; None where they are not known.
    """

    folder: Path
    name: str
    system: System
    strategy: str
    config: str
    n_planned: int | None
    versions: Mapping[str, str]
    start: Sampled | None
    generations: tuple[Generation, ...]
    lowest: Mapping[str, float]
    origins: tuple[Origin, ...]
    newest: tuple[Atoms, ...]
    newest_generation: int | None
    common: CommonErrors | None = None
    labels: bool = True
    yields: tuple[Yield, ...] = ()
    uncertain: UncertainAtoms | None = None

    @property
    def trained_elsewhere(self) -> bool:
        """True if a committee has been evaluated that was not trained in this run."""
        return any(one.metric("errors") is not None and one.training is None for one in self.generations)

    @property
    def kind(self) -> str:
        """The name of the system."""
        return self.system.name

    @property
    def unit(self) -> EnergyUnit:
        """The unit in which energies are shown."""
        return self.system.unit
