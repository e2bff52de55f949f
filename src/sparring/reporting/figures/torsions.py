"""Attacks in the plane of two torsions, which goes round in both: a plot after Ramachandran."""

import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from sparring.plots.style import GENERATIONS, INK, panels
from sparring.plots.ticks import GREEK, radians
from sparring.reporting.data import TorsionPaths

__all__ = ["attack_torsions", "pieces"]

PERIOD = 2 * np.pi
N_POINTS = 200  # of a path that are drawn
MANY = 40  # paths, beyond which an SVG holds them as pixels

Path = Float[np.ndarray, "_ 2"]


def attack_torsions(paths: TorsionPaths, ax: Axes | None = None, *, colour: str = GENERATIONS[0]) -> Axes:
    """Attacks from start (white) to end (black), the geometry with the highest objective.

    A path that leaves the square continues on the other side.
    """
    ax = ax or panels(height=4.0)[1][0]
    lines: list[Path] = []
    n_seeds = paths.angles.shape[1]
    for seed in range(n_seeds):
        path = paths.angles[: paths.best_step[seed] + 1, seed]
        lines += pieces(path[np.isfinite(path).all(axis=1)])
    alpha = float(np.clip(12.0 / max(n_seeds, 1), 0.3, 0.8))
    ax.add_collection(LineCollection(lines, colors=colour, lw=0.9, alpha=alpha, rasterized=n_seeds > MANY, zorder=2))
    ends = paths.angles[paths.best_step, np.arange(n_seeds)]
    for place, face, edge, words in (
        (paths.angles[0], "white", INK, "start"),
        (ends, "black", "white", "end: highest objective"),
    ):
        x, y = _inside(place).T
        ax.scatter(x, y, s=15, color=face, edgecolors=edge, lw=0.6, zorder=3, label=words)
    for axis, name in ((ax.xaxis, paths.names[0]), (ax.yaxis, paths.names[1])):
        radians(axis)
        axis.set_label_text(f"{GREEK.get(name, name)} (rad)")
    ax.set(xlim=(-np.pi, np.pi), ylim=(-np.pi, np.pi), aspect="equal")
    return ax


def pieces(path: Path) -> list[Path]:
    """A path of angles, in radians, as lines within the square from -π to π, cut where it leaves on one side.

    Each piece ends on the side where the path leaves, and the next begins opposite. From one point to the next the path
    goes the shorter way round.
    """
    if not len(path):
        return []
    whole = np.unwrap(path, axis=0)
    whole = whole[np.unique(np.linspace(0, len(whole) - 1, N_POINTS).round().astype(int))]
    found = [[_inside(whole[0])]]
    for start, end in itertools.pairwise(whole):
        for number, (first, last) in enumerate(_parts(start, end)):
            if number:
                found.append([first])
            found[-1].append(last)
    return [np.array(piece) for piece in found]


def _parts(start: Float[np.ndarray, " 2"], end: Float[np.ndarray, " 2"]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The straight way from one point to another, cut at the sides of the squares that it goes through."""
    cuts = {0.0, 1.0}
    for a, b in zip(start.tolist(), end.tolist(), strict=True):
        sides = np.pi + PERIOD * np.arange(np.floor((min(a, b) - np.pi) / PERIOD), np.ceil((max(a, b)) / PERIOD) + 1)
        cuts |= {(side - a) / (b - a) for side in sides.tolist() if min(a, b) < side < max(a, b)}
    times = sorted(cuts)
    for t_0, t_1 in itertools.pairwise(times):
        middle = start + 0.5 * (t_0 + t_1) * (end - start)
        square = PERIOD * np.floor((middle + np.pi) / PERIOD)
        first, last = (np.clip(start + t * (end - start) - square, -np.pi, np.pi) for t in (t_0, t_1))
        yield first, last


def _inside(angles: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
    return np.asarray((angles + np.pi) % PERIOD - np.pi)
