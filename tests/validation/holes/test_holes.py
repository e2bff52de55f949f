"""Holes of a potential: atoms that merge while the energy falls."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import read

from sparring import Committee, attack, closeness
from sparring.atoms.closeness import closest_pairs
from sparring.atoms.neighbors import distances
from sparring.atoms.structures import Structures
from sparring.plots.saving import rendered
from sparring.plots.style import panels
from sparring.proposers.spaces import Cartesian
from sparring.runs.loop import Attacked
from sparring.runs.stages import write_attacked
from sparring.units import KCAL
from sparring.validation.base import ReportedRun
from sparring.validation.holes.compute import find_holes, holes, keep_holes, separation
from sparring.validation.holes.figure import draw_surroundings
from sparring.validation.holes.section import figures, notes, summary
from sparring.validation.holes.section import read as read_section
from sparring.validation.holes.table import holes_table
from sparring.validation.results import Results

CUTOFF = 4.0


def pair_potential(energy_of):
    """A sum over pairs of a function of their distance, in eV."""

    def energies(structures):
        distance = distances(structures)
        terms = 0.5 * torch.where(distance < CUTOFF, energy_of(distance), 0.0)
        owner = structures.structure_index[structures.edges.target]
        return terms.new_zeros(structures.n_structures).index_add(0, owner, terms)

    energies.cutoff = CUTOFF
    return energies


def turns_over(distance):
    """A wall at 0.8 Å, behind which atoms merge."""
    return 10.0 * torch.exp(-(((distance - 0.8) / 0.25) ** 2))


def repulsive(distance):
    return 3.0 / distance


@pytest.fixture
def oxides():
    frames = []
    for seed in range(3):
        atoms = bulk("MgO", "rocksalt", a=4.2, cubic=True)
        atoms.rattle(0.05, seed=seed)
        frames.append(atoms)
    return frames


@pytest.fixture
def attacked(oxides):
    """Short-range attacks on a potential."""

    def make(energy_of):
        committee = Committee([pair_potential(energy_of)])
        options = {"update": "gradient", "learning_rate": 0.1, "n_steps": 32, "min_distance": 0.2, "seed": 0}
        return attack(committee, Structures.from_atoms(oxides), closeness, space=Cartesian(spread=0.15), **options)

    return make


def test_a_short_range_attack_finds_the_atoms_that_merge_without_being_told(attacked, oxides):
    result = attacked(turns_over)
    found = find_holes(oxides, result.positions.numpy(), result.energy.numpy())
    assert len(found.found) == 3
    for path in found.found:
        assert set(path.elements) == {"Mg", "O"}
        assert path.distance[path.top] == pytest.approx(0.8, abs=0.1)
        assert path.distance[path.low] < 0.5
        assert path.fall == pytest.approx(10.0, abs=2.5)
    pairs = {path.atoms for path in found.found}
    assert len(pairs) > 1  # seeds and random displacements, not the search, choose the pair


def test_a_wall_that_never_ends_has_no_hole_however_close_atoms_come(attacked, oxides):
    result = attacked(repulsive)
    found = find_holes(oxides, result.positions.numpy(), result.energy.numpy())
    assert len(found.paths) == 3
    closest = min(path.scaled.min() for path in found.paths)
    assert closest < 0.2
    assert not found.found
    assert summary(found).startswith("none of 3 attacks broke the model; the closest pair, ")
    assert summary(found).endswith(f" Å, {closest:.2f} of the sum of its covalent radii")


def test_an_energy_that_falls_while_atoms_are_far_apart_is_a_relaxation_and_no_hole():
    frames = [Atoms("O2", positions=[[0, 0, 0], [0, 0, 1.0]])]
    lengths = np.linspace(1.4, 1.0, 9)
    positions = np.zeros((9, 2, 3))
    positions[:, 1, 2] = lengths
    falling = np.linspace(5.0, 0.0, 9)[:, None]
    assert not find_holes(frames, positions, falling).found
    positions[:, 1, 2] -= 0.6
    assert len(find_holes(frames, positions, falling).found) == 1
    # Atoms that part again lose the energy of their approach.
    assert not find_holes(frames, positions[::-1].copy(), falling).found


def path_of(distances, energies):
    positions = np.zeros((len(distances), 2, 3))
    positions[:, 1, 2] = distances
    (path,) = find_holes([Atoms("O2", positions=positions[0])], positions, np.array(energies)[:, None]).paths
    return path


def test_atoms_that_part_between_the_wall_and_the_hole_do_not_hide_it():
    path = path_of([1.2, 0.5, 0.6, 0.45], [0.0, 50.0, 20.0, 40.0])
    assert (path.broke, path.top, path.low) == (True, 1, 3)


def test_what_follows_the_closest_approach_does_not_count():
    path = path_of([1.2, 0.6, 0.3, 0.6], [0.0, 10.0, 2.0, 20.0])
    assert (path.broke, path.top, path.low) == (True, 1, 2)
    assert not path_of([1.2, 0.6, 0.5, 0.55], [0.0, 50.0, 49.5, 30.0]).broke


def test_what_follows_the_stop_of_an_attack_does_not_count():
    frames = [Atoms("O2", positions=[[0, 0, 0], [0, 0, 1.0]])]
    positions = np.zeros((5, 2, 3))
    positions[:, 1, 2] = [1.2, 0.9, 0.7, 0.5, 0.3]
    energy = np.array([0.0, 5.0, 9.0, np.nan, np.nan])[:, None]
    (path,) = find_holes(frames, positions, energy).paths
    assert (len(path.energy), path.broke) == (3, False)


def test_a_bound_below_zero_is_refused():
    with pytest.raises(ValueError, match=r"above zero, got -1\.0 eV"):
        find_holes([], np.zeros((1, 0, 3)), np.zeros((1, 0)), fall=-1.0)


def test_the_section_of_a_report_has_the_pair_its_energies_and_its_geometry(attacked, oxides, tmp_path, sparring):
    folder = tmp_path / "generation-01"
    folder.mkdir()
    result = attacked(turns_over)
    write_attacked(folder, Attacked(result.candidates(), (0, 1, 2)))
    run = ReportedRun(folder=tmp_path, unit=KCAL, generations=(1,))
    empty = Results(run=run)
    assert read_section(empty) is None
    assert empty.missing == [f"sparring validate holes {tmp_path}"]
    verb = sparring("validate", "holes", folder)
    assert verb.exit_code == 0, verb.err
    assert "3 of 3 attacks broke the model (Mg–O in 3)" in verb.out
    files = Results(run=run)
    section = read_section(files)
    assert not files.missing + files.problems
    assert len(holes_table(section.generations).rows) == 3
    curves, geometries = figures(section, KCAL)
    assert (curves.name, geometries.name) == ("holes", "holes_geometries")
    assert len(geometries.figure.axes) == 3
    assert all(rendered(one.figure, ("svg",))["svg"] for one in (curves, geometries))
    assert any("less than 0.5 of the sum of their covalent radii" in line for line in notes(section, run))
    worst = read(folder / "validation" / "holes.extxyz", "0")
    first, second = worst.info["pair"]
    assert worst.get_distance(first, second, mic=True) == pytest.approx(worst.info["distance"], abs=1e-6)
    assert keep_holes(tmp_path) == [folder / "validation" / "holes.json"]
    again, inside, walls = holes(folder)
    for frames in (inside, walls):
        assert [path.attack for path in again.found] == [frame.info["attack"] for frame in frames]
    assert all(
        wall.info["energy_above_start"] > one.info["energy_above_start"]
        for wall, one in zip(walls, inside, strict=True)
    )


def test_geometries_on_top_of_the_walls_keep_what_their_labels_depend_on(attacked, oxides, tmp_path):
    result = attacked(turns_over)
    heirs = [atoms.copy() for atoms in oxides]
    for atoms in heirs:
        atoms.info["charge"] = 2
        atoms.set_initial_magnetic_moments([0.5] * len(atoms))
    write_attacked(tmp_path, Attacked(result.candidates(), (0, 1, 2), tuple(heirs)))
    keep_holes(tmp_path)
    for name in ("holes", "walls"):
        for atoms in read(tmp_path / "validation" / f"{name}.extxyz", ":"):
            assert atoms.info["charge"] == 2
            assert atoms.get_initial_magnetic_moments().tolist() == [0.5] * len(atoms)


def test_an_atom_that_meets_its_own_image_is_as_far_from_it_as_the_shortest_lattice_vector():
    cell = np.array([[4.0, 0.0, 0.0], [3.5, 0.6, 0.0], [0.0, 0.0, 9.0]])  # shortest: the second minus the first
    atoms = Atoms("OMg", positions=[[0, 0, 0], [0, 0, 4.5]], cell=cell, pbc=True)
    closest = closest_pairs(Structures.from_atoms([atoms]))
    assert int(closest.first[0]) == int(closest.second[0])
    place = int(closest.first[0])
    assert np.linalg.norm(separation(atoms, place, place)) == pytest.approx(float(closest.distance[0]))
    assert float(closest.distance[0]) == pytest.approx(np.hypot(0.5, 0.6))
    draw_surroundings(atoms, (place, place), panels()[1][0])


def test_a_generation_without_attacks_has_no_holes(tmp_path):
    (tmp_path / "generation-01").mkdir()
    with pytest.raises(ValueError, match="has no attacks"):
        keep_holes(tmp_path / "generation-01")
