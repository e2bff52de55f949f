"""Commands whose terminal or reader goes away."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest


@pytest.fixture
def command(well_file, tmp_path):
    config = well_file({"training.n_epochs": 100_000})
    return [sys.executable, "-m", "sparring.cli", "run", str(config), "--folder", str(tmp_path / "run")]


def wait_for_training(process, folder):
    end = time.monotonic() + 300.0
    while "data" not in stages(folder):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.5)


def stages(folder):
    manifest = folder / "generation-01" / "manifest.json"
    return manifest.read_text() if manifest.exists() else ""


@pytest.mark.slow
def test_a_terminal_that_is_closed_stops_the_run_without_a_traceback(command, tmp_path):
    errors = tmp_path / "errors.txt"
    master, slave = pty.openpty()
    with errors.open("w") as file:
        # Python's own messages at its end would come here.
        process = subprocess.Popen(
            ["sh", "-c", 'exec "$@" 2>&1', "sh", *command],
            stdin=slave,
            stdout=slave,
            stderr=file,
            start_new_session=True,
        )
    os.close(slave)
    wait_for_training(process, tmp_path / "run")
    os.close(master)
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 5
    assert errors.read_text() == ""
    assert list((tmp_path / "run" / "generation-01" / "checkpoints").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_from_outside_stop_a_run_within_seconds(number, command, tmp_path):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for_training(process, tmp_path / "run")
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 5
    name = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}[number]
    kept = "what was finished is kept, and the same command goes on from there"
    assert " ".join(output.split()).endswith(f"stopped by {name} in generation 1, training; {kept}")
