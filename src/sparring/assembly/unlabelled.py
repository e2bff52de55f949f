"""Runs that end with the structures to be labelled: energies come from the committee, where structures bring none."""

from collections.abc import Callable, Sequence

import torch
from ase import Atoms

from sparring.assembly import foreign, heads
from sparring.committee import Committee
from sparring.config import Config, committees
from sparring.labels import FromCalculator
from sparring.runs.provenance import PREDICTED
from sparring.starting_data.base import Starting
from sparring.systems.base import System
from sparring.systems.own.structures import is_labelled
from sparring.teacher import committee_labeller

__all__ = ["own_labeller", "predicting", "require_all_or_none"]


def own_labeller(config: Config) -> FromCalculator:
    """The potential of the section ``committee`` as labeller: of many models the mean, of heads the backbone.

    Raises:
        ValueError: If a model cannot be loaded.
    """
    section, dtype = config.committee, getattr(torch, config.dtype)
    if isinstance(section, committees.HeadsCommittee):
        models = [heads.backbone(section.backbone, dtype)]
    else:
        assert isinstance(section, committees.ForeignCommittee)
        models = foreign.members(section, dtype)
    return committee_labeller(Committee(models).to(device=config.device))


def predicting(system: System, start: Callable[[], Starting]) -> Callable[[], Starting]:
    """Starting data whose labels are all of the file, or all of the committee; the latter are marked as predicted.

    Raises:
        ValueError: If some structures have labels and others have none.
    """

    def marked() -> Starting:
        n_labelled = require_all_or_none(system.structures(), system)
        starting = start()
        return starting if n_labelled else starting._replace(atoms=[_predicted(one) for one in starting.atoms])

    return marked


def require_all_or_none(structures: Sequence[Atoms], system: System) -> int:
    """Number of structures with labels, all or none of them: energies of two methods have no common zero.

    Raises:
        ValueError: If some structures have labels and others have none.
    """
    n_labelled = sum(map(is_labelled, structures))
    if 0 < n_labelled < len(structures):
        raise ValueError(
            f"{system.file or system.name}: {n_labelled} of {len(structures)} structures have labels. Without a "
            "labeller the others would get energies of the committee, with another zero: label all of them, or none "
            "(system.relabel: true leaves the labels aside)"
        )
    return n_labelled


def _predicted(atoms: Atoms) -> Atoms:
    marked: Atoms = atoms.copy()
    marked.info[PREDICTED] = True
    return marked
