import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT

from sparring.systems.ammonia import planar_geometry, umbrella_coordinates, umbrella_grid


@pytest.fixture
def minimum(ammonia):
    """A pyramid that lies anywhere, with what is known of it."""
    ammonia.rotate(40, (1, 2, 3))
    ammonia.translate((3.0, -1.0, 2.0))
    ammonia.info |= {"charge": 0, "multiplicity": 1, "REF_energy": -1.0}
    return ammonia


def circle(atoms):
    """Radius and height by another road: the circle about the mean of hydrogens that form an equilateral triangle."""
    nitrogen, *hydrogens = atoms.positions
    centre = np.mean(hydrogens, axis=0)
    radii = np.linalg.norm(hydrogens - centre, axis=1)
    np.testing.assert_allclose(radii, radii[0], rtol=1e-4)
    return radii[0], np.linalg.norm(nitrogen - centre)


def test_grid_structures_have_exactly_the_radii_and_heights_that_were_asked_for(minimum):
    radii, heights = (0.7, 1.0, 1.3), (-2.0, 0.0, 0.5, 1.0)
    structures = umbrella_grid(minimum, radii=radii, heights=heights)
    ground = circle(minimum)
    asked = [(r, z) for r in radii for z in heights]
    assert [(one.info["R/R0"], one.info["Z/Z0"]) for one in structures] == asked
    for one, (r, z) in zip(structures, asked, strict=True):
        np.testing.assert_allclose(circle(one), (r * ground[0], abs(z) * ground[1]), rtol=1e-5, atol=1e-12)
        assert umbrella_coordinates(minimum)(one) == pytest.approx((r, z), abs=1e-12)


def test_the_ground_state_is_at_one_one_and_its_mirror_image_at_one_minus_one(minimum):
    coordinates = umbrella_coordinates(minimum)
    assert coordinates(minimum) == pytest.approx((1, 1))
    mirrored = Atoms(minimum.symbols, positions=minimum.positions * [1, 1, -1])
    assert coordinates(mirrored) == pytest.approx((1, -1))


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [0, 2, 1, 3]])
def test_the_side_of_the_minimum_is_the_positive_one_whatever_the_order_of_its_hydrogens(minimum, order):
    reordered = minimum[order]
    at_minimum, inverted = umbrella_grid(reordered, radii=[1.0], heights=[1.0, -1.0])
    assert umbrella_coordinates(reordered)(at_minimum) == pytest.approx((1, 1))
    assert umbrella_coordinates(reordered)(inverted) == pytest.approx((1, -1))


def test_the_grid_at_one_one_is_the_ground_state_itself(minimum):
    (atoms,) = umbrella_grid(minimum, radii=[1.0], heights=[1.0])
    np.testing.assert_allclose(atoms.get_all_distances(), minimum.get_all_distances(), atol=1e-5)
    assert (atoms.info["charge"], atoms.info["multiplicity"]) == (0, 1)
    assert "REF_energy" not in atoms.info


def test_mirror_images_have_equal_energies(minimum):
    up, down = umbrella_grid(minimum, radii=[0.9], heights=[0.8, -0.8])
    assert EMT().get_potential_energy(up) == pytest.approx(EMT().get_potential_energy(down), abs=1e-12)


def test_coordinates_of_a_lopsided_molecule_are_those_of_the_circle_through_its_hydrogens(minimum):
    positions = [[0.1, 0.2, -0.7], [0, 0, 0], [3, 0, 0], [0, 4, 0]]  # a right triangle: its circle has the radius 2.5
    radius, height = circle(minimum)
    r, z = umbrella_coordinates(minimum)(Atoms("NH3", positions=positions))
    assert (r * radius, abs(z) * height) == pytest.approx((2.5, 0.7), rel=1e-4)


def test_hydrogens_in_a_line_have_no_height_but_raise_nothing(minimum):
    line = Atoms("NH3", positions=[[0, 0, 1], [0, 0, 0], [1, 0, 0], [2, 0, 0]])
    assert umbrella_coordinates(minimum)(line) == pytest.approx((np.inf, np.nan), nan_ok=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (molecule("NH3")[[1, 0, 2, 3]], "nitrogen first"),
        (molecule("H2O"), "nitrogen first"),
        (planar_geometry(1.01), "must be a pyramid"),
    ],
)
def test_what_is_no_pyramid_of_ammonia_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        umbrella_grid(wrong, radii=[1.0], heights=[1.0])
    with pytest.raises(ValueError, match=message):
        umbrella_coordinates(wrong)


def test_a_circle_without_radius_is_refused(minimum):
    with pytest.raises(ValueError, match=r"positive radius, got R/R0 = 0"):
        umbrella_grid(minimum, radii=[1.0, 0.0], heights=[1.0])
