"""A system: all that is special to what is studied, as one value, which a section of the configuration builds.

Runs, validations and reports use its fields, never its name. A field is None, or empty, where a system has
no such thing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from ase import Atoms
from ase.calculators.calculator import Calculator

from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.dynamics import Criterion
from sparring.inputs.skipping import Skipped
from sparring.labels import Bounds, Label, LabelError
from sparring.labels.service import Failed, LabelService
from sparring.plausibility import Comparison
from sparring.starting_data.normal_modes import LabelMany
from sparring.surfaces.grids import Grid
from sparring.surfaces.torsion_plane import TorsionPlane
from sparring.units import KCAL, EnergyUnit

if TYPE_CHECKING:
    from openmm.app import Topology

__all__ = [
    "Evaluate",
    "Metric",
    "Progress",
    "Published",
    "Start",
    "StartCost",
    "System",
    "SystemGrid",
]

Evaluate: TypeAlias = Callable[[Committee, Dataset], Mapping[str, object]]
"""An evaluation of a committee beside its test set: numbers for the key ``system`` of metrics.json."""
LabelAll: TypeAlias = Callable[[Sequence[Atoms]], Sequence[Label | LabelError]]
Project: TypeAlias = Callable[[Atoms], tuple[float, ...]]
"""The values of a grid's variables for any structure of the system."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """All that a system may use to make its starting data.

    Attributes:
        label_service: Labeller with store and bounds, for relaxations and dynamics.
        label_many: Labels of many structures; those that fail are counted and left out.
        failed: Function to call with a structure that is left out, and the reason.
        seed: Seed of all random numbers.
        n_generations: Number of committees that the run is to train.
        potential: Kind of the potential, for messages.
    """

    label_service: LabelService
    label_many: LabelMany
    failed: Failed
    seed: int
    n_generations: int
    potential: str


class StartCost(NamedTuple):
    """Labels that the starting data take.

    Attributes:
        n_labels: Labels, without those of relaxations.
        n_structures: Structures that the data set begins with.
        n_hessian: Labels among `n_labels` that are displaced structures of Hessians.
        n_relaxations: Relaxations, in which labels wait for one another.
    """

    n_labels: int
    n_structures: int
    n_hessian: int = 0
    n_relaxations: int = 0


class Published(NamedTuple):
    """A statement of the paper about the system.

    Attributes:
        quantity: Quantity that it is about.
        generation: Generation of the committee; None for statements about several, or about other strategies.
        words: Text, as a cell of a table or a line quotes it; energies in kcal/mol.
        where: Section and figure.
    """

    quantity: str
    generation: int | None
    words: str
    where: str


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that each generation gets from the system's evaluation, as tables show it.

    Attributes:
        keys: Path below the key ``system`` of metrics.json.
        column: Heading in the terminal; empty for none.
        group: Heading above several columns of the report.
        heading: Heading in the report, ``{unit}`` being the unit of energies; empty for none.
        show: Format: an energy in the system's unit, a plain number, or a share in per cent.
        signed: True for a plus before positive energies.
        legend: Explanation above the table in the terminal.
    """

    keys: tuple[str, ...]
    column: str = ""
    group: str = ""
    heading: str = ""
    show: Literal["energy", "number", "share"] = "energy"
    signed: bool = False
    legend: str = ""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The one energy that the report's overview draws by generation.

    Attributes:
        keys: Path below the key ``system`` of metrics.json.
        title: Title of the panel.
        quantity: Label of its axis, ``{unit}`` being the unit of energies.
        reference: Key of the value of the label method, below ``system``; empty for none.
    """

    keys: tuple[str, ...]
    title: str
    quantity: str
    reference: str = ""


@dataclass(frozen=True, kw_only=True)
class SystemGrid:
    """A grid over one or two variables that belongs to a system.

    Attributes:
        make: Function that makes the grid from the starting structures and the numbers of points.
        points: Default numbers of points; None for a grid that has the points that it has.
        project: Function that makes, from the starting structures, a function from a structure to its values.
        variables: Names of the variables that `project` gives values of.
        mirrored: True if points at y and -y are mirror images of equal energy.
        from_start: True if the grid is made from starting structures, so that there is none without a run.
    """

    make: Callable[[Sequence[Atoms], tuple[int, ...]], Grid]
    points: tuple[int, ...] | None = None
    project: Callable[[Sequence[Atoms]], Project] | None = None
    variables: tuple[str, ...] = ()
    mirrored: bool = False
    from_start: bool = False


@dataclass(frozen=True, kw_only=True)
class System:
    """All that is special to what is studied.

    Attributes:
        name: Name, for messages and the report.
        structures: Function that gives structures as a run would begin with, without labelling any.
        start: Function that makes labelled structures to begin with.
        cost: Function from such structures to the labels that the start takes; None for one each that has none.
        unit: Unit of energies in tables and figures.
        is_molecular: False for a particle in a model potential: there are no bonds, barriers or trajectories to judge.
        file: File that the structures come from.
        skipped: Function that finds the frames of the file that are wrong and are left out; None where none are.
        compare: Function that compares labels which the structures bring with those of the labeller, given the number
            of generations.
        check: Function that tries all that can be tried on the structures alone; it raises a ValueError.
        electronic_state: Function that gives charge and multiplicity to structures that do not have their own.
        evaluation: Function from the labeller to the evaluation of each generation's committee. Errors over
            `torsions` come by themselves.
        metrics: Numbers of the evaluation that tables show, in their order.
        progress: Number that the overview of the report draws.
        bonds: Pairs of bonded atoms of the only molecule; None to find them from distances.
        topology: Function that gives the molecule as OpenMM wants it.
        calculator: Function that gives the calculator that is the ground truth of the system.
        torsions: Function from the starting structures to the two torsions over which there are maps, and the geometry
            whose torsions are turned.
        endpoints: Function from labelled structures to the two geometries between which there is a barrier.
        grid: Grid of the landscape, if it is not that over the torsions.
        unphysical: Function from the energy of the committee's minimum, as a function, and the start of a trajectory to
            the criteria that end it; None from that function where there are none for such a start.
        in_report: Validations that every run makes for its report.
        published: Statements of the paper.
    """

    name: str
    structures: Callable[[], list[Atoms]]
    start: Callable[[Start], Sequence[Atoms]]
    cost: Callable[[Sequence[Atoms]], StartCost] | None = None
    unit: EnergyUnit = KCAL
    is_molecular: bool = True
    file: Path | None = None
    compare: Callable[[Sequence[Atoms], LabelAll, Bounds, int], Comparison] | None = None
    skipped: Callable[[], Sequence[Skipped]] | None = None
    check: Callable[[Sequence[Atoms]], None] | None = None
    electronic_state: Callable[[list[Atoms]], list[Atoms]] | None = None
    evaluation: Callable[[LabelService], Evaluate] | None = None
    metrics: tuple[Metric, ...] = ()
    progress: Progress | None = None
    bonds: tuple[tuple[int, int], ...] | None = None
    topology: "Callable[[], Topology] | None" = None
    calculator: Callable[[], Calculator] | None = None
    torsions: Callable[[Sequence[Atoms]], tuple[TorsionPlane, Atoms]] | None = None
    endpoints: Callable[[Sequence[Atoms]], tuple[Atoms, Atoms]] | None = None
    grid: SystemGrid | None = None
    unphysical: Callable[[Callable[[], float], Atoms], tuple[Criterion, ...] | None] | None = None
    in_report: tuple[Literal["landscape", "barrier"], ...] = ()
    published: tuple[Published, ...] = ()
