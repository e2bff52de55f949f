"""Starting worker processes, talking to them, and ending them with everything that they have started."""

import contextlib
import multiprocessing
import multiprocessing.spawn
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from multiprocessing.connection import Pipe
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ase import Atoms

from sparring.labels import guard, scratch
from sparring.labels.base import Labeller
from sparring.labels.limits import THREADS, Limits, memory_of
from sparring.labels.store import LabelStore
from sparring.labels.worker_process import Began, Task

__all__ = ["Died", "Guard", "Recipe", "Worker", "recipe"]

_THREAD_SETTINGS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
LONGEST_START = 600.0
"""Seconds after which a worker that is not ready counts as one that died."""
_PROGRAM = "import sys; sys.path[:] = {path!r}; from sparring.labels.worker_process import main; main({descriptor})"
_GUARD_MISSING = (
    "a script that defines its own labeller is imported by every worker process, so it must label under: "
    "if __name__ == '__main__':"
)


class Recipe(NamedTuple):
    """All that a worker needs to make a labeller, in this or in another process.

    Attributes:
        script: Script that defines the labeller, if one does, as multiprocessing describes scripts.
        content: The labeller as bytes.
        path: Folders in which Python looks for modules.
        threads: Number of threads of a label.
    """

    script: Mapping[str, object] | None
    content: bytes
    path: tuple[str, ...] = ()
    threads: int = 1


class Died(NamedTuple):
    """A process that ended before it answered."""

    exit_code: int | None
    output: str

    def __str__(self) -> str:
        """Exit code or signal, for a message."""
        code = self.exit_code
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                name = signal.Signals(-code).name
                hint = ", as the kernel does when memory runs out" if name == "SIGKILL" else ""
                return f"signal {-code}, {name}{hint}"
        return f"exit code {code}"


def recipe(labeller: Labeller, threads: int = 1) -> Recipe:
    """Everything that a worker needs to make the same labeller.

    Args:
        labeller: Labeller to send to workers.
        threads: Number of threads of a label.

    Raises:
        ValueError: If the labeller cannot be pickled, or is defined in an interactive session.
        RuntimeError: If a worker is importing the script that calls this.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(_GUARD_MISSING)
    try:
        content = bytes(ForkingPickler.dumps(labeller))
    # What pickling raises depends on what is in the way.
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error
    path = tuple(os.path.abspath(folder) for folder in sys.path)
    if b"__main__" not in content:
        return Recipe(None, content, path, threads)
    script = multiprocessing.spawn.get_preparation_data("sparring-label")
    script.pop("authkey", None)
    if not {"init_main_from_name", "init_main_from_path"} & set(script):
        raise ValueError("it is defined in an interactive session, which no other process can import")
    return Recipe(script, content, path, threads)


@runtime_checkable
class Guarded(Protocol):
    """A process that leads a session, the marker of its descendants, and its scratch folder; "" for none."""

    @property
    def pid(self) -> int:
        """Process number."""

    @property
    def marker(self) -> str:
        """Value of an environment variable that its descendants inherit."""

    @property
    def folder(self) -> Path | str:
        """Scratch folder, which is removed with the process."""


class Guard:
    """Ends the workers if this process is killed; see :mod:`sparring.labels.guard`.

    Args:
        parent: Process number of the parent of this process; if it is killed, the guard ends this process, too. None
            for none.
    """

    def __init__(self, parent: int | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, *([] if parent is None else [str(parent)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Whoever ends the descendants of this process must leave the guard to end those of its workers.
            env={name: value for name, value in os.environ.items() if name != guard.MARKER},
            start_new_session=True,
        )

    def add(self, worker: "Guarded") -> None:
        """Guard a worker."""
        self._send(f"add {worker.pid} {worker.marker} {worker.folder}")

    def remove(self, worker: "Guarded") -> None:
        """Stop guarding a worker, which has ended."""
        self._send(f"end {worker.pid}")

    def close(self) -> None:
        """End the guard."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()


class Worker:
    """A process that computes labels one after another.

    Attributes:
        connection: Pipe to the process.
        key: Key of its current label, if it has not answered yet.
        ready: True once it has started and has the labeller.
        folder: Scratch folder.
        marker: Value of an environment variable that its descendants inherit.
        pid: Process number.
    """

    def __init__(self, ingredients: Recipe) -> None:
        self.connection, theirs = Pipe()
        self.folder = Path(tempfile.mkdtemp(prefix="sparring-")).resolve()
        self.marker = uuid.uuid4().hex
        self.key: str | None = None
        self.ready = False
        self._n_given = 0
        self._started = time.monotonic()
        self._began: float | None = None
        self._output = self.folder / "start.txt"
        with self._output.open("wb") as output:
            here = [os.path.abspath(folder) for folder in sys.path]
            path = list(dict.fromkeys([*ingredients.path, *here]))
            program = _PROGRAM.format(path=path, descriptor=theirs.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=_environment(self.marker, self.folder, ingredients.threads),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        theirs.close()
        self.pid = self._process.pid
        with contextlib.suppress(OSError):
            self.connection.send(ingredients.script)
            self.connection.send_bytes(ingredients.content)

    @property
    def is_alive(self) -> bool:
        """True if the process runs."""
        return self._process.poll() is None

    @property
    def task_folder(self) -> Path:
        """The folder of the label that it was given last."""
        return self.folder / f"label-{self._n_given}"

    def give(self, key: str, atoms: Atoms, store: LabelStore | None) -> None:
        """Hand over a structure, with a fresh folder to compute in."""
        self.key = key
        self._n_given += 1
        self._began = None
        self.task_folder.mkdir()
        # If it has just died, that is found when its answer is read.
        with contextlib.suppress(OSError):
            self.connection.send(Task(atoms, self.task_folder, store))

    def receive(self) -> Any:  # noqa: ANN401 - a pipe has no types
        """Its message, or a `Died`."""
        try:
            message = self.connection.recv()
        # A labeller can also close the pipe, or write into it.
        except Exception:
            return self.died()
        if isinstance(message, Began):
            self._began = time.monotonic()
        self.ready = True
        return message

    def died(self) -> Died:
        """End it if it has not ended, and describe the end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.poll()
        output = scratch.output_of(self.task_folder) if self.ready else scratch.tail(self._output)
        self.end(keep_folder=True)
        return Died(code if code is not None else self._process.returncode, output)

    @property
    def seconds(self) -> float:
        """Seconds since its current label began to be computed; 0 if it only waits."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def remaining(self, limits: Limits) -> float | None:
        """Seconds until it must have answered, or None if it may take for ever, as it waits or has no limit."""
        if not self.ready:
            return self._started + LONGEST_START - time.monotonic()
        return None if self._began is None or limits.time is None else limits.time - self.seconds

    def memory(self) -> float:
        """Bytes that it and its descendants hold."""
        return memory_of(self.marker)

    def end(self, *, patience: float = 0.0, keep_folder: bool = False) -> None:
        """Let it end by itself if there is patience, then end it with all processes that it has left.

        Args:
            patience: Time to end by itself, in seconds.
            keep_folder: Flag to keep its scratch folder.
        """
        self.connection.close()
        if patience:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        # A process that has been waited for has given its number back: only the marker is certain then.
        if self.is_alive:
            guard.end_processes(self.pid, self.marker, ignores_signals=True)
        else:
            for pid in guard.descendants(self.marker):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()
        if not keep_folder:
            scratch.remove(self.folder)


def _environment(marker: str, folder: Path, threads: int) -> dict[str, str]:
    """Threads, of which processes that share the cores have one each, and paths that hold in any current folder."""
    settings = dict.fromkeys((*_THREAD_SETTINGS, THREADS), str(threads))
    environment = {**os.environ, **settings, guard.MARKER: marker, "TMPDIR": str(folder)}
    if environment.get("PYTHONPATH"):
        paths = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in paths)
    return environment
