"""Structures from files that users name on the command line, and the frames that are left out of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ase import Atoms

    from sparring.inputs.reading import Reading

__all__ = ["CheckLabels", "SkipBad", "geometries", "labelled", "optionally_labelled"]

SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out frames of files that are wrong, and list them beside the output.")
]
CheckLabels = Annotated[
    bool,
    typer.Option(
        "--check-labels/--no-check-labels", help="Stop for energies and forces of the file that contradict each other."
    ),
]


def geometries(file: Path, *, skip_bad: bool = False, beside: Path | None = None) -> "list[Atoms]":
    """The structures of a user's file, with or without labels.

    Args:
        file: File.
        skip_bad: Flag to leave out wrong frames.
        beside: Output of the verb, beside which the frames that are left out are listed.
    """
    from sparring.inputs.reading import read_file

    return _kept(read_file(file, labels="ignored", allow_dummy=True, skip_bad=skip_bad), beside)


def optionally_labelled(
    file: Path, *, keys: Mapping[str, Any], skip_bad: bool = False, beside: Path | None = None
) -> "list[Atoms]":
    """The structures of a user's file, with the labels that it has."""
    from sparring.inputs.reading import read_file

    return _kept(read_file(file, labels="optional", **keys, allow_dummy=True, skip_bad=skip_bad), beside)


def labelled(
    file: Path,
    *,
    keys: Mapping[str, Any] | None = None,
    units: Mapping[str, Any] | None = None,
    skip_bad: bool = False,
    check_labels: bool = False,
    beside: Path | None = None,
) -> "list[Atoms]":
    """The labelled structures of a user's file, in eV and Å.

    Args:
        file: File.
        keys: Names of energies, forces and stresses in the file.
        units: Units of the file.
        skip_bad: Flag to leave out wrong frames.
        check_labels: Flag to stop for labels that contradict each other.
        beside: Output of the verb, beside which the frames that are left out are listed.

    Raises:
        ValueError: If the file cannot be read, or its labels contradict each other.
        OSError: If it cannot be opened.
    """
    from sparring.inputs.reading import read_file
    from sparring.plausibility import Comparison, contradictions, require
    from sparring.systems.own.comparison import in_internal_units

    read = read_file(file, labels="required", **(keys or {}), allow_dummy=True, skip_bad=skip_bad)
    frames = _kept(read, beside)
    if units:
        frames = in_internal_units(frames, **units)
    if check_labels:
        named = {name: unit or "eV/Å³" for name, unit in (units or {}).items()}
        require(Comparison(contradictions(frames, str(file), **named)), "give `--no-check-labels`")
    return frames


def _kept(read: "Reading", beside: Path | None) -> "list[Atoms]":
    from sparring.inputs.reading import log_notes
    from sparring.inputs.skipping import write_skipped

    log_notes(read)
    if read.skipped and beside is not None:
        # A verb that writes a folder has no ending.
        table = beside.with_name(f"{beside.name}.skipped.csv") if beside.suffix else beside / "skipped.csv"
        table.parent.mkdir(parents=True, exist_ok=True)
        write_skipped(table, read.skipped)
        typer.echo(f"left out: {len(read.skipped)} frames of {read.skipped[0].file}, listed in {table}", err=True)
    return read.structures
