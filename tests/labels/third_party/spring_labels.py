"""Labels of another package: springs between all pairs of atoms.

The environment variables SPRINGS_LOG and SPRINGS_STORE make it log the key of each label that it computes, with "again"
if the store has it already; SPRINGS_SECONDS makes it slow.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.calculators.emt import EMT

from sparring import Label, LabelError
from sparring.labels import label_key


@dataclass(frozen=True)
class Springs:
    """Springs of one constant between all pairs of atoms; they break where they are too long.

    Args:
        constant: Constant of the springs, in eV/Å².
        length: Length of the springs at rest, in Å.
        longest: Length at which a spring breaks, in Å.
    """

    constant: float = 10.0
    length: float = 1.3
    longest: float = 3.0
    version: str = "spring_labels 1.0"

    @property
    def method(self):
        return f"springs {self.constant} eV/Å², {self.length} Å"

    def __call__(self, atoms):
        if "SPRINGS_LOG" in os.environ:
            key = label_key(atoms, self)
            again = (Path(os.environ["SPRINGS_STORE"]) / f"{key}.json").exists()
            with Path(os.environ["SPRINGS_LOG"]).open("a") as file:
                file.write(f"{key}{' again' if again else ''}\n")
        time.sleep(float(os.environ.get("SPRINGS_SECONDS", "0")))
        first, second = np.triu_indices(len(atoms), 1)
        vectors = atoms.positions[second] - atoms.positions[first]
        distances = np.linalg.norm(vectors, axis=1)
        if (distances > self.longest).any():
            raise LabelError("not_converged", f"a spring is {distances.max():.2f} Å long and breaks")
        stretch = distances - self.length
        pulls = self.constant * (stretch / distances)[:, None] * vectors
        forces = np.zeros_like(atoms.positions)
        np.add.at(forces, first, pulls)
        np.subtract.at(forces, second, pulls)
        energy = 0.5 * self.constant * np.square(stretch).sum()
        return Label(
            energy=energy, forces=forces, method=self.method, version=self.version, converged=True, wall_time=0.0
        )


def lattice():
    """A calculator of ASE in the place of a labeller."""
    return EMT()
