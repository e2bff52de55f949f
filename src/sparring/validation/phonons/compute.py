r"""Phonons of crystals by finite displacements: density of states and bands of each member and of the labels.

Force constants and dynamical matrices are those of :class:`ase.phonons.Phonons` (Frederiksen et al. 2007,
doi:10.1103/PhysRevB.75.205413), from forces on all atoms of a supercell in which one atom is displaced by plus or minus
a step. There are six such supercells for each atom of the cell. Long-range charges of ionic crystals are left out.
"""

import math
import tempfile
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.dft.kpoints import monkhorst_pack
from ase.phonons import Phonons
from jaxtyping import Float

from sparring.committee import Committee
from sparring.surfaces.crystals import points_of, relaxed_crystal, repeats
from sparring.surfaces.evaluators import Evaluate
from sparring.units import THZ
from sparring.validation.crystals.structures import require_crystal
from sparring.validation.crystals.surfaces import About, of_surfaces
from sparring.validation.run_labels import LabelFrames

__all__ = ["IMAGINARY", "Lowest", "PhononStates", "phonons"]

IMAGINARY = 0.1 * THZ
"""Frequencies below minus this, in eV, count as imaginary; smaller ones are the noise of acoustic modes."""
N_PATH = 80
GRID = 25.0
"""Number of wave vectors along a direction times the height of the cell, in Å."""
N_ENERGIES = 300
WIDTH = 0.015
"""Standard deviation of the Gaussians of a density of states, as a part of the highest frequency."""


@dataclass(frozen=True, kw_only=True)
class Lowest:
    """The lowest mode of a crystal.

    Attributes:
        frequency: Frequency as an energy in eV, negative if it is imaginary; NaN if there are none.
        at: Wave vector: the closest point of high symmetry, or its coordinates.
    """

    frequency: float
    at: str

    @property
    def imaginary(self) -> bool:
        """True if the crystal is unstable along the mode."""
        return self.frequency < -IMAGINARY


@dataclass(frozen=True, kw_only=True)
class PhononStates:
    """Densities of states and bands of a crystal; frequencies are energies in eV, negative where imaginary.

    Attributes:
        about: The crystal, and how the phonons were computed.
        supercell: Numbers of cells of the supercell.
        energies: Energies of the densities of states, in eV.
        states: Densities of states of the members in 1/eV, with an integral of three for each atom; NaN where there are
            none.
        label_states: Density of states of the labels; NaN if there is none.
        distance: Distances along the path of the bands, in 1/Å.
        ticks: Names and distances of the points of high symmetry.
        bands: Frequencies of the members along the path, in eV.
        label_bands: Frequencies of the labels.
        lowest: Lowest modes of the members, on the path and on the grid of the densities of states.
        label_lowest: Lowest mode of the labels.
    """

    about: About
    supercell: tuple[int, int, int]
    energies: Float[np.ndarray, " n_energies"]
    states: Float[np.ndarray, "n_members n_energies"]
    label_states: Float[np.ndarray, " n_energies"]
    distance: Float[np.ndarray, " n_path"]
    ticks: tuple[tuple[str, float], ...]
    bands: Float[np.ndarray, "n_members n_path n_modes"]
    label_bands: Float[np.ndarray, "n_path n_modes"]
    lowest: tuple[Lowest, ...]
    label_lowest: Lowest


class _Path(NamedTuple):
    """Wave vectors of bands, in units of the reciprocal cell, with their distances and named points."""

    points: Float[np.ndarray, "n_path 3"]
    distance: Float[np.ndarray, " n_path"]
    ticks: tuple[tuple[str, float], ...]


class _Found(NamedTuple):
    """Frequencies in eV along the path and on the grid, and the lowest of them."""

    bands: Float[np.ndarray, "n_path n_modes"]
    grid: Float[np.ndarray, "n_grid n_modes"]
    lowest: Lowest


def phonons(
    committee: Committee,
    crystal: Atoms,
    *,
    length: float = 10.0,
    displacement: float = 0.01,
    label: LabelFrames | None = None,
    n_labels: int = 100,
) -> PhononStates:
    """Phonons of a crystal by each member of a committee and by labels, each in its own relaxed cell.

    Args:
        committee: Committee.
        crystal: Crystal near its equilibrium, in its smallest cell.
        length: Smallest distance between an atom and its image in the supercell, in Å.
        displacement: Displacement of the atoms, in Å.
        label: Function that labels structures, such as the method ``label`` of a label service; None for no labels.
        n_labels: Largest number of labels.

    Raises:
        ValueError: If the structure is no crystal, or a number is not positive.
        RelaxationError: If no member has phonons.
    """
    if not 0 < displacement < 0.5:
        raise ValueError(f"wanted a displacement between 0 and 0.5 Å, got {displacement} Å")
    require_crystal(crystal)
    supercell, path, modes = repeats(crystal, length), _path(crystal), 3 * len(crystal)
    grid = monkhorst_pack(repeats(crystal, GRID))
    found = of_surfaces(
        committee,
        crystal,
        partial(_phonons, crystal=crystal, supercell=supercell, displacement=displacement, path=path, grid=grid),
        missing=_Found(
            np.full((len(path.points), modes), np.nan), np.full((1, modes), np.nan), Lowest(frequency=math.nan, at="")
        ),
        label=label,
        n_labels=n_labels,
        options={"length": length},
    )
    everywhere = np.concatenate([one.grid for one in (*found.members, found.label)])
    low, high = float(np.nanmin(everywhere)), float(np.nanmax(everywhere))
    width = WIDTH * high
    energies = np.linspace(min(0.0, low) - 3 * width, high + 3 * width, N_ENERGIES)
    return PhononStates(
        about=found.about,
        supercell=supercell,
        energies=energies,
        states=np.array([_density(one.grid, energies, width) for one in found.members]),
        label_states=_density(found.label.grid, energies, width),
        distance=path.distance,
        ticks=path.ticks,
        bands=np.array([one.bands for one in found.members]),
        label_bands=found.label.bands,
        lowest=tuple(one.lowest for one in found.members),
        label_lowest=found.label.lowest,
    )


def _path(crystal: Atoms) -> _Path:
    """The path of ASE through the points of high symmetry (Setyawan and Curtarolo 2010)."""
    path = crystal.cell.bandpath(npoints=N_PATH)
    distance, places, names = path.get_linear_kpoint_axis()
    ticks = tuple((str(name).replace("G", "Γ"), float(place)) for name, place in zip(names, places, strict=True))
    return _Path(np.asarray(path.kpts), np.asarray(distance), ticks)


def _phonons(
    evaluate: Evaluate,
    *,
    crystal: Atoms,
    supercell: tuple[int, int, int],
    displacement: float,
    path: _Path,
    grid: Float[np.ndarray, "n_grid 3"],
) -> _Found:
    relaxed = relaxed_crystal(crystal, evaluate)
    with tempfile.TemporaryDirectory(prefix="sparring-") as folder:  # where ASE would keep the forces
        found = Phonons(relaxed, supercell=supercell, delta=displacement, name=folder)
        found.cache = _displaced_forces(relaxed, evaluate, supercell, displacement)  # type: ignore[assignment]
        found.read(acoustic=True)
        bands, everywhere = (np.asarray(found.band_structure(points, verbose=False)) for points in (path.points, grid))
    place, where = int(bands.min(axis=1).argmin()), everywhere.min(axis=1)
    if bands.min() <= where.min():
        nearest = min(path.ticks, key=lambda tick: abs(tick[1] - path.distance[place]))
        away = abs(nearest[1] - path.distance[place]) > 1e-6
        lowest = Lowest(frequency=float(bands.min()), at=f"near {nearest[0]}" if away else nearest[0])
    else:
        at = ", ".join(f"{one:.2f}" for one in grid[int(where.argmin())])
        lowest = Lowest(frequency=float(where.min()), at=f"({at})")
    return _Found(bands, everywhere, lowest)


def _displaced_forces(
    crystal: Atoms, evaluate: Evaluate, supercell: tuple[int, int, int], displacement: float
) -> dict[str, dict[str, np.ndarray]]:
    """Forces in supercells with one atom displaced, by the names that ASE has for them."""
    whole, names, frames = crystal * supercell, [], []
    for atom in range(len(crystal)):
        for axis, letter in enumerate("xyz"):
            for sign in (-1, 1):
                moved = whole.copy()
                moved.positions[atom, axis] += sign * displacement
                names.append(f"{atom}{letter}{'-' if sign < 0 else '+'}")
                frames.append(moved)
    points = points_of(evaluate, frames)
    return {name: {"forces": point.forces.copy()} for name, point in zip(names, points, strict=True)}


def _density(
    frequencies: Float[np.ndarray, "n_grid n_modes"], energies: Float[np.ndarray, " n_energies"], width: float
) -> Float[np.ndarray, " n_energies"]:
    """Density of states with Gaussians in place of peaks: three states for each atom."""
    away = (energies[:, None] - frequencies.ravel()) / width
    gaussians = np.exp(-0.5 * away**2) / (width * math.sqrt(2 * math.pi))
    return np.asarray(gaussians.sum(axis=1) / len(frequencies))
