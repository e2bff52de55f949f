"""Energies of another zero, brought to that of labels which are known: an energy for each element."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Float

from sparring.labels.offline import AnswerError
from sparring.support.files import write_text

__all__ = ["Alignment", "compared", "fit_alignment"]

FEWEST = 3
"""Number of known structures that are labelled once more, if there are as many."""
NEGLIGIBLE = 1e-6


class Alignment(NamedTuple):
    r"""Energies of the elements that are added to energies of another zero.

    .. math:: \min_e \sum_k \Big(E_k - E'_k - \sum_a n_{ka}\, e_a\Big)^2

    over structures k with both energies, with the number :math:`n_{ka}` of atoms of element a. Where the compositions
    leave freedom, the smallest e is taken.

    Attributes:
        energies: Energy of each element in eV, by atomic number.
        compositions: Numbers of atoms of these elements in the structures that were compared.
        residual: Root mean square of what is left, in eV per atom.
    """

    energies: dict[int, float]
    compositions: list[list[int]]
    residual: float

    def shift(self, atoms: Atoms) -> float:
        """Energy in eV that is added to that of a structure.

        Raises:
            AnswerError: If the compared structures do not determine it.
        """
        counts = _counts([atoms], list(self.energies))
        unknown = set(atoms.numbers.tolist()) - set(self.energies)
        known = np.array(self.compositions, dtype=float)
        beside = counts[0] - np.linalg.pinv(known) @ (known @ counts[0])
        if unknown or np.abs(beside).max() > NEGLIGIBLE:
            raise AnswerError(
                f"the zero of energy of {atoms.get_chemical_formula()} is not determined by the structures that have "
                "labels of both kinds; add labelled structures of other compositions, or leave `align` out"
            )
        return float(counts[0] @ np.array(list(self.energies.values())))

    def words(self) -> str:
        """The alignment in one line."""
        shown = ", ".join(f"{chemical_symbols[number]} {energy:.4f} eV" for number, energy in self.energies.items())
        return (
            f"energies are brought to the zero of the data by {shown} for each atom ({len(self.compositions)} "
            f"structures compared, {1000 * self.residual:.2g} meV an atom are left)"
        )

    def write(self, file: Path) -> None:
        """Write it to a file."""
        content = {**self._asdict(), "energies": {str(number): energy for number, energy in self.energies.items()}}
        write_text(file, json.dumps(content, indent=1) + "\n")

    @classmethod
    def read(cls, file: Path) -> "Alignment":
        """Read it from a file.

        Raises:
            AnswerError: If the file is damaged.
        """
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            energies = {int(number): float(energy) for number, energy in content["energies"].items()}
            compositions = [[int(n) for n in row] for row in content["compositions"]]
            return cls(energies, compositions, float(content["residual"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AnswerError(f"{file} cannot be read ({error}); restore it, or begin the run anew") from error


def compared(known: Sequence[Atoms]) -> list[Atoms]:
    """Labelled structures that determine the alignment of all: a few, and one more where it adds to what is known."""
    elements = sorted({int(number) for atoms in known for number in atoms.numbers})
    chosen: list[Atoms] = []
    rank = 0
    rest: list[Atoms] = []
    for atoms in known:
        new = int(np.linalg.matrix_rank(_counts([*chosen, atoms], elements)))
        if new > rank:
            chosen.append(atoms)
            rank = new
        else:
            rest.append(atoms)
    return [*chosen, *rest[: max(0, FEWEST - len(chosen))]]


def fit_alignment(structures: Sequence[Atoms], known: Sequence[float], given: Sequence[float]) -> Alignment:
    """The alignment by structures with both energies.

    Args:
        structures: Structures.
        known: Their energies in eV on the zero of the data.
        given: Their energies in eV on the other zero.
    """
    elements = sorted({int(number) for atoms in structures for number in atoms.numbers})
    counts, difference = _counts(structures, elements), np.asarray(known, dtype=float) - np.asarray(given, dtype=float)
    energies, *_ = np.linalg.lstsq(counts, difference, rcond=1e-10)
    left = (difference - counts @ energies) / counts.sum(axis=1)
    return Alignment(
        dict(zip(elements, map(float, energies), strict=True)),
        counts.astype(int).tolist(),
        float(np.sqrt(np.mean(left**2))),
    )


def _counts(structures: Sequence[Atoms], elements: Sequence[int]) -> Float[np.ndarray, "n_structures n_elements"]:
    return np.array([[float((atoms.numbers == number).sum()) for number in elements] for atoms in structures])
