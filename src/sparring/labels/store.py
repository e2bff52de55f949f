"""The label store: a label that exists is never computed again."""

import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from sparring.labels.base import Label, LabelError, Labeller, depends_on, electronic_state
from sparring.labels.reservations import SUFFIX, Reservation, Watch, end, remove_abandoned
from sparring.labels.results import compute
from sparring.support.digest import digest
from sparring.support.faults import fault_point
from sparring.support.files import write_text

logger = logging.getLogger(__name__)

PAUSE = 0.1
"""Seconds between two looks at a label that another process computes."""
_RESOLUTION = 1e-10  # Å; geometries that agree to this are the same
_LARGEST = 1e8  # Å; beyond it the resolution does not fit into 64 bits


class LabelStore:
    """A folder with one immutable JSON record per label, named by the SHA-256 of everything that the label depends on.

    Any number of processes may read and write it at the same time. Labels that have not converged are stored, too, so
    that a failure is not computed twice either; ``check`` rejects them after reading.

    Args:
        folder: Folder of the records; it is created if necessary.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        return sum(1 for _ in self.folder.glob("*.json"))

    def tidy(self) -> None:
        """Remove reservations and temporary files that processes have left behind, unless these may still be alive."""
        if removed := remove_abandoned(self.folder):
            logger.info("%s: %d abandoned files removed", self.folder, len(removed))

    def __contains__(self, key: str) -> bool:
        return self._path(key).exists()

    def key(self, atoms: Atoms, labeller: Labeller | Label) -> str:
        """The key of a label; see :func:`label_key`."""
        return label_key(atoms, labeller)

    def get(self, key: str) -> Label | None:
        """The label with a key, or None.

        Raises:
            ValueError: If the record is damaged.
        """
        path = self._path(key)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise _damaged(path, "is no text") from error
        return _read(path, text)

    def put(self, key: str, atoms: Atoms, label: Label, names: Sequence[str] = ()) -> None:
        """Store a label. The first record stays, also when two processes write at the same time.

        Args:
            key: Key of the label.
            atoms: Labelled structure.
            label: Label of the structure.
            names: Names in `info` and `arrays` that labels depend on: the labeller's ``depends_on``.

        Raises:
            ValueError: If the key does not belong to this structure, method and version.
        """
        identity = _identity(atoms, label.method, label.version, names)
        if _sha256(identity) != key:
            raise ValueError(
                f"the label of {atoms.get_chemical_formula()} by {label.method!r} ({label.version}) does not belong to "
                f"key {key}; a labeller's labels must carry its own method and version"
            )
        path = self._path(key)
        if path.exists():
            return
        record = {"key": key, "structure": identity, "label": _to_json(label)}
        text = json.dumps(record | {"sha256": _sha256(record)}, indent=1, allow_nan=False) + "\n"
        with fault_point("store", path):
            write_text(path, text, replace=False)

    def obtain(
        self,
        atoms: Atoms,
        labeller: Labeller,
        *,
        began: Callable[[], None] = lambda: None,
        patience: float | None = None,
    ) -> tuple[Label, bool]:
        """The label in the store, and True if it had to be computed and stored first.

        A label that another process computes is waited for.

        Args:
            atoms: Structure to label.
            labeller: Labeller that computes the label if it is not in the store.
            began: Function that is called when the label is about to be computed.
            patience: Seconds to wait for a process that is alive; None to wait as long as it is.

        Raises:
            LabelError: If the label fails. Nothing is stored then.
        """
        watch, key = Watch(patience), self.key(atoms, labeller)
        while (obtained := self.attempt(atoms, labeller, began)) is None:
            while not watch.is_free(self.reservation(key)):
                time.sleep(PAUSE)
        return obtained

    def attempt(
        self, atoms: Atoms, labeller: Labeller, began: Callable[[], None] = lambda: None
    ) -> tuple[Label, bool] | None:
        """The label in the store, and True if it had to be computed; None if another process is computing it.

        If two processes compute the label of a noisy labeller in spite of that, both return the one that was stored.

        Args:
            atoms: Structure to label.
            labeller: Labeller that computes the label if it is not in the store.
            began: Function that is called when the label is about to be computed.

        Raises:
            LabelError: If the label fails. Nothing is stored then.
        """
        key = self.key(atoms, labeller)
        if (found := self.get(key)) is not None:
            return found, False
        try:
            reservation = Reservation(self.reservation(key))
        except FileExistsError:
            return None
        with reservation:
            # Another process may have finished it just before.
            if (found := self.get(key)) is not None:
                return found, False
            began()
            label = compute(labeller, atoms)
            try:
                self.put(key, atoms, label, depends_on(labeller))
            except ValueError as error:
                raise LabelError("bad_result", str(error)) from error
        return self.get(key) or label, True

    def release(self, key: str) -> None:
        """End the reservation of a label if the process that had it has ended."""
        end(self.reservation(key))

    def reservation(self, key: str) -> Path:
        """The file that is there while a process computes the label with a key."""
        return self.folder / f"{key}{SUFFIX}"

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def label_key(atoms: Atoms, labeller: Labeller | Label) -> str:
    """SHA-256 of all that a label depends on: geometry, cell, charge, multiplicity, method and version.

    Positions count to 1e-10 Å. Initial magnetic moments and charges count where there are any, as some calculators
    start from them, and so does what the labeller ``depends_on``.

    Raises:
        ValueError: If a position is not finite, charge and multiplicity do not fit, or something that the labeller
            depends on is not made of numbers, words, lists and mappings.
    """
    return _sha256(_identity(atoms, labeller.method, labeller.version, depends_on(labeller)))


def _identity(atoms: Atoms, method: str, version: str, names: Sequence[str]) -> dict[str, object]:
    state = electronic_state(atoms)
    identity: dict[str, object] = {
        "atomic_numbers": atoms.numbers.tolist(),
        "positions": _rounded(atoms, "positions", atoms.positions),
        "cell": _rounded(atoms, "cell", atoms.cell.array),
        "pbc": atoms.pbc.tolist(),
        "charge": state.charge,
        "multiplicity": state.multiplicity,
        "method": method,
        "version": version,
    }
    for name in ("initial_magmoms", "initial_charges"):
        if atoms.has(name) and np.any(atoms.get_array(name)):
            identity[name] = atoms.get_array(name).tolist()
    if known := further(atoms, names):
        identity["depends_on"] = known
    return identity


def further(atoms: Atoms, names: Sequence[str]) -> dict[str, object]:
    """Values of some names in info and arrays of a structure as JSON; tags that all are 0 count as none."""
    known: dict[str, object] = {}
    for name in names:
        for place, values in (("info", atoms.info), ("arrays", atoms.arrays)):
            if name in values and not (name == "tags" and not np.any(values[name])):
                known[f"{place}.{name}"] = _plain(values[name], name)
    return known


def _plain(value: object, name: str) -> object:
    """A value of info or arrays as JSON."""
    try:
        plain = json.loads(json.dumps(value, default=lambda one: one.tolist(), sort_keys=True, allow_nan=False))
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"the label depends on {name!r}, which must be made of finite numbers, words, lists and mappings, got "
            f"{value!r}"
        ) from error
    return plain


def _rounded(atoms: Atoms, name: str, lengths: np.ndarray) -> list[list[int]]:
    """Lengths as integers in units of the resolution: these have no -0.0 and print the same everywhere."""
    if not (np.abs(lengths) < _LARGEST).all():
        row = int(np.flatnonzero(~(np.abs(lengths) < _LARGEST).all(axis=1))[0])
        raise ValueError(
            f"{atoms.get_chemical_formula()}: the {name} must be finite and below {_LARGEST:g} Å, got row {row} = "
            f"{lengths[row].tolist()}"
        )
    rows: list[list[int]] = np.rint(lengths / _RESOLUTION).astype(np.int64).tolist()
    return rows


def _sha256(content: Mapping[str, object]) -> str:
    return digest(content, compact=True)


def _to_json(label: Label) -> dict[str, object]:
    return {
        "energy": _number(label.energy),
        "forces": [[_number(component) for component in force] for force in label.forces.tolist()],
        "stress": None if label.stress is None else [_number(component) for component in label.stress.tolist()],
        "method": label.method,
        "version": label.version,
        "converged": bool(label.converged),
        "wall_time": _number(label.wall_time),
        **({} if label.retried_with is None else {"retried_with": label.retried_with}),
    }


def _number(value: float) -> float | str:
    # JSON has no NaN; Python writes a finite float such that it reads back to the same bits.
    return float(value) if math.isfinite(value) else str(float(value))


def _read(path: Path, text: str) -> Label:
    try:
        record = json.loads(text)
        content = {name: record[name] for name in ("key", "structure", "label")}
        sound = record["sha256"] == _sha256(content) and path.stem == content["key"] == _sha256(content["structure"])
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path, "cannot be read") from error
    if not sound:
        raise _damaged(path, "does not agree with its own checksum")
    label = record["label"]
    stress = label["stress"]
    return Label(
        energy=float(label["energy"]),
        forces=np.array(label["forces"], dtype=float).reshape(-1, 3),
        stress=None if stress is None else np.array(stress, dtype=float),
        method=label["method"],
        version=label["version"],
        converged=label["converged"],
        wall_time=float(label["wall_time"]),
        retried_with=label.get("retried_with"),
    )


def _damaged(path: Path, what: str) -> ValueError:
    return ValueError(f"label record {path} {what}; delete this file and the label will be computed again")
