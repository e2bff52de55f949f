"""Several spaces, one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from sparring.atoms.structures import Structures
from sparring.proposers.spaces.base import Space

__all__ = ["Combined"]


class _Tables(NamedTuple):
    """Division of a batch's delta: `order` sorts the concatenated parts by seed; `back` is its inverse."""

    owner: Int[Tensor, " n_rows"]
    order: Int[Tensor, " n_rows"]
    back: Int[Tensor, " n_rows"]
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Combined:
    r"""The seeds displaced in one space after the other: torsions, and then atoms.

    .. math:: X_\delta = X^{(2)}(X^{(1)}(X, s_1 \delta_1), s_2 \delta_2)

    Delta has a row for each number of each part, seed by seed. A step of Adam has about the same length in all of them,
    in any unit: the scale :math:`s` of a part is its displacement for a delta of one. With scales of 1 and
    0.1 and a learning rate of 0.05, torsions turn by 0.05 rad while atoms move by 0.005 Å. Bounds and initial spreads
    are those of the parts, in their own units.

    Attributes:
        spaces: Parts, in the order in which they act.
        scales: One for each; None for 1.

    Raises:
        ValueError: If there is no part, or not one positive scale for each.
    """

    spaces: tuple[Space, ...]
    scales: tuple[float, ...] | None = None
    _tables: WeakTensorKeyDictionary = field(
        default_factory=WeakTensorKeyDictionary, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not self.spaces:
            raise ValueError("got no space to combine")
        if self.scales is not None and (len(self.scales) != len(self.spaces) or not all(s > 0 for s in self.scales)):
            raise ValueError(f"wanted a positive scale for each of {len(self.spaces)} spaces, got {self.scales}")

    def owner(self, seeds: Structures) -> Int[Tensor, " n_rows"]:
        """A row is one number of one part."""
        return self._of(seeds).owner

    def initial(self, seeds: Structures, generator: torch.Generator) -> Float[Tensor, " n_rows"]:
        """Each part's own, drawn one after the other."""
        return self._join(seeds, [space.initial(seeds, generator) for space in self.spaces])

    def displace(self, seeds: Structures, delta: Float[Tensor, " n_rows"]) -> Structures:
        """The seeds, displaced in one space after the other."""
        moved = seeds
        for space, part in zip(self.spaces, self._split(seeds, delta), strict=True):
            moved = space.displace(moved, part)
        return moved

    def project(self, seeds: Structures, delta: Float[Tensor, " n_rows"]) -> Float[Tensor, " n_rows"]:
        """Each part within its own bound."""
        parts = zip(self.spaces, self._split(seeds, delta), strict=True)
        return self._join(seeds, [space.project(seeds, part) for space, part in parts])

    @property
    def _scales(self) -> tuple[float, ...]:
        return self.scales or (1.0,) * len(self.spaces)

    def _split(self, seeds: Structures, delta: Float[Tensor, " n_rows"]) -> list[Tensor]:
        tables = self._of(seeds)
        sizes = [torch.Size(shape).numel() for shape in tables.shapes]
        parts = delta.index_select(0, tables.back).split(sizes)
        return [
            scale * part.reshape(shape) for scale, part, shape in zip(self._scales, parts, tables.shapes, strict=True)
        ]

    def _join(self, seeds: Structures, parts: Sequence[Tensor]) -> Float[Tensor, " n_rows"]:
        flat = torch.cat([part.flatten() / scale for scale, part in zip(self._scales, parts, strict=True)])
        return flat.index_select(0, self._of(seeds).order)

    def _of(self, seeds: Structures) -> _Tables:
        # Found once for each batch, which saves sorting in every step of an attack.
        tables: _Tables | None = self._tables.get(seeds.structure_index)
        if tables is None:
            tables = self._tables[seeds.structure_index] = _tables(seeds, self.spaces)
        return tables


def _tables(seeds: Structures, spaces: Sequence[Space]) -> _Tables:
    owners, shapes = [], []
    for space in spaces:
        owner = space.owner(seeds)
        # The shape of a row is known from a delta only: that of one seed is enough.
        row = space.initial(seeds.take([0]), torch.Generator()).shape[1:]
        owners.append(owner.repeat_interleave(row.numel()))
        shapes.append((len(owner), *row))
    owner, order = torch.cat(owners).sort(stable=True)
    return _Tables(owner, order, order.argsort(), tuple(shapes))
