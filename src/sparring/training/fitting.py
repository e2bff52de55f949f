"""Training a committee: all members at once, each on its own minibatches (Eq. 2, with Adam)."""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase.data import chemical_symbols
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.dataset import Dataset
from sparring.atoms.duplicates import duplicate_groups
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.domain import TrainingDomain
from sparring.potentials import Architecture
from sparring.potentials.base import N_ELEMENTS
from sparring.potentials.stacking import stacked_energies, unstack
from sparring.starting_data.screening import tell_states
from sparring.support.devices import require_device
from sparring.support.seeds import derive
from sparring.training.adam import MemberState, adam
from sparring.training.loss import Loss, low_energy_weights
from sparring.training.minibatches import PackedDataset
from sparring.training.outliers import largest_losses, losses_before_training, warn_of_few
from sparring.training.splits import Splits

__all__ = ["FitReport", "TrainingError", "fit", "reference_energies"]

logger = logging.getLogger(__name__)

DIVERGENCE_FACTOR = 1e4
"""Ratio of a validation loss to the first one from which it counts as divergence."""


class TrainingError(RuntimeError):
    """Too few members are left of a committee."""


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """Course of a training; curves have one row for each epoch and one column for each member.

    Attributes:
        train_loss: Mean of Eq. 3 over the structures of an epoch, each at the weights before its minibatch.
        validation_loss: Loss after each epoch: the squared mean of the roots of the structures' losses, which single
            outliers do not dominate.
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


def fit(
    architecture: Architecture,
    dataset: Dataset,
    *,
    seed: int,
    n_members: int = 5,
    splits: Splits | None = None,
    n_epochs: int = 500,
    batch_size: int = 30,
    learning_rate: float = 3e-4,
    energy_weight: float = 0.1,
    force_weight: float = 1.0,
    energy_scale: float | None = None,
    patience: int | None = 30,
    factor: float = 0.5,
    ema_decay: float | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Committee, FitReport]:
    """Train a committee.

    Every member keeps the weights of the epoch in which its validation loss was lowest. A member whose loss diverges
    goes back to its best weights and on at a tenth of its learning rate, once; if it diverges again it is dropped.

    The committee refuses elements and charges that it was not trained on, see :class:`sparring.TrainingDomain`.

    Args:
        architecture: Architecture of the members; their weights are drawn anew.
        dataset: Labelled structures.
        seed: Seed of the weights and of the order of the minibatches.
        n_members: Size of the committee, unless ``splits`` gives it.
        splits: Training and validation set of each member; by default 60:20:20 with a common test set.
        n_epochs: Number of passes over the training set.
        batch_size: Number of structures in a minibatch; the last one of an epoch may be smaller.
        learning_rate: Initial learning rate of Adam.
        energy_weight: Weight α_E of Eq. 3.
        force_weight: Weight α_F of Eq. 3.
        energy_scale: Energy above the lowest of its composition, in eV, at which a structure's errors have half the
            weight, see :func:`sparring.training.loss.low_energy_weights`; None for equal weights, as in the paper.
        patience: Number of epochs without improvement of the validation loss after which a member's learning rate is
            reduced; None for a constant rate.
        factor: Factor of the learning rate at each reduction.
        ema_decay: Decay per step of an exponential moving average of the weights, which is then validated and kept;
            None to validate and keep the weights themselves, as the paper does.
        dtype: Precision of the weights.
        device: Device to train on.
        progress: Function that is called with the number of epochs done and their total.

    Raises:
        ValueError: If the splits do not match the data set, the architecture does not support its elements, the device
            cannot be used, or an argument is out of range.
        TrainingError: If fewer than two members are left.
    """
    if splits is None:
        groups = duplicate_groups(dataset.structures)
        splits = Splits.draw(len(dataset), n_members=n_members, seed=derive(seed, "splits"), groups=groups)
    _check(splits, len(dataset), n_epochs, batch_size, learning_rate, ema_decay)
    _check_elements(dataset, architecture)
    require_device(device)
    domain = _domain(dataset, splits)
    _check_labels(dataset, architecture, energy_weight)
    weights = None if energy_scale is None else low_energy_weights(dataset, energy_scale)
    data = PackedDataset.of(dataset, cutoff=architecture.cutoff, dtype=dtype, device=device, structure_weight=weights)
    references = torch.zeros(splits.n_members, N_ELEMENTS, dtype=torch.float64)
    for number, energy in dataset.atomic_energies.items():
        references[:, number] = energy
    loss = Loss(architecture, data, energy_weight, force_weight, references)
    trainer = _Trainer(loss, splits, batch_size, seed, ema_decay)
    state = trainer.start(learning_rate, dtype, device)
    trainer = trainer.aligned(state.weights)
    before = losses_before_training(trainer.loss, state.weights, splits, batch_size)
    warn_of_few(before, dataset)
    curves: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for epoch in range(n_epochs):
        rates = state.learning_rate.cpu().numpy()
        state, train_loss = trainer.epoch(state, epoch)
        state, validation_loss = trainer.validate_and_adjust(state, epoch, patience, factor)
        curves.append((train_loss.cpu().numpy(), validation_loss.cpu().numpy(), rates))
        dropped = (state.n_rollbacks > 1).tolist()
        if sum(dropped) > len(dropped) - min(2, len(dropped)):
            raise TrainingError(
                f"{sum(dropped)} of {len(dropped)} members diverged twice by epoch {epoch + 1}, which leaves fewer "
                f"than two; lower learning_rate (now {learning_rate:g}) or look for wrong labels in the data set; "
                f"most of the loss before training was that of {largest_losses(before, dataset)}"
            )
        if progress:
            progress(epoch + 1, n_epochs)
    train_curve, validation_curve, rate_curve = (np.stack(column) for column in zip(*curves, strict=True))
    report = FitReport(
        train_loss=train_curve,
        validation_loss=validation_curve,
        learning_rate=rate_curve,
        best_epoch=state.best_epoch.cpu().numpy(),
        rolled_back=tuple(torch.nonzero(state.n_rollbacks > 0).flatten().tolist()),
        dropped=tuple(torch.nonzero(state.n_rollbacks > 1).flatten().tolist()),
    )
    kept = [member for member in range(splits.n_members) if member not in report.dropped]
    return trainer.aligned(state.best_weights).committee(state.best_weights, kept).with_domain(domain), report


def _domain(dataset: Dataset, splits: Splits) -> TrainingDomain:
    """Training domain of the members, with a warning of elements that some training sets do not have."""
    domain = TrainingDomain.of(dataset, [index for ids in splits.train for index in ids])
    numbers, owner = dataset.structures.atomic_numbers, dataset.structures.structure_index
    for number in numbers.unique().tolist():
        have = set(owner[numbers == number].tolist())
        without = [member for member, ids in enumerate(splits.train) if not have & set(ids)]
        if without:
            logger.warning(
                "%d of %d members train on no structure with %s, which occurs in %d of %d: what they predict for it is "
                "random; add structures with it, or leave these out",
                *(len(without), splits.n_members, chemical_symbols[number], len(have), len(dataset)),
            )
    return domain


def _check(
    splits: Splits, n_structures: int, n_epochs: int, batch_size: int, learning_rate: float, ema_decay: float | None
) -> None:
    if splits.n_structures != n_structures:
        raise ValueError(f"the splits are of {splits.n_structures} structures, the data set has {n_structures}")
    if n_epochs < 1 or batch_size < 1 or learning_rate <= 0:
        got = f"{n_epochs}, {batch_size} and {learning_rate}"
        raise ValueError(f"need n_epochs >= 1, batch_size >= 1 and learning_rate > 0, got {got}")
    if ema_decay is not None and not 0 < ema_decay < 1:
        raise ValueError(f"ema_decay must be between 0 and 1, or None, got {ema_decay}")
    if len({len(ids) for ids in splits.train}) > 1 or len({len(ids) for ids in splits.validation}) > 1:
        raise ValueError("all members must have training sets of one size, and validation sets of one size")


def _check_elements(dataset: Dataset, architecture: Architecture) -> None:
    numbers = dataset.structures.atomic_numbers.unique().tolist()
    if numbers[-1] >= N_ELEMENTS:
        raise ValueError(f"elements up to {N_ELEMENTS - 1} can be learnt, the data set has atomic number {numbers[-1]}")
    supported = numbers if architecture.elements is None else TrainingDomain.of_elements(architecture.elements).elements
    missing = [chemical_symbols[number] for number in numbers if number not in supported]
    if missing:
        known = ", ".join(chemical_symbols[number] for number in supported)
        raise ValueError(
            f"{architecture.kind} has the elements {known}, the data set also has {', '.join(missing)}; give the "
            "architecture these elements or leave their structures out"
        )


def _check_labels(dataset: Dataset, architecture: Architecture, energy_weight: float) -> None:
    if not dataset.n_with_forces and not energy_weight:
        raise ValueError("no structure has forces and energy_weight is 0, so there is nothing to learn; raise it")
    if not architecture.uses_charge:
        tell_states(dataset.to_atoms(), potential=architecture.kind, note=False)


def reference_energies(structures: Structures, energy: Float[Tensor, " n_structures"]) -> Float[Tensor, " n_elements"]:
    """Energies of the elements that best reproduce energies of structures, in eV, by atomic number.

    Least squares over compositions; where elements always occur in the same proportions, the smallest such energies.
    """
    cells = structures.structure_index * N_ELEMENTS + structures.atomic_numbers
    counts = torch.zeros(structures.n_structures * N_ELEMENTS, dtype=torch.float64)
    counts = counts.index_add(0, cells.cpu(), torch.ones(structures.n_atoms, dtype=torch.float64))
    energies, *_ = np.linalg.lstsq(counts.reshape(-1, N_ELEMENTS).numpy(), energy.cpu().double().numpy(), rcond=1e-10)
    return torch.as_tensor(energies)


@dataclass(frozen=True)
class _Trainer:
    loss: Loss
    splits: Splits
    batch_size: int
    seed: int
    ema_decay: float | None

    def start(self, learning_rate: float, dtype: torch.dtype, device: torch.device | str) -> MemberState:
        rows = []
        for member in range(self.splits.n_members):
            network = copy.deepcopy(self.loss.architecture)
            network.initialise(torch.Generator().manual_seed(derive(self.seed, "weights", member)))
            rows.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
        weights = torch.stack(rows).to(dtype=dtype, device=device)
        per_member = torch.zeros(len(rows), dtype=torch.float64, device=device)
        counter = torch.zeros(len(rows), dtype=torch.long, device=device)
        return MemberState(
            weights=weights,
            average=None if self.ema_decay is None else weights.clone(),
            moment=torch.zeros_like(weights),
            square=torch.zeros_like(weights),
            n_steps=per_member,
            learning_rate=per_member + learning_rate,
            best_weights=weights.clone(),
            best_loss=per_member + torch.inf,
            best_epoch=counter,
            plateau_loss=per_member + torch.inf,
            first_loss=per_member + torch.inf,
            waited=counter,
            n_rollbacks=counter,
        )

    def aligned(self, weights: Tensor) -> "_Trainer":
        """The same with reference energies that minimise each member's errors on its training energies.

        Done before training, so that a network need not unlearn the energies of its random weights; and after it,
        because forces do not determine the zero of energy, and gradient descent is slow to find it.
        """
        indices = torch.tensor(self.splits.train, device=self.loss.data.energy.device)
        errors = []
        with torch.no_grad():
            for chosen in indices.split(4 * self.batch_size, dim=1):
                batch = self.loss.data.gather(chosen)
                energy = stacked_energies(
                    self.loss.architecture, self.loss.named(weights), batch.structures, batch.per_member
                )
                errors.append(batch.energy - energy[:, : chosen.shape[1]])
        references = self.loss.references.clone()
        for member, error in enumerate(torch.cat(errors, dim=1)):
            # A member that has diverged is dropped; its energies are of no use.
            if torch.isfinite(error).all():
                references[member] += reference_energies(self.loss.data.structures.take(indices[member]), error)
        return replace(self, loss=replace(self.loss, references=references))

    def epoch(self, state: MemberState, epoch: int) -> tuple[MemberState, Float[Tensor, " n_members"]]:
        """One pass over every member's training set, each in its own order."""
        orders = [
            torch.randperm(len(ids), generator=torch.Generator().manual_seed(derive(self.seed, "order", member, epoch)))
            for member, ids in enumerate(self.splits.train)
        ]
        indices = torch.stack([torch.tensor(ids)[o] for ids, o in zip(self.splits.train, orders, strict=True)])
        losses = torch.zeros_like(state.learning_rate)
        for chosen in indices.to(self.loss.data.energy.device).split(self.batch_size, dim=1):
            loss, gradient = self.loss.gradient(state.weights, chosen)
            state = adam(state, gradient, ema_decay=self.ema_decay)
            losses += loss * chosen.shape[1] / indices.shape[1]
        return state, losses

    def validate_and_adjust(
        self, state: MemberState, epoch: int, patience: int | None, factor: float
    ) -> tuple[MemberState, Float[Tensor, " n_members"]]:
        """Validate; keep the best weights, reduce the rate of members that stall, roll back those that diverge."""
        loss = self.validate(state.kept)
        first = torch.where(torch.isinf(state.first_loss), loss, state.first_loss)
        # Where the square of a gradient has overflown, Adam's steps are zero ever after.
        sound = torch.isfinite(state.weights).all(1) & torch.isfinite(state.square).all(1)
        diverged = ~torch.isfinite(loss) | (loss > DIVERGENCE_FACTOR * first) | ~sound
        learning = state.n_rollbacks < 2
        diverged &= learning
        better = (loss < state.best_loss) & learning & ~diverged
        # The schedule waits for progress of one part in ten thousand, as PyTorch's does; the best weights do not.
        progressed = (loss < state.plateau_loss * (1 - 1e-4)) & learning & ~diverged
        waited = torch.where(progressed, 0, state.waited + 1)
        stalled = waited > (torch.inf if patience is None else patience)
        rate = torch.where(stalled, state.learning_rate * factor, state.learning_rate)
        best_weights = torch.where(better.unsqueeze(1), state.kept, state.best_weights)
        back = diverged.unsqueeze(1)
        for member in torch.nonzero(diverged).flatten().tolist():
            logger.warning("member %d diverged in epoch %d; back to its best weights", member, epoch + 1)
        new = state._replace(
            weights=torch.where(back, best_weights, state.weights),
            average=None if state.average is None else torch.where(back, best_weights, state.average),
            moment=torch.where(back, 0.0, state.moment),
            square=torch.where(back, 0.0, state.square),
            n_steps=torch.where(diverged, 0.0, state.n_steps),
            learning_rate=torch.where(diverged, rate * 0.1, rate),
            best_weights=best_weights,
            best_loss=torch.where(better, loss, state.best_loss),
            best_epoch=torch.where(better, epoch, state.best_epoch),
            plateau_loss=torch.where(progressed, loss, state.plateau_loss),
            first_loss=torch.where(torch.isfinite(first), first, torch.inf),
            waited=torch.where(stalled | diverged, 0, waited),
            n_rollbacks=state.n_rollbacks + diverged.long(),
        )
        return new, loss

    def validate(self, weights: Tensor) -> Float[Tensor, " n_members"]:
        """The square of the mean root of the losses of a member's validation set.

        In a set of twenty, one or two geometries are unlike all training data. Their squared errors would dominate the
        mean, and with it the choice of the best epoch.
        """
        indices = torch.tensor(self.splits.validation, device=self.loss.data.energy.device)
        roots = torch.zeros(len(indices), dtype=torch.float64, device=indices.device)
        for chosen in indices.split(4 * self.batch_size, dim=1):
            losses = self.loss.losses(weights, self.loss.data.gather(chosen), create_graph=False)
            roots += losses.detach().sqrt().sum(1) / indices.shape[1]
        return roots.square()

    def committee(self, weights: Tensor, kept: list[int]) -> Committee:
        """A committee of some members, with these weights."""
        named = self.loss.named(weights.detach())
        return Committee(unstack(self.loss.architecture, {name: value[kept] for name, value in named.items()}))
