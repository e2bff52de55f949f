import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT

from sparring.committee_files import write_committee
from sparring.inputs.extxyz import write_structures
from sparring.surfaces.landscape import Landscapes
from sparring.validation.records import read_record


@pytest.fixture
def bends(tmp_path):
    """Water on a grid of its bond lengths and its angle; one structure has no energy, one point no structure."""
    structures = []
    for length in (0.9, 1.0, 1.1):
        for angle in (90.0, 100.0, 110.0, 120.0):
            atoms = molecule("H2O")
            atoms.set_distance(0, 1, length, fix=0)
            atoms.set_distance(0, 2, length, fix=0)
            atoms.set_angle(1, 0, 2, angle)
            atoms.info |= {"length": length, "angle": angle, "REF_energy": EMT().get_potential_energy(atoms)}
            structures.append(atoms)
    del structures[5].info["REF_energy"]
    write_structures(tmp_path / "grid.xyz", structures[1:])
    return tmp_path / "grid.xyz"


@pytest.fixture
def alone(tmp_path, committee):
    (tmp_path / "committee").mkdir()
    write_committee(tmp_path / "committee", committee(3))
    return tmp_path / "committee"


def written(folder):
    return sorted(file.name for file in folder.iterdir())


FILES = ["landscape.extxyz", "landscape.json", "landscape.png", "landscape.svg"]


def test_a_run_on_a_well_needs_no_more_than_its_folder(sparring, finished_well, tmp_path):
    answer = sparring("validate", "landscape", finished_well, "--points", "21", "--output", tmp_path / "out")
    assert answer.exit_code == 0
    lines = answer.out.rstrip().split("\n")
    assert lines[:2] == ["21 points: 21 of x", "true energies of 21: energies that the structures carry"]
    assert "so many eV above its lowest" in lines[2]
    assert [line.split()[:2] for line in lines[6:9]] == [["generation", str(n)] for n in (1, 2, 3)]
    assert lines[-1] == f"results: {tmp_path / 'out' / 'landscape.json'}, .extxyz, .png and .svg"
    assert written(tmp_path / "out") == FILES
    maps = read_record(tmp_path / "out" / "landscape.json", Landscapes).committees
    assert list(maps) == ["generation 1", "generation 2", "generation 3"]
    printed = [float(cell) for cell in lines[6].split()[2:]]
    np.testing.assert_allclose(printed, maps["generation 1"].rmse_below([1.0, 2.0, 5.0, 10.0, 20.0, 40.0]), atol=5.1e-4)


def test_a_grid_from_a_file_with_some_of_its_energies(sparring, alone, bends):
    variables = ["--x", "length", "--y", "angle", "--x-unit", "Å", "--y-unit", "°"]
    answer = sparring("validate", "landscape", alone, bends, *variables)
    assert answer.exit_code == 0
    lines = answer.out.split("\n")
    assert lines[0] == "12 points: 3 of length × 4 of angle"
    assert lines[1] == "1 without a structure: length = 0.9, angle = 90"
    assert lines[2] == "true energies of 10: energies that the structures carry"
    assert "kcal/mol" in lines[3]
    assert written(alone / "validation") == sorted(["checksums.json", *FILES])
    (found,) = read_record(alone / "validation" / "landscape.json", Landscapes).committees.values()
    assert np.argwhere(np.isnan(found.truth)).tolist() == [[0, 0], [1, 1]]
    assert np.argwhere(np.isnan(found.energy)).tolist() == [[0, 0]]
    assert (found.x.unit, found.y.unit) == ("Å", "°")


@pytest.mark.parametrize("label", [True, False])
def test_what_carries_no_energy_is_labelled_with_the_configuration(
    undrawn, sparring, alone, bends, molecules_file, label
):
    arguments = ["--x", "length", "--y", "angle", "--config", molecules_file(), *([] if label else ["--no-label"])]
    answer = sparring("validate", "landscape", alone, bends, *arguments)
    assert answer.exit_code == 0
    (found,) = read_record(alone / "validation" / "landscape.json", Landscapes).committees.values()
    assert np.isfinite(found.truth[1, 1]) == label
    assert ("(1 computed)" in answer.out) == label
    if label:  # what was written is a grid that needs no labeller
        again = sparring("validate", "landscape", alone, alone / "validation" / "landscape.extxyz", *arguments[:4])
        assert "true energies of 11: energies that the structures carry" in again.out


def test_labels_that_fail_are_said(undrawn, sparring, alone, bends, molecules_file):
    config = molecules_file({"labels.bounds.max_force": 1e-6})
    answer = sparring("validate", "landscape", alone, bends, "--x", "length", "--y", "angle", "--config", config)
    assert answer.exit_code == 0
    assert "1 failed" in answer.out
    assert "no label: length = 1, angle = 100: the force of" in answer.err


def test_errors_can_be_aligned(undrawn, sparring, finished_well, tmp_path):
    arguments = ["validate", "landscape", finished_well, "--points", "21", "--output", tmp_path]
    plain, aligned = sparring(*arguments), sparring(*arguments, "--align")
    assert "(eV, aligned at the lowest point)" in aligned.out
    assert plain.out.split("\n")[6] != aligned.out.split("\n")[6]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "no built-in grid for a committee outside of a run; pass GRID.xyz with --x NAME"),
        (["grid.xyz"], "name the variables of grid.xyz with --x and --y; it has REF_energy, angle, length"),
        (["grid.xyz", "--x", "length"], "are both at length = 0.9; keep one of them"),
        (["grid.xyz", "--x", "length", "--y", "phi"], "needs a finite number 'phi' in its info, got only"),
        (["--x", "length"], "--x and --y name variables of a file with a grid; give GRID.xyz too"),
        (["--points", "many"], "--points must be numbers such as 21x21, or 201 for a line, got 'many'"),
        (["grid.xyz", "--x", "length", "--y", "angle", "--points", "3x4"], "leave out --points"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(undrawn, sparring, alone, bends, wrong, message, monkeypatch):
    monkeypatch.chdir(bends.parent)
    answer = sparring("validate", "landscape", alone, *wrong)
    assert answer.exit_code == 2
    assert answer.err.startswith("sparring: ")
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert not (alone / "validation").exists()
