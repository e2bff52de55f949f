import json
import shutil

import numpy as np
import pytest

from sparring.committee_files import write_committee
from sparring.inputs.extxyz import read_labelled, read_structures, write_structures
from sparring.units import KCAL_PER_MOL
from sparring.validation.errors.arguments import windows_of
from sparring.validation.errors.compute import ErrorReport
from sparring.validation.records import read_record


@pytest.fixture(autouse=True)
def undrawn_unless_tested(request):
    """No figures, except where they are tested."""
    if "drawn" not in request.fixturenames:
        request.getfixturevalue("undrawn")


@pytest.fixture
def drawn():
    """Figures after all."""


@pytest.fixture
def run(finished_well, tmp_path):
    """A copy of a finished run, so that its folders may be written to."""
    shutil.copytree(finished_well, tmp_path / "well")
    return tmp_path / "well"


@pytest.fixture
def folder(committee, tmp_path):
    """A committee that is not of a run."""
    (tmp_path / "committee").mkdir()
    write_committee(tmp_path / "committee", committee(3))
    return tmp_path / "committee"


@pytest.fixture
def labelled(ammonia, water, rattled, with_random_labels, tmp_path):
    """A file of labelled molecules."""
    frames = [*rattled(ammonia, 6), *rattled(water, 6)]
    for place, one in enumerate(frames):
        one.info["phase"] = "gas" if place % 2 else "liquid"
    write_structures(tmp_path / "mine.xyz", with_random_labels(frames).to_atoms())
    return tmp_path / "mine.xyz"


def test_a_generation_is_examined_on_its_own_test_split(sparring, run, drawn):
    answer = sparring("validate", "errors", run / "generation-02")
    assert answer.exit_code == 0
    assert answer.out.startswith("test split of generation-02; committee of 2\nenergies in eV, forces in eV/Å")
    saved = run / "generation-02" / "validation"
    names = {"errors.json", "errors.extxyz", "errors.png", "errors.svg", "checksums.json"}
    assert {file.name for file in saved.iterdir()} == names
    report = read_record(saved / "errors.json", ErrorReport)
    known = json.loads((run / "generation-02" / "evaluation.json").read_text())["errors"]["test"]
    assert report.overall.errors.n_structures == known["n_structures"]
    assert report.overall.errors.force_rmse == pytest.approx(known["force_rmse"], rel=1e-6)
    frames = read_structures(saved / "errors.extxyz", allow_dummy=True)
    np.testing.assert_allclose([one.info["force_variance"] for one in frames], report.forces.sigma**2, rtol=1e-9)


def test_labels_of_later_generations_can_be_added(sparring, run):
    numbers = []
    for more in ([], ["--later"]):
        answer = sparring("validate", "errors", run / "generation-01", *more)
        assert answer.exit_code == 0
        numbers.append(int(answer.out.split("\nall")[1].split()[0]))
    assert numbers[1] == numbers[0] + 8
    assert "8 labels of the run since" in answer.out


def test_of_a_file_only_what_was_not_learnt_from_counts(sparring, run, tmp_path):
    data = run / "generation-03" / "dataset.extxyz"
    answer = sparring("validate", "errors", run / "generation-01", data, "--output", tmp_path / "out")
    assert answer.exit_code == 0
    n_fit = len(json.loads((run / "generation-01" / "splits.json").read_text())["members"][0]["train"])
    n_fit += len(json.loads((run / "generation-01" / "splits.json").read_text())["members"][0]["validation"])
    assert f"{n_fit} structures of the file were left out" in answer.out
    report = read_record(tmp_path / "out" / "errors.json", ErrorReport)
    assert report.overall.errors.n_structures == len(read_labelled(data, allow_dummy=True)) - n_fit


def test_a_file_and_a_committee_without_a_run(sparring, folder, labelled):
    answer = sparring("validate", "errors", folder, labelled, "--group-by", "phase", "--windows", "1, 2 eV", "--align")
    assert answer.exit_code == 0
    report = read_record(folder / "validation" / "errors.json", ErrorReport)
    assert set(report.groups) == {"gas", "liquid"}
    assert report.positive == "worst"
    assert {window.high for window in report.up_to} <= {1.0, 2.0}
    assert "phase gas" in answer.out
    assert "energies in kcal/mol" in answer.out
    assert "make sure that none of these structures is in it" in answer.out


def test_the_table_gives_what_the_file_holds(sparring, folder, labelled):
    answer = sparring("validate", "errors", folder, labelled, "--group-by", "phase")
    report = read_record(folder / "validation" / "errors.json", ErrorReport)
    (line,) = [line for line in answer.out.split("\n") if line.startswith("phase gas")]
    part = report.groups["gas"]
    wanted = (
        part.errors.energy_mae,
        part.errors.energy_rmse,
        part.energy_bias,
        part.energy_rmse_per_atom,
        part.errors.force_mae,
        part.errors.force_rmse,
    )
    number, *values = line.removeprefix("phase gas").split()
    assert int(number) == 6
    np.testing.assert_allclose([float(value) for value in values], np.array(wanted) / KCAL_PER_MOL, atol=5.1e-5)
    assert f"{report.forces.detections[0].area:.2f} [" in answer.out
    assert f"{report.energy.correlation.rho:.2f} [" in answer.out


def test_what_one_structure_cannot_tell_is_said(sparring, folder, labelled, tmp_path):
    write_structures(tmp_path / "one.xyz", read_structures(labelled)[:1])
    answer = sparring("validate", "errors", folder, tmp_path / "one.xyz")
    assert answer.exit_code == 0
    assert "no correlation of forces: a rank correlation needs at least 4 structures, got 1" in answer.out
    assert "no ROC curve of energies: all 1 errors reach the limit" in answer.out
    assert "nan" not in answer.out


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--windows", "5, 10 fs"], "measures time, wanted energy"),
        (["--windows", "5, -10 kcal/mol"], "windows of energy end at finite values above 0 eV"),
        (["--group-by", "colour"], "no structure has the key 'colour' to group by; there are phase"),
        (["--positive", "best"], "--positive must be one of beyond_training, worst, got 'best'"),
        (["--percentile", "101"], "a percentile lies between 0 and 100, got 101"),
        (["--later"], "leave out either --later or the file"),
        (["--energy-key", "E"], "there is no 'E'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(sparring, folder, labelled, wrong, message):
    answer = sparring("validate", "errors", folder, labelled, *wrong)
    assert answer.exit_code == 2
    assert answer.err.startswith("sparring: ")
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert not (folder / "validation").exists()


def test_a_committee_without_a_test_split_needs_a_file(sparring, folder):
    answer = sparring("validate", "errors", folder)
    assert answer.exit_code == 2
    assert "has no test split (splits.json)" in answer.err


@pytest.mark.parametrize(
    ("text", "energies"),
    [
        ("5,10 kcal/mol", [5 * KCAL_PER_MOL, 10 * KCAL_PER_MOL]),
        ("0.5 eV, 20kcal/mol", [0.5, 20 * KCAL_PER_MOL]),
        ("1e-1, 2", [0.1, 2.0]),
        ("40 kcal/mol", [40 * KCAL_PER_MOL]),
    ],
)
def test_a_number_has_the_unit_of_the_last(text, energies):
    assert windows_of(text) == pytest.approx(energies)
