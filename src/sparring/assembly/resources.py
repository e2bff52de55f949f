"""A resources file as executors, limits and the account of core hours."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from tempfile import TemporaryDirectory

from sparring.config.resources import LocalExecutor, LocalProvider, Parsl, Resources, Slurm, load_resources
from sparring.labels.executors.core_hours import CoreHours
from sparring.labels.executors.parsl import ParslExecutor, require_parsl
from sparring.labels.executors.restartable import RestartableExecutor
from sparring.runs.saved_run import SavedRun

__all__ = ["Machine", "machine", "using_resources"]

logger = logging.getLogger(__name__)

PARSL = "parsl"
"""Folder of Parsl's logs in the run folder."""


class Machine:
    """Executors of a resources file, each made once, whoever asks for it.

    Args:
        resources: The resources file.
        stack: Stack on which executors are closed.

    Attributes:
        resources: The resources file.
    """

    def __init__(self, resources: Resources, stack: ExitStack) -> None:
        self.resources = resources
        self._stack = stack
        self._executors: dict[str, Executor] = {}
        self._core_hours: dict[Path | None, CoreHours] = {}

    def executor_of_labels(self, folder: Path | None, time_limit: float | None) -> Executor | None:
        """Executor of labels; None for processes of this machine, which are the labeller's own.

        Args:
            folder: Folder for logs; None for one that is removed afterwards.
            time_limit: Longest time of a label in seconds.
        """
        wanted = self.resources.labels
        if isinstance(wanted.executor, LocalExecutor):
            return None
        if folder is None:
            temporary = TemporaryDirectory(prefix="sparring-", ignore_cleanup_errors=True)
            folder = Path(self._stack.enter_context(temporary))
        return self._made(
            "labels", _parsl(wanted.executor, folder, wanted.threads, wanted.memory, wanted.n_workers, time_limit)
        )

    def executor_of_members(self, folder: Path, time_limit: float | None) -> Executor | None:
        """Executor of members that a command trains; None for one after another."""
        wanted = self.resources.training
        if isinstance(wanted.executor, LocalExecutor):
            if wanted.n_workers == 1:
                return None
            return self._made("training", lambda: ThreadPoolExecutor(wanted.n_workers))
        return self._made(
            "training", _parsl(wanted.executor, folder, wanted.threads, None, wanted.n_workers, time_limit)
        )

    def core_hours(self, folder: Path, of_run: bool = False) -> CoreHours:
        """Account of core hours: in the folder of a run, and elsewhere if there is a budget.

        Args:
            folder: Folder of a run, or of labels.
            of_run: True if the folder will be that of a run.
        """
        counted = of_run or self.resources.budget is not None or SavedRun(folder).exists
        file = SavedRun(folder).core_hours_file.absolute() if counted else None
        if file not in self._core_hours:
            self._core_hours[file] = CoreHours(file, self.resources.budget)
        return self._core_hours[file]

    def _made(self, name: str, make: Callable[[], Executor]) -> Executor:
        if name not in self._executors:
            executor = RestartableExecutor(make)
            self._stack.callback(executor.shutdown, wait=True, cancel_futures=True)
            self._executors[name] = executor
        return self._executors[name]


_MACHINE: ContextVar[Machine | None] = ContextVar("machine", default=None)


def machine() -> Machine:
    """Executors of the resources file in use; those of this machine if there is none."""
    return _MACHINE.get() or Machine(Resources(), ExitStack())


@contextmanager
def using_resources(resources: Resources | Path | str | None) -> Iterator[None]:
    """Compute labels with these resources in this block, and close their executors at its end.

    Args:
        resources: Resources, or the path of their file; None leaves those in use.

    Raises:
        ConfigError: If the file is wrong.
        ModuleNotFoundError: If a package that it needs is not installed.
    """
    if resources is None:
        yield
        return
    if not isinstance(resources, Resources):
        resources = load_resources(resources)
    if any(isinstance(one, Parsl) for one in (resources.labels.executor, resources.training.executor)):
        require_parsl()
    with ExitStack() as stack:
        token = _MACHINE.set(Machine(resources, stack))
        stack.callback(_MACHINE.reset, token)
        yield


def _parsl(
    section: Parsl, folder: Path, threads: int, memory: float | None, n_workers: int | None, time_limit: float | None
) -> Callable[[], Executor]:
    """Function that starts Parsl."""
    provider = section.provider
    drain_period = None
    if isinstance(provider, LocalProvider):
        options: dict[str, object] = {**provider.arguments(), "init_blocks": 1}
    else:
        names = {"walltime": None, "cores_per_node": None, "memory_per_node": None}
        options = provider.arguments(*names)
        options |= {"walltime": _clock(provider.walltime), "init_blocks": max(1, provider.min_blocks)}
        cores = getattr(provider, "cores_per_node", None)
        if cores is not None:
            options["cpus_per_node" if provider.kind == "pbs" else "cores_per_node"] = cores
        if isinstance(provider, Slurm) and provider.memory_per_node is not None:
            options["mem_per_node"] = max(1, int(provider.memory_per_node / 2**30))
        # A label that is begun must have the time to end.
        if time_limit is not None and time_limit < provider.walltime:
            drain_period = int(provider.walltime - time_limit)
        else:
            logger.warning(
                "resources: a block lives for %s and a label may take longer: labels that the end of a block cuts off "
                "are computed again; raise walltime, or lower labels.time_limit",
                _clock(provider.walltime),
            )
    return lambda: ParslExecutor(
        provider.kind,
        options,
        folder=folder / PARSL,
        threads=threads,
        memory=memory,
        n_workers=n_workers,
        drain_period=drain_period,
    )


def _clock(seconds: float) -> str:
    """A duration as HH:MM:SS."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"
