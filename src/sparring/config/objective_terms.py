"""Terms of objectives that have arguments: names, dimensions and limits of these, and how they are written."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from sparring.schema import values
from sparring.support.formulas import Call, Node, Number, Quantity, text_of

__all__ = ["BUILT_IN", "Argument", "at", "checked_term"]


class Argument(NamedTuple):
    """An argument of a term, and the numbers that it can be.

    Attributes:
        name: Name.
        least: Smallest value.
        most: Largest value.
        quantity: Dimension and unit; None for a number without one.
        optional: Flag for arguments that have a default.
        whole: Flag for whole numbers.
    """

    name: str
    least: float
    most: float
    quantity: values.Quantity | None = None
    optional: bool = False
    whole: bool = False

    def read(self, value: Node) -> Number | Quantity:
        """The value in one way of writing.

        Raises:
            ValueError: If it is no number, or out of range.
        """
        unit = f" {self.quantity.unit}" if self.quantity else ""
        if not (isinstance(value, Number) or (self.quantity and isinstance(value, Quantity))):
            wanted = f"a quantity of {self.quantity.dimension}" if self.quantity else "a number"
            raise ValueError(f"{self.name} {at(value)} is {wanted}, got {text_of(value)!r:.80}")
        written = value.text if isinstance(value, Quantity) else value.value
        try:
            number = self.quantity.read(written) if self.quantity else float(written)
        except ValueError as error:
            raise ValueError(f"{self.name} {at(value)}: {error}") from None
        if not self.least <= number <= self.most or (self.whole and number != int(number)):
            kind = "a whole number " if self.whole else ""
            limits = f"{kind}from {values.bound(self.least)} to {values.bound(self.most)}{unit}"
            raise ValueError(f"{self.name} {at(value)}: must be {limits}, got {number:.6g}{unit}")
        return Quantity(f"{number!r}{unit}") if self.quantity else Number(number)


TEMPERATURE = Argument("temperature", 1e-3, 1e5, values.Quantity("temperature", "K", most=1e6))
BUILT_IN: Mapping[str, tuple[str, tuple[Argument, ...]]] = {
    "below_floor": ("below_floor(300 K)", (TEMPERATURE,)),
    "reachable": ("reachable(300 K)", (TEMPERATURE,)),
    "bond_window": ("bond_window(0.8, 1.3)", (Argument("shortest", 0, 0.999), Argument("longest", 1.001, 10))),
    "target_error": (
        "target_error(0.3 eV/Å)",
        (Argument("error", 1e-4, 1e3, values.Quantity("force", "eV/Å", most=1e6)),),
    ),
    "mutual_repulsion": (
        "mutual_repulsion(0.3 Å)",
        (
            Argument("distance", 1e-3, 100, values.Quantity("length", "Å", most=1e4)),
            Argument("among", 2, 100, optional=True, whole=True),
        ),
    ),
}
"""Terms with arguments, besides the Boltzmann weight: an example, and what they take."""


def at(node: Node) -> str:
    """Place of a part of a formula, for messages."""
    return f"(character {node.position})"


def checked_term(call: Call) -> Call:
    """A term with its arguments in one way of writing.

    Raises:
        ValueError: If arguments are missing, are not known, or are out of range.
    """
    example, arguments = BUILT_IN[call.name]
    names = [argument.name for argument in arguments]
    given = [*zip(names, call.arguments, strict=False), *call.keywords]
    needed = {argument.name for argument in arguments if not argument.optional}
    fitting = needed <= {name for name, _ in given} <= set(names) and len(dict(given)) == len(given)
    if not fitting or len(call.arguments) > len(names):
        raise ValueError(f"{call.name} {at(call)} takes {' and '.join(names)}: {example}")
    read = {one.name: one.read(dict(given)[one.name]) for one in arguments if one.name in dict(given)}
    keywords = tuple((name, value) for name, value in read.items() if name not in needed)
    return replace(call, arguments=tuple(value for name, value in read.items() if name in needed), keywords=keywords)
