"""Runs whose labels are computed elsewhere: they wait, go on, and end as if the labeller had been there."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT

from sparring.commands import running
from sparring.commands.running import check, run
from sparring.commands.status import status
from sparring.config import ConfigError, dump, load
from sparring.inputs.extxyz import read_structures, write_structures
from sparring.labels import ASECalculator, LabellingError, LabelsMissing, PySCF
from sparring.runs.generation import Generation
from sparring.support.files import write_text

PROGRAM = Path(__file__).with_name("offline_labels.py")
SAME = (
    "dataset.extxyz",
    "splits.json",
    "committee.safetensors",
    "committee.json",
    "training.csv",
    "predictions.extxyz",
    "evaluation.json",
    "attacks.extxyz",
    "paths.npz",
    "selected.extxyz",
    "failures.csv",
)
DISPLACED = {"kind": "displacements", "n_structures": 4, "amplitude": 0.05}
SMALL = """
generations: 2
system: {kind: own, file: molecules.xyz}
labels: {labeller: {kind: ase, name: emt}, n_workers: 1}
committee:
  n_members: 2
  potential: {kind: schnet, n_features: 4, n_filters: 4, n_interactions: 1, n_gaussians: 4, cutoff: 3 Å}
training: {n_epochs: 2, learning_rate: 1e-3}
attack: {n_seeds: 3, seeds: random, n_steps: 2, initial_spread: 0.05 Å}
selection: [{kind: budget, n: 3}]
"""


def written(folder, changes=None, structures=None):
    """The configuration of a small run on eight molecules, of which two are labelled by EMT."""
    if structures is None:
        structures = [molecule(name) for name in ("NH3", "H2O") for _ in range(4)]
        for index, atoms in enumerate(structures):
            atoms.rattle(0.05, seed=index)
        structures[0], structures[4] = labelled(structures[0]), labelled(structures[4])
    folder.mkdir(exist_ok=True)
    write_structures(folder / "molecules.xyz", structures)
    file = folder / "molecules.yaml"
    file.write_text(SMALL, encoding="utf-8")
    if changes:
        file.write_text(dump(load(file, overrides=changes)), encoding="utf-8")
    return file


def labelled(atoms):
    """The structure with a label by EMT."""
    answer = atoms.copy()
    answer.calc = EMT()
    answer.info["REF_energy"], answer.arrays["REF_forces"] = answer.get_potential_energy(), answer.get_forces()
    answer.calc = None
    return answer


def without_report(patch):
    """A report takes longer than all the rest of these runs, and is tested elsewhere."""
    patch.setattr(running, "report", lambda folder: write_text(folder / "report.html", "a report\n"))


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    without_report(monkeypatch)


@pytest.fixture(scope="module")
def online(tmp_path_factory):
    """A run whose labeller is there."""
    folder = tmp_path_factory.mktemp("online")
    with pytest.MonkeyPatch.context() as patch:
        without_report(patch)
        run(written(folder), folder / "run")
    return folder / "run"


@pytest.fixture
def write(tmp_path):
    """Writes the configuration of the same run with other keys, or on other structures."""
    return lambda changes=None, structures=None: written(tmp_path / "input", changes, structures)


@pytest.fixture(scope="module")
def offline():
    """The section of offline labels with the keys of another labeller."""

    def section(labeller=None, **more):
        labeller = labeller or ASECalculator("emt")
        return {"kind": "offline", "method": labeller.method, "version": labeller.version, **more}

    return section


def label_elsewhere(folder, name="emt", *, part=(), results="results.xyz"):
    """Another program labels what is asked for."""
    there = folder / "offline"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, PROGRAM, there / "to_label.extxyz", there / results, name, *map(str, part)]
    subprocess.run(command, check=True, env=environment)


def label_here(folder, *, results="results.xyz", change=None):
    """What is asked for, labelled by EMT, in a file beside it."""
    answers = [labelled(atoms) for atoms in read_structures(folder / "offline" / "to_label.extxyz")]
    write_structures(folder / "offline" / results, answers if change is None else change(answers))


def waits(file, folder, **options):
    """The run stops for its labels; the exception and the folder of the generation."""
    with pytest.raises(LabelsMissing) as caught:
        run(file, folder, **options)
    return caught.value


def finish(file, folder, **options):
    """Label and go on until the run is over; the number of labels that each stop awaited."""
    awaited = []
    while True:
        try:
            run(file, folder, **options)
        except LabelsMissing as missing:
            awaited.append(missing.n_missing)
            label_here(missing.file.parents[1], results=f"results-{len(awaited)}.xyz")
        else:
            return awaited


def without_times(file):
    return re.sub(r" wall_time=\S+", "", file.read_text(encoding="utf-8"))


def assert_the_same(online, offline):
    """Both runs have the same data, choices and weights, to the last bit."""
    generations = sorted(path.name for path in online.glob("generation-*"))
    assert generations == sorted(path.name for path in offline.glob("generation-*"))
    for generation in generations:
        for name in SAME:
            file = online / generation / name
            assert file.exists() == (offline / generation / name).exists()
            if file.exists():
                assert file.read_bytes() == (offline / generation / name).read_bytes(), f"{generation}/{name}"
        if (online / generation / "labelled.extxyz").exists():
            labelled = [without_times(folder / generation / "labelled.extxyz") for folder in (online, offline)]
            assert labelled[0] == labelled[1]
    keys = [{path.name for path in (folder / "labels").glob("*.json")} for folder in (online, offline)]
    assert keys[0] == keys[1]


# --- the same as online -----------------------------------------------------------------------------------------------


def test_an_offline_run_equals_the_online_run_bit_for_bit(write, offline, online, tmp_path):
    file, folder = write({"labels.labeller": offline()}), tmp_path / "offline"
    first = folder / "generation-01"
    assert waits(file, folder).file == first / "offline" / "to_label.extxyz"
    label_elsewhere(first, part=(2, 7))
    assert waits(file, folder).n_read == 5
    label_here(first, results="rest.xyz")
    assert waits(file, folder).n_missing == 3  # of attacks
    label_here(first, results="attacks.xyz")
    run(file, folder)
    assert_the_same(online, folder)


def test_an_offline_run_of_three_generations_waits_in_each(write, offline, tmp_path):
    file, folder = write({"labels.labeller": offline(), "generations": 3}), tmp_path / "run"
    assert finish(file, folder)[1:] == [3, 3]
    assert sorted(path.parts[-3] for path in folder.rglob("asked.extxyz")) == ["generation-01", "generation-02"]


@pytest.mark.slow
def test_an_offline_run_of_ammonia_by_pyscf_equals_the_online_run_bit_for_bit(write, offline, rattled, tmp_path):
    name = "BP86-D3BJ/def2-SVP"
    structures = rattled(molecule("NH3"), 6, stdev=0.05)
    online = write({"labels.labeller": {"kind": "pyscf", "method": name}}, structures=structures)
    run(online, tmp_path / "online")
    changes = {"labels.labeller": offline(PySCF(name))}
    file, folder = write(changes, structures=structures), tmp_path / "offline"
    for number, n_missing in enumerate((6, 3)):
        assert waits(file, folder).n_missing == n_missing
        label_elsewhere(folder / "generation-01", name, results=f"results-{number}.xyz")
    run(file, folder)
    assert_the_same(tmp_path / "online", folder)


def test_a_run_that_is_killed_between_two_labels_keeps_what_it_has_read(write, offline, online, processes, tmp_path):
    file, folder = write({"labels.labeller": offline()}), tmp_path / "offline"
    waits(file, folder)
    label_here(folder / "generation-01")
    death = {"file": ".json", "count": 3, "moment": "after"}
    assert processes("run", file, "--folder", folder, output=tmp_path / "log.txt", death=death) == -signal.SIGKILL
    assert any((folder / "labels").glob("*.json"))
    assert "data" not in Generation(folder / "generation-01").stages_done
    finish(file, folder)
    assert_the_same(online, folder)


def test_a_second_run_on_the_same_store_waits_for_nothing_that_is_there(write, offline, tmp_path):
    file = write({"labels.labeller": offline(), "labels.store": str(tmp_path / "store")})
    waits(file, tmp_path / "first")
    label_here(tmp_path / "first" / "generation-01")
    assert waits(file, tmp_path / "first").n_missing == 3
    assert waits(file, tmp_path / "second").n_missing == 3


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_all_that_a_run_begins_with_is_asked_for_at_once(write, offline, rattled, tmp_path):
    structures = [*rattled(molecule("NH3"), 3, stdev=0.05), Atoms("N"), Atoms("H")]
    changes = {"labels.labeller": offline(), "system.enlarge": DISPLACED, "labels.hessian": {"step": 0.05}}
    file = write(changes, structures=structures)
    missing = waits(file, tmp_path / "run")
    sources = [atoms.info["source"] for atoms in read_structures(missing.file)]
    assert sorted(sources) == ["displacement"] * 4 + ["file"] * 5
    # The displaced copies of Hessian-vector labels follow from the labels themselves.
    label_here(tmp_path / "run" / "generation-01")
    missing = waits(file, tmp_path / "run")
    assert (missing.n_read, missing.n_missing) == (9, 7)


def test_status_and_the_command_line_say_what_is_awaited(write, offline, tmp_path, sparring, caplog):
    file, folder = write({"labels.labeller": offline()}), tmp_path / "run"
    answer = sparring("run", file, "--folder", folder)
    assert answer.exit_code == 3
    assert re.search(r"sparring: \d+ labels are awaited: the structures are in .*--accept-missing goes on", answer.err)
    assert "labeller failed" not in caplog.text
    (generation,) = status(folder)
    assert (generation.stages, generation.awaited) == ((), 8)
    shown = sparring("status", folder).out
    assert f"8 labels are awaited: {folder / 'generation-01' / 'offline' / 'to_label.extxyz'}" in shown


def test_missing_labels_are_accepted_as_failures_and_asked_for_again_by_retry_failed(write, offline, tmp_path):
    file, folder = write({"labels.labeller": offline()}), tmp_path / "run"
    waits(file, folder)
    label_here(folder / "generation-01")
    waits(file, folder)
    label_here(folder / "generation-01", results="attacks.xyz", change=lambda answers: answers[1:])
    assert waits(file, folder).n_missing == 1
    run(file, folder, accept_missing=True)
    rows = Generation(folder / "generation-01").failure_rows()
    assert [row["reason"] for row in rows] == ["missing"]
    assert status(folder)[0].failed == {"missing": 1}
    assert len(Generation(folder / "generation-02").frames()) == len(Generation(folder / "generation-01").frames()) + 2


def test_labels_that_nobody_was_asked_for_yet_are_not_accepted_as_missing(write, offline, tmp_path):
    file, folder = write({"labels.labeller": offline()}), tmp_path / "run"
    waits(file, folder, accept_missing=True)
    label_here(folder / "generation-01", change=lambda answers: answers[:-1])
    waits(file, folder, accept_missing=True)  # now for those of attacks
    assert status(folder)[0].stages[-1] == "select"
    with pytest.raises(LabellingError, match=r"3 of 3 labels failed .*\n +3  missing "):
        run(file, folder, accept_missing=True)


def test_names_of_labels_and_the_tolerance_may_change_while_a_run_waits(write, offline, tmp_path):
    folder = tmp_path / "run"
    waits(write({"labels.labeller": offline()}), folder)
    label_here(folder / "generation-01")
    waits(write({"labels.labeller": offline()}), folder)
    renamed = write({"labels.labeller": offline(energy_key="dft", forces_key="f", tolerance=0.01)})

    def rename(answers):
        for atoms in answers:
            atoms.info["dft"], atoms.arrays["f"] = atoms.info.pop("REF_energy"), atoms.arrays.pop("REF_forces")
        return answers

    (folder / "generation-01" / "offline" / "results.xyz").unlink()
    label_here(folder / "generation-01", change=rename)
    run(renamed, folder)


def test_a_label_of_another_zero_is_aligned_to_the_labels_of_the_file(write, offline, online, tmp_path):
    file, folder = write({"labels.labeller": offline(align=True)}), tmp_path / "offline"
    offsets = {1: 13.6, 7: 1485.0, 8: 2041.0}

    def shift(answers):
        for atoms in answers:
            atoms.info["REF_energy"] -= sum(offsets[number] for number in atoms.numbers.tolist())
        return answers

    waits(file, folder)
    label_here(folder / "generation-01", change=shift)
    waits(file, folder)
    energies = [
        [atoms.info["REF_energy"] for atoms in Generation(one / "generation-01").frames()] for one in (online, folder)
    ]
    assert energies[1] == pytest.approx(energies[0], abs=1e-6)


def test_a_label_of_another_zero_stops_a_run_that_did_not_ask_for_alignment(write, offline, tmp_path):
    file, folder = write({"labels.labeller": offline()}), tmp_path / "offline"
    waits(file, folder)

    def shift(answers):
        for atoms in answers:
            atoms.info["REF_energy"] -= 1000.0
        return answers

    label_here(folder / "generation-01", change=shift)
    with pytest.raises(ValueError, match=r"zero(?s:.*)Labels of the file and of the labeller would be mixed"):
        run(file, folder)


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_computes_nothing_and_says_what_will_be_written(write, offline, tmp_path, sparring):
    file = write({"labels.labeller": offline(), "system.enlarge": DISPLACED})
    assert check(load(file)).label is None
    answer = sparring("check", file)
    assert answer.exit_code == 0
    assert "offline labels by emt {}: none is computed here" in answer.out
    assert (
        "structures to begin with, and at most 3 from attacks are written to generation-NN/offline/to_label.extxyz"
        in (answer.out)
    )
    assert sorted(os.listdir(tmp_path)) == ["input"]
    assert sorted(os.listdir(tmp_path / "input")) == ["molecules.xyz", "molecules.yaml"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"system.enlarge": {"kind": "normal_modes", "n_structures": 4, "temperatures": [300, 500]}},
            "offline labels come many at once, and system.enlarge: normal_modes relaxes structures step by step; use",
        ),
        ({"system.endpoints": ["a.xyz", "b.xyz"]}, "system.endpoints needs a path that is relaxed step by step; leave"),
        ({"labels.store": "store"}, "labels in a store of several runs are found by their method; name it"),
        ({"labels.labeller": {"kind": "offline", "align": True}, "system.relabel": True}, "align: brings energies to"),
        ({"labels.labeller": {"kind": "offline", "tolerance": 1.0}}, r"tolerance: .*0.1"),
    ],
)
def test_what_cannot_be_labelled_offline_is_refused_with_a_remedy(write, changes, message):
    with pytest.raises(ConfigError, match=message):
        write({"labels.labeller": {"kind": "offline"}, **changes})


def test_a_system_that_relaxes_is_refused_with_a_remedy(tmp_path):
    file = tmp_path / "ammonia.yaml"
    file.write_text("system: {kind: ammonia}\nlabels: {labeller: {kind: offline}}\n", encoding="utf-8")
    with pytest.raises(
        ConfigError, match="system ammonia relaxes the molecule and its barrier step by step; use `system"
    ):
        load(file)
