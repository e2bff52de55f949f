"""All sections ``system`` of a configuration."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias, get_args

from pydantic import Field, model_validator

from sparring.schema.forbidden import refuse_programs
from sparring.schema.values import Count, TemperatureRange
from sparring.systems.own.section import Own
from sparring.systems.section import Langevin, SystemSection

if TYPE_CHECKING:
    from sparring.systems.base import System

__all__ = [
    "SECTIONS",
    "AlanineDipeptide",
    "Ammonia",
    "AnySystem",
    "DoubleWell1D",
    "DoubleWell2D",
    "Langevin",
    "Own",
    "Plugin",
    "SystemSection",
]


def _defaults(n_coordinates: int) -> dict[str, object]:
    # The walls of a well are steep and its depth is arbitrary: bounds made for molecules would refuse good labels.
    no_bounds = {"min_distance": None, "max_force": None, "energy_window": None}
    return {
        "labels": {"labeller": {"kind": "ground_truth"}, "bounds": no_bounds},
        "committee": {"potential": {"kind": "coordinate_mlp", "n_coordinates": n_coordinates}},
        "training": {"splits": {"validation": "shared"}, "patience": None},
        "attack": {"axes": "xyz"[:n_coordinates], "seeds": "random", "n_seeds": None},
        "evaluation": {"near": "1 eV"},
    }


class DoubleWell1D(SystemSection):
    """A particle in E(x) = 5x⁴ - 10x² + 1.5x, known from points in its deeper well only."""

    defaults: ClassVar[Mapping[str, object]] = _defaults(1)
    example: ClassVar[tuple[str, ...]] = ("double_well_1d.yaml",)
    n_coordinates: ClassVar[int | None] = 1
    weight_counts_per: ClassVar[Literal["structure", "atom", "degree_of_freedom"]] = "structure"

    kind: Literal["double_well_1d"]

    def build(self) -> "System":
        """The particle with its formula, grid and error."""
        from sparring.systems.wells import double_well_1d

        return double_well_1d()


class DoubleWell2D(SystemSection):
    """A particle in Eq. 15 of the paper, known from points in its deeper well only."""

    defaults: ClassVar[Mapping[str, object]] = _defaults(2)
    example: ClassVar[tuple[str, ...]] = ("double_well_2d.yaml",)
    n_coordinates: ClassVar[int | None] = 2
    weight_counts_per: ClassVar[Literal["structure", "atom", "degree_of_freedom"]] = "structure"
    limits: ClassVar[Mapping[str, tuple[int | float, int | float, str]]] = {"n_points": (1, 100_000, "")}

    kind: Literal["double_well_2d"]
    n_points: Count = 800

    def build(self) -> "System":
        """The particle with its formula, grid and error."""
        from sparring.systems.wells import double_well_2d

        return double_well_2d(self.n_points)


class Ammonia(SystemSection):
    """Ammonia, known from normal-mode displacements about its minimum."""

    example: ClassVar[tuple[str, ...]] = ("ammonia.yaml",)
    weight_counts_per: ClassVar[Literal["structure", "atom", "degree_of_freedom"]] = "structure"
    limits: ClassVar[Mapping[str, tuple[int | float, int | float, str]]] = {"n_structures": (1, 100_000, "")}

    kind: Literal["ammonia"]
    n_structures: Count = 78
    temperatures: TemperatureRange = (250.0, 750.0)

    def steps(self) -> tuple[str, ...]:
        """The relaxation to begin with, and those of the barrier."""
        return (
            f"system {self.kind} relaxes the molecule and its barrier step by step; use `system: {{kind: own}}` with a "
            "file of structures",
        )

    def build(self) -> "System":
        """The molecule with its inversion: barrier, endpoints and grid."""
        from sparring.systems.ammonia import system

        return system(**self.arguments())  # type: ignore[arg-type]


class AlanineDipeptide(SystemSection):
    """ACE-ALA-NME, known from snapshots of the dynamics of its force field."""

    defaults: ClassVar[Mapping[str, object]] = {
        # Torsions that run into each other are steep, and what is too high in energy is too high for any forces.
        "labels": {
            "labeller": {"kind": "openmm"},
            "bounds": {"min_distance": 0.3, "max_force": None, "energy_window": "10000 kcal/mol"},
        },
        "committee": {"potential": {"kind": "schnet"}},
        "training": {"batch_size": 50, "learning_rate": 5e-4, "energy_weight": 1.0},
        "attack": {"seeds": "random"},
    }
    example: ClassVar[tuple[str, ...]] = ("alanine_dipeptide.yaml",)
    forcefield: ClassVar[str | None] = "opls-aa"
    weight_counts_per: ClassVar[Literal["structure", "atom", "degree_of_freedom"]] = "structure"

    kind: Literal["alanine_dipeptide"]
    sampling: Langevin = Langevin()

    def build(self) -> "System":
        """The molecule with its bonds, topology and torsions."""
        from sparring.systems.alanine_dipeptide import system

        return system(self.sampling)

    def dynamics(self) -> tuple[str, Langevin] | None:
        """The dynamics of the force field."""
        return "sampling", self.sampling


class Plugin(SystemSection):
    """A system that an installed package registers under the entry-point group ``sparring.systems``."""

    kind: Literal["plugin"]
    name: str
    parameters: Mapping[str, object] = {}

    @model_validator(mode="after")
    def _no_programs(self) -> "Plugin":
        refuse_programs("", self.parameters)
        return self

    def build(self) -> "System":
        """The system of the package."""
        from sparring.systems.registry import plugin

        return plugin(self.name, self.parameters)


AnySystem: TypeAlias = Annotated[
    DoubleWell1D | DoubleWell2D | Ammonia | AlanineDipeptide | Own | Plugin, Field(discriminator="kind")
]
"""A section ``system``."""
SECTIONS: dict[str, type[SystemSection]] = {
    get_args(section.model_fields["kind"].annotation)[0]: section for section in get_args(get_args(AnySystem)[0])
}
"""The sections by their kind."""
