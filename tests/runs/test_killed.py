"""Runs that are killed, stopped by signals, or meet faults on purpose, and end with the bits of an unbroken one."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from sparring.inputs.extxyz import write_structures
from sparring.support.faults import PASSAGES, VARIABLE

DATA = ("dataset.extxyz", "splits.json", "committee.safetensors", "committee.json", "training.csv")
CHOSEN = ("selected.extxyz", "selection.json", "paths.npz")
SPRINGS = """
generations: 2
system: {kind: own, file: molecules.xyz}
labels:
  labeller: {kind: plugin, name: springs, parameters: {constant: 5.0}}
  n_workers: 2
  max_failed: 1e-3
  time_limit: 5 s
committee:
  n_members: 2
  potential: {kind: schnet, n_features: 4, n_filters: 4, n_interactions: 1, n_gaussians: 4, cutoff: 3 Å}
training: {n_epochs: 3, learning_rate: 1e-3}
attack: {n_seeds: 3, seeds: random, n_steps: 2}
selection: [{kind: budget, n: 3}]
"""
N_KILLS = 20


class Runs:
    """Runs of one configuration in processes of their own.

    Attributes:
        output: What the last one has printed.
    """

    def __init__(self, processes, config, folder):
        self._processes, self._config = processes, config
        self.folder, self.log = folder, folder.parent / "labels.log"
        self.mark = f"SPARRING_TEST={folder}"
        self.output = ""

    def __call__(self, *, fault="", environment=None, **more):
        """The exit code; no process is left behind."""
        name, _, value = self.mark.partition("=")
        variables = {name: value, "SPRINGS_LOG": str(self.log), "SPRINGS_STORE": str(self.folder / "labels")}
        variables |= {"TMPDIR": str(self.folder.parent), **(environment or {})}
        variables |= {VARIABLE: fault, PASSAGES: str(self.folder.parent / "passages")} if fault else {}
        (self.folder.parent / "passages").unlink(missing_ok=True)
        output = self.folder.parent / "output.txt"
        labels = {"log": str(self.log), "store": str(self.folder / "labels")}
        code = self._processes(
            *("run", self._config, "--folder", self.folder), output=output, environment=variables, labels=labels, **more
        )
        self.output = " ".join(output.read_text().split())
        self.require_no_processes()
        return code

    def require_no_processes(self):
        """Workers and guards have ended, or do so within seconds."""
        end = time.monotonic() + 20.0
        while (left := list(marked(self.mark))) and time.monotonic() < end:
            time.sleep(0.05)
        assert not left

    def labels_computed(self):
        """Keys of all labels that were computed, with "again" if the store had one already."""
        return self.log.read_text().splitlines()


def marked(text):
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)
        except OSError:
            pass


def differences(folder, other):
    """Files of results that are not the same."""
    generations = sorted(one.name for one in other.glob("generation-*"))
    files = [f"{one}/{name}" for one in generations for name in (*DATA, *CHOSEN) if (other / one / name).exists()]
    assert len(files) > len(DATA)
    return [name for name in files if (folder / name).read_bytes() != (other / name).read_bytes()]


@pytest.fixture
def well(processes, well_file, tmp_path):
    return Runs(processes, well_file(), tmp_path / "run")


@pytest.fixture
def springs(processes, springs_file, tmp_path):
    return Runs(processes, springs_file, tmp_path / "run")


@pytest.fixture(scope="module")
def springs_file(tmp_path_factory, rattled_water):
    folder = tmp_path_factory.mktemp("springs")
    write_structures(folder / "molecules.xyz", rattled_water)
    file = folder / "springs.yaml"
    file.write_text(SPRINGS, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def rattled_water():
    from ase.build import molecule

    structures = [molecule("H2O") for _ in range(8)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=seed)
    return structures


@pytest.fixture(scope="module")
def finished_springs(processes, springs_file, tmp_path_factory):
    run = Runs(processes, springs_file, tmp_path_factory.mktemp("finished") / "run")
    assert run() == 0, run.output
    return run.folder


@pytest.mark.slow
def test_a_well_killed_at_twenty_random_moments_ends_as_one_that_never_was(well, finished_well):
    draw, n_kills, longest = random.Random(24), 0, 1.0
    while (code := well(death={"cpu_time": draw.uniform(0.0, longest)} if n_kills < N_KILLS else None)) != 0:
        assert code == -signal.SIGKILL, well.output
        n_kills += 1
    assert n_kills >= N_KILLS
    assert differences(well.folder, finished_well) == []
    assert not [line for line in well.labels_computed() if line.endswith("again")]
    assert not list(well.folder.rglob("*.tmp"))


@pytest.mark.slow
def test_a_run_with_labels_in_processes_killed_at_twenty_random_moments_ends_as_one_that_never_was(
    springs, finished_springs
):
    draw, n_kills = random.Random(24), 0
    # Labels take a while, so that many are under way at a time.
    slow = {"SPRINGS_SECONDS": "0.05"}
    while True:
        death = {"cpu_time": draw.uniform(0.0, 1.0)} if n_kills < N_KILLS else None
        code = springs(death=death, environment=slow)
        if code == 0:
            break
        assert code == -signal.SIGKILL, springs.output
        n_kills += 1
    assert n_kills >= N_KILLS
    assert differences(springs.folder, finished_springs) == []
    assert not [line for line in springs.labels_computed() if line.endswith("again")]


def test_a_worker_that_is_killed_costs_its_label_alone(springs, finished_springs):
    assert springs(fault="label:kill:3") == 0, springs.output
    assert differences(springs.folder, finished_springs) == []
    keys = springs.labels_computed()
    assert len(keys) == len(set(keys)) == len(list((finished_springs / "labels").glob("*.json")))


STOPS = {
    "in training": ({"work": "training", "tick": 3, "count": 2}, "SIGTERM", "generation 2, training"),
    "in an attack": ({"work": "attack", "tick": 3}, "SIGUSR1", "generation 1, attack"),
    "in labels": ({"file": ".json", "count": 21, "moment": "after"}, "SIGHUP", "generation"),
    "in a commit": ({"file": "generation-01/dataset.extxyz"}, "SIGINT", "generation 1, data"),
}


@pytest.mark.parametrize(
    "stop",
    [one if one in ("in training", "in a commit") else pytest.param(one, marks=pytest.mark.slow) for one in STOPS],
)
def test_a_signal_stops_a_run_with_one_sentence_and_it_goes_on_to_the_same_bits(stop, well, finished_well):
    death, name, where = STOPS[stop]
    number = getattr(signal, name)
    assert well(death={**death, "signal": number}) == 5, well.output
    named = "Ctrl-C" if name == "SIGINT" else name
    assert f"stopped by {named} in {where}" in well.output
    assert well.output.endswith("; what was finished is kept, and the same command goes on from there")
    assert "Traceback" not in well.output
    assert not list(well.folder.rglob(".*.tmp"))
    if stop == "in training":
        assert len(list((well.folder / "generation-02" / "checkpoints").iterdir())) == 1
    if stop == "in a commit":
        assert (well.folder / "generation-01" / "manifest.json").exists()
    assert well() == 0
    assert differences(well.folder, finished_well) == []
    assert not list(well.folder.rglob("checkpoints"))


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGUSR1", marks=pytest.mark.slow)])
def test_a_signal_ends_labels_that_would_take_minutes_and_all_their_processes(name, springs, finished_springs):
    death = {"file_there": str(springs.log), "signal": getattr(signal, name)}
    began = time.monotonic()
    assert springs(death=death, environment={"SPRINGS_SECONDS": "300"}) == 5, springs.output
    assert time.monotonic() - began < 100.0
    assert f"stopped by {name} in generation 1, data; what was finished is kept" in springs.output
    assert springs() == 0
    assert differences(springs.folder, finished_springs) == []


IN_A_WELL = {
    "store:kill:6": (-signal.SIGKILL, ""),
    "store:raise:6": (1, "an exception before a label is written to the store, as SPARRING_FAULT=store:raise:6 asks"),
    "store:full:6": (2, r"No space left on device"),
    "commit:kill:4": (-signal.SIGKILL, ""),
    "commit:raise:4": (1, "an exception before the manifest of a stage is written"),
    "commit:full:4": (2, "No space left on device"),
    "checkpoint:kill:2": (-signal.SIGKILL, ""),
    "checkpoint:raise:2": (1, "an exception before a checkpoint of a training is written"),
    "checkpoint:full:2": (2, "No space left on device"),
    "checkpoint:corrupt:1": (0, ""),
}
QUICK = ("store:full:6", "checkpoint:kill:2")


@pytest.mark.parametrize(
    "fault", [fault if fault in QUICK else pytest.param(fault, marks=pytest.mark.slow) for fault in IN_A_WELL]
)
def test_a_run_that_met_a_fault_goes_on_without_it_to_the_same_bits(fault, well, finished_well):
    code, message = IN_A_WELL[fault]
    assert well(fault=fault) == code, well.output
    assert message in well.output
    assert "Traceback" not in well.output
    assert well() == 0, well.output
    assert differences(well.folder, finished_well) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "system"), [("store", "well"), ("commit", "well"), ("checkpoint", "well"), ("executor", "springs")]
)
def test_a_run_that_hangs_is_stopped_by_a_signal_and_goes_on(point, system, request):
    run, finished = (request.getfixturevalue(name) for name in (system, f"finished_{system}"))
    # The file of passages appears with the first one, in which the process hangs.
    death = {"file_there": str(run.folder.parent / "passages"), "signal": signal.SIGTERM}
    assert run(fault=f"{point}:hang", death=death) == 5, run.output
    assert run() == 0
    assert differences(run.folder, finished) == []


def test_a_record_that_is_damaged_as_it_is_written_is_named_and_computed_again(well, finished_well):
    assert well(fault="store:corrupt:6") == 2, well.output
    (damaged,) = [name for name in well.output.split() if name.endswith(".json")]
    assert f"label record {damaged}" in well.output
    assert "delete this file and the label will be computed again" in well.output
    Path(damaged).unlink()
    assert well() == 0
    assert differences(well.folder, finished_well) == []


@pytest.mark.slow
def test_a_manifest_that_is_damaged_as_it_is_written_is_named_with_what_to_delete(well, finished_well):
    assert well(fault="commit:corrupt:8") == 2, well.output
    assert str(well.folder / "generation-02" / "manifest.json") in well.output
    shutil.rmtree(well.folder / "generation-02")
    assert well() == 0, well.output
    assert differences(well.folder, finished_well) == []


IN_PROCESSES = {
    "label:raise:2": (4, "an exception before a label is computed, as SPARRING_FAULT=label:raise:2 asks for"),
    "label:full:2": (2, "No space left on device"),
    "label:hang:2": (4, "timed_out"),
    "store:kill:2": (0, ""),
    "executor:kill:2": (-signal.SIGKILL, ""),
    "executor:raise:2": (1, "an exception before a label is handed to an executor"),
    "executor:full:2": (2, "No space left on device"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", IN_PROCESSES)
def test_labels_in_processes_that_met_a_fault_go_on_without_it_to_the_same_bits(fault, springs, finished_springs):
    code, message = IN_PROCESSES[fault]
    assert springs(fault=fault) == code, springs.output
    assert message in springs.output
    assert springs() == 0, springs.output
    assert differences(springs.folder, finished_springs) == []
    assert not [line for line in springs.labels_computed() if line.endswith("again")]


def test_a_fault_that_there_is_not_is_refused_before_the_run_begins(well):
    assert well(fault="store:burn") == 2
    assert "SPARRING_FAULT=store:burn: 'burn' is not known" in well.output
    assert not well.folder.exists()
    assert os.environ.get(VARIABLE) is None
