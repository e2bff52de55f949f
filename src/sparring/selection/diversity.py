r"""Batches that are diverse in the features of a committee: maximum determinant, and largest cluster maximum distance.

=================  ==========================================================
:math:`\varphi_x`  features of a structure, see :func:`sparring.evaluation.last_layer_features`
:math:`\sigma_x`   root of its force variance (Eq. 7)
=================  ==========================================================

Structures with near features have energies that errors of the last layer change alike, so that a label of one of them
says much about the other. A selector has a function for features instead of the committee: this room lies below it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.candidates import Candidates
from sparring.selection.parts import parts_of

__all__ = ["LCMD", "Features", "MaxDet"]

Features: TypeAlias = Callable[[Structures], Float[Tensor, "n_structures n_features"]]
"""Function from structures to their features."""
DEPENDENT = 1e-10
"""Part of the largest squared length below which what is left of a vector is rounding."""


@dataclass(frozen=True, kw_only=True)
class MaxDet:
    r"""Keep n candidates whose feature vectors span a large volume: the greedy maximum determinant.

    .. math:: \max_S \det\left(\sigma_x \sigma_y\, \varphi_x \cdot \varphi_y\right)_{x, y \in S}

    One candidate after the other, that with the longest part orthogonal to those before it (Gram-Schmidt, or a pivoted
    Cholesky decomposition). It is uncertain and unlike the others at once. The scale is σ, since scores may be
    logarithms and negative. Once the vectors depend on each other, the highest scores follow.

    Unconditional candidates count as if they were the most uncertain of all: that a committee is certain of them says
    nothing against a label.

    Attributes:
        n: Largest number of candidates.
        features: Function from structures to features.
        scaled: Flag to scale vectors by σ; without it, diversity counts alone.
        shares: Share of each part of a portfolio in n. Candidates are compared with those of all parts; what one part
            cannot use goes to the others. None to choose from all candidates at once.
    """

    n: int
    features: Features = field(repr=False)
    scaled: bool = True
    shares: Mapping[str, float] | None = None
    name: ClassVar[str] = "max_det"

    def __post_init__(self) -> None:
        _require_some(self.n)

    def __call__(self, candidates: Candidates) -> Int[np.ndarray, " n_kept"]:
        """The candidates of the largest determinant."""
        left = _rows(self.features, candidates.structures)
        if self.scaled:
            left = left * _scales(candidates)[:, None]
        least = DEPENDENT * np.square(left).sum(1).max(initial=0.0)
        batch = _Batch(candidates, self.n, self.shares)
        while batch.free.any():
            squares = np.where(batch.free, np.square(left).sum(1), -1.0)
            best = int(squares.argmax())
            if squares[best] > least:
                direction = left[best] / np.sqrt(squares[best])
                left = left - np.outer(left @ direction, direction)
            else:
                best = _highest(candidates.score, batch.free)
            batch.add(best)
        return batch.indices()


@dataclass(frozen=True, kw_only=True)
class LCMD:
    r"""Keep n candidates that stand for those around them: the largest cluster maximum distance.

    Holzmüller et al. (2023, arXiv:2203.09410). Every candidate belongs to the nearest centre c; centres are training
    structures and candidates that are chosen. The next one is, of the largest cluster, that farthest from its centre:

    .. math:: \text{size}(c) = \sum_{x \in c} |\varphi_x - \varphi_c|^2, \qquad
        \max_{x \in c} |\varphi_x - \varphi_c|

    Neither scores nor uncertainties count. Without training structures the candidate of highest score is the first.

    Attributes:
        n: Largest number of candidates.
        features: Function from structures to features.
        training: Structures that are labelled already; None for none.
        shares: Share of each part of a portfolio in n, as in :class:`MaxDet`. Clusters are those of the candidates of
            parts that may still have more.
    """

    n: int
    features: Features = field(repr=False)
    training: Structures | None = field(default=None, repr=False)
    shares: Mapping[str, float] | None = None
    name: ClassVar[str] = "lcmd"

    def __post_init__(self) -> None:
        _require_some(self.n)

    def __call__(self, candidates: Candidates) -> Int[np.ndarray, " n_kept"]:
        """The candidates that were chosen one after the other."""
        rows = _rows(self.features, candidates.structures)
        batch = _Batch(candidates, self.n, self.shares)
        nearest, owner, n_centres = np.full(len(rows), np.inf), np.zeros(len(rows), dtype=np.int64), 0
        for centre in () if self.training is None else _rows(self.features, self.training):
            nearest, owner = _joined(nearest, owner, rows, centre, n_centres)
            n_centres += 1
        while (free := batch.free).any():
            if n_centres:
                sizes = np.bincount(owner[free], weights=nearest[free])
                members = np.bincount(owner[free])
                largest = np.where(members > 0, sizes, -1.0).argmax()
                best = int(np.where(free & (owner == largest), nearest, -1.0).argmax())
            else:
                best = _highest(candidates.score, free)
            batch.add(best)
            nearest, owner = _joined(nearest, owner, rows, rows[best], n_centres)
            n_centres += 1
        return batch.indices()


class _Batch:
    """Candidates that are chosen one after the other, within the shares of the parts of a portfolio.

    Args:
        candidates: Candidates.
        n: Largest number to choose.
        shares: Share of each part; None to choose from all at once.

    Attributes:
        free: Mask of the candidates that may be next.
    """

    def __init__(self, candidates: Candidates, n: int, shares: Mapping[str, float] | None) -> None:
        self.free = np.zeros(candidates.structures.n_structures, dtype=bool)
        self._chosen: list[int] = []
        self._part, self._left = np.zeros(len(self.free), dtype=np.int64), list[int]()
        for number, part in enumerate(parts_of(candidates, n, shares)):
            self.free[part.places] = part.n > 0
            self._part[part.places] = number
            self._left.append(part.n)

    def add(self, index: int) -> None:
        """Choose a candidate; no more of its part are free once its share is used up."""
        self._chosen.append(index)
        self.free[index] = False
        number = self._part[index]
        self._left[number] -= 1
        if not self._left[number]:
            self.free &= self._part != number

    def indices(self) -> Int[np.ndarray, " n_chosen"]:
        """The chosen candidates, in ascending order."""
        return np.sort(np.array(self._chosen, dtype=np.int64))


def _scales(candidates: Candidates) -> Float[np.ndarray, " n"]:
    """Roots of the force variances, the largest of all for unconditional candidates."""
    sigma: Float[np.ndarray, " n"] = np.sqrt(candidates.force_variance)
    if candidates.unconditional is None:
        return sigma
    return np.where(candidates.unconditional, sigma.max(initial=0.0), sigma)


def _joined(
    nearest: Float[np.ndarray, " n"],
    owner: Int[np.ndarray, " n"],
    rows: Float[np.ndarray, "n n_features"],
    centre: Float[np.ndarray, " n_features"],
    number: int,
) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Squared distances to the nearest centre and its number, with one more centre."""
    squared = np.square(rows - centre).sum(1)
    return np.minimum(nearest, squared), np.where(squared < nearest, number, owner)


def _rows(features: Features, structures: Structures) -> Float[np.ndarray, "n_structures n_features"]:
    return np.asarray(features(structures).detach().cpu().double().numpy())


def _highest(score: Float[np.ndarray, " n"], free: Bool[np.ndarray, " n"]) -> int:
    return int(np.where(free, score, -np.inf).argmax())


def _require_some(n: int) -> None:
    if n < 1:
        raise ValueError(f"a batch must have at least one candidate, got n={n}")
