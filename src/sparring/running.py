"""``sparring init``, ``check``, ``run`` and ``status``, as functions."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ase import Atoms

from sparring import loop
from sparring.attacking import bonds_of, one_of_each, space_of
from sparring.committee import Committee
from sparring.config import Config, load, sections, template_files
from sparring.files import write_text
from sparring.isolated import split_isolated
from sparring.labels import Bounds, Label, LabelError, label, n_langevin_snapshots
from sparring.laboratory import labeller
from sparring.planning import candidates_per_seed, plan
from sparring.progress import Watch, unwatched
from sparring.reporting import report
from sparring.runfolder import RunFolder, read_metrics, stages_done
from sparring.screening import screen, tell_states
from sparring.systems import alanine_dipeptide, ammonia, own, wells
from sparring.systems.wells import WELLS
from sparring.validation.landscape_runs import keep_landscapes
from sparring.validation.torsion_runs import plane_of

logger = logging.getLogger(__name__)

T = TypeVar("T")
SHOWN = 5
"""Frames that are refused are named up to this number; the run names all of them in failures.csv."""

__all__ = ["Estimate", "GenerationStatus", "check", "init", "run", "status"]


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
    watch: Watch = unwatched,
    announce: Callable[[str], None] | None = None,
    finished_generation: Callable[[dict[str, object]], None] | None = None,
) -> Committee:
    """Start a run, or go on with it where it stopped; a finished one is left alone.

    Args:
        config: The configuration, or its file.
        folder: The run folder.
        preset: A preset of the file.
        watch: Gives long work something to tick.
        announce: Called with a line whenever a stage is done.
        finished_generation: Called with the metrics of a generation once it is complete.

    Returns:
        The last committee.

    Raises:
        RunFolderError: If the folder is in use, belongs to another configuration, or is damaged.
        ConfigError: If the configuration is wrong.
    """
    folder = Path(folder)
    if not isinstance(config, Config):
        config = load(config, preset)
    # Before the folder is claimed: a method that nobody knows, or a torsion, must not leave a run behind.
    if not (folder / "config.yaml").exists():
        _try_space(config)
    planned = plan(config, folder, watch)
    with RunFolder(folder, config, announce) as run_folder:
        committee = loop.run(planned, _Telling(run_folder, finished_generation))
        if run_folder.computed or not (folder / "report.html").exists():
            if plane_of(config) is not None:
                keep_landscapes(folder, watch)
            report(folder)
        else:
            run_folder.announce("the run is finished: nothing was left to do")
        return committee


class _Telling:
    """Stages through the run folder, with a word at the end of each generation."""

    def __init__(self, folder: RunFolder, tell: Callable[[dict[str, object]], None] | None) -> None:
        self.folder = folder
        self.tell = tell

    def __call__(self, generation: int, stage: str, compute: Callable[[], T]) -> T:
        result = self.folder.once(generation, stage, compute)
        last = generation == self.folder.config.generations and stage == "evaluate"
        if self.tell and (last or stage == "label"):
            self.tell(read_metrics(self.folder.path / f"generation-{generation:02d}"))
        return result


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run would do, and what one label costs.

    Attributes:
        method: Of the labels.
        label: Of a structure that the run would begin with.
        n_start: Labels to begin with, about.
        n_labels: Labels of attacks in all generations, at most.
        n_generations: Committees that are trained.
    """

    method: str
    label: Label
    n_start: int
    n_labels: int
    n_generations: int


def check(config: Config) -> Estimate:
    """Try what can go wrong before the cluster hours are spent: read the structures, and compute one label.

    Raises:
        ValueError: If the structures cannot be read or have not what is to be attacked, or the labeller is not known.
        LabelError: If the label fails.
    """
    worker = labeller(config)
    structures = _plausible(config, _examples(config))
    _try_space(config, structures)
    (result,) = label(structures[:1], worker).labels
    if not isinstance(result, Label):
        raise result
    return Estimate(
        method=worker.method,
        label=result,
        n_start=_n_start(config, structures),
        n_labels=_n_labels(config, structures),
        n_generations=config.generations,
    )


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
    space_of(section.space, one_of_each(_examples(config) if structures is None else structures), bonds_of(config))


def _examples(config: Config) -> list[Atoms]:
    system = config.system
    if isinstance(system, sections.Ammonia):
        return [ammonia.starting_geometry()]
    if isinstance(system, sections.AlanineDipeptide):
        return [alanine_dipeptide.geometry()]
    if isinstance(system, sections.Own):
        return own.read_own(**system.arguments("enlarge"))  # type: ignore[arg-type]
    well = WELLS[system.kind]()
    return well.starting_data(seed=0) if isinstance(well, wells.DoubleWell2D) else well.starting_data()


def _n_start(config: Config, structures: list[Atoms]) -> int:
    """Labels before the first training: of structures that have none, and of Hessians by central differences."""
    system = config.system
    if isinstance(system, sections.Ammonia):
        return system.n_structures + 6 * 4
    if isinstance(system, sections.AlanineDipeptide):
        return _n_snapshots(system.sampling)
    n_unlabelled = sum(not own.is_labelled(atoms) for atoms in structures)
    enlarge = system.enlarge if isinstance(system, sections.Own) else None
    if isinstance(enlarge, sections.NormalModes):
        return n_unlabelled + enlarge.n_structures + sum(6 * len(atoms) for atoms in structures)
    return n_unlabelled + _n_added(enlarge, structures)


def _n_added(
    enlarge: sections.NormalModes | sections.Displacements | sections.Langevin | None, structures: list[Atoms]
) -> int:
    """By how many structures a file is enlarged, without the minima that normal modes need."""
    if isinstance(enlarge, sections.Langevin):
        return len(structures) * _n_snapshots(enlarge)
    return enlarge.n_structures if enlarge else 0


def _n_snapshots(section: sections.Langevin) -> int:
    return n_langevin_snapshots(duration=section.duration, every=section.every, timestep=section.timestep)


def _n_labels(config: Config, structures: list[Atoms]) -> int:
    """Labels of attacks, if every attack passes the selection but for its budgets."""
    system, n_data = config.system, len(structures)
    if isinstance(system, sections.Ammonia):
        n_data = system.n_structures
    elif isinstance(system, sections.AlanineDipeptide):
        n_data = _n_snapshots(system.sampling)
    elif isinstance(system, sections.Own):
        n_minima = len(structures) if isinstance(system.enlarge, sections.NormalModes) else 0
        n_data += _n_added(system.enlarge, structures) + n_minima
    budgets = [step.n for step in config.selection if isinstance(step, sections.Budget)]
    n_labels = 0
    for _ in range(config.generations - 1):
        n_seeds = config.attack.n_seeds or n_data + n_labels
        n_labels += min([n_seeds * candidates_per_seed(config), *budgets])
    return n_labels


@dataclass(frozen=True, kw_only=True)
class GenerationStatus:
    """How far a generation has come.

    Attributes:
        generation: Its number, from 1.
        stages: Those that have been committed.
        metrics: The numbers so far.
    """

    generation: int
    stages: tuple[str, ...]
    metrics: dict[str, object]


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
        )
        for one in sorted(folder.glob("generation-*"))
    ]
