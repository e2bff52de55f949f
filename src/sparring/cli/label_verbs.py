"""The verbs of labels that are computed elsewhere: each reads its arguments, calls one function, and writes a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparring.cli.arguments import StressKey, TrustPickle, use_threads
from sparring.cli.exit_codes import LABELS_AWAITED
from sparring.cli.files import SkipBad, optionally_labelled
from sparring.validation.arguments import EnergyKey, ForcesKey

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["app"]

Align = Annotated[
    Path | None,
    typer.Option(help="Labelled structures whose zero of energy the labels are brought to; for ask and tell alike."),
]

app = typer.Typer()


@app.command()
def ask(
    models: Annotated[list[Path], typer.Argument(help="Folders of a generation or a run; several are one committee.")],
    data: Annotated[Path, typer.Option(help="Structures to choose from; those with labels are left out.")],
    n: Annotated[int, typer.Option("-n", "--number", help="Largest number of structures.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Extended XYZ file for the structures to label.")],
    known: Annotated[list[Path] | None, typer.Option(help="Labelled structures that are left out; repeatable.")] = None,
    align: Align = None,
    adapter: Annotated[
        str | None, typer.Option(help="Adapter of models of another package, e.g. mace; MODELS then are checkpoints.")
    ] = None,
    energy_key: EnergyKey = "REF_energy",
    forces_key: ForcesKey = "REF_forces",
    trust_pickle: TrustPickle = False,
    skip_bad: SkipBad = False,
) -> None:
    """Choose structures that are worth a label: uncertain, unlike each other, and not labelled yet."""
    from sparring.commands.asking import ask
    from sparring.inputs.extxyz import write_structures

    use_threads()
    keys = {"energy_key": energy_key, "forces_key": forces_key}
    structures = optionally_labelled(data, keys=keys, skip_bad=skip_bad, beside=output)
    for index, atoms in enumerate(structures):
        atoms.info.setdefault("frame", index)
    labelled = [atoms for file in known or [] for atoms in _read(file, energy_key, forces_key)]
    zero = [] if align is None else _read(align, energy_key, forces_key, required=True)
    chosen = ask(models, structures, n, known=labelled, align=zero, adapter=adapter)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_structures(output, chosen)
    typer.echo(f"{len(chosen)} of {len(structures)} structures to be labelled: {output}")
    typer.echo(f"labels: sparring tell {output} RESULTS... -o labelled.xyz")


@app.command()
def tell(
    asked: Annotated[Path, typer.Argument(help="Structures that were asked for: the file of `sparring ask`.")],
    answers: Annotated[
        list[Path], typer.Argument(help="Extended XYZ files, outputs of programs that ASE reads, or folders of these.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Extended XYZ file for the labelled structures.")],
    store: Annotated[Path | None, typer.Option(help="Label store to add the labels to, with --method.")] = None,
    method: Annotated[
        str, typer.Option(help="Method of the labels, which is part of their key in a store.")
    ] = "offline",
    version: Annotated[str, typer.Option(help="Code that computed, with its version; part of the key.")] = "offline",
    tolerance: Annotated[
        str, typer.Option(help="Largest distance of atoms from where they were asked for.")
    ] = "0.001 Å",
    align: Align = None,
    accept_missing: Annotated[
        bool, typer.Option("--accept-missing", help="Exit with 0 if labels are missing.")
    ] = False,
    energy_key: EnergyKey = "REF_energy",
    forces_key: ForcesKey = "REF_forces",
    stress_key: StressKey = "REF_stress",
) -> None:
    """Read labels that somebody has computed, and write a data file for `sparring fit` or `system.file`.

    Exit codes: 0 all labels are there; 2 a label belongs to no structure, or two disagree; 3 labels are missing.
    """
    from sparring.commands.asking import tell
    from sparring.exchange.answers import Names
    from sparring.inputs.extxyz import write_structures
    from sparring.inputs.reading import read_atoms
    from sparring.units import quantity

    told = tell(
        read_atoms(asked, labels="ignored", allow_dummy=True),
        list(answers),
        names=Names(energy_key=energy_key, forces_key=forces_key, stress_key=stress_key),
        tolerance=quantity(tolerance, "length"),
        store=store,
        method=method,
        version=version,
        align=[] if align is None else _read(align, energy_key, forces_key, required=True),
    )
    for line in (*told.notes, *(f"failed: {error}" for error in told.failures)):
        typer.echo(line, err=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_structures(output, told.labelled)
    counts = f"{len(told.failures)} failed, {len(told.missing)} missing"
    typer.echo(f"{len(told.labelled)} labelled, {counts}: {output}")
    if told.missing and not accept_missing:
        raise typer.Exit(LABELS_AWAITED)


def _read(file: Path, energy_key: str, forces_key: str, *, required: bool = False) -> "list[Atoms]":
    from sparring.inputs.reading import read_atoms

    keys: dict[str, Any] = {"energy_key": energy_key, "forces_key": forces_key}
    return read_atoms(file, labels="required" if required else "optional", **keys, allow_dummy=True)
