"""Report of a study of strategies: its record, its figures and its page."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from matplotlib import rc_context

from sparring.plots.style import STYLE
from sparring.support.files import write_text
from sparring.validation.records import read_record, write_record
from studies.common.figures import FigureFolder
from studies.common.layout import Layout
from studies.common.records import Results

__all__ = ["page", "report", "write_outcomes"]

S = TypeVar("S", bound=Layout)
R = TypeVar("R", bound=Results[Any])


def report(
    name: str,
    study: S,
    output: Path,
    *,
    keep: bool,
    kind: type[R],
    collect: Callable[[S, R | None], R],
    figures: Callable[[S, R, FigureFolder], None],
    page: Callable[[S, R, Mapping[str, str]], str],
) -> str:
    """Write record, page and figures; gives a text about what was written and what is missing.

    Args:
        name: Name of the study and of its files.
        study: Study whose folder is read.
        output: Folder of the files.
        keep: Switch that keeps results of the record in `output` that the folder does not have.
        kind: Class of the record.
        collect: Function that reads all results.
        figures: Function that draws and saves all figures.
        page: Function that gives the page from captions by file name.

    Raises:
        ValueError: If there is no committee yet.
    """
    file = output / f"{name}.json"
    results = collect(study, read_record(file, kind) if keep and file.exists() else None)
    if not results.committees:
        raise ValueError(f"{study.folder} has no committee yet; compute some: python -m studies.{name} run")
    output.mkdir(parents=True, exist_ok=True)
    write_record(file, results)
    folder = FigureFolder(output)
    with rc_context(STYLE):
        figures(study, results, folder)
    write_text(output / f"{name}.md", page(study, results, folder.captions))
    written = [f"{name}.json", f"{name}.md", *folder.captions]
    left = [f"missing: {one}" for one in results.missing] or ["nothing is missing"]
    return "\n".join([f"{output}: {', '.join(written)}", *left])


def page(
    title: str, results: Results[Any], introduction: str, parts: Sequence[str], captions: Mapping[str, str]
) -> str:
    """A page as Markdown: introduction, tables, figures with captions, and what is missing.

    Args:
        title: Title of the page.
        results: Results with command and what is missing.
        introduction: Text before the tables.
        parts: Tables and other parts; empty ones are left out.
        captions: Captions of figures by file name.
    """
    pictures = [f"![{caption}]({name})\n\n{caption}" for name, caption in captions.items()]
    missing = "\n".join(f"- {one}" for one in results.missing) or "Nothing."
    whole = [f"# {title}", f"Made by `{results.command}`.", introduction, *parts, *pictures, f"## Missing\n\n{missing}"]
    return "\n\n".join(part for part in whole if part) + "\n"


def write_outcomes(name: str, outcomes: Sequence[Any], output: Path, page: Callable[[Sequence[Any]], str]) -> str:
    """Write page and record of a study of single committees; gives a text about what was written.

    Args:
        name: Name of the study and of its files.
        outcomes: Results of the committees, each a dataclass.
        output: Folder of the files.
        page: Function that gives the page.

    Raises:
        ValueError: If nothing has been computed.
    """
    if not outcomes:
        raise ValueError(f"nothing has been computed yet: python -m studies.{name} run")
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / f"{name}.json", json.dumps([asdict(one) for one in outcomes], indent=1) + "\n")
    write_text(output / f"{name}.md", page(outcomes))
    return f"{output}: {name}.json, {name}.md"
