"""Selectors one after the other: uncertain, low enough in energy, distinct, within the budget.

A selector is any function from `Candidates` to the indices it keeps; `select` applies several one after the other.
Other packages register theirs under the entry-point group "sparring.selectors" (:func:`plugin`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Bool, Float, Int

from sparring import uncertainty
from sparring.atoms.similarity import Linkage, alike
from sparring.candidates import Candidates
from sparring.labels.base import composition
from sparring.selection.parts import Part, parts_of
from sparring.support.plugins import registered
from sparring.support.seeds import derive

__all__ = [
    "Budget",
    "Candidates",
    "Distinct",
    "EnergyWindow",
    "Selection",
    "SelectionStep",
    "Selector",
    "UncertaintyAbove",
    "plugin",
    "select",
    "threshold_from",
]


PLUGIN_GROUP = "sparring.selectors"


@runtime_checkable
class Selector(Protocol):
    """Keeps some candidates: their indices, in ascending order."""

    def __call__(self, candidates: Candidates) -> Int[np.ndarray, " n_kept"]:
        """The indices of the candidates to keep, in ascending order."""
        ...


class SelectionStep(NamedTuple):
    """Numbers of candidates before and after one selector."""

    name: str
    n_in: int
    n_out: int


class Selection(NamedTuple):
    """The chosen candidates, in ascending order, and how the selectors came to them."""

    indices: Int[np.ndarray, " n_chosen"]
    steps: tuple[SelectionStep, ...]


def select(candidates: Candidates, *selectors: Selector) -> Selection:
    """Apply selectors in the order given, each to what the ones before it kept.

    Candidates with a value that is not finite, from attacks that never had one, are left out first.

    Raises:
        ValueError: If the candidates' arrays differ in length, or a selector keeps what it was not given.
    """
    everything = np.arange(candidates.structures.n_structures)
    kept = everything[_finite(candidates)]
    steps = [SelectionStep(name="finite", n_in=len(everything), n_out=len(kept))]
    for selector in selectors:
        name = str(getattr(selector, "name", None) or getattr(selector, "__name__", type(selector).__name__))
        # A batch of no structures is no batch: there is nothing left to choose from.
        chosen = selector(candidates.take(kept)) if len(kept) else kept
        if len(chosen) and (np.diff(chosen).min(initial=1) < 1 or chosen[0] < 0 or chosen[-1] >= len(kept)):
            raise ValueError(f"{name} must keep ascending indices below {len(kept)}, got {chosen.tolist()}")
        steps.append(SelectionStep(name=name, n_in=len(kept), n_out=len(chosen)))
        kept = kept[chosen]
    return Selection(indices=kept, steps=tuple(steps))


def threshold_from(force_variances: Float[np.ndarray, " n_structures"], percentile: float = 80.0) -> float:
    """The threshold t of Eq. 8: a percentile of σ_F² over the training set, in (eV/Å)².

    Raises:
        ValueError: If there is nothing to take a percentile of, or no such percentile.
    """
    if not 0 <= percentile <= 100:
        raise ValueError(f"a percentile lies between 0 and 100, got {percentile:g}")
    if not len(force_variances) or not np.isfinite(force_variances).all():
        raise ValueError(
            f"the threshold needs finite variances of the training set; got {len(force_variances)}, "
            f"of which {(~np.isfinite(force_variances)).sum()} are not finite"
        )
    return float(np.percentile(force_variances, percentile))


@dataclass(frozen=True, kw_only=True)
class UncertaintyAbove:
    r"""Keep uncertain candidates: :math:`\sigma_F^2 \geq t`, the second case of Eq. 8.

    The published code requires every force component to exceed the percentile instead; this is the paper's text.

    Attributes:
        threshold: t in (eV/Å)², see `threshold_from`.
    """

    threshold: float
    name: ClassVar[str] = "uncertainty_above"

    def __call__(self, candidates: Candidates) -> Int[np.ndarray, " n_kept"]:
        """The candidates outside the committee's domain."""
        variances = torch.as_tensor(candidates.force_variance)
        uncertain = ~uncertainty.is_familiar(variances, self.threshold).numpy()
        return np.flatnonzero(uncertain if candidates.unconditional is None else uncertain | candidates.unconditional)


@dataclass(frozen=True, kw_only=True)
class EnergyWindow:
    """Keep candidates whose mean energy is at most `window` above the lowest known energy.

    Attributes:
        above: Lowest known energy in eV, or one for each composition: a chemical formula, and the charge where
            there is one, as in "H3N" and "H3N+1" (:func:`sparring.labels.base.composition`).
        window: Width in eV. Candidates below the lowest known energy are kept: they need a label most.
    """

    above: float | Mapping[str, float]
    window: float
    name: ClassVar[str] = "energy_window"

    def __post_init__(self) -> None:
        if not self.window > 0:
            raise ValueError(f"an energy window must be wider than zero, got {self.window:g} eV")

    def __call__(self, candidates: Candidates) -> Int[np.ndarray, " n_kept"]:
        """The candidates in the window."""
        structures = candidates.structures.to_atoms()
        for atoms, charge in zip(structures, candidates.charge if candidates.charge is not None else (), strict=False):
            atoms.info["charge"] = int(charge)
        lowest = np.array([self._lowest(atoms) for atoms in structures])
        return np.flatnonzero(candidates.energy - lowest <= self.window)

    def _lowest(self, atoms: Atoms) -> float:
        if not isinstance(self.above, Mapping):
            return self.above
        name = composition(atoms)
        if name not in self.above:
            raise ValueError(f"no lowest energy is known for {name}, only for {', '.join(sorted(self.above))}")
        return self.above[name]


@dataclass(frozen=True, kw_only=True)
class Distinct:
    """Keep one of several like geometries: hierarchical clustering on their RMSD, the highest score of each cluster.

    Of equal scores the first candidate stays; scores of different parts of a portfolio count by their rank. Structures
    of different composition are always distinct; so are those that are periodic along different lattice vectors, and
    those whose atoms are listed in different order, unless like atoms may be exchanged.

    The distance of crystals, slabs and chains knows their cells, too (:mod:`sparring.atoms.crystals`): images of an
    atom are the same, and so are lattice vectors by other names. A strain counts by what it does to the distance of
    nearest neighbours. Aligned single atoms of one element are alike; crystals of one atom differ by their cells. The
    particle of a toy well (``X``) is compared where it is.

    Attributes:
        rmsd: Distance in Å within which clusters are merged.
        align: Compare after the best translation and proper rotation.
        permute: Compare after the best exchange of like atoms.
        linkage: Distance of two clusters: the mean over all pairs, or the shortest, or the longest.
        progress: Called with the number of pairs compared and to compare.
    """

    rmsd: float
    align: bool = True
    permute: bool = False
    linkage: Linkage = "average"
    progress: Callable[[int, int], None] | None = field(default=None, repr=False, compare=False)
    name: ClassVar[str] = "distinct"

    def __post_init__(self) -> None:
        if not self.rmsd >= 0:
            raise ValueError(f"the distance of distinct structures cannot be negative, got {self.rmsd:g} Å")
        if self.linkage not in ("average", "single", "complete"):
            raise ValueError(f"linkage must be average, single or complete, got {self.linkage!r}")

    def __call__(self, candidates: Candidates) -> Int[np.ndarray, " n_kept"]:
        """The best candidate of each cluster."""
        clusters = alike(
            candidates.structures,
            rmsd=self.rmsd,
            align=self.align,
            permute=self.permute,
            linkage=self.linkage,
            progress=self.progress,
        )
        # By cluster, then by falling score; the sort is stable, so that of equal scores the first stays.
        order = np.lexsort((-candidates.comparable_score(), clusters))
        _, best = np.unique(clusters[order], return_index=True)
        return np.sort(order[best])


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Keep at most n candidates: those of highest score (of equal scores the first), or a random draw.

    Attributes:
        n: Largest number of labels.
        order: By score, or at random as in the paper's baseline.
        seed: For the random draw.
        shares: Share of each part of a portfolio, which is chosen from apart; what one cannot use goes to the others.
            None to choose from all candidates at once.
    """

    n: int
    order: Literal["score", "random"] = "score"
    seed: int = 0
    shares: Mapping[str, float] | None = None
    name: ClassVar[str] = "budget"

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"a budget must be at least one label, got {self.n}")
        if self.order not in ("score", "random"):
            raise ValueError(f"the order of a budget must be score or random, got {self.order!r}")

    def __call__(self, candidates: Candidates) -> Int[np.ndarray, " n_kept"]:
        """The candidates that the budget pays for."""
        kept = [
            part.places[self._ordered(candidates.score[part.places], self._seed_of(part))[: part.n]]
            for part in parts_of(candidates, self.n, self.shares)
        ]
        return np.sort(np.concatenate(kept))

    def _seed_of(self, part: Part) -> int:
        return self.seed if part.name is None else derive(self.seed, part.name)

    def _ordered(self, scores: Float[np.ndarray, " n"], seed: int) -> Int[np.ndarray, " n"]:
        if self.order == "random":
            return np.random.default_rng(seed).permutation(len(scores))
        return np.argsort(-scores, kind="stable")


def plugin(name: str, parameters: Mapping[str, object] | None = None) -> Selector:
    """A selector that an installed package registers under "sparring.selectors".

    Args:
        name: Name of the entry point, whose object is called with the parameters and returns a selector.
        parameters: Keyword arguments of that call.

    Raises:
        ValueError: If no package registers the name, the parameters are not accepted, or the result is no selector.
    """
    make = registered(PLUGIN_GROUP, name, "selector").load()
    try:
        made = make(**dict(parameters or {}))
    except TypeError as error:
        raise ValueError(f"selector {name!r} does not accept parameters {dict(parameters or {})}: {error}") from error
    if not callable(made):
        raise ValueError(f"plugin {name!r} must return a selector, a function from Candidates to indices, got {made!r}")
    return made  # type: ignore[no-any-return]


def _finite(candidates: Candidates) -> Bool[np.ndarray, " n_candidates"]:
    """Mask of the candidates whose values are all finite."""
    structures = candidates.structures
    bad = (~torch.isfinite(structures.positions)).any(1).long()
    bad_atoms = bad.new_zeros(structures.n_structures).index_add(0, structures.structure_index, bad)
    finite = (bad_atoms == 0).cpu().numpy()
    for name in ("score", "energy", "energy_variance", "force_variance"):
        values = getattr(candidates, name)
        if values.shape != (structures.n_structures,):
            raise ValueError(
                f"{name} must have one value for each of {structures.n_structures} structures, got {values.shape}"
            )
        finite &= np.isfinite(values)
    return finite
