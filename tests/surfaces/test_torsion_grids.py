"""Grids over two torsions: what is turned, what is relaxed, and what must not change."""

import numpy as np
import pytest
from ase.constraints import FixAtoms

from sparring.labels import LabelError
from sparring.surfaces.torsion_grids import relaxed_grid, rigid_grid
from sparring.surfaces.torsion_plane import bins, coverage, wrapped


def energies(grid, surface):
    return grid.lay_out(np.array([point.energy for point in surface(grid.structures)]))


def wanted(grid):
    return np.array([[atoms.info["phi"], atoms.info["psi"]] for atoms in grid.structures])


def test_every_point_of_a_rigid_grid_has_its_torsions_and_the_bonds_and_angles_of_the_reference(chains):
    reference = chains.chain(length=1.43)
    grid = rigid_grid(reference, chains.PLANE, points=(6, 4))
    assert grid.index.shape == (6, 4)
    np.testing.assert_allclose(wrapped(chains.PLANE.values(grid.structures) - wanted(grid)), 0.0, atol=1e-12)
    for atoms in grid.structures:
        assert [atoms.get_distance(i, i + 1) for i in range(4)] == pytest.approx([1.43] * 4, abs=1e-12)
        for i in range(3):
            assert atoms.get_angle(i, i + 1, i + 2) == pytest.approx(reference.get_angle(i, i + 1, i + 2), abs=1e-9)


def test_a_grid_goes_once_around_and_has_no_point_twice(chains):
    grid = rigid_grid(chains.chain(), chains.PLANE, points=(4, 8))
    np.testing.assert_allclose(grid.x.values, [-np.pi, -np.pi / 2, 0.0, np.pi / 2])
    assert grid.y.values[-1] == pytest.approx(np.pi - np.pi / 4)
    assert grid.x.span == (pytest.approx(-np.pi), pytest.approx(np.pi))
    assert (grid.x.name, grid.y.name, grid.x.unit) == ("phi", "psi", "rad")
    assert grid.place(0, 4) == "phi = -3.14159, psi = 0"


def test_charge_and_multiplicity_of_the_reference_go_with_it(chains):
    reference = chains.chain()
    reference.info |= {"charge": 2, "multiplicity": 1, "label": "x"}
    (one, *_) = rigid_grid(reference, chains.PLANE, points=(2, 2)).structures
    assert one.info == {"charge": 2, "multiplicity": 1, "phi": -np.pi, "psi": -np.pi}


def test_a_side_of_one_point_is_refused(chains):
    with pytest.raises(ValueError, match="needs two numbers of at least 2 points"):
        rigid_grid(chains.chain(), chains.PLANE, points=(1, 4))


def test_what_torsions_alone_decide_is_the_energy_of_the_relaxed_grid(chains):
    grid = relaxed_grid(
        rigid_grid(chains.chain(length=1.4), chains.PLANE, points=(4, 6)), chains.PLANE, chains.surface()
    )
    np.testing.assert_allclose(wrapped(chains.PLANE.values(grid.structures) - wanted(grid)), 0.0, atol=1e-12)
    expected = chains.known(*np.meshgrid(grid.x.values, grid.y.values, indexing="ij"))
    np.testing.assert_allclose(energies(grid, chains.surface()), expected, atol=1e-4)


def test_relaxed_energies_are_never_above_the_rigid_ones(chains):
    labeller = chains.surface(repulsion=30.0)
    rigid = rigid_grid(chains.chain(length=1.45), chains.PLANE, points=(4, 5))
    relaxed = relaxed_grid(rigid, chains.PLANE, labeller, fmax=0.01)
    before, after = energies(rigid, labeller), energies(relaxed, labeller)
    assert (after <= before).all()
    assert (before - after).max() > 0.5
    again = relaxed_grid(relaxed, chains.PLANE, labeller, fmax=0.01)
    np.testing.assert_allclose(energies(again, labeller), after, atol=2e-3)


def test_fixed_atoms_stay_on_rigid_and_relaxed_grids_and_hold_their_places_on_any_surface(chains):
    reference = chains.chain(length=1.4)
    reference.set_constraint(FixAtoms([3, 4]))
    reference.set_tags([1, 2, 3, 4, 5])
    rigid = rigid_grid(reference, chains.PLANE, points=(3, 2))
    relaxed = relaxed_grid(rigid, chains.PLANE, chains.surface(), fmax=1e-3)
    for grid in (rigid, relaxed):
        np.testing.assert_allclose(wrapped(chains.PLANE.values(grid.structures) - wanted(grid)), 0.0, atol=1e-12)
        for atoms in grid.structures:
            assert (atoms.positions[3:] == reference.positions[3:]).all()
            assert atoms.get_tags().tolist() == [1, 2, 3, 4, 5]
    for atoms in relaxed.structures:
        assert atoms.get_distance(3, 4) == pytest.approx(1.4, abs=1e-12)  # between fixed atoms
        assert atoms.get_distance(0, 1) == pytest.approx(chains.LENGTH, abs=1e-3)


def test_a_point_where_the_surface_has_no_energy_keeps_its_rigid_geometry(chains):
    def surface(structures):
        found = chains.surface()(structures)
        near = np.abs(wrapped(chains.PLANE.values(list(structures)) - np.array([0.0, 0.0]))).max(axis=1) < 0.1
        return [LabelError("crashed", "no") if bad else one for bad, one in zip(near, found, strict=True)]

    rigid = rigid_grid(chains.chain(length=1.4), chains.PLANE, points=(4, 4))
    relaxed = relaxed_grid(rigid, chains.PLANE, surface)
    moved = [
        np.abs(one.get_all_distances() - before.get_all_distances()).max() > 0.01
        for one, before in zip(relaxed.structures, rigid.structures, strict=True)
    ]
    assert [place for place, one in enumerate(moved) if not one] == [10]


def test_a_surface_without_any_energy_is_refused(chains):
    def nothing(structures):
        return [LabelError("crashed", "no") for _ in structures]

    with pytest.raises(ValueError, match="no energy for any point"):
        relaxed_grid(rigid_grid(chains.chain(), chains.PLANE, points=(2, 2)), chains.PLANE, nothing)


def test_progress_ends_with_all_points(chains):
    told = []
    rigid = rigid_grid(chains.chain(), chains.PLANE, points=(3, 3))
    relaxed_grid(rigid, chains.PLANE, chains.surface(), progress=lambda *counts: told.append(counts))
    assert told[-1] == (9, 9)
    assert all(done < total for done, total in told[:-1])


def test_bins_count_angles_wherever_they_are_given_on_the_circle():
    angles = np.array([[-np.pi, -np.pi], [np.pi, np.pi], [3 * np.pi - 0.01, 0.01], [np.pi - 0.01, 0.01 - 2 * np.pi]])
    counts = bins(angles, 4)
    assert counts[0, 0] == 2
    assert counts[3, 2] == 2
    assert counts.sum() == 4
    assert coverage(angles, 4) == 2 / 16
    assert coverage(np.empty((0, 2))) == 0.0
