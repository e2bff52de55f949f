"""Errors of every committee of a run on the same structures: only these compare generations.

The test set of a generation holds what attacks of the generations before it found, so the test errors of two
generations are errors on different structures. Places in the splits are kept for good: the test set of the newest
generation contains all earlier ones, and no member of any generation has trained on it.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.config.sections import Evaluation
from sparring.evaluation import Differences, Errors, predict_structures
from sparring.inputs.reading import read_atoms
from sparring.labels.base import composition
from sparring.runs.generation import Generation
from sparring.runs.saved_run import SavedRun
from sparring.support.checksums import DamagedFileError
from sparring.support.digest import digest, file_digest
from sparring.validation.errors.test_sets import EvaluationData, data_of_file, data_of_generation
from sparring.validation.records import read_record, write_record

__all__ = ["PARTS", "CommonErrors", "compare_committees", "known_comparison", "read_evaluation_file"]

logger = logging.getLogger(__name__)

PARTS = ("all", "near", "far")
"""All structures of the set; those near the minimum; those far above it."""
CACHE = Path("validation", "common_errors.json")


@dataclass(frozen=True, kw_only=True)
class CommonErrors:
    """Errors of all committees of a run on one set of structures that no member of any of them has trained on.

    Attributes:
        name: Description of the set, for people.
        run_digest: SHA-256 of the data of the run and of the settings that the set follows from.
        file_digest: SHA-256 of the user's file, empty if there is none.
        near: Highest label of a structure near the minimum, in eV per atom above the lowest of its composition.
        n_structures: Numbers of structures of each part.
        n_left_out: Number of structures of the file that were left out because members have trained on them.
        n_without_zero: Number of structures whose composition has no other label: neither near nor far.
        committees: SHA-256 of each committee, by the number of its generation.
        errors: Errors of each committee on each part that has structures.
        energy_bias: Mean of the signed errors of energy of each committee on the whole set, in eV.
    """

    name: str
    run_digest: str
    file_digest: str
    near: float
    n_structures: Mapping[str, int]
    n_left_out: int
    n_without_zero: int
    committees: Mapping[str, str]
    errors: Mapping[str, Mapping[str, Errors]]
    energy_bias: Mapping[str, float] = field(default_factory=dict)

    def of(self, generation: int, part: str = "all") -> Errors | None:
        """The errors of a generation on a part of the set, None where they are not known."""
        return self.errors.get(str(generation), {}).get(part)

    def constant_error(self, generation: int) -> float | None:
        """The mean error of energies in eV where it is nearly the same for all structures, else None.

        Such a constant moves no atom. In a file it may be another zero of energy.
        """
        errors, bias = self.of(generation), self.energy_bias.get(str(generation))
        if errors is None or bias is None or errors.n_structures < 3:
            return None
        return bias if bias**2 > 0.95 * errors.energy_rmse**2 else None

    @property
    def generations(self) -> tuple[int, ...]:
        """The generations that were compared."""
        return tuple(sorted(int(number) for number in self.errors))


class _Key(NamedTuple):
    """All that decides whether errors that were kept still hold."""

    newest: Path
    section: Evaluation
    run: str
    file: str
    committees: dict[str, str]


def compare_committees(folder: Path) -> CommonErrors | None:
    """Errors of all committees of a run folder on one set; what is known already is not computed again.

    The set is the test set of the newest generation, or the file of the section ``evaluation`` without the structures
    that members have trained on. The result is kept in ``validation/common_errors.json``. None if the run has no
    committee yet.

    Raises:
        ValueError: If the file of the section ``evaluation`` or a committee cannot be read.
    """
    key = _key(folder)
    if key is None:
        return None
    known = _still_valid(_kept(folder), key)
    if known is not None and known.committees == key.committees:
        return known
    found = _compare(folder, key, known)
    (folder / CACHE.parent).mkdir(exist_ok=True)
    write_record(folder / CACHE, found)
    return found


def known_comparison(folder: Path) -> CommonErrors | None:
    """Stored results of :func:`compare_committees` that are still valid. Computes and writes nothing."""
    kept = _kept(folder)
    if kept is None:
        return None
    key = _key(folder)
    return None if key is None else _still_valid(kept, key)


def read_evaluation_file(section: Evaluation) -> Dataset | None:
    """The labelled structures of the section ``evaluation``, None if it names no file.

    Raises:
        ValueError: If the file is missing, or a structure has no label.
    """
    if section.file is None:
        return None
    if not section.file.is_file():
        raise ValueError(f"evaluation.file: {section.file} does not exist; correct the path, or leave it out")
    frames = read_atoms(
        section.file,
        labels="required",
        energy_key=section.energy_key,
        forces_key=section.forces_key,
        stress_key=section.stress_key,
        allow_dummy=True,
    )
    return Dataset.from_atoms(frames)


def _require_known(committee: Committee, dataset: Dataset, file: Path) -> None:
    try:
        committee.require_known(dataset)
    except ValueError as error:
        raise ValueError(f"evaluation.file: {file}: {error}") from error


# --- what was kept --------------------------------------------------------------------------------------------------


def _key(folder: Path) -> _Key | None:
    run = SavedRun(folder)
    with_committee = [one for one in run.generations() if one.has_committee]
    with_data = [one for one in run.generations() if one.has_dataset and one.has_splits]
    if not with_committee or not with_data:
        return None
    newest, config = with_data[-1], run.config()
    section = config.evaluation
    facts = [*map(file_digest, newest.data_files), section.near, section.energy_key, section.forces_key]
    facts += [section.stress_key] * (section.stress_key != "REF_stress")
    facts.append(None if section.file is None else section.file.name)
    return _Key(
        newest=newest.folder,
        section=section,
        run=digest([newest.folder.name, *facts]),
        file=file_digest(section.file) if section.file is not None and section.file.is_file() else "",
        committees={
            str(one.number): hashlib.sha256("".join(map(file_digest, one.committee_files)).encode()).hexdigest()
            for one in with_committee
        },
    )


def _kept(folder: Path) -> CommonErrors | None:
    try:
        return read_record(folder / CACHE, CommonErrors)
    except DamagedFileError as error:
        logger.warning("%s", error)
        return None  # it is made again
    except (ValueError, OSError):
        return None


def _still_valid(kept: CommonErrors | None, key: _Key) -> CommonErrors | None:
    """The part that belongs to the data and committees as they are now."""
    # A file that has gone since does not make wrong what was found with it.
    if kept is None or kept.run_digest != key.run or (key.file and kept.file_digest != key.file):
        return None
    numbers = [
        number
        for number, known in kept.committees.items()
        if key.committees.get(number) == known and number in kept.energy_bias
    ]
    return replace(
        kept,
        committees={number: kept.committees[number] for number in numbers},
        errors={number: kept.errors[number] for number in numbers},
        energy_bias={number: kept.energy_bias[number] for number in numbers},
    )


# --- what is computed -----------------------------------------------------------------------------------------------


def _compare(folder: Path, key: _Key, known: CommonErrors | None) -> CommonErrors:
    chosen = _common_set(key)
    assert chosen.training is not None  # the folder of a generation has it
    above = _energies_above(chosen.dataset, chosen.training)
    rows = _parts(above, chosen.dataset, key.section.near)
    errors = dict(known.errors) if known is not None else {}
    bias = dict(known.energy_bias) if known is not None else {}
    for number in key.committees:
        if number not in errors:
            committee = SavedRun(folder).generation(int(number)).committee()
            if key.section.file is not None:
                _require_known(committee, chosen.dataset, key.section.file)
            # What the run itself holds in its test set is judged also where no member was trained on an element of it.
            predicted = predict_structures(committee.without_domain(), chosen.dataset.structures)
            found = Differences.of(predicted, chosen.dataset)
            errors[number] = {part: found.take(mask).errors() for part, mask in rows.items() if mask.any()}
            bias[number] = float(found.energy.mean()) if len(found.energy) else np.nan
    return CommonErrors(
        name=chosen.name,
        run_digest=key.run,
        file_digest=key.file,
        near=key.section.near,
        n_structures={part: int(mask.sum()) for part, mask in rows.items()},
        n_left_out=chosen.n_seen,
        n_without_zero=int(np.isnan(above).sum()),
        committees=key.committees,
        errors={number: errors[number] for number in key.committees},
        energy_bias={number: bias[number] for number in key.committees},
    )


def _common_set(key: _Key) -> EvaluationData:
    dataset = read_evaluation_file(key.section)
    if dataset is None or key.section.file is None:
        own = data_of_generation(key.newest)
        return own._replace(name=f"the test set of generation {Generation(key.newest).number}")
    return data_of_file(key.newest, dataset, key.section.file.name)


def _energies_above(dataset: Dataset, training: Dataset) -> Float[np.ndarray, " n_structures"]:
    """Labels above the lowest known one of the composition, in eV; nan where there is no other of it."""
    names = [composition(atoms) for atoms in dataset.to_atoms()]
    known = [*zip(names, dataset.energy.tolist(), strict=True)]
    known += zip((composition(atoms) for atoms in training.to_atoms()), training.energy.tolist(), strict=True)
    counts, lowest = Counter(name for name, _ in known), _lowest(known)
    return np.array(
        [
            energy - lowest[name] if counts[name] > 1 else np.nan
            for name, energy in zip(names, dataset.energy.tolist(), strict=True)
        ]
    )


def _lowest(known: Sequence[tuple[str, float]]) -> dict[str, float]:
    lowest: dict[str, float] = {}
    for name, energy in known:
        lowest[name] = min(energy, lowest.get(name, np.inf))
    return lowest


def _parts(above: Float[np.ndarray, " n_structures"], dataset: Dataset, near: float) -> dict[str, np.ndarray]:
    limit = near * dataset.structures.counts.cpu().numpy()
    return dict(zip(PARTS, (np.full(len(above), True), above <= limit, above > limit), strict=True))
