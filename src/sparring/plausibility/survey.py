"""What can be seen in the frames of a file without a second label: states, duplicates, bounds."""

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms

from sparring.dataset import ENERGY
from sparring.labels import Bounds, electronic_state
from sparring.plausibility.choice import believed, name_of
from sparring.plausibility.findings import Finding

__all__ = ["survey"]


def survey(structures: Sequence[Atoms], bounds: Bounds, file: str) -> list[Finding]:
    """Charges and multiplicities that do not fit, frames that stand there twice, and labels out of bounds.

    Args:
        structures: Frames of the file.
        bounds: Limits outside which a label is not trained on.
        file: Name of the file.
    """
    return [*_states(structures, file), *_duplicates(structures, file), *_out_of_bounds(structures, bounds, file)]


def _states(structures: Sequence[Atoms], file: str) -> Iterator[Finding]:
    for index, atoms in enumerate(structures):
        if not atoms.numbers.all():
            continue  # the dummy atom of a well has no electrons
        try:
            electronic_state(atoms)
        except ValueError as error:
            yield Finding("stop", f"{file}, {name_of(atoms, index)}: {error}")


def _duplicates(structures: Sequence[Atoms], file: str) -> Iterator[Finding]:
    first: dict[object, int] = {}
    twins = []
    for index, atoms in enumerate(structures):
        geometry = np.round(np.concatenate([atoms.positions, atoms.cell.array]), 6) + 0.0
        key = (atoms.numbers.tobytes(), geometry.tobytes(), atoms.pbc.tobytes(), str(atoms.info.get("charge")))
        original = first.setdefault((*key, str(atoms.info.get("multiplicity"))), index)
        if original != index:
            twins.append((original, index))
    if twins:
        original, copy = twins[0]
        yield Finding(
            "warn",
            f"{file}: {len(twins)} of {len(structures)} frames are there twice (frame {copy} is frame {original}): "
            "they count twice in training",
        )


def _out_of_bounds(structures: Sequence[Atoms], bounds: Bounds, file: str) -> Iterator[Finding]:
    refused = []
    for index, atoms in enumerate(structures):
        why = believed(atoms, bounds) if ENERGY in atoms.info else None
        if why is not None:
            refused.append((index, why))
    if refused:
        index, why = refused[0]
        yield Finding(
            "warn",
            f"{file}: {len(refused)} of {len(structures)} frames have labels outside of labels.bounds; the first is "
            f"frame {index}: {why}",
        )
