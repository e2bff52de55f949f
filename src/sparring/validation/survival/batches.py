"""Batches of copies in dynamics: the result of each is one file, and is not computed twice.

The name of a file contains the temperature, the numbers of the copies, and a digest of everything else that determines
the result, committee included. So a folder can hold batches of several committees and settings; only those that match
are read.
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
from sparring.validation.survival.failures import Failure
from sparring.validation.survival.spread import Moments

__all__ = ["Cell", "MDBatch", "Positions", "identity", "once"]


Positions = Float[np.ndarray, "_ 3"]
Cell = Float[np.ndarray, "3 3"]


@dataclass(frozen=True, kw_only=True)
class MDBatch:
    """Result of copies that were simulated together.

    Attributes:
        identity: Digest of committee, start, criteria and settings, see :func:`identity`.
        temperature: Temperature in K.
        first: Number of the first copy.
        n_copies: Number of copies.
        failures: Failures among these copies.
        positions: Positions at each failure in Å; the last finite ones if a number was not finite.
        moments: Moments of bonds and angles of these copies.
        cells: Cells at each failure in Å; None where they are that of the start.
    """

    identity: str
    temperature: float
    first: int
    n_copies: int
    failures: tuple[Failure, ...]
    positions: tuple[Positions, ...]
    moments: Moments
    cells: tuple[Cell, ...] | None = None

    def ends(self, cell: Cell) -> list[tuple[Failure, Positions, Cell]]:
        """Failures with positions and cells; `cell` is that of the start."""
        cells = [cell] * len(self.failures) if self.cells is None else self.cells
        return list(zip(self.failures, self.positions, cells, strict=True))


def identity(committee: Committee, start: Atoms, criteria: Sequence[Criterion], settings: Mapping[str, object]) -> str:
    """SHA-256 of all that determines the result of copies, except their temperatures and numbers.

    Raises:
        ValueError: If the committee or a criterion cannot be identified.
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


def once(folder: Path | None, of: str, temperature: float, copies: range, compute: Callable[[], MDBatch]) -> MDBatch:
    """A batch from its file in a folder, computed and written if there is no such file.

    Raises:
        ValueError: If a file of that name holds something else.
    """
    if folder is None:
        return compute()
    file = folder / f"{temperature:.10g}K_{copies[0]:04d}-{copies[-1]:04d}_{of[:12]}.json"
    batch = cached(file, compute, read=lambda known: read_record(known, MDBatch), write=write_record)
    expected = (of, temperature, copies[0], len(copies))
    if (batch.identity, batch.temperature, batch.first, batch.n_copies) != expected:
        raise ValueError(f"{file} does not contain the batch of its name; delete it to compute it again")
    return batch


def _facts(criterion: Criterion) -> object:
    """A criterion as JSON."""
    if dataclasses.is_dataclass(criterion) and not isinstance(criterion, type):
        return [type(criterion).__qualname__, dataclasses.asdict(criterion)]
    name = getattr(criterion, "__qualname__", "<")
    if "<" in name:
        raise ValueError(
            f"batches cannot be stored: the criterion {criterion!r} has no identity; make it a frozen dataclass or a "
            "function of a module"
        )
    return [criterion.__module__, name]
