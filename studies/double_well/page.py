"""The page of the double well, its record and its figures, from all loops that have been computed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from sparring.plots.style import STYLE
from sparring.support.files import write_text
from sparring.support.tables import Cell, Column, Table
from studies.common.figures import save_figure
from studies.common.tables import numbers
from studies.double_well.figures import curves, landscapes, profiles
from studies.double_well.loops import start_loop
from studies.double_well.protocol import Protocol
from studies.double_well.results import ERRORS, NAMES, Record, Study, aggregate, merge, n_loops, studies

__all__ = ["page", "report"]

PREFACE = Path(__file__).with_name("preface.md")
CAPTIONS = {
    "curves": "Error, labels and sampled energies by generation",
    "loop": "The first loop, generation by generation",
}


def report(folder: Path, output: Path, *, keep: bool = False) -> Iterator[str]:
    """Write ``double_well.json``, ``double_well.md`` and the figures; yields the files that have been written.

    Args:
        folder: Folder of the loops.
        output: Folder of the report.
        keep: Switch that keeps studies of the record in `output` that the folder does not have, or has fewer loops of.
    """
    output.mkdir(parents=True, exist_ok=True)
    file = output / "double_well.json"
    found = studies(folder)
    records: Mapping[str, Record] = {study.name: aggregate(study) for study in found}
    if keep and file.exists():
        records = merge(records, json.loads(file.read_text(encoding="utf-8")))
    write_text(file, json.dumps(records, separators=(",", ":")) + "\n")
    yield str(file)
    with rc_context(STYLE):
        for name, record in records.items():
            yield str(save_figure(curves(record), output / f"double_well_{name}_curves"))
        for study in found:
            # Records have no predictions on the grid: figures of loops of another machine stay as they are.
            figure = first_loop(study)
            if figure is not None:
                yield str(save_figure(figure, output / f"double_well_{study.name}_loop", is_map=True))
    write_text(output / "double_well.md", page(records, output))
    yield str(output / "double_well.md")


def first_loop(study: Study) -> Figure | None:
    """Fig. 2a of the first loop; in one dimension its profiles."""
    number = min((int(one["loop"]) for one in study.groups[0]["loops"]), default=0)
    predictions: dict[str, np.ndarray] = {}
    loop: dict[str, Any] = {}
    for group, file in zip(study.groups, study.files, strict=True):
        found = {one["strategy"]: one for one in group["loops"] if one["loop"] == number}
        if found:
            predictions |= np.load(file.with_suffix(".npz"), allow_pickle=False)
            loop |= found
    if not predictions:
        return None
    draw = landscapes if study.protocol.well == "2d" else profiles
    return draw(study.protocol, loop, start_loop(study.protocol, number, "start").points, predictions)


def page(records: Mapping[str, Record], output: Path) -> str:
    """The page as Markdown; it shows the figures that are in the folder `output`."""
    lines = [PREFACE.read_text(encoding="utf-8")]
    for name, record in records.items():
        lines += section(name, record, output)
    return "\n".join(lines).rstrip() + "\n"


def section(name: str, record: Record, output: Path) -> list[str]:
    """One study on the page: its command, its figures and its results."""
    protocol, loops = Protocol(**record["protocol"]), n_loops(record)
    changed = {k: v for k, v in asdict(protocol).items() if v != getattr(Protocol(), k)}
    flags = "".join(
        f" --{k.replace('_', '-')} {v}" for k, v in changed.items() if (protocol.well, k) != ("1d", "n_start")
    )
    how_many = " and ".join(f"{n} {NAMES[s]}" for s, n in loops.items()).replace(" and ", ", ", len(loops) - 2)
    dimensions = {"1d": "One dimension", "2d": "Two dimensions"}[protocol.well]
    chosen = "" if set(loops) == set(NAMES) else " --strategies " + " ".join(loops)
    pictures = {
        kind: [f"![{caption}]({file.name})", ""]
        for kind, caption in CAPTIONS.items()
        for file in sorted(output.glob(f"double_well_{name}_{kind}.*"))[:1]
    }
    if "loop" in pictures:
        pictures["loop"] += [
            "White: starting data. Black: points labelled in this generation. Grey: points labelled in earlier ones.",
            "",
        ]
    return [
        f"## {dimensions}, networks of {protocol.n_units} units",
        "",
        f"{how_many} loops, {record['cpu_time'] / 60:.0f} minutes of one core:",
        f"`python -m studies.double_well run --loops {max(loops.values())}{flags}{chosen}`",
        "",
        *pictures.get("curves", []),
        *compared(record),
        *pictures.get("loop", []),
        *table(record),
    ]


def compared(record: Record) -> list[str]:
    """Ratios of the other strategies to adversarial sampling, as sentences and a table."""
    others = record["summary"]["compared_with_adversarial"]
    lines = []
    for other, ratios in others.items():
        median, mean = (ratios[f"{one} of sampled energies, all generations"] for one in ("median", "mean"))
        lines.append(
            f"In the last generation the median error of {NAMES[other]} sampling is {ratios['RMSE on the grid']:.2g} "
            f"times that of adversarial sampling, with {ratios['labels']:.2g} times the labels. The labelled points "
            f"are {median:.2g} times as high above the minimum ({mean:.2g} times, with the mean over the points of a "
            "generation instead of the median)."
        )
    if others:
        columns = (
            Column(title="times adversarial", left=True),
            *(Column(title=NAMES[other], format="{:.2g}") for other in others),
        )
        names = next(iter(others.values()))
        rows = tuple((name, *(float(other[name]) for other in others.values())) for name in names)
        lines += ["", Table(columns=columns, rows=rows).markdown()]
    return [*lines, ""]


def table(record: Record) -> list[str]:
    """Medians (quartiles) by generation as Markdown."""
    columns = {
        "n_labels": "labels",
        **dict(zip(ERRORS, ERRORS, strict=True)),
        "sampled_median_above_minimum": "sampled energy, median",
        "sampled_mean_above_minimum": "sampled energy, mean",
    }
    rows: list[tuple[Cell, ...]] = [
        (
            NAMES[strategy],
            generation + 1,
            *(cell(of["quartiles_by_generation"][column][generation]) for column in columns),
        )
        for strategy, of in record["summary"]["strategies"].items()
        for generation in range(record["protocol"]["n_generations"])
    ]
    return [Table(columns=numbers("strategy", "generation", *columns.values()), rows=tuple(rows)).markdown(), ""]


def cell(quartiles: Sequence[float | None]) -> str:
    """Median and quartiles as text."""
    low, middle, high = quartiles
    return "–" if middle is None else f"{middle:.3g} ({low:.3g}–{high:.3g})"
