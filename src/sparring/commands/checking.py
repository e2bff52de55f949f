"""``sparring check``: problems of the input, and the cost of a run, from a few labels."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from ase import Atoms

from sparring.assembly.foreign import program
from sparring.assembly.labels import labeller, limits_of, n_workers
from sparring.assembly.resources import machine
from sparring.assembly.unlabelled import require_all_or_none
from sparring.atoms.dataset import ENERGY
from sparring.atoms.inheritance import bare_copy
from sparring.atoms.reference import STRESS, has_labels, has_volume
from sparring.commands.estimates import Estimate, count_labels
from sparring.config import Config
from sparring.config.trainers import trainers_file
from sparring.config.training import Command
from sparring.labels import Bounds, Label, LabelError, LabelStore, label
from sparring.plausibility import Comparison, Finding
from sparring.plausibility.choice import name_of
from sparring.support.cores import Cores, cores

__all__ = ["estimate"]

LEAST_FREE = 1e9
"""Free space of a disk in bytes below which there is a warning."""
MOST_TRIED = 5
"""Largest number of structures that are labelled besides those that are compared."""


def estimate(config: Config, structures: list[Atoms]) -> Estimate:
    """Cost of a run on these structures, and problems of the input.

    Offline labels are only counted. Of others, labels that the file brings are compared with the labeller's, unless
    ``system.check_labels`` is false; one structure without a label is labelled, and one for each element that is in
    none of these.

    Raises:
        LabelError: If no label can be computed.
    """
    if config.labels.labeller.kind == "offline":
        return _offline(config, structures)
    worker, bounds = labeller(config), Bounds(**config.labels.bounds.arguments())  # type: ignore[arg-type]
    store = LabelStore(config.labels.store) if config.labels.store is not None else None

    resources = machine()
    executor = resources.executor_of_labels(None, config.labels.time_limit)
    how: dict[str, Any] = {"limits": limits_of(config), "threads": resources.resources.labels.threads}

    def label_all(some: Sequence[Atoms]) -> tuple[Label | LabelError, ...]:
        return label(some, worker, store=store, bounds=bounds, executor=executor, **how).labels

    system = config.system.build()
    comparison, unlabelled = Comparison(()), config.labels.labeller.kind == "none"
    if unlabelled:
        require_all_or_none(structures, system)
    elif system.compare is not None:
        comparison = system.compare(structures, label_all, bounds, config.generations)
    tried = _to_try(structures, comparison.frames)
    labels = [*comparison.labels, *label_all([bare_copy(structures[index]) for index in tried])]
    good = [one for one in labels if isinstance(one, Label)]
    if not good:
        raise next(one for one in labels if isinstance(one, LabelError))
    labelled = zip((*comparison.frames, *tried), labels, strict=True)
    of_crystals = [one for index, one in labelled if isinstance(one, Label) and has_volume(structures[index])]
    available, processes = cores(), n_workers(config)
    counts = count_labels(config, system, structures)
    return Estimate(
        method=worker.method,
        label=good[0],
        n_start=0 if unlabelled else counts.n_start,
        n_labels=counts.n_attacks,
        n_generations=config.generations,
        n_hessian=counts.n_hessian,
        n_relaxations=counts.n_relaxations,
        n_compared=len(comparison.frames),
        n_workers=processes,
        cores=available,
        seconds_per_label=median(one.wall_time for one in good),
        n_crystals=sum(map(has_volume, structures)),
        n_with_stress=sum(STRESS in atoms.info for atoms in structures),
        labels_have_stress=any(one.stress is not None for one in of_crystals) if of_crystals else None,
        findings=(
            *comparison.findings,
            *_failures(structures, tried, labels[len(comparison.labels) :], system.file),
            *_sizes(structures, [*comparison.frames, *tried]),
            *_machine(config, available, processes),
            *_trainer(config),
        ),
    )


def _offline(config: Config, structures: list[Atoms]) -> Estimate:
    """Number of labels of a run whose labels are computed elsewhere; none is computed here."""
    counts, available = count_labels(config, config.system.build(), structures), cores()
    return Estimate(
        method=labeller(config).method,
        label=None,
        n_start=counts.n_start,
        n_labels=counts.n_attacks,
        n_generations=config.generations,
        cores=available,
        n_crystals=sum(map(has_volume, structures)),
        n_with_stress=sum(STRESS in atoms.info for atoms in structures),
        findings=(*_machine(config, available, 1), *_trainer(config)),
    )


def _to_try(structures: list[Atoms], compared: Sequence[int]) -> list[int]:
    """Structures to label besides those that are compared: one without a label, one for each remaining element."""
    chosen: list[int] = []
    unknown = [index for index, atoms in enumerate(structures) if not has_labels(atoms) and ENERGY not in atoms.info]
    if unknown or not compared:
        chosen.append((unknown or [0])[0])
    known = {number for index in (*compared, *chosen) for number in structures[index].numbers.tolist()}
    # A molecule is a better test of an element than an isolated atom, which has another spin.
    order = sorted(range(len(structures)), key=lambda index: (len(structures[index]) == 1, len(structures[index])))
    for index in order:
        if len(chosen) < MOST_TRIED and not set(structures[index].numbers.tolist()) <= known:
            chosen.append(index)
            known |= set(structures[index].numbers.tolist())
    return chosen


def _failures(
    structures: list[Atoms], tried: list[int], labels: Sequence[Label | LabelError], file: Path | None
) -> Iterator[Finding]:
    where = f"{file}, " if file else ""
    for index, one in zip(tried, labels, strict=True):
        if isinstance(one, LabelError):
            yield Finding("warn", f"{where}{name_of(structures[index], index)} cannot be labelled: {one}")


def _sizes(structures: list[Atoms], labelled: list[int]) -> Iterator[Finding]:
    measured = max(len(structures[index]) for index in labelled)
    largest = max(map(len, structures))
    if largest > 1.5 * measured:
        text = f"labels were timed on up to {measured} atoms; the largest structure has {largest}, and takes longer"
        yield Finding("warn", text)


def _trainer(config: Config) -> Iterator[Finding]:
    """The program that would train members."""
    if isinstance(config.training, Command):
        yield Finding("warn", f"each member would be trained by {program(config.training)} ({trainers_file()})")


def _machine(config: Config, available: Cores, processes: int) -> Iterator[Finding]:
    """Cores, threads and disks."""
    if processes > available.n:
        yield Finding(
            "warn",
            f"labels.n_workers: {processes} processes on {available.n} cores (limited by {available.limited_by}) wait "
            "for one another; take no more than there are cores, or null",
        )
    if config.threads is not None and config.threads > available.n:
        yield Finding(
            "warn",
            f"threads: {config.threads} threads of PyTorch on {available.n} cores (limited by {available.limited_by}) "
            "wait for one another, which can take many times as long; take no more than there are cores, or null",
        )
    for folder in dict.fromkeys([Path.cwd(), *([Path(config.labels.store)] if config.labels.store else [])]):
        there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
        free = shutil.disk_usage(there).free
        if free < LEAST_FREE:
            yield Finding("warn", f"{there}: only {free / 1e6:.0f} MB are free on this disk; a run may not fit")
        if not os.access(there, os.W_OK):
            yield Finding("warn", f"{there}: this folder cannot be written to; start the run elsewhere")
