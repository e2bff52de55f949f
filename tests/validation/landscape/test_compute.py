import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.atoms.structures import Structures
from sparring.committee_files import read_committee, write_committee
from sparring.config import dump, load
from sparring.config.templates import template_files
from sparring.inputs.extxyz import read_structures, write_structures
from sparring.surfaces.grids import grid
from sparring.systems.ammonia import umbrella_coordinates, umbrella_grid
from sparring.systems.wells import DoubleWell1D, grid_points
from sparring.validation.landscape.compute import committees, landscapes, system_grid

EMT_LABELS = {"labels.labeller": {"kind": "ase", "name": "emt"}, "labels.n_workers": 1, "labels.store": None}


@pytest.fixture
def umbrella_run(tmp_path, committee, rattled, ammonia):
    """A run on ammonia of two generations, whose committees have learnt nothing; its data say little, EMT labels."""
    folder = tmp_path / "umbrella"
    (tmp_path / "template.yaml").write_text(next(iter(template_files("ammonia").values())), encoding="utf-8")
    frames = [ammonia, *rattled(ammonia, 3, stdev=0.05), *rattled(ammonia, 2, stdev=0.1, seed=1)]
    for one in frames:
        one.info[ENERGY] = float(np.square(one.positions - ammonia.positions).sum())  # the first is the ground state
        one.arrays[FORCES] = np.zeros((4, 3))
    for number, n in ((1, 4), (2, 6)):
        part = folder / f"generation-0{number}"
        part.mkdir(parents=True)
        write_structures(part / "dataset.extxyz", frames[:n])
        write_committee(part, committee(2, cutoff=4.0 + number))
    write_structures(folder / "generation-01" / "labelled.extxyz", frames[4:])
    config = load(tmp_path / "template.yaml", overrides=EMT_LABELS)
    (folder / "config.yaml").write_text(dump(config), encoding="utf-8")
    return folder


def lowest(folder):
    return min(read_structures(folder / "generation-01" / "dataset.extxyz"), key=lambda one: one.info[ENERGY])


def test_all_generations_of_a_run_share_grid_zero_and_labels(umbrella_run):
    found = landscapes(umbrella_run, points=(5, 5))
    first, second = found.landscapes.committees.values()
    assert list(found.landscapes.committees) == ["generation 1", "generation 2"]
    assert (found.truth.n_computed, found.truth.n_mirrored, found.truth.failures) == (15, 10, ())
    assert len(list((umbrella_run / "labels").glob("*.json"))) == 15
    np.testing.assert_array_equal(first.truth, second.truth)
    assert first.zero == second.zero == np.nanmin(found.truth.energy)
    assert not np.allclose(first.energy, second.energy)
    again = landscapes(umbrella_run, points=(5, 5))
    assert (again.truth.n_computed, again.truth.n_reused) == (0, 15)


def test_the_ground_state_of_the_run_is_on_the_grid(umbrella_run):
    found = landscapes(umbrella_run / "generation-02", points=(5, 5)).grid
    ground = lowest(umbrella_run)
    number = found.index[2, 3]
    assert (found.x.values[2], found.y.values[3]) == (1.0, 1.0)
    np.testing.assert_allclose(found.structures[number].get_all_distances(), ground.get_all_distances(), atol=1e-5)
    assert umbrella_coordinates(ground)(found.structures[number]) == pytest.approx((1, 1))


def test_labelled_structures_are_marked_by_their_role(umbrella_run):
    found = landscapes(umbrella_run, points=(3, 5), labels=False)
    first, second = found.landscapes.committees.values()
    assert {role: len(marks.x) for role, marks in first.marks.items()} == {"start": 4, "next": 2}
    assert {role: len(marks.x) for role, marks in second.marks.items()} == {"start": 4, "earlier": 2}
    coordinates = umbrella_coordinates(lowest(umbrella_run))
    frames = read_structures(umbrella_run / "generation-02" / "dataset.extxyz")
    expected = np.array([coordinates(one) for one in frames[4:]])
    np.testing.assert_allclose(np.column_stack([second.marks["earlier"].x, second.marks["earlier"].y]), expected)
    np.testing.assert_allclose(
        second.marks["start"].energy + second.zero, [one.info[ENERGY] for one in frames[:4]], rtol=1e-12
    )


def test_without_labels_energies_are_above_the_lowest_of_the_data(umbrella_run):
    found = landscapes(umbrella_run, points=(3, 5), labels=False)
    assert found.truth.method == ""
    assert {one.zero for one in found.landscapes.committees.values()} == {lowest(umbrella_run).info[ENERGY]}


def test_the_energy_window_of_a_run_does_not_cut_the_landscape(umbrella_run):
    config = load(umbrella_run / "config.yaml", overrides={"labels.bounds.energy_window": 1e-6})
    assert np.isfinite(landscapes(umbrella_run, points=(3, 5), config=config).truth.energy).all()


def test_bounds_on_distances_do(umbrella_run):
    config = load(umbrella_run / "config.yaml", overrides={"labels.bounds.min_distance": 0.75})
    found = landscapes(umbrella_run, points=(3, 5), config=config)
    nan = np.argwhere(np.isnan(found.truth.energy))
    assert nan.tolist() == [[0, 1], [0, 2], [0, 3]]
    assert len(found.truth.failures) == 2
    assert found.landscapes.committees["generation 1"].failures == found.truth.failures


def test_a_grid_from_a_file_is_not_mirrored_but_still_shows_structures(umbrella_run):
    structures = umbrella_grid(lowest(umbrella_run), radii=[0.9, 1.0], heights=[-1.0, 1.0])
    found = landscapes(umbrella_run, grid=grid(structures, "R/R0", "Z/Z0"))
    assert (found.truth.n_computed, found.truth.n_mirrored) == (4, 0)
    assert "start" in found.landscapes.committees["generation 1"].marks


def test_a_grid_of_other_variables_shows_none(umbrella_run):
    structures = [molecule("NH3") for _ in range(4)]
    for number, one in enumerate(structures):
        one.info |= {"a": number // 2, "b": number % 2}
    found = landscapes(umbrella_run, grid=grid(structures, "a", "b"), labels=False)
    assert all(not one.marks for one in found.landscapes.committees.values())


def test_the_landscape_of_a_well_is_that_of_its_formula(finished_well):
    found = landscapes(finished_well, points=(31,))
    assert list(found.landscapes.committees) == ["generation 1", "generation 2", "generation 3"]
    for number, one in enumerate(found.landscapes.committees.values(), start=1):
        x = one.x.values
        np.testing.assert_allclose(one.truth[:, 0] + one.zero, 5 * x**4 - 10 * x**2 + 1.5 * x, atol=1e-12)
        predicted = read_committee(finished_well / f"generation-0{number}").predict(_points(x)).energy.mean(0)
        np.testing.assert_allclose(one.energy[:, 0] + one.zero, predicted.detach(), rtol=1e-5, atol=1e-4)
        assert set(one.marks) == {"start", *(["earlier"] if number > 1 else []), *(["next"] if number < 3 else [])}
    assert len(one.marks["start"].x) == 66
    assert (found.truth.n_computed, one.x.unit, one.y) == (0, "Å", None)


def _points(x):
    return Structures.from_atoms([Atoms("X", positions=[[one, 0, 0]]) for one in x])


def test_a_committee_alone_needs_a_grid(umbrella_run, tmp_path, particle):
    shutil.copytree(umbrella_run / "generation-01", tmp_path / "alone" / "mine")
    with pytest.raises(ValueError, match=r"no built-in grid for a committee outside of a run; pass GRID\.xyz with"):
        landscapes(tmp_path / "alone" / "mine")
    structures = umbrella_grid(lowest(umbrella_run), radii=[0.9, 1.0], heights=[-1.0, 1.0])
    found = landscapes(tmp_path / "alone" / "mine", grid=grid(structures, "R/R0", "Z/Z0"))
    assert list(found.landscapes.committees) == ["mine"]
    assert found.truth.method == ""


def test_a_folder_without_committees_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no committee; give the folder of a run"):
        committees(tmp_path)


@pytest.mark.parametrize("points", [(5,), (5, 1), (5, 5, 5)])
def test_numbers_of_points_that_do_not_fit_the_system_are_refused(umbrella_run, points):
    got = "x".join(map(str, points))
    with pytest.raises(ValueError, match=f"wanted numbers of points such as 21x21 for ammonia, got {got}$"):
        landscapes(umbrella_run, points=points)


def test_points_and_a_grid_exclude_each_other(finished_well):
    with pytest.raises(ValueError, match="leave out --points"):
        landscapes(finished_well, grid=grid(grid_points(DoubleWell1D(), (3,)), "x"), points=(3,))


def test_a_system_of_ones_own_has_no_grid(molecules_file):
    with pytest.raises(ValueError, match="no built-in grid for system 'own'; pass"):
        system_grid(load(molecules_file()), [])


def test_a_committee_that_cannot_be_read_is_refused_before_labels_are_computed(umbrella_run):
    (umbrella_run / "generation-02" / "committee.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        landscapes(umbrella_run, points=(3, 5))
    assert not list((umbrella_run).glob("labels/*.json"))
