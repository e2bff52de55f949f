"""Runs whose labels are computed elsewhere: they wait, go on, and end as if the labeller had been there."""

import json
import os
import re
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
from sparring.config import ConfigError, load
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
DISPLACED = {"kind": "displacements", "n_structures": 6, "amplitude": 0.05}


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """A report takes longer than all the rest of these runs, and is tested elsewhere."""
    monkeypatch.setattr(running, "report", lambda folder: write_text(folder / "report.html", "a report\n"))


@pytest.fixture
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
    answers = read_structures(folder / "offline" / "to_label.extxyz")
    for atoms in answers:
        atoms.calc = EMT()
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
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


def test_an_offline_run_equals_the_online_run_bit_for_bit(molecules_file, offline, tmp_path):
    changes = {"system.enlarge": DISPLACED, "generations": 3}
    run(molecules_file(changes), tmp_path / "online")
    file, folder = molecules_file({**changes, "labels.labeller": offline()}), tmp_path / "offline"
    first, second = folder / "generation-01", folder / "generation-02"
    assert waits(file, folder).file == first / "offline" / "to_label.extxyz"
    label_elsewhere(first, part=(2, 7))
    assert waits(file, folder).n_read == 5
    label_elsewhere(first, results="rest.xyz")
    assert waits(file, folder).n_missing == 3  # of attacks
    label_elsewhere(first, results="attacks.xyz")
    assert waits(file, folder).file == second / "offline" / "to_label.extxyz"
    label_elsewhere(second)
    run(file, folder)
    assert_the_same(tmp_path / "online", folder)


@pytest.mark.slow
def test_an_offline_run_of_ammonia_by_pyscf_equals_the_online_run_bit_for_bit(
    molecules_file, offline, rattled, tmp_path
):
    name = "BP86-D3BJ/def2-SVP"
    structures = rattled(molecule("NH3"), 6, stdev=0.05)
    online = molecules_file({"labels.labeller": {"kind": "pyscf", "method": name}}, structures=structures)
    run(online, tmp_path / "online")
    changes = {"labels.labeller": offline(PySCF(name))}
    file, folder = molecules_file(changes, structures=structures), tmp_path / "offline"
    for number, n_missing in enumerate((6, 3)):
        assert waits(file, folder).n_missing == n_missing
        label_elsewhere(folder / "generation-01", name, results=f"results-{number}.xyz")
    run(file, folder)
    assert_the_same(tmp_path / "online", folder)


def test_a_run_that_is_killed_between_two_labels_keeps_what_it_has_read(molecules_file, offline, tmp_path):
    run(molecules_file(), tmp_path / "online")
    file, folder = molecules_file({"labels.labeller": offline()}), tmp_path / "offline"
    waits(file, folder)
    label_here(folder / "generation-01")
    deaths = [{"file": ".json", "count": count, "moment": "after"} for count in (3, 2)]
    program = [sys.executable, Path(__file__).parents[1] / "killed_runs.py"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for death in deaths:
            task = {"arguments": ["run", str(file), "--folder", str(folder)], "output": str(tmp_path / "log.txt")}
            process.stdin.write(json.dumps({**task, "death": death}) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "-9\n"
            assert any((folder / "labels").glob("*.json"))
            assert "data" not in Generation(folder / "generation-01").stages_done
        process.stdin.close()
    finish(file, folder)
    assert_the_same(tmp_path / "online", folder)


def test_a_second_run_on_the_same_store_waits_for_nothing(molecules_file, offline, tmp_path):
    file = molecules_file({"labels.labeller": offline(), "labels.store": str(tmp_path / "store")})
    assert len(finish(file, tmp_path / "first")) == 2
    assert finish(file, tmp_path / "second") == []


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_all_that_a_run_begins_with_is_asked_for_at_once(molecules_file, offline, rattled, tmp_path):
    structures = [*rattled(molecule("NH3"), 3, stdev=0.05), Atoms("N"), Atoms("H")]
    changes = {"labels.labeller": offline(), "system.enlarge": DISPLACED, "labels.hessian": {"step": 0.05}}
    file = molecules_file(changes, structures=structures)
    missing = waits(file, tmp_path / "run")
    sources = [atoms.info["source"] for atoms in read_structures(missing.file)]
    assert sorted(sources) == ["displacement"] * 6 + ["file"] * 5
    # The displaced copies of Hessian-vector labels follow from the labels themselves.
    assert finish(file, tmp_path / "run")[1:] == [9, 3, 3]


def test_status_and_the_command_line_say_what_is_awaited(molecules_file, offline, tmp_path, sparring):
    file, folder = molecules_file({"labels.labeller": offline()}), tmp_path / "run"
    answer = sparring("run", file, "--folder", folder)
    assert answer.exit_code == 3
    assert re.search(r"sparring: \d+ labels are awaited: the structures are in .*--accept-missing goes on", answer.err)
    (generation,) = status(folder)
    assert (generation.stages, generation.awaited) == ((), 8)
    shown = sparring("status", folder).out
    assert f"8 labels are awaited: {folder / 'generation-01' / 'offline' / 'to_label.extxyz'}" in shown


def test_missing_labels_are_accepted_as_failures_and_asked_for_again_by_retry_failed(molecules_file, offline, tmp_path):
    file, folder = molecules_file({"labels.labeller": offline()}), tmp_path / "run"
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


def test_labels_that_nobody_was_asked_for_yet_are_not_accepted_as_missing(molecules_file, offline, tmp_path):
    file, folder = molecules_file({"labels.labeller": offline()}), tmp_path / "run"
    waits(file, folder, accept_missing=True)
    label_here(folder / "generation-01", change=lambda answers: answers[:-1])
    waits(file, folder, accept_missing=True)  # now for those of attacks
    assert status(folder)[0].stages[-1] == "select"
    with pytest.raises(LabellingError, match=r"3 of 3 labels failed .*\n +3  missing "):
        run(file, folder, accept_missing=True)


def test_names_of_labels_and_the_tolerance_may_change_while_a_run_waits(molecules_file, offline, tmp_path):
    folder = tmp_path / "run"
    waits(molecules_file({"labels.labeller": offline()}), folder)
    label_here(folder / "generation-01")
    waits(molecules_file({"labels.labeller": offline()}), folder)
    renamed = molecules_file({"labels.labeller": offline(energy_key="dft", forces_key="f", tolerance=0.01)})

    def rename(answers):
        for atoms in answers:
            atoms.info["dft"], atoms.arrays["f"] = atoms.info.pop("REF_energy"), atoms.arrays.pop("REF_forces")
        return answers

    (folder / "generation-01" / "offline" / "results.xyz").unlink()
    label_here(folder / "generation-01", change=rename)
    run(renamed, folder)


def test_a_label_of_another_zero_is_aligned_to_the_labels_of_the_file(molecules_file, offline, tmp_path):
    run(molecules_file(), tmp_path / "online")
    file, folder = molecules_file({"labels.labeller": offline(align=True)}), tmp_path / "offline"
    offsets = {1: 13.6, 7: 1485.0, 8: 2041.0}

    def shift(answers):
        for atoms in answers:
            atoms.info["REF_energy"] -= sum(offsets[number] for number in atoms.numbers.tolist())
        return answers

    waits(file, folder)
    label_here(folder / "generation-01", change=shift)
    waits(file, folder)
    energies = [
        [atoms.info["REF_energy"] for atoms in Generation(one / "generation-01").frames()]
        for one in (tmp_path / "online", folder)
    ]
    assert energies[1] == pytest.approx(energies[0], abs=1e-6)


def test_a_label_of_another_zero_stops_a_run_that_did_not_ask_for_alignment(molecules_file, offline, tmp_path):
    file, folder = molecules_file({"labels.labeller": offline()}), tmp_path / "offline"
    waits(file, folder)

    def shift(answers):
        for atoms in answers:
            atoms.info["REF_energy"] -= 1000.0
        return answers

    label_here(folder / "generation-01", change=shift)
    with pytest.raises(ValueError, match=r"zero(?s:.*)Labels of the file and of the labeller would be mixed"):
        run(file, folder)


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_computes_nothing_and_says_what_will_be_written(molecules_file, offline, tmp_path, sparring):
    file = molecules_file({"labels.labeller": offline(), "system.enlarge": DISPLACED})
    assert check(load(file)).label is None
    answer = sparring("check", file)
    assert answer.exit_code == 0
    assert "offline labels by emt {}: none is computed here" in answer.out
    assert (
        "structures to begin with, and at most 3 from attacks are written to generation-NN/offline/to_label.extxyz"
        in (answer.out)
    )
    assert sorted(os.listdir(tmp_path)) == ["molecules.xyz", "molecules.yaml"]


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
def test_what_cannot_be_labelled_offline_is_refused_with_a_remedy(molecules_file, changes, message):
    with pytest.raises(ConfigError, match=message):
        molecules_file({"labels.labeller": {"kind": "offline"}, **changes})


def test_a_system_that_relaxes_is_refused_with_a_remedy(tmp_path):
    file = tmp_path / "ammonia.yaml"
    file.write_text("system: {kind: ammonia}\nlabels: {labeller: {kind: offline}}\n", encoding="utf-8")
    with pytest.raises(
        ConfigError, match="system ammonia relaxes the molecule and its barrier step by step; use `system"
    ):
        load(file)
