"""Objectives of attacks: functions of a prediction that add, scale and multiply.

An objective is any callable ``(Prediction, Structures) -> score (n_structures,)``; higher values are labelled first.

>>> objective = log(force_variance) + 0.5 * log(energy_variance)
>>> objective
log(force_variance) + 0.5 * log(energy_variance)
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring import uncertainty
from sparring.atoms.closeness import soft_closeness
from sparring.atoms.dataset import Dataset
from sparring.atoms.structures import Structures
from sparring.committee import Prediction

Per = Literal["structure", "atom", "degree_of_freedom"]
"""Share of the energy that counts in the Boltzmann weight."""
AMMONIA_ATOMS, AMMONIA_DEGREES_OF_FREEDOM = 4, 6
"""The size of the molecule for which the paper chose kT = 20 kcal/mol."""

__all__ = [
    "Boltzmann",
    "Objective",
    "Per",
    "Term",
    "boltzmann",
    "boltzmann_weighted",
    "closeness",
    "energy_variance",
    "exp",
    "force_variance",
    "free_force_variance",
    "log",
    "mean_energy",
]


@runtime_checkable
class Objective(Protocol):
    """Score of every structure, differentiable in its positions."""

    def __call__(self, prediction: Prediction, structures: Structures) -> Float[Tensor, " n_structures"]:
        """The scores; higher values are labelled first."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Term:
    """An objective that adds, scales and multiplies with others and with numbers.

    Attributes:
        name: Formula.
        score: Function that computes it.
        among: Number of consecutive structures whose scores depend on each other; 1 if each has its own.
    """

    name: str
    score: Callable[[Prediction, Structures], Tensor]
    among: int = 1

    def __call__(self, prediction: Prediction, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Score of every structure."""
        return self.score(prediction, structures)

    def __repr__(self) -> str:
        """The formula."""
        return self.name

    def __add__(self, other: "Objective | float | int") -> "Term":
        """Sum of both."""
        right = as_term(other)
        return _combined(f"{self} + {right}", self, right, operator.add)

    def __sub__(self, other: "Objective | float | int") -> "Term":
        """Difference of both."""
        right = as_term(other)
        return _combined(f"{self} - {_factor(right)}", self, right, operator.sub)

    def __mul__(self, other: "Objective | float | int") -> "Term":
        """Product of both."""
        right = as_term(other)
        return _combined(f"{_factor(self)} * {_factor(right)}", self, right, operator.mul)

    def __truediv__(self, other: "Objective | float | int") -> "Term":
        """Quotient of both."""
        right = as_term(other)
        return _combined(f"{_factor(self)} / {_divisor(right)}", self, right, operator.truediv)

    def __neg__(self) -> "Term":
        """The objective with the other sign."""
        return replace(self, name=f"-{_divisor(self)}", score=lambda p, s: -self(p, s))

    def __radd__(self, other: float | int) -> "Term":
        """Sum of both."""
        return as_term(other) + self

    def __rsub__(self, other: float | int) -> "Term":
        """Difference of both."""
        return as_term(other) - self

    def __rtruediv__(self, other: float | int) -> "Term":
        """Quotient of both."""
        return as_term(other) / self

    def __rmul__(self, other: float | int) -> "Term":
        """Product of both."""
        return as_term(other) * self


def _combined(name: str, left: Term, right: Term, operation: Callable[[Tensor, Tensor], Tensor]) -> Term:
    return Term(
        name=name,
        score=lambda p, s: operation(left(p, s), right(p, s)),
        among=math.lcm(left.among, right.among),
    )


def as_term(value: Objective | float | int) -> Term:
    """An objective or a number as a term."""
    if isinstance(value, Term):
        return value
    if isinstance(value, int | float):
        number = float(value)
        return Term(name=f"{number:g}", score=lambda p, s: p.energy.new_full((s.n_structures,), number))
    return Term(name=getattr(value, "__name__", repr(value)), score=value, among=getattr(value, "among", 1))


def _factor(term: Term) -> str:
    return f"({term})" if " + " in term.name or " - " in term.name else term.name


def _divisor(term: Term) -> str:
    name = _factor(term)
    return f"({name})" if name == term.name and (" * " in name or " / " in name or name[0] == "-") else name


def log(objective: Objective) -> Term:
    """Natural logarithm of an objective that is positive.

    It is greatest where the objective is, and its gradient does not fade where the objective is small.
    """
    term = as_term(objective)
    # The smallest double instead of zero: where members agree exactly, the gradient is zero rather than NaN.
    return replace(term, name=f"log({term})", score=lambda p, s: term(p, s).double().clamp(min=1e-300).log())


def exp(objective: Objective) -> Term:
    """Exponential of an objective."""
    term = as_term(objective)
    return replace(term, name=f"exp({term})", score=lambda p, s: term(p, s).double().exp())


force_variance = Term(
    name="force_variance", score=lambda p, s: uncertainty.force_variance(p.forces, s.structure_index, s.n_structures)
)
"""Disagreement about the forces, (eV/Å)²: Eq. 7, the adversarial loss of Eq. 10."""


def _free_force_variance(prediction: Prediction, structures: Structures) -> Float[Tensor, " n_structures"]:
    of_atoms, index = uncertainty.atom_variance(prediction.forces), structures.structure_index
    if structures.fixed is None:
        return uncertainty.mean_over_atoms(of_atoms, index, structures.n_structures)
    free = (~structures.fixed.all(1)).to(of_atoms)
    sums, sizes = (uncertainty.sum_over_atoms(v, index, structures.n_structures) for v in (of_atoms * free, free))
    return sums / sizes.clamp(min=1.0)


free_force_variance = Term(name="free_force_variance", score=_free_force_variance)
"""Disagreement about the forces on atoms that are not fixed, (eV/Å)²: Eq. 7 with the mean over these."""

energy_variance = Term(name="energy_variance", score=lambda p, s: uncertainty.energy_variance(p.energy))
"""Disagreement about the energy, eV²: Eq. 5."""

mean_energy = Term(name="mean_energy", score=lambda p, s: p.energy.mean(0))
"""Mean energy of the committee, eV: Eq. 4."""

closeness = Term(name="closeness", score=lambda p, s: soft_closeness(s))
"""Closeness of the closest pair of atoms, without a unit: about 0 for bonds of usual length, 1 for atoms that merge
(:func:`sparring.atoms.closeness.soft_closeness`)."""


@dataclass(frozen=True, kw_only=True)
class Boltzmann:
    r"""Logarithm of the probability that a structure is met at a temperature, :math:`\ln p`.

    .. math:: \ln p(X) = -\bar E(X) / kT - \ln Q, \qquad Q = \sum_{\mathcal D} \exp(-E / kT)

    Eq. 11 and 12 of Schwalbe-Koda et al. (2021), with total energies. These grow with the number of atoms n, while
    :math:`\sigma_F^2` is a mean over atoms: in a large molecule the weight decides alone, and attacks become
    relaxations. With ``per`` other than "structure" E is counted per atom or per degree of freedom, in units of
    ammonia's, so that kT means in every structure what it means for the paper's ammonia:

    .. math:: E / kT \;\to\; E / (s\,kT), \qquad s = n / 4 \quad\text{or}\quad s = f / 6, \quad
        f = \max(3n - 6, 1), \text{ or } \max(3n - 3, 1) \text{ of what is periodic}

    f degrees of freedom hold a thermal energy of f kT/2, so that a structure as hot as ammonia in every one of them has
    the same weight. Energies of molecules that differ in composition or charge
    share no zero, so each composition has a Q of its own, from the structures of the data set that have it. Everything
    is measured from the lowest energy of the composition, so that thousands of eV neither overflow nor drown the rest.

    A structure whose composition the data set does not have gets NaN.

    Attributes:
        kT: Thermal energy in eV.
        per: Share of the energy that counts: the total, or that of an atom or a degree of freedom.
        compositions: Number of atoms of each element, and the charge last; one row a composition.
        lowest: Lowest energy of each composition, in eV.
        log_partition: :math:`\ln Q` of each composition, measured from its lowest energy.
    """

    kT: float
    per: Per = "structure"
    compositions: Int[Tensor, "n_compositions n_elements_and_charge"]
    lowest: Float[Tensor, " n_compositions"]
    log_partition: Float[Tensor, " n_compositions"]

    @classmethod
    def from_dataset(cls, kT: float, reference: Dataset, per: Per = "structure") -> "Boltzmann":
        """Construct Q from labelled structures.

        Raises:
            ValueError: If kT is not positive, or `per` is none of the three.
        """
        if not (kT > 0 and math.isfinite(kT)):
            raise ValueError(f"kT must be a positive energy in eV, got {kT}")
        if per not in get_args(Per):
            raise ValueError(f"energies count per {', '.join(get_args(Per))}, got per={per!r}")
        rows = reference.structures.element_counts(int(reference.structures.atomic_numbers.max()) + 1)
        compositions, which = torch.unique(rows, dim=0, return_inverse=True)
        groups = [reference.energy[which == k] for k in range(len(compositions))]
        lowest = torch.stack([energies.min() for energies in groups])
        thermal = kT * relative_size(reference.structures, per)
        above = [(reference.energy[which == k] - lowest[k]) / thermal[which == k] for k in range(len(compositions))]
        log_partition = torch.stack([torch.logsumexp(-energies, 0) for energies in above])
        return cls(kT=kT, per=per, compositions=compositions, lowest=lowest, log_partition=log_partition)

    def __call__(self, prediction: Prediction, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Logarithm of p for every structure under the committee's mean energy."""
        device = prediction.energy.device
        rows = structures.element_counts(self.compositions.shape[1] - 1)
        same = (rows.unsqueeze(1) == self.compositions.to(device)).all(-1)
        # Rows of zeros where nothing matches would pass for an energy of zero; NaN marks an unknown composition.
        unknown = torch.where(same.any(1), 0.0, torch.nan)
        lowest = (same * self.lowest.to(device)).sum(1)
        log_partition = (same * self.log_partition.to(device)).sum(1) + unknown
        thermal = self.kT * relative_size(structures, self.per).to(device)
        return -(prediction.energy.double().mean(0) - lowest) / thermal - log_partition


def relative_size(structures: Structures, per: Per) -> Float[Tensor, " n_structures"]:
    """Size of a structure relative to ammonia: by its atoms, by its degrees of freedom, or 1 for all."""
    counts = structures.counts.double()
    if per == "structure":
        return torch.ones_like(counts)
    if per == "atom":
        return counts / AMMONIA_ATOMS
    # A crystal as a whole does not turn: three translations are all that leaves its energy as it is.
    rigid = torch.where(structures.pbc.any(1), 3.0, 6.0)
    n_fixed = torch.zeros_like(counts)
    if structures.fixed is not None:
        n_fixed = n_fixed.index_add(0, structures.structure_index, structures.fixed.double().sum(1))
        rigid = torch.where(n_fixed > 0, 0.0, rigid)  # a structure with fixed atoms does not move as a whole
    return (3 * counts - n_fixed - rigid).clamp(min=1.0) / AMMONIA_DEGREES_OF_FREEDOM


def boltzmann(kT: float, reference: Dataset, *, per: Per = "structure") -> Term:
    r"""The thermodynamic likelihood of a structure as a term: :math:`\ln p(X)` of Eq. 12 (see :class:`Boltzmann`).

    Args:
        kT: Thermal energy in eV; with `per` other than "structure", that of a molecule as large as ammonia.
        reference: Labelled structures for Q.
        per: Share of the energy that counts: the total as in the paper, or that of an "atom" or a "degree_of_freedom",
            so that kT means the same for structures of every size.
    """
    size = "" if per == "structure" else f", per={per}"
    return Term(name=f"boltzmann(kT={kT:.4g} eV{size})", score=Boltzmann.from_dataset(kT, reference, per))


def boltzmann_weighted(objective: Objective, *, kT: float, reference: Dataset, per: Per = "structure") -> Term:
    r"""An uncertainty weighted by how likely the structure is: :math:`p(X)\,\sigma^2(X)`, Eq. 13.

    Its logarithm, ``log(objective) + boltzmann(kT, reference)``, has its maxima in the same places.
    """
    return exp(boltzmann(kT, reference, per=per)) * objective
