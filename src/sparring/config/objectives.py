"""The objective of attacks: a formula of registered terms, or the keys that a configuration had before formulas."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import BeforeValidator, ValidationError

from sparring.config.objective_terms import BUILT_IN, at, checked_term
from sparring.config.problems import KeyPath, explain
from sparring.schema import values
from sparring.schema.base import Section
from sparring.schema.values import Energy, shown
from sparring.support.formulas import Call, Name, Negative, Node, Number, Operation, Quantity, parse, text_of
from sparring.support.suggestions import did_you_mean
from sparring.units import quantity

__all__ = ["Formula", "ObjectiveKeys", "Per", "boltzmann_kT", "boltzmann_per", "from_keys", "terms_of", "with_per"]

Per: TypeAlias = Literal["structure", "atom", "degree_of_freedom"]

GROUP = "sparring.objectives"
TERMS = ("force_variance", "free_force_variance", "energy_variance", "stress_variance", "mean_energy", "closeness")
FUNCTIONS = ("log", "exp")
EXAMPLE = "log(force_variance) + boltzmann(20 kcal/mol)"
ENERGY = values.Quantity("energy", "eV", most=1e6)
LEAST_KT, MOST_KT = 1e-6, 1000.0


def _read(value: object) -> str:
    """A formula in one way of writing, thermal energies in eV.

    Raises:
        ValueError: If it is no formula, or has a term or an argument that is not known.
    """
    if not isinstance(value, str):
        raise ValueError(f"wanted a formula such as '{EXAMPLE}', got {shown(value)}")
    formula = _checked(parse(value))
    if _constant(formula) is not None:
        raise ValueError(f"{value!r:.80} is the same for all structures; a formula has a term, as in '{EXAMPLE}'")
    return text_of(formula)


Formula = Annotated[str, BeforeValidator(_read)]


class ObjectiveKeys(Section):
    """The keys of an objective that is not written as a formula."""

    uncertainty: Literal["force_variance", "energy_variance"] = "force_variance"
    kT: Energy | None = quantity("20 kcal/mol", "energy")
    per: Per | None = None
    logarithm: bool = False

    def formula(self, kT: object = None) -> str:
        """The same as a formula: Eq. 10 without kT, Eq. 13 with it, or the logarithm of either.

        Args:
            kT: Thermal energy as it is written; None for the number in eV.
        """
        if self.kT is None:
            return f"log({self.uncertainty})" if self.logarithm else self.uncertainty
        energy = kT if isinstance(kT, str) else f"{self.kT!r} eV"
        weight = f"boltzmann({energy}{f', per={self.per}' if self.per else ''})"
        return f"log({self.uncertainty}) + {weight}" if self.logarithm else f"exp({weight}) * {self.uncertainty}"


def from_keys(keys: Mapping[str, object]) -> tuple[str | None, list[tuple[KeyPath, str]]]:
    """The formula of an objective that is written in keys, or what is wrong with them, by their path."""
    try:
        read = ObjectiveKeys.model_validate(keys)
    except ValidationError as error:
        return None, explain(error, ObjectiveKeys)
    if read.kT is not None and (problem := _beyond(read.kT)):
        return None, [(("kT",), problem)]
    return read.formula(keys.get("kT", "20 kcal/mol")), []


def with_per(formula: str, per: Per) -> str:
    """The formula with ``per`` written out in every Boltzmann weight that leaves it open."""

    def written(node: Node) -> Node:
        if isinstance(node, Operation):
            return replace(node, left=written(node.left), right=written(node.right))
        if isinstance(node, Negative):
            return replace(node, of=written(node.of))
        if not isinstance(node, Call):
            return node
        node = replace(node, arguments=tuple(map(written, node.arguments)))
        if node.name != "boltzmann" or "per" in dict(node.keywords):
            return node
        return replace(node, keywords=(*node.keywords, ("per", Name(per))))

    return text_of(written(parse(formula)))


def terms_of(formula: str) -> frozenset[str]:
    """Names of all terms and functions of a formula."""

    def names(node: Node) -> frozenset[str]:
        if isinstance(node, Operation):
            return names(node.left) | names(node.right)
        if isinstance(node, Negative):
            return names(node.of)
        if isinstance(node, Call):
            return frozenset({node.name}).union(*map(names, node.arguments))
        return frozenset({node.name} if isinstance(node, Name) else ())

    return names(parse(formula))


def boltzmann_per(formula: str) -> Per | None:
    """Value of ``per`` in the first Boltzmann weight that has one."""
    found = (dict(call.keywords).get("per") for call in _weights(parse(formula)))
    names = (value.name for value in found if isinstance(value, Name))
    known: dict[str, Per] = {name: name for name in get_args(Per)}
    return next((known[name] for name in names if name in known), None)


def boltzmann_kT(formula: str) -> float | None:
    """Thermal energy of the first Boltzmann weight in eV; None if there is no weight."""
    energies = (ENERGY.read(text_of(call.arguments[0])) for call in _weights(parse(formula)))
    return next(energies, None)


def _weights(node: Node) -> Iterator[Call]:
    if isinstance(node, Operation):
        yield from (*_weights(node.left), *_weights(node.right))
    elif isinstance(node, Negative):
        yield from _weights(node.of)
    elif isinstance(node, Call):
        if node.name == "boltzmann":
            yield node
        for argument in node.arguments:
            yield from _weights(argument)


# --- checks ---------------------------------------------------------------------------------------------------------


def _checked(node: Node) -> Node:
    """The formula with energies in eV, if all of it is known."""
    if isinstance(node, Operation):
        node = replace(node, left=_checked(node.left), right=_checked(node.right))
        if node.operator == "/" and _constant(node.right) == 0:
            raise ValueError(f"division by zero {at(node.right)}")
        if not math.isfinite(_constant(node) or 0.0):
            raise ValueError(f"{text_of(node):.60} {at(node)} is no finite number")
        return node
    if isinstance(node, Negative):
        return replace(node, of=_checked(node.of))
    if isinstance(node, Quantity):
        raise ValueError(f"{node.text!r} {at(node)} is no argument of a term; a quantity is, as in '{EXAMPLE}'")
    if isinstance(node, Call):
        return _checked_call(node)
    if isinstance(node, Name):
        if node.name in (*FUNCTIONS, "boltzmann", *BUILT_IN):
            examples = {"boltzmann": "boltzmann(20 kcal/mol)"} | {name: one for name, (one, _) in BUILT_IN.items()}
            wanted = examples.get(node.name, f"{node.name}(force_variance)")
            raise ValueError(f"{node.name} {at(node)} needs an argument: {wanted}")
        _require_known(node)
    return node


def _checked_call(call: Call) -> Call:
    if call.name == "boltzmann":
        return _checked_weight(call)
    if call.name in BUILT_IN:
        return checked_term(call)
    if call.name in FUNCTIONS:
        if len(call.arguments) != 1 or call.keywords:
            raise ValueError(f"{call.name} {at(call)} takes one formula: {call.name}(force_variance)")
        return replace(call, arguments=(_checked(call.arguments[0]),))
    if call.name in TERMS:
        raise ValueError(f"{call.name} {at(call)} takes no arguments; leave out the brackets")
    _require_known(call)
    for _, value in call.keywords:
        if isinstance(value, Quantity):
            quantity(value.text)
        elif not isinstance(value, Name) and _constant(value) is None:
            raise ValueError(f"the value {at(value)} of a keyword is a number, a quantity or a word")
    arguments = (one if isinstance(one, Quantity) and quantity(one.text) else _checked(one) for one in call.arguments)
    return replace(call, arguments=tuple(arguments))


def _checked_weight(call: Call) -> Call:
    given = dict(call.keywords)
    if len(call.arguments) > 1 or not set(given) <= {"kT", "per", "pressure"} or len(given) < len(call.keywords):
        raise ValueError(f"boltzmann {at(call)} takes kT, per and pressure: boltzmann(20 kcal/mol, per=atom)")
    if ("kT" in given) == bool(call.arguments):
        raise ValueError(f"boltzmann {at(call)} needs one thermal energy: boltzmann(20 kcal/mol)")
    energy = given.get("kT") or call.arguments[0]
    if not isinstance(energy, Number | Quantity):
        raise ValueError(f"kT {at(energy)} is an energy, as in boltzmann(20 kcal/mol), got {text_of(energy)!r:.80}")
    try:
        kT = ENERGY.read(energy.text if isinstance(energy, Quantity) else energy.value)
        problem = _beyond(kT)
    except ValueError as error:
        problem = str(error)
    if problem:
        raise ValueError(f"kT {at(energy)}: {problem}")
    per = given.get("per")
    if per is not None and (not isinstance(per, Name) or per.name not in get_args(Per)):
        name = text_of(per)
        raise ValueError(
            f"per={name} {at(per)} is not known{did_you_mean(name, get_args(Per))}; known: {', '.join(get_args(Per))}"
        )
    keywords: tuple[tuple[str, Node], ...] = () if per is None else (("per", per),)
    if (pressure := given.get("pressure")) is not None:
        keywords += (("pressure", _pressure(pressure)),)
    return replace(call, arguments=(Quantity(f"{kT!r} eV"),), keywords=keywords)


def _pressure(value: Node) -> Quantity:
    """A pressure in eV/Å³."""
    try:
        if not isinstance(value, Quantity):
            raise ValueError(f"wanted a pressure with its unit, as in pressure=1 GPa, got {text_of(value)!r:.80}")
        return Quantity(f"{values.PRESSURE.read(value.text)!r} eV/Å^3")
    except ValueError as error:
        raise ValueError(f"pressure {at(value)}: {error}") from None


def _beyond(kT: float) -> str | None:
    """The problem of a thermal energy out of range; None if it is in range."""
    if LEAST_KT <= kT <= MOST_KT:
        return None
    side = f"at least {values.bound(LEAST_KT)}" if kT < LEAST_KT else f"at most {values.bound(MOST_KT)}"
    return f"must be {side} eV, got {kT:.6g} eV"


def _require_known(node: Name | Call) -> None:
    if node.name in TERMS:
        return
    brought = sorted(entry_points(group=GROUP).names)
    if node.name not in brought:
        known = (*TERMS, "boltzmann", *BUILT_IN, *FUNCTIONS, *brought)
        raise ValueError(
            f"unknown term {node.name!r:.80} {at(node)}{did_you_mean(node.name, known)}; known: {', '.join(known)}"
        )


def _constant(node: Node) -> float | None:
    """The number that a formula is, if it has no term."""
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Negative):
        inner = _constant(node.of)
        return None if inner is None else -inner
    if isinstance(node, Operation):
        left, right = _constant(node.left), _constant(node.right)
        if left is None or right is None:
            return None
        if node.operator == "/":
            return left / right if right else 0.0
        return {"+": left + right, "-": left - right, "*": left * right}[node.operator]
    if isinstance(node, Call) and node.name in FUNCTIONS:
        return None if _constant(node.arguments[0]) is None else 0.0
    return None
