r"""Update rules of gradient ascent: from a displacement and its gradient to the next displacement.

======================  ==========================================================
:math:`\delta`          displacement, one row of each seed after the other
:math:`g`               gradient of the objective in the displacement
:math:`\alpha_\delta`   learning rate
======================  ==========================================================
"""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from sparring.training import adam as optimiser

__all__ = ["UPDATES", "Moments", "Update", "adam", "gradient_ascent", "update_rule"]

EPSILON = 1e-30
"""Smallest divisor of Adam: far below that of training, so that a tiny objective is climbed as fast as a large one."""


class Moments(NamedTuple):
    """Running means of the gradient and of its square, zero before the first step."""

    first: Float[Tensor, "n_rows ..."]
    second: Float[Tensor, "n_rows ..."]


@runtime_checkable
class Update(Protocol):
    """An update rule. Rows never mix, so that seeds do not depend on one another."""

    def __call__(
        self,
        delta: Float[Tensor, "n_rows ..."],
        gradient: Float[Tensor, "n_rows ..."],
        moments: Moments,
        *,
        n_steps: int,
        learning_rate: float,
    ) -> tuple[Float[Tensor, "n_rows ..."], Moments]:
        """The next displacement and the moments that the step after it needs; the arguments stay as they are.

        Args:
            delta: Displacement before the step.
            gradient: Gradient of the objective there.
            moments: Moments before the step.
            n_steps: Number of steps with this one.
            learning_rate: Length of a step.
        """


def adam(
    delta: Float[Tensor, "n_rows ..."],
    gradient: Float[Tensor, "n_rows ..."],
    moments: Moments,
    *,
    n_steps: int,
    learning_rate: float,
) -> tuple[Float[Tensor, "n_rows ..."], Moments]:
    """Adam (Kingma & Ba, arXiv:1412.6980), which moves every coordinate by about the learning rate."""
    step, first, second = optimiser.step(
        *moments, gradient, n_steps=n_steps, learning_rate=learning_rate, epsilon=EPSILON
    )
    return delta + step, Moments(first, second)


def gradient_ascent(
    delta: Float[Tensor, "n_rows ..."],
    gradient: Float[Tensor, "n_rows ..."],
    moments: Moments,
    *,
    n_steps: int,
    learning_rate: float,
) -> tuple[Float[Tensor, "n_rows ..."], Moments]:
    r"""Plain gradient ascent, :math:`\delta + \alpha_\delta \, g`: Eq. 14 of Schwalbe-Koda et al. (2021) as printed."""
    del n_steps
    return delta + learning_rate * gradient, moments


UPDATES: dict[str, Update] = {"adam": adam, "gradient": gradient_ascent}


def update_rule(update: str | Update) -> Update:
    """An update rule by its name; a rule of one's own is returned as it is.

    Raises:
        ValueError: If there is no rule of that name.
    """
    if not isinstance(update, str):
        return update
    if update not in UPDATES:
        raise ValueError(f"unknown update rule {update!r}; known: {', '.join(UPDATES)}")
    return UPDATES[update]
