"""The report that a run on alanine dipeptide writes by itself, and the numbers that it says of each generation."""

import json
import shutil

import numpy as np
import pytest

from sparring.commands import running
from sparring.config import load, template_files
from sparring.reporting import page
from sparring.reporting.reading import read_run
from sparring.reporting.tables import generation_table
from sparring.reporting.terminal import GenerationTable
from sparring.reporting.validations import validations
from sparring.surfaces.landscape import Landscapes
from sparring.systems import alanine_dipeptide
from sparring.units import KCAL_PER_MOL
from sparring.validation.free_energy.histograms import Visits, compare
from sparring.validation.records import read_record, write_record

pytest.importorskip("openmm")

SMALL = {
    "generations": 2,
    "system.sampling": {"duration": "1 ps", "every": "100 fs"},
    "labels.bounds.energy_window": "200 kcal/mol",
    "committee.n_members": 2,
    "committee.potential": {"kind": "schnet", "n_features": 8, "n_filters": 8, "n_interactions": 1, "n_gaussians": 8},
    "training.n_epochs": 2,
    "attack.n_seeds": 4,
    "attack.n_steps": 3,
    "attack.learning_rate": 0.5,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run from nothing to its report, by the one function behind `sparring run`."""
    folder = tmp_path_factory.mktemp("dipeptide")
    (folder / "example.yaml").write_text(next(iter(template_files("alanine_dipeptide").values())), encoding="utf-8")
    running.run(load(folder / "example.yaml", overrides=SMALL), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def shown(finished):
    return read_run(finished)


def test_the_report_of_a_run_has_its_maps_its_paths_and_its_energies_by_itself(finished):
    text = (finished / "report.html").read_text(encoding="utf-8")
    for name in ("landscape", "attack_torsions", "labelled_energies", "overview"):
        assert (finished / "figures" / f"{name}.svg").exists()
        assert (finished / "figures" / f"{name}.png").exists()
    assert "clipped as in Fig. 4c" in text
    assert "The plane is periodic" in text
    assert "--grid relaxed" in text  # what is not there yet, and the command that makes it
    assert "sparring validate free-energy" in text
    found = read_record(finished / "validation" / "landscape.json", Landscapes).committees
    assert list(found) == ["generation 1", "generation 2"]
    assert found["generation 1"].truth.shape == (24, 24)


def test_a_run_that_is_finished_is_left_alone(finished):
    made = [file for file in finished.rglob("*") if file.parent != finished or file.name == "report.html"]
    before = {file: file.stat().st_mtime_ns for file in made if file.is_file()}
    running.run(load(finished / "config.yaml"), finished)
    assert before == {file: file.stat().st_mtime_ns for file in before}


def test_torsions_along_attacks_are_those_of_their_geometries(finished, shown):
    paths = shown.generations[0].torsions
    assert paths.names == ("phi", "psi")
    assert paths.angles.shape == (4, 4, 2)
    with np.load(finished / "generation-01" / "paths.npz") as arrays:
        positions = arrays["positions"].reshape(4, 4, 22, 3)
    atoms = alanine_dipeptide.geometry()
    for step, seed in ((0, 0), (2, 3)):
        atoms.positions = positions[step, seed]
        expected = np.radians([atoms.get_dihedral(*four) for four in (alanine_dipeptide.PHI, alanine_dipeptide.PSI)])
        apart = (paths.angles[step, seed] - expected + np.pi) % (2 * np.pi) - np.pi
        np.testing.assert_allclose(apart, 0.0, atol=1e-5)
    assert shown.generations[1].torsions is None


def test_discarded_labels_are_counted_where_their_energies_cannot_be_shown(shown):
    from sparring.reporting.sheets import sheets

    n_failed = len(shown.generations[0].failures)
    assert n_failed  # the window is narrow
    (sheet,) = (one for one in sheets(shown) if one.name == "labelled_energies")
    names = [label.get_text() for label in sheet.figure.axes[0].get_xticklabels()]
    assert names[1] == f"1\n{4 - n_failed}\n(−{n_failed})"


def test_both_tables_say_what_the_metrics_say(finished, shown):
    metrics = json.loads((finished / "generation-01" / "metrics.json").read_text(encoding="utf-8"))
    system = metrics["system"]
    table = generation_table(shown)
    cells = dict(zip(table.headings, table.cells()[0], strict=True))
    assert cells["RMSE\n≤ 50 (kcal/mol)"] == f"{system['grid_rmse_below']['50 kcal/mol'] / KCAL_PER_MOL:.2f}"
    assert cells["mean σ²F ≤ 50\n(eV²/Å²)"] == f"{system['grid_force_variance_below']['50 kcal/mol']:.3g}"
    assert cells["bins\ncovered"] == f"{100 * system['coverage']:.0f} %"
    legend, heading, row = GenerationTable(shown.system).row(metrics).split("\n")
    assert "below 50 kcal/mol" in legend
    assert heading.split()[4:8] == ["grid", "RMSE", "σ²F", "bins"]
    assert f"{100 * system['coverage']:.0f} %" in row


def test_metrics_are_those_of_the_landscape_in_the_report(finished):
    found = read_record(finished / "validation" / "landscape.json", Landscapes).committees
    for number in (1, 2):
        metrics = json.loads((finished / f"generation-0{number}" / "metrics.json").read_text(encoding="utf-8"))
        for cap in (20, 50, 100, 300):
            (error,) = found[f"generation {number}"].rmse_below([cap * KCAL_PER_MOL])
            assert metrics["system"]["grid_rmse_below"][f"{cap} kcal/mol"] == pytest.approx(error, rel=1e-6)


def test_relaxed_maps_and_free_energies_have_sections_once_they_are_there(finished, tmp_path, monkeypatch):

    run = tmp_path / "run"
    shutil.copytree(finished, run)
    shutil.copyfile(run / "validation" / "landscape.json", run / "validation" / "landscape_relaxed.json")
    counts = np.random.default_rng(0).poisson(30.0, size=(2, 8, 6, 6))
    both = [Visits(counts=one, n_failed=1, method=word) for one, word in zip(counts, ("ours", "theirs"), strict=True)]
    result = compare(*both, names=("phi", "psi"), temperature=300.0)
    (run / "generation-02" / "validation").mkdir(exist_ok=True)
    write_record(run / "generation-02" / "validation" / "free_energy.json", result)
    sections = {one.name: one for one in validations(read_run(run)).sections}
    assert sections["landscape_relaxed"].title == "Relaxed landscape"
    assert not sections["landscape_relaxed"].missing
    table, caps = sections["landscape_relaxed"].table, ("≤ 20", "≤ 50", "≤ 100", "≤ 300")
    assert table.headings == ("", *caps, *caps, *caps)
    assert [title for title, _ in table.groups][3].startswith("RMS error of the forces / RMS σ_F")
    known = read_record(run / "validation" / "landscape_relaxed.json", Landscapes).committees
    for name, *cells in table.cells()[1:]:
        ratios = known[name].force_ratio_below([cap * KCAL_PER_MOL for cap in (20, 50, 100, 300)])
        assert cells[8:] == [f"{ratio:.2f}" for ratio in ratios]
    (row,) = sections["free_energy"].table.cells()
    assert row[:2] == (
        "generation 2",
        f"{result.difference / KCAL_PER_MOL:.2f} ± {result.difference_sigma / KCAL_PER_MOL:.2f}",
    )
    assert row[-1] == "1 of 8"
    assert sections["free_energy"].notes == ("generation 2: ours; theirs.",)
    monkeypatch.setattr(page, "_sheets", lambda run: ())  # they take longest, and are there already
    page.report(run)
    assert (run / "figures" / "free_energy_generation_2.svg").exists()
    assert (run / "figures" / "landscape_relaxed.svg").exists()


def test_a_damaged_free_energy_is_said_and_spares_the_rest(finished, tmp_path):

    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "generation-01" / "validation").mkdir(exist_ok=True)
    (run / "generation-01" / "validation" / "free_energy.json").write_text("{}", encoding="utf-8")
    sections = {one.name: one for one in validations(read_run(run)).sections}
    assert "cannot be read" in sections["free_energy"].problems[0]
    assert sections["landscape"].figures
