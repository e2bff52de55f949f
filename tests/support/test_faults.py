import os
import signal
import subprocess
import sys

import pytest

from sparring.support.faults import FAULTS, PASSAGES, POINTS, VARIABLE, InjectedFault, fault_point, requested_fault


@pytest.fixture(autouse=True)
def passages(monkeypatch, tmp_path):
    """Passages are counted anew in each test."""
    monkeypatch.setenv(PASSAGES, str(tmp_path / "passages"))


def test_nothing_happens_where_nothing_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    with fault_point("store", tmp_path / "a"):
        fault_point("label")
    assert not list(tmp_path.iterdir())


def test_an_exception_comes_at_the_passage_that_was_asked_for_and_at_no_other(monkeypatch):
    monkeypatch.setenv(VARIABLE, "label:raise:3")
    for _ in range(2):
        fault_point("label")
        fault_point("store")
    with pytest.raises(InjectedFault, match="an exception before a label is computed, as SPARRING_FAULT=label:raise:3"):
        fault_point("label")
    fault_point("label")


def test_a_full_disk_names_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "store:full")
    with pytest.raises(OSError, match=r"No space left on device: '.*record.json'"):
        fault_point("store", tmp_path / "record.json")


def test_one_bit_of_the_file_is_flipped_once_it_is_written(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "commit:corrupt")
    file = tmp_path / "manifest.json"
    with fault_point("commit", file):
        file.write_bytes(b"abcde")
    assert file.read_bytes() == b"abbde"


PROGRAM = """
from sparring.support.faults import fault_point
print("before", flush=True)
fault_point("executor")
fault_point("executor")
"""


def test_a_killed_process_is_killed_and_processes_count_together(monkeypatch):
    monkeypatch.setenv(VARIABLE, "executor:kill:4")
    codes = [subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.DEVNULL).returncode for _ in range(3)]
    assert codes == [0, -signal.SIGKILL, 0]


def test_a_process_that_hangs_can_be_killed(monkeypatch):
    monkeypatch.setenv(VARIABLE, "executor:hang")
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "before\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.terminate()
        assert process.wait() == -signal.SIGTERM


def test_the_file_of_passages_is_made_where_there_is_none_and_is_gone_at_the_end(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != PASSAGES}
    environment |= {VARIABLE: "executor:raise:9", "TMPDIR": str(tmp_path)}
    program = f"{PROGRAM}import os; print(os.listdir({str(tmp_path)!r}))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert "sparring-passages-" in ended.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stroe:kill", r"SPARRING_FAULT=stroe:kill: 'stroe' is not known, did you mean 'store'\?; wanted point:fault"),
        ("store:fail", r"'fail' is not known.*and the faults kill, raise, hang, corrupt, full"),
        ("store", r"'' is not known"),
        ("store:kill:0", r"the count must be a number from 1 on, got '0'"),
        ("store:kill:two", r"the count must be a number from 1 on, got 'two'"),
        ("store:kill:1:2", r"the count must be a number from 1 on"),
        ("label:corrupt", r"label writes no file that could be damaged; take one of store, checkpoint, commit"),
    ],
)
def test_a_wrong_request_is_refused_with_what_is_allowed(text, message, monkeypatch):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ValueError, match=message):
        requested_fault()


def test_points_and_faults_are_those_of_the_documentation():
    assert list(POINTS) == ["store", "checkpoint", "commit", "label", "executor"]
    assert list(FAULTS) == ["kill", "raise", "hang", "corrupt", "full"]
