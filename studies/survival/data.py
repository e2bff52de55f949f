"""Structures of two molecules: to start from, to learn from instead of attacks, and to test on.

Ethanol is labelled by GFN2-xTB, alanine dipeptide by OPLS-AA.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from sparring.atoms.dataset import Dataset
from sparring.atoms.structures import Structures
from sparring.inputs.extxyz import read_structures, write_structures
from sparring.labels.openmm.dynamics import langevin_snapshots
from sparring.labels.openmm.labeller import OpenMM
from sparring.surfaces.torsion_plane import TorsionPlane
from sparring.systems import alanine_dipeptide
from studies.committees.data import labels as xtb_labels
from studies.learning_curves.data import ethanol_snapshots, labelled

__all__ = ["GRID", "HOT", "MOLECULES", "START", "TEST", "Molecule", "dataset", "write", "write_start"]

START, HOT, TEST, GRID = "start", "hot", "test", "grid"
"""Sets: 300 K to start from; 500 K to learn from, and of another trajectory to test on; a grid of both torsions."""
N = {START: 100, HOT: 600, TEST: 200}
"""Number of structures."""
POINTS = 12
HIGHEST = 1.0
"""Energy in eV above the lowest on the grid up to which its structures are kept: 23 kcal/mol."""


@dataclass(frozen=True, kw_only=True)
class Molecule:
    """A molecule, its labels, and its dynamics under them.

    Attributes:
        name: Name.
        labeller: Section ``labels.labeller`` of a configuration.
        torsions: Two torsions, for the grid.
        snapshots: Labelled snapshots of dynamics, from temperature, number and seed.
        labels: Labelled copies of structures.
    """

    name: str
    labeller: Mapping[str, object]
    torsions: tuple[tuple[int, int, int, int], ...]
    snapshots: Callable[[float, int, int], list[Atoms]]
    labels: Callable[[list[Atoms]], list[Atoms]]

    @property
    def plane(self) -> TorsionPlane:
        """The torsions as variables."""
        first, second = self.torsions
        return TorsionPlane(names=("first", "second"), torsions=(first, second))

    def structures(self, name: str) -> list[Atoms]:
        """The structures of a set, with labels."""
        if name == GRID:
            return self._grid()
        temperature = 300.0 if name == START else 500.0
        return self.snapshots(temperature, N[name], (START, HOT, TEST).index(name) + 1)

    def _grid(self) -> list[Atoms]:
        """Both torsions of the lowest of some snapshots, turned in equal steps, as far as energies are not too high."""
        start = min(self.snapshots(300.0, 20, 9), key=lambda atoms: float(atoms.info["REF_energy"]))
        sides = torch.arange(POINTS, dtype=torch.float64) * 2 * torch.pi / POINTS - torch.pi
        targets = torch.cartesian_prod(sides, sides)
        structures = Structures.from_atoms([start] * len(targets))
        turned = self.plane.turned(self.plane.space(start), structures, targets).to_atoms()
        found = self.labels(turned)
        energies = np.array([atoms.info["REF_energy"] for atoms in found])
        return [atoms for atoms, energy in zip(found, energies, strict=True) if energy < energies.min() + HIGHEST]


def _dipeptide_snapshots(temperature: float, n: int, seed: int) -> list[Atoms]:
    """Snapshots of one trajectory under OPLS-AA, 400 fs apart."""
    frames = langevin_snapshots(
        OpenMM.from_forcefield("opls-aa", alanine_dipeptide.topology()),
        alanine_dipeptide.geometry(),
        temperature=temperature,
        timestep=1.0,
        duration=400.0 * n,
        every=400.0,
        equilibration=2000.0,
        seed=seed,
    )
    return _dipeptide_labels(frames)


def _dipeptide_labels(frames: list[Atoms]) -> list[Atoms]:
    force_field = OpenMM.from_forcefield("opls-aa", alanine_dipeptide.topology())
    found = [force_field(atoms) for atoms in frames]
    return [labelled(atoms, label.energy, label.forces) for atoms, label in zip(frames, found, strict=True)]


MOLECULES: Mapping[str, Molecule] = {
    "ethanol": Molecule(
        name="ethanol",
        labeller={"kind": "ase", "name": "tblite", "parameters": {"method": "GFN2-xTB"}},
        torsions=((0, 1, 2, 3), (6, 0, 1, 2)),  # H-O-C-C turns the hydroxyl, H-C-C-O the methyl
        snapshots=lambda temperature, n, seed: ethanol_snapshots(temperature, n, seed=seed),
        labels=xtb_labels,
    ),
    "alanine dipeptide": Molecule(
        name="alanine dipeptide",
        labeller={"kind": "openmm", "forcefield": "opls-aa"},
        torsions=alanine_dipeptide.torsion_plane().torsions,
        snapshots=_dipeptide_snapshots,
        labels=_dipeptide_labels,
    ),
}
"""Molecules by name."""


def write(file: Path, molecule: Molecule, name: str) -> None:
    """Write the structures of a set."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_structures(file, molecule.structures(name))


def write_start(file: Path, start: Path, hot: Path | None, n_hot: int, seed: int) -> None:
    """Write the structures that a run starts from: those at 300 K, and some of those at 500 K if there are any."""
    frames = read_structures(start)
    if hot is not None:
        others = read_structures(hot)
        frames += [others[i] for i in np.random.default_rng(seed).permutation(len(others))[:n_hot]]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_structures(file, frames)


def dataset(file: Path) -> Dataset:
    """All structures of a file."""
    return Dataset.from_atoms(read_structures(file))
