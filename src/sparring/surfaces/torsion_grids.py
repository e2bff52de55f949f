"""Structures on a grid of two torsions: a geometry with nothing but its torsions turned, or with all else relaxed.

The rigid grid is where an attack on torsions goes. Its high places are mostly atoms that run into each other, which
give way on the relaxed grid; that is the one that people know from maps after Ramachandran.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float, Int

from sparring.atoms.inheritance import inherit
from sparring.atoms.structures import Structures
from sparring.labels import LabelError
from sparring.surfaces.constrained_relaxation import relax_constrained
from sparring.surfaces.evaluators import Evaluate
from sparring.surfaces.grids import Grid
from sparring.surfaces.torsion_plane import TorsionPlane

__all__ = ["POINTS", "relaxed_grid", "rigid_grid"]

POINTS = (24, 24)
GAIN = 2e-3
"""In eV: a geometry that is lower by less than this is the same minimum, and is not passed on to neighbours."""
SMALLEST_GAIN = 1e-6
"""In eV, by which a rigid geometry must be below a relaxed one to be relaxed itself."""

Place = tuple[int, int]


def rigid_grid(reference: Atoms, plane: TorsionPlane, *, points: tuple[int, int] = POINTS) -> Grid:
    """The reference with only its two torsions turned, to every point of a grid that begins at -π.

    Args:
        reference: Molecule.
        plane: Torsions that are turned.
        points: Number of points along the two sides.

    Raises:
        ValueError: If a side has fewer than two points, or a torsion cannot be turned.
    """
    sides = plane.variables(points)
    targets = np.stack(np.meshgrid(sides[0].values, sides[1].values, indexing="ij"), axis=-1).reshape(-1, 2)
    many = Structures.from_atoms([reference]).take([0] * len(targets))
    frames = plane.turned(plane.space(reference), many, torch.as_tensor(targets)).to_atoms()
    return _grid(plane, points, [_described(one, reference) for one in frames])


def relaxed_grid(
    rigid: Grid,
    plane: TorsionPlane,
    evaluate: Evaluate,
    *,
    fmax: float = 0.02,
    max_steps: int = 300,
    max_waves: int = 100,
    progress: Callable[[int, int], None] | None = None,
) -> Grid:
    """The same grid with all but the two torsions relaxed, every point from several starts, of which the lowest stays.

    Starts are the rigid geometries of the lower half of the points, and then, as in the scans of Qiu et al. (2020),
    doi:10.1063/5.0009232, wherever a point has become lower, its geometry turned to its four neighbours. In the end no
    point is above its rigid geometry.

    Args:
        rigid: Grid of starting geometries.
        plane: Torsions that are constrained.
        evaluate: Surface; it is evaluated some hundred times for each point.
        fmax: Largest force of a relaxed geometry, in eV/Å.
        max_steps: Maximum number of steps of one relaxation.
        max_waves: Maximum number of rounds over neighbours.
        progress: Callback with the number of points that have a relaxed geometry and of all.

    Raises:
        ValueError: If the surface has no energy for any point.
    """
    scan = _Scan(rigid, plane, evaluate, fmax=fmax, max_steps=max_steps)
    known = scan.rigid[np.isfinite(scan.rigid)]
    if not len(known):
        raise ValueError("the surface gives no energy for any point of the grid")
    first = scan.rigid <= np.median(known)
    improved = scan.relax([(place, rigid.structures[rigid.index[place]]) for place in _places(first)])
    for _ in range(max_waves):
        if progress:
            # Until the last wave has come to rest, one is left to do.
            progress(int(np.isfinite(scan.energy).sum()) - 1, scan.energy.size)
        tasks = [(near, scan.geometry[place]) for place in improved for near in scan.neighbours(place)]
        if not tasks:
            above = scan.rigid < scan.energy - SMALLEST_GAIN
            tasks = [(place, rigid.structures[rigid.index[place]]) for place in _places(above)]
        if not tasks:
            break
        improved = scan.relax(tasks)
    if progress:
        progress(scan.energy.size, scan.energy.size)
    frames = [
        _described(scan.geometry.get(place, rigid.structures[rigid.index[place]]), rigid.structures[0])
        for place in scan.places()
    ]
    return _grid(plane, (len(rigid.index), len(rigid.index.T)), frames)


class _Scan:
    """The lowest geometry that has been found so far at each point."""

    def __init__(self, rigid: Grid, plane: TorsionPlane, evaluate: Evaluate, *, fmax: float, max_steps: int) -> None:
        assert rigid.y is not None
        self.plane, self.evaluate, self.fmax, self.max_steps = plane, evaluate, fmax, max_steps
        self.targets = np.stack(np.meshgrid(rigid.x.values, rigid.y.values, indexing="ij"), axis=-1)
        points = evaluate(rigid.structures)
        self.rigid: Float[np.ndarray, "n_x n_y"] = rigid.lay_out(
            np.array([np.nan if isinstance(point, LabelError) else point.energy for point in points])
        )
        self.energy = np.full(self.rigid.shape, np.inf)
        self.geometry: dict[Place, Atoms] = {}

    def relax(self, tasks: Sequence[tuple[Place, Atoms]]) -> list[Place]:
        """Relax geometries at places; gives the places that have become lower, each once."""
        places = [place for place, _ in tasks]
        targets = np.array([self.targets[place] for place in places])
        found = relax_constrained(
            [atoms for _, atoms in tasks],
            targets,
            self.plane,
            self.evaluate,
            fmax=self.fmax,
            max_steps=self.max_steps,
        )
        lower = []
        for place, one in zip(places, found, strict=True):
            if one.energy < self.energy[place]:
                if one.energy < self.energy[place] - GAIN:
                    lower.append(place)
                self.energy[place], self.geometry[place] = one.energy, one.atoms
        return list(dict.fromkeys(lower))

    def places(self) -> list[Place]:
        """All points in their order."""
        return _places(np.ones(self.energy.shape, dtype=bool))

    def neighbours(self, place: Place) -> list[Place]:
        """The points beside one; both torsions repeat."""
        i, j = place
        n_x, n_y = len(self.energy), len(self.energy.T)
        return list(dict.fromkeys([((i + 1) % n_x, j), ((i - 1) % n_x, j), (i, (j + 1) % n_y), (i, (j - 1) % n_y)]))


def _places(chosen: np.ndarray) -> list[Place]:
    return [(int(i), int(j)) for i, j in np.argwhere(chosen)]


def _described(atoms: Atoms, reference: Atoms) -> Atoms:
    """The geometry with the inherited properties of the reference."""
    return inherit(Atoms(atoms.numbers, atoms.positions, cell=reference.cell, pbc=reference.pbc), reference)


def _grid(plane: TorsionPlane, points: tuple[int, int], frames: Sequence[Atoms]) -> Grid:
    """A grid of structures in the order of the points, with the variables in their info."""
    x, y = plane.variables(points)
    index: Int[np.ndarray, "n_x n_y"] = np.arange(len(frames)).reshape(points[0], points[1])
    for atoms, (i, j) in zip(frames, itertools.product(range(points[0]), range(points[1])), strict=True):
        atoms.info.update({x.name: float(x.values[i]), y.name: float(y.values[j])})
    return Grid(x=x, y=y, structures=tuple(frames), index=index)
