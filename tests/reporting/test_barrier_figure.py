import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from sparring.plots.style import INK, generation_colours
from sparring.reporting import figures
from sparring.surfaces.minimum_energy_path import MinimumEnergyPath
from sparring.units import EV, KCAL_PER_MOL


def hump(heights=(6.0, 7.0), *, n_images=11, length=0.8, converged=True):
    """Paths over a sine of these heights in kcal/mol, one a member."""
    turn = np.linspace(0, np.pi, n_images)
    members = np.outer(heights, np.sin(turn) ** 2) * KCAL_PER_MOL
    mean = np.mean(heights) * KCAL_PER_MOL
    return MinimumEnergyPath(
        method="made up",
        coordinate=turn / np.pi * length,
        energy=members.mean(axis=0),
        slope=mean * np.sin(2 * turn) * np.pi / length,
        energy_sigma=members.std(axis=0, ddof=1) if len(heights) > 1 else np.zeros(n_images),
        member_energy=members,
        moved=np.zeros(2),
        climb=False,
        converged=converged,
        n_steps=3,
        fmax=0.01,
    )


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_legend_tells_each_barrier_with_its_spread_and_the_true_one_without():
    paths = {"generation 1": hump(), "generation 2": hump((6.2, 6.4))}
    ax = figures.barrier_profiles(paths, truth=hump((6.3,)))
    assert legend(ax) == [
        "generation 1: 6.50 ± 0.71 kcal/mol",
        "generation 2: 6.30 ± 0.14 kcal/mol",
        "label method: 6.30 kcal/mol",
    ]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("distance along the path (Å)", "energy above the start (kcal/mol)")


def test_images_are_marks_where_they_stand_and_the_line_passes_through_them():
    path = hump(n_images=5)
    ax = figures.barrier_profiles({"one": path})
    line, marks = (one for one in ax.lines if len(one.get_xdata()))
    assert marks.get_linestyle() == "None"
    np.testing.assert_allclose(marks.get_xydata(), np.column_stack([path.coordinate, path.energy / KCAL_PER_MOL]))
    x, y = line.get_data()
    np.testing.assert_allclose(y[np.isin(x, path.coordinate)], path.energy / KCAL_PER_MOL, atol=1e-12)
    np.testing.assert_allclose(y, 6.5 * np.sin(np.pi * x / 0.8) ** 2, atol=0.1)


def test_the_band_is_one_standard_deviation_to_either_side():
    path = hump()
    (band,) = figures.barrier_profiles({"one": path}, unit=EV).collections
    corners = band.get_paths()[0].vertices
    for coordinate, energy, sigma in zip(path.coordinate, path.energy, path.energy_sigma, strict=True):
        edge = corners[np.isclose(corners[:, 0], coordinate), 1]
        assert (edge.min(), edge.max()) == pytest.approx((energy - sigma, energy + sigma), abs=1e-12)


def test_one_network_alone_has_no_band():
    ax = figures.barrier_profiles({"one": hump((6.0,))})
    assert not ax.collections
    assert legend(ax) == ["one: 6.00 kcal/mol"]


def test_a_path_that_has_not_converged_is_marked():
    ax = figures.barrier_profiles({"one": hump((6.0,), converged=False)})
    assert legend(ax) == ["one: 6.00 kcal/mol, not converged"]


def test_generations_have_the_colours_that_they_have_in_all_figures_and_the_truth_is_black():
    paths = {f"generation {number}": hump() for number in (1, 2, 3)}
    ax = figures.barrier_profiles(paths, truth=hump((6.3,)))
    lines = [to_hex(line.get_color()) for line in ax.lines if line.get_label().startswith(("gen", "label"))]
    assert lines == [*generation_colours(3), INK]
    ax = figures.barrier_profiles({"one": hump()}, colours=["#123456"])
    assert {to_hex(line.get_color()) for line in ax.lines} == {"#123456"}


def test_axes_that_are_given_are_drawn_on_and_a_figure_of_its_own_has_a_title():
    ax = Figure().subplots()
    assert figures.barrier_profiles({"one": hump()}, ax) is ax
    figure = figures.barrier_figure({"one": hump()}, truth=hump((6.3,)), title="Inversion")
    assert figure.axes[0].get_title(loc="left") == "Inversion"
