"""Training of members by a program of the user's, each in a folder of its own.

The folder of a member has its data as extended XYZ, what the program printed, and the model. Once the program has
ended well, a file records that, so that a run that was killed does not train finished members again.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from sparring.atoms.dataset import ENERGY, FORCES, STRESS, Dataset
from sparring.atoms.reference import FORCES_MASK
from sparring.inputs.extxyz import frame_text
from sparring.labels.executors.calls import Calls, Lost
from sparring.labels.executors.stop_file import NOW, StopFile
from sparring.potentials.base import N_ELEMENTS
from sparring.support.seeds import derive
from sparring.training.member_jobs import MemberJob, train_member
from sparring.training.reports import TrainingError
from sparring.training.splits import Splits

__all__ = ["PLACEHOLDERS", "Program", "reference_energies_of", "train_members"]

logger = logging.getLogger(__name__)

TRAIN, VALIDATION = "train.xyz", "validation.xyz"
PLACEHOLDERS = ("train", "validation", "folder", "name", "seed", "reference_energies")
"""Names in braces that a command may have."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that trains one member.

    Attributes:
        name: Name in messages and of the folder.
        command: Words of the command; ``{train}``, ``{validation}``, ``{folder}``, ``{name}``, ``{seed}`` and
            ``{reference_energies}`` are replaced.
        model: Path of the model that it writes, with the same placeholders.
        energy_key: Name of energies in the files of data.
        forces_key: Name of forces.
        stress_key: Name of stresses, six components in eV/Å³ and positive under tension.
        environment: Environment variables beside those of this process.
        time_limit: Longest time of a member in seconds; None for no limit.
    """

    name: str
    command: tuple[str, ...]
    model: str
    energy_key: str = ENERGY
    forces_key: str = FORCES
    stress_key: str = STRESS
    environment: Mapping[str, str] = field(default_factory=dict)
    time_limit: float | None = None

    def __post_init__(self) -> None:
        """Check the placeholders.

        Raises:
            ValueError: If one is not known.
        """
        for text in (*self.command, self.model):
            unknown = sorted(set(re.findall(r"\{(\w+)\}", text)) - set(PLACEHOLDERS))
            if unknown:
                known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
                raise ValueError(f"trainer {self.name!r}: {{{unknown[0]}}} in {text!r} is not known; there are {known}")

    def filled(self, text: str, values: Mapping[str, str]) -> str:
        """A text with its placeholders replaced."""
        return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], text)

    def __str__(self) -> str:
        """The command with its placeholders."""
        return " ".join(self.command)


def train_members(
    program: Program,
    dataset: Dataset,
    splits: Splits,
    *,
    seed: int,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
    executor: Executor | None = None,
) -> list[Path]:
    """Models of all members; those that have been trained before are not trained again.

    Args:
        program: Program that trains one member.
        dataset: Labelled structures.
        splits: Training and validation set of each member.
        seed: Seed of the committee.
        folder: Folder for those of the members.
        progress: Function that is called with the number of members that are done and their total.
        executor: Executor whose processes see the same files; None to train one member after another. The models are
            the same.

    Raises:
        TrainingError: If the program is not there, fails, takes too long, or writes no model.
        ExecutorError: If the executor cannot be used.
    """
    if dataset.force_mask is not None:
        logger.warning(
            "trainer %r: %d structures are environments with a %s; unless the program reads it, it learns all of their "
            "labels",
            *(program.name, int((~dataset.has_energy).sum()), FORCES_MASK),
        )
    stop = StopFile(folder)
    jobs = [_job(program, dataset, splits, member, seed, folder, stop) for member in range(splits.n_members)]
    waiting = jobs if executor is None else [job for job in jobs if not job.is_done()]
    n_done = len(jobs) - len(waiting)
    for result in map(train_member, waiting) if executor is None else _results(waiting, executor, stop):
        if isinstance(result, Lost):
            raise TrainingError(
                f"trainer {program.name!r}: the worker of a member was lost ({type(result.error).__name__}: "
                f"{result.error}); look for processes or machines that were ended, then run the command again"
            )
        if result is not None:
            raise result
        n_done += 1
        if progress:
            progress(n_done, len(jobs))
    return [job.model for job in jobs]


def _results(jobs: Sequence[MemberJob], executor: Executor, stop: StopFile) -> Iterator[TrainingError | Lost | None]:
    """Results of trainings as they come; those that are running end with this call."""
    calls = Calls(executor, train_member)
    stop.folder.mkdir(parents=True, exist_ok=True)
    try:
        for _, result in calls.answers({str(job.member): job for job in jobs}):
            yield result
    finally:
        if calls.n_pending:
            stop.write(NOW)
            calls.end()
        if not calls.n_pending:
            stop.remove()


def _job(
    program: Program, dataset: Dataset, splits: Splits, member: int, seed: int, folder: Path, stop: StopFile
) -> MemberJob:
    own = (folder / f"member-{member + 1:02d}").absolute()
    train = dataset.take(splits.train[member])
    values = {
        "train": str(own / TRAIN),
        "validation": str(own / VALIDATION),
        "folder": str(own),
        "name": f"member-{member + 1:02d}",
        "seed": str(derive(seed, "external", member) % 2**31),
        "reference_energies": reference_energies_of(train),
    }
    texts = {
        TRAIN: _text(train.to_atoms(), program),
        VALIDATION: _text(dataset.take(splits.validation[member]).to_atoms(), program),
    }
    return MemberJob(
        trainer=program.name,
        member=member,
        folder=own,
        command=tuple(program.filled(word, values) for word in program.command),
        model=own / program.filled(program.model, values),
        files=texts,
        environment=program.environment,
        time_limit=program.time_limit,
        stop=stop,
    )


def reference_energies_of(dataset: Dataset) -> str:
    """Energies of elements in eV by atomic number, such as ``{1: -13.6, 8: -430.0}``: of isolated atoms, or fitted."""
    known = dataset.has_energy.numpy()
    counts = dataset.structures.element_counts(N_ELEMENTS)[:, :N_ELEMENTS].double().numpy()
    energies = np.array([dataset.atomic_energies.get(number, 0.0) for number in range(N_ELEMENTS)])
    present = np.flatnonzero(counts.any(0))
    fitted = [number for number in present if number not in dataset.atomic_energies]
    left = dataset.energy.numpy() - counts @ energies
    energies[fitted] = np.linalg.lstsq(counts[known][:, fitted], left[known], rcond=1e-10)[0]
    return "{" + ", ".join(f"{number}: {energies[number]:.8f}" for number in present) + "}"


def _text(structures: Sequence[Atoms], program: Program) -> str:
    """Extended XYZ with the names of labels that the program wants."""
    for atoms in structures:
        atoms.info[program.energy_key] = atoms.info.pop(ENERGY)
        if FORCES in atoms.arrays:
            atoms.arrays[program.forces_key] = atoms.arrays.pop(FORCES)
        if STRESS in atoms.info:
            atoms.info[program.stress_key] = atoms.info.pop(STRESS)
    return "".join(frame_text(atoms, f"structure {index}") for index, atoms in enumerate(structures))
