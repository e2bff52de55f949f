"""``sparring run`` and ``check``, as functions."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from ase import Atoms

from sparring.assembly.planning import architecture, plan
from sparring.assembly.proposing import bonds_of, one_of_each, space_of
from sparring.assembly.resources import using_resources
from sparring.assembly.spaces import have_cells, parts_of
from sparring.atoms.structures import Structures
from sparring.commands.checking import estimate
from sparring.commands.estimates import Estimate
from sparring.commands.run_cache import RunCache
from sparring.commands.skipping import keep_skipped
from sparring.commands.testing import needs_tests, require_start, validate_last
from sparring.committee import Committee
from sparring.config import Config, load, settled
from sparring.config.resources import Resources
from sparring.labels import Bounds, LabelError, LabellingError, causes
from sparring.potentials.foreign.consent import consented
from sparring.reporting import report
from sparring.reporting.tables import common_table
from sparring.runs import loop
from sparring.runs.claim import require_claimable, require_own
from sparring.runs.disk import room_left
from sparring.runs.folder import RunFolder
from sparring.runs.generation import SELECTED
from sparring.runs.label_records import LABELS, require_labels
from sparring.runs.saved_run import SavedRun
from sparring.starting_data.isolated import split_isolated
from sparring.starting_data.screening import require_one_state, screen
from sparring.support.devices import require_device, torch_threads
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.support.stopping import stopped_in
from sparring.systems.base import System
from sparring.systems.own.structures import numbered
from sparring.training.jobs import check_elements
from sparring.validation.barrier.compute import keep_barriers
from sparring.validation.errors.common_set import known_comparison, read_evaluation_file
from sparring.validation.holes.compute import WALLS, Holes, attacked_generations, keep_holes
from sparring.validation.holes.section import summary
from sparring.validation.landscape.compute import keep_landscapes
from sparring.validation.records import read_record

logger = logging.getLogger(__name__)

T = TypeVar("T")
SHOWN = 5
"""Largest number of refused frames that are named; the run names all of them in failures.csv."""

__all__ = ["Estimate", "check", "comparison", "outcome", "run"]


def run(
    config: Config | Path | str,
    folder: Path | str,
    *,
    preset: str | None = None,
    retry_failed: bool = False,
    accept_missing: bool = False,
    trust_pickle: bool = False,
    resources: Resources | Path | str | None = None,
    progress_bars: ProgressBars = no_progress_bars,
    log: Callable[[str], None] | None = None,
    finished_generation: Callable[[dict[str, object]], None] | None = None,
) -> Committee:
    """Start a run, or continue it where it stopped; a finished run is left as it is.

    Args:
        config: Configuration, or path of its file.
        folder: Run folder; it is created if necessary.
        preset: Name of a preset of the file.
        retry_failed: If True, failed labels of the newest label stage are computed again.
        accept_missing: If True, offline labels that were asked for before and have not come count as failed.
        trust_pickle: Consent to unpickle checkpoints of other packages, which can run any program.
        resources: Machines that compute labels, or the path of their file; None for this machine. They may change at
            each resume.
        progress_bars: Progress bars by title.
        log: Function that is called with one line for each stage that is done.
        finished_generation: Function that is called with the metrics of a generation once it is complete.

    Returns:
        The last committee.

    Raises:
        RunFolderError: If the folder is in use, belongs to another configuration, or is damaged.
        ConfigError: If the configuration is wrong.
        ValueError: If the device cannot be used here.
        LabellingError: If labels failed for reasons that are not the geometry's, which leaves their stage open, or if
            no structure of a generation could be labelled, which ends the run.
        BudgetUsedUp: If labels have used the core hours of the resources.
        ExecutorError: If the executor of the resources cannot be used.
        LabelsMissing: If offline labels are awaited, which leaves their stage open.
        AnswerError: If offline labels do not belong to the structures that were asked for.
    """
    folder = Path(folder)
    if not isinstance(config, Config):
        config = load(config, preset)
    require_own(SavedRun(folder))
    config = settled(config, folder)
    require_claimable(SavedRun(folder), config)
    # Before the folder is claimed: an unknown method or torsion must not leave a run behind.
    if not SavedRun(folder).exists:
        _try_space(config)
        _try_system(config.system.build())
        read_evaluation_file(config.evaluation)
        require_start(config.evaluation)
    require_device(config.device)
    with ExitStack() as stack:
        if trust_pickle:
            stack.enter_context(consented())
        stack.enter_context(using_resources(resources))
        planned = plan(config, folder, progress_bars, accept_missing=accept_missing)
        stack.enter_context(torch_threads(config.threads))
        stack.enter_context(stopped_in("preparations or report"))
        run_folder = stack.enter_context(RunFolder(folder, config, log))
        if retry_failed:
            run_folder.reopen_failed_labels()
        keep_skipped(config.system.build(), run_folder)
        require_labels(run_folder.saved, config.labels.store or folder / LABELS, run_folder.log)
        cache = RunCache(planned, run_folder, finished_generation)
        committee = loop.run(planned, cache)
        page = run_folder.saved.report
        if run_folder.computed or run_folder.needs_report or needs_tests(config, folder):
            with room_left(folder, "it had drawn its report"):
                _validate(config, folder, progress_bars)
                validate_last(config, folder, run_folder.log, progress_bars)
                report(folder)
                run_folder.note_derived()
        else:
            run_folder.log("the run is finished: nothing was left to do")
        _require_labelled(cache.unlabelled, page)
        return committee


def _require_labelled(failures: list[LabelError], page: Path) -> None:
    if failures:
        raise LabellingError(
            f"the run ends before its last generation: none of the {len(failures)} structures that were chosen could "
            f"be labelled\n{causes(failures)}\nreport: {page}. --retry-failed computes these labels again; bounds "
            "(labels.bounds) and attacks belong to another run",
            failures,
        )


def _validate(config: Config, folder: Path, progress_bars: ProgressBars) -> None:
    """Compute the validations that the report of every run on the system shows."""
    wanted = config.system.build().in_report
    if "landscape" in wanted:
        keep_landscapes(folder, progress_bars)
    if "barrier" in wanted:
        keep_barriers(folder, progress_bars)
    attacks = any(section.kind == "adversarial" for section in config.proposers)
    if config.committee.kind != "trained" and attacks and attacked_generations(folder):
        keep_holes(folder)


def check(config: Config) -> Estimate:
    """Find mistakes before a long run: read the structures, and compute a few labels.

    Labels are kept only if the configuration names a store. Problems of the input are in ``findings``; see
    :func:`sparring.commands.checking.estimate`.

    Raises:
        ValueError: If the structures cannot be read or do not fit the space of attacks, the potential or the labeller
            is unknown, the potential does not support an element, or the device cannot be used here.
        LabelError: If no label can be computed.
    """
    require_device(config.device)
    potentials = getattr(config.committee, "potentials", (config.committee.potential,))
    networks = [] if config.training.kind == "command" else [architecture(section) for section in potentials]
    system = config.system.build()
    structures = _plausible(config, system)
    for network in networks:
        check_elements((int(number) for atoms in structures for number in atoms.numbers), network)
    _try_space(config, structures)
    _try_system(system, structures)
    read_evaluation_file(config.evaluation)
    require_start(config.evaluation)
    return estimate(config, structures)


def _plausible(config: Config, system: System) -> list[Atoms]:
    """Structures that a run would begin with, without isolated atoms of a file; problems are logged."""
    structures = system.structures()
    if system.file is None:
        return structures
    file = str(system.file)
    require_one_state(structures, potential=config.committee.potential.kind, file=file)
    failures: list[LabelError] = []
    bounds = Bounds(**config.labels.bounds.arguments())  # type: ignore[arg-type]
    kept = screen(numbered(structures), bounds, lambda _, error: failures.append(error), file=file)
    for error in failures[:SHOWN]:
        logger.warning("%s", error)
    molecules, _ = split_isolated(kept)
    if not molecules:
        raise ValueError(f"{file}: nothing is left to begin with; the first reason: {[*failures, 'isolated atoms'][0]}")
    return molecules


def _try_space(config: Config, structures: list[Atoms] | None = None) -> None:
    """Raise if the space of attacks does not fit the structures; these are needed only if it depends on them."""
    spaces = [getattr(section, "space", None) for section in config.proposers]
    for section in spaces:
        if section is None or section.kind == "cartesian":
            continue
        structures = config.system.build().structures() if structures is None else structures
        space = space_of(section, one_of_each(structures), bonds_of(config))
        if any(part.kind == "strain" for part in parts_of(section)):
            have_cells(structures)
        if held := [atoms for atoms in structures if atoms.constraints]:
            space.owner(Structures.from_atoms(held))  # raises if a torsion cannot turn without a fixed atom


def _try_system(system: System, structures: list[Atoms] | None = None) -> None:
    """Check that the structures have what the system needs, such as torsions."""
    if system.check is not None:
        system.check(system.structures() if structures is None else structures)


def comparison(folder: Path | str) -> str | None:
    """Errors of all generations of a run on the same structures as a table, None where the report has none yet.

    Raises:
        ValueError: If the configuration of the run cannot be read.
    """
    folder = Path(folder)
    common = known_comparison(folder)
    if common is None or not common.generations:
        return None
    unit = SavedRun(folder).config().system.build().unit
    return common_table(common, unit).text()


def outcome(folder: Path | str) -> list[str]:
    """Lines about the attacks of a run without a labeller and the structures that it has selected.

    There are none for other runs, and before the selection.

    Raises:
        ValueError: If the configuration of the run cannot be read.
    """
    run = SavedRun(Path(folder))
    first = run.generation(1)
    if run.config().labels.labeller.kind != "none" or "select" not in first.stages_done:
        return []
    record, lines = first.folder / "validation" / "holes.json", list[str]()
    if record.is_file():
        holes = read_record(record, Holes)
        lines.append(summary(holes))
        if holes.found:
            lines.append(f"geometries on top of the walls: {record.with_name(WALLS)}")
    n_selected = len(first.selected())
    if not n_selected:
        return [*lines, "no candidate was selected: nothing is to be labelled"]
    return [*lines, f"{n_selected} structure{'s' * (n_selected > 1)} to be labelled: {first.folder / SELECTED}"]
