"""Structures on a grid of one or two collective variables, and what is true there."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Bool, Float, Int

from sparring.atoms.composition import composition
from sparring.atoms.dataset import ENERGY, FORCES
from sparring.labels import Label, LabelReport

__all__ = ["CARRIED", "Grid", "Truth", "Variable", "grid", "true_energies"]

LabelAll = Callable[[Sequence[Atoms]], LabelReport]

# Values that differ by less than this part of their range are one value that a file has rounded.
TOLERANCE = 1e-6
# A rectangle that is emptier than this is no grid with holes, but structures that were never on a grid.
FULLNESS = 0.25

CARRIED = "energies that the structures carry"
"""Name of the method of energies that structures carry."""


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A collective variable and its values along one side of a grid, ascending; the unit of a pure number is empty.

    A variable that repeats, as an angle does, has a period, and none of its values twice.
    """

    name: str
    unit: str
    values: Float[np.ndarray, " n"]
    period: float | None = None

    @property
    def span(self) -> tuple[float, float]:
        """Range of its axis: from the first value to the last, or one period."""
        first = float(self.values[0])
        return first, float(self.values[-1]) if self.period is None else first + self.period


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Structures on the points of a rectangle of two variables, or of a line of one; some points may have none.

    Attributes:
        x: First variable.
        y: Second variable; None for a line, which is a rectangle one point wide.
        structures: Structures in any order.
        index: Index of the structure at each point; -1 for none.
    """

    x: Variable
    y: Variable | None
    structures: tuple[Atoms, ...]
    index: Int[np.ndarray, "n_x n_y"]

    @property
    def mask(self) -> Bool[np.ndarray, "n_x n_y"]:
        """Mask of the points that have a structure."""
        return self.index >= 0

    @property
    def missing(self) -> tuple[str, ...]:
        """The points without a structure, in words."""
        return tuple(self.place(i, j) for i, j in np.argwhere(~self.mask).tolist())

    def lay_out(self, values: Float[np.ndarray, " n_structures"]) -> Float[np.ndarray, "n_x n_y"]:
        """Values of structures as values of points, nan where there is no structure."""
        return np.where(self.mask, np.asarray(values, dtype=float)[self.index], np.nan)

    def carrying(self, energy: Float[np.ndarray, "n_x n_y"]) -> list[Atoms]:
        """Copies of the structures with these total energies, in eV, as their ``REF_energy``; none where it is nan."""
        frames = [atoms.copy() for atoms in self.structures]
        for number, value in zip(self.index[self.mask].tolist(), energy[self.mask].tolist(), strict=True):
            frames[number].info.pop(ENERGY, None)
            if np.isfinite(value):
                frames[number].info[ENERGY] = value
        return frames

    def place(self, i: int, j: int) -> str:
        """The variables of a point, in words."""
        values = [f"{self.x.name} = {self.x.values[i]:.6g}"]
        return ", ".join(values if self.y is None else [*values, f"{self.y.name} = {self.y.values[j]:.6g}"])


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Reference energies on a grid, and their source.

    Attributes:
        energy: Total energy in eV; nan where there is no label.
        method: Name of the reference method.
        forces: Forces on the atoms of each structure, in eV/Å; None where they are not known, as of mirror images.
        failures: Messages of failed labels.
        n_computed: Number of labels that were computed.
        n_reused: Number of labels that were known before.
        n_mirrored: Number of points with the label of their mirror image.
    """

    energy: Float[np.ndarray, "n_x n_y"]
    method: str
    forces: tuple[Float[np.ndarray, "n_atoms 3"] | None, ...] = ()
    failures: tuple[str, ...] = ()
    n_computed: int = 0
    n_reused: int = 0
    n_mirrored: int = 0


def grid(
    structures: Sequence[Atoms], x_name: str, y_name: str | None = None, *, x_unit: str = "", y_unit: str = ""
) -> Grid:
    """Find the rectangle that structures form, by the values of two variables in ``atoms.info``; or the line, of one.

    Args:
        structures: Structures in any order. Values that differ by rounding only are one.
        x_name: Name of the first variable.
        y_name: Name of the second variable.
        x_unit: Unit of the first variable; empty for a pure number.
        y_unit: Unit of the second variable; empty for a pure number.

    Raises:
        ValueError: If a structure lacks a value, two are at the same point, compositions differ, or the structures are
            not on a grid: a variable that does not vary, or a rectangle that is almost empty.
    """
    kinds = sorted({composition(atoms) for atoms in structures})
    if len(kinds) != 1:
        raise ValueError(f"structures of a landscape have one composition, got {', '.join(kinds) or 'no structures'}")
    x, along_x = _variable(structures, x_name, x_unit)
    y, along_y = (None, np.zeros_like(along_x)) if y_name is None else _variable(structures, y_name, y_unit)
    index = np.full((len(x.values), 1 if y is None else len(y.values)), -1)
    found = Grid(x=x, y=y, structures=tuple(structures), index=index)
    for number, (i, j) in enumerate(zip(along_x.tolist(), along_y.tolist(), strict=True)):
        if index[i, j] >= 0:
            place = found.place(i, j)
            raise ValueError(f"structures {index[i, j]} and {number} are both at {place}; keep one of them")
        index[i, j] = number
    if len(structures) < FULLNESS * index.size:
        raise ValueError(
            f"the values of {x_name} and {y_name} span {' × '.join(map(str, index.shape))} points, but only "
            f"{len(structures)} of them have a structure, so that this is no grid; round the values, or choose others"
        )
    return found


def _variable(structures: Sequence[Atoms], name: str, unit: str) -> tuple[Variable, Int[np.ndarray, " n_structures"]]:
    """A variable with its distinct values, and which of them each structure has."""
    values = np.array([_value(atoms, index, name) for index, atoms in enumerate(structures)])
    ascending = np.sort(values)
    step = TOLERANCE * np.ptp(values)
    distinct = ascending[np.diff(ascending, prepend=-np.inf) > step]
    if len(distinct) < 2:
        raise ValueError(f"{name} is {distinct[0]:g} everywhere; a landscape needs at least two values of a variable")
    return Variable(name=name, unit=unit, values=distinct), np.searchsorted(distinct, values, side="right") - 1


def _value(atoms: Atoms, index: int, name: str) -> float:
    value = atoms.info.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
        numbers = (key for key, one in atoms.info.items() if isinstance(one, float) or type(one) is int)
        got = f"{name} = {value!r}" if name in atoms.info else f"only {', '.join(numbers) or 'no numbers'}"
        raise ValueError(f"structure {index} needs a finite number {name!r} in its info, got {got}")
    return float(value)


def true_energies(grid: Grid, label: LabelAll | None = None, *, mirrored: bool = False) -> Truth:
    """The true energies of a grid: those that structures carry (``REF_energy``, or ASE's own), and labels of the rest.

    Forces come along where a structure carries them (``REF_forces``, or ASE's own), and with the labels.

    Args:
        grid: Points and their structures.
        label: Function that labels many structures, as :meth:`sparring.labels.service.LabelService.label`. Failures are
            nan, and counted. None labels nothing.
        mirrored: Flag for points at y and -y that are mirror images of equal energy, so that only those at y >= 0 need
            a label. A point whose image is not on the grid is labelled itself.
    """
    energies = np.array([_carried(atoms) for atoms in grid.structures])
    forces = [_carried_forces(atoms) for atoms in grid.structures]
    methods = [CARRIED] if np.isfinite(energies).any() else []
    source = _images(grid, energies) if mirrored else np.arange(len(energies))
    wanted = np.flatnonzero(np.isnan(energies) & (source == np.arange(len(energies))))
    failures: list[str] = []
    n_computed = n_reused = 0
    if label is not None and len(wanted):
        report = label([grid.structures[i] for i in wanted])
        n_computed, n_reused = report.n_computed, report.n_reused
        for i, one in zip(wanted, report.labels, strict=True):
            if isinstance(one, Label):
                energies[i], forces[i] = one.energy, one.forces
                methods.append(one.method)
            else:
                failures.append(_failure(grid, int(i), str(one)))
    n_before = np.isfinite(energies).sum()
    energies = energies[source]
    return Truth(
        energy=grid.lay_out(energies),
        method=", ".join(dict.fromkeys(methods)),
        forces=tuple(forces),
        failures=tuple(failures),
        n_computed=n_computed,
        n_reused=n_reused,
        n_mirrored=int(np.isfinite(energies).sum() - n_before),
    )


def _failure(grid: Grid, number: int, reason: str) -> str:
    """Message of a failure with its point on the grid instead of its index."""
    ((i, j),) = np.argwhere(grid.index == number).tolist()
    return f"{grid.place(i, j)}: {re.sub(r'^structure [0-9]+ [(][^)]*[)]: ', '', reason)}"


def _carried(atoms: Atoms) -> float:
    known = atoms.info.get(ENERGY)
    if known is None and atoms.calc is not None:
        known = atoms.calc.results.get("energy")
    return np.nan if known is None else float(known)


def _carried_forces(atoms: Atoms) -> Float[np.ndarray, "n_atoms 3"] | None:
    known = atoms.arrays.get(FORCES)
    if known is None and atoms.calc is not None:
        known = atoms.calc.results.get("forces")
    return None if known is None else np.asarray(known, dtype=float)


def _images(grid: Grid, energies: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Index of the energy of each structure: its own, or its mirror image if y < 0 and the image is on the grid."""
    own = np.arange(len(energies))
    if grid.y is None:
        return own
    y = grid.y.values
    apart = np.abs(y[:, None] + y)
    on_grid = (y < 0) & (apart.min(axis=1) <= TOLERANCE * np.ptp(y))
    image = np.where(on_grid, grid.index[:, apart.argmin(axis=1)], -1)
    both = grid.mask & (image >= 0)
    source = own.copy()
    source[grid.index[both]] = image[both]
    return np.where(np.isnan(energies), source, own)
