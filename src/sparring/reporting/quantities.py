"""Numbers of structures and of atoms that the explorer shows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from sparring.expected_error import atom_errors, force_error, force_sigma

__all__ = ["AtomQuantity", "Quantity", "of_atoms", "uncertainties"]

# Quantities that span more than this are shown on a logarithmic axis.
DECADES = 20.0


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number of every structure, nan where it is not known.

    `is_fact` if it means something on its own; quantities of one `plane` belong on axes of one scale.
    """

    name: str
    label: str
    values: Float[np.ndarray, " n_structures"]
    may_be_logarithmic: bool = False
    is_fact: bool = True
    plane: str | None = None

    def plain(self) -> dict[str, Any]:
        """Content for JSON."""
        known = self.values[np.isfinite(self.values)]
        spread = self.may_be_logarithmic and bool(known.min() > 0 and known.max() > DECADES * known.min())
        # The sum with zero makes one of what rounding left, and of minus zero.
        values = [float(f"{round(value, 9) + 0.0:.5g}") if np.isfinite(value) else None for value in self.values]
        return {
            "name": self.name,
            "label": self.label,
            "logarithmic": spread,
            "isFact": self.is_fact,
            "plane": self.plane,
            "values": values,
        }


@dataclass(frozen=True, kw_only=True)
class AtomQuantity:
    """A number of every atom in eV/Å, None for a structure where it is not known.

    `largest` is what the atom with the largest number is called in a list of facts.
    """

    name: str
    label: str
    values: tuple[Float[np.ndarray, " _"] | None, ...]
    largest: str | None = None

    def plain(self) -> dict[str, Any]:
        """Name and labels for JSON; the numbers stand in their structures."""
        return {"name": self.name, "label": self.label, "largest": self.largest}

    def of(self, place: int) -> list[float] | None:
        """Numbers of the atoms of a structure, with the digits that are shown."""
        values = self.values[place]
        return None if values is None else [float(f"{value:.3g}") for value in values]


def uncertainties(frames: Sequence[Atoms | None], when: str, words: str) -> Iterator[Quantity]:
    """Uncertainty and error of the forces of a committee."""
    sigma, error = np.full((2, len(frames)), np.nan)
    for place, atoms in enumerate(frames):
        if atoms is not None and "force_variance" in atoms.info and "committee_forces" in atoms.arrays:
            sigma[place], error[place] = force_sigma(atoms), force_error(atoms)
    yield Quantity(name=f"sigma_{when}", label=f"σ_F {words} (eV/Å)", values=sigma, may_be_logarithmic=True)
    yield Quantity(name=f"error_{when}", label=f"force error {words} (eV/Å)", values=error, may_be_logarithmic=True)


def of_atoms(frames: Sequence[Atoms | None], when: str, words: str) -> Iterator[AtomQuantity]:
    """Uncertainty of each atom, and the error of its force: root mean squares of a component, both.

    Files of versions that did not write the uncertainty of atoms have errors only.
    """
    sigma = tuple(None if atoms is None else _finite(atoms.arrays.get("atom_uncertainty")) for atoms in frames)
    error = tuple(None if atoms is None else _finite(atom_errors(atoms)) for atoms in frames)
    largest = f"most uncertain atom, {words.removeprefix('of ')}"
    yield AtomQuantity(name=f"sigma_{when}", label=f"uncertainty {words}", values=sigma, largest=largest)
    yield AtomQuantity(name=f"error_{when}", label=f"force error {words}", values=error)


def _finite(values: Float[np.ndarray, " n_atoms"] | None) -> Float[np.ndarray, " n_atoms"] | None:
    return values if values is not None and np.isfinite(values).all() else None
