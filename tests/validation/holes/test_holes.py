"""Holes of a potential: atoms that merge while the energy falls."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import read

from sparring import Committee, attack, closeness
from sparring.atoms.neighbors import distances
from sparring.atoms.structures import Structures
from sparring.plots.saving import rendered
from sparring.proposers.spaces import Cartesian
from sparring.runs.loop import Attacked
from sparring.runs.stages import write_attacked
from sparring.units import KCAL
from sparring.validation.base import ReportedRun
from sparring.validation.holes.compute import find_holes, holes, keep_holes
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
    assert min(path.scaled.min() for path in found.paths) < 0.2
    assert not found.found
    assert summary(found) == "none of 3 attacks broke the model"


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
    assert len(holes_table(section.generations, KCAL).rows) == 3
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


def test_a_generation_without_attacks_has_no_holes(tmp_path):
    (tmp_path / "generation-01").mkdir()
    with pytest.raises(ValueError, match="has no attacks"):
        keep_holes(tmp_path / "generation-01")
