"""Jobs: in order, each once, also beside other processes and after failures."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def job(jobs, tmp_path):
    """A job that leaves a file, and notes when it was done."""

    def make(name, *, done_by=None, needs=None, fails=None, takes=0.0):
        file = tmp_path / f"{name}.done"

        def do():
            if fails:
                raise fails
            time.sleep(takes)
            with (tmp_path / "order.txt").open("a") as order:
                order.write(f"{name}\n")
            file.touch()

        def ready():
            return needs is None or (tmp_path / f"{needs}.done").exists()

        return jobs.Job(name=name, done=file.exists, ready=ready, do=do)

    return make


def order(tmp_path):
    file = tmp_path / "order.txt"
    return file.read_text().split() if file.exists() else []


def test_jobs_are_done_in_order_but_not_before_they_are_ready(jobs, job, tmp_path):
    todo = [job("last", needs="second"), job("first"), job("second", needs="first"), job("other")]
    outcome = jobs.run_jobs(todo, tmp_path / "locks", log=lambda line: None)
    assert order(tmp_path) == ["first", "second", "last", "other"]
    assert outcome == (("first", "second", "last", "other"), (), {})


def test_what_is_done_is_not_done_again(jobs, job, tmp_path):
    for _ in range(2):
        outcome = jobs.run_jobs([job("one")], tmp_path / "locks", log=lambda line: None)
    assert order(tmp_path) == ["one"]
    assert outcome.done == ()


def test_a_job_that_fails_stops_no_other_and_is_reported(jobs, job, tmp_path):
    said = []
    todo = [job("bad", fails=ValueError("no such thing")), job("good"), job("after", needs="bad")]
    outcome = jobs.run_jobs(todo, tmp_path / "locks", log=said.append)
    assert outcome.done == ("good",)
    assert outcome.failed == {"bad": "ValueError: no such thing"}
    assert outcome.waiting == ("after",)
    assert "no such thing" in said[0]


def test_a_job_that_is_busy_waits_and_is_no_failure(jobs, job, tmp_path):
    todo = [job("busy", fails=jobs.Busy("in use")), job("good")]
    outcome = jobs.run_jobs(todo, tmp_path / "locks", log=lambda line: None)
    assert (outcome.done, outcome.waiting, outcome.failed) == (("good",), ("busy",), {})


def test_patience_waits_for_what_others_compute(jobs, job, tmp_path):
    late = threading.Timer(0.2, (tmp_path / "theirs.done").touch)
    late.start()
    outcome = jobs.run_jobs(
        [job("mine", needs="theirs")], tmp_path / "locks", log=lambda line: None, patience=30.0, pause=0.05
    )
    late.join()
    assert outcome.done == ("mine",)


def test_two_workers_share_the_work_and_do_nothing_twice(jobs, job, tmp_path):
    names = [f"job/{number}" for number in range(8)]
    (tmp_path / "job").mkdir()
    outcomes = []

    def work():
        todo = [job(name, takes=0.05) for name in names]
        outcomes.append(jobs.run_jobs(todo, tmp_path / "locks", log=lambda line: None, patience=5, pause=0.02))

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(order(tmp_path)) == names
    assert all(outcome.done for outcome in outcomes)


def test_the_lock_of_a_process_that_was_killed_is_free_again(jobs, job, tmp_path):
    program = (
        "import os, signal, sys, pathlib; sys.path.insert(0, sys.argv[1]); from studies.common import jobs\n"
        "die = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        "one = jobs.Job(name='one', done=lambda: False, ready=lambda: True, do=die)\n"
        "jobs.run_jobs([one], pathlib.Path(sys.argv[2]))\n"
    )
    locks = tmp_path / "locks"
    killed = subprocess.run([sys.executable, "-c", program, str(ROOT), str(locks)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert os.listdir(locks) == ["one.lock"]
    assert jobs.run_jobs([job("one")], locks, log=lambda line: None).done == ("one",)


def test_what_is_left_can_be_listed_before_it_is_run(jobs, job, tmp_path, capsys):
    todo = [job("one"), job("two", needs="one"), job("bad", fails=ValueError("no")), job("late", needs="bad")]
    assert jobs.run_all(todo, tmp_path / "locks", only_list=True) == 0
    assert order(tmp_path) == []
    assert capsys.readouterr().out == "one\ntwo (not ready)\nbad\nlate (not ready)\n4 of 4 jobs left\n"
    assert jobs.run_all(todo, tmp_path / "locks") == 1
    assert order(tmp_path) == ["one", "two"]
    assert capsys.readouterr().out.endswith("2 done here, 1 waiting, 1 failed\n")
