"""Structures of an earlier training, mixed into the training sets of a fine-tuning."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.dataset import Dataset
from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.potentials import Architecture
from sparring.potentials.base import N_ELEMENTS
from sparring.potentials.stacking import cast
from sparring.training.references import reference_energies
from sparring.training.splits import Splits

__all__ = ["aligned_replay", "with_replay"]

AT_ONCE = 32
"""Number of structures whose energies are computed at a time."""


def with_replay(dataset: Dataset, splits: Splits, replay: Dataset) -> tuple[Dataset, Splits]:
    """The data set with the structures of a replay behind its own, which every member trains on.

    They are in no validation set, so the best epoch is that of the new labels.

    Args:
        dataset: Labelled structures.
        splits: Training and validation sets of the members.
        replay: Labelled structures of the earlier training.
    """
    more = tuple(range(len(dataset), len(dataset) + len(replay)))
    return dataset + replay, replace(splits, train=tuple((*ids, *more) for ids in splits.train))


def aligned_replay(replay: Dataset, dataset: Dataset, module: Architecture | None) -> Dataset:
    r"""The replay with energies whose zero is that of the new labels.

    Labels of two methods differ by a sum over atoms, among other things. Energies of elements

    .. math:: \min_{s} \sum_k \Big( E(k) - E_m(k) - \sum_Z n_Z(k) s_Z \Big)^2

    are fitted to each of the two sets, and their difference is added to the energies of the replay. Elements that the
    new labels do not have keep theirs.

    Args:
        replay: Labelled structures of the earlier training.
        dataset: New labels.
        module: Module m that training starts from; None for energies of zero.
    """
    of_replay, of_new = (
        reference_energies(data.structures, data.energy - _energies(module, data.structures), data.has_energy.double())
        for data in (replay, dataset)
    )
    present = torch.zeros(N_ELEMENTS, dtype=torch.bool)
    present[dataset.structures.atomic_numbers.unique()] = True
    shift = torch.where(present, of_new - of_replay, 0.0)
    structures = replay.structures
    energy = replay.energy.index_add(0, structures.structure_index, shift[structures.atomic_numbers])
    return replace(replay, energy=energy, info=tuple({**info, "source": "replay"} for info in replay.info))


def _energies(module: Architecture | None, structures: Structures) -> Float[Tensor, " n_structures"]:
    """Energies of a module in double precision, without a graph."""
    if module is None:
        return torch.zeros(structures.n_structures, dtype=torch.float64)
    double = cast(module, dtype=torch.float64, device="cpu").eval()
    parts: list[Tensor] = []
    for indices in torch.arange(structures.n_structures).split(AT_ONCE):
        some: Sequence[int] = indices.tolist()
        batch = structures.take(some)
        with torch.no_grad():
            parts.append(double(batch if module.cutoff is None else with_edges(batch, module.cutoff)).double())
    return torch.cat(parts)
