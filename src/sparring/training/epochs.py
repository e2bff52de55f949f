"""The epochs of a training, which may be interrupted between any two minibatches."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from sparring.support.stopping import Postponed, stops_postponed
from sparring.training.adam import MemberState
from sparring.training.checkpoints import Checkpoints, Course, Keeper
from sparring.training.jobs import Job
from sparring.training.outliers import largest_losses
from sparring.training.reports import TrainingError
from sparring.training.trainer import Member, SecondStage, Trainer

__all__ = ["Schedule", "require_two_members", "run_epochs"]


class Schedule(NamedTuple):
    """Numbers of epochs, and changes of learning rates.

    Attributes:
        n_epochs: Number of epochs of the first stage.
        second_stage: Second stage of training; None for one stage.
        patience: Number of epochs without improvement before a learning rate is reduced; None for constant rates.
        factor: Factor of a learning rate at each reduction.
    """

    n_epochs: int
    second_stage: SecondStage | None
    patience: int | None
    factor: float

    @property
    def total(self) -> int:
        """Number of epochs of both stages."""
        return self.n_epochs + (self.second_stage.n_epochs if self.second_stage else 0)


def run_epochs(
    trainer: Trainer,
    state: MemberState,
    schedule: Schedule,
    *,
    require_members: Callable[[MemberState, int], None],
    progress: Callable[[int, int], None] | None,
    checkpoints: Checkpoints | None,
) -> tuple[Trainer, MemberState, list[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """Train for all epochs, from the newest checkpoint on if there is one.

    Args:
        trainer: Trainer of all members.
        state: State before the first epoch.
        schedule: Numbers of epochs, and changes of learning rates.
        require_members: Check after each epoch, given the state and the number of the epoch.
        progress: Function that is called with the number of epochs done and their total.
        checkpoints: Checkpoints of this training; None to keep none.

    Returns:
        The trainer of the last stage, the state after the last epoch, and the curves of all members.

    Raises:
        Stopped: If a signal has come; the last checkpoint has all minibatches that were done.
    """
    course = (None if checkpoints is None else checkpoints.newest(state.weights.device)) or Course.begin(state)
    state, curves = course.state, course.curves
    n_epochs, second_stage, patience, factor = schedule
    with stops_postponed() if checkpoints else nullcontext(Postponed(None)) as stop:
        keeper = Keeper(checkpoints, stop, course)
        for epoch in range(course.epoch, schedule.total):
            begun = course if epoch == course.epoch else Course.begin(state)
            if second_stage and epoch == max(n_epochs, course.epoch):
                trainer, entered = trainer.in_stage(second_stage, state)
                state = entered if epoch == n_epochs and not begun.n_batches else state
            rates = state.learning_rate.cpu().numpy()
            noting = partial(_note, keeper, epoch, curves)
            state, train_loss = trainer.epoch(state, epoch, begun.n_batches, begun.losses, noting)
            state, validation_loss = trainer.validate_and_adjust(state, epoch, patience, factor, keeper.check)
            curves = [*curves, (train_loss.cpu().numpy(), validation_loss.cpu().numpy(), rates)]
            require_members(state, epoch)
            if progress:
                progress(epoch + 1, schedule.total)
            keeper.reached(Course.begin(state)._replace(epoch=epoch + 1, curves=curves))
        keeper.write()
    return trainer, state, curves


def _note(
    keeper: Keeper,
    epoch: int,
    curves: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    state: MemberState,
    n_batches: int,
    losses: Float[Tensor, " n_members"],
) -> None:
    keeper.reached(Course(state, epoch, n_batches, losses, curves))


def require_two_members(
    jobs: Sequence[Job],
    members: Sequence[Member],
    state: MemberState,
    epoch: int,
    learning_rate: float,
    before: Float[np.ndarray, " n_structures"],
) -> None:
    """Check that every committee has two members that learn.

    Args:
        jobs: Committees.
        members: Members of all committees.
        state: State after an epoch.
        epoch: Number of the epoch, from 0.
        learning_rate: Learning rate to begin with, for the message.
        before: Loss of each structure before training, for the message.

    Raises:
        TrainingError: If one has fewer.
    """
    dropped = (state.n_rollbacks > 1).tolist()
    for index, job in enumerate(jobs):
        of_job = [gone for gone, member in zip(dropped, members, strict=True) if member.committee == index]
        if sum(of_job) > len(of_job) - min(2, len(of_job)):
            raise TrainingError(
                f"{sum(of_job)} of {len(of_job)} members diverged twice by epoch {epoch + 1}, which leaves fewer "
                f"than two; lower learning_rate (now {learning_rate:g}) or look for wrong labels in the data set; "
                f"most of the loss before training was that of {largest_losses(job.part_of(before), job.dataset)}"
            )
