"""Bonds and angles: which there are, which are alike, and geometries in which one of them has a value."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.constraints import FixAtoms

from sparring.atoms.internal_coordinates import bonds_and_angles, one_of_each, scanned, values, with_value
from sparring.systems.alanine_dipeptide import geometry


def changed(atoms, coordinate, value):
    positions, cell = torch.as_tensor(atoms.positions), torch.as_tensor(atoms.cell.array)
    return with_value(positions, coordinate, torch.tensor(value, dtype=torch.float64), cell)


def kinds(atoms):
    found = bonds_and_angles(atoms)
    return [sum(one.kind == kind for one in found) for kind in ("bond", "angle")]


# --- what there is ----------------------------------------------------------------------------------------------------


def test_molecules_have_their_bonds_and_all_angles_between_them():
    assert kinds(molecule("NH3")) == [3, 3]
    assert kinds(geometry()) == [21, 36]
    assert kinds(Atoms("X")) == [0, 0]
    assert kinds(Atoms("Ar")) == [0, 0]


def test_values_are_those_of_ase():
    atoms = geometry()
    found = bonds_and_angles(atoms)
    expected = [
        atoms.get_distance(*one.atoms) if one.kind == "bond" else math.radians(atoms.get_angle(*one.atoms))
        for one in found
    ]
    rattled = torch.as_tensor(np.stack([atoms.positions, atoms.positions[:, ::-1]]))
    np.testing.assert_allclose(values(rattled, found), [expected, expected], atol=1e-12)


def test_a_molecule_has_the_same_coordinates_in_a_box_that_cuts_it():
    free, box = molecule("CH3CH2OH"), molecule("CH3CH2OH")
    box.set_cell([6.0, 6.0, 6.0])
    box.pbc = True
    box.wrap()
    cell = torch.as_tensor(box.cell.array)
    for one, other in zip(bonds_and_angles(free), sorted(bonds_and_angles(box), key=order), strict=True):
        assert one.atoms == other.atoms
        value = values(torch.as_tensor(free.positions), [one])
        np.testing.assert_allclose(values(torch.as_tensor(box.positions), [other], cell), value)
        target = 1.1 * float(value)
        moved = changed(box, other, target)
        ours = values(moved, bonds_and_angles(box), cell).sort().values
        np.testing.assert_allclose(ours, values(changed(free, one, target), bonds_and_angles(free)).sort().values)


def order(coordinate):
    if coordinate.kind == "bond":
        return 0, coordinate.atoms
    first, vertex, last = coordinate.atoms
    return 1, (vertex, first, last)


def test_a_crystal_has_bonds_to_nearest_neighbours_and_argon_too():
    assert kinds(bulk("Si", cubic=True)) == [16, 48]
    assert kinds(bulk("Ar", cubic=True)) == [24, 264]


# --- what is alike ----------------------------------------------------------------------------------------------------


def test_equivalent_bonds_and_angles_are_scanned_once():
    assert [one.name for one in one_of_each(bonds_and_angles(molecule("NH3")))] == ["N0-H1", "H1-N0-H2"]
    ethanol = molecule("CH3CH2OH")
    assert [one.kind for one in one_of_each(bonds_and_angles(ethanol))] == ["bond"] * 5 + ["angle"] * 7
    assert len(one_of_each(bonds_and_angles(bulk("Si", cubic=True)))) == 2


def test_angles_of_90_and_180_degrees_are_not_alike():
    found = one_of_each(bonds_and_angles(octahedron()))
    degrees = values(torch.as_tensor(octahedron().positions), found)[1:].rad2deg()
    np.testing.assert_allclose(degrees, [180.0, 90.0], atol=1e-6)


def octahedron():
    arms = 1.56 * np.concatenate([np.eye(3), -np.eye(3)])[[0, 3, 1, 4, 2, 5]]
    return Atoms("SF6", positions=np.concatenate([np.zeros((1, 3)), arms]))


# --- how it is changed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.2])
def test_a_coordinate_of_a_chain_gets_its_value_and_its_sides_stay_rigid(factor):
    atoms = geometry()
    positions = torch.as_tensor(atoms.positions)
    found = bonds_and_angles(atoms)
    before = values(positions, found)
    distances = torch.cdist(positions, positions)
    for row, one in enumerate(found):
        (part,) = one.parts
        moved = with_value(positions, one, factor * before[row])
        assert float(values(moved, [one])[0]) == pytest.approx(factor * float(before[row]), abs=1e-10)
        stay = [atom for atom in range(len(atoms)) if atom not in part.atoms]
        assert len(part.atoms) <= len(stay)
        torch.testing.assert_close(moved[stay], positions[stay], rtol=0, atol=0)
        new = torch.cdist(moved, moved)
        for body in (stay, list(part.atoms)):
            torch.testing.assert_close(new[body][:, body], distances[body][:, body], rtol=0, atol=1e-10)


def test_a_longer_bond_leaves_all_other_bonds_and_angles_of_a_chain():
    atoms = molecule("CH3CH2OH")
    found = bonds_and_angles(atoms)
    before = values(torch.as_tensor(atoms.positions), found)
    after = values(changed(atoms, found[0], 2.0), found)
    assert float(after[0]) == pytest.approx(2.0)
    torch.testing.assert_close(after[1:], before[1:])


def test_both_atoms_of_a_bond_in_a_ring_move_with_what_hangs_on_them():
    benzene = molecule("C6H6")
    bond = next(
        one for one in bonds_and_angles(benzene) if benzene.symbols[list(one.atoms)].get_chemical_formula() == "C2"
    )
    assert [len(part.atoms) for part in bond.parts] == [2, 2]
    assert [part.share for part in bond.parts] == [-0.5, 0.5]
    moved = changed(benzene, bond, 1.6).numpy()
    assert np.linalg.norm(np.diff(moved[list(bond.atoms)], axis=0)) == pytest.approx(1.6)
    for part in bond.parts:
        (hydrogen,) = (atom for atom in part.atoms if atom not in bond.atoms)
        (carbon,) = (atom for atom in part.atoms if atom in bond.atoms)
        assert np.linalg.norm(moved[hydrogen] - moved[carbon]) == pytest.approx(benzene.get_distance(hydrogen, carbon))
    rest = [atom for atom in range(12) if all(atom not in part.atoms for part in bond.parts)]
    np.testing.assert_array_equal(moved[rest], benzene.positions[rest])


@pytest.mark.parametrize("crystal", [bulk("Si"), bulk("Si", cubic=True), bulk("NaCl", "rocksalt", a=5.64, cubic=True)])
def test_bonds_and_angles_of_crystals_get_their_values_or_a_reason(crystal):
    cell = torch.as_tensor(crystal.cell.array)
    found = bonds_and_angles(crystal)
    assert all(one.parts for one in found if one.kind == "bond")
    for one in found:
        value = float(values(torch.as_tensor(crystal.positions), [one], cell)[0])
        if one.parts:
            moved = changed(crystal, one, 0.8 * value)
            assert float(values(moved, [one], cell)[0]) == pytest.approx(0.8 * value)
        else:
            assert "image" in one.fixed_because


def test_a_bond_with_its_own_image_cannot_change():
    chain = Atoms("Au", cell=[2.6, 12, 12], pbc=[True, False, False])
    bond, angle = bonds_and_angles(chain)
    assert bond.fixed_because == "it joins an atom with its own image"
    assert angle.fixed_because == "it has two images of an atom, because the cell is small"
    with pytest.raises(ValueError, match="bond Au0-Au0 cannot be changed: it joins an atom with its own image"):
        changed(chain, bond, 2.0)


def test_an_adsorbate_moves_and_the_slab_with_its_fixed_atoms_stays():
    slab = fcc111("Cu", (2, 2, 2), vacuum=8.0)
    add_adsorbate(slab, molecule("CO"), 1.85, "ontop", mol_index=1)
    slab.set_constraint(FixAtoms(range(4)))
    carbon, oxygen = (int(np.flatnonzero(slab.symbols == symbol)[0]) for symbol in "CO")
    found = bonds_and_angles(slab)
    of_carbon = {one.name: [set(part.atoms) for part in one.parts] for one in found if carbon in one.atoms[-2:]}
    assert of_carbon["C9-O8"] == [{oxygen}] if "C9-O8" in of_carbon else of_carbon["O8-C9"] == [{oxygen}]
    for one in found:
        assert all(atom >= 4 for part in one.parts for atom in part.atoms)
        assert one.parts or one.fixed_because in (
            "its atoms are fixed",
            "it has two images of an atom, because the cell is small",
        )


def test_atoms_in_a_line_bend_and_stay_where_they_are_at_180_degrees():
    carbon_dioxide = molecule("CO2")
    angle = bonds_and_angles(carbon_dioxide)[-1]
    for value in (2.2, math.pi):
        moved = changed(carbon_dioxide, angle, value)
        assert float(values(moved, [angle])[0]) == pytest.approx(value, abs=1e-7)
        np.testing.assert_allclose(values(moved, bonds_and_angles(carbon_dioxide)[:2]), 1.178658, atol=1e-6)


def test_a_batch_gets_a_value_for_each_geometry():
    water = molecule("H2O")
    found = bonds_and_angles(water)
    wanted = torch.linspace(1.2, 2.4, 5, dtype=torch.float64)
    moved = with_value(torch.as_tensor(water.positions).expand(5, -1, -1), found[2], wanted)
    torch.testing.assert_close(values(moved, found)[:, 2], wanted)


def test_a_scan_leaves_out_angles_wider_than_straight():
    water = molecule("H2O")
    bond, _, angle = bonds_and_angles(water)
    positions = torch.as_tensor(water.positions)
    lengths, geometries = scanned(positions, bond, [0.7, 1.0, 1.4])
    torch.testing.assert_close(lengths, values(positions, [bond]) * torch.tensor([0.7, 1.0, 1.4]).double())
    torch.testing.assert_close(values(geometries, [bond])[:, 0], lengths)
    assert len(scanned(positions, angle, [0.7, 1.0, 1.4, 1.8])[0]) == 3


def test_impossible_values_are_refused():
    water = molecule("H2O")
    bond, _, angle = bonds_and_angles(water)
    with pytest.raises(ValueError, match="bond O0-H1 takes values above 0 Å, got 0 to 0"):
        changed(water, bond, 0.0)
    with pytest.raises(ValueError, match=r"angle H1-O0-H2 takes values above 0 and up to π, got 3.5 to 3.5"):
        changed(water, angle, 3.5)
    with pytest.raises(ValueError, match="bonds can be given for molecules only"):
        bonds_and_angles(bulk("Si"), [(0, 1)])
