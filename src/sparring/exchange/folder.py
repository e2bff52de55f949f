"""A folder in which structures wait for their labels: what goes out, and what has come back."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ase import Atoms

from sparring.atoms.reference import ENERGY
from sparring.exchange.alignment import Alignment, compared, fit_alignment
from sparring.exchange.answers import ASKED, TO_LABEL, Names, read_answers
from sparring.exchange.matching import Given, Matched, matched, require_agreement
from sparring.exchange.outgoing import outgoing, read_outgoing
from sparring.inputs.extxyz import write_structures
from sparring.labels.base import Label, LabelError
from sparring.labels.offline import AnswerError, LabelsMissing, Offline
from sparring.labels.pool import LabellingError
from sparring.labels.store import LabelStore, label_key
from sparring.labels.worker_process import Outcome
from sparring.starting_data.relaxation import RelaxationError

__all__ = ["FOLDER", "OfflineFolder", "n_awaited"]

logger = logging.getLogger(__name__)

FOLDER = "offline"
"""Name of the folder, in that of a generation."""
ALIGNMENT = "alignment.json"
COARSE = 1e-4
"""Deviation in Å from which on it is said."""


@dataclass
class _Waiting:
    """Labels of the current block of code: its depth, those that are missing, and the number of those that are there.

    Attributes:
        depth: Number of blocks within one another that collect.
        missing: Structures without a label, by their keys.
        n_read: Number of labels that were read.
    """

    depth: int = 0
    missing: dict[str, Atoms] = field(default_factory=dict)
    n_read: int = 0


@dataclass(frozen=True, kw_only=True)
class OfflineFolder:
    """Labels that are computed elsewhere, for one structure after the other as they come back.

    Structures without a label are written to ``offline/to_label.extxyz``, and whatever has labels is read from the same
    folder. Each label goes to the store under its key before it is used. ``asked.extxyz`` has all structures that were
    ever asked for in the folder.

    Attributes:
        labeller: Method and version that labels get.
        place: Function that gives the folder above.
        root: Folder of what holds for the whole run.
        names: Names of labels in extended XYZ files.
        tolerance: Largest distance of atoms from where they were asked for, in Å.
        accept_missing: True to count labels as failed that were asked for before and have not come.
        known: Function that gives labelled structures whose zero of energy all labels are brought to; None to take
            energies as they are.
        remedy: Advice on how to go on, the end of the message.
    """

    labeller: Offline
    place: Callable[[], Path]
    root: Path
    names: Names = field(default_factory=Names)
    tolerance: float = 1e-3
    accept_missing: bool = False
    known: Callable[[], Sequence[Atoms]] | None = None
    remedy: str = "give the same command again"
    _waiting: _Waiting = field(default_factory=_Waiting, init=False, repr=False)

    @property
    def n_missing(self) -> int:
        """Number of missing labels that have been collected."""
        return len(self._waiting.missing)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Collect missing labels of a block of code, and ask for all of them at its end."""
        with self._collecting():
            try:
                yield
            except (ValueError, LabelError, LabellingError, RelaxationError) as error:
                # What fails without its labels may not fail with them.
                if not self._waiting.missing:
                    raise
                logger.debug("before all labels are there: %s", error)

    @contextlib.contextmanager
    def _collecting(self) -> Iterator[None]:
        self._waiting.depth += 1
        try:
            yield
            if self._waiting.depth == 1:
                self._ask()
        finally:
            self._waiting.depth -= 1
            if not self._waiting.depth:
                self._waiting.missing.clear()
                self._waiting.n_read = 0

    def outcomes(self, tasks: Mapping[str, Atoms], store: LabelStore | None) -> Iterator[tuple[str, Outcome]]:
        """Labels of structures, by their keys; see :class:`sparring.labels.offline.LabelFiles`."""
        if not tasks:
            return
        folder = self.place() / FOLDER
        asked = read_outgoing(folder / ASKED)
        with self._collecting():
            alignment, extra = self._alignment(folder, asked)
            everything = {**asked, **tasks, **extra}
            found = self._matched(folder, everything)
            if alignment is None and self.known is not None:
                alignment = self._fitted(extra, found)
            if self.known is not None and alignment is None:
                self._await({**extra, **tasks}, found)
                yield from ((key, _awaited()) for key in tasks)
                return
            labels = {key: _aligned(given, everything[key], alignment) for key, given in found.labels.items()}
            self._require_kept(labels, set(asked) - set(tasks), store)
            yield from self._answers(tasks, labels, found, set(asked), store)

    def _answers(
        self,
        tasks: Mapping[str, Atoms],
        labels: Mapping[str, Given],
        found: Matched,
        asked: set[str],
        store: LabelStore | None,
    ) -> Iterator[tuple[str, Outcome]]:
        """Outcomes of the tasks; those that are missing are collected."""
        for key, atoms in tasks.items():
            if key in labels:
                yield key, Outcome(self._stored(key, atoms, labels[key], store), computed=True)
            elif key in found.problems:
                problem = found.problems[key]
                yield key, Outcome(LabelError("not_converged", f"{problem.where}: {problem.reason}"), computed=True)
            elif self.accept_missing and key in asked:
                text = f"its label was asked for in {TO_LABEL} and has not come (--accept-missing)"
                yield key, Outcome(LabelError("missing", text), computed=False)
            else:
                self._waiting.missing[key] = atoms
                yield key, _awaited()
        self._waiting.n_read += sum(key in labels or key in found.problems for key in tasks)

    def _await(self, tasks: Mapping[str, Atoms], found: Matched) -> None:
        self._waiting.missing.update({key: atoms for key, atoms in tasks.items() if key not in found.labels})
        self._waiting.n_read += sum(key in found.labels for key in tasks)

    def _matched(self, folder: Path, asked: Mapping[str, Atoms]) -> Matched:
        if not folder.is_dir():
            return Matched({}, {})
        reading = read_answers([folder], asked, self.names)
        for note in reading.notes:
            logger.warning("%s", note)
        found = matched(asked, reading.answers, tolerance=self.tolerance, depends_on=self.labeller.depends_on)
        worst = max(found.labels.values(), key=lambda given: given.deviation, default=None)
        if worst is not None and worst.deviation > COARSE:
            logger.warning(
                "%s: atoms are up to %.2g Å from where they were asked for; the label counts for the geometry that was "
                "asked for",
                *(worst.where, worst.deviation),
            )
        return found

    def _stored(self, key: str, atoms: Atoms, given: Given, store: LabelStore | None) -> Label:
        label = Label(
            energy=given.energy,
            forces=given.forces,
            stress=given.stress,
            method=self.labeller.method,
            version=self.labeller.version,
            converged=True,
            wall_time=0.0,
        )
        if store is None:
            return label
        store.put(key, atoms, label, self.labeller.depends_on)
        return store.get(key) or label

    def _require_kept(self, labels: Mapping[str, Given], before: set[str], store: LabelStore | None) -> None:
        """Refuse labels that differ from those that were read before and are in use."""
        for key in sorted(before & set(labels)):
            label = store.get(key) if store is not None else None
            if label is not None:
                require_agreement(Given("the label store", label.energy, label.forces, label.stress, 0.0), labels[key])

    # --- another zero -------------------------------------------------------------------------------------------------

    def _alignment(self, folder: Path, asked: Mapping[str, Atoms]) -> tuple[Alignment | None, dict[str, Atoms]]:
        """The alignment, if it is known, and the structures whose labels it takes."""
        if self.known is None:
            return None, {}
        file = self.root / ALIGNMENT
        if file.exists():
            return Alignment.read(file), {}
        known = self.known()
        if not known:
            raise AnswerError("`align: true` needs labelled structures in the data, to whose zero energies are brought")
        return None, {label_key(atoms, self.labeller): atoms for atoms in compared(known)}

    def _fitted(self, extra: Mapping[str, Atoms], found: Matched) -> Alignment | None:
        """The alignment, once all labels that it takes are there."""
        if not set(extra) <= set(found.labels):
            return None
        alignment = fit_alignment(
            list(extra.values()),
            [float(atoms.info[ENERGY]) for atoms in extra.values()],
            [found.labels[key].energy for key in extra],
        )
        alignment.write(self.root / ALIGNMENT)
        logger.warning("%s", alignment.words())
        return alignment

    # --- what goes out ------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        """Write what is missing, and stop; nothing if all labels are there.

        Raises:
            LabelsMissing: If labels are missing.
        """
        missing, n_read = self._waiting.missing, self._waiting.n_read
        folder = self.place() / FOLDER
        if not missing:
            (folder / TO_LABEL).unlink(missing_ok=True)
            return
        folder.mkdir(parents=True, exist_ok=True)
        new = {key: outgoing(atoms, key, self.labeller.depends_on) for key, atoms in missing.items()}
        write_structures(folder / ASKED, list({**read_outgoing(folder / ASKED), **new}.values()))
        write_structures(folder / TO_LABEL, list(new.values()))
        awaited = f"{len(new)} {'label is' if len(new) == 1 else 'labels are'} awaited"
        counted = f"{n_read} labels were read, and {awaited}" if n_read else awaited
        method = "" if self.labeller.method == "offline" else f" by {self.labeller.method}"
        raise LabelsMissing(
            f"{counted}: the structures are in {folder / TO_LABEL}. Put their energies and forces{method} into the "
            "same folder, as extended XYZ or as outputs of ORCA, VASP, CP2K, Quantum ESPRESSO, Gaussian or FHI-aims, "
            f"in any order and also a part of them, and {self.remedy}.",
            file=folder / TO_LABEL,
            n_missing=len(new),
            n_read=n_read,
        )


def n_awaited(folder: Path) -> int:
    """Number of structures that wait for labels in the folder of a generation."""
    return len(read_outgoing(folder / FOLDER / TO_LABEL))


def _awaited() -> Outcome:
    """The outcome of a label that is missing, as long as others are collected."""
    return Outcome(LabelError("missing", "its label is awaited"), computed=False)


def _aligned(given: Given, atoms: Atoms, alignment: Alignment | None) -> Given:
    return given if alignment is None else given._replace(energy=given.energy + alignment.shift(atoms))
