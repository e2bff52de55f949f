"""Whatever a labeller does, the run goes on, or stops with the reason."""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from sparring.labels import Label, LabelError, LabelStore, Limits, StoredCalculator, Workers, label, plugin
from sparring.labels.guard import descendants
from sparring.labels.identity import absolute
from sparring.support import plugins

BAD = {
    "none": "gave None, wanted a Label",
    "pair": "gave (1.0, array(",
    "mapping": "gave {'energy': 1.0",
    "text": "gave energy = '-1.5', wanted one real number in eV",
    "complex_energy": "gave energy = (1+1j), wanted one real number in eV",
    "true_energy": "gave energy = True, wanted one real number in eV",
    "two_energies": "gave energy of shape (2,), wanted one real number in eV",
    "no_energy": "gave energy = None",
    "ragged": "gave forces = [[0.0, 0.0, 0.0], [0.0]]",
    "too_few": "gave forces of shape (1, 3), wanted (2, 3) in eV/Å",
    "flat": "gave forces of shape (6,), wanted (2, 3) in eV/Å",
    "masked": "gave forces = masked_array",
    "objects": "gave forces = array([[None",
    "stress_text": "gave stress = 'hydrostatic', wanted six real numbers in eV/Å³",
    "stress_lopsided": "gave a stress that is not symmetric",
    "another": "gave a label by 'even' (odd 1)",
    "maybe": "gave converged = 'yes', wanted True or False",
    "unpicklable": "gave energy = <unlocked _thread.lock",
}
FAILED = {
    "exit_zero": ("crashed", "odd raised SystemExit: 0"),
    "interrupt": ("crashed", "odd raised KeyboardInterrupt"),
    "generator_exit": ("crashed", "odd raised GeneratorExit"),
    "memory_error": ("out_of_memory", "odd ran out of memory: no room for integrals"),
    "strange_error": ("crashed", "odd raised Strange"),
    "nan": ("not_finite", "not finite"),
}
DIES = {
    "leave": "ended its process twice (exit code 7), the second time alone; last output: licence has",
    "abort": "ended its process twice (signal 6, SIGABRT), the second time alone; last output: forrtl: severe (174)",
    "segfault": "ended its process twice (signal 11, SIGSEGV)",
    "leave_with_a_fork": "ended its process twice (exit code 7)",
}
FINE = ("good", "sorts", "prints", "closes", "wanders", "forks", "scratch", "lists", "single", "good")


@pytest.fixture
def odd(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("odd_labellers")


def asked(*whats):
    """One pair of atoms for each behaviour, no two alike."""
    return [
        Atoms("H2", positions=[[0, 0, 0], [0, 0, 1.0 + 0.01 * i]], info={"do": what}) for i, what in enumerate(whats)
    ]


def running(pid):
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_whatever_is_no_label_is_a_counted_failure_that_says_what_it_was(odd):
    report = label(asked(*BAD, "good"), odd.Odd())
    for result, (what, told) in zip(report.labels, BAD.items(), strict=False):
        assert isinstance(result, LabelError), what
        assert (result.reason, told in str(result)) == ("bad_result", True), str(result)
    assert isinstance(report.labels[-1], Label)


def test_whatever_a_labeller_raises_is_a_counted_failure(odd):
    report = label(asked(*FAILED, "good"), odd.Odd())
    for result, (reason, told) in zip(report.labels, FAILED.values(), strict=False):
        assert (result.reason, told in str(result)) == (reason, True), str(result)
    assert isinstance(report.labels[-1], Label)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_what_ends_its_process_is_asked_twice_and_then_a_counted_failure(odd, n_workers):
    report = label(asked("good", *DIES, "good"), odd.Odd(), n_workers=n_workers)
    first, *died, last = report.labels
    assert isinstance(first, Label)
    assert isinstance(last, Label)
    assert [error.reason for error in died] == ["crashed"] * len(DIES)
    for error, told in zip(died, DIES.values(), strict=True):
        assert told in str(error)


def test_manners_of_labellers_do_no_harm_to_labels_or_to_this_process(odd, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    structures = asked(*FINE)
    before = [atoms.positions.copy() for atoms in structures]
    report = label(structures, odd.Odd(), n_workers=2)
    for atoms, positions, result in zip(structures, before, report.labels, strict=True):
        assert isinstance(result, Label), str(result)
        assert (atoms.positions == positions).all()
        assert result.forces.dtype == float
    assert report.labels[0].energy == 0.5
    assert report.labels[FINE.index("lists")].energy == 0.25
    np.testing.assert_array_equal(report.labels[FINE.index("lists")].stress, [1, 1, 1, 0, 0, 0])
    assert not list(tmp_path.iterdir())
    assert Path.cwd() == tmp_path
    assert capfd.readouterr() == ("", "")


def test_a_label_that_hangs_is_ended_with_its_children_at_the_time_limit(odd):
    with Workers(odd.Odd(), limits=Limits(time=1.0)) as workers:
        structures = asked("hang", "good")
        report = label(structures, odd.Odd(), workers=workers)
        assert report.labels[0].reason == "timed_out"
        assert "took longer than the time limit of 1 s and was ended; raise labels.time_limit" in str(report.labels[0])
        assert isinstance(report.labels[1], Label)
        marker = workers.processes.running[0].marker
        assert len(descendants(marker)) == 1
    assert not descendants(marker)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_a_label_above_the_memory_limit_is_ended(odd):
    report = label(asked("grow", "good"), odd.Odd(), limits=Limits(memory=4e8))
    assert report.labels[0].reason == "out_of_memory"
    assert "GB, more than the memory limit of 0.4 GB, and was ended" in str(report.labels[0])
    assert isinstance(report.labels[1], Label)


def test_workers_that_die_while_they_start_are_replaced_three_times_and_then_said_to(odd, tmp_path):
    told = r"3 worker processes for odd ended before they were ready \(exit code 9\); it printed: libmpi: cannot open"
    with pytest.raises(RuntimeError, match=told):
        label(asked("good"), odd.DiesAtStart(str(tmp_path / "log")))
    assert (tmp_path / "log").read_text() == "start\n" * 3


def test_inputs_and_outputs_of_a_failed_label_are_kept_and_named(odd, tmp_path):
    structures = asked("fails_with_files", "leave", "good")
    report = label(structures, odd.Odd(), failed=tmp_path / "failed-labels")
    for key, error in zip(report.keys[:2], report.labels[:2], strict=True):
        assert error.files == tmp_path / "failed-labels" / key
        assert f"its files are in {error.files}" in str(error)
        assert (error.files / "structure.xyz").read_text().startswith("2\n")
    assert (report.labels[0].files / "job.inp").read_text() == "B3LYP def2-SVP"
    assert "linearly dependent" in (report.labels[0].files / "output.txt").read_text()
    assert "crashed: odd raised RuntimeError: the job failed" in (report.labels[0].files / "error.txt").read_text()
    assert len(list((tmp_path / "failed-labels").iterdir())) == 2


def test_steps_of_a_relaxation_share_one_process_and_survive_its_exits(odd, tmp_path):
    calculator = StoredCalculator(odd.Odd(), tmp_path)
    good, leaves, again = asked("good", "exit_zero", "good")
    good.calc = leaves.calc = again.calc = calculator
    assert good.get_potential_energy() == 0.5
    (first,) = calculator.workers.processes.running
    with pytest.raises(LabelError, match="H2: odd raised SystemExit: 0"):
        leaves.get_potential_energy()
    again.get_potential_energy()
    assert calculator.workers.processes.running == (first,)
    calculator.workers.close()


def test_the_label_that_is_used_is_the_one_that_the_store_keeps(odd, tmp_path, monkeypatch):
    structure, labeller = asked("good")[0], odd.Noisy()
    mine, other = LabelStore(tmp_path), LabelStore(tmp_path)
    compute = importlib.import_module("sparring.labels.store").compute

    def overtaken(labeller, atoms):
        label = compute(labeller, atoms)
        other.put(other.key(atoms, labeller), atoms, compute(labeller, atoms), labeller.depends_on)
        return label

    monkeypatch.setattr("sparring.labels.store.compute", overtaken)
    used, _ = mine.obtain(structure, labeller)
    assert used.energy == other.get(other.key(structure, labeller)).energy


def test_the_record_that_came_first_stays_when_two_write_at_the_same_time(odd, tmp_path, monkeypatch):
    structure, labeller, store = asked("good")[0], odd.Noisy(), LabelStore(tmp_path)
    key = store.key(structure, labeller)
    first, second = labeller(structure), labeller(structure)
    store.put(key, structure, first, labeller.depends_on)
    monkeypatch.setattr(Path, "exists", lambda path: False)
    store.put(key, structure, second, labeller.depends_on)
    assert store.get(key).energy == first.energy


def test_what_no_other_process_can_have_is_computed_here_with_a_line_that_says_so(odd, tmp_path, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labeller = odd.Odd()
    labeller.lock = threading.Lock()
    report = label(asked("exit_zero", "interrupt", "sorts", "scratch"), labeller)
    assert [getattr(result, "reason", None) for result in report.labels] == ["crashed", "crashed", None, None]
    assert caplog.text.count("odd computes in the main process, without limits of time and memory, because it") == 1
    assert not list(tmp_path.iterdir())


SCRIPT = """
import signal, sys
sys.path.insert(0, sys.argv[1])
from test_workers import asked
from odd_labellers import Odd
from sparring.labels import label
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores for all that it starts
if __name__ == "__main__":
    structures = asked("good", "hang", "hang")
    label(structures, Odd(), n_workers=int(sys.argv[2]), progress=lambda done, n: print(done, flush=True))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked up in /proc")
@pytest.mark.parametrize(
    ("number", "n_workers"), [(signal.SIGTERM, 1), (signal.SIGKILL, 2), (signal.SIGHUP, 1), (signal.SIGINT, 2)]
)
def test_a_run_that_is_ended_takes_its_workers_and_their_programs_with_it(tmp_path, number, n_workers):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(Path(__file__).parent), str(n_workers)]
    environment = {**os.environ, "SPARRING_TEST": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if line == b"1\n":
                break
        wanted = f"SPARRING_TEST={tmp_path}".encode()
        deadline = time.monotonic() + 30
        while len(found := _with_environment(wanted)) < 3 + n_workers and time.monotonic() < deadline:
            time.sleep(0.1)  # the programs of the labels that hang
        os.kill(run.pid, number)
        run.wait(10)
    deadline = time.monotonic() + 5
    while any(running(pid) for pid in found) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(found) >= 3 + n_workers
    assert not [pid for pid in found if running(pid)]


def _with_environment(wanted):
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                pids.append(int(folder.name))
        except OSError:
            continue
    return pids


def test_workers_that_write_files_of_the_same_name_do_not_read_each_others(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    code = importlib.import_module("fileio_code")
    (tmp_path / "program.py").write_text(code.PROGRAM)
    monkeypatch.chdir(tmp_path)
    points = EntryPoints([EntryPoint("small", "fileio_code:Small", "sparring.labellers")])
    monkeypatch.setattr(plugins, "entry_points", lambda group: points.select(group=group))
    structures = asked(*["good"] * 6)
    report = label(structures, plugin("small", {"folder": "./"}), n_workers=2)
    for atoms, result in zip(structures, report.labels, strict=True):
        assert isinstance(result, Label), str(result)
        assert result.energy == pytest.approx(0.5 * (atoms.positions**2).sum(), abs=1e-12)
    assert [file.name for file in tmp_path.iterdir()] == ["program.py"]


def test_a_plugin_that_cannot_be_sent_is_made_in_the_worker(monkeypatch, odd):
    points = EntryPoints([EntryPoint("locked", "odd_labellers:Locked", "sparring.labellers")])
    monkeypatch.setattr(plugins, "entry_points", lambda group: points.select(group=group))
    made = plugin("locked")
    assert made(asked("good")[0]).energy == 0.5
    with pytest.raises(ValueError, match=r"cannot be made in a worker process .*unknown labeller 'locked'"):
        label(asked("good"), made)  # the worker does not see the entry point of this test


def test_files_and_folders_of_parameters_do_not_depend_on_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Ni.eam").write_text("potential")
    (tmp_path / "pseudo").mkdir()
    given = {
        "potential": "Ni.eam",
        "pseudo_dir": "pseudo",
        "xc": "pseudo",
        "deep": {"files": ["Ni.eam", "none"]},
        "n": 3,
    }
    found = absolute(given)
    assert found["potential"] == str(tmp_path / "Ni.eam")
    assert found["pseudo_dir"] == str(tmp_path / "pseudo")
    assert found["xc"] == "pseudo"
    assert found["deep"] == {"files": [str(tmp_path / "Ni.eam"), "none"]}
    assert found["n"] == 3
