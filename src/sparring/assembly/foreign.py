"""Committees of models of other packages, from the section ``committee`` of a configuration."""

from collections.abc import Callable

import numpy as np
import torch

from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.config import Config, sections
from sparring.potentials import Architecture
from sparring.potentials.foreign.alignment import align_energies
from sparring.potentials.foreign.loading import load_potentials
from sparring.training.fitting import FitReport
from sparring.training.splits import Splits

__all__ = ["FitMembers", "loaded", "members", "no_training"]

FitMembers = Callable[[Dataset, Splits, int], tuple[Committee, FitReport]]
"""Function from data, splits and a seed to a committee and an account of its training."""


def loaded(config: Config) -> FitMembers:
    """Models of another package as they are, except that their zeros of energy are aligned.

    Raises:
        ValueError: If one cannot be loaded.
    """
    models = members(config.committee, getattr(torch, config.dtype))

    def load_members(dataset: Dataset, splits: Splits, seed: int) -> tuple[Committee, FitReport]:
        committee = Committee(align_energies(models, dataset.to_atoms())).to(device=config.device)
        return committee, no_training(committee.n_members)

    return load_members


def no_training(n_members: int) -> FitReport:
    """The account of a training without epochs."""
    curves = dict.fromkeys(("train_loss", "validation_loss", "learning_rate"), np.zeros((0, n_members)))
    return FitReport(**curves, best_epoch=np.full(n_members, -1), rolled_back=(), dropped=())


def members(
    section: sections.Committee | sections.ForeignCommittee | sections.HeadsCommittee, dtype: torch.dtype | None = None
) -> list[Architecture]:
    """The models of the section ``committee``.

    Args:
        section: Section of the kind "foreign".
        dtype: Precision of the weights; by default that of the models.

    Raises:
        ValueError: If one cannot be loaded, or they do not go together.
    """
    assert isinstance(section, sections.ForeignCommittee)
    options = {"trust_pickle": section.trust_pickle, "head": section.head, "dtype": dtype}
    return load_potentials(section.adapter, section.models, **options)  # type: ignore[arg-type]
