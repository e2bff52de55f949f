"""A run folder of version 0.1, which is in tests/data, still opens: status, run, validate and report read it."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sparring.atoms.structures import Structures
from sparring.cli import app
from sparring.commands.running import run
from sparring.commands.status import status
from sparring.commands.verifying import verify
from sparring.committee_files import read_committee
from sparring.runs.generation import Generation, RunFolderError
from sparring.runs.stages import TITLES
from sparring.support.digest import file_digest

OLD = Path(__file__).parents[1] / "data" / "run-0.1"


@pytest.fixture
def old(tmp_path):
    return shutil.copytree(OLD, tmp_path / "run-0.1")


@pytest.fixture
def sparring():
    """The command line in this process; gives what it printed."""

    def call(*arguments):
        result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return call


def contents(folder):
    return {str(file.relative_to(folder)): file_digest(file) for file in folder.glob("generation-*/*")}


def test_status_shows_its_generations(old, sparring):
    first, second = status(old)
    assert first.stages == tuple(TITLES)
    assert second.stages == ("data", "fit", "evaluate")
    assert first.metrics["labels"]["n_computed"] == 3
    printed = sparring("status", old)
    assert "generation 2: data, fit, evaluate done" in printed
    assert "all generations on the same structures" in printed
    assert "where it is uncertain" not in printed  # of single atoms, whose uncertainty it did not know


def test_its_committee_predicts_what_it_predicted(old):
    last = Generation(old / "generation-02")
    found = read_committee(last.folder).predict(Structures.from_atoms(last.frames())).energy.mean(0)
    expected = [atoms.info["committee_energy"] for atoms in last.predictions()]
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-5)


def test_it_is_resumed_and_finds_nothing_to_do(old):
    (old / "report.html").touch()
    before, lines = contents(old), []
    run(old / "config.yaml", old, log=lines.append)
    assert lines[-1] == "the run is finished: nothing was left to do"
    assert contents(old) == before


def test_it_goes_on_with_another_generation(old, monkeypatch):
    monkeypatch.setattr("sparring.commands.running.report", lambda folder: None)
    config = old / "config.yaml"
    config.write_text(config.read_text().replace("generations: 2", "generations: 3"))
    before = contents(old)
    run(shutil.copy(config, old.parent / "longer.yaml"), old)
    assert status(old)[2].stages == ("data", "fit", "evaluate")
    kept = {name: digest for name, digest in before.items() if not name.endswith(("manifest.json", "metrics.json"))}
    assert kept.items() <= contents(old).items()


def test_its_files_are_verified_and_nothing_is_said_of_links_that_it_has_not(old, sparring):
    printed = sparring("verify", old).splitlines()
    assert printed[:2] == [
        f"generation-0{number} was written by an older version, without links to the generation before"
        for number in (1, 2)
    ]
    assert printed[2].endswith(" files are as they were written")
    file = old / "generation-02" / "dataset.extxyz"
    file.write_text(file.read_text().replace("1", "2", 1))
    assert [
        re.search(r"generation-02/dataset\.extxyz has changed", line) is not None for line in verify(old).problems
    ] == [True]
    with pytest.raises(RunFolderError, match=r"generation-02/dataset\.extxyz has changed since it was written"):
        run(old / "config.yaml", old)


def test_once_it_has_been_opened_its_generations_are_known_and_others_are_refused(old, monkeypatch):
    monkeypatch.setattr("sparring.commands.running.report", lambda folder: None)
    run(old / "config.yaml", old)
    manifest = old / "generation-01" / "manifest.json"
    stages = json.loads(manifest.read_text())
    stages["fit"]["files"]["training.csv"] = "0" * 64
    manifest.write_text(json.dumps(stages))
    with pytest.raises(
        RunFolderError, match=r"generation-01/manifest\.json has other stages than the run has committed"
    ):
        status(old)


def test_its_report_is_written_and_its_committees_are_validated(old, sparring):
    sparring("validate", "errors", old / "generation-01")
    assert (old / "generation-01" / "validation" / "errors.json").exists()
    printed = sparring("validate", "landscape", old)
    assert "generation 2" in printed
    assert not (old / "report.html").exists()
    sparring("report", old)
    assert "generation 2" in (old / "report.html").read_text(encoding="utf-8").lower()
