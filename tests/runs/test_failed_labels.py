"""A labeller that fails leaves the run where it was; failures are shown, kept and asked for again."""

import csv
import importlib
import json
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import yaml
from ase.build import molecule

from sparring.commands import running
from sparring.commands.running import run
from sparring.commands.status import status
from sparring.config import ConfigError, load
from sparring.labels import LabellingError
from sparring.runs.folder import RunFolderError
from sparring.runs.stages import read_labelled_stage
from sparring.support import plugins


@pytest.fixture
def moody(molecules_file, rattled, tmp_path, monkeypatch):
    """A run on 8 structures by a labeller that does what its file says; and the file."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "labels"))
    importlib.import_module("odd_labellers")
    points = EntryPoints([EntryPoint("moody", "odd_labellers:Moody", "sparring.labellers")])
    monkeypatch.setattr(plugins, "entry_points", lambda group: points.select(group=group))
    monkeypatch.setattr(running, "report", lambda folder: None)
    mood = tmp_path / "mood"
    mood.write_text("good")
    labeller = {"kind": "plugin", "name": "moody", "parameters": {"file": str(mood)}}
    structures = [one for name in ("N2", "H2O") for one in rattled(molecule(name), 4, stdev=0.05)]
    return molecules_file({"labels.labeller": labeller}, structures=structures), mood


def after(stage, mood, text):
    """A listener that changes the mood once a stage is done."""
    return lambda line: mood.write_text(text) if f": {stage} done" in line else None


def titles():
    return importlib.import_module("sparring.runs.stages").TITLES


def test_when_all_labels_crash_the_stage_stays_open_until_the_labeller_is_mended(moody, tmp_path):
    file, mood = moody
    folder = tmp_path / "run"
    text = r"3 of 3 labels failed for reasons that are not the geometry's:\n +3  crashed .* SystemExit: 0.*\n.*Correct"
    with pytest.raises(LabellingError, match=text):
        run(file, folder, log=after(titles()["select"], mood, "exit_zero"))
    (generation,) = status(folder)
    assert generation.stages[-1] == "select"
    assert generation.open_failures == {"crashed": 3}
    rows = csv.DictReader((folder / "generation-01" / "failures-open.csv").read_text().splitlines())
    assert all((Path(row["files"]) / "error.txt").read_text().startswith("crashed: odd raised") for row in rows)
    with pytest.raises(LabellingError, match="3 of 3 labels failed"):
        run(file, folder)
    mood.write_text("good")
    run(file, folder)
    assert [one.stages[-1] for one in status(folder)] == ["label", "evaluate"]
    assert not status(folder)[0].open_failures


def test_when_no_starting_structure_gets_a_label_the_run_stops_with_the_causes(moody, tmp_path):
    file, mood = moody
    mood.write_text("none")
    with pytest.raises(
        LabellingError, match=r"8 of 8 labels failed .*\n +8  bad_result .*odd gave None, wanted a Label"
    ):
        run(file, tmp_path / "run")
    assert status(tmp_path / "run")[0].stages == ()


class Stop(Exception):
    """The run is interrupted."""


def test_single_labels_that_failed_are_asked_for_again_until_a_committee_has_been_trained_without_them(moody, tmp_path):
    file, mood = moody
    folder, first = tmp_path / "run", tmp_path / "run" / "generation-01"

    def stop(line):
        after(titles()["select"], mood, "leave of the first")(line)
        if f"generation 2: {titles()['data']} done" in line:
            raise Stop

    with pytest.raises(Stop):
        run(file, folder, log=stop)
    failed = read_labelled_stage(first).failures
    assert [error.reason for _, error in failed] == ["crashed"]
    assert status(folder)[0].failed == {"crashed": 1}
    mood.write_text("good")
    lines = []
    run(file, folder, retry_failed=True, log=lines.append)
    assert "generation 1: failed labels are computed again (1)" in lines
    assert not read_labelled_stage(first).failures
    assert len(read_labelled_stage(first).atoms) == 3


def test_labels_that_later_committees_did_without_are_not_asked_for_again(moody, tmp_path):
    file, mood = moody
    folder = tmp_path / "run"
    run(file, folder, log=after(titles()["select"], mood, "leave of the first"))
    assert status(folder)[0].failed
    with pytest.raises(RunFolderError, match=r"generation 2 has been trained without them; delete .*generation-02"):
        run(file, folder, retry_failed=True)


def test_a_run_that_ends_because_nothing_could_be_labelled_says_why_and_does_not_exit_with_zero(
    well_file, tmp_path, sparring, monkeypatch
):
    monkeypatch.setattr(running, "report", lambda folder: None)
    file = well_file({"labels.bounds.max_force": 1e-9})
    for _ in range(2):
        code, _, printed = sparring("run", file, "--folder", tmp_path / "run")
        assert code == 4
        assert "the run ends before its last generation: none of the 4 structures that were chosen" in printed
        assert "4  force " in printed


PROGRAMS = (
    ("nwchem", "command", "touch {mark}"),
    ("mopac", "command", "touch {mark} #"),
    ("cp2k", "command", "sh -c 'touch {mark}'"),
    ("orca", "profile", {"command": "touch {mark}"}),
    ("lammpslib", "lmpcmds", ["shell touch {mark}"]),
)


@pytest.mark.parametrize(("name", "parameter", "value"), PROGRAMS, ids=[name for name, *_ in PROGRAMS])
def test_no_verb_runs_a_program_that_a_configuration_names(molecules_file, sparring, tmp_path, name, parameter, value):
    mark = tmp_path / "a_program_ran"
    file = molecules_file()
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    spelled = json.loads(json.dumps(value).replace("{mark}", str(mark)))
    content["labels"]["labeller"] = {"kind": "ase", "name": name, "parameters": {parameter: spelled}}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    data, out = tmp_path / "molecules.xyz", tmp_path / "out"
    for verb in (
        ("check", file),
        ("run", file, "--folder", out),
        ("label", data, "--config", file, "--output", out / "labelled.xyz"),
        ("fit", data, "--config", file, "--output", out),
        ("attack", out, data, "--config", file, "--output", out / "attacks.xyz"),
    ):
        answer = sparring(*verb)
        assert answer.exit_code == 2
        assert parameter in answer.err
        assert not mark.exists()
        assert not out.exists()


def test_a_share_of_labels_that_must_succeed_stops_the_run_with_a_table_also_where_the_geometry_is_at_fault(
    moody, tmp_path
):
    file, mood = moody
    folder = tmp_path / "run"
    strict = tmp_path / "strict.yaml"
    content = yaml.safe_load(Path(file).read_text())
    content["labels"]["min_succeeded"] = 0.9
    strict.write_text(yaml.safe_dump(content))
    text = (
        r"2 of 3 labels succeeded, fewer than the share labels\.min_succeeded = 0\.9 asks for:\n"
        r" +1  not_finite +structure .*not finite.*\nFinished labels are kept\..* lower labels\.min_succeeded"
    )
    with pytest.raises(LabellingError, match=text):
        run(strict, folder, log=after(titles()["select"], mood, "nan of the first"))
    (generation,) = status(folder)
    assert (generation.stages[-1], generation.open_failures) == ("select", {"not_finite": 1})
    content["labels"]["min_succeeded"] = 0.6
    strict.write_text(yaml.safe_dump(content))
    run(strict, folder)
    assert status(folder)[0].failed == {"not_finite": 1}


@pytest.mark.parametrize(("share", "message"), [(1.5, "min_succeeded"), (-0.1, "min_succeeded")])
def test_a_share_of_labels_beyond_all_or_none_is_refused(moody, share, message):
    file, _ = moody
    content = yaml.safe_load(Path(file).read_text())
    content["labels"]["min_succeeded"] = share
    Path(file).write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=message):
        load(file)
