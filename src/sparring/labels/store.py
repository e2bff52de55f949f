"""The label store: what has been computed once is never computed again."""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from sparring.labels.base import Label, Labeller, depends_on, electronic_state
from sparring.labels.results import compute
from sparring.support.files import write_text

_RESOLUTION = 1e-10  # Å; geometries that agree to this are the same
_LARGEST = 1e8  # Å; beyond it the resolution does not fit into 64 bits


class LabelStore:
    """A folder with one immutable JSON record a label, named by the SHA-256 of what the label depends on.

    Any number of processes may read and write it at the same time. Labels are kept as they were computed, those that
    have not converged too, so that a failure is not computed twice either; ``check`` judges them after reading.

    Args:
        folder: Folder of the records; made if it is missing.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        return sum(1 for _ in self.folder.glob("*.json"))

    def __contains__(self, key: str) -> bool:
        return self._path(key).exists()

    def key(self, atoms: Atoms, labeller: Labeller | Label) -> str:
        """The name of the label of ``atoms`` by ``labeller``; see ``label_key``."""
        return label_key(atoms, labeller)

    def get(self, key: str) -> Label | None:
        """The label of that name, or None.

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
        """Keep a label. The record that came first stays, also when two processes write at the same time.

        Args:
            key: The name of the label.
            atoms: The structure.
            label: The label.
            names: The labeller's ``depends_on``.

        Raises:
            ValueError: If ``key`` is not the name of this structure, method and version.
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
        write_text(path, text, replace=False)

    def obtain(self, atoms: Atoms, labeller: Labeller) -> tuple[Label, bool]:
        """The label of ``atoms`` as the store has it, and whether it had to be computed; if so it is kept.

        A labeller with noise that another process asked at the same time has given another label; the one that is
        returned is the one that was kept.

        Raises:
            LabelError: If the labeller has none to give. Nothing is kept then.
        """
        key = self.key(atoms, labeller)
        found = self.get(key)
        if found is not None:
            return found, False
        label = compute(labeller, atoms)
        self.put(key, atoms, label, depends_on(labeller))
        return self.get(key) or label, True

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
    """What a structure has under some names in info or arrays, as JSON has it; tags that all are 0 count as none."""
    known: dict[str, object] = {}
    for name in names:
        for place, values in (("info", atoms.info), ("arrays", atoms.arrays)):
            if name in values and not (name == "tags" and not np.any(values[name])):
                known[f"{place}.{name}"] = _plain(values[name], name)
    return known


def _plain(value: object, name: str) -> object:
    """A value of info or arrays as JSON has it."""
    try:
        plain = json.loads(json.dumps(value, default=lambda one: one.tolist(), sort_keys=True, allow_nan=False))
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"the label depends on {name!r}, which must be made of finite numbers, words, lists and mappings, got "
            f"{value!r}"
        ) from error
    return plain


def _rounded(atoms: Atoms, name: str, lengths: np.ndarray) -> list[list[int]]:
    """Lengths in whole units of the resolution: integers know no -0.0 and print the same everywhere."""
    if not (np.abs(lengths) < _LARGEST).all():
        row = int(np.flatnonzero(~(np.abs(lengths) < _LARGEST).all(axis=1))[0])
        raise ValueError(
            f"{atoms.get_chemical_formula()}: the {name} must be finite and below {_LARGEST:g} Å, got row {row} = "
            f"{lengths[row].tolist()}"
        )
    rows: list[list[int]] = np.rint(lengths / _RESOLUTION).astype(np.int64).tolist()
    return rows


def _sha256(content: Mapping[str, object]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _to_json(label: Label) -> dict[str, object]:
    return {
        "energy": _number(label.energy),
        "forces": [[_number(component) for component in force] for force in label.forces.tolist()],
        "stress": None if label.stress is None else [_number(component) for component in label.stress.tolist()],
        "method": label.method,
        "version": label.version,
        "converged": bool(label.converged),
        "wall_time": _number(label.wall_time),
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
    )


def _damaged(path: Path, what: str) -> ValueError:
    return ValueError(f"label record {path} {what}; delete this file and the label will be computed again")
