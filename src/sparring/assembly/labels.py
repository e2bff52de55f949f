"""Where the labels of a configuration come from: the section ``labels`` as functions."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ase import Atoms

from sparring.config import Config, labellers
from sparring.labels import (
    ASECalculator,
    Bounds,
    FromCalculator,
    Label,
    LabelError,
    Labeller,
    LabelReport,
    LabelStore,
    Limits,
    OpenMM,
    PySCF,
    StoredCalculator,
    Workers,
    label,
    labelled_atoms,
    plugin,
    require_labeller,
)
from sparring.labels.ase import calculator_depends_on
from sparring.labels.base import depends_on
from sparring.starting_data.base import Failed, StartFailure, Starting, described
from sparring.starting_data.sampling import LabelMany, RelaxationError
from sparring.support.cores import available_cores
from sparring.support.progress import Watch, unwatched
from sparring.systems import alanine_dipeptide
from sparring.systems.wells import WELLS

__all__ = ["Laboratory", "counted", "inherited", "labeller", "laboratory_of", "limits_of", "n_workers"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Laboratory:
    """Where labels come from: one labeller, one store, and what is believed.

    Attributes:
        labeller: Who computes.
        store: Where labels are looked up and kept.
        bounds: Which are believed.
        n_workers: In how many processes.
        watch: Who looks on.
        limits: Time and memory that a label may take.
        failed: Folder in which inputs and outputs of failed labels are kept.
        max_failed: Share of the labels of one call that may fail for reasons that are not the geometry's.
        workers: The processes, which all that asks for labels shares.
    """

    labeller: Labeller
    store: LabelStore
    bounds: Bounds
    n_workers: int
    watch: Watch = unwatched
    limits: Limits = field(default_factory=Limits)
    failed: Path | None = None
    max_failed: float = 1.0
    workers: Workers = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "workers", Workers(self.labeller, self.n_workers, limits=self.limits, failed=self.failed)
        )

    @property
    def calculator(self) -> StoredCalculator:
        """For what goes step by step."""
        return StoredCalculator(self.labeller, self.store, bounds=self.bounds, workers=self.workers)

    def label(self, structures: Sequence[Atoms], lowest_energies: Mapping[str, float] | None = None) -> LabelReport:
        """For what goes in parallel."""
        return label(
            structures,
            self.labeller,
            store=self.store,
            workers=self.workers,
            bounds=self.bounds,
            lowest_energies=lowest_energies,
            progress=self.watch("labelling"),
        )

    def label_many(self, structures: Sequence[Atoms], failed: Failed | None = None) -> list[Atoms]:
        """The structures with their labels; those that have none are left out, logged, and given to `failed`.

        Raises:
            LabellingError: If too many fail for reasons that are not the geometry's, unless `failed` keeps count.
        """
        if not structures:
            return []
        report = self.label(structures)
        if failed is None:
            report.require_labeller(self.max_failed)
        labelled = []
        for atoms, result, key in zip(structures, report.labels, report.keys, strict=True):
            if isinstance(result, Label):
                labelled.append(labelled_atoms(atoms, result, key))
            else:
                logger.warning("left out: %s", result)
                if failed is not None:
                    failed(atoms, result)
        return labelled


def counted(laboratory: Laboratory, begin: Callable[[LabelMany, Failed], Sequence[Atoms]]) -> Callable[[], Starting]:
    """Starting data with an account of structures that have no usable label, wherever they failed.

    They raise a `LabellingError` where the labeller is to blame for too many.
    """

    def start() -> Starting:
        failures: list[StartFailure] = []

        def failed(atoms: Atoms, error: LabelError) -> None:
            failures.append(StartFailure(described(atoms.info), error))

        def require(n_structures: int) -> None:
            require_labeller([failure.error for failure in failures], n_structures, laboratory.max_failed)

        try:
            atoms = begin(partial(laboratory.label_many, failed=failed), failed)
        except (ValueError, RelaxationError):
            require(len(failures))  # a Hessian that lacks labels does not know why
            raise
        require(len(atoms) + len(failures))
        return Starting(atoms, tuple(failures))

    return start


def laboratory_of(config: Config, folder: Path, watch: Watch = unwatched) -> Laboratory:
    """The section ``labels``; a store that is not named is in the run folder."""
    return Laboratory(
        labeller=labeller(config),
        store=LabelStore(config.labels.store or folder / "labels"),
        bounds=Bounds(**config.labels.bounds.arguments()),  # type: ignore[arg-type]
        n_workers=n_workers(config),
        watch=watch,
        limits=limits_of(config),
        failed=folder / "failed-labels",
        max_failed=config.labels.max_failed,
    )


def limits_of(config: Config) -> Limits:
    """What the section ``labels`` says of the time and memory of a label."""
    return Limits(time=config.labels.time_limit, memory=config.labels.memory_limit)


def n_workers(config: Config) -> int:
    """How many processes label: as the section says, or one for each core that there is."""
    section = config.labels.labeller
    if isinstance(section, labellers.GroundTruth):
        return 1
    # A force field takes less time for a molecule than a process does to be asked.
    default = 1 if isinstance(section, labellers.OpenMM) else available_cores()
    return config.labels.n_workers or default


def labeller(config: Config) -> Labeller:
    """The section ``labels.labeller``."""
    section = config.labels.labeller
    if isinstance(section, labellers.PySCF):
        return PySCF(**section.arguments())  # type: ignore[arg-type]
    if isinstance(section, labellers.OpenMM):
        return _openmm(section, config.system.kind)
    if isinstance(section, labellers.ASE):
        return ASECalculator(**section.arguments())  # type: ignore[arg-type]
    if isinstance(section, labellers.Plugin):
        return plugin(**section.arguments())  # type: ignore[arg-type]
    return FromCalculator(WELLS[config.system.kind](), method=config.system.kind)


def inherited(config: Config) -> tuple[str, ...]:
    """What the labels of a configuration depend on besides what all descendants of a structure have from it.

    The labeller is made only where nothing else tells: whoever attacks need not have it installed.
    """
    section = config.labels.labeller
    if isinstance(section, labellers.ASE):
        return calculator_depends_on(section.name)
    if not isinstance(section, labellers.Plugin):
        return ()
    try:
        return depends_on(labeller(config))
    except (ValueError, ImportError) as error:
        logger.warning(
            "structures that are made may lack what labels depend on, as the labeller is not here: %s", error
        )
        return ()


def _openmm(section: labellers.OpenMM, system: str) -> OpenMM:
    how: dict[str, Any] = section.arguments("forcefield", "system", "topology", "combination")
    known = system == "alanine_dipeptide" and section.topology is None
    topology: Any = alanine_dipeptide.topology() if known else section.topology
    if section.system is not None:
        return OpenMM.from_file(section.system, topology, **how)
    return OpenMM.from_forcefield(section.forcefield or (), topology, combination=section.combination, **how)
