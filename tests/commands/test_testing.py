"""Tests of the last committee, which a run makes for the first lines of its report."""

import numpy as np
import pytest
from ase.build import bulk, molecule

from sparring.commands import running
from sparring.commands.running import run
from sparring.config import ConfigError, difference, load
from sparring.inputs.extxyz import write_structures
from sparring.validation.bond_scan.scans import BondScan
from sparring.validation.records import keep, read_record
from sparring.validation.survival import keeping
from sparring.validation.survival.trials import Survival

SMALL = """
generations: 2
system: {{kind: own, file: molecule.xyz}}
labels: {{labeller: {{kind: ase, name: emt}}, n_workers: 1, bounds: {{energy_window: null}}}}
committee:
  n_members: 2
  potential: {{kind: schnet, n_features: 8, n_filters: 8, n_interactions: 1, n_gaussians: 4, cutoff: 3 Å}}
training: {{n_epochs: 2, learning_rate: 1e-3}}
attack: {{n_seeds: 4, seeds: random, n_steps: 2, initial_spread: 0.05 Å}}
selection: [{{kind: budget, n: 3}}]
evaluation: {evaluation}
"""


@pytest.fixture
def written(tmp_path, rattled):
    """Writes a configuration of water beside its structures."""

    def make(evaluation="{}", others=()):
        water = molecule("H2O")
        write_structures(tmp_path / "molecule.xyz", [water, *rattled(water, 6, stdev=0.03), *others])
        file = tmp_path / "own.yaml"
        file.write_text(SMALL.format(evaluation=evaluation), encoding="utf-8")
        return file

    return make


@pytest.fixture
def reports(monkeypatch):
    """Reports that would have been written."""
    made = []

    def report(folder):
        made.append(folder)
        (folder / "report.html").write_text("", encoding="utf-8")

    monkeypatch.setattr(running, "report", report)
    return made


TEST = "{survival: {temperature: [200 K, 300 K], copies: 2, time: 3 fs}}"


@pytest.mark.usefixtures("reports")
def test_bonds_of_the_last_committee_are_always_scanned_and_dynamics_only_if_wanted(written, tmp_path):
    run(written(), tmp_path / "run")
    folders = [tmp_path / "run" / f"generation-{number:02d}" / "validation" for number in (1, 2)]
    assert not (folders[0] / "bonds.json").exists()
    scans = read_record(folders[1] / "bonds.json", BondScan)
    assert sum(scan.n_equivalent for scan in scans.scans if scan.kind == "bond") == 2
    assert scans.n_labels == 0
    assert not (folders[1] / "survival.json").exists()


def test_a_finished_run_gets_the_test_that_is_asked_for_since_and_only_once(written, tmp_path, reports, monkeypatch):
    folder = tmp_path / "run"
    run(written(), folder)
    file = written(TEST)
    run(file, folder)
    result = read_record(folder / "generation-02" / "validation" / "survival.json", Survival)
    assert [(trial.temperature, trial.n_copies) for trial in result.trials] == [(200.0, 2), (300.0, 2)]
    assert (result.settings.duration, result.settings.timestep) == (3.0, 0.5)
    assert len(reports) == 2

    def again(*_, **__):
        raise AssertionError("it is known")

    with monkeypatch.context() as patch:
        patch.setattr(keeping, "survival", again)
        lines = []
        run(file, folder, log=lines.append)
    assert lines[-1] == "the run is finished: nothing was left to do"
    assert len(reports) == 2
    run(written(TEST.replace("copies: 2", "copies: 3")), folder)
    assert read_record(folder / "generation-02" / "validation" / "survival.json", Survival).n_copies == 6


@pytest.mark.usefixtures("reports")
def test_copies_of_a_crystal_move_at_constant_pressure_and_only_once(written, tmp_path, rattled, monkeypatch):
    folder, copper = tmp_path / "run", bulk("Cu", cubic=True)
    file = written("{survival: {temperature: 200 K, copies: 2, time: 3 fs, ensemble: npt_cell, pressure: 1 GPa}}")
    write_structures(tmp_path / "molecule.xyz", [copper, *rattled(copper, 6, stdev=0.03)])
    run(file, folder)
    result = read_record(folder / "generation-02" / "validation" / "survival.json", Survival)
    assert result.settings.ensemble == "npt_cell, 10000 bar, time constant 50 fs, of the cell 500 fs"

    def again(*_, **__):
        raise AssertionError("it is known")

    monkeypatch.setattr(keeping, "survival", again)
    run(file, folder)


@pytest.mark.usefixtures("reports")
def test_scans_with_labels_are_not_replaced(written, tmp_path):
    folder = tmp_path / "run"
    file = written()
    run(file, folder)
    record = folder / "generation-02" / "validation" / "bonds.json"
    keep(record, b"labelled")
    run(written(TEST), folder)
    assert record.read_text(encoding="utf-8") == "labelled"


def test_a_run_on_several_molecules_ends_without_tests_and_says_why(written, tmp_path, reports, rattled):
    lines = []
    run(written(TEST, rattled(molecule("NH3"), 6, stdev=0.03)), tmp_path / "run", log=lines.append)
    assert any("no scans of bonds and angles: " in line and "give START.xyz" in line for line in lines)
    assert any("no dynamics: " in line for line in lines)
    assert len(reports) == 1


@pytest.mark.usefixtures("reports")
def test_both_ends_of_a_run_on_several_molecules_move_from_the_start_that_is_named(written, tmp_path, rattled):
    folder, ammonia = tmp_path / "run", molecule("NH3")
    write_structures(tmp_path / "start.xyz", [ammonia])
    wanted = TEST.replace("time: 3 fs", "time: 3 fs, start: start.xyz, committees: first_and_last")
    file = written(wanted, rattled(ammonia, 6, stdev=0.03))
    run(file, folder)
    for number in (1, 2):
        record = folder / f"generation-{number:02d}" / "validation" / "survival.json"
        assert read_record(record, Survival).settings.formula == "H3N"
    write_structures(tmp_path / "water.xyz", [molecule("H2O")])
    run(written(wanted.replace("start.xyz", "water.xyz"), rattled(ammonia, 6, stdev=0.03)), folder)
    assert read_record(record, Survival).settings.formula == "H2O"


@pytest.mark.parametrize(("name", "message"), [("nowhere.xyz", "does not exist"), ("molecule.xyz", "expected one")])
def test_a_start_that_is_none_is_refused_before_the_run_begins(written, tmp_path, name, message):
    file = written(TEST.replace("time: 3 fs", f"time: 3 fs, start: {name}"))
    with pytest.raises(ValueError, match=message):
        run(file, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_tests_may_be_changed_at_any_time(written):
    before = load(written())
    assert before.evaluation.survival is None
    after = load(written("{survival: {}}"))
    assert difference(before, after) == []
    wanted = after.evaluation.survival
    assert (wanted.temperature, wanted.copies, wanted.time, wanted.timestep) == ((300.0,), 20, 30_000.0, 0.5)
    assert difference(after, load(written(TEST))) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("temperature: [300 K, 300 K]", "wanted each temperature once"),
        ("time: 0.1 fs", "less than a timestep"),
        ("copies: 0", "copies"),
        ("temperature: []", "temperature"),
        ("temperatur: 300 K", "did you mean temperature"),
    ],
)
def test_what_makes_no_sense_is_refused(written, wrong, message):
    with pytest.raises(ConfigError, match=message):
        load(written(f"{{survival: {{{wrong}}}}}"))


def test_a_particle_has_no_bonds_to_keep(written):
    with pytest.raises(ConfigError, match="single particle"):
        load(written("{survival: {}}"), overrides={"system": {"kind": "double_well_1d"}})


@pytest.mark.usefixtures("reports")
def test_scans_and_dynamics_are_those_of_the_commands(written, tmp_path, sparring):
    folder = tmp_path / "run"
    run(written(TEST), folder)
    validation = folder / "generation-02" / "validation"
    bonds, known = (validation / "bonds.json").read_bytes(), read_record(validation / "survival.json", Survival)
    options = ("--temperature", "200 K,300 K", "--copies", "2", "--time", "3 fs")
    before = sorted(path.name for path in (validation / "survival").iterdir())
    assert sparring("validate", "survival", folder / "generation-02", *options).exit_code == 0
    assert sorted(path.name for path in (validation / "survival").iterdir()) == before
    assert read_record(validation / "survival.json", Survival) == known
    assert sparring("validate", "bonds", folder / "generation-02", "--labels", "0").exit_code == 0
    assert (validation / "bonds.json").read_bytes() == bonds
    assert np.isfinite([scan.start for scan in read_record(validation / "bonds.json", BondScan).scans]).all()
