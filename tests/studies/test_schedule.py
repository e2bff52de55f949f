"""Work in pieces: in order, each once, whoever else is at it and whatever fails."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture
def piece(schedule, tmp_path):
    """A piece that leaves a file, and notes when it was done."""

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

        return schedule.Piece(name=name, done=file.exists, ready=ready, do=do)

    return make


def order(tmp_path):
    file = tmp_path / "order.txt"
    return file.read_text().split() if file.exists() else []


def test_pieces_are_done_in_order_but_not_before_they_are_ready(schedule, piece, tmp_path):
    pieces = [piece("last", needs="second"), piece("first"), piece("second", needs="first"), piece("other")]
    outcome = schedule.work(pieces, tmp_path / "claims", announce=lambda line: None)
    assert order(tmp_path) == ["first", "second", "last", "other"]
    assert outcome == (("first", "second", "last", "other"), (), {})


def test_what_is_done_is_not_done_again(schedule, piece, tmp_path):
    for _ in range(2):
        outcome = schedule.work([piece("one")], tmp_path / "claims", announce=lambda line: None)
    assert order(tmp_path) == ["one"]
    assert outcome.done == ()


def test_a_piece_that_fails_stops_no_other_and_is_reported(schedule, piece, tmp_path):
    said = []
    pieces = [piece("bad", fails=ValueError("no such thing")), piece("good"), piece("after", needs="bad")]
    outcome = schedule.work(pieces, tmp_path / "claims", announce=said.append)
    assert outcome.done == ("good",)
    assert outcome.failed == {"bad": "ValueError: no such thing"}
    assert outcome.waiting == ("after",)
    assert "no such thing" in said[0]


def test_a_piece_that_is_busy_waits_and_is_no_failure(schedule, piece, tmp_path):
    pieces = [piece("busy", fails=schedule.Busy("in use")), piece("good")]
    outcome = schedule.work(pieces, tmp_path / "claims", announce=lambda line: None)
    assert (outcome.done, outcome.waiting, outcome.failed) == (("good",), ("busy",), {})


def test_patience_waits_for_what_others_compute(schedule, piece, tmp_path):
    late = threading.Timer(0.2, (tmp_path / "theirs.done").touch)
    late.start()
    outcome = schedule.work(
        [piece("mine", needs="theirs")], tmp_path / "claims", announce=lambda line: None, patience=30.0, pause=0.05
    )
    late.join()
    assert outcome.done == ("mine",)


def test_two_workers_share_the_work_and_do_nothing_twice(schedule, piece, tmp_path):
    names = [f"piece/{number}" for number in range(8)]
    (tmp_path / "piece").mkdir()
    outcomes = []

    def work():
        pieces = [piece(name, takes=0.05) for name in names]
        outcomes.append(schedule.work(pieces, tmp_path / "claims", announce=lambda line: None, patience=5, pause=0.02))

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(order(tmp_path)) == names
    assert all(outcome.done for outcome in outcomes)


def test_the_claim_of_a_process_that_was_killed_is_free_again(schedule, piece, tmp_path):
    program = (
        "import os, signal, sys, pathlib; sys.path.insert(0, sys.argv[1]); import schedule\n"
        "die = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        "one = schedule.Piece(name='one', done=lambda: False, ready=lambda: True, do=die)\n"
        "schedule.work([one], pathlib.Path(sys.argv[2]))\n"
    )
    claims = tmp_path / "claims"
    killed = subprocess.run([sys.executable, "-c", program, str(STUDIES), str(claims)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert os.listdir(claims) == ["one.lock"]
    assert schedule.work([piece("one")], claims, announce=lambda line: None).done == ("one",)


def test_what_is_left_can_be_listed_before_it_is_carried_out(schedule, piece, tmp_path, capsys):
    pieces = [piece("one"), piece("two", needs="one"), piece("bad", fails=ValueError("no")), piece("late", needs="bad")]
    assert schedule.carry_out(pieces, tmp_path / "claims", only_list=True) == 0
    assert order(tmp_path) == []
    assert capsys.readouterr().out == "one\ntwo (not ready)\nbad\nlate (not ready)\n4 of 4 pieces left\n"
    assert schedule.carry_out(pieces, tmp_path / "claims") == 1
    assert order(tmp_path) == ["one", "two"]
    assert capsys.readouterr().out.endswith("2 done here, 1 waiting, 1 failed\n")
