import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from sparring.plots.style import generation_colours
from sparring.reporting import figures
from sparring.units import EV, KCAL
from sparring.validation.diversity.compute import Diversity

GROUPS = {
    ("minimum", 1, ("a",)): 1,
    ("normal_mode", 1, ("a",)): 30,
    ("attack", 2, ("a",)): 12,
    ("attack", 3, ("a",)): 3,
}


def made_up(groups=GROUPS, seed=0):
    """Numbers drawn at random, sorted by group."""
    generator = np.random.default_rng(seed)
    source, generation, runs = zip(*(group for group, n in groups.items() for _ in range(n)), strict=True)
    n = len(source)
    return Diversity(
        map=generator.normal(size=(n, 2)) * [5.0, 1.0],
        energy=generator.gamma(2.0, 0.3, n),
        rmsd=generator.gamma(2.0, 0.1, n),
        novelty=np.full(n, np.nan),
        spacing=np.full(n, np.nan),
        source=source,
        generation=np.array(generation),
        runs=runs,
        n_neighbors=15,
        seed=0,
    )


def marks(ax):
    """What is drawn of each group, by its name."""
    drawn = [one for one in ax.collections if isinstance(one, PathCollection) and len(one.get_offsets())]
    return {str(one.get_label()): np.asarray(one.get_offsets()) for one in drawn}


def colours(ax):
    drawn = [one for one in ax.collections if isinstance(one, PathCollection)]
    return {str(one.get_label()): to_hex(one.get_facecolor()[0]) for one in drawn}


ALL = [figures.similarity_map, figures.energies_by_source, figures.rmsd_energy]


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("draw", ALL)
def test_a_figure_draws_on_the_axes_it_is_given_or_makes_its_own_and_names_every_group_once(draw, given):
    ax = Figure().subplots() if given else None
    drawn = draw(made_up(), ax)
    assert drawn is ax or not given
    names = ["minimum, start", "normal mode, start", "attack, generation 1", "attack, generation 2"]
    assert list(marks(drawn)) == names
    legend = drawn.get_legend()
    texts = legend.get_texts() if legend else drawn.get_yticklabels()
    assert [text.get_text().partition(" (")[0] for text in texts] == names


def test_a_map_has_every_structure_at_its_place_and_one_scale_for_both_axes():
    diversity = made_up()
    ax = figures.similarity_map(diversity)
    np.testing.assert_array_equal(np.concatenate(list(marks(ax).values())), diversity.map)
    ax.figure.draw_without_rendering()
    units = ax.transData.transform([[1.0, 0.0], [0.0, 1.0]]) - ax.transData.transform([0.0, 0.0])
    np.testing.assert_allclose(units[0, 0], units[1, 1], rtol=0.006)  # Matplotlib leaves what is nearly equal


def test_boxes_are_quartiles_and_whiskers_span_the_whole_range():
    diversity = made_up()
    ax = figures.energies_by_source(diversity)
    energy = KCAL.show(diversity.energy[1:31])
    flat = [line for line in ax.lines if set(line.get_ydata()) == {1.0}]
    assert [sorted(line.get_xdata()) for line in flat] == [[energy.min(), energy.max()]]
    (box,) = [one for one in ax.collections if not isinstance(one, PathCollection) and _covers(one, 1.0)]
    np.testing.assert_allclose(box.get_datalim(ax.transData).intervalx, np.percentile(energy, (25, 75)))
    median = [line for line in ax.lines if len(set(line.get_xdata())) == 1 and np.mean(line.get_ydata()) == 1.0]
    np.testing.assert_allclose([line.get_xdata()[0] for line in median], np.median(energy))


def _covers(box, place):
    low, high = box.get_paths()[0].get_extents().intervaly
    return low < place < high


def test_few_energies_are_shown_without_a_box():
    ax = figures.energies_by_source(made_up())
    assert {round(float(np.nanmean(line.get_ydata()))) for line in ax.lines} == {1, 2}  # not of one or three structures
    assert [len(points) for points in marks(ax).values()] == [1, 30, 12, 3]


def test_energies_can_be_shown_in_another_unit():
    diversity = made_up()
    ax = figures.rmsd_energy(diversity, unit=EV)
    np.testing.assert_allclose(
        np.concatenate(list(marks(ax).values())), np.column_stack([diversity.energy, diversity.rmsd])
    )
    assert ax.get_xlabel() == "energy above lowest (eV)"


def test_generations_have_the_colours_of_the_report_and_starts_step_back():
    found = colours(figures.similarity_map(made_up()))
    assert (found["attack, generation 1"], found["attack, generation 2"]) == generation_colours(2)
    assert found["normal mode, start"] not in generation_colours(6)


def test_every_group_of_several_runs_can_be_told_apart():
    groups = {
        (source, generation, (run,)): 3
        for run in "abc"
        for source, generation in (("normal_mode", 1), ("attack", 2), ("attack", 3))
    }
    ax = figures.rmsd_energy(made_up(groups))
    assert len(set(colours(ax).values())) == len(groups)
    assert "b: attack, generation 2" in colours(ax)


def test_the_three_panels_share_one_legend():
    figure = figures.diversity_figure(made_up())
    assert len(figure.axes) == 3
    assert [len(legend.get_texts()) for legend in figure.legends] == [4]
    assert not any(ax.get_legend() for ax in figure.axes)
    first, second = (figures.energies_by_source(made_up()) for _ in range(2))
    np.testing.assert_array_equal(
        np.concatenate(list(marks(first).values())), np.concatenate(list(marks(second).values()))
    )
