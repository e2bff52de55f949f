"""Several runs on one store compute each label once, whatever becomes of the others."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from sparring.labels import Label, LabelStore, Limits, StoredCalculator, label
from sparring.labels.reservations import OLD, Reservation, Watch, remove_abandoned
from sparring.support.owner import this_process

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from ase import Atoms
from sparring.labels import label
from toy_labellers import Harmonic
if __name__ == "__main__":
    folder, n_workers = sys.argv[2], int(sys.argv[3])
    structures = [Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.7 + i / 100]]) for i in range(64)]
    labeller = Harmonic(log=folder + "/log", delays={2: 0.03})
    report = label(structures, labeller, store=folder + "/labels", n_workers=n_workers)
    print(report.n_computed, report.n_reused, sum(one.energy for one in report.labels))
"""


def dimer(gap=1.0):
    return Atoms("H2", positions=[[0, 0, 0], [0, 0, gap]])


def a_dead_process():
    """The number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def reserve(store, key, **changed):
    """A reservation by another process, or by none that lives."""
    file = store.reservation(key)
    file.write_text(this_process()._replace(**changed).line)
    return file


@pytest.fixture
def store(tmp_path):
    return LabelStore(tmp_path / "labels")


def test_three_runs_on_one_store_compute_64_labels_for_64_structures(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    here = str(Path(__file__).parent)
    commands = [[sys.executable, str(script), here, str(tmp_path), str(n_workers)] for n_workers in (1, 1, 2)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    told = [run.communicate(timeout=300)[0].split() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert len((tmp_path / "log").read_text().splitlines()) == 64
    assert sum(int(n_computed) for n_computed, _, _ in told) == 64
    assert {int(n_computed) + int(n_reused) for n_computed, n_reused, _ in told} == {64}
    assert len({energy for _, _, energy in told}) == 1
    assert sorted(file.suffix for file in (tmp_path / "labels").iterdir()) == [".json"] * 64


def test_a_label_that_another_run_computes_is_left_to_it_and_the_others_are_computed(toys, store, tmp_path):
    labeller = toys.Harmonic(log=tmp_path / "log")
    structures = [dimer(1.0), dimer(1.1)]
    key = store.key(structures[0], labeller)
    with Reservation(store.reservation(key)):
        assert store.attempt(structures[0], labeller) is None
        assert store.attempt(structures[1], labeller) is not None
    assert store.attempt(structures[0], labeller)[1]
    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_a_run_waits_for_the_label_of_another_and_reads_it(toys, store, tmp_path):
    labeller = toys.Harmonic(log=tmp_path / "log")
    slow = Label(
        energy=2.0, forces=np.ones((2, 3)), method=labeller.method, version="toy 1", converged=True, wall_time=0.0
    )
    key = store.key(dimer(), labeller)
    told = []

    def progress(done, n_structures):
        told.append(done)
        if done == 1:  # the label of the other structure: now the other run finishes
            store.put(key, dimer(), slow)
            store.reservation(key).unlink()

    reserve(store, key)
    report = label([dimer(), dimer(1.1)], labeller, store=store, progress=progress)
    assert report.labels[0].energy == 2.0
    assert (report.n_computed, report.n_reused) == (1, 1)
    assert told == [0, 1, 2]
    assert len((tmp_path / "log").read_text().splitlines()) == 1


@pytest.mark.parametrize("text", ["dead", "another start"])
def test_the_reservation_of_a_process_that_has_ended_is_taken_over_at_once(toys, store, text):
    labeller = toys.Harmonic()
    key = store.key(dimer(), labeller)
    file = reserve(store, key, **({"pid": a_dead_process()} if text == "dead" else {"start": 1}))
    report = label([dimer()], labeller, store=store)
    assert report.n_computed == 1
    assert key in store
    assert not file.exists()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="ended processes are told by /proc")
def test_a_process_that_has_ended_but_is_still_listed_counts_as_gone(store):
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    state = Path(f"/proc/{ended.pid}/stat")
    deadline = time.monotonic() + 60
    while state.read_text().rpartition(")")[2].split()[0] != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    file = reserve(store, "abc", pid=ended.pid, start=0)
    assert Watch().is_free(file)
    ended.wait()


def test_a_process_on_another_machine_is_waited_for_as_long_as_it_gives_signs_of_life(store, tmp_path):
    file = reserve(store, "abc", host="elsewhere", pid=a_dead_process())
    watch = Watch(silence=0.2)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        os.utime(file)
        assert not watch.is_free(file)
        time.sleep(0.02)
    time.sleep(0.3)
    assert watch.is_free(file)
    assert not file.exists()


def test_a_process_that_lives_is_waited_for_up_to_the_time_limit_of_a_label(toys, store):
    labeller = toys.Harmonic()
    file = reserve(store, store.key(dimer(), labeller))  # this process computes no such label
    report = label([dimer()], labeller, store=store, limits=Limits(time=0.5))
    assert report.n_computed == 1
    assert not file.exists()


def test_a_reservation_without_a_process_is_one_whose_process_is_writing_it(store):
    file = store.reservation("abc")
    file.touch()
    watch = Watch(silence=0.1)
    assert not watch.is_free(file)
    time.sleep(0.2)
    assert watch.is_free(file)


def test_waiting_takes_nothing_from_the_time_of_a_label(toys, store, tmp_path, caplog):
    labeller = toys.Harmonic(delays={2: 0.2})
    key = store.key(dimer(), labeller)
    file = reserve(store, key)
    calculator = StoredCalculator(labeller, store)
    calculator.workers.limits = Limits(time=3.0)
    atoms = dimer()
    atoms.calc = calculator
    started = time.monotonic()
    assert atoms.get_potential_energy() == 0.5
    assert time.monotonic() - started > 3.0
    assert not file.exists()
    calculator.workers.close()


def test_a_reservation_lives_while_its_label_is_computed_and_ends_with_it_also_by_an_error(tmp_path):
    file = tmp_path / "one.reserved"

    def compute():
        with Reservation(file, heartbeat=0.01):
            first = file.stat().st_mtime_ns
            deadline = time.monotonic() + 30
            while file.stat().st_mtime_ns == first and time.monotonic() < deadline:
                time.sleep(0.01)
            with pytest.raises(FileExistsError):
                Reservation(file)
            raise RuntimeError(file.stat().st_mtime_ns > first)

    with pytest.raises(RuntimeError, match="True"):
        compute()
    assert not file.exists()


def test_a_reservation_that_was_taken_over_is_left_to_its_new_owner(tmp_path):
    file = tmp_path / "one.reserved"
    with Reservation(file):
        file.write_text(this_process()._replace(pid=1).line)
    assert "process 1 on" in file.read_text()


def test_what_was_left_behind_is_removed_when_a_store_is_tidied_and_nothing_else(store, toys):
    labeller = toys.Harmonic()
    store.obtain(dimer(), labeller)
    record = next(store.folder.glob("*.json"))
    files = {name: store.folder / name for name in (".a.json.1.tmp", ".b.json.2.tmp", "notes.txt")}
    for file in files.values():
        file.write_text("")
    mine, dead = reserve(store, "mine"), reserve(store, "dead", pid=a_dead_process())
    away = reserve(store, "away", host="elsewhere", pid=a_dead_process())
    old = reserve(store, "old", host="elsewhere")
    for file in (files[".b.json.2.tmp"], files["notes.txt"], old, record):
        os.utime(file, (time.time() - 2 * OLD,) * 2)
    assert sorted(remove_abandoned(store.folder)) == [".b.json.2.tmp", dead.name, old.name]
    left = {file.name for file in store.folder.iterdir()}
    assert left == {record.name, ".a.json.1.tmp", "notes.txt", mine.name, away.name}
    store.tidy()
    assert len(store) == 1
