"""Members that a program of the user's trains, in folders of their own."""

import ast
import dataclasses
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from sparring.atoms.dataset import STRESS, Dataset
from sparring.inputs.extxyz import read_labelled
from sparring.support.stopping import Stopped, stopping_by_signals
from sparring.training.external import Program, reference_energies_of, train_members
from sparring.training.fitting import TrainingError
from sparring.training.splits import Splits

TRAINER = """
import pathlib, sys
train, seed, model = sys.argv[1:4]
print("training with seed", seed, flush=True)
text = pathlib.Path(train).read_text()
assert "DFT_energy=" in text and ":DFT_forces:R:3" in text and "REF_" not in text
{more}
pathlib.Path(model).write_text(seed)
with open({log!r}, "a") as log:
    log.write(pathlib.Path(model).name + "\\n")
"""


@pytest.fixture
def program(tmp_path):
    """A program that writes its seed as a model, and a list of the models that it has written."""

    def make(more="", **changes):
        script, log = tmp_path / "trainer.py", tmp_path / "written.txt"
        script.write_text(TRAINER.format(more=more, log=str(log)))
        command = (sys.executable, "-S", str(script), "{train}", "{seed}", "{folder}/{name}.model")
        settings = {"command": command, "model": "{name}.model", "energy_key": "DFT_energy", "forces_key": "DFT_forces"}
        make.last = Program(name="mine", **{**settings, **changes})
        return make.last

    make.written = lambda: (tmp_path / "written.txt").read_text().split()
    return make


@pytest.fixture
def data(ammonia, rattled, with_random_labels):
    dataset = with_random_labels(rattled(ammonia, 10))
    return dataset, Splits.draw(10, n_members=2, seed=0)


def test_a_program_gets_the_stress_of_crystals_under_the_name_that_it_wants(
    program, rattled, with_random_labels, tmp_path
):
    frames = with_random_labels(rattled(bulk("Cu", cubic=True), 10)).to_atoms()
    for number, atoms in enumerate(frames[1:]):
        atoms.info[STRESS] = number * np.arange(6.0)
    dataset, splits = Dataset.from_atoms(frames), Splits.draw(10, n_members=1, seed=0)
    (model,) = train_members(program(stress_key="DFT_stress"), dataset, splits, seed=3, folder=tmp_path / "trained")
    keys = {"energy_key": "DFT_energy", "forces_key": "DFT_forces", "stress_key": "DFT_stress"}
    written = Dataset.from_atoms(read_labelled(model.parent / "train.xyz", **keys))
    torch.testing.assert_close(written.stress, dataset.take(splits.train[0]).stress, equal_nan=True)


def test_every_member_trains_on_its_own_data_with_its_own_seed(program, data, tmp_path):
    dataset, splits = data
    ticks = []
    trainer = program()
    models = train_members(
        trainer, dataset, splits, seed=3, folder=tmp_path / "trained", progress=lambda *tick: ticks.append(tick)
    )
    assert [model.name for model in models] == ["member-01.model", "member-02.model"]
    assert len({model.read_text() for model in models}) == 2
    assert ticks == [(1, 2), (2, 2)]
    for model, train, validation in zip(models, splits.train, splits.validation, strict=True):
        for name, ids in (("train.xyz", train), ("validation.xyz", validation)):
            read = read_labelled(model.parent / name, energy_key="DFT_energy", forces_key="DFT_forces")
            written, expected = Dataset.from_atoms(read), dataset.take(ids)
            assert torch.equal(written.energy, expected.energy)
            assert torch.equal(written.forces, expected.forces)
        assert "training with seed" in (model.parent / "log.txt").read_text()


def test_members_that_are_done_are_not_trained_again(program, data, tmp_path):
    dataset, splits = data
    folder = tmp_path / "trained"
    fails_second = program("assert not model.endswith('02.model'), 'no memory left'")
    with pytest.raises(TrainingError, match=r"'mine', member 2: .*exit code 1.*no memory left.*log.txt"):
        train_members(fails_second, dataset, splits, seed=3, folder=folder)
    assert program.written() == ["member-01.model"]
    (folder / "member-02" / "checkpoint-of-the-killed-one").touch()
    models = train_members(program(), dataset, splits, seed=3, folder=folder)
    assert program.written() == ["member-01.model", "member-02.model"]
    assert not (folder / "member-02" / "checkpoint-of-the-killed-one").exists()
    # One whose model has changed since, or whose seed is another, is trained again.
    models[0].write_text("damaged")
    train_members(program(), dataset, splits, seed=3, folder=folder)
    assert program.written()[2:] == ["member-01.model"]
    train_members(program(), dataset, splits, seed=4, folder=folder)
    assert len(program.written()) == 5


def test_members_that_an_executor_trains_are_those_that_are_trained_one_after_another(program, data, tmp_path):
    # Each waits for the other: they are trained at the same time.
    wait = (
        "import time; here = pathlib.Path(model).parent\n(here.parent / (here.name + '.began')).touch()\n"
        "while len(list(here.parent.glob('*.began'))) < 2: time.sleep(0.05)"
    )
    alone = train_members(program(), *data, seed=4, folder=tmp_path / "alone")
    told = []
    with ThreadPoolExecutor(2) as executor:
        how = {"seed": 4, "folder": tmp_path / "together", "executor": executor}
        together = train_members(program(wait, time_limit=60.0), *data, progress=lambda *n: told.append(n), **how)
        assert [one.read_text() for one in alone] == [one.read_text() for one in together]
        assert told == [(1, 2), (2, 2)]
        n_written = len(program.written())
        assert train_members(program(wait, time_limit=60.0), *data, **how) == together
        assert len(program.written()) == n_written
        with pytest.raises(TrainingError, match=r"trainer 'mine', member \d: the program ended with exit code 7"):
            train_members(program("raise SystemExit(7)"), *data, **{**how, "folder": tmp_path / "failing"})
        # The first failure ends the other members.
        program("(time := __import__('time')).sleep(0 if model.endswith('1.model') else 1000); raise SystemExit(7)")
        began = time.monotonic()
        with pytest.raises(TrainingError, match=r"member 1: the program ended with exit code 7"):
            train_members(program.last, *data, **{**how, "folder": tmp_path / "hanging"})
        assert time.monotonic() - began < 30
    assert not list(tmp_path.rglob(".stop-*"))


def test_a_program_that_takes_too_long_is_ended_with_all_that_it_has_started(program, data, tmp_path):
    dataset, splits = data
    alive = tmp_path / "alive.txt"
    child = f"import time\nwhile True:\n    open({str(alive)!r}, 'a').write('.')\n    time.sleep(0.05)"
    more = f"import subprocess, time\nsubprocess.Popen([sys.executable, '-S', '-c', {child!r}])\ntime.sleep(60)"
    with pytest.raises(TrainingError, match=r"took longer than 1\.5 s and was ended; raise training\.time_limit"):
        train_members(program(more, time_limit=1.5), dataset, splits, seed=0, folder=tmp_path / "trained")
    size = alive.stat().st_size if alive.exists() else 0
    time.sleep(0.3)
    assert (alive.stat().st_size if alive.exists() else 0) == size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "{name}.pt"}, r"ended well but wrote no .*member-01\.pt; correct `model`"),
        ({"command": ("no-such-program",)}, "'no-such-program' cannot be started: No such file"),
    ],
)
def test_what_is_wrong_with_a_trainer_is_said(program, data, tmp_path, changes, message):
    with pytest.raises(TrainingError, match=message):
        train_members(program(**changes), *data, seed=0, folder=tmp_path / "trained")


def test_a_placeholder_that_is_not_known_is_named(program):
    with pytest.raises(ValueError, match=r"\{trian\} in '\{trian\}' is not known; there are \{train\}, \{validation\}"):
        program(command=("train", "{trian}"))


def test_reference_energies_are_those_of_isolated_atoms_or_else_fitted():
    labelled = []
    for n_hydrogen in (1, 2, 3):
        atoms = Atoms(f"NH{n_hydrogen}", positions=[[float(i), 0.1 * i, 0.0] for i in range(n_hydrogen + 1)])
        atoms.info["REF_energy"] = -100.0 - 14.0 * n_hydrogen
        labelled.append(atoms)
    dataset = Dataset.from_atoms(labelled)
    assert ast.literal_eval(reference_energies_of(dataset)) == pytest.approx({1: -14.0, 7: -100.0})
    known = dataclasses.replace(dataset, atomic_energies={1: -13.0})
    assert ast.literal_eval(reference_energies_of(known)) == pytest.approx({1: -13.0, 7: -102.0})


def test_a_signal_ends_the_program_within_seconds_and_leaves_finished_members(program, data, tmp_path):
    trainer = program("import time; pathlib.Path('begun').touch(); time.sleep(300 * train.count('member-02'))")

    def stop():
        while not (tmp_path / "trained" / "member-02" / "begun").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(Stopped, match="stopped by SIGTERM"), stopping_by_signals():
        train_members(trainer, *data, seed=3, folder=tmp_path / "trained")
    assert time.monotonic() - began < 100.0
    assert program.written() == ["member-01.model"]
    assert "trainer.py" not in "".join(commands())


def commands():
    """Command lines of the processes that this one has started."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                yield (folder / "cmdline").read_text()
