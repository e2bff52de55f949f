"""Figures of holes: energies along attacks, and the geometries where atoms merged."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from sparring.plots.style import FAINT, GENERATIONS, INK, STYLE, panels
from sparring.validation.holes.compute import Holes, MergingPath, separation

__all__ = ["draw_surroundings", "energy_along", "energy_figure", "geometry_figure"]

SHOWN = 3
"""Largest number of geometries that are drawn."""
AROUND = 3.2
"""Radius in Å of the surroundings that are drawn."""
MANY = 600


def energy_figure(results: Mapping[str, Holes]) -> Figure:
    """A panel for each committee."""
    with rc_context(STYLE):
        figure, axes = panels(len(results), width=5.4, height=3.6)
        for (name, result), ax in zip(results.items(), axes, strict=True):
            energy_along(result, ax)
            ax.set_title(name)
    return figure


def energy_along(result: Holes, ax: Axes | None = None) -> Axes:
    """Energy of the model along every attack, against the distance of the pair that comes closest."""
    ax = ax or panels()[1][0]
    pairs = sorted({_pair(path) for path in result.found})
    colours = dict(zip(pairs, itertools.cycle(GENERATIONS), strict=False))
    named: set[str] = set()
    for path in result.paths:
        pair = _pair(path)
        n_steps = path.low + 1 if path.broke else int(path.scaled.argmin()) + 1
        x, y = path.distance[:n_steps], path.energy[:n_steps]
        if not path.broke:
            ax.plot(x, y, color=FAINT, lw=0.8, alpha=0.6)
            continue
        label = None if pair in named else pair
        named.add(pair)
        ax.plot(x, y, color=colours[pair], lw=1.1, alpha=0.8, label=label, rasterized=len(x) > MANY)
        ax.plot(x[-1], y[-1], "o", ms=4, color=colours[pair], mec="white", mew=0.5, zorder=3)
    ax.axhline(0.0, color=INK, lw=0.8, ls=(0, (4, 3)), zorder=0)
    ax.set(xlabel="distance of the pair (Å)", ylabel="energy above the start (eV)")
    ax.set_xlim(left=0.0)
    if named:
        ax.legend(loc="upper right", title="pair that merged")
    return ax


def geometry_figure(found: Sequence[MergingPath], frames: Sequence[Atoms]) -> Figure:
    """Surroundings of the pairs that merged, at most three of them, of different elements first."""
    order = sorted(range(len(found)), key=lambda place: _nth_of_its_pair(found, place))[:SHOWN]
    with rc_context(STYLE):
        figure, axes = panels(len(order), width=3.4, height=3.7)
        for place, ax in zip(order, axes, strict=True):
            path = found[place]
            draw_surroundings(frames[place], path.atoms, ax)
            (one, other), (first, second) = path.elements, path.atoms
            ax.set_title(
                f"{one}{first}–{other}{second}: {path.distance[path.low]:.2f} Å\n"
                f"{path.energy[path.low]:+.1f} eV, {path.fall:.1f} eV below the wall"
            )
    return figure


def draw_surroundings(atoms: Atoms, pair: tuple[int, int], ax: Axes) -> Axes:
    """Atoms and periodic images around a pair, whose axis is horizontal; what lies behind is fainter."""
    numbers, points, is_pair = _surroundings(atoms, pair)
    order = np.argsort(points[:, 2], kind="stable")
    depth = np.ptp(points[:, 2]) or 1.0
    for row in order.tolist():
        x, y, z = points[row]
        shade = 0.35 + 0.65 * (z - points[:, 2].min()) / depth
        colour = 1 - (1 - jmol_colors[numbers[row]]) * shade
        radius = 0.45 * covalent_radii[numbers[row]]
        ax.add_patch(Circle((x, y), radius, facecolor=colour, edgecolor=(*([1 - shade] * 3), 1.0), lw=0.8, zorder=2))
        if is_pair[row]:
            ax.add_patch(Circle((x, y), radius, fill=False, edgecolor="#d55e00", lw=1.8, zorder=4))
    reach = AROUND + 0.7
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.plot([-reach + 0.2, -reach + 1.2], [-reach + 0.25] * 2, color=INK, lw=2)
    ax.text(-reach + 0.7, -reach + 0.4, "1 Å", ha="center", fontsize="small")
    return ax


def _surroundings(atoms: Atoms, pair: tuple[int, int]) -> tuple[np.ndarray, Float[np.ndarray, "n 3"], np.ndarray]:
    """Atomic numbers and positions around the middle of the pair, turned; and the rows of the pair."""
    vector = separation(atoms, *pair)
    middle = atoms.positions[pair[0]] + vector / 2
    ranges = [range(-3, 4) if periodic else (0,) for periodic in atoms.pbc]
    shifts = np.array(list(itertools.product(*ranges)), dtype=float) @ atoms.cell.array
    points = (atoms.positions[None] + shifts[:, None] - middle).reshape(-1, 3)
    index = np.tile(np.arange(len(atoms)), len(shifts))
    near = np.linalg.norm(points, axis=1) < AROUND
    points, index = points[near], index[near]
    ends = [np.linalg.norm(points - side * vector / 2, axis=1) < 1e-6 for side in (-1, 1)]
    return atoms.numbers[index], points @ _turned(vector).T, ends[0] | ends[1]


def _turned(vector: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """A rotation that puts a vector on the first axis, and a direction off the symmetry axes on the third."""
    x = vector / max(float(np.linalg.norm(vector)), 1e-9)
    z = np.array([0.31, 0.23, 0.92]) if abs(x[2]) < 0.9 else np.array([0.92, 0.31, 0.23])
    z = z - (z @ x) * x
    z /= np.linalg.norm(z)
    return np.array([x, np.cross(z, x), z])


def _pair(path: MergingPath) -> str:
    return "–".join(sorted(path.elements))


def _nth_of_its_pair(found: Sequence[MergingPath], place: int) -> tuple[int, int]:
    """The first of each pair of elements come first, then the second ones."""
    return sum(_pair(other) == _pair(found[place]) for other in found[:place]), place
