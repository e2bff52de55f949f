"""Many labels at once, each computed once and checked by the same rules."""

import contextlib
import functools
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from sparring.atoms.composition import composition
from sparring.atoms.reference import FORCES_MASK, STRESS, has_volume
from sparring.labels.ase import as_labeller
from sparring.labels.base import Bounds, Label, LabelError, Labeller, check_distance, check_results, name_of
from sparring.labels.limits import Limits
from sparring.labels.offline import LabelFiles
from sparring.labels.store import LabelStore, label_key
from sparring.labels.worker_process import Outcome
from sparring.labels.workers import MakeExecutor, Workers


@dataclass(frozen=True, kw_only=True)
class LabelReport:
    """Labels and failures of one call.

    Attributes:
        labels: A label or the reason why there is none, in the order of the structures.
        keys: Keys of the labels in a store.
        n_computed: Number of labels that the labeller computed or failed to compute.
        n_reused: Number of structures with a label from the store, or from an identical structure in the same call.
    """

    labels: tuple[Label | LabelError, ...]
    keys: tuple[str, ...]
    n_computed: int
    n_reused: int

    @property
    def failures(self) -> tuple[LabelError, ...]:
        """The failures, in the order of the structures."""
        return tuple(one for one in self.labels if isinstance(one, LabelError))

    def require_labeller(self, max_failed: float = 1.0, min_succeeded: float = 0.0) -> None:
        """Raise if too many labels failed; see :func:`require_labeller`.

        Args:
            max_failed: Largest share of failures that are not the geometry's.
            min_succeeded: Smallest share of labels that succeed.

        Raises:
            LabellingError: With a table of the causes.
        """
        require_labeller(self.failures, len(self.labels), max_failed, min_succeeded)


class LabellingError(RuntimeError):
    """Too many labels failed, or all of them: the run cannot go on without them.

    Attributes:
        failures: The failures.
    """

    def __init__(self, message: str, failures: Sequence[LabelError] = ()) -> None:
        super().__init__(message)
        self.failures = tuple(failures)


def require_labeller(
    failures: Sequence[LabelError], n_structures: int, max_failed: float = 1.0, min_succeeded: float = 0.0
) -> None:
    """Raise if too many labels failed: because of the labeller, or for whatever reason.

    Args:
        failures: The failures.
        n_structures: Number of structures in the call.
        max_failed: Largest share of failures that are not the geometry's; a call in which all fail so always raises.
        min_succeeded: Smallest share of labels that succeed, whatever the reasons of the others.

    Raises:
        LabellingError: With a table of the causes.
    """
    at_fault = [error for error in failures if not error.is_geometry]
    if not at_fault or (len(at_fault) < n_structures and len(at_fault) <= max_failed * n_structures):
        _require_succeeded(failures, n_structures, min_succeeded)
        return
    raise LabellingError(
        f"{len(at_fault)} of {n_structures} labels failed for reasons that are not the geometry's:\n"
        f"{causes(at_fault)}\n"
        "Finished labels are kept. Correct the labeller or its limits (labels.labeller, labels.time_limit, "
        "labels.memory_limit), then run the same command again: failed labels are computed again.",
        failures,
    )


def _require_succeeded(failures: Sequence[LabelError], n_structures: int, min_succeeded: float) -> None:
    n_succeeded = n_structures - len(failures)
    if not failures or n_succeeded >= min_succeeded * n_structures:
        return
    raise LabellingError(
        f"{n_succeeded} of {n_structures} labels succeeded, fewer than the share labels.min_succeeded = "
        f"{min_succeeded:g} asks for:\n{causes(failures)}\n"
        "Finished labels are kept. Correct the labeller, or lower labels.min_succeeded to go on without these labels, "
        "then run the same command again: failed labels are computed again, except those that have not converged or "
        "are out of bounds.",
        failures,
    )


def by_reason(failures: Sequence[LabelError]) -> dict[str, int]:
    """Number of failures by reason, the most frequent first."""
    return dict(Counter(error.reason for error in failures).most_common())


def causes(failures: Sequence[LabelError]) -> str:
    """A table of reasons, one a line, each with its number and its first message."""
    first = {error.reason: error for error in reversed(failures)}
    rows = [f"  {n:5d}  {reason:<14}  {first[reason]!s:.400}" for reason, n in by_reason(failures).items()]  # type: ignore[index]
    return "\n".join(row.replace("\n", " ") for row in rows)


def label(
    structures: Sequence[Atoms],
    labeller: Labeller | BaseCalculator,
    *,
    store: LabelStore | str | os.PathLike[str] | None = None,
    n_workers: int = 1,
    bounds: Bounds | None = None,
    lowest_energies: Mapping[str, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
    limits: Limits | None = None,
    failed: Path | None = None,
    workers: Workers | LabelFiles | None = None,
    executor: Executor | MakeExecutor | None = None,
    threads: int = 1,
) -> LabelReport:
    """Compute the labels of structures, each once and never again.

    Neither the executor, nor the number of workers, nor the order in which they finish changes anything in the result.
    Labels are computed in other processes, also by a single worker, and each in a folder of its own; see ``Workers``.
    A structure that fails is a ``LabelError`` in its place; a worker that dies takes no other structure
    with it.

    Args:
        structures: Structures to label. Charge and multiplicity are in ``atoms.info``; see ``electronic_state``.
        labeller: A labeller, or a live ASE calculator.
        store: Store in which labels are looked up and kept; None keeps none.
        n_workers: Number of processes.
        bounds: Bounds outside which a label counts as failed; ``Bounds()`` if left out.
        lowest_energies: Lowest known energy in eV of each composition (see ``composition``), from which
            ``bounds.energy_window`` is measured; labels of this call that pass the checks count too.
        progress: Callback with the number of structures done and of all, in this process, at the start and after each.
        limits: Time and memory that a label may take; an hour and no bound of memory if left out.
        failed: Folder in which inputs and outputs of failed labels are kept; None keeps none.
        workers: Running processes, or files of labels that are computed elsewhere, instead of ``n_workers``,
            ``limits``, ``failed``, ``executor`` and ``threads``.
        executor: Executor whose processes see the same files, or a function that makes one, which is called again if
            that one breaks; None for ``n_workers`` threads of this process.
        threads: Number of threads of a label; sums of another number may differ in their last bits.

    Raises:
        ValueError: If a structure is not well defined, the labeller cannot be sent to a worker, or a record of the
            store is damaged.
        ExecutorError: If the worker processes do not start, or the executor cannot be used.
    """
    labeller = as_labeller(labeller)
    names = name_of(labeller)
    store = LabelStore(store) if isinstance(store, str | os.PathLike) else store
    bounds = bounds or Bounds()
    keys = tuple(_key(i, atoms, labeller) for i, atoms in enumerate(structures))
    refused = {i: error for i, atoms in enumerate(structures) if (error := _too_close(atoms, bounds)) is not None}
    found: dict[str, Outcome] = {}
    tasks: dict[str, Atoms] = {}
    for i, (key, atoms) in enumerate(zip(keys, structures, strict=True)):
        if i in refused or key in found or key in tasks:
            continue
        stored = store.get(key) if store is not None else None
        if stored is not None:
            found[key] = Outcome(stored, computed=False)
        else:
            tasks[key] = atoms
    notify = functools.partial(_notify, progress, [key for i, key in enumerate(keys) if i not in refused], len(keys))
    notify(found)
    own: Workers | None = None
    if workers is None:
        workers = own = Workers(labeller, n_workers, limits=limits, failed=failed, executor=executor, threads=threads)
    outcomes = workers.outcomes(tasks, store)
    with own or contextlib.nullcontext(), _closing(outcomes):
        for key, outcome in outcomes:
            found[key] = outcome
            notify(found)
    n_computed = sum(outcome.computed for outcome in found.values())
    results = [refused[i] if i in refused else _own(found[key].label, names) for i, key in enumerate(keys)]
    files = [None if i in refused else found[key].files for i, key in enumerate(keys)]
    return LabelReport(
        labels=tuple(_checked_all(structures, results, files, bounds, lowest_energies or {})),
        keys=keys,
        n_computed=n_computed,
        n_reused=len(keys) - len(refused) - n_computed,
    )


def labelled_atoms(atoms: Atoms, label: Label, key: str) -> Atoms:
    """A copy of a structure that carries its label: ``REF_energy``, ``REF_forces``, and ``label``, the key.

    ``retried_with`` is there if the first attempt had not converged.

    ``REF_stress`` is there if the label has a stress, the structure is periodic in three directions, and its forces are
    not those of a part of it only, as in an environment that was cut from a larger structure.
    """
    labelled: Atoms = atoms.copy()
    labelled.calc = None
    labelled.info |= {"REF_energy": label.energy, "label": key}
    labelled.info.pop("retried_with", None)
    if label.retried_with is not None:
        labelled.info["retried_with"] = label.retried_with
    labelled.info.pop(STRESS, None)
    if label.stress is not None and has_volume(atoms) and FORCES_MASK not in atoms.arrays:
        labelled.info[STRESS] = np.array(label.stress, dtype=float)
    labelled.set_array("REF_forces", np.array(label.forces, dtype=float), shape=(3,))
    return labelled


def _closing(outcomes: Iterator[object]) -> contextlib.AbstractContextManager[object]:
    """End the jobs of a call that an exception ends."""
    return contextlib.closing(outcomes) if isinstance(outcomes, Generator) else contextlib.nullcontext()


def _own(result: Label | LabelError, names: tuple[str, str]) -> Label | LabelError:
    """A label that belongs to its key; those of a labeller whose method changes from call to call do not."""
    if isinstance(result, LabelError) or (result.method, result.version) == names:
        return result
    return LabelError(
        "bad_result",
        f"the labeller was {names[0]!r} ({names[1]}) when labels were asked for and {result.method!r} "
        f"({result.version}) when one was computed; method and version must not change",
    )


def _key(index: int, atoms: Atoms, labeller: Labeller) -> str:
    try:
        return label_key(atoms, labeller)
    except ValueError as error:
        raise ValueError(f"structure {index}: {error}") from error


def _too_close(atoms: Atoms, bounds: Bounds) -> LabelError | None:
    try:
        check_distance(atoms, bounds)
    except LabelError as error:
        return error
    return None


def _notify(
    progress: Callable[[int, int], None] | None, keys: list[str], n_structures: int, found: Mapping[str, object]
) -> None:
    if progress is not None:
        n_waiting = sum(key not in found for key in keys)
        progress(n_structures - n_waiting, n_structures)


def _checked_all(
    structures: Sequence[Atoms],
    results: Sequence[Label | LabelError],
    files: Sequence[Path | None],
    bounds: Bounds,
    known: Mapping[str, float],
) -> Iterator[Label | LabelError]:
    """Check all labels, and name the structures in the errors.

    The energy window starts from the lowest energy of all that pass the other checks, so the order does not matter.
    """
    lowest = dict(known)
    for atoms, result in zip(structures, results, strict=True):
        if isinstance(result, Label) and _checked(result, atoms, bounds) is result:
            name = composition(atoms)
            lowest[name] = min(lowest.get(name, result.energy), result.energy)
    for i, (atoms, result) in enumerate(zip(structures, results, strict=True)):
        checked = _checked(result, atoms, bounds, lowest.get(composition(atoms)))
        if isinstance(checked, LabelError):
            checked = LabelError(checked.reason, checked.message, files[i])
            checked = checked.named(f"structure {i} ({atoms.get_chemical_formula()})")
        yield checked


def _checked(
    result: Label | LabelError, atoms: Atoms, bounds: Bounds, lowest_energy: float | None = None
) -> Label | LabelError:
    try:
        if isinstance(result, Label):
            check_results(result, atoms, bounds, lowest_energy)
    except LabelError as error:
        return error
    return result
