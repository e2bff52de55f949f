"""What `sparring validate landscape` makes of its arguments, and the table that it prints."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sparring.inputs.reading import read_atoms
from sparring.reporting.data import EnergyUnit
from sparring.reporting.validation_tables import usual_caps
from sparring.support import columns
from sparring.surfaces.grids import Grid, grid
from sparring.surfaces.landscape import Landscapes
from sparring.surfaces.torsion_maps import GRIDS, GridKind
from sparring.validation.landscape.compute import Survey

__all__ = ["grid_kind", "grid_of", "landscape_table", "points_of", "truth_lines"]


SHOWN = 5  # points that are missing, by name


def points_of(text: str | None) -> tuple[int, ...] | None:
    """Numbers of points along the sides of a grid, as in "21x21".

    Raises:
        ValueError: If there are no such numbers.
    """
    if text is None:
        return None
    numbers = text.lower().replace("×", "x").split("x")
    if not all(number.strip().isdecimal() for number in numbers):
        raise ValueError(f"--points must be numbers such as 21x21, or 201 for a line, got {text!r}")
    return tuple(int(number) for number in numbers)


def grid_kind(text: str | None) -> GridKind | None:
    """Which of the grids over two torsions; None for whatever the system has.

    Raises:
        ValueError: If there is no such grid.
    """
    for kind in GRIDS:
        if text == kind:
            return kind
    if text is None:
        return None
    raise ValueError(f"--grid must be {' or '.join(GRIDS)}, got {text!r}")


def grid_of(file: Path | None, names: tuple[str | None, str | None], units: tuple[str, str]) -> Grid | None:
    """The grid of a file; None if there is no file.

    Raises:
        ValueError: If the variables are not named, or named without a file, or the file holds no grid of them.
    """
    x, y = names
    if file is None:
        if x or y:
            raise ValueError("--x and --y name variables of a file with a grid; give that too")
        return None
    frames = read_atoms(file, allow_dummy=True)
    if x is None:
        numbers = sorted({key for atoms in frames for key, value in atoms.info.items() if isinstance(value, float)})
        raise ValueError(f"name the variables of {file} with --x and --y; it has {', '.join(numbers) or 'no numbers'}")
    return grid(frames, x, y, x_unit=units[0], y_unit=units[1])


def truth_lines(found: Survey) -> list[str]:
    """Where the grid's true energies come from, and what of it is missing."""
    grid, truth = found.grid, found.truth
    n_known, n = int(np.isfinite(truth.energy).sum()), grid.index.size
    sides = " × ".join(f"{len(one.values)} of {one.name}" for one in (grid.x, grid.y) if one)
    lines = [f"{n} points: {sides}"]
    if grid.missing:
        more = f" and {len(grid.missing) - SHOWN} more" if len(grid.missing) > SHOWN else ""
        lines.append(f"{len(grid.missing)} without a structure: {'; '.join(grid.missing[:SHOWN])}{more}")
    if not truth.method:
        return [*lines, "no true energies: the structures carry none, and nobody was asked"]
    counts = (
        (truth.n_computed, "computed"),
        (truth.n_reused, "from the store"),
        (truth.n_mirrored, "mirror images"),
        (len(truth.failures), "failed"),
    )
    parts = ", ".join(f"{count} {what}" for count, what in counts if count)
    lines.append(f"true energies of {n_known}" + (f" ({parts})" if parts else "") + f": {truth.method}")
    return lines


def landscape_table(landscapes: Landscapes, unit: EnergyUnit, *, aligned: bool = False) -> str:
    """One row a committee: errors and uncertainty where the true energy is below each of several caps."""
    maps = landscapes.committees
    first = next(iter(maps.values()))
    limits = usual_caps(first, unit)
    ratios = {name: one.force_ratio_below(limits) for name, one in maps.items()}
    errors = {name: unit.show(one.rmse_below(limits, aligned=aligned)) for name, one in maps.items()}
    sections: list[tuple[str, list[tuple[str, ...]]]] = [
        (
            f"where the true energy is at most so many {unit.name} above its lowest:",
            [("", *(f"{cap / unit.size:g}" for cap in limits)), ("points", *(str(n) for n in first.n_below(limits)))],
        ),
        (
            f"root mean square error of the energy ({unit.name}{', aligned at the lowest point' if aligned else ''})",
            [(name, *(f"{error:.{unit.decimals}f}" for error in some)) for name, some in errors.items()],
        ),
        (
            "mean σ_F of the committee (eV/Å)",
            [(name, *(f"{sigma:.3f}" for sigma in one.force_sigma_below(limits))) for name, one in maps.items()],
        ),
    ]
    if np.isfinite([*ratios.values()]).any():
        rows = [(name, *(f"{ratio:.2f}" for ratio in some)) for name, some in ratios.items()]
        sections.append(("RMS error of the forces over RMS σ_F (above 1: too sure of itself)", rows))
    return "\n".join(_with_titles(sections))


def _with_titles(sections: Sequence[tuple[str, Sequence[Sequence[str]]]]) -> Iterator[str]:
    """Sections of one table: a title and the rows below it, all with the same columns."""
    lines = iter(columns.aligned([row for _, rows in sections for row in rows]))
    for title, rows in sections:
        yield title
        yield from (next(lines) for _ in rows)
