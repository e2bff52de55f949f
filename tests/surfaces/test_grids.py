import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.labels import ASECalculator, Bounds, label
from sparring.surfaces.grids import CARRIED, grid, true_energies
from sparring.systems.ammonia import umbrella_grid
from sparring.systems.wells import DoubleWell2D


@pytest.fixture
def points(particle):
    """Particles on a rectangle of 3 by 4, shuffled; energies are x + 10 y."""

    def make(x=(0.0, 0.5, 1.0), y=(-1.0, 0.0, 1.0, 2.0)):
        structures = [particle(a, b) for a in x for b in y]
        for one in structures:
            one.info |= {"x": float(one.positions[0, 0]), "y": float(one.positions[0, 1])}
            one.info[ENERGY] = one.info["x"] + 10 * one.info["y"]
        np.random.default_rng(0).shuffle(structures)
        return structures

    return make


def counting(label_all):
    """A label function that remembers what it was asked for."""
    asked = []

    def ask(structures):
        asked.append(list(structures))
        return label_all(structures)

    return ask, asked


# --- finding the grid -----------------------------------------------------------------------------------------------


def test_a_grid_is_found_in_structures_of_any_order(points):
    structures = points()
    found = grid(structures, "x", "y", x_unit="Å")
    assert (found.x.name, found.x.unit, found.y.unit) == ("x", "Å", "")
    np.testing.assert_array_equal(found.x.values, [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(found.y.values, [-1.0, 0.0, 1.0, 2.0])
    energy = found.lay_out(np.array([one.info[ENERGY] for one in structures]))
    np.testing.assert_allclose(energy, found.x.values[:, None] + 10 * found.y.values)
    assert found.missing == ()


def test_values_that_a_file_has_rounded_are_one(points):
    structures = points()
    for number, one in enumerate(structures):
        one.info["x"] += 1e-9 * (number % 3 - 1)
    assert grid(structures, "x", "y").index.shape == (3, 4)


def test_points_without_a_structure_are_named_and_stay_nan(points):
    structures = [one for one in points() if (one.info["x"], one.info["y"]) not in {(0.5, 2.0), (1.0, -1.0)}]
    found = grid(structures, "x", "y")
    assert found.missing == ("x = 0.5, y = 2", "x = 1, y = -1")
    energy = true_energies(found).energy
    assert np.argwhere(np.isnan(energy)).tolist() == [[1, 3], [2, 0]]
    np.testing.assert_array_equal(np.isfinite(energy), found.mask)


def test_one_variable_makes_a_line(points):
    found = grid(points(y=(0.0,)), "x")
    assert found.y is None
    assert found.index.shape == (3, 1)
    np.testing.assert_allclose(true_energies(found).energy[:, 0], found.x.values)


def test_two_structures_at_one_point_are_refused(points):
    structures = points()
    place = f"x = {structures[3].info['x']:g}, y = {structures[3].info['y']:g}"
    with pytest.raises(ValueError, match=f"structures 3 and 12 are both at {place}; keep one"):
        grid([*structures, structures[3].copy()], "x", "y")


def test_a_variable_that_a_structure_lacks_is_named_with_those_that_it_has(points):
    with pytest.raises(
        ValueError, match="structure 0 needs a finite number 'phi' in its info, got only x, y, REF_ener"
    ):
        grid(points(), "x", "phi")


@pytest.mark.parametrize("value", [np.nan, np.inf, "wide", True, [1.0, 2.0]])
def test_a_value_that_is_no_number_is_refused(points, value):
    structures = points()
    structures[5].info["x"] = value
    with pytest.raises(ValueError, match=r"structure 5 needs a finite number 'x' in its info, got x = "):
        grid(structures, "x", "y")


def test_a_variable_that_does_not_vary_is_refused(points):
    with pytest.raises(ValueError, match="y is 2 everywhere; a landscape needs at least two values"):
        grid(points(y=(2.0,)), "x", "y")


def test_structures_that_were_never_on_a_grid_are_refused(particle):
    scattered = [particle() for _ in range(10)]
    for number, one in enumerate(scattered):
        one.info |= {"x": 1.0 * number, "y": number**2 / 3}
    with pytest.raises(ValueError, match=r"span 10 × 10 points, but only 10 of them have a structure"):
        grid(scattered, "x", "y")


def test_structures_of_two_compositions_are_refused(ammonia, water):
    with pytest.raises(ValueError, match="one composition, got H2O, H3N"):
        grid([ammonia, water], "x")


def test_no_structures_are_refused():
    with pytest.raises(ValueError, match="got no structures"):
        grid([], "x")


# --- the truth ------------------------------------------------------------------------------------------------------


@pytest.fixture
def pyramids():
    """A small umbrella grid; its heights are such that one of them, 1.5, has no mirror image."""
    structures = umbrella_grid(molecule("NH3"), radii=[0.9, 1.0, 1.1], heights=[-1.0, -0.5, 0.0, 0.5, 1.0, 1.5])
    return grid(structures, "R/R0", "Z/Z0")


def by_emt(structures, **options):
    return label(structures, EMT(), **options)


def test_mirrored_labels_are_those_that_would_have_been_computed(pyramids):
    ask, asked = counting(by_emt)
    mirrored, plain = true_energies(pyramids, ask, mirrored=True), true_energies(pyramids, by_emt)
    np.testing.assert_allclose(mirrored.energy, plain.energy, atol=1e-10)
    assert all(one.info["Z/Z0"] >= 0 for one in asked[0])
    assert (len(asked[0]), mirrored.n_computed, mirrored.n_mirrored) == (12, 12, 6)
    assert (plain.n_computed, plain.n_mirrored) == (18, 0)


def test_a_point_whose_image_is_not_on_the_grid_is_labelled_itself():
    structures = umbrella_grid(molecule("NH3"), radii=[0.9, 1.0], heights=[-1.0, -0.7, 1.0])
    found = grid(structures[:-1], "R/R0", "Z/Z0")  # without (1, 1)
    ask, asked = counting(by_emt)
    mirrored = true_energies(found, ask, mirrored=True)
    labelled = {(one.info["R/R0"], one.info["Z/Z0"]) for one in asked[0]}
    assert labelled == {(0.9, -0.7), (0.9, 1.0), (1.0, -0.7), (1.0, -1.0)}
    np.testing.assert_allclose(mirrored.energy, true_energies(found, by_emt).energy, atol=1e-10)


def test_energies_that_structures_carry_are_not_asked_for(points):
    structures = points()
    for one in structures[:4]:
        del one.info[ENERGY]
    ask, asked = counting(lambda some: label(some, DoubleWell2D()))
    found = grid(structures, "x", "y")
    truth = true_energies(found, ask)
    assert asked == [structures[:4]]
    assert truth.method.startswith(f"{CARRIED}, sparring.systems.wells.DoubleWell2D")
    well = DoubleWell2D()
    expected = [one.info.get(ENERGY, well.get_potential_energy(one)) for one in structures]
    np.testing.assert_allclose(truth.energy, found.lay_out(np.array(expected)))


def test_energies_under_ases_own_name_count_too(points):
    structures = points()
    for one in structures:
        one.calc = SinglePointCalculator(one, energy=one.info.pop(ENERGY))
    found = grid(structures, "x", "y")
    np.testing.assert_allclose(true_energies(found).energy, found.x.values[:, None] + 10 * found.y.values)


def test_forces_come_with_labels_and_with_structures_that_carry_them_and_mirror_images_have_none(pyramids):
    truth = true_energies(pyramids, by_emt, mirrored=True)
    for atoms, forces in zip(pyramids.structures, truth.forces, strict=True):
        if forces is None:
            assert atoms.info["Z/Z0"] < 0
        else:
            one = atoms.copy()
            one.calc = EMT()
            np.testing.assert_allclose(forces, one.get_forces(), atol=1e-10)
    assert sum(forces is None for forces in truth.forces) == truth.n_mirrored == 6
    carrying = [atoms.copy() for atoms in pyramids.structures]
    for atoms in carrying:
        atoms.info[ENERGY] = 0.0
    carrying[0].arrays[FORCES] = np.ones((4, 3))
    carrying[1].calc = SinglePointCalculator(carrying[1], energy=0.0, forces=np.zeros((4, 3)))
    first, second, *others = true_energies(grid(carrying, "R/R0", "Z/Z0")).forces
    np.testing.assert_array_equal(first, 1.0)
    np.testing.assert_array_equal(second, 0.0)
    assert set(map(type, others)) == {type(None)}


def test_without_anybody_to_ask_there_is_no_truth(pyramids):
    found = true_energies(pyramids)
    assert (found.method, np.isfinite(found.energy).sum()) == ("", 0)


def test_a_failed_label_is_nan_and_is_named_by_its_place(pyramids):
    found = true_energies(pyramids, lambda some: by_emt(some, bounds=Bounds(min_distance=0.9)), mirrored=True)
    # Bonds are shorter than that in the flattest molecules on the smallest circle: one, and a pair of mirror images.
    assert np.argwhere(np.isnan(found.energy)).tolist() == [[0, 1], [0, 2], [0, 3]]
    assert [reason.partition(": ")[0] for reason in found.failures] == [
        "R/R0 = 0.9, Z/Z0 = 0",
        "R/R0 = 0.9, Z/Z0 = 0.5",
    ]
    assert "structure" not in found.failures[0]


def test_the_truth_can_be_carried_on_by_the_structures(pyramids):
    truth = true_energies(pyramids, by_emt, mirrored=True)
    truth.energy[0, 0] = np.nan
    frames = pyramids.carrying(truth.energy)
    again = true_energies(grid(frames, "R/R0", "Z/Z0"))
    np.testing.assert_array_equal(again.energy, truth.energy)
    assert ENERGY not in pyramids.structures[0].info
    assert isinstance(frames[0], Atoms)


def test_the_method_of_labels_goes_along(pyramids):
    labeller = ASECalculator(name="emt")
    assert true_energies(pyramids, lambda some: label(some, labeller)).method == labeller.method
