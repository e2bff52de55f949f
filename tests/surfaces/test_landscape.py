import json
from dataclasses import replace

import numpy as np
import pytest

from sparring.committee import Committee
from sparring.surfaces.grids import Truth, grid, true_energies
from sparring.surfaces.landscape import Landscape, Landscapes, Marks, landscape
from sparring.systems.wells import DoubleWell1D, DoubleWell2D, grid_points, grid_rmse
from sparring.units import KCAL
from sparring.validation.landscape.table import landscape_table, usual_caps
from sparring.validation.records import read_record, write_record

CAPS = [0.5, 2.0, 10.0, 1e3]


def plane_wave(height, tilt=0.0):
    """The second double well with a ripple, and tilted."""

    def energies(structures):
        x, y = structures.positions[:, 0], structures.positions[:, 1]
        return 10 * x**4 - 10 * x**2 + 2 * x + 4 * y**2 + height * (3 * x).sin() + tilt * y

    return energies


MEMBERS = [(0.3, 0.1), (-0.2, 0.4), (0.5, -0.2)]
SHAPE = (9, 7)


@pytest.fixture
def well_grid():
    return grid(grid_points(DoubleWell2D(), SHAPE), "x", "y")


@pytest.fixture
def computed(well_grid):
    committee = Committee([plane_wave(*member) for member in MEMBERS])
    return landscape(committee, well_grid, true_energies(well_grid))


@pytest.fixture
def axes(well_grid):
    return np.meshgrid(well_grid.x.values, well_grid.y.values, indexing="ij")


def test_energies_and_uncertainties_are_those_of_the_formula(computed, axes):
    x, y = axes
    truth = 10 * x**4 - 10 * x**2 + 2 * x + 4 * y**2
    members = np.array([truth + height * np.sin(3 * x) + tilt * y for height, tilt in MEMBERS])
    np.testing.assert_allclose(computed.truth, truth - truth.min(), atol=1e-12)
    np.testing.assert_allclose(computed.energy, members.mean(axis=0) - truth.min(), atol=1e-12)
    np.testing.assert_allclose(computed.energy_sigma, members.std(axis=0, ddof=1), atol=1e-12)
    height, tilt = np.std([height for height, _ in MEMBERS], ddof=1), np.std([tilt for _, tilt in MEMBERS], ddof=1)
    sigma = np.sqrt((np.square(3 * np.cos(3 * x) * height) + tilt**2) / 3)  # Eq. 7 of one atom
    np.testing.assert_allclose(computed.force_sigma, sigma, atol=1e-12)


def test_the_error_below_a_cap_is_that_of_the_points_whose_true_energy_is_below(computed):
    energy, truth = computed.energy.ravel(), computed.truth.ravel()
    for cap, error, n, sigma in zip(
        CAPS, computed.rmse_below(CAPS), computed.n_below(CAPS), computed.force_sigma_below(CAPS), strict=True
    ):
        low = truth <= truth.min() + cap
        assert n == low.sum() > 0
        assert error == pytest.approx(np.sqrt(np.mean((energy[low] - truth[low]) ** 2)))
        assert sigma == pytest.approx(computed.force_sigma.ravel()[low].mean())
        smallest, typical, largest = computed.error_percentiles_below(cap, (0.0, 50.0, 100.0))
        sizes = sorted(abs(energy[low] - truth[low]))
        assert (smallest, largest) == (sizes[0], sizes[-1])
        assert typical == pytest.approx((sizes[(n - 1) // 2] + sizes[n // 2]) / 2)
    assert len(set(computed.n_below(CAPS).tolist())) == len(CAPS)


def test_the_error_of_the_forces_is_that_of_the_formula(computed, axes):
    height, tilt = np.mean(MEMBERS, axis=0)
    error = np.sqrt((np.square(3 * np.cos(3 * axes[0]) * height) + tilt**2) / 3)  # as in Eq. 7, of one atom
    np.testing.assert_allclose(computed.force_error, error, atol=1e-12)


def test_forces_err_as_many_times_more_than_their_sigma_says(computed):
    for cap, ratio in zip(CAPS, computed.force_ratio_below(CAPS), strict=True):
        low = computed.truth <= cap
        squares = (np.mean(values[low] ** 2) for values in (computed.force_error, computed.force_sigma))
        assert ratio == pytest.approx(np.sqrt(next(squares) / next(squares)))
    assert np.isnan(computed.force_ratio_below([-1.0]))


def test_points_without_true_forces_are_in_no_ratio(computed):
    partly = computed.force_error.copy()
    partly[: SHAPE[0] // 2] = np.nan
    half = replace(computed, force_error=partly)
    right = replace(computed, truth=np.where(np.isnan(partly), np.nan, computed.truth), zero=0.0)
    cap = [np.nanmax(computed.truth)]
    np.testing.assert_allclose(half.force_ratio_below(cap), right.force_ratio_below(cap))
    assert not np.allclose(half.force_ratio_below(cap), computed.force_ratio_below(cap))


def test_energies_alone_say_nothing_about_forces(computed, well_grid):
    truth = true_energies(well_grid)
    committee = Committee([plane_wave(*member) for member in MEMBERS])
    bare = landscape(committee, well_grid, Truth(energy=truth.energy, method=truth.method))
    assert np.isnan(bare.force_error).all()
    assert np.isnan(bare.force_ratio_below(CAPS)).all()
    np.testing.assert_array_equal(bare.rmse_below(CAPS), computed.rmse_below(CAPS))


def test_the_table_has_ratios_where_they_are_known_and_no_heading_without(computed):
    both = {"known": computed, "old": replace(computed, force_error=None)}
    table = landscape_table(both, KCAL)
    ratios = [place for place, column in enumerate(table.columns) if column.group.startswith("RMS error of the forces")]
    _, known, old = ([row[0], *(row[place] for place in ratios)] for row in table.cells())
    assert known == ["known", *(f"{ratio:.2f}" for ratio in computed.force_ratio_below(usual_caps(computed, KCAL)))]
    assert set(old[1:]) == {"-"}
    alone = landscape_table({"old": replace(computed, force_error=None)}, KCAL)
    assert "RMS error of the forces" not in alone.text()


def test_a_result_from_before_forces_were_compared_is_read(computed, tmp_path):
    file = tmp_path / "landscape.json"
    write_record(file, computed)
    content = json.loads(file.read_text(encoding="utf-8"))
    del content["force_error"]
    file.write_text(json.dumps(content), encoding="utf-8")
    old = read_record(file, Landscape)
    assert old.force_error is None
    assert np.isnan(old.force_ratio_below(CAPS)).all()
    np.testing.assert_allclose(old.rmse_below(CAPS), computed.rmse_below(CAPS))


def test_a_cap_below_everything_has_no_error(computed):
    assert np.isnan(computed.rmse_below([-1.0]))
    assert np.isnan(computed.force_sigma_below([-1.0]))
    assert np.isnan(computed.error_percentiles_below(-1.0, (50.0, 100.0))).all()
    assert computed.n_below([-1.0, 0.0]).tolist() == [0, 1]


def test_a_shift_is_an_error_unless_both_are_aligned_at_the_lowest_true_point(well_grid):
    truth = true_energies(well_grid)
    tilted = plane_wave(0.3, tilt=5.0)  # so much that its own lowest point is another
    shapes = [landscape(Committee([tilted] * 2), well_grid, truth)]
    shapes.append(landscape(Committee([lambda s: tilted(s) + 70.0] * 2), well_grid, truth))
    assert shapes[0].energy.argmin() != shapes[0].truth.argmin()
    plain, shifted = (one.rmse_below(CAPS) for one in shapes)
    assert (shifted > plain + 50).all()
    plain, shifted = (one.rmse_below(CAPS, aligned=True) for one in shapes)
    np.testing.assert_allclose(shifted, plain, atol=1e-12)
    error = shapes[0].energy - shapes[0].truth
    error -= error.ravel()[shapes[0].truth.argmin()]
    assert shifted[-1] == pytest.approx(np.sqrt(np.mean(error**2)))


def test_errors_do_not_depend_on_the_zero(computed, well_grid):
    committee = Committee([plane_wave(*member) for member in MEMBERS])
    other = landscape(committee, well_grid, true_energies(well_grid), zero=100.0)
    np.testing.assert_allclose(other.energy + 100.0, computed.energy + computed.zero)
    np.testing.assert_allclose(other.rmse_below(CAPS), computed.rmse_below(CAPS))


@pytest.mark.parametrize("n_at_once", [1, 5, 100])
def test_a_committee_asked_in_chunks_answers_as_at_once(committee, n_at_once, rattled, ammonia):
    structures = rattled(ammonia, 12)
    for number, one in enumerate(structures):
        one.info |= {"a": number // 4, "b": number % 4}
    found = grid(structures, "a", "b")
    members = committee()
    whole, parts = landscape(members, found), landscape(members, found, n_at_once=n_at_once)
    for name in ("energy", "energy_sigma", "force_sigma"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-11)


def test_a_point_without_a_label_counts_nowhere(well_grid):
    truth = true_energies(well_grid)
    energy = truth.energy.copy()
    worst = np.unravel_index(energy.argmax(), energy.shape)
    energy[worst] = np.nan
    holed = Truth(energy=energy, method="well", failures=("x = 1.5, y = 1.5: it crashed",))
    committee = Committee([plane_wave(*member) for member in MEMBERS])
    whole, part = landscape(committee, well_grid, truth), landscape(committee, well_grid, holed)
    assert np.argwhere(np.isnan(part.truth)).tolist() == [list(worst)]
    assert np.isfinite(part.energy).all()
    assert part.n_below([1e3])[0] == whole.n_below([1e3])[0] - 1
    np.testing.assert_allclose(part.rmse_below(CAPS[:-1]), whole.rmse_below(CAPS[:-1]))
    assert part.failures == holed.failures


def test_a_point_without_a_structure_is_nan_everywhere(well_grid):
    structures = [one for one in well_grid.structures if (one.info["x"], one.info["y"]) != (0.0, 0.0)]
    found = grid(structures, "x", "y")
    holed = landscape(Committee([plane_wave(*member) for member in MEMBERS]), found, true_energies(found))
    assert np.argwhere(~holed.mask).tolist() == [[4, 3]]
    for name in ("energy", "energy_sigma", "force_sigma", "truth"):
        np.testing.assert_array_equal(np.isnan(getattr(holed, name)), ~holed.mask)


def test_without_a_truth_energies_are_above_the_committees_own_lowest_and_errors_unknown(well_grid):
    alone = landscape(Committee([plane_wave(0.1), plane_wave(0.2)]), well_grid)
    assert not alone.has_truth
    assert alone.energy.min() == 0.0
    assert np.isnan(alone.rmse_below(CAPS)).all()
    assert np.isnan(alone.rmse_below(CAPS, aligned=True)).all()
    assert alone.n_below(CAPS).tolist() == [0] * len(CAPS)


def test_one_variable_makes_a_line():
    well = DoubleWell1D()
    found = grid(grid_points(well, (21,)), "x")

    def exact(structures):
        x = structures.positions[:, 0]
        return 5 * x**4 - 10 * x**2 + 1.5 * x

    line = landscape(Committee([exact, exact]), found, true_energies(found))
    assert line.energy.shape == (21, 1)
    np.testing.assert_allclose(line.energy, line.truth, atol=1e-12)
    assert line.rmse_below([1.0, 100.0]) == pytest.approx([0, 0], abs=1e-12)


def test_landscapes_are_read_back_as_they_were_written(computed, tmp_path):
    marks = {"start": Marks(x=np.array([0.1]), y=np.array([0.2]), energy=np.array([1e-3]))}
    computed.truth[0, 0] = np.nan
    full = Landscape(**{**vars(computed), "marks": marks, "failures": ("it crashed",)})
    found = grid(grid_points(DoubleWell1D(), (5,)), "x", x_unit="Å")
    line = landscape(Committee([lambda s: s.positions[:, 0], lambda s: s.positions[:, 0] * 2]), found)
    write_record(tmp_path / "landscape.json", Landscapes(committees={"first": full, "a line": line}))
    read = read_record(tmp_path / "landscape.json", Landscapes).committees
    assert list(read) == ["first", "a line"]
    for name, before in (("first", full), ("a line", line)):
        after = read[name]
        for field in ("mask", "energy", "energy_sigma", "force_sigma", "truth"):
            np.testing.assert_array_equal(getattr(after, field), getattr(before, field))
        assert (after.zero, after.truth_method, after.failures) == (before.zero, before.truth_method, before.failures)
        np.testing.assert_array_equal(after.x.values, before.x.values)
    assert read["a line"].y is None
    assert read["a line"].x.unit == "Å"
    assert read["first"].marks["start"].energy.tolist() == [1e-3]
    np.testing.assert_array_equal(read["first"].rmse_below(CAPS), full.rmse_below(CAPS))


def test_the_wells_grid_error_of_the_paper_is_the_error_below_no_cap():
    square = grid(grid_points(DoubleWell2D(), (12, 12)), "x", "y")
    found = landscape(Committee([plane_wave(0.3), plane_wave(0.3)]), square, true_energies(square))
    assert found.rmse_below([np.inf])[0] == pytest.approx(grid_rmse(DoubleWell2D(), plane_wave(0.3), n=12))
