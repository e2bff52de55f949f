import dataclasses

import numpy as np
import pytest
from ase import Atoms
from matplotlib.figure import Figure

from sparring.atoms.dataset import ENERGY, FORCES, STRESS, Dataset
from sparring.evaluation import StructurePredictions
from sparring.plots.style import panels
from sparring.reporting import figures
from sparring.units import EV, KCAL, KCAL_PER_MOL
from sparring.validation.errors.compute import error_report


@pytest.fixture
def report():
    """Made-up structures of one composition, up to 60 kcal/mol high, with errors that follow σ."""

    def make(n=40, *, n_members=5, noise=0.1, **changes):
        generator = np.random.default_rng(0)
        frames = [Atoms("H3N", positions=generator.normal(size=(4, 3))) for _ in range(n)]
        for place, atoms in enumerate(frames):
            atoms.info[ENERGY] = KCAL_PER_MOL * 60 * place / max(n - 1, 1)
            atoms.arrays[FORCES] = np.zeros((4, 3))
        dataset = Dataset.from_atoms(frames)
        sigma = noise * generator.lognormal(0, 1, n)
        predicted = StructurePredictions(
            energy=dataset.energy.numpy() + sigma * generator.normal(size=n),
            forces=tuple(one * generator.normal(size=(4, 3)) for one in sigma),
            energy_variance=sigma**2,
            force_variance=sigma**2,
            atom_variance=tuple(np.full(4, one**2) for one in sigma),
        )
        options = {"positive": "worst", "data": "made up", **changes}
        return error_report(predicted, dataset, n_members=n_members, **options)

    return make


def words(ax):
    legend = ax.get_legend()
    texts = [] if legend is None else [legend.get_title(), *legend.get_texts()]
    return "\n".join(text.get_text() for text in (*ax.texts, *texts))


DRAW = {
    "error_by_energy": figures.error_by_energy,
    "sigma_error": figures.sigma_error,
    "calibration_curve": figures.calibration_curve,
    "roc_curves": figures.roc_curves,
    "coverage_curve": figures.coverage_curve,
}


@pytest.mark.parametrize("kind", ["force", "energy"])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW.keys())
def test_a_figure_draws_on_the_axes_it_is_given_or_makes_its_own(report, draw, given, kind):
    ax = Figure().subplots() if given else None
    drawn = draw(report(), ax, kind=kind)
    assert drawn is ax or not given
    assert drawn.has_data()
    assert drawn.get_xlabel()
    assert drawn.get_ylabel().endswith(("(kcal/mol/Å)", "(kcal/mol)")) or "share of" in drawn.get_ylabel()


def test_errors_by_energy_are_in_the_unit_and_count_the_structures(report):
    made = report(n=25)
    ax = figures.error_by_energy(made, kind="energy", unit=KCAL)
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels == ["0 – 5\n3", "5 – 10\n2", "10 – 20\n4", "20 – 40\n8", "> 40\n8"]
    reached, inside = ax.lines
    shown = [window.part.errors.energy_rmse / KCAL_PER_MOL for window in made.between]
    np.testing.assert_allclose(inside.get_ydata(), shown)
    assert reached.get_ydata()[-1] == pytest.approx(made.overall.errors.energy_rmse / KCAL_PER_MOL)
    assert reached.get_ydata()[0] == pytest.approx(shown[0])


def test_wells_are_shown_in_electron_volts(report):
    ax = figures.sigma_error(report(), kind="energy", unit=EV)
    assert ax.get_xlabel().endswith("(eV)")
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 0], report().energy.sigma)


def test_rank_correlation_area_and_scale_are_noted(report):
    made = report()
    correlation, calibration = made.forces.correlation, made.forces.calibration
    assert f"ρ = {correlation.rho:.2f} [{correlation.interval[0]:.2f}" in words(figures.sigma_error(made))
    by_force = made.forces.detections[0]
    noted = words(figures.roc_curves(made))
    assert f"σ$_F$²: AUC {by_force.area:.2f}" in noted
    assert f"unreliable: error ≥ {by_force.error_limit / KCAL_PER_MOL:.3g} kcal/mol/Å" in noted
    assert f"error/σ = {calibration.scale:.2f}" in words(figures.coverage_curve(made))
    assert "RMS in bins of 8" in words(figures.calibration_curve(made))


def test_a_roc_curve_begins_at_the_origin_and_ends_in_the_corner(report):
    _, by_force, by_energy = figures.roc_curves(report()).lines
    for line in (by_force, by_energy):
        assert line.get_xydata()[0].tolist() == [0.0, 0.0]
        assert line.get_xydata()[-1].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("kind", ["force", "energy"])
def test_the_legend_stands_above_all_points(report, kind):
    figure, (ax,) = panels(width=3.9, height=3.7)
    figures.sigma_error(report(), ax, kind=kind)
    figures.calibration_curve(report(), ax, kind=kind)
    figure.draw_without_rendering()
    box = ax.get_legend().get_window_extent()
    points = ax.transData.transform(np.ma.filled(ax.collections[0].get_offsets(), np.nan))
    assert box.contains(*ax.transAxes.transform((0.1, 0.9)))
    assert not np.any([box.contains(*point) for point in points])


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ({"n": 1}, "at least 2 structures, got 1"),
        ({"n_members": 1}, "one network alone has no uncertainty"),
        ({"positive": "beyond_training"}, "the training data of the committee, and so its usual errors, are not known"),
    ],
)
def test_what_is_absent_says_why_in_its_place(report, made, reason):
    figure = figures.errors_figure(report(**made))
    assert any(reason in words(ax) for ax in figure.axes)


def test_members_that_agree_can_be_drawn(report):
    made = report()
    silent = dataclasses.replace(made, forces=dataclasses.replace(made.forces, sigma=np.zeros(40), calibration=None))
    assert "every σ" in words(figures.sigma_error(silent))


def test_the_whole_names_what_it_is_of_and_reads_from_left_to_right(report):
    figure = figures.errors_figure(report())
    assert figure.get_suptitle() == "made up (40 structures)"
    assert [ax.get_title(loc="left") for ax in figure.axes[:4]] == [
        "Error by energy",
        "Uncertainty against error",
        "Unreliable structures found",
        "Coverage",
    ]


def test_another_kind_is_refused(report):
    with pytest.raises(ValueError, match="force or energy, got 'stress'"):
        figures.roc_curves(report(), kind="stress")


# --- stress ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def stressed():
    """A made-up report on crystals; all structures of the lowest energies have no stress."""
    generator = np.random.default_rng(0)
    frames = [Atoms("Cu", cell=[2, 2, 2], pbc=True) for _ in range(40)]
    for place, atoms in enumerate(frames):
        atoms.info[ENERGY] = KCAL_PER_MOL * 60 * place / 39
        atoms.arrays[FORCES] = np.zeros((1, 3))
        if place > 10:
            atoms.info[STRESS] = generator.normal(size=6)
    dataset = Dataset.from_atoms(frames)
    sigma = generator.lognormal(-3, 1, 40)
    predicted = StructurePredictions(
        energy=dataset.energy.numpy() + sigma * generator.normal(size=40),
        forces=tuple(one * generator.normal(size=(1, 3)) for one in sigma),
        energy_variance=sigma**2,
        force_variance=sigma**2,
        atom_variance=tuple(np.full(1, one**2) for one in sigma),
        stress=dataset.stress.numpy() + sigma[:, None, None] * generator.normal(size=(40, 3, 3)),
        stress_variance=sigma**2,
    )
    return error_report(predicted, dataset, n_members=5, positive="worst", data="copper")


def test_stresses_have_a_row_of_panels_of_their_own_in_gigapascals(stressed):
    figure = figures.errors_figure(stressed, unit=EV)
    assert len(figure.axes) == 12
    labels = [ax.get_ylabel() for ax in figure.axes[8:]]
    assert labels[:2] == ["RMS error of stress (GPa)", "true error of stress (GPa)"]
    assert labels[3] == "observed share of stress components"
    assert figure.axes[9].get_aspect() == 1.0
    assert "GPa" in words(figure.axes[10])
    (marks,) = figure.axes[9].collections
    np.testing.assert_allclose(np.sort(marks.get_offsets()[:, 0]), 160.2176634 * np.sort(stressed.stress.sigma))


def test_windows_without_stresses_are_left_empty(stressed):
    ax = figures.error_by_energy(stressed, kind="stress")
    shown = ax.get_lines()[1].get_ydata()
    assert np.isnan(shown).any()
    assert np.isfinite(shown).any()


def test_a_report_without_stresses_has_no_figure_of_them(report):
    assert len(figures.errors_figure(report()).axes) == 8
    with pytest.raises(ValueError, match="kind must be force or energy, got 'stress'"):
        figures.sigma_error(report(), kind="stress")
