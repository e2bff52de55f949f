"""Number of cores that this process may use, which on a shared machine are only some of its cores.

A shared machine has many cores and a job is given a few of them, in one of several ways: by the affinity of its
processes (``taskset``, Slurm's plugin), by a quota of its control group (containers, Kubernetes) or by variables that
the queue sets in the environment. All of them count, and the smallest wins. ``OMP_NUM_THREADS`` does not: it is
the number of threads of one process, and labels are computed by several processes of one thread each.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["Cores", "available_cores", "cores"]

GRANTED = (
    ("SLURM_JOB_ID", ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")),
    ("PBS_JOBID", ("NCPUS", "PBS_NUM_PPN")),
    ("LSB_JOBID", ("LSB_DJOB_NUMPROC",)),
    ("SGE_ROOT", ("NSLOTS",)),
)
"""Variable that a queue sets in its jobs, and variables with the number of cores; the first that is set counts."""


class Cores(NamedTuple):
    """The cores of this process.

    Attributes:
        n: Number of cores, at least 1.
        limited_by: Description of the limit.
    """

    n: int
    limited_by: str


def available_cores() -> int:
    """Number of cores that this process may use, at least 1."""
    return cores().n


def cores(environment: Mapping[str, str] | None = None, root: Path = Path("/")) -> Cores:
    """The cores that this process may use, and what limits them.

    Args:
        environment: Environment variables; those of this process by default.
        root: Folder that holds ``proc`` and ``sys``.
    """
    limits = [
        Cores(_affinity(), "the machine and the affinity of this process"),
        *_quotas(root),
        *_granted(os.environ if environment is None else environment),
    ]
    return min(limits, key=lambda limit: limit.n)


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _granted(environment: Mapping[str, str]) -> Iterator[Cores]:
    for job, names in GRANTED:
        if job not in environment:
            continue
        for name in names:
            value = environment.get(name, "")
            if value.isascii() and value.isdigit() and int(value) > 0:
                yield Cores(int(value), f"{name}={value}")
                break


def _quotas(root: Path) -> Iterator[Cores]:
    """Quotas of the control group of this process and of those that it is in, versions 2 and 1."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if number == "0" and not controllers:
            mounts = [root / "sys/fs/cgroup"]
        elif "cpu" in controllers.split(","):
            mounts = [root / "sys/fs/cgroup" / mount for mount in ("cpu", controllers)]
        else:
            continue
        for mount in dict.fromkeys(mounts):
            group = mount / name.strip("/")
            for folder in (group, *group.parents):
                quota = _quota(folder)
                if quota is not None:
                    yield Cores(max(1, int(quota)), f"the quota of {quota:g} cores in {folder}")
                if folder == mount:
                    break


def _quota(folder: Path) -> float | None:
    words = _text(folder / "cpu.max").split() or [
        *_text(folder / "cpu.cfs_quota_us").split(),
        *_text(folder / "cpu.cfs_period_us").split(),
    ]
    # Without a quota, version 2 says "max" and version 1 says -1.
    if len(words) != 2 or not all(word.isdigit() and int(word) for word in words):
        return None
    return int(words[0]) / int(words[1])


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
