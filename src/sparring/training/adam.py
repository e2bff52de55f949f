"""Adam and AMSGrad for all members of a committee, each with its own learning rate."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["MemberState", "adam", "step", "update"]


class MemberState(NamedTuple):
    """State of the training of all members between epochs; weights and moments have one row for each member.

    Attributes:
        weights: Weights that are trained.
        average: Exponential moving average of the weights; None if there is none.
        moment: Running mean of the gradient.
        square: Running mean of its square.
        largest: Largest such mean of any step, which AMSGrad divides by; None for Adam.
        n_steps: Number of steps.
        learning_rate: Learning rate.
        best_weights: Weights of the lowest validation loss.
        best_loss: Lowest validation loss.
        best_epoch: Epoch of the lowest validation loss.
        plateau_loss: Validation loss of the last progress that the learning-rate schedule counts.
        first_loss: Validation loss after the first epoch.
        waited: Number of epochs since that progress.
        n_rollbacks: Number of divergences.
    """

    weights: Float[Tensor, "n_members n_weights"]
    average: Float[Tensor, "n_members n_weights"] | None
    moment: Float[Tensor, "n_members n_weights"]
    square: Float[Tensor, "n_members n_weights"]
    largest: Float[Tensor, "n_members n_weights"] | None
    n_steps: Float[Tensor, " n_members"]
    learning_rate: Float[Tensor, " n_members"]
    best_weights: Float[Tensor, "n_members n_weights"]
    best_loss: Float[Tensor, " n_members"]
    best_epoch: Int[Tensor, " n_members"]
    plateau_loss: Float[Tensor, " n_members"]
    first_loss: Float[Tensor, " n_members"]
    waited: Int[Tensor, " n_members"]
    n_rollbacks: Int[Tensor, " n_members"]

    @property
    def kept(self) -> Float[Tensor, "n_members n_weights"]:
        """Weights that are validated and kept: the running average where there is one."""
        return self.weights if self.average is None else self.average

    def first(self, n: int) -> "MemberState":
        """State of the first n members, with views of all that a step changes."""

        def rows(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[:n]

        return self._replace(
            weights=self.weights[:n],
            average=rows(self.average),
            moment=self.moment[:n],
            square=self.square[:n],
            largest=rows(self.largest),
            n_steps=self.n_steps[:n],
            learning_rate=self.learning_rate[:n],
        )


def adam(
    state: MemberState, gradient: Float[Tensor, "n_members n_weights"], *, ema_decay: float | None = None
) -> MemberState:
    """One step of Adam (Kingma & Ba, arXiv:1412.6980) or AMSGrad for all members, each at its own rate.

    Moments, weights and their average are updated in place: they are the state's own, and the largest tensors of all.

    Args:
        state: State before the step.
        gradient: Gradient of the loss in the weights.
        ema_decay: Decay of the exponential moving average of the weights; None for a state without one. After n steps
            it is at most (1 + n) / (10 + n), so that the average soon does not depend on the initial weights.
    """
    n_steps = state.n_steps + 1
    update(
        state.weights,
        state.moment,
        state.square,
        gradient,
        n_steps=n_steps,
        learning_rate=state.learning_rate,
        largest=state.largest,
    )
    if state.average is not None and ema_decay is not None:
        decay = ((1 + n_steps) / (10 + n_steps)).clamp(max=ema_decay)
        state.average.lerp_(state.weights, (1 - decay).to(state.weights.dtype).unsqueeze(1))
    return state._replace(n_steps=n_steps)


def update(
    weights: Float[Tensor, "n_members ..."],
    moment: Float[Tensor, "n_members ..."],
    square: Float[Tensor, "n_members ..."],
    gradient: Float[Tensor, "n_members ..."],
    *,
    n_steps: Float[Tensor, " n_members"],
    learning_rate: Float[Tensor, " n_members"] | float,
    epsilon: float = 1e-8,
    largest: Float[Tensor, "n_members ..."] | None = None,
) -> None:
    """One step of Adam or AMSGrad on any part of the weights, in place.

    Args:
        weights: Weights of each member.
        moment: Running mean of the gradient.
        square: Running mean of its square.
        gradient: Gradient of the loss.
        n_steps: Number of steps of each member, this one included.
        learning_rate: Learning rate of each member, or of all.
        epsilon: Smallest divisor.
        largest: Largest running mean of the square so far, which then divides (AMSGrad: Reddi, Kale & Kumar,
            arXiv:1904.09237); None for Adam.
    """
    moment.lerp_(gradient, 0.1)
    square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
    if largest is not None:
        square = torch.maximum(largest, square, out=largest)
    # One number a member, in the precision of the weights: of mixed precision, a pass over all weights takes several
    # times as long. The rate is folded into the denominator, which saves another.
    rows = (-1, *[1] * (gradient.dim() - 1))
    inverse_rate = (1 - 0.9**n_steps) / learning_rate
    scale = (inverse_rate / (1 - 0.999**n_steps).sqrt()).to(gradient.dtype).reshape(rows)
    offset = (epsilon * inverse_rate).to(gradient.dtype).reshape(rows)
    weights.addcdiv_(moment, square.sqrt().mul_(scale).add_(offset), value=-1)


def step(
    moment: Float[Tensor, "n_rows ..."],
    square: Float[Tensor, "n_rows ..."],
    gradient: Float[Tensor, "n_rows ..."],
    *,
    n_steps: int,
    learning_rate: float,
    epsilon: float = 1e-8,
) -> tuple[Float[Tensor, "n_rows ..."], Float[Tensor, "n_rows ..."], Float[Tensor, "n_rows ..."]]:
    """The same step of Adam out of place, for rows that have all taken as many steps.

    Args:
        moment: Running mean of the gradient.
        square: Running mean of its square.
        gradient: Gradient at this step.
        n_steps: Number of steps with this one.
        learning_rate: Length of the step.
        epsilon: Smallest divisor.

    Returns:
        The step along the gradient, and both running means after it.
    """
    # From the gradient to the mean, not back: rounding differs, and paths of attacks are to stay what they were.
    moment, square = gradient.lerp(moment, 0.9), gradient.square().lerp(square, 0.999)
    scale = (square / (1 - 0.999**n_steps)).sqrt() + epsilon
    return learning_rate * moment / (1 - 0.9**n_steps) / scale, moment, square
