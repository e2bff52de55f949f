"""The section ``labels`` of a configuration as functions: labeller, store, bounds and limits."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ase import Atoms

from sparring.assembly.offline import offline_folder
from sparring.assembly.resources import machine
from sparring.assembly.unlabelled import own_labeller
from sparring.config import Config, labellers
from sparring.labels import (
    ASECalculator,
    Bounds,
    FromCalculator,
    LabelError,
    Labeller,
    LabelStore,
    Limits,
    Offline,
    OpenMM,
    PySCF,
    plugin,
    require_labeller,
)
from sparring.labels.ase import calculator_depends_on
from sparring.labels.base import depends_on
from sparring.labels.hessian import hessian_vector_labels
from sparring.labels.service import Failed, LabelService
from sparring.starting_data.base import StartFailure, Starting, described
from sparring.starting_data.normal_modes import LabelMany
from sparring.starting_data.relaxation import RelaxationError
from sparring.support.cores import available_cores
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.systems.base import System
from sparring.teacher import PotentialLabeller

__all__ = ["counted", "further_labels", "inherited", "label_service_of", "labeller", "limits_of", "n_workers"]

logger = logging.getLogger(__name__)


def further_labels(config: Config, label_service: LabelService) -> Callable[[Sequence[Atoms]], list[Atoms]]:
    """The section ``labels.hessian``: labelled structures with Hessian-vector labels, or as they are."""
    section = config.labels.hessian
    if section is None:
        return list
    return partial(hessian_vector_labels, label_many=label_service.label_many, step=section.step)


def counted(
    label_service: LabelService, begin: Callable[[LabelMany, Failed], Sequence[Atoms]]
) -> Callable[[], Starting]:
    """Starting data with an account of structures that have no usable label, wherever they failed.

    They raise a `LabellingError` where too many fail.
    """

    def start() -> Starting:
        failures: list[StartFailure] = []

        def failed(atoms: Atoms, error: LabelError) -> None:
            failures.append(StartFailure(described(atoms.info), error))

        def require(n_structures: int) -> None:
            require_labeller(
                [failure.error for failure in failures],
                n_structures,
                label_service.max_failed,
                label_service.min_succeeded,
            )

        try:
            atoms = begin(partial(label_service.label_many, failed=failed), failed)
        except (ValueError, RelaxationError):
            require(len(failures))  # a Hessian that lacks labels does not know why
            raise
        require(len(atoms) + len(failures))
        return Starting(atoms, tuple(failures))

    return start


def label_service_of(
    config: Config,
    folder: Path,
    progress_bars: ProgressBars = no_progress_bars,
    *,
    accept_missing: bool = False,
    of_run: bool = False,
) -> LabelService:
    """The section ``labels``, on the resources in use; a store that is not named is in the run folder.

    Args:
        config: Configuration.
        folder: Run folder, or another one for labels that are not of a run.
        progress_bars: Progress bars by title.
        accept_missing: True to count offline labels as failed that were asked for before and have not come.
        of_run: True if the folder will be that of a run, which keeps account of its core hours.
    """
    worker, resources = labeller(config), machine()
    store = LabelStore(config.labels.store or folder / "labels")
    store.tidy()
    return LabelService(
        labeller=worker,
        store=store,
        bounds=Bounds(**config.labels.bounds.arguments()),  # type: ignore[arg-type]
        n_workers=n_workers(config),
        progress_bars=progress_bars,
        limits=limits_of(config),
        failed=folder / "failed-labels",
        max_failed=config.labels.max_failed,
        min_succeeded=config.labels.min_succeeded,
        executor=resources.executor_of_labels(folder, config.labels.time_limit),
        threads=resources.resources.labels.threads,
        core_hours=resources.core_hours(folder, of_run),
        files=offline_folder(config, worker, folder, accept_missing) if isinstance(worker, Offline) else None,
    )


def limits_of(config: Config) -> Limits:
    """The time and memory that a label may take, from the section ``labels`` and the resources in use."""
    memory = machine().resources.labels.memory
    return Limits(time=config.labels.time_limit, memory=config.labels.memory_limit if memory is None else memory)


def n_workers(config: Config) -> int:
    """The number of processes that label here: that of the resources or of the section, or one for each core."""
    resources = machine().resources.labels
    section = config.labels.labeller
    if isinstance(section, labellers.GroundTruth | labellers.NoLabeller | labellers.Offline):
        return 1
    # A force field takes less time for a molecule than the message to another process.
    default = 1 if isinstance(section, labellers.OpenMM) else max(1, available_cores() // resources.threads)
    return resources.n_workers or config.labels.n_workers or default


def labeller(config: Config) -> Labeller:
    """The section ``labels.labeller``."""
    section = config.labels.labeller
    if isinstance(section, labellers.PySCF):
        return PySCF(**section.arguments())  # type: ignore[arg-type]
    if isinstance(section, labellers.OpenMM):
        return _openmm(section, config.system.build())
    if isinstance(section, labellers.ASE):
        return ASECalculator(**section.arguments())  # type: ignore[arg-type]
    if isinstance(section, labellers.Plugin):
        return plugin(**section.arguments())  # type: ignore[arg-type]
    if isinstance(section, labellers.Potential):
        return PotentialLabeller.from_model(**section.arguments())  # type: ignore[arg-type]
    if isinstance(section, labellers.Offline):
        return Offline(section.method, section.version, section.depends_on)
    if isinstance(section, labellers.NoLabeller):
        return own_labeller(config)
    system = config.system.build()
    if system.calculator is None:
        raise ValueError(f"labels.labeller: the system {system.name} has no ground truth; use pyscf, openmm or ase")
    return FromCalculator(system.calculator(), method=system.name)


def inherited(config: Config) -> tuple[str, ...]:
    """Names that labels depend on besides what all descendants of a structure inherit.

    The labeller is made only where its section does not tell: attacks do not need it installed.
    """
    section = config.labels.labeller
    if isinstance(section, labellers.ASE):
        return calculator_depends_on(section.name)
    if isinstance(section, labellers.Offline):
        return section.depends_on
    if not isinstance(section, labellers.Plugin):
        return ()
    try:
        return depends_on(labeller(config))
    except (ValueError, ImportError) as error:
        logger.warning(
            "structures that are made may lack what labels depend on, as the labeller is not here: %s", error
        )
        return ()


def _openmm(section: labellers.OpenMM, system: System) -> OpenMM:
    how: dict[str, Any] = section.arguments("forcefield", "system", "topology", "combination")
    topology: Any = section.topology
    if topology is None and system.topology is not None:
        topology = system.topology()
    if section.system is not None:
        return OpenMM.from_file(section.system, topology, **how)
    return OpenMM.from_forcefield(section.forcefield or (), topology, combination=section.combination, **how)
