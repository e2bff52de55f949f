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
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from sparring import uncertainty
from sparring.atoms.closeness import soft_closeness
from sparring.atoms.strain import volumes
from sparring.atoms.structures import Structures
from sparring.committee import Prediction

__all__ = [
    "Objective",
    "Term",
    "closeness",
    "energy_variance",
    "exp",
    "force_variance",
    "free_force_variance",
    "log",
    "mean_energy",
    "needs_stress",
    "stress_variance",
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
        needs_stress: True if the score depends on stresses of the prediction, which attacks then ask for.
    """

    name: str
    score: Callable[[Prediction, Structures], Tensor]
    among: int = 1
    needs_stress: bool = False

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
        needs_stress=left.needs_stress or right.needs_stress,
    )


def as_term(value: Objective | float | int) -> Term:
    """An objective or a number as a term."""
    if isinstance(value, Term):
        return value
    if isinstance(value, int | float):
        number = float(value)
        return Term(name=f"{number:g}", score=lambda p, s: p.energy.new_full((s.n_structures,), number))
    return Term(
        name=getattr(value, "__name__", repr(value)),
        score=value,
        among=getattr(value, "among", 1),
        needs_stress=needs_stress(value),
    )


def needs_stress(objective: Objective) -> bool:
    """True if an objective depends on stresses of the prediction."""
    return bool(getattr(objective, "needs_stress", False))


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


def _stress_variance(prediction: Prediction, structures: Structures) -> Float[Tensor, " n_structures"]:
    if prediction.stress is None:
        raise ValueError("stress_variance needs stresses: committee.predict(structures, stress=True)")
    # Zero would pass for agreement.
    has_volume = volumes(structures.cells) > 0
    return torch.where(has_volume, uncertainty.stress_variance(prediction.stress), torch.nan)


stress_variance = Term(name="stress_variance", score=_stress_variance, needs_stress=True)
"""Disagreement about the stress, (eV/Å³)²; NaN for a structure without three lattice vectors, which has none."""

energy_variance = Term(name="energy_variance", score=lambda p, s: uncertainty.energy_variance(p.energy))
"""Disagreement about the energy, eV²: Eq. 5."""

mean_energy = Term(name="mean_energy", score=lambda p, s: p.energy.mean(0))
"""Mean energy of the committee, eV: Eq. 4."""

closeness = Term(name="closeness", score=lambda p, s: soft_closeness(s))
"""Closeness of the closest pair of atoms, without a unit: about 0 for bonds of usual length, 1 for atoms that merge
(:func:`sparring.atoms.closeness.soft_closeness`)."""
