"""``sparring validate errors``."""

from pathlib import Path
from typing import Annotated

import typer

from sparring.validation.arguments import (
    CommitteeFolder,
    EnergyKey,
    ForcesKey,
    Output,
    StressKey,
    use_threads,
    write_results,
)

__all__ = ["errors"]

Data = Annotated[Path | None, typer.Argument(help="Labelled structures [default: the test split of the generation].")]
Later = Annotated[bool, typer.Option("--later", help="Add the labels that the run computed later to the test split.")]
Windows = Annotated[str, typer.Option(help="Caps of the energy above the lowest label of the composition.")]
GroupBy = Annotated[
    str | None, typer.Option(help="Key of the structures for groups [default: config_type, or else source].")
]
Positive = Annotated[
    str | None,
    typer.Option(
        help="Definition of 'unreliable' for Eq. 8: errors beyond_training, or the worst errors of these structures "
        "[default: beyond_training, if the folder contains the training data]."
    ),
]
Percentile = Annotated[
    float, typer.Option(help="Percentile of training errors and variances that defines 'unreliable'.")
]
Align = Annotated[bool, typer.Option("--align", help="Remove a constant energy per atom of each element.")]


def errors(
    committee: CommitteeFolder,
    data: Data = None,
    later: Later = False,
    windows: Windows = "5, 10, 20, 40 kcal/mol",
    group_by: GroupBy = None,
    positive: Positive = None,
    percentile: Percentile = 80.0,
    align: Align = False,
    energy_key: EnergyKey = "REF_energy",
    forces_key: ForcesKey = "REF_forces",
    stress_key: StressKey = "REF_stress",
    output: Output = None,
) -> None:
    """Errors on unseen labels, by energy and by group; correlation, calibration and detection by the uncertainty."""
    from sparring.committee_files import read_committee
    from sparring.evaluation import predict_structures
    from sparring.units import unit_of
    from sparring.validation.errors.arguments import evaluation_data, positive_of, windows_of
    from sparring.validation.errors.compute import error_report
    from sparring.validation.errors.figure import errors_figure
    from sparring.validation.errors.table import report_text

    use_threads()
    members, folder = read_committee(committee), output or committee / "validation"
    chosen = evaluation_data(
        committee, data, later=later, energy_key=energy_key, forces_key=forces_key, stress_key=stress_key
    )
    members.require_known(chosen.dataset)
    training, predicted = chosen.training, predict_structures(members, chosen.dataset.structures)
    report = error_report(
        predicted,
        chosen.dataset,
        n_members=members.n_members,
        training=None
        if training is None
        else (predict_structures(members.without_domain(), training.structures), training),
        windows=windows_of(windows),
        group_by=group_by,
        aligned=align,
        positive=positive_of(positive, training),
        percentile=percentile,
        data=chosen.name,
    )
    unit = unit_of(chosen.dataset.structures.atomic_numbers.numpy())
    typer.echo(report_text(report, unit))
    frames = predicted.annotate(chosen.dataset.to_atoms())
    written = write_results(folder, "errors", report, errors_figure(report, unit=unit), frames)
    typer.echo(chosen.note())
    typer.echo(written)
