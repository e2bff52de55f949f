import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from sparring.support.stopping import (
    SIGNALS,
    Stopped,
    raise_if_stopped,
    stopped_in,
    stopping_by_signals,
    stops_postponed,
)


@pytest.fixture(autouse=True)
def in_a_terminal():
    """Signals do what they do in a terminal, also where these tests run in the background, with Ctrl-C ignored."""
    before = {one: signal.signal(one, signal.SIG_DFL) for one in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for one, handler in before.items():
        signal.signal(one, handler)


def send(number):
    os.kill(os.getpid(), number)


def stopped(work):
    """How the work was stopped by a signal that it has sent."""
    before = [signal.getsignal(one) for one in SIGNALS]
    with pytest.raises(Stopped) as stop, stopping_by_signals():
        work()
    assert [signal.getsignal(one) for one in SIGNALS] == before
    return str(stop.value)


@pytest.mark.parametrize(
    ("number", "name"),
    [(signal.SIGTERM, "SIGTERM"), (signal.SIGUSR1, "SIGUSR1"), (signal.SIGHUP, "SIGHUP"), (signal.SIGINT, "Ctrl-C")],
)
def test_a_signal_stops_the_block_at_once_and_says_which_it_was_and_where(number, name):
    done = []

    def work():
        with stopped_in("the run"), stopped_in("generation 2, training"):
            send(number)
            done.append("too far")

    assert stopped(work) == f"stopped by {name} in generation 2, training"
    assert not done


def test_a_stop_is_no_exception_that_a_labeller_or_a_library_catches():
    def work():
        with suppress(Exception):
            send(signal.SIGTERM)

    assert stopped(work) == "stopped by SIGTERM"


def test_work_that_must_not_be_torn_is_done_before_it_stops():
    done = []

    def work():
        with stops_postponed() as stop:
            with stops_postponed():
                send(signal.SIGTERM)
                done.append(stop.requested)
            done.append("the rest")
        done.append("too far")

    stopped(work)
    assert done == [signal.SIGTERM, "the rest"]


def test_postponed_work_can_stop_where_it_wants_to():
    done = []

    def work():
        with stops_postponed() as stop:
            stop.raise_if_requested()
            done.append("not yet")
            send(signal.SIGUSR1)
            stop.raise_if_requested()
            done.append("too far")

    stopped(work)
    assert done == ["not yet"]


@pytest.mark.parametrize("later", ["the next stage", "the next file"])
def test_a_stop_that_foreign_code_has_swallowed_comes_back(later):
    def work():
        with suppress(BaseException):
            send(signal.SIGTERM)
        if later == "the next stage":
            raise_if_stopped()
        else:
            with stops_postponed():
                pass

    assert stopped(work) == "stopped by SIGTERM"


def test_the_cleaning_up_after_a_stop_may_write_files():
    written = []

    def work():
        try:
            send(signal.SIGTERM)
        finally:
            with stops_postponed():
                written.append("one")
            written.append("two")

    stopped(work)
    assert written == ["one", "two"]


def test_an_ignored_signal_stays_ignored_as_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_by_signals():
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_library_calls_install_no_handler_and_threads_none_either():
    before = [signal.getsignal(one) for one in SIGNALS]
    with stops_postponed() as stop:
        assert stop.requested is None
        assert [signal.getsignal(one) for one in SIGNALS] == before
    seen = []

    def elsewhere():
        with stopping_by_signals():
            seen.extend(signal.getsignal(one) for one in SIGNALS)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == before


TWICE = """
import os, signal, time
from sparring.support.stopping import Stopped, stopping_by_signals

with stopping_by_signals():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except Stopped:
        os.kill(os.getpid(), {second})
        print("together", flush=True)
        time.sleep(0.7)
        os.kill(os.getpid(), {second})
        print("still here", flush=True)
"""


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once_but_not_one_that_was_sent_twice(second):
    program = [sys.executable, "-c", TWICE.format(second=int(second))]
    ended = subprocess.run(program, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + second, "together\n", "")
