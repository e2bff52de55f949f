import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure

from sparring.plots.scales import BELOW_ZERO, energy_scale, uncertainty_scale
from sparring.reporting import figures
from sparring.surfaces.grids import Variable
from sparring.surfaces.landscape import Landscape, Landscapes, Marks
from sparring.units import EV, KCAL, KCAL_PER_MOL


def hills(*, shift=0.0, n_x=9, n_y=7, y=True, truth=True, sigma=0.05, marks=None):
    """A bowl of some tens of kcal/mol; the committee is off by a shift in eV."""
    x = Variable(name="R/R0", unit="", values=np.linspace(0.5, 1.5, n_x))
    side = Variable(name="Z", unit="Å", values=np.linspace(-2.0, 2.0, n_y))
    heights = side.values if y else np.zeros(1)
    bowl = 4 * np.square(x.values - 1.0)[:, None] + 0.5 * np.square(heights)
    return Landscape(
        x=x,
        y=side if y else None,
        zero=-10.0,
        mask=np.ones(bowl.shape, dtype=bool),
        energy=bowl + shift,
        energy_sigma=np.full(bowl.shape, 0.1),
        force_sigma=sigma * (1 + bowl),
        truth=bowl if truth else np.full(bowl.shape, np.nan),
        truth_method="formula" if truth else "",
        failures=(),
        marks=marks or {},
    )


def marked(*places):
    x, y = np.array(places, dtype=float).T
    return Marks(x=x, y=y, energy=np.full(len(places), 0.2))


def colours(ax):
    (filled,) = [one for one in ax.collections if isinstance(one, QuadContourSet) and one.filled]
    return filled


def words(figure):
    axes = figure.axes if isinstance(figure, Figure) else [figure]
    return [text.get_text() for ax in axes for text in ax.texts]


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("y", [True, False])
@pytest.mark.parametrize("draw", [figures.landscape_energy, figures.landscape_uncertainty])
def test_a_figure_draws_on_the_axes_it_is_given_or_makes_its_own(draw, y, given):
    ax = Figure().subplots() if given else None
    drawn = draw(hills(y=y), ax)
    assert drawn is ax or not given
    assert drawn.has_data()
    assert drawn.get_xlabel() == "R/R₀"
    # A panel that stands alone explains its colours.
    assert len(drawn.get_figure().axes) == (2 if y and not given else 1)
    assert drawn.get_ylabel() == "Z (Å)" or not y


def test_all_panels_of_a_quantity_have_the_same_levels():
    sheet = Landscapes(committees={"generation 1": hills(shift=2.0), "generation 2": hills(sigma=0.3)})
    figure = figures.landscape_figure(sheet)
    contours = [one for ax in figure.axes for one in ax.collections if isinstance(one, QuadContourSet) and one.filled]
    energies = [one for one in contours if one.cmap.name == "viridis"]
    sigmas = [one for one in contours if one.cmap.name == "magma"]
    assert (len(energies), len(sigmas)) == (3, 2)
    for group in (energies, sigmas):
        for one in group:
            np.testing.assert_array_equal(one.levels, group[0].levels)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert [title for title in titles if title] == ["ground truth", "generation 1", "generation 2"]


@pytest.mark.parametrize(("unit", "size"), [(KCAL, KCAL_PER_MOL), (EV, 1.0)])
def test_energies_are_coloured_by_the_logarithm_of_the_paper(unit, size):
    landscape = hills()
    scale = energy_scale([landscape], unit)
    assert scale.levels[-1] == pytest.approx(np.log10(1 + landscape.truth.max() / size))
    for place, name in scale.ticks.items():
        assert place == pytest.approx(np.log10(1 + float(name)))
    assert unit.name in scale.label
    ax = figures.landscape_energy(landscape, unit=unit)
    drawn = colours(ax)
    assert drawn.zmax == pytest.approx(scale.levels[-1])


def test_colours_follow_the_truth_and_not_a_committee_that_runs_away():
    assert energy_scale([hills(shift=1e4)]).levels[-1] == energy_scale([hills()]).levels[-1]


def test_what_lies_below_the_ground_state_is_seen():
    ax = figures.landscape_energy(hills(shift=-1.0), unit=EV)
    drawn = colours(ax)
    assert drawn.extend == "both"
    assert drawn.cmap(-1.0) == pytest.approx(to_rgba(BELOW_ZERO), abs=0.01)
    assert drawn.zmin < drawn.levels[0]
    assert colours(figures.landscape_energy(hills(), unit=EV)).zmin >= drawn.levels[0]


def test_a_point_without_a_label_is_blank_and_counted():
    landscape = hills()
    landscape.truth[2, 3] = np.nan
    whole, holed = figures.landscape_energy(hills(), truth=True), figures.landscape_energy(landscape, truth=True)
    assert words(whole) == []
    assert words(holed) == ["without a label: 1"]
    x, y = landscape.x.values[2], landscape.y.values[3]
    assert not covered(holed, x, y)
    assert covered(whole, x, y)
    assert covered(holed, landscape.x.values[6], landscape.y.values[3])


def covered(ax, x, y):
    """Whether any colour is painted over a place."""
    canvas = FigureCanvasAgg(ax.get_figure())
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    column, row = ax.transData.transform((x, y))
    painted = pixels[int(pixels.shape[0] - row), int(column), :3]
    background = np.array([round(255 * part) for part in ax.get_facecolor()[:3]])
    return np.abs(painted.astype(int) - background).max() > 3


def test_a_point_without_a_structure_is_not_counted_as_a_failure():
    landscape = hills()
    landscape.truth[2, 3], landscape.mask[2, 3] = np.nan, False
    assert words(figures.landscape_energy(landscape, truth=True)) == []


def test_structures_are_dots_by_their_role_and_those_outside_are_counted():
    marks = {"start": marked((1, 0), (1.1, 0.5)), "earlier": marked((9, 0)), "next": marked((1, -9), (0.8, 1))}
    ax = figures.landscape_energy(hills(marks=marks))
    dots = {
        name: handle
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)
    }  # fmt: skip
    assert list(dots) == ["starting data", "added by earlier committees", "added by this committee"]
    assert dots["starting data"].get_offsets().tolist() == [[1, 0], [1.1, 0.5]]
    face = [tuple(handle.get_facecolor()[0][:3].round(2)) for handle in dots.values()]
    assert face[0] == (1, 1, 1)
    assert face[2] == (0, 0, 0)
    assert words(ax) == ["outside: 2"]
    assert not figures.landscape_energy(hills(marks=marks), truth=True).get_legend_handles_labels()[0]


def test_along_one_variable_structures_are_as_high_as_their_label():
    ax = figures.landscape_energy(hills(y=False, marks={"start": marked((1.2, 0))}), unit=EV)
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    assert handles["starting data"].get_offsets().tolist() == [[1.2, 0.2]]
    assert set(handles) == {"truth", "±σ$_E$", "committee", "starting data"}


def test_the_band_about_a_curve_is_one_standard_deviation():
    landscape = hills(y=False)
    ax = figures.landscape_energy(landscape, unit=EV)
    (band,) = [one for one in ax.collections if one.get_label() == "±σ$_E$"]
    outline = band.get_paths()[0].vertices
    middle = landscape.energy[4, 0]
    at_middle = outline[np.isclose(outline[:, 0], landscape.x.values[4]), 1]
    assert (at_middle.min(), at_middle.max()) == pytest.approx((middle - 0.1, middle + 0.1))


def test_error_curves_are_those_of_the_landscape():
    landscape = hills(shift=0.01)
    landscape.energy[0] += 1.0
    ax = figures.landscape_errors({"one": landscape, "other": hills(shift=0.02)}, unit=KCAL)
    first, second = ax.get_lines()
    caps = np.sort(landscape.truth, axis=None)[5:]  # one point alone has no error worth the name
    np.testing.assert_allclose(first.get_xdata() * KCAL_PER_MOL, caps)
    np.testing.assert_allclose(first.get_ydata() * KCAL_PER_MOL, landscape.rmse_below(caps.tolist()))
    np.testing.assert_allclose(second.get_ydata() * KCAL_PER_MOL, 0.02)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "other"]
    aligned = figures.landscape_errors({"one": hills(shift=0.01)}, aligned=True).get_lines()[0]
    np.testing.assert_allclose(aligned.get_ydata(), 0.0, atol=1e-12)


@pytest.mark.parametrize("n_committees", [1, 4, 5, 9])
def test_a_sheet_holds_any_number_of_committees(n_committees):
    maps = {f"generation {n + 1}": hills(shift=0.1 * n) for n in range(n_committees)}
    figure = figures.landscape_figure(Landscapes(committees=maps))
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert [title for title in titles if title] == ["ground truth", *maps]
    assert sum(ax.get_xscale() == "log" for ax in figure.axes) == 1  # the errors


@pytest.mark.parametrize("y", [True, False])
def test_a_sheet_without_a_truth_shows_no_truth_and_no_errors(y):
    maps = {"alone": hills(truth=False, y=y)}
    figure = figures.landscape_figure(Landscapes(committees=maps))
    assert [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")] == ["alone"]
    figure.canvas.draw()


@pytest.mark.parametrize("y", [True, False])
def test_a_perfect_network_alone_has_neither_errors_nor_uncertainty_to_draw(y):
    figure = figures.landscape_figure(Landscapes(committees={"one network": hills(sigma=0.0, y=y)}))
    figure.canvas.draw()
    filled = [one for ax in figure.axes for one in ax.collections if isinstance(one, QuadContourSet) and one.filled]
    assert len(filled) == (2 if y else 0)


def test_scales_do_not_choke_on_flat_or_unfinished_landscapes():
    flat = hills()
    flat.truth[:], flat.energy[0, 0], flat.force_sigma[:] = 0.0, np.inf, 0.0
    for scale in (energy_scale([flat]), uncertainty_scale([flat])):
        assert (np.diff(scale.levels) > 0).all()
    figures.landscape_figure(Landscapes(committees={"flat": flat})).canvas.draw()
