"""A resources file: the machines that compute labels, apart from the configuration, which is the science.

It may change at any resume, and no result depends on it. Unlike a configuration it holds commands and options of a
batch system, so that it has to be the user's own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, model_validator

from sparring.config.labellers import Duration, in_units
from sparring.config.problems import ConfigError, dotted, explain
from sparring.config.reading import read
from sparring.schema.base import Section
from sparring.schema.values import Count, Integer, Memory

__all__ = ["LocalExecutor", "Parsl", "Resources", "load_resources"]

AtLeastNone = Annotated[Integer, Field(ge=0, le=10_000)]
Few = Annotated[Count, Field(le=10_000)]


def _kind(value: object) -> object:
    """A section of which only the kind is written."""
    return {"kind": value} if isinstance(value, str) else value


def _core_hours(value: object) -> float:
    units = dict.fromkeys(("core hour", "core hours", "core-hour", "core-hours"), 1.0)
    return in_units(value, units, "core hours such as '500 core hours'")


CoreHours = Annotated[
    float,
    Field(gt=0, le=1e9, allow_inf_nan=False),
    BeforeValidator(_core_hours),
    PlainSerializer(lambda hours: f"{hours!r} core hours", when_used="json"),
]


class LocalExecutor(Section):
    """Processes of this machine."""

    kind: Literal["local"] = "local"


class _Blocks(Section):
    """Jobs of a batch system, each a block of nodes.

    Attributes:
        walltime: Time after which the batch system ends a block.
        min_blocks: Number of blocks that stay when there is nothing to do.
        max_blocks: Largest number of blocks at once.
        scheduler_options: Further lines for the batch system, such as ``#SBATCH --gres=...``.
        worker_init: Commands that a block runs first, such as ``module load orca``.
    """

    walltime: Duration = 3600.0
    min_blocks: AtLeastNone = 0
    max_blocks: Few = 1
    scheduler_options: str = ""
    worker_init: str = ""


class LocalProvider(Section):
    """Blocks on this machine, to try Parsl without a batch system."""

    kind: Literal["local"] = "local"
    max_blocks: Few = 1
    worker_init: str = ""


class Slurm(_Blocks):
    """SLURM."""

    kind: Literal["slurm"]
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    nodes_per_block: Few = 1
    cores_per_node: Few | None = None
    memory_per_node: Memory | None = None
    exclusive: bool = False

    @model_validator(mode="after")
    def _cores_are_known(self) -> "Slurm":
        if self.cores_per_node is None and not self.exclusive:
            raise ValueError("needs cores_per_node, or `exclusive: true` for whole nodes")
        return self


class PBS(_Blocks):
    """PBS Professional."""

    kind: Literal["pbs"]
    account: str | None = None
    queue: str | None = None
    select_options: str = ""
    cores_per_node: Few


class LSF(_Blocks):
    """LSF."""

    kind: Literal["lsf"]
    project: str | None = None
    queue: str | None = None
    cores_per_node: Few


class GridEngine(_Blocks):
    """Grid Engine."""

    kind: Literal["grid_engine"]
    queue: str | None = None


class Parsl(Section):
    """Parsl's HighThroughputExecutor; needs the extra ``cluster``."""

    kind: Literal["parsl"]
    provider: Annotated[
        Annotated[LocalProvider | Slurm | PBS | LSF | GridEngine, Field(discriminator="kind")], BeforeValidator(_kind)
    ]


AnyExecutor = Annotated[Annotated[LocalExecutor | Parsl, Field(discriminator="kind")], BeforeValidator(_kind)]


class LabelResources(Section):
    """Executor of labels.

    Attributes:
        executor: Executor of labels.
        n_workers: Labels at once, on this machine or on each node; as many as there is room for by default.
        threads: Threads of a label.
        memory: Memory of a label, above which it is ended.
    """

    executor: AnyExecutor = LocalExecutor()
    n_workers: Annotated[Count, Field(le=1024)] | None = None
    threads: Annotated[Count, Field(le=1024)] = 1
    memory: Memory | None = None


class TrainingResources(Section):
    """Executor of members that a command trains (``training: {kind: command}``); others are trained all at once.

    Attributes:
        executor: Executor of members.
        n_workers: Members at once, on this machine or on each node.
        threads: Cores of a member on a cluster.
    """

    executor: AnyExecutor = LocalExecutor()
    n_workers: Annotated[Count, Field(le=100)] = 1
    threads: Annotated[Count, Field(le=1024)] = 1


class Resources(Section):
    """All of a resources file.

    Attributes:
        labels: Executor of labels.
        training: Executor of members.
        budget: Core hours of labels after which the run stops; None for no bound.
    """

    labels: LabelResources = LabelResources()
    training: TrainingResources = TrainingResources()
    budget: CoreHours | None = None


def load_resources(path: str | Path) -> Resources:
    """Read a resources file.

    Raises:
        ConfigError: With all that is wrong, one line a problem.
    """
    path = Path(path)
    document = read(path)
    if isinstance(document.data.get("system"), Mapping):
        raise ConfigError([f"{path}: this is the configuration of a run; give a resources file (docs/cluster.md)"])
    try:
        return Resources.model_validate(document.data)
    except ValidationError as error:
        lines = []
        for key, problem in explain(error, Resources):
            known = (document.places.get(key[:length]) for length in range(len(key), 0, -1))
            head = next((place for place in known if place), f"{path}: ")
            lines.append(f"{head}{dotted(key)}: {problem.removesuffix(', presets')}")
        raise ConfigError(lines) from None
