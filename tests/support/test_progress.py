import atexit
import io

import pytest
from rich.console import Console

from sparring.support import progress
from sparring.support.progress import ProgressBars, no_progress_bars, progress_bars_on

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture
def log():
    """A console that is a file."""
    return Console(file=io.StringIO(), force_terminal=False, width=80)


@pytest.fixture
def terminal():
    return Console(
        file=io.StringIO(), force_terminal=True, force_interactive=True, width=80, _environ={"TERM": "xterm"}
    )


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_no_progress_bars_have_no_output():
    assert no_progress_bars("labelling") is None
    assert isinstance(no_progress_bars, ProgressBars)


def test_a_log_file_gets_a_plain_line_now_and_then(log, clock):
    tick = progress_bars_on(log)("labelling")
    for done in range(101):
        clock[0] += 1.0
        tick(done, 100)
    assert log.file.getvalue() == "labelling: 29 of 100\nlabelling: 59 of 100\nlabelling: 89 of 100\n"


def test_short_work_leaves_no_line_in_a_log_file(log, clock):
    tick = progress_bars_on(log)("labelling")
    for done in range(11):
        tick(done, 10)
    assert log.file.getvalue() == ""


def test_a_terminal_gets_a_bar_that_is_gone_when_the_work_is_done(terminal):
    tick = progress_bars_on(terminal)("training")
    for done in range(3):
        tick(done, 2)
    shown = terminal.file.getvalue()
    assert "training" in shown
    assert "2/2" in shown
    assert shown.rindex(SHOW_CURSOR) > shown.rindex(HIDE_CURSOR)


def test_one_piece_of_work_follows_another(terminal):
    progress_bars = progress_bars_on(terminal)
    for title in ("training", "attack"):
        tick = progress_bars(title)
        tick(0, 1)
        tick(1, 1)
    assert "attack" in terminal.file.getvalue()


def test_nothing_is_shown_of_work_that_never_began(terminal):
    progress_bars_on(terminal)("labelling")
    assert terminal.file.getvalue() == ""


def test_interrupted_work_gives_the_terminal_its_cursor_back(terminal, monkeypatch):
    at_exit = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    progress_bars_on(terminal)("training")(1, 10)
    assert HIDE_CURSOR in terminal.file.getvalue()
    (tidy_up,) = at_exit
    tidy_up()
    assert terminal.file.getvalue().rindex(SHOW_CURSOR) > terminal.file.getvalue().rindex(HIDE_CURSOR)
