"""The sections of the page about validations: what `sparring validate` has written into the folders of a run.

A section stands where a result is. Where there is none, the page says which command makes it; where a file cannot be
used, it says why, and all the rest of the page is there all the same.
"""

import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sparring.extxyz import read_structures
from sparring.reporting import validation_tables
from sparring.reporting.data import Run
from sparring.reporting.explore import Mapped
from sparring.reporting.figures.barrier import barrier_figure
from sparring.reporting.figures.diversity import diversity_figure
from sparring.reporting.figures.errors import errors_figure
from sparring.reporting.figures.landscape import landscape_sheet
from sparring.reporting.figures.stability import stability_figure
from sparring.reporting.paper import remarks
from sparring.reporting.results import Results
from sparring.reporting.sheets import Sheet
from sparring.reporting.tables import Table
from sparring.validation.barrier_runs import Barriers
from sparring.validation.diversity import Diversity
from sparring.validation.error_report import ErrorReport
from sparring.validation.landscape import Landscape, Landscapes
from sparring.validation.trials import Stability

__all__ = ["Section", "Validations", "validations"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Section:
    """What the page shows of one kind of validation.

    Attributes:
        name: For addresses within the page.
        title: For people.
        sheets: Figures.
        table: Numbers.
        notes: Lines below.
        missing: Commands that would complete it.
        problems: Why a file was not used.
    """

    name: str
    title: str
    sheets: tuple[Sheet, ...] = ()
    table: Table | None = None
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Validations:
    """All sections, and the map of likeness if there is one."""

    sections: tuple[Section, ...]
    mapped: Mapped | None


def validations(run: Run) -> Validations:
    """All that is known of how good the committees of a run are."""
    if not any(generation.training is not None for generation in run.generations):
        return Validations(sections=(), mapped=None)
    mapped, diversity = _diversity(run)
    sections = (_barrier(run), _stability(run), _landscape(run), _errors(run), diversity)
    return Validations(sections=tuple(one for one in sections if one is not None), mapped=mapped)


def _is_well(run: Run) -> bool:
    return run.kind.startswith("double_well")


def _barrier(run: Run) -> Section | None:
    if _is_well(run):
        return None
    files, folder = Results(run=run), shlex.quote(str(run.folder))
    ends = "" if run.kind == "ammonia" else " START.xyz END.xyz"
    command = f"sparring validate barrier {folder}{ends} --config {shlex.quote(str(run.folder / 'config.yaml'))}"
    whole = files.of_run("barrier.json", Barriers, command)
    parts = files.of_generations("barrier.json", Barriers)
    found = [*([] if whole is None else [whole]), *parts.values()]
    # What was made of the whole run goes before what was made of single committees: all of it has the same settings.
    paths = {name: path for one in reversed(found) for name, path in one.committees.items()}
    paths = {name: paths[name] for name in sorted(paths, key=_natural)}
    truth = next((one.truth for one in found if one.truth is not None), None)
    failed = {name: why for one in found for name, why in one.failures.items()}

    def show() -> Section:
        figure = barrier_figure(paths, truth=truth, unit=run.unit)
        caption = (
            "Nudged elastic bands between the same two minima, each on its own surface; the band of colour is one "
            "standard deviation between the members."
        )
        notes = [f"{name} has no path: {why}" for name, why in failed.items()]
        if truth is None:
            notes.append(f"The true path is not known yet: {command}")
        return Section(
            name="barrier",
            title="Barrier",
            sheets=(Sheet(name="barrier", title="Energy along the path", caption=caption, figure=figure),),
            table=validation_tables.barriers(run, paths, truth),
            notes=(*notes, *_quoted(run, "barrier_error")),
        )

    files.complete([*paths, *failed])
    return _section(files, "barrier", "Barrier", show if paths else None)


def _stability(run: Run) -> Section | None:
    if _is_well(run):
        return None
    files = Results(run=run)
    results = files.of_generations("stability.json", Stability)
    files.ask_for("stability.json", "sparring validate stability")

    def show() -> Section:
        caption = "Copies of one structure in dynamics under each committee, and what part of them stays physical."
        sheet = Sheet(
            name="stability", title="Copies that stay physical", caption=caption, figure=stability_figure(results)
        )
        return Section(
            name="stability",
            title="Stability",
            sheets=(sheet,),
            table=validation_tables.stabilities(run, results),
            notes=(*validation_tables.protocols(results), *_quoted(run, "stable")),
        )

    return _section(files, "stability", "Stability", show if results else None)


def _landscape(run: Run) -> Section | None:
    files, folder = Results(run=run), shlex.quote(str(run.folder))
    known = run.kind == "ammonia" or _is_well(run)
    grid = "" if known else " GRID.xyz --x NAME"
    whole = files.of_run("landscape.json", Landscapes, f"sparring validate landscape {folder}{grid}")
    parts = files.of_generations("landscape.json", Landscapes)
    found = [*([] if whole is None else [whole]), *parts.values()]
    maps = {name: one for many in reversed(found) for name, one in many.committees.items()}
    maps = {name: maps[name] for name in sorted(maps, key=_natural)}

    def show() -> Section:
        caption = (
            "The committee's mean energy and its σ_F, generation by generation, beside the truth; dots are labelled "
            "structures. Below the truth: root mean square errors over all points whose true energy is below a cap."
        )
        sheets = [
            Sheet(
                name=f"landscape{'' if number == 0 else f'_{number + 1}'}",
                title="Energy and uncertainty",
                caption=caption,
                figure=landscape_sheet(Landscapes(committees=group), unit=run.unit),
            )
            for number, group in enumerate(_same_grid(maps))
        ]
        return Section(
            name="landscape",
            title="Landscape",
            sheets=tuple(sheets),
            table=validation_tables.landscapes(run, maps),
            notes=_quoted(run, "landscape"),
        )

    files.complete([*maps])
    return _section(files, "landscape", "Landscape", show if maps else None)


def _errors(run: Run) -> Section | None:
    files = Results(run=run)
    reports = files.of_generations("errors.json", ErrorReport)
    files.ask_for("errors.json", "sparring validate errors")

    def show() -> Section:
        name, newest = list(reports.items())[-1]
        caption = (
            "Errors on labels that the committee has not seen, by energy; and what its uncertainty said of them: rank, "
            "size (calibration), detection of unreliable structures (Eq. 8), and coverage."
        )
        sheet = Sheet(
            name="errors",
            title=f"Errors and uncertainty, {name}",
            caption=caption,
            figure=errors_figure(newest, unit=run.unit),
        )
        return Section(
            name="errors",
            title="Errors and their detection",
            sheets=(sheet,),
            table=validation_tables.errors(run, reports),
            notes=validation_tables.legend(run, reports),
        )

    return _section(files, "errors", "Errors and their detection", show if reports else None)


def _diversity(run: Run) -> tuple[Mapped | None, Section | None]:
    if _is_well(run):
        return None, None
    files = Results(run=run)
    command = f"sparring validate diversity {shlex.quote(str(run.folder))}"
    diversity = files.of_run("diversity.json", Diversity, command)
    mapped = None
    if diversity is not None:
        files.missing.clear()
        mapped = _with_structures(files, diversity)

    def show() -> Section:
        assert diversity is not None
        caption = (
            "Likeness of all labelled structures, their energies, and how far they are from the ground state. A map "
            "keeps neighbourhoods; distances between islands mean little."
        )
        sheet = Sheet(
            name="diversity",
            title="Likeness, energy and distortion",
            caption=caption,
            figure=diversity_figure(diversity, unit=run.unit),
        )
        return Section(
            name="diversity",
            title="Diversity",
            sheets=(sheet,),
            table=validation_tables.diversities(run, diversity),
            notes=(*validation_tables.NOVELTY, *_quoted(run, "diversity")),
        )

    return mapped, _section(files, "diversity", "Diversity", show if diversity is not None else None)


def _with_structures(files: Results, diversity: Diversity) -> Mapped | None:
    path = files.run.folder / "validation" / "diversity.extxyz"
    try:
        frames = read_structures(path, allow_dummy=True)
    except (ValueError, OSError) as error:
        files.problems.append(f"The explorer has no map of likeness: {error}")
        return None
    if len(frames) != len(diversity.energy):
        n_frames, n_rows = len(frames), len(diversity.energy)
        files.problems.append(
            f"The explorer has no map of likeness: diversity.extxyz has {n_frames} structures, diversity.json {n_rows}"
        )
        return None
    return Mapped(diversity=diversity, frames=frames)


# --- parts ----------------------------------------------------------------------------------------------------------


def _section(files: Results, name: str, title: str, show: Callable[[], Section] | None) -> Section:
    """The section as far as it can be shown, with all that is to be said about its files."""
    section = Section(name=name, title=title)
    if show is not None:
        try:
            section = show()
        # A file can be wrong in more ways than can be foreseen, and the rest of the page is worth having.
        except Exception as error:
            logger.warning("the report has no section on %s", title, exc_info=error)
            files.problems.append(f"What is there cannot be shown ({type(error).__name__}: {error}); make it again.")
    return Section(
        name=name,
        title=title,
        sheets=section.sheets,
        table=section.table,
        notes=section.notes,
        missing=tuple(files.missing),
        problems=tuple(files.problems),
    )


def _quoted(run: Run, quantity: str) -> tuple[str, ...]:
    return tuple(f"The paper ({one.where}): {one.words}" for one in remarks(run.kind, quantity))


def _natural(name: str) -> tuple[str, int]:
    """Generation 2 before generation 10."""
    words, _, number = name.rpartition(" ")
    return (words, int(number)) if number.isdecimal() else (name, 0)


def _same_grid(maps: Mapping[str, Landscape]) -> Sequence[dict[str, Landscape]]:
    """Landscapes that can stand side by side, because their grids are the same."""
    groups: dict[tuple[object, ...], dict[str, Landscape]] = {}
    for name, one in maps.items():
        y = None if one.y is None else (one.y.name, one.y.values.tobytes())
        groups.setdefault((one.x.name, one.x.values.tobytes(), y, one.zero), {})[name] = one
    return list(groups.values())
