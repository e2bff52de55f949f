"""A validation: one question about a committee, with its verb, its table, its figures and its section of a report.

A package adds one with an entry point of the group ``sparring.validations`` that names a :class:`Validation`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sparring.support.tables import Table

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.figure import Figure

    from sparring.units import EnergyUnit
    from sparring.validation.diversity.compute import Diversity
    from sparring.validation.results import Results

__all__ = [
    "Embedded",
    "Imported",
    "Published",
    "ReportFigure",
    "ReportedRun",
    "Validation",
    "by_number",
    "no_more_tables",
    "no_notes",
    "no_published",
]


@dataclass(frozen=True, kw_only=True)
class ReportFigure:
    """A figure of a report.

    Attributes:
        name: Name of its files.
        title: Heading.
        caption: Text below the heading.
        figure: The figure.
    """

    name: str
    title: str
    caption: str
    figure: "Figure"


@runtime_checkable
class Published(Protocol):
    """Number that a publication gives for a committee, as text; None if it gives none."""

    def __call__(self, quantity: str, committee: str, /) -> str | None:
        """The number for a quantity and the name of a committee, such as "generation 2"."""


def no_published(quantity: str, committee: str, /) -> str | None:
    """No published numbers."""
    return None


@dataclass(frozen=True, kw_only=True)
class ReportedRun:
    """Facts about a run for the sections of its report.

    Attributes:
        folder: Run folder.
        unit: Unit of energies.
        generations: Numbers of the generations that have a committee.
        has_molecules: True if structures have real atoms; False for toy wells.
        has_crystals: True if the data have a crystal.
        has_labels: True if the run has a labeller, whose labels a committee can be compared with.
        has_endpoints: True if the system has a path with endpoints of its own.
        has_grid: True if the system has a grid of its own.
        has_torsions: True if the system has two torsions of its own.
        published: Published numbers for the committees of the run.
        remarks: Published statements about a quantity.
    """

    folder: Path
    unit: "EnergyUnit"
    generations: tuple[int, ...]
    has_molecules: bool = True
    has_crystals: bool = False
    has_labels: bool = True
    has_endpoints: bool = False
    has_grid: bool = False
    has_torsions: bool = False
    published: Published = no_published
    remarks: Callable[[str], tuple[str, ...]] = field(default=lambda quantity: ())


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Structures with their positions in a two-dimensional embedding, for the explorer of a report."""

    diversity: "Diversity"
    frames: "Sequence[Atoms]"


@runtime_checkable
class MakeTable(Protocol):
    """Table of results."""

    def __call__(self, results: Any, unit: "EnergyUnit", *, published: Published = no_published) -> Table:  # noqa: ANN401
        """The table, with energies in a unit."""


def no_notes(results: object, run: ReportedRun) -> Sequence[str]:
    """No lines below the table."""
    return ()


def no_more_tables(results: object, unit: "EnergyUnit") -> Sequence[tuple[str, Table]]:
    """No further tables."""
    return ()


def _always(run: ReportedRun) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Validation:
    """One question about a committee.

    Verb and report use nothing else. Results are any value that the verb writes and `read` returns.

    Attributes:
        name: Name of the verb below ``sparring validate``.
        title: Heading of its section in a report.
        compute: Function that answers the question.
        command: Function of the verb, its arguments annotated for Typer; None if another validation has the verb. It
            writes what `read` reads. Imports that take long stand inside it.
        read: Results of a run, None if there are none; notes the commands that would compute what is missing. See
            :func:`sparring.validation.results.each_generation`.
        table: Table of the results.
        figures: Figures of the results.
        notes: Lines below the table.
        more_tables: Further tables below the notes, each with its heading.
        applies: True if the validation can be made for a run.
        embedded: Structures of the results for the explorer of a report.
    """

    name: str
    title: str
    compute: Callable[..., Any]
    command: Callable[..., None] | None
    read: "Callable[[Results], Any]"
    table: MakeTable
    figures: "Callable[[Any, EnergyUnit], Sequence[ReportFigure]]"
    notes: Callable[[Any, ReportedRun], Sequence[str]] = no_notes
    more_tables: "Callable[[Any, EnergyUnit], Sequence[tuple[str, Table]]]" = no_more_tables
    applies: Callable[[ReportedRun], bool] = _always
    embedded: "Callable[[Any, Results], Embedded | None] | None" = None

    @property
    def key(self) -> str:
        """The name as part of an address or of a file name."""
        return self.name.replace("-", "_")


@dataclass(frozen=True)
class Imported:
    """A function whose module is imported when it is called first.

    Attributes:
        name: ``"package.module:function"``.
    """

    name: str

    def resolve(self) -> Callable[..., Any]:
        """The function itself."""
        module, _, attribute = self.name.partition(":")
        function: Callable[..., Any] = getattr(import_module(module), attribute)
        return function

    def __call__(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        """Call the function."""
        return self.resolve()(*arguments, **options)


def by_number(results: Mapping[str, Any]) -> dict[str, Any]:
    """Results in the order of the numbers at the end of their names: generation 2 before generation 10."""

    def order(name: str) -> tuple[str, int]:
        words, _, number = name.rpartition(" ")
        return (words, int(number)) if number.isdecimal() else (name, 0)

    return {name: results[name] for name in sorted(results, key=order)}
