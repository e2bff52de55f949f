"""Figures over two torsions, and of energies over many powers of ten: they show what the numbers say."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.contour import QuadContourSet

from sparring.plots.scales import energy_scale
from sparring.reporting.data import Sampled, TorsionPaths
from sparring.reporting.figures import (
    attack_torsions,
    energy_distributions,
    free_energy_figure,
    landscape_energy,
    landscape_figure,
)
from sparring.reporting.figures.torsions import pieces
from sparring.surfaces.grids import Variable
from sparring.surfaces.landscape import Landscape, Landscapes, Marks
from sparring.units import EV, KCAL, KCAL_PER_MOL
from sparring.validation.free_energy.histograms import Visits, compare

PI = np.pi


# --- paths ----------------------------------------------------------------------------------------------------------


def length(lines):
    return sum(np.linalg.norm(np.diff(line, axis=0), axis=1).sum() for line in lines)


def test_a_path_within_the_square_is_one_line():
    path = np.column_stack([np.linspace(-1, 1, 50), np.linspace(0, 2, 50)])
    (line,) = pieces(path)
    np.testing.assert_allclose(line[[0, -1]], path[[0, -1]])


def test_a_path_that_crosses_pi_is_cut_and_not_drawn_across():
    phi = np.array([2.8, 3.0, 3.2, 3.4])
    path = np.column_stack([(phi + PI) % (2 * PI) - PI, np.zeros(4)])
    first, second = pieces(path)
    np.testing.assert_allclose(first[-1], [PI, 0.0], atol=1e-12)
    np.testing.assert_allclose(second[0], [-PI, 0.0], atol=1e-12)
    assert max(np.abs(np.diff(line, axis=0)).max() for line in (first, second)) < 0.21
    assert length([first, second]) == pytest.approx(0.6)


def test_a_path_that_leaves_by_a_corner_is_cut_on_both_sides():
    steps = np.linspace(0, 1, 8)[:, None] * [1.0, -1.2] + [2.9, -2.6]
    lines = pieces((steps + PI) % (2 * PI) - PI)
    assert len(lines) == 3
    assert length(lines) == pytest.approx(np.hypot(1.0, 1.2))
    assert max(np.abs(line).max() for line in lines) <= PI + 1e-12


def test_a_path_that_goes_round_several_times_stays_inside_and_keeps_its_length():
    turns = np.linspace(0, 6 * PI, 400)
    lines = pieces(np.column_stack([(turns + PI) % (2 * PI) - PI, np.full(400, -3.0)]))
    assert len(lines) == 4
    assert length(lines) == pytest.approx(6 * PI)


def test_a_path_that_never_was_finite_has_no_line():
    assert pieces(np.empty((0, 2))) == []


@pytest.fixture
def attacks():
    """Two attacks: one goes on to its last step and crosses π, the other's best step is its second."""
    angles = np.zeros((5, 2, 2))
    angles[:, 0, 0] = [2.9, 3.1, -2.9832, -2.8, -2.6]
    angles[:, 1, 1] = [0.0, 0.1, 0.2, 2.0, 3.0]
    return TorsionPaths(names=("phi", "psi"), angles=angles, best_step=np.array([4, 1]))


def test_attacks_are_drawn_from_their_start_to_what_was_kept(attacks):
    ax = attack_torsions(attacks)
    starts, ends = (one for one in ax.collections if isinstance(one, PathCollection))
    np.testing.assert_allclose(starts.get_offsets(), attacks.angles[0])
    np.testing.assert_allclose(ends.get_offsets(), [[-2.6, 0.0], [0.0, 0.1]])
    (lines,) = (one for one in ax.collections if isinstance(one, LineCollection))
    segments = lines.get_segments()
    assert len(segments) == 3
    assert max(np.abs(np.diff(one, axis=0)).max() for one in segments) < 0.3
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("φ (rad)", "ψ (rad)")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["−π", "−π/2", "0", "π/2", "π"]
    np.testing.assert_allclose(starts.get_facecolor()[0], [1, 1, 1, 1])
    np.testing.assert_allclose(ends.get_facecolor()[0], [0, 0, 0, 1])


# --- energies -------------------------------------------------------------------------------------------------------


def test_boxes_whiskers_and_counts_are_those_of_the_labels():
    energies = np.array([0.0, 10.0, 20.0, 30.0, 5000.0])
    groups = {
        "start": Sampled(energy=energies * KCAL_PER_MOL, source=("langevin",) * 5),
        "1": Sampled(energy=np.full(3, 40.0) * KCAL_PER_MOL, source=("attack",) * 3),
    }
    ax = energy_distributions(groups, discarded={"1": 7}, unit=KCAL)
    lines = [np.asarray(line.get_ydata(), dtype=float) for line in ax.get_lines()]
    whiskers = [line for line in lines if line[0] != line[1]]
    np.testing.assert_allclose(sorted(one for line in whiskers for one in line), [0.0, 10.0, 30.0, 5000.0], atol=1e-9)
    medians = [line.get_ydata()[0] for line in ax.get_lines() if line.get_linewidth() == 1.8]
    np.testing.assert_allclose(medians, [20.0, 40.0])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["start\n5", "1\n3\n(−7)"]
    assert "discarded" in ax.get_xlabel()
    assert ax.get_yscale() == "symlog"


def test_a_group_of_which_nothing_is_left_is_counted_all_the_same():
    ax = energy_distributions({"1": Sampled(energy=np.empty(0), source=())}, discarded={"1": 4})
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1\n0\n(−4)"]


# --- maps -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def mapped():
    """A landscape over torsions with a peak of 3,000 kcal/mol, and a committee that is wrong by 1 kcal/mol."""
    n = 8
    angle = -PI + 2 * PI * np.arange(n) / n
    truth = 10 * KCAL_PER_MOL * (2 + np.cos(angle)[:, None] + np.sin(angle))
    truth[4, 4] = 3000 * KCAL_PER_MOL
    truth -= truth.min()
    sides = [Variable(name=name, unit="rad", values=angle, period=2 * PI) for name in ("phi", "psi")]
    return Landscape(
        x=sides[0],
        y=sides[1],
        zero=-10.0,
        mask=np.ones((n, n), dtype=bool),
        energy=truth + KCAL_PER_MOL,
        energy_sigma=np.full((n, n), 0.01),
        force_sigma=np.full((n, n), 0.1) + truth,
        truth=truth,
        truth_method="made up",
        failures=(),
        marks={"start": Marks(x=np.array([3.0]), y=np.array([-3.0]), energy=np.zeros(1))},
    )


def test_a_map_over_torsions_is_closed_and_nothing_is_outside(mapped):
    ax = landscape_energy(mapped)
    assert ax.get_xlim() == (pytest.approx(-PI), pytest.approx(PI))
    (filled,) = (one for one in ax.collections if isinstance(one, QuadContourSet) and one.filled)
    corners = np.concatenate([path.vertices for path in filled.get_paths() if len(path.vertices)])
    assert corners[:, 0].max() == pytest.approx(PI)
    assert corners[:, 1].max() == pytest.approx(PI)
    assert not [text for text in ax.texts if "outside" in text.get_text()]
    assert ax.get_xlabel() == "φ (rad)"


def test_both_edges_of_a_map_show_the_same(mapped):
    from sparring.validation.landscape.figure import _closed

    x, y, values = _closed(mapped.x, mapped.y, mapped.truth)
    assert values.shape == (9, 9)
    np.testing.assert_array_equal(values[0], values[-1])
    np.testing.assert_array_equal(values[:, 0], values[:, -1])
    assert (x[-1], y[-1]) == (pytest.approx(PI), pytest.approx(PI))


def test_energies_over_torsions_are_clipped_at_300(mapped):
    scale = energy_scale([mapped], KCAL, cap=300.0)
    assert scale.levels[-1] == pytest.approx(np.log10(301))
    assert "300" in scale.ticks.values()
    assert energy_scale([mapped], KCAL).levels[-1] == pytest.approx(np.log10(1 + mapped.truth.max() / KCAL_PER_MOL))
    figure = landscape_figure(Landscapes(committees={"generation 1": mapped}))
    (bar,) = (ax for ax in figure.axes if ax.get_ylabel().startswith("relative energy"))
    assert [label.get_text() for label in bar.get_yticklabels()][-1] == "300"
    in_ev = landscape_figure(Landscapes(committees={"generation 1": mapped}), unit=EV)
    (bar,) = (ax for ax in in_ev.axes if ax.get_ylabel().startswith("relative energy"))
    assert bar.get_ylim()[1] == pytest.approx(np.log10(1 + 300 * KCAL_PER_MOL))


def test_the_figure_of_free_energies_says_how_far_they_are_apart():
    generator = np.random.default_rng(0)
    counts = generator.poisson(40.0, size=(2, 10, 6, 6))
    counts[:, :, 5] = 0
    both = [Visits(counts=one, n_failed=0, method="made up") for one in counts]
    result = compare(*both, names=("phi", "psi"), temperature=300.0)
    figure = free_energy_figure(result)
    assert [ax.get_title(loc="left") for ax in figure.axes[:4]] == [
        "reference",
        "committee",
        "committee − reference",
        "bin by bin",
    ]
    (words,) = figure.axes[3].texts
    assert f"{result.difference / KCAL_PER_MOL:.2f} ± {result.difference_sigma / KCAL_PER_MOL:.2f}" in words.get_text()
    drawn = figure.axes[2].collections[0].get_array()
    np.testing.assert_array_equal(np.ma.getmaskarray(drawn).reshape(6, 6).T, ~result.shared)
