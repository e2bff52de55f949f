"""Labels that a committee has not seen: its own test split, what its run labelled later, or a file of the user's."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from sparring.atoms.dataset import Dataset
from sparring.runs.generation import SPLITS, Generation
from sparring.runs.saved_run import generations
from sparring.starting_data.isolated import without_isolated

__all__ = ["HeldOut", "held_out", "held_out_of", "unseen"]

SAME = 1e-4
"""Geometries whose coordinates and cells differ by less than this, in Å, are the same; files carry eight decimals."""


class HeldOut(NamedTuple):
    """Labelled structures that a committee has not seen.

    Attributes:
        dataset: These structures.
        training: Those that it has learnt from, None if the folder does not tell.
        name: What they are, for people.
        n_seen: How many were left out, because the committee had learnt from them.
    """

    dataset: Dataset
    training: Dataset | None
    name: str
    n_seen: int

    def note(self) -> str:
        """What people should know of it."""
        if self.training is None:
            return "the folder does not tell what the committee learnt from: make sure that it has not seen these"
        if self.n_seen:
            return f"{self.n_seen} structures of the file were left out: the committee learnt from them"
        return "the committee has learnt from none of these"


def held_out(folder: Path, *, later: bool = False) -> HeldOut:
    """The test split of a generation.

    Args:
        folder: Of the generation of a run.
        later: Whether to add what this generation and those after it labelled. The committee had not seen it, but chose
            what was labelled first by its own uncertainty.

    Raises:
        ValueError: If the folder is not that of a generation.
    """
    if not Generation(folder).has_splits:
        raise ValueError(
            f"{folder} has no test split ({SPLITS}), which generations of a run have; give a file of labelled "
            "structures that the committee has not seen"
        )
    dataset, training = _split(folder)
    name = f"test split of {folder.name}"
    if not later:
        return HeldOut(dataset, training, name, 0)
    labelled = _labelled_since(folder)
    if labelled is None:
        return HeldOut(dataset, training, f"{name}, after which nothing was labelled", 0)
    new = unseen(labelled, dataset + training)
    if not new:
        return HeldOut(dataset, training, f"{name}, after which nothing new was labelled", 0)
    return HeldOut(dataset + labelled.take(new), training, f"{name}, and {len(new)} labels of the run since", 0)


def held_out_of(folder: Path, dataset: Dataset, name: str) -> HeldOut:
    """What a committee has not seen of any labelled structures; what it learnt from and isolated atoms are left out.

    Args:
        folder: Of the committee; only that of a generation tells what it learnt from.
        dataset: The structures.
        name: What they are, for people.

    Raises:
        ValueError: If it has seen them all.
    """
    dataset = without_isolated(dataset)
    if not Generation(folder).has_splits:
        return HeldOut(dataset, None, name, 0)
    _, training = _split(folder)
    new = unseen(dataset, training)
    if not new:
        raise ValueError(f"the committee learnt from all {len(dataset)} structures of {name}; give others")
    return HeldOut(dataset.take(new), training, name, len(dataset) - len(new))


def unseen(dataset: Dataset, known: Dataset, *, tolerance: float = SAME) -> Sequence[int]:
    """Which structures are not among the known ones: other atoms, or the same atoms elsewhere, in Å.

    Copies that are turned, shifted or have their atoms in another order are not recognised.
    """
    trees = {numbers: KDTree(rows) for numbers, (_, rows) in _by_atoms(known).items()}
    new: list[int] = []
    for numbers, (indices, rows) in _by_atoms(dataset).items():
        if numbers in trees:
            distance, _ = trees[numbers].query(rows, p=np.inf, distance_upper_bound=tolerance)
            indices = indices[np.isinf(distance)]
        new.extend(indices.tolist())
    return sorted(new)


def _split(folder: Path) -> tuple[Dataset, Dataset]:
    """What no member has seen of the data of a generation, and what members learnt from."""
    generation = Generation(folder)
    dataset, test = Dataset.from_atoms(generation.frames()), set(generation.splits().test)
    return dataset.take(sorted(test)), dataset.take([i for i in range(len(dataset)) if i not in test])


def _by_atoms(
    dataset: Dataset,
) -> dict[tuple[int, ...], tuple[np.ndarray, Float[np.ndarray, "_ n_coordinates"]]]:
    """For all structures of the same atoms their indices, and a row of coordinates each: positions and cell."""
    groups: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = {}
    for index, atoms in enumerate(dataset.structures.to_atoms()):
        row = np.concatenate([atoms.positions.ravel(), atoms.cell.array.ravel()])
        groups.setdefault(tuple(atoms.numbers.tolist()), []).append((index, row))
    return {
        numbers: (np.array([index for index, _ in members]), np.stack([row for _, row in members]))
        for numbers, members in groups.items()
    }


def _labelled_since(folder: Path) -> Dataset | None:
    """What a generation and those after it have labelled."""
    first = Generation(folder.resolve())
    since = [one for one in generations(first.folder.parent) if one.number >= first.number]
    frames = [atoms for generation in since for atoms in generation.labelled()]
    return Dataset.from_atoms(frames) if frames else None
