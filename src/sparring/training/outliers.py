"""Structures that dominate the loss; their labels are the first to check where training diverges or stalls."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.dataset import Dataset
from sparring.starting_data.base import described
from sparring.training.loss import Loss
from sparring.training.minibatches import Rows
from sparring.training.trainer import Member

__all__ = ["largest_losses", "losses_before_training", "warn_of_few"]

logger = logging.getLogger(__name__)

SHOWN = 3
MOST = 0.9
"""A share of the whole loss that a few structures should not have."""
FEWEST = 20
"""Least number of structures for the check; of fewer, each may have much of the loss."""
FEW = 0.02
"""A share of the structures that is few."""


def losses_before_training(
    loss: Loss, weights: Tensor, members: Sequence[Member], batch_size: int
) -> Float[np.ndarray, " n_structures"]:
    """The loss of each structure that is trained on (Eq. 3, in eV²), mean over members; zero for the test set.

    Args:
        loss: Loss with reference energies that fit the weights.
        weights: Weights of all members, one row for each.
        members: Members with their training and validation sets.
        batch_size: Number of structures in a minibatch.
    """
    # A copy with caches of its own, which do not change how training goes on.
    loss, sizes = replace(loss), Counter(member.committee for member in members)
    rows = Rows.of([[*member.train, *member.validation] for member in members], loss.data.energy.device)
    n_members = np.array([sizes[member.committee] for member in members])[:, None]
    found, first = np.zeros(loss.data.structures.n_structures), 0
    for chosen in rows.indices.split(4 * batch_size, dim=1):
        losses = loss.losses_of(weights, chosen).double().cpu().numpy()
        padding = np.arange(first, first + chosen.shape[1]) >= np.array(rows.sizes)[:, None]
        np.add.at(found, chosen.cpu().numpy(), np.where(padding, 0.0, losses / n_members))
        first += chosen.shape[1]
    return np.where(np.isnan(found), np.inf, found)


def warn_of_few(losses: Float[np.ndarray, " n_structures"], dataset: Dataset) -> None:
    """Log which structures have nearly all of the loss, if a few have."""
    n_few = max(1, int(FEW * len(losses)))
    share = _shares(losses)[np.argsort(-losses, kind="stable")[:n_few]].sum()
    if len(losses) >= FEWEST and share > MOST:
        logger.warning(
            "%.0f %% of the loss before training is that of %d of %d structures: %s; look at their labels",
            *(100 * share, n_few, len(losses), largest_losses(losses, dataset, n_few)),
        )


def largest_losses(losses: Float[np.ndarray, " n_structures"], dataset: Dataset, n_shown: int = SHOWN) -> str:
    """The structures of largest loss in words: index, formula, origin, generation and share of the whole loss."""
    structures, shares, parts = dataset.structures, _shares(losses), []
    for index in np.argsort(-losses, kind="stable")[: min(n_shown, SHOWN)].tolist():
        info = dataset.info[index]
        formula = structures.take([index]).to_atoms()[0].get_chemical_formula()
        generation = f", generation {info['generation']}" if "generation" in info else ""
        parts.append(f"structure {index} ({formula}, {described(info)}{generation}: {100 * shares[index]:.0f} %)")
    return ", ".join(parts)


def _shares(losses: Float[np.ndarray, " n_structures"]) -> Float[np.ndarray, " n_structures"]:
    infinite = np.isinf(losses)
    weights = np.where(infinite, 1.0, 0.0) if infinite.any() else losses
    return np.asarray(weights / max(float(weights.sum()), 1e-300))
