"""The files of one generation of a run, read-only: the only module that knows their names.

Validation, report and command line read runs through :class:`Generation` and :class:`sparring.runs.saved_run.SavedRun`,
which take no lock. :class:`sparring.runs.folder.RunFolder` and the codecs of the stages write.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.committee_files import EXPECTED, FILES, read_committee
from sparring.expected_error import ExpectedErrors
from sparring.inputs.extxyz import read_labelled, read_structures
from sparring.labels import LabelError
from sparring.runs.failures import failure_of, read_failures, rows_of
from sparring.runs.manifests import RunFolderError, Stages, metrics_of, read_stages
from sparring.starting_data.isolated import atomic_energies
from sparring.support.checksums import MANIFEST, file_problem
from sparring.training.splits import Splits

__all__ = ["MANIFEST", "Generation", "RunFolderError", "read_json"]

METRICS = "metrics.json"
DATASET, SPLITS, ISOLATED = "dataset.extxyz", "splits.json", "isolated_atoms.extxyz"
STARTING_FAILURES, FAILURES, OPEN_FAILURES = "starting_failures.csv", "failures.csv", "failures-open.csv"
COMMITTEE, CURVES = FILES, "training.csv"
PREDICTIONS, EVALUATION = "predictions.extxyz", "evaluation.json"
ATTACKS, PATHS = "attacks.extxyz", "paths.npz"
SELECTED, SELECTION = "selected.extxyz", "selection.json"
CHECKPOINTS = "checkpoints"
LABELLED, COUNTS = "labelled.extxyz", "labels.json"

NAME = re.compile(r"generation-(0[1-9]|[1-9]\d+)")
"""Name of the folder of a generation."""


@dataclass(frozen=True)
class Generation:
    """One generation of a run on disk.

    Frames of a stage that has not been committed, or of one without results, are an empty list.

    Attributes:
        folder: Folder of the generation.
    """

    folder: Path

    @property
    def number(self) -> int:
        """Number of the generation, from 1.

        Raises:
            ValueError: If the folder does not have the name of a generation.
        """
        match = NAME.fullmatch(self.folder.name or self.folder.resolve().name)
        if match is None:
            raise ValueError(f"{self.folder} is not the folder of a generation, such as generation-01")
        return int(match[1])

    @property
    def before(self) -> "Generation":
        """The generation before this one; of the first, a folder that does not exist."""
        return Generation(self.folder.parent / f"generation-{self.number - 1:02d}")

    @property
    def manifest(self) -> Stages:
        """Committed stages with the SHA-256 of their files.

        Raises:
            RunFolderError: If the file is damaged.
        """
        return read_stages(self.folder, self.remedy)

    @property
    def stages_done(self) -> tuple[str, ...]:
        """Names of the stages that have been committed, in their order."""
        return tuple(self.manifest)

    def metrics(self) -> dict[str, Any]:
        """Numbers of the stages so far.

        Raises:
            RunFolderError: If the manifest is damaged, or the file of an older version.
        """
        known = metrics_of(self.number, stages) if (stages := self.manifest) else None
        if known is not None:
            return known
        return read_json(self.folder / METRICS, "delete it, and the same `sparring run` makes it again")

    def file(self, name: str) -> Path:
        """Path of a file, which is as it was committed; one that no stage has committed is not checked.

        Raises:
            RunFolderError: If it is missing or has changed since.
        """
        file = self.folder / name
        if self.manifest and (problem := file_problem(file)):
            raise RunFolderError(f"{file} {problem}; {self.remedy}")
        return file

    @property
    def remedy(self) -> str:
        """Advice for a damaged file, as the end of an error message."""
        return f"restore it, or delete {self.folder} and the generations after it to compute them again"

    @property
    def has_dataset(self) -> bool:
        """True if the data set exists; it may lack splits if it has been copied."""
        return (self.folder / DATASET).is_file()

    @property
    def has_splits(self) -> bool:
        """True if the splits exist."""
        return (self.folder / SPLITS).is_file()

    @property
    def data_files(self) -> tuple[Path, Path]:
        """Paths of the data set and of its splits."""
        return self.folder / DATASET, self.folder / SPLITS

    def frames(self) -> list[Atoms]:
        """Labelled structures of the data set."""
        return self._labelled(DATASET)

    def dataset(self) -> Dataset:
        """Data set with the energies of isolated atoms.

        Raises:
            OSError: If it does not exist.
        """
        dataset = Dataset.from_atoms(read_labelled(self.file(DATASET), allow_dummy=True))
        isolated = self.file(ISOLATED)
        if isolated.exists():
            dataset = replace(dataset, atomic_energies=atomic_energies(read_structures(isolated)))
        return dataset

    def splits(self) -> Splits:
        """Test set, and training and validation set of each member.

        Raises:
            OSError: If the file does not exist.
        """
        content = json.loads(self.file(SPLITS).read_text(encoding="utf-8"))
        return Splits(
            test=tuple(content["test"]),
            train=tuple(tuple(member["train"]) for member in content["members"]),
            validation=tuple(tuple(member["validation"]) for member in content["members"]),
        )

    @property
    def has_committee(self) -> bool:
        """True if all files of the committee exist."""
        return all(file.is_file() for file in self.committee_files)

    @property
    def committee_files(self) -> tuple[Path, ...]:
        """Paths of the weights and of their description."""
        return tuple(self.folder / name for name in COMMITTEE)

    def committee(self) -> Committee:
        """Trained committee; see :func:`sparring.committee_files.read_committee`."""
        for name in (*COMMITTEE, EXPECTED):
            self.file(name)
        return read_committee(self.folder)

    def curves(self) -> list[dict[str, str]]:
        """Losses and learning rates of the training by epoch and member."""
        return rows_of(self.file(CURVES))

    def predictions(self) -> list[Atoms]:
        """Data set with the energies, forces and variances of the committee."""
        return self._labelled(PREDICTIONS)

    def evaluation(self) -> dict[str, Any]:
        """Errors, and results of the evaluation of the system."""
        content: dict[str, Any] = json.loads(self.file(EVALUATION).read_text(encoding="utf-8"))
        return content

    def expected_errors(self) -> ExpectedErrors | None:
        """Expected errors of the committee; None if too few labels were known, or an older version wrote the folder."""
        content = read_json(self.file(EXPECTED), self.remedy)
        return ExpectedErrors.from_dict(content) if content else None

    def attacks(self) -> list[Atoms]:
        """Best geometry of each path."""
        return self._structures(ATTACKS)

    def paths(self) -> dict[str, np.ndarray]:
        """Arrays of the paths; empty if there are none."""
        file = self.file(PATHS)
        if not file.is_file():
            return {}
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)

    def selected(self) -> list[Atoms]:
        """Candidates that were chosen for labelling."""
        return self._structures(SELECTED)

    def selection(self) -> list[dict[str, Any]]:
        """Number of candidates that each step of the selection kept."""
        content: list[dict[str, Any]] = json.loads(self.file(SELECTION).read_text(encoding="utf-8"))
        return content

    def labelled(self) -> list[Atoms]:
        """Chosen candidates with their labels."""
        return self._labelled(LABELLED)

    def counts(self) -> dict[str, int]:
        """Numbers of labels that were computed and that were in the store."""
        content: dict[str, int] = json.loads(self.file(COUNTS).read_text(encoding="utf-8"))
        return content

    def failure_rows(self) -> list[dict[str, str]]:
        """All failed labels, those of starting structures first, with the columns of the table by name."""
        return rows_of(self.file(FAILURES))

    def label_failures(self) -> tuple[tuple[int, LabelError], ...]:
        """Failed labels of chosen candidates by their number."""
        rows = self.failure_rows()[len(self.starting_rows()) :]
        return tuple((int(row["candidate"]), failure_of(row)) for row in rows)

    def starting_rows(self) -> list[dict[str, str]]:
        """Failed labels of starting structures with the columns of the table by name; none after generation 1."""
        return rows_of(self.file(STARTING_FAILURES))

    def open_failures(self) -> list[LabelError]:
        """Failed labels of a stage that was not committed because of them."""
        return read_failures(self.folder / OPEN_FAILURES)

    def _labelled(self, name: str) -> list[Atoms]:
        file = self.file(name)
        return read_labelled(file, allow_dummy=True, allow_empty=True) if file.is_file() else []

    def _structures(self, name: str) -> list[Atoms]:
        file = self.file(name)
        return read_structures(file, allow_dummy=True, allow_empty=True) if file.is_file() else []


def read_json(file: Path, remedy: str) -> dict[str, Any]:
    """Content of a JSON file; empty if it does not exist.

    Args:
        file: Path of the file.
        remedy: Advice for a damaged file, as the end of an error message.

    Raises:
        RunFolderError: If the file is damaged.
    """
    if not file.exists():
        return {}
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunFolderError(f"{file} cannot be read ({error}); {remedy}") from error
    return content
