"""An objective from the text of its formula, as it stands in a configuration."""

import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sparring.atoms.dataset import Dataset
from sparring.expected_error import ExpectedErrors
from sparring.proposers import objectives
from sparring.proposers.boltzmann import boltzmann
from sparring.proposers.bond_window import bond_window
from sparring.proposers.energy_floor import below_floor, reachable
from sparring.proposers.mutual_repulsion import mutual_repulsion
from sparring.proposers.objectives import Term, as_term
from sparring.proposers.target_error import target_error
from sparring.support.formulas import Call, Name, Negative, Node, Number, Operation, Quantity, parse
from sparring.support.plugins import registered
from sparring.units import quantity

__all__ = ["PLUGIN_GROUP", "needs_reference", "objective_of"]

PLUGIN_GROUP = "sparring.objectives"

TERMS: Mapping[str, Term] = {
    "force_variance": objectives.force_variance,
    "free_force_variance": objectives.free_force_variance,
    "energy_variance": objectives.energy_variance,
    "stress_variance": objectives.stress_variance,
    "mean_energy": objectives.mean_energy,
    "closeness": objectives.closeness,
}
CALLS: Mapping[str, Callable[..., Term]] = {
    "log": objectives.log,
    "exp": objectives.exp,
    "boltzmann": boltzmann,
    "below_floor": below_floor,
    "bond_window": bond_window,
    "mutual_repulsion": mutual_repulsion,
    "reachable": reachable,
    "target_error": target_error,
}
OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


class Known(NamedTuple):
    """Things that terms may depend on, by the names of the parameters that ask for them.

    Attributes:
        reference: Labelled structures.
        expected: Expected errors of the committee.
    """

    reference: Dataset | None = None
    expected: ExpectedErrors | None = None


NEEDED = {
    "reference": "needs labelled structures; give some, or leave it out",
    "expected": "needs the errors of at least 5 labels that the committee was not trained on; leave it out until there "
    "are some",
}
"""Messages where a term cannot be had, by the name of its parameter."""


def objective_of(formula: str, *, reference: Dataset | None = None, expected: ExpectedErrors | None = None) -> Term:
    """The objective of a formula such as ``"log(force_variance) + boltzmann(20 kcal/mol)"``.

    Terms are those of :mod:`sparring.proposers.objectives` and those that packages register under the entry-point group
    "sparring.objectives": by its name alone an objective, with arguments a function that returns one. A function with a
    parameter ``reference`` gets the labelled structures, one with ``expected`` the expected errors.

    Args:
        formula: Text of the formula.
        reference: Labelled structures, for terms that need some.
        expected: Expected errors of the committee, for terms that need some.

    Raises:
        ValueError: If the formula cannot be read, a term is unknown, or one needs labelled structures or expected
            errors and there are none.
    """
    return as_term(_value(parse(formula), Known(reference, expected)))


def needs_reference(formula: str) -> bool:
    """True if a term of the formula needs labelled structures."""

    def needs(node: Node) -> bool:
        if isinstance(node, Operation):
            return needs(node.left) or needs(node.right)
        if isinstance(node, Negative):
            return needs(node.of)
        own = isinstance(node, Call) and "reference" in _parameters(_function(node.name))
        return own or (isinstance(node, Call) and any(map(needs, node.arguments)))

    return needs(parse(formula))


def _value(node: Node, known: Known) -> Any:  # noqa: ANN401 - a number, a word or an objective
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Quantity):
        return quantity(node.text)
    if isinstance(node, Negative):
        return -_value(node.of, known)
    if isinstance(node, Operation):
        return OPERATORS[node.operator](_value(node.left, known), _value(node.right, known))
    if isinstance(node, Name):
        return TERMS[node.name] if node.name in TERMS else _term(node.name, _loaded(node.name))
    function = _function(node.name)
    arguments = [_value(argument, known) for argument in node.arguments]
    keywords = {
        name: value.name if isinstance(value, Name) else _value(value, Known()) for name, value in node.keywords
    }
    for name, value in known._asdict().items():
        if name in _parameters(function):
            if value is None:
                raise ValueError(f"{node.name} in the objective {NEEDED[name]}")
            keywords[name] = value
    return _term(node.name, function(*arguments, **keywords))


def _term(name: str, objective: object) -> Term:
    if not callable(objective):
        raise ValueError(f"{name} is no objective (prediction, structures) -> scores but {objective!r:.80}")
    return as_term(objective)


def _function(name: str) -> Callable[..., Any]:
    return CALLS[name] if name in CALLS else _loaded(name)


def _loaded(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = registered(PLUGIN_GROUP, name, "term of an objective").load()
    return function


def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
