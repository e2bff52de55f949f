"""Checkpoints within a training: it goes on from the newest one and ends with the same bits as an unbroken one.

A checkpoint is one file of safetensors with all that changes between minibatches: weights, moments, averages and best
weights of all members, their learning rates and counters, and the curves so far. Random numbers have no state: the
order of each epoch is drawn from the seed and the number of the epoch. The header has the SHA-256 of the content, and
that of everything else that the training depends on, so that a damaged file or one of another training is not used.
"""

import hashlib
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.support.faults import fault_point
from sparring.support.files import write_bytes
from sparring.support.stopping import Postponed
from sparring.training.adam import MemberState
from sparring.training.trainer import Trainer

__all__ = ["Checkpoints", "Course", "Keeper", "checkpoints_of"]

logger = logging.getLogger(__name__)

NAME = re.compile(r"training-(\d+)\.safetensors")
N_KEPT = 2
"""Number of checkpoints that are kept: the newest might be damaged."""


class Course(NamedTuple):
    """A training between two minibatches.

    Attributes:
        state: State of all members.
        epoch: Epoch that is under way, counted from 0; the number of all epochs once there is nothing left to do.
        n_batches: Number of its minibatches that are done.
        losses: Training loss of each member in these minibatches, as a part of that of the epoch.
        curves: Training loss, validation loss and learning rate of all members after each finished epoch.
    """

    state: MemberState
    epoch: int
    n_batches: int
    losses: Float[Tensor, " n_members"]
    curves: list[tuple[np.ndarray, np.ndarray, np.ndarray]]

    @classmethod
    def begin(cls, state: MemberState) -> "Course":
        """A training of which nothing is done."""
        return cls(state, 0, 0, torch.zeros_like(state.learning_rate), [])


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one training.

    Attributes:
        folder: Folder of the files, made when the first one is written.
        fingerprint: SHA-256 of all that the training depends on.
        interval: Time between two checkpoints, in seconds.
    """

    folder: Path
    fingerprint: str
    interval: float = 600.0

    def files(self) -> list[Path]:
        """The files in the folder, the oldest first."""
        if not self.folder.is_dir():
            return []
        found = [(int(match[1]), file) for file in self.folder.iterdir() if (match := NAME.fullmatch(file.name))]
        return [file for _, file in sorted(found)]

    def write(self, course: Course) -> Path:
        """Write a checkpoint, then remove all but the newest two.

        Raises:
            OSError: If it cannot be written; the others are as they were.
        """
        known = self.files()
        number = 1 + max((int(NAME.fullmatch(file.name)[1]) for file in known), default=0)  # type: ignore[index]
        tensors = {f"state.{name}": value for name, value in course.state._asdict().items() if value is not None}
        tensors["losses"] = course.losses
        if course.curves:
            tensors["curves"] = torch.from_numpy(np.stack([np.stack(columns) for columns in course.curves]))
        tensors = {name: _own(value) for name, value in tensors.items()}
        about = json.dumps(
            {"fingerprint": self.fingerprint, "epoch": course.epoch, "n_batches": course.n_batches}, sort_keys=True
        )
        header = {"about": about, "sha256": _content(about, tensors)}
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"training-{number:06d}.safetensors"
        with fault_point("checkpoint", file):
            write_bytes(file, safetensors.torch.save(tensors, metadata=header))
        for old in known[: max(0, len(known) + 1 - N_KEPT)]:
            old.unlink(missing_ok=True)
        return file

    def newest(self, device: torch.device | str) -> Course | None:
        """The training as the newest sound checkpoint has it; None if there is none of this training.

        Args:
            device: Device of the state.
        """
        for file in reversed(self.files()):
            try:
                about, course = _read(file, device)
            except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
                logger.warning("%s is damaged and is not used (%s)", file, error)
                continue
            if about["fingerprint"] != self.fingerprint:
                logger.warning(
                    "%s is of a training with another configuration, other data or another seed; it is not used", file
                )
                continue
            logger.warning("training goes on from %s, in epoch %d", file, course.epoch + 1)
            return course
        return None


class Keeper:
    """Writes checkpoints of a training that goes on: now and then, and when a signal asks to stop.

    Args:
        checkpoints: Checkpoints of the training; None to keep none.
        stop: Stops that wait until the training can be stopped.
        course: The training as it is now.
    """

    def __init__(self, checkpoints: Checkpoints | None, stop: Postponed, course: Course) -> None:
        self._checkpoints, self._stop = checkpoints, stop
        self._course = self._written = course
        self._last = time.monotonic()

    def reached(self, course: Course) -> None:
        """Note how far the training has come; write that if it is time to.

        Raises:
            Stopped: If a signal has come, after the checkpoint was written.
        """
        self._course = course
        self.check()

    def check(self) -> None:
        """Write a checkpoint if it is time to, or if a signal has come.

        Raises:
            Stopped: If a signal has come.
        """
        if self._checkpoints is None:
            return
        if self._stop.requested is not None or time.monotonic() - self._last >= self._checkpoints.interval:
            self.write()
        self._stop.raise_if_requested()

    def write(self) -> None:
        """Write a checkpoint of what was noted last, unless that is done."""
        if self._checkpoints is not None and self._course is not self._written:
            self._checkpoints.write(self._course)
            self._written = self._course
        self._last = time.monotonic()


def checkpoints_of(
    folder: Path | str | None, interval: float, trainer: Trainer, state: MemberState, schedule: object
) -> Checkpoints | None:
    """The checkpoints of a training in a folder; None without a folder.

    Args:
        folder: Folder of the checkpoints.
        interval: Time between two checkpoints, in seconds.
        trainer: Trainer before the first epoch, with its data, members and weights of the loss.
        state: State before the first epoch.
        schedule: Numbers of epochs, and changes of learning rates.

    Raises:
        ValueError: If the interval is negative.
    """
    if not interval >= 0:
        raise ValueError(f"checkpoint_interval must be a number of seconds from 0 on, got {interval}")
    if folder is None:
        return None
    seen = hashlib.sha256()
    for part in _parts((trainer, state, schedule, state.weights.device.type)):
        seen.update(len(part).to_bytes(8, "big") + part)
    return Checkpoints(folder=Path(folder), fingerprint=seen.hexdigest(), interval=interval)


def _parts(value: object) -> Iterator[bytes]:
    """All that a value consists of, as bytes; caches do not count, and neither do weights that are drawn anew."""
    if isinstance(value, Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        yield value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    elif isinstance(value, nn.Module):
        yield f"{type(value).__module__}.{type(value).__qualname__}".encode()
        yield from _parts(getattr(value, "hyperparameters", None))
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            if not field.name.startswith("_"):
                yield field.name.encode()
                yield from _parts(getattr(value, field.name))
        modules = getattr(value, "modules", None)
        for module in modules or ():
            yield from _parts(dict(module.state_dict()))
        if modules == ():
            yield from _parts(dict(value.architecture.named_buffers()))  # type: ignore[attr-defined]
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield str(name).encode()
            yield from _parts(one)
    elif isinstance(value, tuple | list):
        yield str(len(value)).encode()
        for one in value:
            yield from _parts(one)
    else:
        yield repr(value).encode()


def _own(value: Tensor) -> Tensor:
    """A copy in main memory that shares nothing with other tensors."""
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def _content(about: str, tensors: Mapping[str, Tensor]) -> str:
    seen = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        for part in (name.encode(), *_parts(tensors[name])):
            seen.update(len(part).to_bytes(8, "big") + part)
    return seen.hexdigest()


def _read(file: Path, device: torch.device | str) -> tuple[dict[str, object], Course]:
    with safetensors.safe_open(file, framework="pt") as opened:
        header = opened.metadata() or {}
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
    if _content(header["about"], tensors) != header["sha256"]:
        raise ValueError("it does not agree with its own checksum")
    about = json.loads(header["about"])
    on_device = {name: value.to(device) for name, value in tensors.items()}
    state = MemberState(**{name: on_device.get(f"state.{name}") for name in MemberState._fields})  # type: ignore[arg-type]
    curves = [tuple(columns) for columns in tensors["curves"].numpy()] if "curves" in tensors else []
    return about, Course(state, about["epoch"], about["n_batches"], on_device["losses"], curves)
