"""Training of members by a program of the user's, one after another, each in a folder of its own.

The folder of a member has its data as extended XYZ, what the program printed, and the model. Once the program has
ended well, a file records that, so that a run that was killed does not train finished members again.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from sparring.atoms.dataset import ENERGY, FORCES, STRESS, Dataset
from sparring.atoms.reference import FORCES_MASK
from sparring.inputs.extxyz import frame_text
from sparring.labels import guard
from sparring.labels.launch import Guard
from sparring.labels.scratch import tail
from sparring.potentials.base import N_ELEMENTS
from sparring.support.files import write_text
from sparring.support.seeds import derive
from sparring.support.stopping import SIGNALS, stops_postponed
from sparring.training.reports import TrainingError
from sparring.training.splits import Splits

__all__ = ["PLACEHOLDERS", "Program", "reference_energies_of", "train_members"]

logger = logging.getLogger(__name__)

TRAIN, VALIDATION, LOG, DONE = "train.xyz", "validation.xyz", "log.txt", "done.json"
GRACE = 1.0
"""Seconds in which this process gets a signal that has ended the program."""
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


@dataclass(frozen=True, kw_only=True)
class _Task:
    """Training of one member.

    Attributes:
        member: Number of the member.
        folder: Folder of the member.
        command: Words of the command.
        model: Path of the model.
        files: Texts of the data files, by name.
    """

    member: int
    folder: Path
    command: tuple[str, ...]
    model: Path
    files: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the command and of the data."""
        return hashlib.sha256(json.dumps([self.command, str(self.model), dict(self.files)]).encode()).hexdigest()

    def is_done(self) -> bool:
        """True if the member has been trained by this command on these data, and its model is as it was."""
        try:
            done = json.loads((self.folder / DONE).read_text(encoding="utf-8"))
            return bool(done == self.record())
        except (OSError, ValueError):
            return False

    def record(self) -> dict[str, str]:
        """Content of the file that records the end of the training."""
        return {"fingerprint": self.fingerprint, "model": _content(self.model)}


def train_members(
    program: Program,
    dataset: Dataset,
    splits: Splits,
    *,
    seed: int,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Models of all members; those that have been trained before are not trained again.

    Args:
        program: Program that trains one member.
        dataset: Labelled structures.
        splits: Training and validation set of each member.
        seed: Seed of the committee.
        folder: Folder for those of the members.
        progress: Function that is called with the number of members that are done and their total.

    Raises:
        TrainingError: If the program is not there, fails, takes too long, or writes no model.
    """
    if dataset.force_mask is not None:
        logger.warning(
            "trainer %r: %d structures are environments with a %s; unless the program reads it, it learns all of their "
            "labels",
            *(program.name, int((~dataset.has_energy).sum()), FORCES_MASK),
        )
    tasks = [_task(program, dataset, splits, member, seed, folder) for member in range(splits.n_members)]
    for task in tasks:
        if not task.is_done():
            _train(program, task)
            write_text(task.folder / DONE, json.dumps(task.record(), indent=1) + "\n")
        if progress:
            progress(task.member + 1, len(tasks))
    return [task.model for task in tasks]


def _task(program: Program, dataset: Dataset, splits: Splits, member: int, seed: int, folder: Path) -> _Task:
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
    return _Task(
        member=member,
        folder=own,
        command=tuple(program.filled(word, values) for word in program.command),
        model=own / program.filled(program.model, values),
        files=texts,
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


def _content(file: Path) -> str:
    """SHA-256 of a file, or of all files of a folder."""
    seen = hashlib.sha256()
    for one in sorted(file.rglob("*")) if file.is_dir() else [file]:
        if one.is_file() or one == file:
            seen.update(one.name.encode() + one.read_bytes())
    return seen.hexdigest()


def _train(program: Program, task: _Task) -> None:
    if task.folder.exists():  # of a training that was killed
        shutil.rmtree(task.folder)
    task.folder.mkdir(parents=True)
    for name, text in task.files.items():
        write_text(task.folder / name, text)
    where = f"trainer {program.name!r}, member {task.member + 1}"
    code, log = _run(program, task, where), task.folder / LOG
    output = f"; its last lines: {tail(log, 1000)} (all of them: {log})"
    if code:
        raise TrainingError(f"{where}: the program ended with exit code {code}{output}")
    if not task.model.exists():
        raise TrainingError(
            f"{where}: the program ended well but wrote no {task.model}; correct `model` of this trainer{output}"
        )


@dataclass(frozen=True)
class _Guarded:
    """A program as the guard of workers knows them; it has no folder to remove.

    Attributes:
        pid: Process number.
        marker: Value of an environment variable that its descendants inherit.
    """

    pid: int
    marker: str
    folder: str = ""


def _run(program: Program, task: _Task, where: str) -> int:
    """Exit code of the program, which ends with this process, however that ends."""
    marker, guarding = uuid.uuid4().hex, Guard()
    try:
        with stops_postponed(), (task.folder / LOG).open("wb") as log:
            process = subprocess.Popen(
                task.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=task.folder,
                env={**os.environ, **program.environment, guard.MARKER: marker},
                start_new_session=True,
            )
            guarded = _Guarded(process.pid, marker)
            guarding.add(guarded)
    except OSError as error:
        guarding.close()
        raise TrainingError(
            f"{where}: {task.command[0]!r} cannot be started: {error.strerror}; correct `command` of this trainer"
        ) from error
    try:
        code = process.wait(program.time_limit)
        if -code in SIGNALS:
            time.sleep(GRACE)  # a batch system sends its signal to this process, too
        return code
    except subprocess.TimeoutExpired as error:
        raise TrainingError(
            f"{where}: the program took longer than {program.time_limit:g} s and was ended; raise training.time_limit, "
            f"or train less; its last lines: {tail(task.folder / LOG, 1000)}"
        ) from error
    finally:
        if process.poll() is None:
            guard.end_processes(process.pid, marker)
            process.wait()
        guarding.remove(guarded)
        guarding.close()
