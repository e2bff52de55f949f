"""Many labels at once, each computed once and judged by the same rules."""

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from sparring.labels.ase import as_labeller
from sparring.labels.base import Bounds, Label, LabelError, Labeller, check, check_distance, composition
from sparring.labels.store import LabelStore, label_key
from sparring.labels.workers import Outcome, outcomes


@dataclass(frozen=True, kw_only=True)
class LabelReport:
    """What became of the structures of one call.

    Attributes:
        labels: A label or the reason why there is none, in the order of the structures.
        keys: The names of the labels in a store.
        n_computed: How many labels the labeller was asked for and gave or failed to.
        n_reused: How many structures got theirs from the store, or from an identical structure in the same call.
    """

    labels: tuple[Label | LabelError, ...]
    keys: tuple[str, ...]
    n_computed: int
    n_reused: int


def label(
    structures: Sequence[Atoms],
    labeller: Labeller | BaseCalculator,
    *,
    store: LabelStore | str | os.PathLike[str] | None = None,
    n_workers: int = 1,
    bounds: Bounds | None = None,
    lowest_energies: Mapping[str, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LabelReport:
    """Compute the labels of structures, each once and never again.

    Neither the number of workers nor the order in which they finish changes anything in the result. (Workers have one
    thread each. For the same last bits without them, this process too needs ``OPENBLAS_NUM_THREADS=1`` from its start:
    sums that several threads share are rounded otherwise, by some 1e-12 eV.) A structure that fails is a ``LabelError``
    in its place; a worker that dies takes no other structure with it.

    Args:
        structures: What to label. Charge and multiplicity are in ``atoms.info``; see ``electronic_state``.
        labeller: A labeller, or a live ASE calculator.
        store: Where labels are looked up and kept; None keeps none.
        n_workers: Number of processes. Up to 1, everything happens in this one.
        bounds: What is believable; ``Bounds()`` if left out.
        lowest_energies: Lowest known energy in eV of a composition, which ``bounds.energy_window`` starts from;
            good labels of this call count too. The keys are as ``composition`` gives them.
        progress: Called in this process with the number of structures done and of all, at the start and after each.

    Raises:
        ValueError: If a structure is not well defined, the labeller cannot be sent to a worker, or a record of the
            store is damaged.
        RuntimeError: If the worker processes do not start.
    """
    labeller = as_labeller(labeller)
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
    for key, outcome in outcomes(tasks, labeller, store, n_workers):
        found[key] = outcome
        notify(found)
    n_computed = sum(outcome.computed for outcome in found.values())
    results = [refused[i] if i in refused else found[key].result for i, key in enumerate(keys)]
    return LabelReport(
        labels=tuple(_judged(structures, results, bounds, lowest_energies or {})),
        keys=keys,
        n_computed=n_computed,
        n_reused=len(keys) - len(refused) - n_computed,
    )


def labelled_atoms(atoms: Atoms, label: Label, key: str) -> Atoms:
    """A copy of a structure that carries its label: ``REF_energy``, ``REF_forces``, and ``label``, the key."""
    labelled: Atoms = atoms.copy()
    labelled.calc = None
    labelled.info |= {"REF_energy": label.energy, "label": key}
    labelled.set_array("REF_forces", np.array(label.forces, dtype=float), shape=(3,))
    return labelled


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


def _judged(
    structures: Sequence[Atoms], results: Sequence[Label | LabelError], bounds: Bounds, known: Mapping[str, float]
) -> Iterator[Label | LabelError]:
    """Check the labels and name the structures in the errors.

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
            checked = LabelError(checked.reason, f"structure {i} ({atoms.get_chemical_formula()}): {checked}")
        yield checked


def _checked(
    result: Label | LabelError, atoms: Atoms, bounds: Bounds, lowest_energy: float | None = None
) -> Label | LabelError:
    try:
        if isinstance(result, Label):
            check(result, atoms, bounds, lowest_energy)
    except LabelError as error:
        return error
    return result
