"""Figures of what speed.py and scaling.py have measured: ``python benchmarks/plots.py``, in docs/performance."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from sparring.plots.style import FAINT, GENERATIONS, INK, STYLE, panels

FOLDER = Path(__file__).parents[1] / "docs" / "performance"
COLOURS = {"sparring": GENERATIONS[0], "autograd": GENERATIONS[5], "loop": GENERATIONS[1], "floor": FAINT}
WORDS = {
    "sparring": "Sparring",
    "autograd": "Sparring, automatic derivatives",
    "loop": "plain loop",
    "floor": "matrix products alone",
}


def against_the_floor(rows: Sequence[Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """Time of a step of every task in units of its floor, so that tasks of all sizes fit one axis."""
    ax = ax or panels(width=7.0)[1][0]
    places = np.arange(len(rows))[::-1]
    for way in COLOURS:
        measured = [(place, row["seconds"]) for place, row in zip(places, rows, strict=True) if way in row["seconds"]]
        ratios = [seconds[way] / seconds["floor"] for _, seconds in measured]
        marker = "|" if way == "floor" else "o"
        ax.plot(ratios, [place for place, _ in measured], marker, ms=7, color=COLOURS[way], label=WORDS[way])
    ax.set_xscale("log")
    ax.set_yticks(places, [f"{row['task']}, {row['n_structures']} × {row['system']}" for row in rows])
    ax.set_xlabel("time of a step / time of its matrix products")
    ax.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=4)
    return ax


def memory(rows: Sequence[Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """Peak memory of every task."""
    ax = ax or panels(width=7.0)[1][0]
    places = np.arange(len(rows))[::-1]
    for way in ("sparring", "autograd", "loop"):
        seen = [(p, row["peak_bytes"][way]) for p, row in zip(places, rows, strict=True) if way in row["peak_bytes"]]
        ax.plot([peak / 1e6 for _, peak in seen], [p for p, _ in seen], "o", ms=7, color=COLOURS[way], label=WORDS[way])
    ax.set_xscale("log")
    ax.set_yticks(places, [f"{row['task']}, {row['n_structures']} × {row['system']}" for row in rows])
    ax.set_xlabel("peak memory, MB")
    ax.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=4)
    return ax


def growth(name: str, curve: Mapping[str, Any], task: str, ax: Axes | None = None) -> Axes:
    """Time of a step against one size, and the power fitted where work dominates."""
    ax = ax or panels()[1][0]
    sizes, seconds = np.asarray(curve["sizes"], dtype=float), curve["seconds"]
    for way in ("sparring", "floor"):
        ax.plot(sizes, 1000 * np.asarray(seconds[way]), "o-", ms=4, color=COLOURS[way], label=WORDS[way])
    if "loop" in seconds:
        # One seed after another: measured for the smallest number, and proportional to the number for the others.
        scaled = 1000 * seconds["loop"][0] * sizes / sizes[0]
        ax.plot(sizes, scaled, "--", color=COLOURS["loop"], label=WORDS["loop"])
    fitted = sizes[sizes >= curve["fitted_from"]]
    last = 1000 * seconds["sparring"][-1]
    power = curve["exponent"]
    ax.plot(fitted, last * (fitted / fitted[-1]) ** power, ":", color=INK, label=f"power {power:.2f}")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(sizes, [f"{size:g}" for size in sizes])
    ax.minorticks_off()
    ax.set_xlabel(name)
    ax.set_ylabel(f"{task} step, ms")
    ax.set_title(curve["about"])
    ax.legend()
    return ax


def draw(folder: Path) -> list[Path]:
    """Draw all figures for which there are measurements in a folder, as SVG; gives their files."""
    figures = {}
    with mpl.rc_context(STYLE):
        if (folder / "speed.json").exists():
            rows = json.loads((folder / "speed.json").read_text(encoding="utf-8"))["rows"]
            height = 1.2 + 0.28 * len(rows)
            figures["speed"], (ax,) = panels(width=8.0, height=height)
            against_the_floor(rows, ax)
            if any(row["peak_bytes"] for row in rows):
                figures["memory"], (ax,) = panels(width=8.0, height=height)
                memory(rows, ax)
        if (folder / "scaling.json").exists():
            result = json.loads((folder / "scaling.json").read_text(encoding="utf-8"))
            figures["scaling"], axes = panels(len(result["curves"]))
            for ax, (name, curve) in zip(axes, result["curves"].items(), strict=True):
                growth(name, curve, result["task"], ax)
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    return [folder / f"{name}.svg" for name in figures]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of speed.json and scaling.json")
    for file in draw(parser.parse_args(arguments).folder):
        print(file.name)


if __name__ == "__main__":
    main()
