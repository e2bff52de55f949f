import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from sparring.assembly import planning
from sparring.commands import running
from sparring.commands.running import run
from sparring.config import load, settled, weight_counts_per
from sparring.inputs.extxyz import read_structures, write_structures
from sparring.runs.folder import RunFolder, RunFolderError, read_metrics, stages_done
from sparring.runs.manifests import write_run_manifest
from sparring.runs.reopening import reopen
from sparring.runs.saved_run import SavedRun
from sparring.support.files import write_text

HERE = Path(__file__).parents[1]
LAST = (
    "dataset.extxyz",
    "splits.json",
    "committee.safetensors",
    "committee.json",
    "training.csv",
    "predictions.extxyz",
)
STAGES = ("data", "fit", "evaluate", "attack", "select", "label")

# One line for each way to die. Every stage is among them, before, within and after it.
DEATHS = {
    "while the first data are written": {"file": "generation-01/splits.json"},
    "with the data written and not committed": {"file": "generation-01/manifest.json"},
    "in the middle of training": {"work": "training", "tick": 3},
    "in the middle of the second training": {"work": "training", "tick": 2, "count": 2},
    "between the weights and what they mean": {"file": "generation-02/committee.json"},
    "while the evaluation is written": {"file": "generation-01/evaluation.json"},
    "in the middle of an attack": {"work": "attack", "tick": 3, "count": 2},
    "while the paths are written": {"file": "generation-01/paths.npz"},
    "while the selection is written": {"file": "generation-02/selection.json"},
    "in the middle of labelling": {"file": ".json", "count": 24, "moment": "after"},
    "with labels written and not committed": {"file": "generation-01/labels.json", "moment": "after"},
    "while labelling is committed": {"file": "generation-01/manifest.json", "count": 6},
    "between two generations": {"file": "generation-01/manifest.json", "count": 6, "moment": "after"},
    "while the numbers are written": {"file": "generation-02/metrics.json", "count": 3},
    "in the last evaluation": {"file": "generation-03/predictions.extxyz"},
}


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """A report takes longer than all the rest of these runs, and is tested elsewhere."""
    monkeypatch.setattr(running, "report", lambda folder: write_text(folder / "report.html", "a report\n"))


@pytest.fixture
def command(processes, well_file, tmp_path):
    """`sparring run` of the small well in the folder `run`, as a process; gives its exit code."""
    config = well_file()

    def call(death=None, folder="run"):
        return processes("run", config, "--folder", tmp_path / folder, output=tmp_path / "output.txt", death=death)

    return call


@pytest.fixture
def copied(finished_well, tmp_path):
    """A finished run that may be changed."""
    folder = tmp_path / "copy"
    shutil.copytree(finished_well, folder)
    running.report(folder)
    return folder


def same_results(folder, other, generation="generation-03"):
    return [
        name for name in LAST if (folder / generation / name).read_bytes() != (other / generation / name).read_bytes()
    ]


def contents(folder):
    """Every file of a run but the lock, with its time."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


# --- kill -9 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS.keys())
def test_a_run_killed_and_started_again_ends_as_one_that_never_was(death, command, finished_well, tmp_path):
    assert command(death) == -signal.SIGKILL
    assert "evaluate" not in stages_done(tmp_path / "run" / "generation-03")
    assert command() == 0
    assert not list((tmp_path / "run").glob("generation-*/.*.tmp"))
    assert same_results(tmp_path / "run", finished_well) == []


def test_a_run_killed_after_every_single_commit_still_ends_the_same(command, finished_well, tmp_path):
    death = {"file": "manifest.json", "moment": "after"}
    n_deaths = 0
    while command(death) == -signal.SIGKILL:
        n_deaths += 1
    assert n_deaths == 1 + 2 * (2 * len(STAGES) + 3)  # in the manifest of its generation, and in that of the run
    assert same_results(tmp_path / "run", finished_well) == []


PORTFOLIO = {
    "generations": 2,
    "propose": [
        {
            "kind": "adversarial",
            "share": 2,
            "n_seeds": 6,
            "n_steps": 5,
            "learning_rate": 0.05,
            "initial_spread": "0.3 Å",
        },
        {"kind": "dynamics", "n_seeds": 4, "duration": "20 fs", "every": 2, "stop": {"quiet": "10 fs"}},
    ],
    "selection": [
        {"kind": "uncertainty_above", "percentile": 50},
        {"kind": "distinct", "rmsd": 0.02, "align": False},
        {"kind": "budget", "n": 6},
    ],
}
CHOSEN = ("generation-01/selected.extxyz", "generation-01/selection.json")


def test_a_portfolio_killed_in_its_attacks_ends_as_one_that_never_was(processes, well_file, tmp_path):
    config = well_file(PORTFOLIO)

    def call(folder, death=None):
        return processes("run", config, "--folder", tmp_path / folder, output=tmp_path / "output.txt", death=death)

    deaths = {
        "between its parts": {"work": "dynamics", "tick": 3},
        "unwritten": {"file": "generation-01/paths.npz"},
        "read back": {"file": "generation-01/manifest.json", "count": 4, "moment": "after"},
    }
    assert call("unbroken") == 0
    for folder, death in deaths.items():
        assert call(folder, death) == -signal.SIGKILL
        assert ("attack" in stages_done(tmp_path / folder / "generation-01")) == (folder == "read back")
        assert call(folder) == 0
        assert same_results(tmp_path / folder, tmp_path / "unbroken", "generation-02") == []
        assert [(tmp_path / folder / name).read_bytes() for name in CHOSEN] == [
            (tmp_path / "unbroken" / name).read_bytes() for name in CHOSEN
        ]
    chosen = read_structures(tmp_path / "unbroken" / CHOSEN[0], allow_dummy=True)
    assert {atoms.info["source"] for atoms in chosen} == {"attack", "dynamics"}


def test_labels_that_were_finished_when_the_run_was_killed_are_not_computed_again(command, tmp_path):
    assert command(DEATHS["in the middle of labelling"]) == -signal.SIGKILL
    n_before = len(list((tmp_path / "run" / "labels").glob("*.json")))
    (generation,) = [one for one in (tmp_path / "run").glob("generation-*") if stages_done(one)[-1] == "select"]
    assert command() == 0
    labels = read_metrics(generation)["labels"]
    assert n_before > 0
    assert (labels["n_reused"], labels["n_computed"]) == (n_before, 4 - n_before)


def test_a_run_killed_from_outside_goes_on_under_the_same_command(well_file, tmp_path):
    config = well_file({"training.n_epochs": 20, "training.learning_rate": 1e-3})
    command = [sys.executable, "-m", "sparring.cli", "run", str(config), "--folder"]
    started = subprocess.Popen([*command, str(tmp_path / "run")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    generation = tmp_path / "run" / "generation-01"
    while "fit" not in stages_done(generation):
        assert started.poll() is None
        time.sleep(0.005)
    started.send_signal(signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL
    assert not (tmp_path / "run" / "report.html").exists()
    again = subprocess.run([*command, str(tmp_path / "run")], check=True, capture_output=True, text=True)
    assert "generation 1: training done before" in again.stderr
    assert (tmp_path / "run" / "report.html").exists()
    run(config, tmp_path / "unbroken")
    assert same_results(tmp_path / "run", tmp_path / "unbroken") == []


# --- a finished run -------------------------------------------------------------------------------------------------


def test_a_finished_run_is_left_alone_and_says_so(copied, well_file):
    before, lines = contents(copied), []
    run(well_file(), copied, log=lines.append)
    changed = [path.name for path, content in contents(copied).items() if before.get(path) != content]
    assert changed == ["config.yaml"] or changed == []
    assert len(lines) == 2 * len(STAGES) + 3 + 1
    assert all(line.endswith("done before") for line in lines[:-1])
    assert lines[-1] == "the run is finished: nothing was left to do"


def test_a_report_that_was_thrown_away_is_written_again(copied, well_file):
    (copied / "report.html").unlink()
    run(well_file(), copied)
    assert (copied / "report.html").read_text() == "a report\n"


def test_numbers_that_were_thrown_away_are_made_again(copied, well_file):
    file = copied / "generation-02" / "metrics.json"
    before = json.loads(file.read_text())
    file.unlink()
    run(well_file(), copied)
    assert json.loads(file.read_text()) == before


def test_more_generations_go_on_and_end_as_if_there_had_been_as_many_from_the_start(copied, well_file, tmp_path):
    config, lines = well_file({"generations": 4}), []
    run(config, copied, log=lines.append)
    assert lines[14] == "generation 3: evaluation done before"
    assert lines[15].startswith("generation 3: attack done in")
    run(config, tmp_path / "from the start")
    assert same_results(copied, tmp_path / "from the start", "generation-04") == []


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_changed_configuration_is_refused_and_names_what_has_changed(copied, well_file):
    before = contents(copied)
    config = load(well_file({"seed": 1, "training.n_epochs": 7, "labels.n_workers": 3}))
    with pytest.raises(RunFolderError, match="started with another configuration") as refusal:
        run(config, copied)
    lines = str(refusal.value).split("\n")
    assert [line.strip() for line in lines[1:-1]] == ["seed: 0 -> 1", "training.n_epochs: 5 -> 7"]
    assert contents(copied) == before


def test_a_selection_that_failed_may_be_changed_and_the_run_goes_on(well_file, tmp_path, monkeypatch):
    def failing(*arguments):
        raise ValueError("cannot select")

    folder, lines = tmp_path / "run", []
    with monkeypatch.context() as patched:
        patched.setattr(planning, "selectors", failing)
        with pytest.raises(ValueError, match="cannot select"):
            run(well_file(), folder)
    with pytest.raises(RunFolderError, match="started with another configuration:\n  seed: 0 -> 1"):
        run(well_file({"seed": 1, "selection": [{"kind": "budget", "n": 2}]}), folder)
    run(well_file({"selection": [{"kind": "budget", "n": 2}]}), folder, log=lines.append)
    assert "generation 1: attack done before" in lines
    assert [line.split(": ")[0] for line in lines[:1]] == ["from generation 1 on, selection"]
    assert (folder / "changes.txt").read_text().startswith("from generation 1 on, selection: ")
    assert load(folder / "config.yaml").selection[0].n == 2
    assert (folder / "generation-03" / "committee.json").exists()


def test_what_chose_labels_already_is_not_changed_and_the_message_says_what_to_delete(copied, well_file):
    with pytest.raises(RunFolderError, match=r"delete .*generation-02 and the generations after it; that generation"):
        run(well_file({"selection": [{"kind": "budget", "n": 2}]}), copied)
    for name in ("generation-02", "generation-03"):
        shutil.rmtree(copied / name)
    with pytest.raises(RunFolderError, match=r"delete .*generation-01 and"):
        run(well_file({"attack.n_steps": 2}), copied)


def test_an_attack_may_be_changed_until_it_has_been_made(copied, well_file):
    for name in ("generation-02", "generation-03"):
        shutil.rmtree(copied / name)
    run(load(well_file()), copied)
    reopen(SavedRun(copied), 2, "attack")
    shutil.rmtree(copied / "generation-03")
    run(well_file({"attack.n_steps": 2}), copied)
    assert "from generation 2 on, attack.n_steps: 5 -> 2" in (copied / "changes.txt").read_text()


def begun_by_an_older_version(folder, config):
    """A run of the user's own molecules from before there was `attack.objective.per`."""
    with RunFolder(folder, config):
        (folder / "generation-01").mkdir()
        write_text(folder / "generation-01" / "manifest.json", "{}")
    (folder / "manifest.json").unlink()
    text = (folder / "config.yaml").read_text()
    keys = "  objective: {uncertainty: force_variance, kT: 0.8672820848360187 eV, logarithm: false}"
    lines = [keys if line.startswith("  objective:") else line for line in text.splitlines()]
    assert keys in lines
    write_text(folder / "config.yaml", "\n".join(lines))


def test_an_old_run_goes_on_with_total_energies_and_a_new_one_counts_per_degree_of_freedom(molecules_file, tmp_path):
    config = load(molecules_file())
    old, new = tmp_path / "old", tmp_path / "new"
    begun_by_an_older_version(old, config)
    assert weight_counts_per(load(old / "config.yaml")) == "structure"
    resumed = settled(config, old)
    assert "per=structure" in resumed.attack.objective
    with RunFolder(old, resumed):
        pass
    assert "per=structure" in (old / "config.yaml").read_text()
    assert "per=structure" in settled(config, old).attack.objective
    with RunFolder(new, settled(config, new)):
        pass
    assert "per=degree_of_freedom" in settled(config, new).attack.objective
    assert "per=atom" in settled(load(molecules_file({"attack.objective.per": "atom"})), old).attack.objective


def test_structures_that_were_exchanged_behind_a_runs_back_are_refused(molecules_file, molecules, tmp_path):
    file = molecules_file()

    def begin():
        with RunFolder(tmp_path / "run", load(file)) as folder:
            (folder.path / "generation-01").mkdir(exist_ok=True)
            write_text(folder.path / "generation-01" / "manifest.json", "{}")

    begin()
    begin()
    write_structures(tmp_path / "molecules.xyz", molecules[:-1])
    with pytest.raises(RunFolderError, match=r"the structures in .*molecules.xyz are others"):
        begin()
    (tmp_path / "molecules.xyz").unlink()  # what was read is in the run folder
    begin()


def test_a_force_field_that_was_exchanged_behind_a_runs_back_is_refused(tmp_path):
    (tmp_path / "mine.xml").write_text("<ForceField/>")
    file = tmp_path / "run.yaml"
    file.write_text("system: {kind: alanine_dipeptide}\nlabels: {labeller: {kind: openmm, forcefield: mine.xml}}\n")

    def begin():
        with RunFolder(tmp_path / "run", load(file)) as folder:
            (folder.path / "generation-01").mkdir(exist_ok=True)
            write_text(folder.path / "generation-01" / "manifest.json", "{}")

    begin()
    begin()
    (tmp_path / "mine.xml").write_text("<ForceField> </ForceField>")
    with pytest.raises(RunFolderError, match=r"labels.labeller: the contents of .*mine.xml are others"):
        begin()


def test_fewer_generations_than_there_are_is_another_configuration(copied, well_file):
    with pytest.raises(RunFolderError, match="generations: 3 -> 2"):
        run(well_file({"generations": 2}), copied)


def test_where_and_how_fast_it_runs_may_change(copied, well_file, tmp_path):
    lines = []
    run(well_file({"labels.n_workers": 3, "labels.store": tmp_path / "elsewhere"}), copied, log=lines.append)
    assert lines[-1] == "the run is finished: nothing was left to do"


def test_a_folder_in_which_nothing_is_done_may_take_another_configuration(well_file, tmp_path):
    with RunFolder(tmp_path / "run", load(well_file())) as folder, pytest.raises(ZeroDivisionError):
        folder.cached(1, "data", lambda: 1 // 0)
    with RunFolder(tmp_path / "run", load(well_file({"seed": 1}))) as folder:
        assert folder.config.seed == 1


def test_a_method_that_nobody_knows_leaves_no_run_behind(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("system: {kind: ammonia}\nlabels: {labeller: {kind: pyscf, method: BP86/def2-SVPP2}}\n")
    with pytest.raises(ValueError, match=r"unknown basis .*did you mean"):
        run(file, tmp_path / "run")
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_configuration_of_ones_own_in_the_folder_is_not_overwritten(well_file, tmp_path):
    config = well_file(name="config.yaml")
    write_text(config, "# my own words\n" + config.read_text())
    with pytest.raises(RunFolderError, match=r"was not written by a run, and would be overwritten"):
        run(config, tmp_path)
    assert config.read_text().startswith("# my own words")


def test_a_run_can_be_continued_from_its_own_configuration(copied):
    lines = []
    run(copied / "config.yaml", copied, log=lines.append)
    assert lines[-1] == "the run is finished: nothing was left to do"


LOCK = """
import fcntl, sys, time
from sparring.support.owner import this_process
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write(this_process().line)
lock.flush()
print("locked", flush=True)
time.sleep(60)
"""


def test_a_folder_in_use_by_another_process_is_refused_until_that_has_ended(copied, well_file):
    program = [sys.executable, "-c", LOCK, str(copied / "lock")]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        try:
            with pytest.raises(RunFolderError, match=rf"is in use by process {other.pid} on .*another --folder"):
                run(well_file(), copied)
        finally:
            other.kill()
    run(well_file(), copied)


def test_a_folder_is_locked_as_long_as_the_run_goes_on_and_then_no_more(well_file, tmp_path):
    config = load(well_file())
    with RunFolder(tmp_path / "run", config):
        with pytest.raises(RunFolderError, match=f"in use by process {os.getpid()} on "):
            RunFolder(tmp_path / "run", config).__enter__()
        with (tmp_path / "run" / "lock").open() as lock, pytest.raises(OSError, match="unavailable"):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with RunFolder(tmp_path / "run", config):
        pass


@pytest.mark.parametrize(
    "name",
    [
        "generation-01/dataset.extxyz",
        "generation-01/splits.json",
        "generation-02/committee.safetensors",
        "generation-02/committee.json",
        "generation-02/training.csv",
        "generation-02/paths.npz",
        "generation-01/selected.extxyz",
        "generation-01/failures.csv",
        "generation-03/predictions.extxyz",
    ],
)
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_file_of_a_committed_stage_is_named_with_the_remedy(name, damage, copied, well_file):
    file = copied / name
    if damage == "missing":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    problem = "is missing" if damage == "missing" else "has changed since it was written"
    with pytest.raises(RunFolderError, match=f"{name} {problem}; restore it, or delete .*{name[:13]} and the gen"):
        run(well_file(), copied)


def test_deleting_damaged_generations_as_told_computes_them_again_to_the_same(copied, finished_well, well_file):
    for number in (2, 3):
        shutil.rmtree(copied / f"generation-0{number}")
    run(well_file(), copied)
    assert same_results(copied, finished_well) == []


def test_a_manifest_that_cannot_be_read_is_named(copied, well_file):
    (copied / "generation-01" / "manifest.json").write_text('{"data": ')
    with pytest.raises(RunFolderError, match=r"generation-01/manifest\.json cannot be read .*generations after"):
        run(well_file(), copied)


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_a_stage_gives_back_the_same_when_it_is_computed_and_when_it_is_found(finished_well, well_file, tmp_path):
    with RunFolder(finished_well, load(well_file())) as old, RunFolder(tmp_path / "new", load(well_file())) as new:
        found = old.cached(1, "data", lambda: pytest.fail("it has been computed before"))
        computed = new.cached(1, "data", lambda: found)
    assert computed.splits == found.splits
    assert computed.dataset.energy.tolist() == found.dataset.energy.tolist()
    assert (tmp_path / "new/generation-01/dataset.extxyz").read_bytes() == (
        finished_well / "generation-01/dataset.extxyz"
    ).read_bytes()


def test_a_generation_has_its_numbers_in_one_place(finished_well):
    metrics = read_metrics(finished_well / "generation-01")
    assert metrics["generation"] == 1
    assert (metrics["n_structures"], metrics["n_members"]) == (66, 2)
    assert metrics["errors"]["test"]["n_structures"] == 13
    assert metrics["labels"] == {"n_chosen": 4, "n_computed": 4, "n_reused": 0, "n_failed": 0}
    assert set(metrics["seconds"]) == set(STAGES)
    assert set(read_metrics(finished_well / "generation-03")["seconds"]) == {"data", "fit", "evaluate"}


def test_the_versions_that_computed_stay_when_a_finished_run_is_looked_at_later(copied, well_file):
    manifest, lines = SavedRun(copied).manifest, []
    write_run_manifest(copied, replace(manifest, versions={"torch": "0.1"}))
    run(well_file(), copied, log=lines.append)
    assert lines[0].startswith(f"versions have changed since the last stage: torch 0.1 -> {version('torch')}; ")
    assert json.loads((copied / "versions.json").read_text()) == {"torch": "0.1"}
    shutil.rmtree(copied / "generation-03")
    run(well_file(), copied)
    assert SavedRun(copied).versions()["torch"] == version("torch")
    assert SavedRun(copied).generation(3).manifest["fit"]["versions"]["torch"] == version("torch")


def test_nothing_temporary_stays_behind(finished_well):
    assert not list(finished_well.rglob("*.tmp"))
