"""Course of a training, and the error of one that cannot go on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from sparring.training.adam import MemberState

__all__ = ["FitReport", "TrainingError"]


class TrainingError(RuntimeError):
    """Too few members are left of a committee, or the program that trains one has failed."""


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """Course of a training; curves have one row for each epoch and one column for each member.

    Attributes:
        train_loss: Mean of Eq. 3 over the structures of an epoch, each at the weights before its minibatch.
        validation_loss: Loss after each epoch: the squared mean of the roots of the structures' losses, which single
            outliers do not dominate. A second stage has another loss.
        learning_rate: Learning rate in each epoch.
        best_epoch: Epoch of each member's final weights, counted from 0.
        rolled_back: Members that diverged once, and went on from their best weights at a lower learning rate.
        dropped: Members that diverged twice, and are not in the committee.
    """

    train_loss: Float[np.ndarray, "n_epochs n_members"]
    validation_loss: Float[np.ndarray, "n_epochs n_members"]
    learning_rate: Float[np.ndarray, "n_epochs n_members"]
    best_epoch: Int[np.ndarray, " n_members"]
    rolled_back: tuple[int, ...]
    dropped: tuple[int, ...]

    @classmethod
    def of(
        cls, curves: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], state: MemberState, rows: list[int]
    ) -> "FitReport":
        """The report of some members of a training that has ended.

        Args:
            curves: Training loss, validation loss and learning rate of all members after each epoch.
            state: State of all members.
            rows: The members.
        """
        train, validation, rate = (np.stack(column)[:, rows] for column in zip(*curves, strict=True))
        n_rollbacks = state.n_rollbacks[rows].cpu().numpy()
        return cls(
            train_loss=train,
            validation_loss=validation,
            learning_rate=rate,
            best_epoch=state.best_epoch[rows].cpu().numpy(),
            rolled_back=tuple(np.flatnonzero(n_rollbacks > 0).tolist()),
            dropped=tuple(np.flatnonzero(n_rollbacks > 1).tolist()),
        )

    @classmethod
    def untrained(cls, n_members: int) -> "FitReport":
        """The report of members that are not trained: no epochs."""
        curves = dict.fromkeys(("train_loss", "validation_loss", "learning_rate"), np.zeros((0, n_members)))
        return cls(**curves, best_epoch=np.full(n_members, -1), rolled_back=(), dropped=())

    @classmethod
    def joined(cls, reports: Sequence["FitReport"]) -> "FitReport":
        """The report of the members of several trainings of as many epochs, one after another."""
        first = np.cumsum([0, *(len(report.best_epoch) for report in reports)]).tolist()
        numbered = list(zip(first[:-1], reports, strict=True))
        return cls(
            train_loss=np.concatenate([report.train_loss for report in reports], axis=1),
            validation_loss=np.concatenate([report.validation_loss for report in reports], axis=1),
            learning_rate=np.concatenate([report.learning_rate for report in reports], axis=1),
            best_epoch=np.concatenate([report.best_epoch for report in reports]),
            rolled_back=tuple(start + member for start, report in numbered for member in report.rolled_back),
            dropped=tuple(start + member for start, report in numbered for member in report.dropped),
        )
