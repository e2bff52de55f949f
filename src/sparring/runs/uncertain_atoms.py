"""The atoms of which a committee was uncertain, in the structures that it last selected."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from sparring.runs.generation import Generation
from sparring.runs.saved_run import SavedRun

__all__ = ["UncertainAtoms", "uncertain_atoms", "uncertain_atoms_of", "uncertain_atoms_of_run"]


@dataclass(frozen=True, kw_only=True)
class UncertainAtoms:
    """Uncertainty of atoms by element, before labelling.

    Attributes:
        generation: Number of the generation.
        n_structures: Number of selected structures.
        mean: Mean uncertainty of the atoms of each element, in eV/Å, the most uncertain element first.
        largest: Largest uncertainty of an atom of each element, in eV/Å.
        most: Atom that is the most uncertain one in most structures, element and number from 0; None if structures
            differ in their atoms, or if no atom is the most uncertain one twice.
        n_most: Number of structures in which it is.
    """

    generation: int
    n_structures: int
    mean: Mapping[str, float]
    largest: Mapping[str, float]
    most: str | None
    n_most: int


def uncertain_atoms_of_run(run: Path) -> UncertainAtoms | None:
    """Uncertain atoms of the newest generation of a run that has selected structures.

    None before the first selection, for structures of a single atom, for one committee member, and where a version
    that did not know the uncertainty of atoms made the selection.
    """
    return uncertain_atoms_of(SavedRun(run).generations())


def uncertain_atoms_of(generations: Sequence[Generation]) -> UncertainAtoms | None:
    """Uncertain atoms of the newest of these generations that has selected structures."""
    for generation in reversed(generations):
        if frames := generation.selected():
            # The labelling of an older selection may have brought what the selection lacks.
            known = uncertain_atoms(frames, generation.number)
            return known or uncertain_atoms(generation.labelled(), generation.number)
    return None


def uncertain_atoms(frames: Sequence[Atoms], generation: int) -> UncertainAtoms | None:
    """Uncertain atoms of structures, those without the array ``atom_uncertainty`` left out.

    Args:
        frames: Selected structures.
        generation: Number of their generation.
    """
    known = [atoms for atoms in frames if len(atoms) > 1 and "atom_uncertainty" in atoms.arrays]
    if not known:
        return None
    sigma = np.concatenate([atoms.arrays["atom_uncertainty"] for atoms in known])
    symbols = np.concatenate([atoms.get_chemical_symbols() for atoms in known])
    if not sigma.any():
        return None
    mean = {str(symbol): float(sigma[symbols == symbol].mean()) for symbol in dict.fromkeys(symbols)}
    mean = dict(sorted(mean.items(), key=lambda item: -item[1]))
    most, n_most = _most(known)
    return UncertainAtoms(
        generation=generation,
        n_structures=len(known),
        mean=mean,
        largest={symbol: float(sigma[symbols == symbol].max()) for symbol in mean},
        most=most,
        n_most=n_most,
    )


def _most(frames: Sequence[Atoms]) -> tuple[str | None, int]:
    """The atom that is the most uncertain one most often, and how often."""
    first = frames[0]
    if any(not np.array_equal(atoms.numbers, first.numbers) for atoms in frames):
        return None, 0
    counts = Counter(int(np.argmax(atoms.arrays["atom_uncertainty"])) for atoms in frames)
    ((index, n_most),) = counts.most_common(1)
    return (f"{first.symbols[index]}{index}", n_most) if n_most > 1 else (None, 0)
