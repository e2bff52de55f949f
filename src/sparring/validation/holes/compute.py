r"""Holes of a potential: places where two atoms merge and the energy falls, found along the paths of attacks.

The energy of two atoms that come close rises without limit. A model that has not learnt this turns over: behind a wall
of finite height it lets atoms merge. Along the path of an attack, with the energy E and the scaled distance s of the
pair that comes closest (:mod:`sparring.atoms.closeness`), the model broke if for some step

.. math:: E(k_{low}) < E(k_{top}) - \Delta, \qquad s(k_{low}) < s_{low}, \qquad s(k_{low}) < s(k_{top}), \qquad
    k_{top} < k_{low} \le k_{close}

where :math:`k_{top}` is the highest energy up to the closest approach :math:`k_{close}`, and :math:`k_{low}` any step
after it. The shortest bonds have a scaled distance of 0.6 (Cr2, 1.68 Å): below 0.5 atoms repel each other so strongly
that a relaxation of other atoms hardly explains a fall of the energy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import find_mic
from ase.geometry.minkowski_reduction import minkowski_reduce
from jaxtyping import Float

from sparring.atoms.closeness import closest_pairs
from sparring.atoms.inheritance import inherit
from sparring.atoms.structures import Structures
from sparring.runs.generation import Generation
from sparring.runs.saved_run import generations
from sparring.validation.records import keep_frames, write_record

__all__ = [
    "FALL",
    "LOW",
    "WALLS",
    "Holes",
    "MergingPath",
    "attacked_generations",
    "find_holes",
    "holes",
    "keep_holes",
    "separation",
]

FALL, LOW = 1.0, 0.5
"""Smallest fall of the energy in eV, and largest scaled distance, of a hole."""
WALLS = "walls.extxyz"
"""File of the geometries on top of the walls, beside that of the results."""
NO_ATTACKS = "{folder} has no attacks: give a run, or a generation whose attacks are done"
Energies = Float[np.ndarray, "n_points n_attacks"]


@dataclass(frozen=True, kw_only=True)
class MergingPath:
    """The path of an attack, seen from the pair of atoms that comes closest.

    Attributes:
        attack: Number of the attack, counted from 0.
        formula: Composition of the structure.
        atoms: Indices of the pair in the structure.
        elements: Elements of the pair.
        distance: Distance of the pair at each step, in Å.
        scaled: The same, divided by the sum of the covalent radii.
        energy: Energy at each step, in eV above the first.
        top: Step of the highest energy before the closest approach.
        low: Step of the lowest energy between that and the closest approach with a smaller distance than at the top,
            and below the bound; the closest approach if there is none.
        broke: True if the model broke.
    """

    attack: int
    formula: str
    atoms: tuple[int, int]
    elements: tuple[str, str]
    distance: Float[np.ndarray, " n_steps"]
    scaled: Float[np.ndarray, " n_steps"]
    energy: Float[np.ndarray, " n_steps"]
    top: int
    low: int
    broke: bool

    @property
    def fall(self) -> float:
        """Fall of the energy behind the wall, in eV."""
        return float(self.energy[self.top] - self.energy[self.low])


@dataclass(frozen=True, kw_only=True)
class Holes:
    """The paths of all attacks of a committee, and what counts as a hole.

    Attributes:
        fall: Smallest fall of the energy, in eV.
        low: Largest scaled distance.
        n_attacks: Number of attacks.
        paths: Paths with at least two atoms and two steps.
    """

    fall: float
    low: float
    n_attacks: int
    paths: tuple[MergingPath, ...]

    @property
    def found(self) -> tuple[MergingPath, ...]:
        """Paths that broke the model, those of the lowest energy first."""
        broken = [path for path in self.paths if path.broke]
        return tuple(sorted(broken, key=lambda path: float(path.energy[path.low])))


def find_holes(
    attacked: Sequence[Atoms],
    positions: Float[np.ndarray, "n_points n_atoms 3"],
    energy: Energies,
    *,
    cells: Float[np.ndarray, "n_points n_attacks 3 3"] | None = None,
    fall: float = FALL,
    low: float = LOW,
) -> Holes:
    """Holes along the paths of attacks.

    Args:
        attacked: Structure of each attack, at any point of its path.
        positions: Positions of all atoms of all attacks along the paths, in Å.
        energy: Energies along the paths, in eV; not finite once an attack has stopped.
        cells: Lattice vectors along the paths, in Å; None where they are those of the structures.
        fall: Smallest fall of the energy in eV.
        low: Largest scaled distance.

    Raises:
        ValueError: If a bound is not positive.
    """
    if fall <= 0 or low <= 0:
        raise ValueError(f"a hole has a fall of the energy and a distance above zero, got {fall} eV and {low}")
    ends = np.cumsum([len(atoms) for atoms in attacked])
    paths: list[MergingPath] = []
    for number, (atoms, end) in enumerate(zip(attacked, ends.tolist(), strict=True)):
        steps = np.flatnonzero(np.isfinite(energy[:, number]))
        if len(atoms) < 2 or len(steps) < 2:
            continue
        frames = list(_frames(atoms, positions[:, end - len(atoms) : end], cells, number, steps))
        path = _path(number, frames, energy[steps, number], fall, low)
        if path is not None:
            paths.append(path)
    return Holes(fall=fall, low=low, n_attacks=len(attacked), paths=tuple(paths))


def holes(folder: Path | str, *, fall: float = FALL, low: float = LOW) -> tuple[Holes, list[Atoms], list[Atoms]]:
    """Holes along the attacks of a generation, and their geometries: in the holes, and on top of the walls before them.

    Args:
        folder: Folder of the generation.
        fall: Smallest fall of the energy in eV.
        low: Largest scaled distance.

    Raises:
        ValueError: If the generation has no attacks.
    """
    saved = Generation(Path(folder))
    attacked, arrays = saved.attacks(), saved.paths()
    if not attacked or not arrays:
        raise ValueError(NO_ATTACKS.format(folder=folder))
    positions, energy, cells = arrays["positions"], arrays["energy"], arrays.get("cells")
    found = find_holes(attacked, positions, energy, cells=cells, fall=fall, low=low)
    ends = np.cumsum([len(atoms) for atoms in attacked])

    def geometry(path: MergingPath, step: int) -> Atoms:
        atoms, end = attacked[path.attack], int(ends[path.attack])
        steps = np.flatnonzero(np.isfinite(energy[:, path.attack]))[step : step + 1]
        (frame,) = _frames(atoms, positions[:, end - len(atoms) : end], cells, path.attack, steps)
        frame = inherit(frame, atoms)  # a label depends on the charge, too
        frame.info |= {
            "attack": path.attack,
            "step": int(steps[0]),
            "pair": np.array(path.atoms),
            "distance": float(path.distance[step]),
            "energy_above_start": float(path.energy[step]),
        }
        return frame

    inside = [geometry(path, path.low) for path in found.found]
    return found, inside, [geometry(path, path.top) for path in found.found]


def keep_holes(folder: Path, *, fall: float = FALL, low: float = LOW, again: bool = False) -> list[Path]:
    """Compute the holes of all attacked generations of a run that are not known yet; returns the files.

    Args:
        folder: Folder of the run, or of one of its generations.
        fall: Smallest fall of the energy in eV.
        low: Largest scaled distance.
        again: True to replace results that exist.

    Raises:
        ValueError: If there are no attacks.
    """
    written = []
    for generation in attacked_generations(folder):
        file = generation.folder / "validation" / "holes.json"
        if again or not file.exists():
            found, inside, walls = holes(generation.folder, fall=fall, low=low)
            file.parent.mkdir(exist_ok=True)
            keep_frames(file.with_suffix(".extxyz"), inside)
            keep_frames(file.with_name(WALLS), walls)
            write_record(file, found)
        written.append(file)
    if not written:
        raise ValueError(NO_ATTACKS.format(folder=folder))
    return written


def attacked_generations(folder: Path) -> list[Generation]:
    """Generations of a folder, which is that of a run or of a generation, whose attacks have been written."""
    several = generations(folder) or [Generation(folder)]
    return [generation for generation in several if "positions" in generation.paths() and generation.attacks()]


def _frames(
    atoms: Atoms,
    positions: Float[np.ndarray, "n_points n 3"],
    cells: Float[np.ndarray, "n_points n_attacks 3 3"] | None,
    attack: int,
    steps: np.ndarray,
) -> Iterator[Atoms]:
    for step in steps.tolist():
        cell = atoms.cell if cells is None else cells[step, attack]
        yield Atoms(numbers=atoms.numbers, positions=positions[step].astype(float), cell=cell, pbc=atoms.pbc)


def _path(
    attack: int, frames: list[Atoms], energy: Float[np.ndarray, " n_steps"], fall: float, low: float
) -> MergingPath | None:
    pairs = closest_pairs(Structures.from_atoms(frames))
    close = int(pairs.scaled.argmin())
    if int(pairs.first[close]) < 0:
        return None
    first, second = int(pairs.first[close]), int(pairs.second[close])
    symbols = frames[0].symbols
    distance = np.linalg.norm([separation(atoms, first, second) for atoms in frames], axis=1)
    scaled = distance / (covalent_radii[frames[0].numbers[first]] + covalent_radii[frames[0].numbers[second]])
    above = (energy - energy[0]).astype(float)
    top = int(above[: close + 1].argmax())
    closer = top + np.flatnonzero(scaled[top : close + 1] < min(low, scaled[top]))
    lowest = int(closer[above[closer].argmin()]) if len(closer) else close
    return MergingPath(
        attack=attack,
        formula=frames[0].get_chemical_formula(),
        atoms=(first, second),
        elements=(symbols[first], symbols[second]),
        distance=distance,
        scaled=scaled,
        energy=above,
        top=top,
        low=lowest,
        broke=bool(len(closer) and above[top] - above[lowest] > fall),
    )


def separation(atoms: Atoms, first: int, second: int) -> Float[np.ndarray, " 3"]:
    """Vector between two atoms or their nearest images; of an atom and its own image, the shortest lattice vector."""
    if first == second:
        translations = minkowski_reduce(atoms.cell.array, atoms.pbc)[0][atoms.pbc]
        vector: np.ndarray = translations[np.linalg.norm(translations, axis=1).argmin()]
    else:
        vector = find_mic(atoms.positions[second] - atoms.positions[first], atoms.cell, atoms.pbc)[0]
    return vector
