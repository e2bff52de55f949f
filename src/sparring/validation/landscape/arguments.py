"""Arguments of `sparring validate landscape`: the grid and its points."""

from pathlib import Path

from sparring.inputs.reading import read_atoms
from sparring.surfaces.grids import Grid, grid
from sparring.surfaces.torsion_maps import GRIDS, GridKind

__all__ = ["grid_kind", "grid_of", "points_of"]


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
    """Kind of the grid over two torsions; None for the default of the system.

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
            raise ValueError("--x and --y name variables of a file with a grid; give GRID.xyz too")
        return None
    frames = read_atoms(file, allow_dummy=True)
    if x is None:
        numbers = sorted({key for atoms in frames for key, value in atoms.info.items() if isinstance(value, float)})
        raise ValueError(f"name the variables of {file} with --x and --y; it has {', '.join(numbers) or 'no numbers'}")
    return grid(frames, x, y, x_unit=units[0], y_unit=units[1])
