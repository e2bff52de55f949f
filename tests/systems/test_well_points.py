import numpy as np
import pytest

from sparring.atoms.structures import Structures
from sparring.systems.wells import DoubleWell1D, DoubleWell2D, coordinates, grid_points, grid_structures


@pytest.mark.parametrize("well", [DoubleWell1D(), DoubleWell2D()])
def test_grid_points_are_the_grids_structures_with_their_labels_and_places(well):
    n = well.n_coordinates
    points = grid_points(well, [7] * n)
    np.testing.assert_allclose(Structures.from_atoms(points).positions, grid_structures(well, 7).positions, atol=1e-15)
    for point in points:
        assert [point.info[name] for name in "xy"[:n]] == list(coordinates(point, n))
        assert ("y" in point.info) == (n == 2)
        energy = point.info["REF_energy"]
        assert energy == pytest.approx(well.get_potential_energy(point))
        np.testing.assert_allclose(point.arrays["REF_forces"], well.get_forces(point))


def test_sides_may_have_different_numbers_of_points():
    points = grid_points(DoubleWell2D(), (3, 5))
    assert len({point.info["x"] for point in points}) == 3
    assert len({point.info["y"] for point in points}) == 5


def test_a_well_with_too_few_or_too_many_sides_is_refused():
    with pytest.raises(ValueError, match="double_well_2d has 2 coordinates, got numbers of points for 1"):
        grid_points(DoubleWell2D(), (3,))
