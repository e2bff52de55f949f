"""One training of many members at once: epochs, validation, and what happens to members that stall or diverge."""

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.committee import Committee
from sparring.potentials.base import Architecture
from sparring.potentials.stacking import unstack
from sparring.support.seeds import derive
from sparring.training.adam import MemberState, adam
from sparring.training.loss import Loss
from sparring.training.minibatches import Rows
from sparring.training.references import reference_energies
from sparring.training.weak_labels import WeakTerm

__all__ = ["Member", "SecondStage", "Trainer", "drawn", "modules_of"]

logger = logging.getLogger(__name__)

DIVERGENCE_FACTOR = 1e4
"""Ratio of a validation loss to the first one from which it counts as divergence."""


@dataclass(frozen=True, kw_only=True)
class SecondStage:
    """Second stage of a training, with weights of its own in the loss.

    Forces alone shape the energy surface best, but they do not fix its zero: a first stage in which energies weigh
    little, and a second, slower one in which they count, has lower errors of both (Batatia et al., arXiv:2206.07697).

    Attributes:
        n_epochs: Number of passes over the training set.
        learning_rate: Initial learning rate.
        energy_weight: Weight α_E of Eq. 3.
        force_weight: Weight α_F of Eq. 3.
        stress_weight: Weight of virials of each atom, where there are stresses (:mod:`sparring.training.loss`).
    """

    n_epochs: int
    learning_rate: float
    energy_weight: float
    force_weight: float = 1.0
    stress_weight: float = 1.0


class Member(NamedTuple):
    """A member of one of several committees that train together.

    Attributes:
        committee: Number of its committee.
        number: Number in its committee.
        seed: Seed of its committee.
        train: Structures that it trains on.
        validation: Structures that it is validated on.
    """

    committee: int
    number: int
    seed: int
    train: tuple[int, ...]
    validation: tuple[int, ...]


@dataclass(frozen=True)
class Trainer:
    """Training of members in one pass.

    Attributes:
        loss: Loss of all members.
        members: Members, sorted by the size of their training sets, the largest first.
        batch_size: Number of structures in a minibatch.
        ema_decay: Decay of the moving average of the weights; None for no average.
        amsgrad: True for AMSGrad instead of Adam.
        terms: Terms of the loss besides Eq. 3.
    """

    loss: Loss
    members: tuple[Member, ...]
    batch_size: int
    ema_decay: float | None
    amsgrad: bool = False
    terms: tuple[WeakTerm, ...] = ()

    def start(self, learning_rate: float, dtype: torch.dtype, device: torch.device | str) -> MemberState:
        """State before the first epoch, with weights of given modules, or that each member draws from its own seed."""
        rows = []
        for network in self.loss.modules or (drawn(self.loss.architecture, member) for member in self.members):
            rows.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
        weights = torch.stack(rows).to(dtype=dtype, device=device)
        zeros = torch.zeros(len(rows), dtype=torch.float64, device=device)
        counter = torch.zeros(len(rows), dtype=torch.long, device=device)
        return MemberState(
            weights=weights,
            average=None if self.ema_decay is None else weights.clone(),
            moment=torch.zeros_like(weights),
            square=torch.zeros_like(weights),
            largest=torch.zeros_like(weights) if self.amsgrad else None,
            n_steps=zeros,
            learning_rate=zeros + learning_rate,
            best_weights=weights.clone(),
            best_loss=zeros + torch.inf,
            best_epoch=counter,
            plateau_loss=zeros + torch.inf,
            first_loss=zeros + torch.inf,
            waited=counter,
            n_rollbacks=counter,
        )

    def aligned(self, weights: Tensor) -> "Trainer":
        """The same with reference energies that minimise each member's errors on its training energies.

        Done before training, so that a network need not unlearn the energies of its random weights; and after it,
        because forces do not determine the zero of energy, and gradient descent is slow to find it.
        """
        rows, errors = self._rows([member.train for member in self.members]), []
        for chosen in rows.indices.split(4 * self.batch_size, dim=1):
            energy, wanted = self.loss.energies_of(weights, chosen)
            errors.append(wanted - energy)
        references, structures = self.loss.references.clone(), self.loss.data.structures
        for row, (error, size) in enumerate(zip(torch.cat(errors, dim=1), rows.sizes, strict=True)):
            # A member that has diverged is dropped; its energies are of no use.
            if torch.isfinite(error[:size]).all():
                chosen = rows.indices[row, :size]
                weight = torch.ones_like(error[:size])
                for factor in (self.loss.data.structure_weight, self.loss.data.has_energy):
                    weight = weight if factor is None else weight * factor[chosen]
                references[row] += reference_energies(structures.take(chosen), error[:size], weight)
        return replace(self, loss=replace(self.loss, references=references))

    def in_stage(self, stage: SecondStage, state: MemberState) -> tuple["Trainer", MemberState]:
        """The same with other weights in the loss, and a state that goes on at another rate.

        What was best by another loss does not count any more; of members without a better epoch it is kept.
        """
        weights = {name: getattr(stage, name) for name in ("energy_weight", "force_weight", "stress_weight")}
        loss = replace(self.loss, **weights)
        unknown = torch.full_like(state.best_loss, torch.inf)
        return replace(self, loss=loss), state._replace(
            learning_rate=torch.full_like(state.learning_rate, stage.learning_rate),
            best_loss=unknown,
            plateau_loss=unknown,
            first_loss=unknown,
            waited=torch.zeros_like(state.waited),
        )

    def epoch(
        self,
        state: MemberState,
        epoch: int,
        n_done: int = 0,
        losses: Float[Tensor, " n_members"] | None = None,
        after_batch: Callable[[MemberState, int, Float[Tensor, " n_members"]], None] | None = None,
    ) -> tuple[MemberState, Float[Tensor, " n_members"]]:
        """One pass over every member's training set, each in its own order; or what is left of one.

        Args:
            state: State before the minibatches that are left.
            epoch: Number of the epoch, from 0.
            n_done: Number of minibatches that are done.
            losses: Part of the losses that these have given; None for zero.
            after_batch: Function that is called after each minibatch with the state, the number of minibatches that
                are done, and the losses so far.
        """
        orders = [
            torch.randperm(
                len(member.train),
                generator=torch.Generator().manual_seed(derive(member.seed, "order", member.number, epoch)),
            )
            for member in self.members
        ]
        rows = self._rows([torch.tensor(m.train)[o] for m, o in zip(self.members, orders, strict=True)])
        losses = torch.zeros_like(state.learning_rate) if losses is None else losses.clone()
        sizes, terms = rows.n_structures, [term.at_epoch(epoch) for term in self.terms]
        for done, (chosen, share) in enumerate(rows.batches(self.batch_size), 1):
            if done <= n_done:
                continue
            n_rows = len(chosen)
            counts = chosen.shape[1] if share is None else (share > 0).sum(1)
            weights, of_rows = state.weights[:n_rows], self.loss.first(n_rows)
            loss, gradient = of_rows.gradient(weights, chosen, share)
            for term in terms:
                gradient = gradient + term.gradient(of_rows, weights, chosen, share)
            state = self._step(state, gradient)
            losses[:n_rows] += loss * counts / sizes[:n_rows]
            if after_batch:
                after_batch(state, done, losses)
        return state, losses

    def _step(self, state: MemberState, gradient: Float[Tensor, "n_rows n_weights"]) -> MemberState:
        """A step of Adam for the first rows; the others have no minibatch left in this epoch."""
        n = len(gradient)
        if n == len(state.weights):
            return adam(state, gradient, ema_decay=self.ema_decay)
        part = adam(state.first(n), gradient, ema_decay=self.ema_decay)  # in place: these are views
        return state._replace(n_steps=torch.cat([part.n_steps, state.n_steps[n:]]))

    def validate_and_adjust(
        self,
        state: MemberState,
        epoch: int,
        patience: int | None,
        factor: float,
        after_batch: Callable[[], None] | None = None,
    ) -> tuple[MemberState, Float[Tensor, " n_members"]]:
        """Validate; keep the best weights, reduce the rate of members that stall, roll back those that diverge."""
        loss = self.validate(state.kept, after_batch)
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
        for row in torch.nonzero(diverged).flatten().tolist():
            logger.warning(
                "member %d diverged in epoch %d; back to its best weights", self.members[row].number, epoch + 1
            )
        new = state._replace(
            weights=torch.where(back, best_weights, state.weights),
            average=None if state.average is None else torch.where(back, best_weights, state.average),
            moment=torch.where(back, 0.0, state.moment),
            square=torch.where(back, 0.0, state.square),
            largest=None if state.largest is None else torch.where(back, 0.0, state.largest),
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

    def validate(self, weights: Tensor, after_batch: Callable[[], None] | None = None) -> Float[Tensor, " n_members"]:
        """The square of the mean root of the losses of a member's validation set.

        In a set of twenty, one or two geometries are unlike all training data. Their squared errors would dominate the
        mean, and with it the choice of the best epoch.
        """
        rows = self._rows([member.validation for member in self.members])
        roots = torch.zeros(len(self.members), dtype=torch.float64, device=weights.device)
        for chosen, share in rows.batches(4 * self.batch_size):
            n = len(chosen)
            root = self.loss.first(n).losses_of(weights[:n], chosen).sqrt()
            roots[:n] += (root if share is None else root.where(share > 0, 0.0)).sum(1) / rows.n_structures[:n]
            if after_batch:
                after_batch()
        return roots.square()

    def committee(self, weights: Tensor, rows: Sequence[int]) -> Committee:
        """A committee of some members, with these weights."""
        named = self.loss.named(weights.detach())
        chosen = list(rows)
        return Committee(unstack(self.loss.architecture, {name: value[chosen] for name, value in named.items()}))

    def _rows(self, sets: Sequence[Sequence[int] | Tensor]) -> Rows:
        return Rows.of(sets, self.loss.data.energy.device)


def modules_of(
    architecture: Architecture, members: Sequence[Member], start_from: Sequence[Architecture] = ()
) -> tuple[Architecture, ...]:
    """Module of each member, where training starts from given ones or weights are not all that members differ in.

    Args:
        architecture: Architecture of the members.
        members: Members.
        start_from: Modules to start from, for the members in turn.
    """
    if start_from:
        return tuple(start_from[member.number % len(start_from)] for member in members)
    return tuple(drawn(architecture, member) for member in members) if architecture.draws_constants else ()


def drawn(architecture: Architecture, member: Member) -> Architecture:
    """The module of a member, with weights from its own seed."""
    network = copy.deepcopy(architecture)
    network.initialise(torch.Generator().manual_seed(derive(member.seed, "weights", member.number)))
    return network
