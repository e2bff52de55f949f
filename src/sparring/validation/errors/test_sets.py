"""Labels that a committee was not trained on: its test split, later labels of its run, or a file."""

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

__all__ = ["EvaluationData", "data_of_file", "data_of_generation", "unseen"]

SAME = 1e-4
"""Geometries whose coordinates and cells differ by less than this, in Å, are the same; files carry eight decimals."""


class EvaluationData(NamedTuple):
    """Labelled structures that a committee was not trained on.

    Attributes:
        dataset: Labelled structures.
        training: Structures that the committee was trained on, None if they are not known.
        name: Name of the structures.
        n_seen: Number of structures that were left out, because the committee was trained on them.
    """

    dataset: Dataset
    training: Dataset | None
    name: str
    n_seen: int

    def note(self) -> str:
        """A line about the training data."""
        if self.training is None:
            return (
                "the training data of the committee is not in its folder: make sure that none of these structures is "
                "in it"
            )
        if self.n_seen:
            return f"{self.n_seen} structures of the file were left out: the committee was trained on them"
        return "the committee was trained on none of these structures"


def data_of_generation(folder: Path, *, later: bool = False) -> EvaluationData:
    """The test split of a generation.

    Args:
        folder: Folder of the generation.
        later: True to add the labels of this generation and of those after it. The committee was not trained on them,
            but the first of them were selected by its own uncertainty.

    Raises:
        ValueError: If the folder is not that of a generation.
    """
    if not Generation(folder).has_splits:
        raise ValueError(
            f"{folder} has no test split ({SPLITS}): it is not a generation of a run; give a file of labelled "
            "structures that the committee was not trained on"
        )
    dataset, training = _split(folder)
    name = f"test split of {folder.name}"
    if not later:
        return EvaluationData(dataset, training, name, 0)
    labelled = _labelled_since(folder)
    if labelled is None:
        return EvaluationData(dataset, training, f"{name}; no later labels", 0)
    new = unseen(labelled, dataset + training)
    if not new:
        return EvaluationData(dataset, training, f"{name}; no new later labels", 0)
    return EvaluationData(dataset + labelled.take(new), training, f"{name}, and {len(new)} labels of the run since", 0)


def data_of_file(folder: Path, dataset: Dataset, name: str) -> EvaluationData:
    """Labelled structures without those that a committee was trained on, and without isolated atoms.

    Args:
        folder: Folder of the committee; only that of a generation contains the training data.
        dataset: The structures.
        name: Name of the structures.

    Raises:
        ValueError: If the committee was trained on all of them.
    """
    dataset = without_isolated(dataset)
    if not Generation(folder).has_splits:
        return EvaluationData(dataset, None, name, 0)
    _, training = _split(folder)
    new = unseen(dataset, training)
    if not new:
        raise ValueError(f"the committee was trained on all {len(dataset)} structures of {name}; give others")
    return EvaluationData(dataset.take(new), training, name, len(dataset) - len(new))


def unseen(dataset: Dataset, known: Dataset, *, tolerance: float = SAME) -> Sequence[int]:
    """Indices of the structures that are not among the known ones, within a tolerance in Å.

    Rotated or translated copies, and copies with another order of atoms, count as new.
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
    """The test split of a generation, and the structures that members were trained on."""
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
    """Labels of a generation and of those after it."""
    first = Generation(folder.resolve())
    since = [one for one in generations(first.folder.parent) if one.number >= first.number]
    frames = [atoms for generation in since for atoms in generation.labelled()]
    return Dataset.from_atoms(frames) if frames else None
