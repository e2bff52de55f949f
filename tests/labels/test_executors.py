"""One suite for all executors: labels and failures are the same, whatever computes them, and no process is left."""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from ase import Atoms

from sparring.labels import Label, LabelStore, Limits, Workers, label
from sparring.labels.executors import parsl as parsl_module
from sparring.labels.executors.calls import Calls
from sparring.labels.executors.core_hours import BudgetUsedUp, CoreHours, read_core_hours
from sparring.labels.executors.job import Job, compute_label
from sparring.labels.executors.parsl import ParslExecutor
from sparring.labels.executors.restartable import ExecutorError, RestartableExecutor, WorkerLost
from sparring.labels.executors.stop_file import StopFile
from sparring.labels.launch import Died

HERE = Path(__file__).parent
KINDS = ("threads", "processes", "parsl")
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked up in /proc")


def cluster(folder):
    """Parsl on this machine, with two workers also if it has one core."""
    return ParslExecutor(options={"worker_init": "export PARSL_CORES=2"}, folder=folder, n_workers=2)


def pool():
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module")
def odd():
    sys.path.insert(0, str(HERE))
    yield importlib.import_module("odd_labellers")
    sys.path.remove(str(HERE))


def by(*default):
    """A test by these executors, and by all others only with the marker slow."""
    kinds = [pytest.param(one, marks=[] if one in default else pytest.mark.slow) for one in KINDS]
    return pytest.mark.parametrize("executor", kinds, indirect=True)


def outside(*default):
    """The same without threads, which die with this process only."""
    kinds = [pytest.param(one, marks=[] if one in default else pytest.mark.slow) for one in KINDS if one != "threads"]
    return pytest.mark.parametrize("executor", kinds, indirect=True)


@pytest.fixture(scope="module")
def executor(request, odd, tmp_path_factory):
    """An executor that all tests of the module share; it is made again where a test breaks it."""
    folder = tmp_path_factory.mktemp("parsl")
    if request.param == "parsl":
        pytest.importorskip("parsl")
    made = {
        "threads": lambda: ThreadPoolExecutor(2),
        "processes": pool,
        "parsl": lambda: cluster(folder),
    }
    with RestartableExecutor(made[request.param]) as executor:
        yield executor


def asked(*whats):
    """One pair of atoms for each behaviour, no two alike."""
    return [
        Atoms("H2", positions=[[0, 0, 0], [0, 0, 1.0 + 0.01 * i]], info={"do": what}) for i, what in enumerate(whats)
    ]


def outcomes(report):
    return [(one.energy, one.forces.tolist()) if isinstance(one, Label) else one.reason for one in report.labels]


@by(*KINDS)
def test_labels_and_failures_are_those_of_this_machine_and_nothing_is_written_here(
    executor, odd, tmp_path, monkeypatch, capfd
):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    structures = asked("good", "fails_with_files", "leave", "killed", "memory_error", "none", "scratch", "prints")
    report = label(
        structures, odd.Odd(), executor=executor, store=tmp_path / "store", failed=tmp_path / "failed-labels"
    )
    first, raised, left, killed, *_ = report.labels
    assert [one if isinstance(one, str) else "label" for one in outcomes(report)] == [
        *("label", "crashed", "crashed", "crashed", "out_of_memory", "bad_result", "label", "label"),
    ]
    assert first.energy == 0.5
    assert "odd raised RuntimeError: the job failed" in str(raised)
    assert (raised.files / "job.inp").read_text() == "B3LYP def2-SVP"
    assert "ended its process twice (exit code 7), the second time alone; last output: licence has expired" in str(left)
    assert "ended its process twice (signal 9, SIGKILL, as the kernel does when memory runs out)" in str(killed)
    assert report.n_computed == 8
    assert len(LabelStore(tmp_path / "store")) == 3
    assert not list(here.iterdir())
    assert capfd.readouterr().out == ""


@outside()
def test_labels_that_pass_a_limit_are_ended_with_their_programs(executor, odd, tmp_path):
    hung, good = label(asked("hang", "good"), odd.Odd(), executor=executor, limits=Limits(time=2.0)).labels
    grown, fine = label(asked("grow", "good"), odd.Odd(), executor=executor, limits=Limits(memory=4e8)).labels
    assert (hung.reason, grown.reason) == ("timed_out", "out_of_memory")
    assert "took longer than the time limit of 2 s and was ended" in str(hung)
    assert "more than the memory limit of 0.4 GB, and was ended" in str(grown)
    assert isinstance(good, Label)
    assert isinstance(fine, Label)


@by("processes", "parsl")
def test_a_record_is_written_by_the_worker_before_anybody_asks_for_the_result(executor, odd, tmp_path):
    structures, store = asked(*["good"] * 4), LabelStore(tmp_path)
    tasks = {store.key(atoms, odd.Odd()): atoms for atoms in structures}
    with Workers(odd.Odd(), 2, executor=executor) as workers:
        coming = workers.outcomes(tasks, store)
        next(coming)
        deadline = time.monotonic() + 60
        while len(store) < 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(store) == 4
        coming.close()


@by("threads")
def test_neither_executor_nor_workers_nor_the_order_of_ends_change_a_bit(executor, odd, tmp_path):
    structures = asked(*["good"] * 8)
    given = label(structures, odd.Slow(), executor=executor, store=tmp_path / "given")
    here = label(structures[::-1], odd.Slow(), n_workers=4, store=tmp_path / "here")
    assert outcomes(given) == outcomes(here)[::-1]
    assert given.keys == here.keys[::-1]
    for key in given.keys:
        records = [(tmp_path / one / f"{key}.json").read_bytes() for one in ("given", "here")]
        assert records[0] == records[1]


@by("threads", "processes")
def test_a_call_that_is_left_ends_its_labels_within_seconds(executor, odd, tmp_path):
    with Workers(odd.Odd(), 2, executor=executor, limits=Limits(time=500.0)) as workers:
        # An executor need not begin with the first.
        structures = dict(enumerate(asked("good", "hang", *["good"] * 3)))
        coming = workers.outcomes({str(index): atoms for index, atoms in structures.items()}, LabelStore(tmp_path))
        next(coming)
        began = time.monotonic()
        coming.close()
        assert time.monotonic() - began < 10
        assert not list(tmp_path.glob(".stop-*"))
        # All of its workers are free for the next call.
        report = label(asked("good", "sorts"), odd.Odd(), workers=workers)
        assert all(isinstance(one, Label) for one in report.labels)


@LINUX
@outside("processes", "parsl")
def test_a_label_whose_worker_is_killed_with_the_executor_is_computed_again(executor, odd, tmp_path):
    vandal = odd.Vandal(tmp_path / "log", times=1)
    report = label(asked("good", "vandal", "good", "good"), vandal, executor=executor, store=tmp_path / "store")
    assert all(isinstance(one, Label) for one in report.labels), [str(one) for one in report.labels]
    assert (tmp_path / "log").read_text() == "xx"


@LINUX
@outside("processes")
def test_a_label_whose_worker_is_killed_each_time_is_given_up_after_three_more_tries(executor, odd, tmp_path):
    vandal = odd.Vandal(tmp_path / "log", times=100)
    report = label(asked("vandal"), vandal, executor=executor)
    (error,) = report.labels
    assert error.reason == "worker_lost"
    assert "a label is computed again up to 3 times; look for processes or machines that were ended" in str(error)
    assert (tmp_path / "log").read_text() == "xxxx"


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize("executor", ["parsl"], indirect=True)
def test_labels_of_a_block_that_is_lost_are_computed_by_another_block(executor, odd, tmp_path):
    vandal = odd.Vandal(tmp_path / "log", times=1, above=True)
    report = label(asked("vandal", "good"), vandal, executor=executor, store=tmp_path / "store")
    assert all(isinstance(one, Label) for one in report.labels), [str(one) for one in report.labels]
    assert (tmp_path / "log").read_text() == "xx"


# --- the end of the coordinator --------------------------------------------------------------------------------------

SCRIPT = """
import multiprocessing, signal, sys, tempfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_executors import asked, cluster, pool
from odd_labellers import Odd
from sparring.labels import label
signal.signal(signal.SIGINT, signal.default_int_handler)
if __name__ == "__main__":
    made = {"threads": lambda: ThreadPoolExecutor(2), "processes": pool,
            "parsl": lambda: cluster(Path(sys.argv[3]) / "parsl")}
    label(asked("hang", "hang"), Odd(), executor=made[sys.argv[2]], store=Path(sys.argv[3]) / "store")
"""


def started_in(folder):
    """Processes that were started in a folder or know its name; Parsl's interchange hides its environment."""
    wanted, pids = f"SPARRING_TEST={folder}".encode(), []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            state = (one / "stat").read_text().rpartition(")")[2].split()[0]
            known = wanted in (one / "environ").read_bytes().split(b"\0") or os.readlink(one / "cwd") == str(folder)
            if state not in "ZX" and known:
                pids.append(int(one.name))
        except OSError:
            continue
    return pids


def until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def sleepers(pids):
    found = []
    for pid in pids:
        try:
            found += [pid] * ((Path("/proc") / str(pid) / "comm").read_text() == "sleep\n")
        except OSError:
            continue
    return found


@LINUX
@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("processes", signal.SIGKILL),
        ("parsl", signal.SIGKILL),
        ("processes", signal.SIGINT),
        pytest.param("parsl", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("threads", signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param("threads", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_no_process_is_left_when_the_one_that_asks_for_labels_is_ended(tmp_path, kind, number):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(HERE), kind, str(tmp_path)]
    environment = {**os.environ, "SPARRING_TEST": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment, cwd=tmp_path) as run:
        try:
            # The programs that two hanging labels have started.
            assert until(lambda: len(sleepers(started_in(tmp_path))) == 2, 120)
            began = time.monotonic()
            run.send_signal(number)
            run.wait(20)
            assert until(lambda: not started_in(tmp_path), 15), time.monotonic() - began
        finally:
            for pid in started_in(tmp_path):
                os.kill(pid, signal.SIGKILL)
    assert not list((tmp_path / "store").glob("*.json"))


# --- jobs and calls


@LINUX
def test_the_reservation_of_a_label_ends_with_its_process_on_the_machine_of_that_process(odd, tmp_path):
    (structure,), store = asked("leave"), LabelStore(tmp_path)
    key = store.key(structure, odd.Odd())
    with Workers(odd.Odd()) as workers:
        job = Job(key, structure, "odd", workers.processes, store, Limits(), None, StopFile(tmp_path))
        assert isinstance(compute_label(job).result, Died)
    assert not list(tmp_path.iterdir())


def test_losses_count_over_several_calls_for_the_same_label(odd):
    executor = Failing(WorkerLost("switched off"))
    ((name, lost),) = Calls(executor, int, Counter({"a": 3})).answers({"a": 1})
    assert (name, lost.n_tries, lost.for_good) == ("a", 4, False)
    ((_, lost),) = Calls(executor, int).answers({"a": 1})
    assert lost.n_tries == 4


# --- what goes wrong with executors ----------------------------------------------------------------------------------


@LINUX
def test_an_executor_that_cannot_be_made_again_loses_the_rest_with_what_to_do(odd, tmp_path):
    with pool() as executor:
        (error,) = label(asked("vandal"), odd.Vandal(tmp_path / "log", times=100), executor=executor).labels
    assert error.reason == "worker_lost"
    assert "the executor cannot be used any more; give a function that makes one" in str(error)


class Failing(Executor):
    """Fails with one error."""

    def __init__(self, error):
        self.error = error

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_exception(self.error)
        return future


def test_an_executor_that_cannot_run_our_code_ends_the_call_with_its_error(odd):
    told = r"the executor failed \(ImportError: No module named 'sparring'\). Look whether its processes can import"
    with pytest.raises(ExecutorError, match=told):
        label(asked("good"), odd.Odd(), executor=Failing(ImportError("No module named 'sparring'")))


def test_parsl_that_is_not_installed_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "parsl", None)
    with pytest.raises(ModuleNotFoundError, match=r"need the package parsl: pip install 'sparring\[cluster\]'"):
        ParslExecutor(folder=tmp_path)


def test_scripts_of_parsl_that_are_not_found_are_named(monkeypatch, tmp_path):
    pytest.importorskip("parsl")
    monkeypatch.setattr(parsl_module.shutil, "which", lambda name, path: None)
    with pytest.raises(ExecutorError, match=r"script process_worker_pool.py is neither in .* nor on PATH; install"):
        ParslExecutor(folder=tmp_path)


@pytest.mark.slow
def test_blocks_that_fail_end_the_call_with_their_output(odd, tmp_path):
    pytest.importorskip("parsl")
    failing = {"worker_init": "echo no such module: orca >&2; exit 3"}
    told = r"the blocks of the batch system fail; look at the provider in the resources file .*no such module: orca"
    with pytest.raises(ExecutorError, match=told):
        label(asked("good"), odd.Odd(), executor=lambda: ParslExecutor(options=failing, folder=tmp_path))


# --- core hours ------------------------------------------------------------------------------------------------------


def test_core_hours_are_counted_with_threads_and_failures_and_end_a_call(odd, tmp_path):
    file = tmp_path / "core_hours.json"
    account = CoreHours(file, budget=0.5 / 3600)
    with Workers(odd.Slow(), 1, threads=2, core_hours=account, limits=Limits(time=2.0)) as workers:
        with pytest.raises(BudgetUsedUp, match=r"core hours .*core_hours.json\), and the budget is .* Raise `budget`"):
            label(asked(*["good"] * 12), odd.Slow(), store=tmp_path / "store", workers=workers)
        n_stored = len(LabelStore(tmp_path / "store"))
        assert 0 < n_stored < 12
        with pytest.raises(BudgetUsedUp):
            label(asked(*["good"] * 12), odd.Slow(), store=tmp_path / "store", workers=workers)
    assert len(LabelStore(tmp_path / "store")) == n_stored
    hours, n_labels = read_core_hours(file)
    assert n_labels == n_stored
    assert hours >= 0.5 / 3600
    # Another process goes on counting, and labels that fail cost, too.
    again = CoreHours(file)
    assert again.used == pytest.approx(hours, abs=1e-6)
    with Workers(odd.Odd(), 1, core_hours=again, limits=Limits(time=1.0)) as workers:
        label(asked("hang"), odd.Odd(), workers=workers)
    assert read_core_hours(file) == (pytest.approx(hours + 1.0 / 3600, abs=0.5 / 3600), n_stored + 1)


@pytest.mark.parametrize("content", ["", "{}", '{"core_seconds": 5.0, "n_labels": 1, "sha256": "0"}'])
def test_a_damaged_account_of_core_hours_is_named(tmp_path, content):
    file = tmp_path / "core_hours.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"core_hours.json .*; delete it, and core hours are counted from zero"):
        CoreHours(file)


def test_threads_of_a_label_are_told_to_its_process(toys, tmp_path):
    label([Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]])], toys.Harmonic(log=tmp_path / "log"), threads=3)
    assert (tmp_path / "log").read_text().split()[-1] == "3"
