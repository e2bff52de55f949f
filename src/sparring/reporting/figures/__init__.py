"""The figures: data and an optional `Axes` in, `Axes` out; nothing is shown or saved here."""

from sparring.reporting.figures.barrier import barrier_figure, barrier_profiles
from sparring.reporting.figures.common import errors_on_one_set
from sparring.reporting.figures.diversity import (
    diversity_figure,
    energies_by_source,
    likeness_map,
    rmsd_energy,
)
from sparring.reporting.figures.energies import energy_distributions
from sparring.reporting.figures.errors import (
    calibration_curve,
    coverage_curve,
    error_by_energy,
    errors_figure,
    roc_curves,
    sigma_error,
)
from sparring.reporting.figures.free_energy import (
    free_energy_difference,
    free_energy_figure,
    free_energy_map,
    free_energy_parity,
)
from sparring.reporting.figures.landscape import (
    landscape_energy,
    landscape_errors,
    landscape_sheet,
    landscape_uncertainty,
)
from sparring.reporting.figures.run import (
    by_generation,
    label_cost,
    labelled_energies,
    learning_curves,
    note_paths_outside,
    parity_energy,
    parity_forces,
    path_energy,
    path_uncertainty,
    uncertainty_error,
)
from sparring.reporting.figures.stability import stability_figure, stable_fraction, survival
from sparring.reporting.figures.ticks import legend_below
from sparring.reporting.figures.torsions import attack_torsions

__all__ = [
    "attack_torsions",
    "barrier_figure",
    "barrier_profiles",
    "by_generation",
    "calibration_curve",
    "coverage_curve",
    "diversity_figure",
    "energies_by_source",
    "energy_distributions",
    "error_by_energy",
    "errors_figure",
    "errors_on_one_set",
    "free_energy_difference",
    "free_energy_figure",
    "free_energy_map",
    "free_energy_parity",
    "label_cost",
    "labelled_energies",
    "landscape_energy",
    "landscape_errors",
    "landscape_sheet",
    "landscape_uncertainty",
    "learning_curves",
    "legend_below",
    "likeness_map",
    "note_paths_outside",
    "parity_energy",
    "parity_forces",
    "path_energy",
    "path_uncertainty",
    "rmsd_energy",
    "roc_curves",
    "sigma_error",
    "stability_figure",
    "stable_fraction",
    "survival",
    "uncertainty_error",
]
