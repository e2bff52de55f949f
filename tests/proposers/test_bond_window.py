import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.structures import Structures
from sparring.committee import Prediction
from sparring.proposers.bond_window import bond_window
from sparring.proposers.spaces import Cartesian


def labelled(frames, energies=None):
    for index, atoms in enumerate(frames):
        atoms.info[ENERGY] = float(index if energies is None else energies[index])
        atoms.arrays[FORCES] = np.zeros((len(atoms), 3))
    return Dataset.from_atoms(frames)


def pair(length):
    return Atoms("N2", [[0, 0, 0], [0, 0, length]])


def unpredicted(term, structures):
    """Scores that do not depend on the prediction."""
    energy, forces = torch.zeros(2, structures.n_structures), torch.zeros(2, structures.n_atoms, 3)
    return term(Prediction(energy, forces), structures)


def scores(term, frames):
    return unpredicted(term, Structures.from_atoms(frames))


def test_bonds_in_the_window_cost_nothing_and_those_outside_the_square_of_their_excess():
    term = bond_window(0.8, 1.3, labelled([pair(1.1), pair(1.2)]))
    found = scores(term, [pair(1.1 * s) for s in (0.7, 0.8 + 1e-9, 1.0, 1.3 - 1e-9, 1.4, 1.9)])
    expected = -torch.tensor([25.0, 0, 0, 0, 25, 900]).double()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)


def test_lengths_are_those_of_the_lowest_structure_of_each_molecule(water):
    term = bond_window(0.8, 1.3, labelled([pair(1.0), water, pair(1.2)], [2.0, 0.0, 1.0]))
    assert scores(term, [pair(1.2 * 1.29), pair(1.2 * 1.31)]).tolist() == pytest.approx([0, -0.25])


def test_angles_are_held_also_where_bonds_are(water):
    term = bond_window(0.8, 1.3, labelled([water]))
    narrow, wide = water.copy(), water.copy()
    narrow.set_angle(1, 0, 2, 60)
    wide.set_angle(1, 0, 2, 175)
    found = scores(term, [narrow, wide])
    assert found[0] < -1
    assert found[1] == 0


def test_pairs_that_are_neither_bonded_nor_ends_of_an_angle_are_free():
    ethane = molecule("C2H6")
    term = bond_window(0.8, 1.3, labelled([ethane]))
    turned = ethane.copy()
    turned.set_dihedral(2, 0, 1, 5, 0, indices=[5, 6, 7])
    assert scores(term, [turned]).item() == 0


def test_the_slope_is_that_of_finite_differences_in_a_batch_of_mixed_molecules(ammonia, water, rattled, slope, copies):
    term = bond_window(0.95, 1.05, labelled([ammonia, water]))
    seeds, space = Structures.from_atoms([*rattled(water, 1), *rattled(ammonia, 2)]), Cartesian()
    delta = torch.zeros_like(seeds.positions)

    def score(points):
        return (
            unpredicted(term, space.displace(copies(seeds, len(points)), points.flatten(0, 1)))
            .reshape(len(points), -1)
            .sum(1)
        )

    point = delta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(point.unsqueeze(0)).sum(), point)
    torch.testing.assert_close(gradient, slope(score, delta, step=1e-5), rtol=1e-6, atol=1e-5)
    assert gradient.abs().max() > 1


def test_a_molecule_that_the_data_lack_gets_nan_and_one_atom_has_nothing_to_hold(water):
    term = bond_window(0.8, 1.3, labelled([pair(1.1), Atoms("O")]))
    found = scores(term, [water, Atoms("O"), Atoms("ON", [[0, 0, 0], [0, 0, 1.2]])])
    assert torch.isnan(found).tolist() == [True, False, True]
    assert found[1] == 0


@pytest.mark.parametrize("window", [(0.8, 1.0), (1.1, 1.3), (-0.1, 1.3)])
def test_a_window_without_the_length_itself_is_an_error(window, water):
    with pytest.raises(ValueError, match=r"must enclose 1, as 0\.8 to 1\.3 does, got"):
        bond_window(*window, labelled([water]))


def test_crystals_are_refused(salt):
    with pytest.raises(ValueError, match="bond_window is for molecules, and a structure of the data is periodic"):
        bond_window(0.8, 1.3, labelled([salt]))
