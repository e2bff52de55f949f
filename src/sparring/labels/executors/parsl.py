"""Parsl's HighThroughputExecutor as an executor of concurrent.futures: labels on the nodes of a cluster.

A block is a job of the batch system; Parsl submits blocks as labels need them, up to a number of blocks, and ends those
that are idle. Its processes on this machine end with this process, also if that is killed; blocks of a batch system
then end by themselves after two minutes without a sign of life. Messages between the machines are encrypted. Parsl
itself tries nothing again: that is done by the caller, where failures are told apart.
"""

import importlib
import logging
import os
import shlex
import shutil
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from sparring.labels import guard
from sparring.labels.executors.restartable import ExecutorError, WorkerLost
from sparring.labels.launch import Guard

__all__ = ["PROVIDERS", "ParslExecutor"]

PROVIDERS = {
    "local": "LocalProvider",
    "slurm": "SlurmProvider",
    "pbs": "PBSProProvider",
    "lsf": "LSFProvider",
    "grid_engine": "GridEngineProvider",
}
"""Classes of `parsl.providers` by the kind of batch system."""
LABEL = "labels"
LOOPBACK = "127.0.0.1"
SCRIPTS = ("process_worker_pool.py", "interchange.py")
LONGEST_SHUTDOWN = 30.0
"""Seconds after which a shutdown that hangs is given up, and the processes of this machine are killed."""
_INTERCHANGE = """
import os, runpy, threading, time
os.setsid()
parent = os.getppid()
def watch():
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
runpy.run_path({script!r}, None, "__main__")
"""
"""Program of the interchange: out of reach of Ctrl-C in the terminal, and ended with this process."""
_CERTIFICATES = "certificates"


class ParslExecutor(Executor):
    """Jobs on blocks of a batch system, or in processes of this machine.

    Args:
        kind: Kind of batch system, one of :data:`PROVIDERS`.
        options: Keyword arguments of Parsl's provider.
        folder: Folder for Parsl's logs, its scripts for the batch system, and the keys of this session.
        threads: Number of cores of a job.
        memory: Memory of a job in bytes; None for no bound.
        n_workers: Largest number of jobs at once on a node; None for as many as its cores and its memory allow.
        drain_period: Seconds after which a block begins no further job; None for never.

    Raises:
        ModuleNotFoundError: If Parsl is not installed.
        ExecutorError: If its scripts are not found, or it cannot be started.
    """

    def __init__(
        self,
        kind: str = "local",
        options: Mapping[str, object] | None = None,
        *,
        folder: Path,
        threads: int = 1,
        memory: float | None = None,
        n_workers: int | None = None,
        drain_period: int | None = None,
    ) -> None:
        require_parsl()
        self._marker = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._is_down = False
        local = kind == "local"
        scripts = {name: _script(name) for name in SCRIPTS}
        interchange = ["env", f"{guard.MARKER}={self._marker}", sys.executable, "-c"]
        try:
            provider = _provider(kind, dict(options or {}), scripts[SCRIPTS[0]].parent, self._marker)
        except TypeError as error:
            raise ExecutorError(f"Parsl's {PROVIDERS[kind]} does not take these options: {error}") from error
        how: dict[str, Any] = {
            "label": LABEL,
            "provider": provider,
            "interchange_launch_cmd": [*interchange, _INTERCHANGE.format(script=str(scripts["interchange.py"]))],
            "address": LOOPBACK if local else None,
            "loopback_address": LOOPBACK,
            "cores_per_worker": float(threads),
            "mem_per_worker": None if memory is None else memory / 2**30,
            "max_workers_per_node": n_workers,
            "drain_period": drain_period,
            "heartbeat_period": 2 if local else 30,
            "heartbeat_threshold": 10 if local else 120,
            "encrypted": True,
        }
        self._logger = _quiet()
        try:
            self._kernel = _kernel(how, folder, period=0.5 if local else 5.0)
        except Exception as error:
            raise ExecutorError(f"Parsl cannot be started: {type(error).__name__}: {error}") from error
        self._executor = self._kernel.executors[LABEL]
        self.folder = Path(self._kernel.run_dir).absolute()
        self.pid: int = self._executor.interchange_proc.pid
        self._guard = Guard()
        self._guard.add(_Guarded(self.pid, self._marker))

    @property
    def marker(self) -> str:
        """Value of an environment variable that Parsl's processes on this machine have."""
        return self._marker

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401 - as its base class
        """Hand over a call of a function that the workers can import."""
        if self._is_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        ours: Future[Any] = Future()
        theirs = self._kernel.submit(
            fn, app_args=args, executors=[LABEL], cache=False, ignore_for_cache=None, app_kwargs=kwargs
        )
        theirs.add_done_callback(lambda done: _pass_on(done, ours))
        return ours

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End Parsl, its processes on this machine and its blocks; jobs that are running end with them."""
        with self._lock:
            if self._is_down:
                return
            self._is_down = True
        self._end_kernel()
        if self._executor.interchange_proc.poll() is None:
            guard.end_processes(self.pid, self._marker)
            self._executor.interchange_proc.wait()
        guard.end_descendants(self._marker)
        self._guard.close()
        shutil.rmtree(self.folder / LABEL / _CERTIFICATES, ignore_errors=True)

    def _end_kernel(self) -> None:
        thread = threading.Thread(target=self._cleaned_up, name="sparring-parsl-shutdown", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no threads at the exit of the interpreter
            self._cleaned_up()
            return
        thread.join(LONGEST_SHUTDOWN)

    def _cleaned_up(self) -> None:
        try:
            self._kernel.cleanup()
        # What is left is killed by its marker.
        except Exception as error:
            self._logger.info("the shutdown of Parsl failed: %s", error)


class _Guarded:
    """The interchange, Parsl's process on this machine, as the guard knows it."""

    def __init__(self, pid: int, marker: str) -> None:
        self.pid = pid
        self.marker = marker
        self.folder = ""


def require_parsl() -> None:
    """Raise if Parsl is not installed.

    Raises:
        ModuleNotFoundError: With what to do.
    """
    try:
        importlib.import_module("parsl")
    except ModuleNotFoundError as error:
        if error.name != "parsl":
            raise
        raise ModuleNotFoundError(
            "labels on a cluster need the package parsl: pip install 'sparring[cluster]'", name="parsl"
        ) from error


def _kernel(how: dict[str, Any], folder: Path, period: float) -> Any:  # noqa: ANN401 - Parsl's, which is imported here
    """Parsl with one executor, without any retry of its own and without its log."""
    from parsl.config import Config
    from parsl.dataflow.dflow import DataFlowKernel
    from parsl.executors import HighThroughputExecutor
    from parsl.jobs.error_handlers import windowed_error_handler

    executor = HighThroughputExecutor(**how, block_error_handler=windowed_error_handler)
    folder.mkdir(parents=True, exist_ok=True)
    config = Config(
        executors=[executor],
        retries=0,
        run_dir=str(folder.absolute()),
        strategy="simple",
        strategy_period=period,
        usage_tracking=0,
        initialize_logging=False,
    )
    return DataFlowKernel(config)


def _provider(kind: str, options: dict[str, Any], scripts: Path, marker: str) -> Any:  # noqa: ANN401 - Parsl's
    """Parsl's provider of blocks, whose nodes find Parsl's scripts on their PATH."""
    from parsl import providers
    from parsl.launchers import SrunLauncher

    lines = [f"export PATH={shlex.quote(str(scripts))}:$PATH"]
    if kind == "local":
        lines.append(f"export {guard.MARKER}={marker}")
    if kind == "slurm" and options.get("nodes_per_block", 1) != 1:
        options["launcher"] = SrunLauncher()
    options["worker_init"] = "\n".join([*lines, str(options.get("worker_init", ""))])
    return getattr(providers, PROVIDERS[kind])(**options)


def _script(name: str) -> Path:
    """Path of one of Parsl's scripts: beside this Python, or on PATH.

    Raises:
        ExecutorError: If it is in neither.
    """
    beside = [str(Path(sys.prefix) / "bin"), str(Path(sys.executable).parent)]
    found = shutil.which(name, path=os.pathsep.join([*beside, os.environ.get("PATH", "")]))
    if found is None:
        raise ExecutorError(
            f"Parsl's script {name} is neither in {beside[0]} nor on PATH; install sparring[cluster] into the "
            "environment of this Python, and activate it"
        )
    return Path(found).absolute()


def _pass_on(theirs: Future[Any], ours: Future[Any]) -> None:
    """Give the result of Parsl's future to the one that the caller has; a cancelled one drops it."""
    if not ours.set_running_or_notify_cancel():
        return
    error = theirs.exception()
    if error is None:
        ours.set_result(theirs.result())
        return
    from parsl.executors.errors import BadStateException
    from parsl.executors.high_throughput.errors import ManagerLost
    from parsl.executors.high_throughput.errors import WorkerLost as ParslWorkerLost

    if isinstance(error, ManagerLost | ParslWorkerLost):
        ours.set_exception(WorkerLost(str(error)))
    elif isinstance(error, BadStateException):
        ours.set_exception(
            ExecutorError(
                "the blocks of the batch system fail; look at the provider in the resources file (partition, account, "
                f"worker_init, walltime): {' '.join(str(error).split())}"
            )
        )
    else:
        ours.set_exception(error)


def _quiet() -> logging.Logger:
    """Parsl's logger, whose warnings about its own state are not for users; its logs of blocks are in its folder."""
    logger = logging.getLogger("parsl")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger
