"""The sections of the page about validations: what `sparring validate` has written into the folders of a run.

A section stands where a result is. Where there is none, the page says which command makes it; where a file cannot be
used, it says why, and all the rest of the page is there all the same.
"""

import shlex
from dataclasses import dataclass

from sparring.inputs.extxyz import read_structures
from sparring.reporting import validation_tables
from sparring.reporting.data import Run
from sparring.reporting.explore import Mapped
from sparring.reporting.figures.barrier import barrier_figure
from sparring.reporting.figures.diversity import diversity_figure
from sparring.reporting.figures.errors import errors_figure
from sparring.reporting.figures.stability import stability_figure
from sparring.reporting.maps import free_energies, landscapes
from sparring.reporting.results import Results
from sparring.reporting.sections import Section, natural, quoted, section_of
from sparring.reporting.sheets import Sheet
from sparring.validation.barrier.compute import Barriers
from sparring.validation.diversity.compute import Diversity
from sparring.validation.errors.compute import ErrorReport
from sparring.validation.stability.trials import Stability

__all__ = ["Section", "Validations", "validations"]


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
    maps = (landscapes(run), landscapes(run, "relaxed"), free_energies(run))
    sections = (_barrier(run), _stability(run), *maps, _errors(run), diversity)
    return Validations(sections=tuple(one for one in sections if one is not None), mapped=mapped)


def _barrier(run: Run) -> Section | None:
    if not run.system.is_molecular:
        return None
    files, folder = Results(run=run), shlex.quote(str(run.folder))
    ends = " START.xyz END.xyz" if run.system.endpoints is None else ""
    command = f"sparring validate barrier {folder}{ends} --config {shlex.quote(str(run.folder / 'config.yaml'))}"
    whole = files.of_run("barrier.json", Barriers, command)
    parts = files.of_generations("barrier.json", Barriers)
    found = [*([] if whole is None else [whole]), *parts.values()]
    # What was made of the whole run goes before what was made of single committees: all of it has the same settings.
    paths = {name: path for one in reversed(found) for name, path in one.committees.items()}
    paths = {name: paths[name] for name in sorted(paths, key=natural)}
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
            notes=(*notes, *quoted(run, "barrier_error")),
        )

    files.complete([*paths, *failed])
    return section_of(files, "barrier", "Barrier", show if paths else None)


def _stability(run: Run) -> Section | None:
    if not run.system.is_molecular:
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
            notes=(*validation_tables.protocols(results), *quoted(run, "stable")),
        )

    return section_of(files, "stability", "Stability", show if results else None)


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

    return section_of(files, "errors", "Errors and their detection", show if reports else None)


def _diversity(run: Run) -> tuple[Mapped | None, Section | None]:
    if not run.system.is_molecular:
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
            notes=(*validation_tables.NOVELTY, *quoted(run, "diversity")),
        )

    return mapped, section_of(files, "diversity", "Diversity", show if diversity is not None else None)


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
