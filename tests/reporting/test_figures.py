import subprocess
import sys

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from sparring.plots.style import generation_colours
from sparring.reporting import figures
from sparring.reporting.data import Labelled, Paths, Predictions, Sampled, Training
from sparring.reporting.overview import overview
from sparring.reporting.reading import read_run
from sparring.reporting.sheets import sheets
from sparring.units import GPA, KCAL, KCAL_PER_MOL


@pytest.fixture(scope="module")
def run(finished_run):
    return read_run(finished_run)


def make_paths(energy, force_sigma, best_step):
    status = np.zeros(len(best_step), dtype=int)
    return Paths(energy=energy, force_sigma=force_sigma, best_step=np.array(best_step), status=status)


def make_labelled(force_sigma, force_error):
    n = len(force_sigma)
    zeros = np.zeros(n)
    return Labelled(
        energy=zeros, source=("attack",) * n, force_sigma=force_sigma, force_error=force_error, wall_time=zeros
    )


def words(ax):
    return [text.get_text() for text in (*ax.texts, *(ax.get_legend().get_texts() if ax.get_legend() else ()))]


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(
    "draw",
    [
        lambda run, ax: figures.learning_curves(run.generations[0].training, ax),
        lambda run, ax: figures.parity_energy(run.generations[0].predictions, ax),
        lambda run, ax: figures.parity_forces(run.generations[0].predictions, ax),
        lambda run, ax: figures.path_energy(run.generations[0].paths, ax),
        lambda run, ax: figures.path_uncertainty(run.generations[0].paths, ax),
        lambda run, ax: figures.labelled_energies({"start": run.start}, ax),
        lambda run, ax: figures.uncertainty_error({"generation 1": run.generations[0].labelled}, ax),
        lambda run, ax: figures.label_cost({"1": run.generations[0].labelled}, ax),
        lambda run, ax: figures.by_generation([1, 2], [5.4, 6.2], ax, quantity="barrier (kcal/mol)"),
    ],
)
def test_a_figure_draws_on_the_axes_it_is_given_or_makes_its_own(run, draw, given):
    ax = Figure().subplots() if given else None
    drawn = draw(run, ax)
    assert drawn is ax or not given
    assert drawn.has_data()
    assert drawn.get_ylabel().endswith(("(eV)", "(eV²)", "(eV/Å)", "(kcal/mol)", "(s)"))
    assert drawn.get_xlabel()


def test_drawing_leaves_no_trace_in_pyplot():
    program = (
        "import sys, sparring.reporting.sheets, sparring.reporting.page; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.fixture
def predictions():
    energy = np.array([0.0, 0.5, 1.0, 2.0])
    return Predictions(
        energy=energy,
        committee_energy=energy + KCAL_PER_MOL * np.array([1.0, -1.0, 3.0, -3.0]),
        is_test=np.array([False, False, True, True]),
        forces=np.zeros(2),
        committee_forces=np.zeros(2),
        is_test_component=np.array([False, True]),
        stress=np.array([0.5, -0.5]),
        committee_stress=np.array([0.5, -0.5]) + GPA * np.array([2.0, -4.0]),
        is_test_stress=np.array([False, True]),
    )


def test_mean_absolute_errors_are_noted_in_kcal_per_mol(predictions):
    assert words(figures.parity_energy(predictions)) == ["fit: MAE 1 kcal/mol", "test: MAE 3 kcal/mol"]


def test_stresses_stand_beside_their_labels_in_gigapascals(predictions):
    ax = figures.parity_stress(predictions)
    assert words(ax) == ["fit: MAE 2 GPa", "test: MAE 4 GPa"]
    assert (ax.get_aspect(), ax.get_xlim()) == (1.0, ax.get_ylim())
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [[0.5 / GPA, 0.5 / GPA + 2.0]])


def test_the_dot_is_at_the_best_step_of_each_attack():
    sigma = np.array([[0.1, 0.2], [0.3, 0.9], [0.2, 0.4]])
    ax = figures.path_uncertainty(make_paths(sigma, sigma, [1, 2]))
    (dots,) = [marks for marks in ax.collections if not isinstance(marks, LineCollection)]
    assert dots.get_offsets().tolist() == [[1.0, 0.3], [2.0, 0.4]]


def test_one_path_that_runs_away_does_not_flatten_the_others_and_is_counted():
    steps = np.arange(61.0)[:, None]
    energy = np.repeat(0.01 * steps, 50, axis=1)
    energy[50:, 3] = 1e6
    ax = figures.note_paths_outside(figures.path_energy(make_paths(energy, energy + 0.1, [20] * 50)))
    assert ax.get_ylim()[1] < 2 * KCAL.show(energy[:, 0]).max()
    assert words(ax) == ["1 of 50 paths leave the frame"]


def test_paths_that_stay_inside_are_not_spoken_of():
    energy = np.repeat(0.01 * np.arange(10.0)[:, None], 5, axis=1)
    assert not words(figures.note_paths_outside(figures.path_energy(make_paths(energy, energy, [9] * 5))))


def test_a_path_that_stopped_and_members_that_agree_can_be_drawn():
    sigma = np.array([[0.0, 0.1, 0.1], [0.0, np.nan, 0.3], [0.0, np.nan, 0.2]])
    ax = figures.path_uncertainty(make_paths(sigma, sigma, [0, 0, 1]))
    low, high = ax.get_ylim()
    assert 0.0 < low < 0.1
    assert 0.3 < high < 1.0


def test_a_committee_that_ranks_its_errors_rightly_has_rank_correlation_one():
    sigma = np.array([0.1, 0.2, 0.4, 0.8])
    assert words(figures.uncertainty_error({"generation 1": make_labelled(sigma, sigma**2)})) == [
        "generation 1: ρ = 1.00, n = 4"
    ]


def test_too_few_labels_have_no_rank_correlation():
    one = np.array([0.3])
    assert words(figures.uncertainty_error({"generation 1": make_labelled(one, one)})) == ["generation 1"]


def test_a_member_that_diverged_does_not_hide_the_others():
    training = Training(
        epoch=np.array([0, 1, 0, 1]),
        member=np.array([0, 0, 1, 1]),
        train_loss=np.array([np.nan, np.nan, 0.2, 0.1]),
        validation_loss=np.array([np.nan, np.nan, 0.3, 0.2]),
    )
    ax = figures.learning_curves(training)
    assert (1.0, 0.2) in [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if np.ndim(line.get_xdata())]


def test_every_source_is_named_once():
    groups = {
        "start": Sampled(energy=np.zeros(2), source=("normal_mode", "file")),
        "1": Sampled(energy=np.ones(2), source=("attack", "attack")),
        "2": Sampled(energy=np.ones(1), source=("attack",)),
    }
    assert words(figures.labelled_energies(groups)) == ["normal mode", "file", "attack"]


def test_a_barrier_is_shown_beside_the_one_it_should_be():
    ax = figures.by_generation([1, 2], [5.4, 6.2], quantity="barrier (kcal/mol)", reference=("label method", 6.31))
    low, high = ax.get_ylim()
    assert low < 5.4
    assert high > 6.31
    assert words(ax) == ["5.40", "6.20", "label method: 6.31"]


@pytest.mark.parametrize("n_generations", [1, 3, 6, 7, 20])
def test_every_generation_has_a_colour_of_its_own(n_generations):
    assert len(set(generation_colours(n_generations))) == n_generations


def test_a_generation_keeps_its_colour_in_every_figure(run):
    texts = [text for sheet in sheets(run) for text in sheet.figure.findobj(Text)]
    colours = {to_hex(text.get_color()) for text in texts if text.get_text() == "generation 2"}
    assert colours == {generation_colours(3)[1]}


def test_panels_of_one_figure_share_their_limits(run):
    for sheet in sheets(run):
        assert len({ax.get_ylim() for ax in sheet.figure.axes}) == 1


def test_the_overview_tells_labels_attacks_and_barrier(run):
    titles = [ax.get_title(loc="left") for ax in overview(run).axes]
    assert titles == ["Labels of each generation", "Uncertainty along the attacks", "Inversion barrier"]


def test_a_figure_draws_no_random_numbers_of_its_own(run):
    first, second = (figures.labelled_energies({"start": run.start}).collections[1].get_offsets() for _ in range(2))
    assert np.array_equal(first, second)
