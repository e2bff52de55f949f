import numpy as np
import pytest

from sparring.atoms.geometry import rmsd_matrix
from sparring.systems.ammonia import inversion_endpoints, planar_geometry


def aligned_rmsd(one, other, *, reflect=False):
    return rmsd_matrix(np.stack([one, other]), reflect=reflect)[0, 1]


@pytest.fixture
def pyramid():
    """A lopsided one that stands askew."""
    atoms = planar_geometry(0.95)
    atoms.positions[0, 2] = 0.4
    atoms.positions[1] *= 1.05
    atoms.rotate(40, (1, 2, -1))
    atoms.positions += (1.0, -2.0, 0.5)
    atoms.info |= {"REF_energy": -3.0, "source": "minimum"}
    return atoms


def normal(atoms):
    one, two, three = atoms.positions[1:]
    direction = np.cross(two - one, three - one)
    return direction / np.linalg.norm(direction)


def test_the_end_is_the_mirror_image_of_the_start(pyramid):
    start, end = inversion_endpoints(pyramid)
    assert (start.positions == pyramid.positions).all()
    np.testing.assert_allclose(end.get_all_distances(), start.get_all_distances(), atol=1e-12)
    assert aligned_rmsd(start.positions, end.positions) > 0.1
    assert aligned_rmsd(start.positions, end.positions, reflect=True) == pytest.approx(0, abs=1e-12)
    above, below = ((one.positions[0] - one.positions[1]) @ normal(start) for one in (start, end))
    assert above == pytest.approx(-below)


def test_atoms_move_at_right_angles_to_the_plane_of_the_hydrogens_and_the_centre_rests(pyramid):
    start, end = inversion_endpoints(pyramid)
    moves = end.positions - start.positions
    np.testing.assert_allclose(np.cross(moves, normal(start)), 0.0, atol=1e-12)
    np.testing.assert_allclose(moves.sum(axis=0), 0.0, atol=1e-12)


def test_half_way_all_atoms_are_in_one_plane(pyramid):
    start, end = inversion_endpoints(pyramid)
    middle = (start.positions + end.positions) / 2
    assert np.linalg.svd(middle - middle.mean(axis=0))[1][2] == pytest.approx(0, abs=1e-12)


def test_no_turn_or_shift_brings_the_ends_of_a_symmetric_pyramid_closer():
    pyramid = planar_geometry(0.95)
    pyramid.positions[0, 2] = 0.4
    start, end = inversion_endpoints(pyramid)
    as_they_are = np.sqrt(np.square(end.positions - start.positions).sum() / 4)
    assert aligned_rmsd(start.positions, end.positions) == pytest.approx(as_they_are, abs=1e-12)


def test_a_label_stays_with_its_geometry(pyramid):
    for end in inversion_endpoints(pyramid):
        assert end.info == {"charge": 0, "multiplicity": 1}


def test_what_is_no_pyramid_has_no_inversion(water):
    with pytest.raises(ValueError, match="the minimum must be a pyramid"):
        inversion_endpoints(planar_geometry(1.0))
    with pytest.raises(ValueError, match="wanted ammonia with the nitrogen first, got OH2"):
        inversion_endpoints(water)
