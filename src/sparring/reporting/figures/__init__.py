"""The figures: data and an optional `Axes` in, `Axes` out; nothing is shown or saved here."""

from sparring.plots.ticks import legend_below
from sparring.reporting.figures.common import errors_on_one_set
from sparring.reporting.figures.energies import energy_distributions
from sparring.reporting.figures.expectations import errors_by_generation, expected_errors
from sparring.reporting.figures.parity import parity_energy, parity_forces, parity_stress
from sparring.reporting.figures.run import (
    by_generation,
    label_cost,
    labelled_energies,
    learning_curves,
    note_paths_outside,
    path_energy,
    path_uncertainty,
    uncertainty_error,
)
from sparring.reporting.figures.torsions import attack_torsions
from sparring.reporting.figures.yields import errors_found, labels_spent
from sparring.validation.barrier.figure import barrier_figure, barrier_profiles
from sparring.validation.diversity.figure import (
    diversity_figure,
    energies_by_source,
    rmsd_energy,
    similarity_map,
)
from sparring.validation.errors.figure import (
    calibration_curve,
    coverage_curve,
    error_by_energy,
    errors_figure,
    roc_curves,
    sigma_error,
)
from sparring.validation.free_energy.figure import (
    free_energy_difference,
    free_energy_figure,
    free_energy_map,
    free_energy_parity,
)
from sparring.validation.landscape.figure import (
    landscape_energy,
    landscape_errors,
    landscape_figure,
    landscape_uncertainty,
)
from sparring.validation.survival.figure import stable_fraction, survival_curves, survival_figure

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
    "errors_by_generation",
    "errors_figure",
    "errors_found",
    "errors_on_one_set",
    "expected_errors",
    "free_energy_difference",
    "free_energy_figure",
    "free_energy_map",
    "free_energy_parity",
    "label_cost",
    "labelled_energies",
    "labels_spent",
    "landscape_energy",
    "landscape_errors",
    "landscape_figure",
    "landscape_uncertainty",
    "learning_curves",
    "legend_below",
    "note_paths_outside",
    "parity_energy",
    "parity_forces",
    "parity_stress",
    "path_energy",
    "path_uncertainty",
    "rmsd_energy",
    "roc_curves",
    "sigma_error",
    "similarity_map",
    "stable_fraction",
    "survival_curves",
    "survival_figure",
    "uncertainty_error",
]
