"""The page of the double well, its record and its figures, from whatever loops have been computed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from double_well_figures import curves, landscapes, profiles
from double_well_loops import begin
from double_well_protocol import Protocol
from double_well_report import ERRORS, NAMES, Study, content, studies, summary, with_recorded
from matplotlib import rc_context

from sparring.plots.saving import save_figure
from sparring.plots.style import STYLE
from sparring.support.files import write_text

__all__ = ["report"]

PREFACE = Path(__file__).with_name("double_well_preface.md")


def report(folder: Path, output: Path, *, keep: bool = False) -> Iterator[str]:
    """Write ``double_well.json``, ``double_well.md`` and the figures; yields what has been written.

    Args:
        folder: Of the loops.
        output: Of what is written.
        keep: Whether loops that the record there has and the folder has not, stay.
    """
    output.mkdir(parents=True, exist_ok=True)
    found = studies(folder)
    if keep and (output / "double_well.json").exists():
        found = with_recorded(found, output / "double_well.json")
    record = {study.name: content(study) for study in found}
    write_text(output / "double_well.json", json.dumps(record, separators=(",", ":")) + "\n")
    yield str(output / "double_well.json")
    page = [PREFACE.read_text(encoding="utf-8")]
    with rc_context(STYLE):
        for study in found:
            yield from figures(study, output)
            page += section(study)
    write_text(output / "double_well.md", "\n".join(page).rstrip() + "\n")
    yield str(output / "double_well.md")


def figures(study: Study, output: Path) -> Iterator[str]:
    """Fig. 2b of all loops, and Fig. 2a of the first one; in one dimension the profiles of the first loop."""
    drawn = {"curves": curves(study)}
    number = min((int(one["loop"]) for one in study.groups[0]["loops"]), default=0)
    panels: dict[str, np.ndarray] = {}
    loop: dict[str, Any] = {}
    for group, file in zip(study.groups, study.files, strict=False):  # recorded loops, at the end, have no file
        found = {one["strategy"]: one for one in group["loops"] if one["loop"] == number}
        if found:
            panels |= np.load(file.with_suffix(".npz"), allow_pickle=False)
            loop |= found
    if panels:  # the record has none; what was drawn of it stays
        draw = landscapes if study.protocol.well == "2d" else profiles
        start = begin(study.protocol, number, "start").points
        drawn["loop"] = draw(study.protocol, loop, start, panels)
    for name, figure in drawn.items():
        yield from map(str, save_figure(figure, output / f"double_well_{study.name}_{name}"))


def section(study: Study) -> list[str]:
    """One study on the page: what it was, the figures, what came out."""
    changed = {k: v for k, v in asdict(study.protocol).items() if v != getattr(Protocol(), k)}
    flags = "".join(
        f" --{k.replace('_', '-')} {v}" for k, v in changed.items() if (study.protocol.well, k) != ("1d", "n_start")
    )
    n_loops = {s: len(study.loops(s)) for s in study.strategies}
    how_many = " and ".join(f"{n} {NAMES[s]}" for s, n in n_loops.items()).replace(" and ", ", ", len(n_loops) - 2)
    dimensions = {"1d": "One dimension", "2d": "Two dimensions"}[study.protocol.well]
    chosen = "" if set(study.strategies) == set(NAMES) else " --strategies " + " ".join(study.strategies)
    cpu = sum(group["cpu_time"] for group in study.groups) / 60
    return [
        f"## {dimensions}, networks of {study.protocol.n_units} units",
        "",
        f"{how_many} loops, {cpu:.0f} minutes of one core:",
        f"`python studies/double_well.py run --loops {max(n_loops.values())}{flags}{chosen}`",
        "",
        f"![Error, labels and sampled energies by generation](double_well_{study.name}_curves.svg)",
        "",
        *compared(study),
        f"![The first loop, generation by generation](double_well_{study.name}_loop.png)",
        "",
        "White: starting data. Black: what this generation's committee led to. Grey: what earlier ones did.",
        "",
        *table(study),
    ]


def compared(study: Study) -> list[str]:
    """How adversarial sampling fares beside the others, as sentences and a table."""
    others = summary(study)["compared_with_adversarial"]
    lines = []
    for other, of in others.items():
        lines.append(
            f"In the last generation the median error of {NAMES[other]} sampling is {of['RMSE on the grid']:.2g} times "
            f"that of adversarial sampling, with {of['labels']:.2g} times the labels; the points that it labelled lie "
            f"{of['median of sampled energies, all generations']:.2g} times as high above the minimum "
            f"({of['mean of sampled energies, all generations']:.2g} times, if the mean over a generation's points is "
            "taken instead of the median)."
        )
    if others:
        lines += [
            "",
            f"| times adversarial | {' | '.join(NAMES[o] for o in others)} |",
            "|---" * (len(others) + 1) + "|",
        ]
        for name in next(iter(others.values())):
            lines.append(f"| {name} | {' | '.join(f'{other[name]:.2g}' for other in others.values())} |")
    return [*lines, ""]


def table(study: Study) -> list[str]:
    """Medians (quartiles) by generation as Markdown."""
    columns = {
        "n_labels": "labels",
        **dict(zip(ERRORS, ERRORS, strict=True)),
        "sampled_median_above_minimum": "sampled energy, median",
        "sampled_mean_above_minimum": "sampled energy, mean",
    }
    lines = [f"| strategy | generation | {' | '.join(columns.values())} |", "|---" * (len(columns) + 2) + "|"]
    for strategy, of in summary(study)["strategies"].items():
        values = of["quartiles_by_generation"]
        for generation in range(study.protocol.n_generations):
            cells = [cell(values[column][generation]) for column in columns]
            lines.append(f"| {NAMES[strategy]} | {generation + 1} | {' | '.join(cells)} |")
    return [*lines, ""]


def cell(quartiles: Sequence[float | None]) -> str:
    """Median and quartiles for people."""
    low, middle, high = quartiles
    return "–" if middle is None else f"{middle:.3g} ({low:.3g}–{high:.3g})"
