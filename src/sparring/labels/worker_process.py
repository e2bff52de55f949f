"""The program of a worker process: one label after another, each in a folder of its own, until the pipe is closed."""

import contextlib
import multiprocessing
import multiprocessing.spawn
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import NamedTuple

from ase import Atoms

from sparring.labels.base import Label, LabelError, Labeller
from sparring.labels.results import compute
from sparring.labels.store import LabelStore
from sparring.support.faults import InjectedFault, fault_point
from sparring.support.stopping import SIGNALS

__all__ = ["OUTPUT", "Began", "Outcome", "Refused", "Reserved", "Task", "main", "outcome_of"]

OUTPUT = "output.txt"
"""The file in the folder of a label with the printed output."""


class Reserved(NamedTuple):
    """Another process is computing the label."""


class Outcome(NamedTuple):
    """A label or why there is none, whether anything was computed for it, and where its files were kept."""

    result: Label | LabelError | Reserved
    computed: bool
    files: Path | None = None

    @property
    def label(self) -> Label | LabelError:
        """The label or why there is none, once no other process is computing it."""
        assert not isinstance(self.result, Reserved)
        return self.result


class Began(NamedTuple):
    """The computation of a label begins: until now it may have waited for another run that computes the same one."""


class Task(NamedTuple):
    """A structure, the folder to compute in, and where the label is kept."""

    atoms: Atoms
    folder: Path
    store: LabelStore | None


class Refused(NamedTuple):
    """The labeller could not be made in the worker."""

    message: str


def outcome_of(
    atoms: Atoms, labeller: Labeller, store: LabelStore | None, began: Callable[[], None] = lambda: None
) -> Outcome:
    """The label of a structure, from the store if another run has been faster.

    Args:
        atoms: Structure to label.
        labeller: Labeller that computes the label.
        store: Store that has the label, or keeps it.
        began: Function that is called when the label is about to be computed.
    """

    def begin() -> None:
        began()
        try:
            fault_point("label")
        except InjectedFault as fault:
            raise LabelError("crashed", f"{labeller.method}: {fault}") from fault

    try:
        if store is None:
            begin()
            return Outcome(compute(labeller, atoms), computed=True)
        obtained = store.attempt(atoms, labeller, begin)
        return Outcome(Reserved(), computed=False) if obtained is None else Outcome(*obtained)
    except LabelError as error:
        return Outcome(error, computed=True)


def main(descriptor: int) -> None:
    """Serve one pipe, and end when it is closed.

    Args:
        descriptor: Number of the open file of this end of the pipe.
    """
    # Signals to stop go to the parent, too, which ends the workers. Programs that a labeller starts do not inherit a
    # handler, as they would inherit that a signal is ignored.
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    os.set_inheritable(descriptor, False)
    connection, own, home = Connection(descriptor), os.getpid(), Path.cwd()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        labeller = _received(connection)
        connection.send(labeller if isinstance(labeller, Refused) else None)
        while not isinstance(labeller, Refused):
            task: Task = connection.recv()
            with working_in(task.folder, home):
                message = _answer(task, labeller, lambda: connection.send(Began()))
            # A labeller that forks and comes back twice must not answer twice.
            if os.getpid() != own:
                os._exit(0)
            connection.send(message)


def _received(connection: Connection) -> Labeller | Refused:
    """The labeller, after the script that defines it, if it is one, has been imported as multiprocessing does."""
    script: Mapping[str, object] | None = connection.recv()
    content = connection.recv_bytes()
    process = multiprocessing.current_process()
    try:
        if script is not None:
            process._inheriting = True  # type: ignore[attr-defined]
            multiprocessing.spawn.prepare(dict(script))
        labeller: Labeller = ForkingPickler.loads(content)
    # The parent reports any failure.
    except BaseException as error:
        return Refused(f"{type(error).__name__}: {error}")
    finally:
        process._inheriting = False  # type: ignore[attr-defined]
    return labeller


def _answer(task: Task, labeller: Labeller, began: Callable[[], None]) -> Outcome | Exception:
    try:
        return outcome_of(task.atoms, labeller, task.store, began)
    # Not the structure's fault, as a full disk is not: the parent raises it.
    except Exception as error:
        try:
            ForkingPickler.dumps(error)
        except Exception:
            return RuntimeError(f"{type(error).__name__}: {error}")
        return error


@contextlib.contextmanager
def working_in(folder: Path, home: Path) -> Iterator[None]:
    """Run in a folder, with all that is printed in a file there.

    Args:
        folder: The folder.
        home: Folder to go back to.
    """
    _print_to(folder / OUTPUT)
    os.chdir(folder)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(ValueError, OSError, AttributeError):
                stream.flush()
        os.chdir(home)


def _print_to(file: Path) -> None:
    """Standard output and error as new, even if the old ones are closed; programs and Fortran write there too."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)
    sys.stdout, sys.stderr = (
        open(standard, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        for standard in (1, 2)
    )
