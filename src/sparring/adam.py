"""One step of Adam for all members of a committee, each at its own rate, and what the next one needs."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["State", "adam"]


class State(NamedTuple):
    """What the next epoch needs; weights and moments have one row a member."""

    weights: Float[Tensor, "n_members n_weights"]
    moment: Float[Tensor, "n_members n_weights"]
    square: Float[Tensor, "n_members n_weights"]
    n_steps: Float[Tensor, " n_members"]
    learning_rate: Float[Tensor, " n_members"]
    best_weights: Float[Tensor, "n_members n_weights"]
    best_loss: Float[Tensor, " n_members"]
    best_epoch: Int[Tensor, " n_members"]
    plateau_loss: Float[Tensor, " n_members"]
    first_loss: Float[Tensor, " n_members"]
    waited: Int[Tensor, " n_members"]
    n_rollbacks: Int[Tensor, " n_members"]


def adam(state: State, gradient: Float[Tensor, "n_members n_weights"]) -> State:
    """One step of Adam (Kingma & Ba, arXiv:1412.6980) for all members, each at its own rate.

    Moments and weights are updated in place: they are the state's own, and the largest tensors there are.
    """
    n_steps = state.n_steps + 1
    moment = state.moment.lerp_(gradient, 0.1)
    square = state.square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
    # One row of numbers a member, in the precision of the weights: of mixed precision, a pass over all weights takes
    # several times as long. The rate is folded into the denominator, which saves another.
    inverse_rate = (1 - 0.9**n_steps) / state.learning_rate
    slope = (inverse_rate / (1 - 0.999**n_steps).sqrt()).to(gradient.dtype).unsqueeze(1)
    offset = (1e-8 * inverse_rate).to(gradient.dtype).unsqueeze(1)
    weights = state.weights.addcdiv_(moment, square.sqrt().mul_(slope).add_(offset), value=-1)
    return state._replace(weights=weights, moment=moment, square=square, n_steps=n_steps)
