"""Pieces of long work on copies in dynamics: each is one file, and what has been done is not done again.

The name of a file says of what it is: temperature, numbers of the copies, and a digest of everything else that decides
what becomes of them, committee included. So pieces of another committee or of other settings may lie in one folder, and
are only found by those that they belong to.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from jaxtyping import Float

from sparring.atoms.constraints import fixed_coordinates
from sparring.committee import Committee
from sparring.dynamics import Criterion
from sparring.support.cached import cached
from sparring.support.digest import digest
from sparring.validation.records import read_record, write_record
from sparring.validation.stability.trials import Failure

__all__ = ["Piece", "identity", "once"]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What became of copies that moved together.

    Attributes:
        identity: Of the work that this is a piece of, see :func:`identity`.
        temperature: In K.
        first: The number of the first copy.
        n_copies: How many there were.
        failures: Of these.
        positions: In Å, where each of them failed, or last was well.
    """

    identity: str
    temperature: float
    first: int
    n_copies: int
    failures: tuple[Failure, ...]
    positions: tuple[Float[np.ndarray, "_ 3"], ...]


def identity(committee: Committee, start: Atoms, criteria: Sequence[Criterion], settings: Mapping[str, object]) -> str:
    """SHA-256 of all that decides what becomes of copies, but for their temperatures and numbers.

    Raises:
        ValueError: If nothing identifies the committee or a criterion.
    """
    _, about = committee.state()
    about.pop("domain", None)  # refuses, but changes nothing
    geometry = {name: getattr(start, name).tolist() for name in ("numbers", "positions", "pbc")}
    fixed = fixed_coordinates(start)
    if fixed is not None:
        geometry["fixed"] = fixed.tolist()
    facts = {
        "committee": about,
        "start": {**geometry, "cell": start.cell.array.tolist()},
        "criteria": [_facts(criterion) for criterion in criteria],
        "settings": settings,
    }
    return digest(facts)


def once(folder: Path | None, of: str, temperature: float, copies: range, compute: Callable[[], Piece]) -> Piece:
    """A piece that is found in a folder, or else computed and put there.

    Raises:
        ValueError: If a file of that name holds something else.
    """
    if folder is None:
        return compute()
    file = folder / f"{temperature:.10g}K_{copies[0]:04d}-{copies[-1]:04d}_{of[:12]}.json"
    piece = cached(file, compute, read=lambda known: read_record(known, Piece), write=write_record)
    expected = (of, temperature, copies[0], len(copies))
    if (piece.identity, piece.temperature, piece.first, piece.n_copies) != expected:
        raise ValueError(f"{file} is not what its name says; delete it to have it computed again")
    return piece


def _facts(criterion: Criterion) -> object:
    """A criterion as JSON."""
    if dataclasses.is_dataclass(criterion) and not isinstance(criterion, type):
        return [type(criterion).__qualname__, dataclasses.asdict(criterion)]
    name = getattr(criterion, "__qualname__", "<")
    if "<" in name:
        raise ValueError(
            f"pieces cannot be kept by the criterion {criterion!r}: nothing tells it from another; make it a frozen "
            "dataclass or a function of a module"
        )
    return [criterion.__module__, name]
