import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.optimize import approx_fprime, minimize_scalar

from sparring.systems.wells import DoubleWell1D, DoubleWell2D, grid_rmse, grid_structures

WELLS = [DoubleWell1D(), DoubleWell2D()]


def energy_of(well, position):
    atoms = Atoms("X", [position])
    atoms.calc = well
    return atoms.get_potential_energy()


@pytest.mark.parametrize("well", WELLS)
def test_forces_follow_the_energy(well):
    atoms = Atoms("X2", [[0.3, -0.7, 0.2], [-1.1, 0.4, 0.0]])
    atoms.calc = well

    def energy(flat):
        return well.energies(flat.reshape(2, 3)).sum()

    gradient = approx_fprime(atoms.positions.ravel(), energy, 1e-7).reshape(2, 3)
    np.testing.assert_allclose(atoms.get_forces(), -gradient, atol=1e-4)
    assert atoms.get_potential_energy() == pytest.approx(sum(energy_of(well, position) for position in atoms.positions))


def test_the_first_well_has_the_stationary_points_of_the_reference():
    def energy(x):
        return energy_of(DoubleWell1D(), [x, 0, 0])

    deep = minimize_scalar(energy, bounds=(-1.5, -0.5), method="bounded")
    shallow = minimize_scalar(energy, bounds=(0.5, 1.5), method="bounded")
    top = minimize_scalar(lambda x: -energy(x), bounds=(-0.5, 0.5), method="bounded")
    assert (deep.x, deep.fun) == pytest.approx((-1.036, -6.527), abs=5e-4)
    assert (shallow.x, shallow.fun) == pytest.approx((0.960, -3.529), abs=5e-4)
    assert -top.fun == pytest.approx(0.056, abs=5e-4)


def test_the_second_well_is_equation_15():
    assert energy_of(DoubleWell2D(), [0.5, -1.0, 7.0]) == pytest.approx(10 / 16 - 10 / 4 + 1 + 4)


def test_the_first_well_starts_from_66_points_of_the_deeper_basin():
    data = DoubleWell1D().starting_data()
    assert len(data) == 66
    assert all(one.info["REF_energy"] < -5.5 and one.positions[0, 0] < 0 for one in data)


@pytest.mark.parametrize("seed", range(5))
def test_the_second_well_starts_from_about_59_points_of_the_deeper_basin(seed):
    data = DoubleWell2D().starting_data(seed=seed)
    # The basin is 7.4 % of the square, so 800 draws leave 59 with a standard deviation of 7.4.
    assert len(data) == pytest.approx(59, abs=26)
    assert all(one.info["REF_energy"] < -2 and one.positions[0, 0] < 0 for one in data)


def test_the_second_wells_start_depends_on_its_seed_alone():
    first, again, other = (DoubleWell2D().starting_data(seed=seed) for seed in (3, 3, 4))
    assert [one.positions.tolist() for one in first] == [one.positions.tolist() for one in again]
    assert first[0].positions.tolist() != other[0].positions.tolist()


@pytest.mark.parametrize(
    ("well", "data"), [(WELLS[0], WELLS[0].starting_data()), (WELLS[1], WELLS[1].starting_data(seed=0))]
)
def test_starting_data_carry_the_labels_of_their_calculator(well, data):
    for one in data[::10]:
        assert one.symbols.get_chemical_formula() == "X"
        one.calc = well
        assert one.info["REF_energy"] == pytest.approx(one.get_potential_energy())
        np.testing.assert_allclose(one.arrays["REF_forces"], one.get_forces())


@pytest.mark.parametrize(("well", "n_points", "edge"), [(WELLS[0], 100, 1.65), (WELLS[1], 10_000, 1.5)])
def test_the_grid_spans_the_whole_well(well, n_points, edge):
    positions = grid_structures(well).positions
    assert len(positions) == n_points
    for coordinate in range(3):
        extent = edge if coordinate < well.n_coordinates else 0
        assert positions[:, coordinate].min() == -extent
        assert positions[:, coordinate].max() == extent


@pytest.mark.parametrize("well", WELLS)
def test_the_grid_error_is_that_of_the_predicted_energies(well):
    def truth(structures):
        return torch.from_numpy(well.energies(structures.positions.numpy()))

    assert grid_rmse(well, truth) == 0
    assert grid_rmse(well, lambda structures: truth(structures) + 2.5, n=7) == pytest.approx(2.5)
    assert grid_rmse(well, lambda structures: truth(structures).float(), n=7) < 1e-5
