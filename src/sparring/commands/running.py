"""``sparring init``, ``check``, ``run`` and ``status``, as functions."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ase import Atoms

from sparring.assembly.own_structures import read_structures_of
from sparring.assembly.planning import plan, plane_of
from sparring.assembly.proposing import bonds_of, one_of_each, space_of
from sparring.atoms.structures import Structures
from sparring.commands.checking import estimate
from sparring.commands.estimates import Estimate
from sparring.committee import Committee
from sparring.config import Config, load, sections, settled, template_files
from sparring.labels import Bounds, LabelError, LabellingError, by_reason, causes
from sparring.reporting import report
from sparring.reporting.data import unit_of_kind
from sparring.reporting.tables import common_table
from sparring.runs import loop
from sparring.runs.failures import read_failures, write_failures
from sparring.runs.folder import RunFolder, read_metrics, stages_done
from sparring.runs.stages import label_failures
from sparring.starting_data.isolated import split_isolated
from sparring.starting_data.screening import screen, tell_states
from sparring.support.devices import require_device, torch_threads
from sparring.support.files import write_text
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.systems import alanine_dipeptide, ammonia, own, wells
from sparring.systems.wells import WELLS
from sparring.validation.errors.common_set import known_comparison, read_evaluation_file
from sparring.validation.landscape.compute import keep_landscapes

logger = logging.getLogger(__name__)

T = TypeVar("T")
SHOWN = 5
"""Frames that are refused are named up to this number; the run names all of them in failures.csv."""

OPEN_FAILURES = "failures-open.csv"
"""Failed labels of a stage that has not been committed because of them."""

__all__ = ["Estimate", "GenerationStatus", "check", "comparison", "init", "run", "status"]


def init(kind: str, folder: Path | str = ".") -> list[Path]:
    """Write a commented example to start from, and the files that it reads.

    Args:
        kind: Of the system: ``ammonia``, ``alanine_dipeptide``, ``double_well_1d``, ``double_well_2d`` or ``own``.
        folder: Where to.

    Raises:
        ConfigError: If there is no such kind.
        FileExistsError: If one of the files is there already; nothing is written then.
    """
    files = {Path(folder) / name: text for name, text in template_files(kind).items()}
    for file in files:
        if file.exists():
            raise FileExistsError(f"{file} exists already; move it away, or choose another folder")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        write_text(file, text)
    return list(files)


def run(
    config: Config | Path | str,
    folder: Path | str,
    *,
    preset: str | None = None,
    retry_failed: bool = False,
    progress_bars: ProgressBars = no_progress_bars,
    announce: Callable[[str], None] | None = None,
    finished_generation: Callable[[dict[str, object]], None] | None = None,
) -> Committee:
    """Start a run, or go on with it where it stopped; a finished one is left alone.

    Args:
        config: The configuration, or its file.
        folder: The run folder.
        preset: A preset of the file.
        retry_failed: Whether labels that failed in the newest label stage are asked for again.
        progress_bars: Gives long work something to tick.
        announce: Called with a line whenever a stage is done.
        finished_generation: Called with the metrics of a generation once it is complete.

    Returns:
        The last committee.

    Raises:
        RunFolderError: If the folder is in use, belongs to another configuration, or is damaged.
        ConfigError: If the configuration is wrong.
        ValueError: If the device cannot be used here.
        LabellingError: If labels failed for reasons that are not the geometry's, which leaves their stage open, or if
            no structure of a generation could be labelled, which ends the run.
    """
    folder = Path(folder)
    if not isinstance(config, Config):
        config = load(config, preset)
    config = settled(config, folder)
    # Before the folder is claimed: a method that nobody knows, or a torsion, must not leave a run behind.
    if not (folder / "config.yaml").exists():
        _try_space(config)
        read_evaluation_file(config.evaluation)
    require_device(config.device)
    planned = plan(config, folder, progress_bars)
    with torch_threads(config.threads), RunFolder(folder, config, announce) as run_folder:
        if retry_failed:
            run_folder.reopen_failed_labels()
        once = _Telling(run_folder, finished_generation)
        committee = loop.run(planned, once)
        if run_folder.computed or not (folder / "report.html").exists():
            if plane_of(config) is not None:
                keep_landscapes(folder, progress_bars)
            report(folder)
        else:
            run_folder.announce("the run is finished: nothing was left to do")
        if once.unlabelled:
            raise LabellingError(
                f"the run ends before its last generation: none of the {len(once.unlabelled)} structures that were "
                f"chosen could be labelled\n{causes(once.unlabelled)}\nreport: {folder / 'report.html'}. "
                "--retry-failed asks for these labels again; bounds (labels.bounds) and attacks belong to another run",
                once.unlabelled,
            )
        return committee


class _Telling:
    """Stages through the run folder, with a word at the end of each generation."""

    def __init__(self, folder: RunFolder, tell: Callable[[dict[str, object]], None] | None) -> None:
        self.folder = folder
        self.tell = tell
        self.unlabelled: list[LabelError] = []

    def __call__(self, generation: int, stage: str, compute: Callable[[], T]) -> T:
        where = self.folder.path / f"generation-{generation:02d}"
        try:
            result = self.folder.once(generation, stage, compute)
        except LabellingError as error:
            write_failures(where / OPEN_FAILURES, enumerate(error.failures))
            raise
        (where / OPEN_FAILURES).unlink(missing_ok=True)
        if isinstance(result, loop.Labelled) and not result.atoms:
            self.unlabelled = [failure for _, failure in result.failures]
        last = generation == self.folder.config.generations and stage == "evaluate"
        if self.tell and (last or stage == "label"):
            self.tell(read_metrics(self.folder.path / f"generation-{generation:02d}"))
        return result


def check(config: Config) -> Estimate:
    """Try what can go wrong before the cluster hours are spent: read the structures, and compute a few labels.

    Labels are kept only where the configuration names a store. What is wrong or doubtful about the input is in
    ``findings``; see :func:`sparring.commands.checking.estimate`.

    Raises:
        ValueError: If the structures cannot be read or have not what is to be attacked, the labeller is not known, or
            the device cannot be used here.
        LabelError: If no label can be computed.
    """
    require_device(config.device)
    structures = _plausible(config, _examples(config))
    _try_space(config, structures)
    read_evaluation_file(config.evaluation)
    return estimate(config, structures)


def _plausible(config: Config, structures: list[Atoms]) -> list[Atoms]:
    """The structures of a file that a run would begin with, isolated atoms left out; it is logged what is wrong."""
    if not isinstance(config.system, sections.Own):
        return structures
    file = str(config.system.file)
    tell_states(structures, potential=config.committee.potential.kind, file=file)
    failures: list[LabelError] = []
    bounds = Bounds(**config.labels.bounds.arguments())  # type: ignore[arg-type]
    kept = screen(own.numbered(structures), bounds, lambda _, error: failures.append(error), file=file)
    for error in failures[:SHOWN]:
        logger.warning("%s", error)
    molecules, _ = split_isolated(kept)
    if not molecules:
        raise ValueError(f"{file}: nothing is left to begin with; the first reason: {[*failures, 'isolated atoms'][0]}")
    return molecules


def _try_space(config: Config, structures: list[Atoms] | None = None) -> None:
    """Whether attacks can move what they are to move; needs the structures only if it depends on them."""
    section = config.attack
    if isinstance(section, sections.Dynamics) or section.space.kind == "cartesian":
        return
    structures = _examples(config) if structures is None else structures
    space = space_of(section.space, one_of_each(structures), bonds_of(config))
    if held := [atoms for atoms in structures if atoms.constraints]:
        space.owner(Structures.from_atoms(held))  # raises if a torsion cannot turn without a fixed atom


def _examples(config: Config) -> list[Atoms]:
    system = config.system
    if isinstance(system, sections.Ammonia):
        return [ammonia.starting_geometry()]
    if isinstance(system, sections.AlanineDipeptide):
        return [alanine_dipeptide.geometry()]
    if isinstance(system, sections.Own):
        return read_structures_of(system)
    well = WELLS[system.kind]()
    return well.starting_data(seed=0) if isinstance(well, wells.DoubleWell2D) else well.starting_data()


@dataclass(frozen=True, kw_only=True)
class GenerationStatus:
    """How far a generation has come.

    Attributes:
        generation: Its number, from 1.
        stages: Those that have been committed.
        metrics: The numbers so far.
        failed: Number of labels that failed, by reason.
        open_failures: The same for a stage that is open because of them.
    """

    generation: int
    stages: tuple[str, ...]
    metrics: dict[str, object]
    failed: dict[str, int] = field(default_factory=dict)
    open_failures: dict[str, int] = field(default_factory=dict)


def status(folder: Path | str) -> list[GenerationStatus]:
    """How far a run has come, without touching it.

    Raises:
        ValueError: If the folder holds no run.
    """
    folder = Path(folder)
    if not (folder / "config.yaml").exists():
        raise ValueError(
            f"{folder} is not a run folder: there is no config.yaml; give the --folder of a `sparring run`"
        )
    return [
        GenerationStatus(
            generation=int(one.name.removeprefix("generation-")),
            stages=stages_done(one),
            metrics=read_metrics(one),
            failed=by_reason([error for _, error in label_failures(one)]),
            open_failures=by_reason(read_failures(one / OPEN_FAILURES)),
        )
        for one in sorted(folder.glob("generation-*"))
    ]


def comparison(folder: Path | str) -> str | None:
    """Errors of all generations of a run on the same structures as a table, None where the report has none yet.

    Raises:
        ValueError: If the configuration of the run cannot be read.
    """
    folder = Path(folder)
    common = known_comparison(folder)
    if common is None or not common.generations:
        return None
    unit = unit_of_kind(load(folder / "config.yaml").system.kind)
    return common_table(common, unit).text()
