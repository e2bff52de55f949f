import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import ase.neighborlist
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT

from sparring.labels import Bounds, Label, LabelError, LabelStore, label, labelled_atoms


def chain(symbol, n_atoms, gap=1.0):
    return Atoms([symbol] * n_atoms, positions=[[0, 0, gap * i] for i in range(n_atoms)])


@pytest.fixture
def chains():
    return [chain("H", n_atoms, gap) for n_atoms in (2, 3) for gap in (1.0, 1.1, 1.2)]


def same(first, second):
    return len(first) == len(second) and all(
        a.energy == b.energy and np.array_equal(a.forces, b.forces) for a, b in zip(first, second, strict=True)
    )


def test_labels_come_in_the_order_of_the_structures(toys, chains):
    report = label(chains, toys.Harmonic())
    assert [found.energy for found in report.labels] == [0.5 * (atoms.positions**2).sum() for atoms in chains]
    assert (report.n_computed, report.n_reused) == (6, 0)


def test_neither_workers_nor_the_order_in_which_they_finish_change_anything(toys, chains, tmp_path):
    alone = label(chains, toys.Harmonic())
    together = label(chains, toys.Harmonic(delays={2: 0.2}), store=tmp_path, n_workers=3)
    backwards = label(chains[::-1], toys.Harmonic(), n_workers=2)
    assert same(alone.labels, together.labels)
    assert same(alone.labels, backwards.labels[::-1])
    assert alone.keys == together.keys == backwards.keys[::-1]
    assert len(LabelStore(tmp_path)) == 6


def test_nothing_is_computed_twice_in_this_run_or_the_next(toys, chains, tmp_path):
    log, store = tmp_path / "log", tmp_path / "labels"
    first = label([*chains, *chains[::-1]], toys.Harmonic(log=log), store=store)
    assert (first.n_computed, first.n_reused) == (6, 6)
    assert same(first.labels[:6], first.labels[:5:-1])
    second = label(chains, toys.Harmonic(log=log), store=LabelStore(store), n_workers=2)
    assert (second.n_computed, second.n_reused) == (0, 6)
    assert same(first.labels[:6], second.labels)
    assert len(log.read_text().splitlines()) == 6


def test_duplicates_are_computed_once_without_a_store_too(toys, tmp_path):
    report = label([chain("H", 2)] * 4, toys.Harmonic(log=tmp_path / "log"))
    assert (report.n_computed, report.n_reused) == (1, 3)
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_a_label_that_has_not_converged_is_kept_and_not_computed_again(toys, tmp_path):
    log = tmp_path / "log"
    for n_computed in (1, 0):
        report = label([chain("H", 2)], toys.Harmonic(log=log, converged=False), store=tmp_path / "labels")
        assert report.n_computed == n_computed
        assert report.labels[0].reason == "not_converged"
    assert len(log.read_text().splitlines()) == 1


def test_failures_are_data_that_name_the_structure_and_the_reason(toys, tmp_path):
    structures = [chain("H", 2), chain("He", 1), chain("Ne", 1), chain("H", 2, gap=0.1), chain("H", 2, gap=300.0)]
    report = label(structures, toys.Faulty(), store=tmp_path)
    good, *failed = report.labels
    assert isinstance(good, Label)
    assert all(isinstance(error, LabelError) for error in failed)
    assert [error.reason for error in failed] == ["not_converged", "crashed", "distance", "force"]
    assert [str(error).partition(":")[0] for error in failed] == [
        "structure 1 (He)",
        "structure 2 (Ne)",
        "structure 3 (H2)",
        "structure 4 (H2)",
    ]
    assert "ZeroDivisionError: no such thing" in str(failed[1])
    assert len(LabelStore(tmp_path)) == 2
    assert (report.n_computed, report.n_reused) == (4, 0)


def test_a_structure_with_overlapping_atoms_costs_no_label(toys, tmp_path):
    report = label([chain("H", 2, gap=0.1)], toys.Harmonic(log=tmp_path / "log"))
    assert report.labels[0].reason == "distance"
    assert (report.n_computed, report.n_reused) == (0, 0)
    assert not (tmp_path / "log").exists()


def test_distances_of_a_structure_are_looked_at_once(toys, monkeypatch):
    seen, search = [], ase.neighborlist.neighbor_list

    def counted(what, atoms, *given, **more):
        seen.append(len(atoms))
        return search(what, atoms, *given, **more)

    monkeypatch.setattr(ase.neighborlist, "neighbor_list", counted)
    label([chain("H", 2), chain("H", 3)], toys.Harmonic(), bounds=Bounds(energy_window=5.0))
    assert seen == [2, 3]


def test_the_energy_window_starts_from_the_lowest_of_the_same_composition(toys):
    structures = [chain("H", 2, 1.0), chain("H", 2, 3.0), chain("He", 2, 3.0), chain("H", 2, 1.5)]
    bounds = Bounds(energy_window=2.0)
    reasons = [getattr(found, "reason", None) for found in label(structures, toys.Harmonic(), bounds=bounds).labels]
    assert reasons == [None, "energy", None, None]
    known = {"H2": -1.0}
    report = label(structures[:1] + structures[3:], toys.Harmonic(), bounds=bounds, lowest_energies=known)
    assert [getattr(found, "reason", None) for found in report.labels] == [None, "energy"]
    assert known == {"H2": -1.0}


def test_a_worker_that_dies_takes_no_other_label_with_it(toys, chains, tmp_path):
    log = tmp_path / "log"
    structures = [*chains[:3], chain("He", 1), *chains[3:]]
    report = label(structures, toys.Harmonic(log=log, dies_of="He"), store=tmp_path / "labels", n_workers=2)
    assert [isinstance(found, Label) for found in report.labels] == [True] * 3 + [False] + [True] * 3
    assert report.labels[3].reason == "crashed"
    assert str(report.labels[3]).startswith("structure 3 (He): harmonic k=1 ended its process twice")
    assert "exit code 42" in str(report.labels[3])
    assert len(LabelStore(tmp_path / "labels")) == 6
    attempts = [line for line in log.read_text().splitlines() if " He " in line]
    assert len(attempts) == 2
    assert log.read_text().splitlines()[-1] == attempts[-1]


def test_workers_are_other_processes_with_one_thread_each_and_leave_this_one_as_it_was(toys, chains, tmp_path):
    before = dict(os.environ)
    label(chains, toys.Harmonic(log=tmp_path / "log"), n_workers=2)
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert {threads for _, _, threads in lines} == {"1"}
    assert str(os.getpid()) not in {process for process, _, _ in lines}
    assert dict(os.environ) == before


def test_a_single_worker_is_another_process_too(toys, tmp_path):
    label([chain("H", 2)], toys.Harmonic(log=tmp_path / "log"))
    assert (tmp_path / "log").read_text().split()[0] != str(os.getpid())


@pytest.mark.parametrize("n_workers", [1, 2])
def test_progress_is_told_here_and_counts_every_structure(toys, chains, tmp_path, n_workers):
    label(chains[:2], toys.Harmonic(), store=tmp_path)
    told = []
    structures = [*chains, chains[5], chain("H", 2, gap=0.1)]
    label(
        structures,
        toys.Harmonic(),
        store=tmp_path,
        n_workers=n_workers,
        progress=lambda done, total: told.append((done, total, threading.current_thread(), os.getpid())),
    )
    assert (told[0][0], told[-1][0]) == (3, 8)
    assert sorted(told, key=lambda entry: entry[0]) == told
    assert {tuple(entry[1:]) for entry in told} == {(8, threading.main_thread(), os.getpid())}


def test_no_structures_give_an_empty_report(toys):
    report = label([], toys.Harmonic(), n_workers=4)
    assert (report.labels, report.keys, report.n_computed, report.n_reused) == ((), (), 0, 0)


def test_a_state_that_cannot_be_is_refused_before_anything_is_computed(toys, chains, tmp_path):
    chains[4].info["multiplicity"] = 3
    with pytest.raises(ValueError, match="structure 4: H3 with charge 0 has 3 electrons"):
        label(chains, toys.Harmonic(log=tmp_path / "log"))
    assert not (tmp_path / "log").exists()


def test_a_label_that_is_not_the_labellers_own_is_a_counted_failure(toys, tmp_path):
    (error,) = label([chain("H", 2)], toys.OtherMethod(), store=tmp_path).labels
    assert error.reason == "bad_result"
    assert "labels must carry the labeller's own method and version" in str(error)
    assert not len(LabelStore(tmp_path))


def test_a_damaged_record_stops_the_call_and_names_the_file(toys, chains, tmp_path):
    key = label(chains[:1], toys.Harmonic(), store=tmp_path).keys[0]
    (tmp_path / f"{key}.json").write_text("half a rec")
    with pytest.raises(ValueError, match=rf"{key}\.json cannot be read; delete this file"):
        label(chains, toys.Harmonic(), store=tmp_path)


def test_a_labeller_that_cannot_be_sent_to_a_worker_is_refused(toys):
    labeller = toys.Harmonic()
    labeller.lock = threading.Lock()
    with pytest.raises(ValueError, match=r"cannot be sent to a worker process .* take n_workers=1"):
        label([chain("H", 2)], labeller, n_workers=2)


def test_a_live_calculator_is_a_labeller(tmp_path):
    hydrogen = molecule("H2")
    report = label([hydrogen], EMT(), store=tmp_path)
    hydrogen.calc = EMT()
    assert report.labels[0].energy == hydrogen.get_potential_energy()
    again = label([hydrogen], EMT(), store=tmp_path)
    assert again.n_computed == 0


def test_labelled_atoms_carry_the_label_and_leave_the_structure_alone(toys):
    atoms = chain("H", 2)
    atoms.info["source"] = "attack"
    report = label([atoms], toys.Harmonic())
    labelled = labelled_atoms(atoms, report.labels[0], report.keys[0])
    assert labelled.info == {"source": "attack", "REF_energy": 0.5, "label": report.keys[0]}
    np.testing.assert_array_equal(labelled.arrays["REF_forces"], [[0, 0, 0], [0, 0, -1]])
    assert atoms.info == {"source": "attack"}
    assert "REF_forces" not in atoms.arrays


def test_a_script_without_a_main_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from ase.build import molecule\n"
        "from sparring.labels import ASECalculator, label\n"
        "class Own(ASECalculator):\n"
        "    pass\n"
        "label([molecule('H2')], Own('emt'))\n"
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "must label under: if __name__ == '__main__':" in ran.stderr


def test_an_interrupt_stops_everything_promptly(tmp_path):
    script, log = tmp_path / "script.py", tmp_path / "log"
    script.write_text(
        "import signal, sys\n"
        "from ase.build import molecule\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from sparring.labels import label\n"
        "from toy_labellers import Harmonic\n"
        "if __name__ == '__main__':\n"
        # What a shell runs in the background inherits that interrupts are ignored.
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    structures = [molecule('H2'), molecule('N2')]\n"
        "    label(structures, Harmonic(log=sys.argv[2], delays={2: 300.0}), n_workers=2)\n"
    )
    command = [sys.executable, script, Path(__file__).parent, log]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (log.exists() and len(log.read_text().splitlines()) == 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    _, told = running.communicate(timeout=20)
    assert running.returncode != 0
    assert "KeyboardInterrupt" in told
    for line in log.read_text().splitlines():
        with pytest.raises(ProcessLookupError):
            os.kill(int(line.split()[0]), 0)
