"""Long work in pieces: each is done once, by whichever process comes first, and what has been done is found again."""

import fcntl
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

__all__ = ["Busy", "Outcome", "Piece", "carry_out", "work"]


class Busy(RuntimeError):
    """What a piece needs is in use by another process: it is tried again later."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a study that is done by itself.

    Attributes:
        name: For people, and for the file that claims it.
        done: Whether it needs no more work.
        ready: Whether all that it needs is there.
        do: The work. It leaves what `done` looks for, at once and complete, as the last thing it does.
    """

    name: str
    done: Callable[[], bool]
    ready: Callable[[], bool]
    do: Callable[[], None]


class Outcome(NamedTuple):
    """What became of the pieces: names of those that were done here, of those that wait, and errors of the others."""

    done: tuple[str, ...]
    waiting: tuple[str, ...]
    failed: dict[str, str]


def work(
    pieces: Sequence[Piece],
    claims: Path,
    *,
    announce: Callable[[str], None] = print,
    patience: float = 0.0,
    pause: float = 10.0,
) -> Outcome:
    """Do all pieces that are not done, the first that is ready first; several processes may work side by side.

    A piece is claimed by a lock on a file of its own, which the system takes back when its process ends, however it
    ends: there are no stale claims. One that fails does not stop the others.

    Args:
        pieces: In the order of their importance.
        claims: Folder for the files that are locked.
        announce: Called with a line for people.
        patience: Seconds to wait for pieces that are not ready, or that others are at, before giving up.
        pause: Seconds between looking whether they are.
    """
    claims.mkdir(parents=True, exist_ok=True)
    done: list[str] = []
    failed: dict[str, str] = {}
    last = time.monotonic()
    while left := [piece for piece in pieces if piece.name not in failed and not piece.done()]:
        if _advance(left, claims, announce, done, failed):
            last = time.monotonic()
        elif time.monotonic() - last >= patience:
            break
        else:
            time.sleep(pause)
    return Outcome(tuple(done), tuple(piece.name for piece in left), failed)


def carry_out(pieces: Sequence[Piece], claims: Path, *, wait: float = 0.0, only_list: bool = False) -> int:
    """Do what is left and say so, or only say what is left; the number of pieces that failed.

    Args:
        pieces: As for `work`.
        claims: Likewise.
        wait: Minutes to wait for what other processes compute.
        only_list: Whether to do nothing.
    """
    if only_list:
        left = [piece for piece in pieces if not piece.done()]
        print(*(f"{piece.name}{'' if piece.ready() else ' (not ready)'}" for piece in left), sep="\n")
        print(f"{len(left)} of {len(pieces)} pieces left")
        return 0
    outcome = work(pieces, claims, announce=partial(print, flush=True), patience=60 * wait)
    print(f"{len(outcome.done)} done here, {len(outcome.waiting)} waiting, {len(outcome.failed)} failed", flush=True)
    return len(outcome.failed)


def _advance(
    left: Sequence[Piece], claims: Path, announce: Callable[[str], None], done: list[str], failed: dict[str, str]
) -> bool:
    """Do the first piece that can be done; False if there is none."""
    for piece in left:
        if not piece.ready():
            continue
        with _claimed(claims / f"{piece.name.replace('/', ' ')}.lock") as mine:
            if not mine:
                continue
            if piece.done():
                return True
            began = time.perf_counter()
            try:
                piece.do()
            except Busy:
                continue
            except Exception as error:
                # A study of a hundred pieces must not end because one of them cannot be done.
                failed[piece.name] = f"{type(error).__name__}: {error}"
                announce(f"{piece.name}: failed\n{traceback.format_exc()}")
                return True
            done.append(piece.name)
            announce(f"{piece.name}: done in {time.perf_counter() - began:.0f} s")
            return True
    return False


@contextmanager
def _claimed(file: Path) -> Iterator[bool]:
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
