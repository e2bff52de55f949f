"""Labels of frames in which copies failed, and the errors of the committee there."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms

from sparring.labels.base import Label
from sparring.validation.run_labels import LabelFrames
from sparring.validation.survival.failures import Failure

__all__ = ["compared", "labelled_failures"]


def labelled_failures(n_failures: Sequence[int], n_labels: int) -> list[list[int]]:
    """Numbers of the failures at each temperature that are labelled: one at each in turn, the earliest first.

    Args:
        n_failures: Number of failures at each temperature.
        n_labels: Largest number of labels.
    """
    turns = [(place, which) for which, count in enumerate(n_failures) for place in range(count)]
    chosen: list[list[int]] = [[] for _ in n_failures]
    for place, which in sorted(turns)[:n_labels]:
        chosen[which].append(place)
    return chosen


def compared(failures: Sequence[Failure], frames: Sequence[Atoms], label: LabelFrames) -> list[Failure]:
    """Failures with the errors of the committee against labels, or the reasons why there are no labels.

    Args:
        failures: Failures.
        frames: Geometries at the failures, with ``committee_energy`` and ``committee_forces`` as far as they are
            finite.
        label: Function that labels structures.
    """
    if not failures:
        return []
    found = []
    for failure, atoms, one in zip(failures, frames, label(frames).labels, strict=True):
        if not isinstance(one, Label):
            found.append(replace(failure, refused=f"{one.reason}: {one.message}"))
            continue
        difference = atoms.arrays.get("committee_forces", np.full((len(atoms), 3), np.nan)) - one.forces
        found.append(
            replace(
                failure,
                energy_error=float(atoms.info.get("committee_energy", np.nan)) - one.energy,
                force_error=float(np.sqrt(np.mean(difference**2))),
            )
        )
    return found
