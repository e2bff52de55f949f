"""The seam of spaces, and parts that several of them share: the first delta, and bounds."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.uncertainty import sum_over_atoms

__all__ = ["Space", "check_sizes", "normal", "within"]


@runtime_checkable
class Space(Protocol):
    """A way to displace structures.

    ``delta`` has a leading axis of rows, each of which belongs to one seed; rows of different seeds never mix, so that
    seeds can be attacked together or apart with the same result.
    """

    def owner(self, seeds: Structures) -> Int[Tensor, " n_rows"]:
        """Index of the seed of each row of delta, in non-decreasing order."""

    def initial(self, seeds: Structures, generator: torch.Generator) -> Float[Tensor, "n_rows ..."]:
        """First delta, drawn from N(0, σ²). Seeds that do not fit the space are an error here."""

    def displace(self, seeds: Structures, delta: Float[Tensor, "n_rows ..."]) -> Structures:
        """The displaced structures, differentiable in delta."""

    def project(self, seeds: Structures, delta: Float[Tensor, "n_rows ..."]) -> Float[Tensor, "n_rows ..."]:
        """The nearest delta that is allowed."""


def check_sizes(*, spread: float, radius: float | None, norm: float, unit: str) -> None:
    """Check the initial spread and the bound of a space.

    Raises:
        ValueError: If a size is negative, or the norm is below 1.
    """
    unit = f" {unit}" if unit else ""
    if not spread >= 0:
        raise ValueError(f"the initial spread must not be negative, got {spread}{unit}")
    if radius is not None and not radius > 0:
        raise ValueError(f"the radius of the bound must be positive, got {radius}{unit}")
    if not norm >= 1:
        raise ValueError(f"the norm of the bound must be a p of at least 1, got {norm}")


def normal(shape: tuple[int, ...], spread: float, generator: torch.Generator, like: Tensor) -> Float[Tensor, "..."]:
    """Numbers from N(0, spread²), drawn in double precision so that all devices and precisions get the same."""
    noise = torch.randn(*shape, generator=generator, dtype=torch.float64, device=generator.device)
    return (spread * noise).to(like)


def within(
    delta: Float[Tensor, "n_rows ..."],
    owner: Int[Tensor, " n_rows"],
    n_structures: int,
    *,
    radius: float | None,
    norm: float,
) -> Float[Tensor, "n_rows ..."]:
    """Delta with the p-norm over all rows of a seed bounded: the nearest for p = 2 and inf, scaled down for any other.

    Args:
        delta: Displacement of all seeds.
        owner: Index of the seed of each row.
        n_structures: Number of seeds.
        radius: Radius of the bound; None for no bound.
        norm: Value of p.
    """
    if radius is None:
        return delta
    if norm == float("inf"):
        return delta.clamp(-radius, radius)
    # In units of the radius, so that powers neither overflow nor vanish.
    powers = (delta / radius).abs().pow(norm).reshape(len(delta), -1).sum(-1)
    norms = sum_over_atoms(powers, owner, n_structures).pow(1 / norm)
    return delta / norms.clamp(min=1.0).index_select(0, owner).reshape(-1, *[1] * (delta.dim() - 1))
