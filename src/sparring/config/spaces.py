"""The sections about what an attack moves: one for each space, as attacks climb in it or are drawn at random in it."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from sparring.schema.base import Section
from sparring.schema.values import (
    Angle,
    AngleOrZero,
    Atoms,
    Length,
    LengthOrZero,
    Norm,
    Number,
    Torsions,
)

__all__ = ["SHORT", "AnySpace", "AttackSpace", "Axes", "RandomSpace", "in_full"]

Axes = Literal["x", "y", "z", "xy", "xz", "yz", "xyz"]

SHORT: dict[str, tuple[str, ...]] = {
    "adversarial": ("initial_spread", "axes", "bound"),
    "random": ("amplitude", "axes"),
}
"""Keys of the Cartesian space that the section of an attack may have itself, by its kind."""


MOST_SPACES = 20


def _some(spaces: tuple[Section, ...]) -> tuple[Section, ...]:
    if not spaces:
        raise ValueError("wanted at least one space, such as [{kind: cartesian}], got none")
    if len(spaces) > MOST_SPACES:
        raise ValueError(f"wanted at most {MOST_SPACES} spaces, got {len(spaces)}")
    return spaces


class Bound(Section):
    """The largest p-norm of a displacement."""

    norm: Norm = 2.0
    radius: Length


class AngleBound(Section):
    """The largest p-norm of the angles by which a molecule's torsions turn; inf bounds each by itself."""

    norm: Norm = math.inf
    radius: Angle


class Cartesian(Section):
    """Every atom moves by itself, or some do."""

    kind: Literal["cartesian"]
    atoms: Atoms | None = None
    axes: Axes = "xyz"
    initial_spread: LengthOrZero = 0.01
    bound: Bound | None = None


class Dihedrals(Section):
    """Torsions turn: all that are rotatable, phi, psi or omega of peptides, a SMARTS, or four atoms."""

    kind: Literal["dihedrals"]
    torsions: Torsions
    guest: Atoms | None = None
    initial_spread: AngleOrZero = 0.01
    bound: AngleBound | None = None


class Strain(Section):
    """The cell is strained, and atoms keep their fractional coordinates; a strain has no unit."""

    kind: Literal["strain"]
    which: Literal["all", "volume", "in_plane"] = "all"
    initial_spread: Number = 0.01
    radius: Number = 0.1


class Rigid(Section):
    """Molecules shift and turn as they are: those that are not bonded to a framework, or atoms that are named."""

    kind: Literal["rigid"]
    atoms: Atoms | None = None
    which: Literal["all", "translation", "rotation"] = "all"
    initial_spread: LengthOrZero = 0.01
    initial_rotation: AngleOrZero = 0.01
    max_translation: Length | None = None
    max_rotation: Angle | None = None


class Plugin(Section):
    """A space that an installed package registers under the entry-point group ``sparring.spaces``."""

    kind: Literal["plugin"]
    name: str
    parameters: Mapping[str, object] = {}


class CartesianPart(Cartesian):
    """Atoms, in a combination."""

    scale: Number = 1.0


class DihedralsPart(Dihedrals):
    """Torsions, in a combination."""

    scale: Number = 1.0


class StrainPart(Strain):
    """A strain, in a combination."""

    scale: Number = 1.0


class RigidPart(Rigid):
    """Rigid motions, in a combination."""

    scale: Number = 1.0


class PluginPart(Plugin):
    """A package's space, in a combination."""

    scale: Number = 1.0


class Combined(Section):
    """One space after the other, each with the scale of its delta."""

    kind: Literal["combined"]
    spaces: Annotated[
        tuple[
            Annotated[CartesianPart | DihedralsPart | StrainPart | RigidPart | PluginPart, Field(discriminator="kind")],
            ...,
        ],
        AfterValidator(_some),
    ]


class RandomCartesian(Section):
    """Uniform random displacements of every coordinate of the atoms that move."""

    kind: Literal["cartesian"]
    atoms: Atoms | None = None
    axes: Axes = "xyz"
    amplitude: Length = 0.3


class RandomDihedrals(Section):
    """Torsions turned by uniform random angles, by default any."""

    kind: Literal["dihedrals"]
    torsions: Torsions
    guest: Atoms | None = None
    amplitude: Angle = math.pi


class RandomStrain(Section):
    """Cells strained by uniform random components."""

    kind: Literal["strain"]
    which: Literal["all", "volume", "in_plane"] = "all"
    amplitude: Number = 0.03


class RandomRigid(Section):
    """Molecules shifted and turned by uniform random components, by default turned by any."""

    kind: Literal["rigid"]
    atoms: Atoms | None = None
    amplitude: Length = 0.3
    rotation: Angle = math.pi


class RandomPlugin(Plugin):
    """A package's space with a uniform random delta."""

    amplitude: Number


class RandomCombined(Section):
    """Random displacements in one space after the other."""

    kind: Literal["combined"]
    spaces: Annotated[
        tuple[
            Annotated[
                RandomCartesian | RandomDihedrals | RandomStrain | RandomRigid | RandomPlugin,
                Field(discriminator="kind"),
            ],
            ...,
        ],
        AfterValidator(_some),
    ]


AttackSpace = Annotated[Cartesian | Dihedrals | Strain | Rigid | Combined | Plugin, Field(discriminator="kind")]
RandomSpace = Annotated[
    RandomCartesian | RandomDihedrals | RandomStrain | RandomRigid | RandomCombined | RandomPlugin,
    Field(discriminator="kind"),
]
AnySpace: TypeAlias = (
    Cartesian
    | Dihedrals
    | Strain
    | Rigid
    | Combined
    | Plugin
    | RandomCartesian
    | RandomDihedrals
    | RandomStrain
    | RandomRigid
    | RandomCombined
)
"""A space of any attack, alone or in a combination."""


def in_full(data: Mapping[str, object], kind: str) -> dict[str, object]:
    """A configuration, or part of one, with the short keys of its attack in the space, where they belong.

    >>> in_full({"attack": {"axes": "x", "n_steps": 3}}, "adversarial")
    {'attack': {'n_steps': 3, 'space': {'axes': 'x'}}}

    Args:
        data: As it is written.
        kind: Kind of the attack, which may be written elsewhere.

    Raises:
        KeyError: With the short key, if the space is there, too.
    """
    attack = data.get("attack")
    short = [key for key in SHORT.get(kind, ()) if key in attack] if isinstance(attack, Mapping) else []
    if not isinstance(attack, Mapping) or not short:
        return dict(data)
    if "space" in attack:
        raise KeyError(short[0])
    rest = {key: value for key, value in attack.items() if key not in short}
    return {**data, "attack": {**rest, "space": {key: attack[key] for key in short}}}
