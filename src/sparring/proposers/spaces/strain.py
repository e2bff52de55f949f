"""Cells that are strained, with all that is in them."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.strain import strained
from sparring.atoms.structures import Structures
from sparring.proposers.spaces.base import check_sizes, normal, within

__all__ = ["MOST", "Strain", "Which"]

Which = Literal["all", "volume", "in_plane"]
"""Strains that are allowed."""

MOST = 0.9
"""Largest norm of a strain: below 1 no cell can lose its volume."""


@dataclass(frozen=True, kw_only=True)
class Strain:
    r"""The cell of a crystal is strained, and atoms keep their fractional coordinates.

    .. math:: x \to x (1 + \varepsilon), \qquad h_k \to h_k (1 + \varepsilon), \qquad
        \varepsilon = \begin{pmatrix} \delta_1 & \delta_6/\sqrt2 & \delta_5/\sqrt2 \\
        & \delta_2 & \delta_4/\sqrt2 \\ & & \delta_3 \end{pmatrix}

    with positions x and lattice vectors h as rows. The norm of delta is that of the matrix, which does not depend on
    the orientation of the crystal. Directions in which a structure is not periodic are never strained: a slab is
    strained in its plane, a wire along its axis. Delta has a row for each seed. In a combination with atoms, the strain
    acts first: displacements are then in Å of the strained crystal.

    Attributes:
        which: Strains that are allowed: "all" of them; a change of "volume" (of a slab's area, a wire's length) that
            keeps the shape, whose delta is one number; or those "in_plane" of the first two lattice vectors, for slabs
            in cells that repeat in all directions.
        spread: Standard deviation of each component of the initial delta; a strain has no unit.
        radius: Bound on the norm of a seed's delta, at most 0.9, so that volumes stay positive.

    Raises:
        ValueError: If there is no such kind of strain, or a size is out of range.
    """

    which: Which = "all"
    spread: float = 0.01
    radius: float = 0.1

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.which not in get_args(Which):
            raise ValueError(f"strains are one of {', '.join(get_args(Which))}, got which={self.which!r}")
        check_sizes(spread=self.spread, radius=self.radius, norm=2.0, unit="")
        if self.radius > MOST:
            raise ValueError(f"a strain is at most {MOST}, beyond which a cell may lose its volume, got {self.radius}")

    def owner(self, seeds: Structures) -> Int[Tensor, " n_structures"]:
        """A row is a seed."""
        return torch.arange(seeds.n_structures, device=seeds.structure_index.device)

    def initial(self, seeds: Structures, generator: torch.Generator) -> Float[Tensor, "n_structures n_components"]:
        """Delta drawn from N(0, spread²).

        Raises:
            ValueError: If a seed is not periodic, or has fixed atoms.
        """
        self._check(seeds)
        shape = (seeds.n_structures, 1 if self.which == "volume" else 6)
        return self.project(seeds, normal(shape, self.spread, generator, seeds.positions))

    def displace(self, seeds: Structures, delta: Float[Tensor, "n_structures n_components"]) -> Structures:
        """The seeds with strained cells, and everything in them; neighbours are found anew."""
        plane = self._plane(seeds)
        if self.which == "volume":
            n_periodic = plane.diagonal(dim1=-2, dim2=-1).sum(-1)  # the trace of a projection
            return strained(seeds, delta.unsqueeze(-1) * plane / n_periodic.sqrt()[:, None, None])
        return strained(seeds, plane @ _matrix(delta) @ plane)

    def project(
        self, seeds: Structures, delta: Float[Tensor, "n_structures n_components"]
    ) -> Float[Tensor, "n_structures n_components"]:
        """Delta within the bound, without strains of directions that are not periodic."""
        if self.which != "volume":
            plane = self._plane(seeds)
            delta = _components(plane @ _matrix(delta) @ plane)
        return within(delta, self.owner(seeds), seeds.n_structures, radius=self.radius, norm=2.0)

    def _plane(self, seeds: Structures) -> Float[Tensor, "n_structures 3 3"]:
        """Projection onto the directions that may be strained."""
        strainable = seeds.pbc
        if self.which == "in_plane":
            strainable = strainable & (strainable.cumsum(1) <= 2)
        return _projection(torch.where(strainable.unsqueeze(-1), seeds.cells, 0.0))

    def _check(self, seeds: Structures) -> None:
        fixed = seeds.structure_index.new_zeros(seeds.n_structures, dtype=torch.bool)
        if seeds.fixed is not None:
            fixed = fixed.index_put((seeds.structure_index[seeds.fixed.any(1)],), torch.tensor(True).to(fixed))
        for index, (periodic, held) in enumerate(zip(seeds.pbc.any(1).tolist(), fixed.tolist(), strict=True)):
            if not periodic:
                raise ValueError(
                    f"seed {index} is not periodic, so that it has no cell to strain; leave it out, or attack its atoms"
                )
            if held:
                raise ValueError(
                    f"seed {index} has fixed atoms, which would not follow its strained cell; free them "
                    "(atoms.set_constraint()), or leave the strain out"
                )


# Written without indices in lists, which would be copied to the device in every step.
def _matrix(delta: Float[Tensor, "n_structures 6"]) -> Float[Tensor, "n_structures 3 3"]:
    xx, yy, zz, yz, xz, xy = delta.unbind(-1)
    yz, xz, xy = (component / 2**0.5 for component in (yz, xz, xy))
    matrix: Tensor = torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], dim=-1).unflatten(-1, (3, 3))
    return matrix


def _components(matrix: Float[Tensor, "n_structures 3 3"]) -> Float[Tensor, "n_structures 6"]:
    """The inverse of :func:`_matrix` for symmetric matrices."""
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = (row.unbind(-1) for row in matrix.unbind(-2))
    yz, xz, xy = (component * 2**0.5 for component in (yz, xz, xy))
    return torch.stack([xx, yy, zz, yz, xz, xy], dim=-1)


def _projection(vectors: Float[Tensor, "n_structures 3 3"]) -> Float[Tensor, "n_structures 3 3"]:
    """Projection onto the space of three row vectors, of which any may be zero (Gram-Schmidt)."""
    projection = torch.zeros_like(vectors)
    for vector in vectors.unbind(-2):
        rest = vector - (vector.unsqueeze(-2) @ projection).squeeze(-2)
        square = rest.square().sum(-1)
        square = torch.where(square > 0, square, 1.0)[:, None, None]
        projection = projection + rest.unsqueeze(-1) * rest.unsqueeze(-2) / square
    return projection
