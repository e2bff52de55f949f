"""Committees from one backbone, from the section ``committee`` of a configuration."""

import torch

from sparring.assembly.foreign import FitMembers
from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.committee_files import read_committee
from sparring.config import Config, committees
from sparring.potentials import Architecture
from sparring.potentials.foreign.loading import load_potential
from sparring.potentials.heads.backbone import require_backbone
from sparring.potentials.stacking import cast
from sparring.training.heads import fit_heads
from sparring.training.llpr import llpr
from sparring.training.reports import FitReport
from sparring.training.splits import Splits

__all__ = ["backbone", "fitted"]


def fitted(config: Config) -> FitMembers:
    """Heads of the backbone, fitted to the structures outside of the test set in each generation.

    Raises:
        ValueError: If the backbone cannot be loaded, or has no features.
    """
    section = config.committee
    assert isinstance(section, committees.HeadsCommittee)
    loaded = cast(backbone(section.backbone, getattr(torch, config.dtype)), device=config.device)

    def fit_members(dataset: Dataset, splits: Splits, seed: int) -> tuple[Committee, FitReport]:
        labelled = dataset.take(splits.fit)
        if section.uncertainty == "llpr":
            committee = llpr(loaded, labelled, n_members=section.n_members, seed=seed)
        else:
            committee = fit_heads(loaded, labelled, n_members=section.n_members, seed=seed)
        return committee, FitReport.untrained(committee.n_members)

    return fit_members


def backbone(section: committees.Backbone, dtype: torch.dtype | None = None) -> Architecture:
    """The section ``committee.backbone``.

    Args:
        section: Section.
        dtype: Precision of the weights; by default that of the model.

    Raises:
        ValueError: If it cannot be loaded, or has no features of atoms.
    """
    if section.adapter == "sparring":
        saved = read_committee(section.model)
        if section.member >= saved.n_members:
            raise ValueError(
                f"committee.backbone.member: {section.model} has {saved.n_members} members, counted from 0, got "
                f"{section.member}"
            )
        found = cast(saved.members[section.member], dtype=dtype)  # type: ignore[arg-type]
        assert isinstance(found, Architecture)
        if saved.domain is not None:
            found.elements = saved.domain.elements  # it has random features for others
    else:
        found = load_potential(section.adapter, section.model, head=section.head, dtype=dtype)
    require_backbone(found)
    return found
