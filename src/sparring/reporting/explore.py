"""Data of the explorer of the page: quantities for its axes, origin and geometry of each labelled structure.

The page has them as JSON, and the small scripts in the folder `explorer` draw them. A library would be chemiscope
(doi:10.21105/joss.02117), which needs WebGL and would add more than 3 MB to every report; these scripts add 0.1 MB.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.colors import to_hex

from sparring.atoms.composition import composition
from sparring.plots.style import generation_colours, source_style
from sparring.reporting.data import Origin, Run
from sparring.reporting.quantities import AtomQuantity, Quantity, of_atoms, uncertainties
from sparring.validation.base import Embedded

__all__ = ["explorer", "scripts", "style"]

# So many atoms make a page of about a megabyte; a browser draws them at ease.
MAX_ATOMS = 40_000
# Part of the colours of Matplotlib's magma, reversed: pale where atoms are certain, and never black.
ATOM_SCALE = (0.02, 0.8)
SCRIPTS = ("molecule.js", "chart.js", "main.js")


@dataclass(frozen=True, kw_only=True)
class _Structure:
    """A labelled structure, where it came from, and in which frame of which file it is."""

    atoms: Atoms
    origin: Origin
    frame: int
    number: int

    @property
    def source(self) -> str:
        return str(self.atoms.info.get("source", "file"))

    @property
    def group(self) -> tuple[int, str]:
        return self.origin.generation, self.source


def explorer(run: Run, mapped: Embedded | None = None, *, max_atoms: int = MAX_ATOMS) -> dict[str, Any] | None:
    """Data of the labelled structures of a run, ready for JSON; None if there are none.

    Args:
        run: Run whose structures are shown.
        mapped: Structures with their positions in a similarity map, if there is one.
        max_atoms: If there are more, only some of the structures go along, evenly spread over all.
    """
    everything = list(_structures(run.origins))
    if not everything:
        return None
    structures = _thinned(everything, max_atoms)
    quantities = [one for one in _quantities(run, structures, mapped) if np.isfinite(one.values).any()]
    by_atom = _of_atoms(run, structures)
    groups = list(dict.fromkeys(one.group for one in structures))
    shown = {one.number: place for place, one in enumerate(structures)}
    return {
        "total": len(everything),
        "committee": run.newest_generation,
        "quantities": [quantity.plain() for quantity in quantities],
        "axes": _first_axes([quantity.name for quantity in quantities]),
        "scale": [to_hex(colour) for colour in colormaps["viridis"](np.linspace(0.0, 1.0, 9))],
        "atomQuantities": [quantity.plain() for quantity in by_atom],
        "atomScale": [to_hex(colour) for colour in colormaps["magma_r"](np.linspace(*ATOM_SCALE, 9))],
        "groups": [_group(run, *group) for group in groups],
        "structures": [
            {
                "number": one.number,
                "group": groups.index(one.group),
                "parent": None if (parent := _parent(one)) is None else shown.get(parent),
                "parentNumber": parent,
                "file": one.origin.file,
                "frame": one.frame,
                "split": split,
                "atoms": {quantity.name: values for quantity in by_atom if (values := quantity.of(place))},
                **geometry,
            }
            for place, (one, split, geometry) in enumerate(
                zip(structures, _splits(run, structures), _geometries(structures), strict=True)
            )
        ],
        "elements": _elements(structures),
    }


def scripts() -> str:
    """The scripts of the explorer, as one module script."""
    folder = resources.files("sparring.reporting").joinpath("explorer")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS)


def style() -> str:
    """Style sheet of the explorer."""
    return resources.files("sparring.reporting").joinpath("explorer", "style.css").read_text(encoding="utf-8")


# --- which structures -----------------------------------------------------------------------------------------------


def _structures(origins: Sequence[Origin]) -> Iterator[_Structure]:
    """Every structure, numbered as in the data sets."""
    number = 0
    for origin in origins:
        for frame, atoms in enumerate(origin.frames):
            yield _Structure(atoms=atoms, origin=origin, frame=frame, number=number)
            number += 1


def _thinned(structures: Sequence[_Structure], max_atoms: int) -> list[_Structure]:
    n_atoms = sum(len(one.atoms) for one in structures)
    if n_atoms <= max_atoms:
        return list(structures)
    n_kept = max(1, len(structures) * max_atoms // n_atoms)
    return [structures[place] for place in np.linspace(0, len(structures) - 1, n_kept).astype(int)]


def _parent(one: _Structure) -> int | None:
    """Number of the structure that was the seed of an attack, counted in the data set of that time."""
    parent = int(one.atoms.info.get("parent", -1))
    return parent if one.origin.generation and parent >= 0 else None


def _key(atoms: Atoms) -> tuple[bytes, bytes, float]:
    """Files keep all digits, so that a structure is the same in all of them."""
    return atoms.numbers.tobytes(), atoms.positions.tobytes(), float(atoms.info["REF_energy"])


# --- numbers --------------------------------------------------------------------------------------------------------


def _quantities(run: Run, structures: Sequence[_Structure], mapped: Embedded | None) -> Iterator[Quantity]:
    nothing = np.full(len(structures), np.nan)
    if mapped is not None:
        rows = {_key(atoms): row for row, atoms in enumerate(mapped.frames)}
        places = [rows.get(_key(one.atoms)) for one in structures]
        known = np.array([place is not None for place in places])
        taken = [place for place in places if place is not None]

        def spread(values: Float[np.ndarray, " n_rows"]) -> Float[np.ndarray, " n_structures"]:
            filled = nothing.copy()
            filled[known] = values[taken]
            return filled

        for axis in (0, 1):
            values = spread(mapped.diversity.map[:, axis])
            yield Quantity(
                name=f"umap{axis + 1}", label=f"UMAP {axis + 1}", values=values, is_fact=False, plane="similarity"
            )
    if all(len(one.atoms) == 1 and not one.atoms.numbers.any() for one in structures):
        positions = np.array([one.atoms.positions[0] for one in structures])
        for axis in range(2 if positions[:, 1].any() else 1):
            name, values = "xy"[axis], positions[:, axis]
            yield Quantity(name=name, label=f"{name} (Å)", values=values, is_fact=False, plane="space")
    energy = [one.atoms.info["REF_energy"] - run.lowest[composition(one.atoms)] for one in structures]
    yield Quantity(
        name="energy", label=f"energy above lowest ({run.unit.name})", values=run.unit.show(np.array(energy))
    )
    if mapped is not None:
        yield Quantity(name="rmsd", label="RMSD to the ground state (Å)", values=spread(mapped.diversity.rmsd))
        label = "SOAP distance to the previous training set"
        yield Quantity(name="novelty", label=label, values=spread(mapped.diversity.novelty))
    generation = np.array([float(one.origin.generation) for one in structures])
    label = "generation of the label (0: start)"
    yield Quantity(name="labelled_in", label=label, values=generation, is_fact=False)
    yield from uncertainties([one.atoms for one in structures], "before", "before labelling")
    if run.newest:
        yield from uncertainties(_frames_now(run, structures), "now", f"of committee {run.newest_generation}")


def _frames_now(run: Run, structures: Sequence[_Structure]) -> list[Atoms | None]:
    """The structures with the predictions of the newest committee; None for those that it has none for."""
    now = {_key(atoms): atoms for atoms in run.newest}
    return [now.get(_key(one.atoms)) for one in structures]


def _of_atoms(run: Run, structures: Sequence[_Structure]) -> list[AtomQuantity]:
    """Uncertainties and errors of atoms, as far as they are known; none for single atoms."""
    if all(len(one.atoms) == 1 for one in structures):
        return []
    now = of_atoms(_frames_now(run, structures), "now", f"of committee {run.newest_generation}")
    before = of_atoms([one.atoms for one in structures], "before", "before labelling")
    return [one for one in (*now, *before) if any(values is not None for values in one.values)]


def _first_axes(names: Sequence[str]) -> tuple[str, str]:
    """First axes of the map: similarity, the coordinates of a well, or else energy and uncertainty."""
    wanted = (("umap1", "umap2"), ("x", "y"), ("x", "energy"), ("energy", "sigma_now"), ("energy", "sigma_before"))
    return next((pair for pair in wanted if set(pair) <= set(names)), ("energy", "labelled_in"))


def _splits(run: Run, structures: Sequence[_Structure]) -> list[str | None]:
    """Split of each structure in the data set of the newest committee."""
    known = {_key(atoms): str(atoms.info.get("split")) for atoms in run.newest}
    words = {"test": "test", "fit": "training or validation"}
    return [words.get(known.get(_key(one.atoms), "")) for one in structures]


# --- looks ----------------------------------------------------------------------------------------------------------


def _group(run: Run, generation: int, source: str) -> dict[str, Any]:
    colour, marker, words = source_style(source)
    numbers = [one.number for one in run.generations]
    own = generation_colours(len(numbers))[numbers.index(generation)] if generation else colour
    return {
        "name": f"{words}, generation {generation}" if generation else f"{words}, start",
        "marker": marker,
        "colours": {"generation": own, "source": colour},
    }


def _elements(structures: Sequence[_Structure]) -> dict[str, Any]:
    numbers = sorted({int(number) for one in structures for number in one.atoms.numbers})
    return {
        chemical_symbols[number]: {
            "colour": to_hex(jmol_colors[number]),
            "radius": round(float(covalent_radii[number]), 3),
        }
        for number in numbers
    }


def _geometries(structures: Sequence[_Structure]) -> Iterator[Mapping[str, Any]]:
    """Symbols and positions in Å; molecules of a composition lie as the one of lowest energy does, as near as can be.

    Otherwise they would jump about from one to the next, and what differs would be hard to see.
    """
    lowest: dict[bytes, Atoms] = {}
    for one in sorted(structures, key=lambda one: float(one.atoms.info["REF_energy"])):
        lowest.setdefault(one.atoms.numbers.tobytes(), one.atoms)
    frames = {key: _upright(atoms) for key, atoms in lowest.items()}
    for one in structures:
        positions, cell = one.atoms.positions, None
        if one.atoms.pbc.any():
            middle = one.atoms.cell.array.sum(axis=0) / 2
            positions, cell = positions - middle, _rounded(one.atoms.cell.array)
        elif len(one.atoms) > 1:
            positions = _laid_onto(positions, frames[one.atoms.numbers.tobytes()])
        yield {"symbols": one.atoms.get_chemical_symbols(), "positions": _rounded(positions), "cell": cell}


def _rounded(vectors: Float[np.ndarray, "n 3"]) -> list[float]:
    return [round(float(value), 3) + 0.0 for value in vectors.ravel()]  # no minus before zero


def _upright(atoms: Atoms) -> Float[np.ndarray, "n_atoms 3"]:
    """Spread out in the plane of x and y, as far as its shape allows, with the first atom above that plane."""
    positions = atoms.positions - atoms.positions.mean(axis=0)
    _, _, (across, _, up) = np.linalg.svd(positions)
    if positions[0] @ up < 0:
        up = -up
    return np.asarray(positions @ np.column_stack([across, np.cross(up, across), up]))


def _laid_onto(
    positions: Float[np.ndarray, "n_atoms 3"], target: Float[np.ndarray, "n_atoms 3"]
) -> Float[np.ndarray, "n_atoms 3"]:
    """Turned and shifted onto the target (Kabsch)."""
    centred = positions - positions.mean(axis=0)
    left, _, right = np.linalg.svd(centred.T @ target)
    left[:, 2] *= np.sign(np.linalg.det(left) * np.linalg.det(right))
    return np.asarray(centred @ left @ right)
