"""``sparring ask`` and ``tell``, as functions: structures to be labelled, and labels that come back, without a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms

from sparring.atoms.duplicates import duplicate_groups
from sparring.atoms.electronic_state import electronic_state
from sparring.atoms.reference import ENERGY, has_labels
from sparring.atoms.structures import Structures
from sparring.candidates import Candidates
from sparring.committee import Committee
from sparring.committee_files import read_committee
from sparring.evaluation import last_layer_features, predict_structures
from sparring.exchange.alignment import Alignment, compared, fit_alignment
from sparring.exchange.answers import KEY, Names, read_answers
from sparring.exchange.matching import Given, matched
from sparring.exchange.outgoing import outgoing
from sparring.labels import (
    AnswerError,
    Bounds,
    Label,
    LabelError,
    LabelStore,
    Offline,
    check,
    label_key,
    labelled_atoms,
)
from sparring.labels.base import check_distance
from sparring.potentials.foreign.loading import load_potentials
from sparring.runs.generation import Generation
from sparring.runs.saved_run import generations
from sparring.selection import Budget, Distinct, MaxDet, Selector, select

__all__ = ["Told", "ask", "tell"]

ALIKE = 0.1
"""Distance in Å within which structures are alike, where potentials have no features to compare them by."""
MOST_COMPARED = 10
"""Number of structures, for each that is asked for, among which like ones are looked for."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """Labels that have come back.

    Attributes:
        labelled: Structures with their labels, in the order in which they were asked for.
        failures: Failed labels, with the structure's number from 0 in the message.
        missing: Structures without a label.
        notes: Files that were left aside, and decisions.
    """

    labelled: tuple[Atoms, ...]
    failures: tuple[LabelError, ...]
    missing: tuple[Atoms, ...]
    notes: tuple[str, ...]


def ask(
    models: Committee | Path | str | Sequence[Path | str],
    structures: Sequence[Atoms],
    n: int,
    *,
    known: Sequence[Atoms] = (),
    align: Sequence[Atoms] = (),
    adapter: str | None = None,
) -> list[Atoms]:
    """Structures that are worth a label: uncertain, unlike each other, and not labelled yet.

    Those whose features span a large volume at a large uncertainty are taken (:class:`sparring.MaxDet`); where
    potentials have no features, the most uncertain ones that differ by more than 0.1 Å.

    Args:
        models: Committee; or folders of generations or runs, of which the newest committee counts; members of several
            folders are one committee.
        structures: Structures to choose from; those with labels, and those with atoms too close to each other for any
            label (:class:`sparring.Bounds`), are left out.
        n: Largest number of structures.
        known: Labelled structures; what has their geometry is left out, as are the data of the folders.
        align: Labelled structures whose zero of energy the labels are brought to later, by :func:`tell`: a few of them
            are asked for, too.
        adapter: Adapter of models of another package, which then are checkpoints.

    Returns:
        Geometries with a key, charge, multiplicity, uncertainty and expected error.

    Raises:
        ValueError: If there is no committee of at least two members, it does not know an element, or no structure is
            left to choose from.
    """
    if n < 1:
        raise ValueError(f"the number of structures to ask for must be at least 1, got {n}")
    committee, data = _committee_of(models, adapter, structures)
    if committee.n_members < 2:
        raise ValueError("a single model has no uncertainty to choose by; give at least two models, or a committee")
    new = _unknown(structures, [*data, *known])
    if not new:
        raise ValueError(
            f"the labels of all {len(structures)} structures are known, or their atoms are too close to each other; "
            "there is nothing to ask for"
        )
    batch = Structures.from_atoms(new, ignore_constraints=True)
    predicted = predict_structures(committee, batch)
    candidates = Candidates(
        structures=batch,
        score=predicted.force_variance,
        energy=predicted.energy,
        energy_variance=predicted.energy_variance,
        force_variance=predicted.force_variance,
    )
    chosen = select(candidates, *_selectors(committee, batch, n)).indices.tolist()
    annotated = predicted.take(chosen).annotate([new[index] for index in chosen])
    labeller = Offline()
    return [outgoing(atoms, label_key(atoms, labeller)) for atoms in (*compared(list(align)), *annotated)]


def tell(
    asked: Sequence[Atoms],
    answers: Sequence[Path | str],
    *,
    names: Names | None = None,
    tolerance: float = 1e-3,
    bounds: Bounds | None = None,
    store: LabelStore | Path | str | None = None,
    method: str = "offline",
    version: str = "offline",
    align: Sequence[Atoms] = (),
) -> Told:
    """Labels of structures from files that somebody has computed, each matched by its key or geometry.

    Args:
        asked: Structures as :func:`ask` gives them.
        answers: Extended XYZ files, outputs of programs that ASE reads, and folders of these.
        names: Names of labels in extended XYZ files.
        tolerance: Largest distance of atoms from where they were asked for, in Å.
        bounds: Bounds outside which a label counts as failed; `Bounds()` if left out.
        store: Label store, or its folder, to which labels are added; None for none.
        method: Everything that changes the result: level of theory, basis, grids. It is part of the key in a store.
        version: Name and version of the code that computed, part of the key, too.
        align: Labelled structures whose zero of energy the labels are brought to. Those that were asked for, too,
            determine the energy of each element that is added, and are not returned.

    Raises:
        AnswerError: If a frame belongs to no structure, two labels of one structure differ, or energies cannot be
            aligned.
    """
    by_key = {str(atoms.info.get(KEY) or label_key(atoms, Offline())): atoms for atoms in asked}
    reading = read_answers([Path(one) for one in answers], by_key, names)
    found = matched(by_key, reading.answers, tolerance=tolerance)
    alignment, overlap = _aligned(by_key, found.labels, align)
    notes = [*reading.notes, *([alignment.words()] if alignment else [])]
    store = LabelStore(store) if isinstance(store, Path | str) else store
    labelled: list[Atoms] = []
    failures: list[LabelError] = []
    for number, (key, atoms) in enumerate(by_key.items()):
        name = f"structure {number} ({atoms.get_chemical_formula()})"
        if key in found.problems:
            problem = found.problems[key]
            failures.append(LabelError("not_converged", f"{problem.where}: {problem.reason}").named(name))
        elif key in found.labels and key not in overlap:
            try:
                labelled.append(_labelled(atoms, found.labels[key], alignment, Offline(method, version), store, bounds))
            except LabelError as error:
                failures.append(error.named(name))
    missing = [one for key, one in by_key.items() if key not in found.labels and key not in found.problems]
    return Told(labelled=tuple(labelled), failures=tuple(failures), missing=tuple(missing), notes=tuple(notes))


# --- asking -----------------------------------------------------------------------------------------------------------


def _committee_of(
    models: Committee | Path | str | Sequence[Path | str], adapter: str | None, structures: Sequence[Atoms]
) -> tuple[Committee, list[Atoms]]:
    """The committee, and the data that it was trained on as far as they are in its folder."""
    if isinstance(models, Committee):
        models.require_known(structures)
        return models, []
    paths = [Path(one) for one in ([models] if isinstance(models, Path | str) else models)]
    if adapter is not None:
        return Committee(load_potentials(adapter, paths)), []
    folders = [_newest(path) for path in paths]
    committees = [read_committee(folder) for folder in folders]
    for committee in committees:
        committee.require_known(structures)
    data = [atoms for folder in folders for atoms in Generation(folder).frames()]
    if len(committees) == 1:
        return committees[0], data
    return Committee([member for committee in committees for member in committee.members]), data


def _newest(folder: Path) -> Path:
    """The folder of the newest generation with a committee, if the folder is that of a run."""
    with_committee = [generation.folder for generation in generations(folder) if generation.has_committee]
    return with_committee[-1] if with_committee else folder


def _unknown(structures: Sequence[Atoms], known: Sequence[Atoms]) -> list[Atoms]:
    """Structures without a label whose geometry is not known, each once."""
    labelled, unlabelled = list[Atoms](), list[Atoms]()
    for atoms in structures:
        (labelled if ENERGY in atoms.info or has_labels(atoms) else unlabelled).append(atoms)
    everything = [*known, *labelled, *unlabelled]
    states: dict[tuple[int, int], list[int]] = {}
    for index, atoms in enumerate(everything):
        states.setdefault(electronic_state(atoms), []).append(index)
    first = np.arange(len(everything))
    for members in states.values():
        batch = Structures.from_atoms([everything[index] for index in members], ignore_constraints=True)
        first[members] = np.array(members)[duplicate_groups(batch)]
    n_known = len(everything) - len(unlabelled)
    return [
        everything[index]
        for index in range(n_known, len(everything))
        if first[index] == index and not _is_too_close(everything[index])
    ]


def _is_too_close(atoms: Atoms) -> bool:
    try:
        check_distance(atoms, Bounds())
    except LabelError:
        return True
    return False


def _selectors(committee: Committee, batch: Structures, n: int) -> list[Selector]:
    try:
        last_layer_features(committee, batch.take([0]))
    except ValueError:
        return [Budget(n=MOST_COMPARED * n), Distinct(rmsd=ALIKE), Budget(n=n)]
    return [MaxDet(n=n, features=partial(last_layer_features, committee))]


# --- telling ----------------------------------------------------------------------------------------------------------


def _aligned(
    asked: dict[str, Atoms], labels: dict[str, Given], known: Sequence[Atoms]
) -> tuple[Alignment | None, set[str]]:
    """The alignment to labelled structures, and the keys of those that determine it."""
    if not known:
        return None, set()
    by_key = {label_key(atoms, Offline()): atoms for atoms in known}
    own_keys = {key: label_key(atoms, Offline()) for key, atoms in asked.items()}
    overlap = {key: by_key[own] for key, own in own_keys.items() if own in by_key}
    both = [key for key in overlap if key in labels]
    if not both:
        raise AnswerError(
            "energies cannot be aligned: no structure has a label of both kinds; ask with the same `--align` file, so "
            "that a few of its structures are labelled, too"
        )
    fitted = fit_alignment(
        [overlap[key] for key in both],
        [float(overlap[key].info[ENERGY]) for key in both],
        [labels[key].energy for key in both],
    )
    return fitted, set(overlap)


def _labelled(
    atoms: Atoms,
    given: Given,
    alignment: Alignment | None,
    labeller: Offline,
    store: LabelStore | None,
    bounds: Bounds | None,
) -> Atoms:
    label = Label(
        energy=given.energy + (alignment.shift(atoms) if alignment else 0.0),
        forces=given.forces,
        stress=given.stress,
        method=labeller.method,
        version=labeller.version,
        converged=True,
        wall_time=0.0,
    )
    check(label, atoms, bounds or Bounds())
    key = label_key(atoms, labeller)
    if store is not None:
        store.put(key, atoms, label)
    labelled = labelled_atoms(atoms, label, key)
    labelled.info.pop(KEY, None)
    return labelled
