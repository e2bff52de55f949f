"""Committees of models of other packages, from the section ``committee`` of a configuration."""

from collections.abc import Callable

import numpy as np
import torch

from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.config import Config, sections
from sparring.plausibility.model_units import require_units
from sparring.potentials import Architecture
from sparring.potentials.foreign.alignment import align_energies
from sparring.potentials.foreign.loading import load_potentials
from sparring.training.fitting import FitReport
from sparring.training.splits import Splits

__all__ = ["FitMembers", "loaded", "members"]

FitMembers = Callable[[Dataset, Splits, int], tuple[Committee, FitReport]]
"""Function from data, splits and a seed to a committee and an account of its training."""


def loaded(config: Config) -> FitMembers:
    """Models of another package as they are, except that their zeros of energy are aligned.

    Raises:
        ValueError: If one cannot be loaded.
    """
    models = members(config.committee, getattr(torch, config.dtype))

    def load_members(dataset: Dataset, splits: Splits, seed: int) -> tuple[Committee, FitReport]:
        require_units(
            Committee(models), dataset, lambda index: f"model {index} ({config.committee.potential.models[index]})"
        )
        committee = Committee(align_energies(models, dataset.to_atoms())).to(device=config.device)
        curves = dict.fromkeys(("train_loss", "validation_loss", "learning_rate"), np.zeros((0, committee.n_members)))
        no_epoch = np.full(committee.n_members, -1)
        return committee, FitReport(**curves, best_epoch=no_epoch, rolled_back=(), dropped=())

    return load_members


def members(
    section: sections.Committee | sections.ForeignCommittee, dtype: torch.dtype | None = None
) -> list[Architecture]:
    """The models of the section ``committee``.

    Args:
        section: Section of the kind "foreign".
        dtype: Precision of the weights; by default that of the models.

    Raises:
        ValueError: If one cannot be loaded, or they do not go together.
    """
    assert isinstance(section, sections.ForeignCommittee)
    return load_potentials(section.adapter, section.models, head=section.head, dtype=dtype)
