"""One self-contained page about a run, and its figures: Jinja fills the template, Matplotlib's figures are embedded."""

import base64
import hashlib
import logging
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined

from sparring.config.reading import read
from sparring.plots.saving import rendered
from sparring.reporting import explore
from sparring.reporting.answers import Answer, answers_of
from sparring.reporting.answers.facts import facts_of
from sparring.reporting.data import Run
from sparring.reporting.expectations import new_label_sheets
from sparring.reporting.overview import overview
from sparring.reporting.reading import labels_structures, read_run
from sparring.reporting.sheets import comparison, sheets
from sparring.reporting.tables import common_notes, common_table, funnel, generation_table, reference_barrier, stopped
from sparring.reporting.terminal import starting_line
from sparring.reporting.uncertain_atoms import uncertain_atoms_table, uncertain_atoms_words
from sparring.reporting.validations import Section, Validations, validations
from sparring.reporting.verdict import failure_counts, open_failures, verdict, warnings
from sparring.reporting.yields import yield_table
from sparring.runs.derived import DRAWN_FROM, state_of
from sparring.runs.saved_run import SavedRun
from sparring.support.checksums import record
from sparring.support.digest import bytes_digest
from sparring.support.files import write_bytes
from sparring.support.printable import file_name, printable
from sparring.validation.base import ReportFigure
from sparring.validation.errors.common_set import compare_committees

logger = logging.getLogger(__name__)

MOST_FAILURES = 50
"""Largest number of failed labels that are listed; the others are counted."""


class Picture(NamedTuple):
    """A rendered figure with its description and its natural width in pixels."""

    description: ReportFigure
    width: int
    svg: bytes
    png: bytes

    @property
    def address(self) -> str:
        """The drawing as an image address that needs no second file."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()


class First(NamedTuple):
    """The top of the page: answers, the figures below them, and whether the run is finished."""

    answers: tuple[Answer, ...] = ()
    pictures: tuple[Picture, ...] = ()
    is_finished: bool = False


class Script(NamedTuple):
    """A script of the page, and its digest for the content security policy."""

    code: str
    digest: str


def report(folder: Path | str) -> Path:
    """Writes `report.html` and `figures/*.png`, `figures/*.svg` into a run folder, finished or not; returns the page.

    It reads nothing outside the folder but the file of the section ``evaluation``, and the page needs nothing outside
    itself. Errors of all committees on one set are computed where they are not known yet.

    Raises:
        ValueError: If the folder holds no run.
    """
    folder = Path(folder)
    problem = _compare(folder)
    drawn_from = state_of(folder)
    run = read_run(folder)
    known, first = validations(run), _first(folder, run)
    compared = comparison(run)
    pictures = [_picture(sheet) for sheet in _sheets(run)]
    compared_pictures = [] if compared is None else [_picture(compared)]
    results = [(section, [_picture(sheet) for sheet in section.figures]) for section in known.sections]
    files = {"../report.html": _page(run, first, pictures, known, results, compared_pictures, problem).encode()}
    for picture in [
        *first.pictures,
        *compared_pictures,
        *pictures,
        *(picture for _, several in results for picture in several),
    ]:
        name = file_name(picture.description.name)
        files |= {f"{name}.svg": picture.svg, f"{name}.png": picture.png}
    _write(folder / "figures", files, drawn_from)
    return folder / "report.html"


def _write(figures: Path, files: Mapping[str, bytes], drawn_from: str) -> None:
    """Write the page and its figures; what they were drawn from is noted last, so that an older page is known."""
    figures.mkdir(exist_ok=True)
    record(figures, {name: bytes_digest(content) for name, content in files.items()}, **{DRAWN_FROM: ""})
    for name, content in reversed([*files.items()]):
        write_bytes(figures.parent / name[3:] if name.startswith("../") else figures / name, content)
    record(figures, {}, **{DRAWN_FROM: drawn_from})


def _compare(folder: Path) -> str:
    """Compare the committees on one set; returns the reason if that is not possible."""
    try:
        if _has_labels(folder):
            compare_committees(folder)
    # A file or a committee can be wrong in ways that cannot be foreseen; the rest of the page is shown.
    except Exception as error:
        logger.warning("the committees cannot be compared on one set: %s", error)
        return f"The committees cannot be compared on one set: {error}"
    return ""


def _has_labels(folder: Path) -> bool:
    """False for a run without a labeller, whose committee is not compared with anything but a file."""
    saved = SavedRun(folder)
    sections: dict[str, Any] = read(saved.config_file, saved.config_text()).data
    return labels_structures(sections) or bool((sections.get("evaluation") or {}).get("file"))


def _sheets(run: Run) -> tuple[ReportFigure, ...]:
    if not run.generations:
        return ()
    if not run.labels or not any(one.training is not None for one in run.generations):
        return sheets(run)
    caption = "Labels of the run, uncertainty along its attacks, and the error of each committee."
    return (ReportFigure(name="overview", title="At a glance", caption=caption, figure=overview(run)), *sheets(run))


def _first(folder: Path, run: Run) -> First:
    """The top of the page."""
    facts = facts_of(folder)
    if facts is None:
        return First()
    sheets = new_label_sheets(facts.rounds, [one.number for one in run.generations], facts.stop)
    return First(answers_of(facts), tuple(_picture(sheet) for sheet in sheets), facts.is_finished)


def _page(
    run: Run,
    first: First,
    pictures: Sequence[Picture],
    known: Validations,
    results: Sequence[tuple[Section, Sequence[Picture]]],
    compared: Sequence[Picture],
    problem: str,
) -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    # Jinja's tojson also escapes what would end a script.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False, "ensure_ascii": False}
    template = environment.from_string(
        resources.files("sparring.reporting").joinpath("template.html").read_text(encoding="utf-8")
    )
    failures = [(generation.number, failure) for generation in run.generations for failure in generation.failures]
    return template.render(
        run=run,
        first=first,
        verdict=verdict(run),
        problem=problem,
        compared=compared,
        common_table=None if compared is None or run.common is None else common_table(run.common, run.unit),
        common_notes=common_notes(run),
        has_errors=any(generation.metric("errors", "test", "energy_mae") is not None for generation in run.generations),
        n_evaluated=sum(generation.metric("errors") is not None for generation in run.generations),
        table=generation_table(run),
        yields=yield_table(run.yields, run.unit) if run.yields else None,
        uncertain=uncertain_atoms_table(run.uncertain) if run.uncertain else None,
        uncertain_words=uncertain_atoms_words(run.uncertain) if run.uncertain else (),
        reference_barrier=reference_barrier(run),
        funnels=[
            (generation, stages, stopped(generation))
            for generation in run.generations
            if (stages := funnel(generation))
        ],
        starting=next((line for one in run.generations if (line := starting_line(one.metrics))), None),
        failures=failures[:MOST_FAILURES],
        n_failures=len(failures),
        failure_counts=failure_counts(run),
        open_failures=open_failures(run),
        warnings=warnings(run),
        pictures=pictures,
        results=[one for one in results if one[1] or one[0].problems],
        missing=[(section.title, section.missing) for section in known.sections if section.missing],
        explorer=explore.explorer(run, known.embedded),
        explorer_style=explore.style(),
        script=_script(),
    )


def _shown(value: object) -> object:
    """A value of the page; markup, which is a text of another type, stays as it is."""
    return printable(value) if type(value) is str else value


def _script() -> Script:
    code = f"\n{explore.scripts()}"
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return Script(code, f"sha256-{digest}")


def _picture(description: ReportFigure) -> Picture:
    content = rendered(description.figure, ("svg", "png"))
    return Picture(
        description=description,
        width=round(96 * description.figure.get_figwidth()),
        svg=content["svg"],
        png=content["png"],
    )
