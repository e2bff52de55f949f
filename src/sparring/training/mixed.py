"""Training of committees whose members are of several architectures."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.potentials import Architecture
from sparring.support.seeds import derive
from sparring.training.fitting import fit
from sparring.training.jobs import check_sizes, domain_of, drawn_splits
from sparring.training.reports import FitReport
from sparring.training.splits import Splits

__all__ = ["fit_mixed"]


def fit_mixed(
    architectures: Sequence[Architecture],
    dataset: Dataset,
    *,
    seed: int,
    n_members: int = 6,
    splits: Splits | None = None,
    checkpoint: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
    **training: object,
) -> tuple[Committee, FitReport]:
    """Train a committee with members of several architectures, which do not share their inductive bias.

    Members of each architecture train together, as by :func:`sparring.fit`, and are evaluated in one pass.

    Args:
        architectures: Architectures. Members are dealt out in equal shares, those of the first architecture first.
        dataset: Labelled structures.
        seed: Seed of the weights and of the order of the minibatches.
        n_members: Size of the committee, unless ``splits`` gives it.
        splits: Training and validation set of each member; by default 60:20:20 with a common test set.
        checkpoint: Folder for checkpoints of each architecture, as in :func:`sparring.fit`; None for none.
        progress: Function that is called with the number of epochs done and their total.
        training: Further arguments of :func:`sparring.fit`, the same for all architectures.

    Returns:
        The committee, and the course of its training with the members in the same order.

    Raises:
        ValueError: If there are fewer members than architectures, or :func:`sparring.fit` would refuse one.
        TrainingError: If fewer than two members of an architecture are left.
    """
    splits = drawn_splits(dataset, n_members, seed) if splits is None else splits
    check_sizes(splits, len(dataset))
    n_kinds = len(architectures)
    if not 1 <= n_kinds <= splits.n_members:
        raise ValueError(
            f"each architecture needs a member, got {n_kinds} architectures for {splits.n_members} members; raise "
            "n_members, or leave architectures out"
        )
    members: list[Architecture] = []
    reports: list[FitReport] = []
    for index, numbers in enumerate(np.array_split(np.arange(splits.n_members), n_kinds)):
        committee, report = fit(
            architectures[index],
            dataset,
            seed=derive(seed, "architecture", index),
            splits=splits.of_members(slice(int(numbers[0]), int(numbers[-1]) + 1)),
            checkpoint=None if checkpoint is None else Path(checkpoint) / f"architecture-{index + 1:02d}",
            progress=progress and _in_part(progress, index, n_kinds),
            **training,  # type: ignore[arg-type]
        )
        members += committee.members  # type: ignore[arg-type]  # fit makes architectures
        reports.append(report)
    return Committee(members).with_domain(domain_of(dataset, splits)), FitReport.joined(reports)


def _in_part(progress: Callable[[int, int], None], index: int, n_parts: int) -> Callable[[int, int], None]:
    return lambda done, total: progress(index * total + done, n_parts * total)
