"""A run folder belongs to one process, whatever the file system."""

import errno
import fcntl
import logging
import os
import platform
import subprocess
import sys

import pytest

from sparring.config import load
from sparring.runs.folder import RunFolder, RunFolderError
from sparring.support.lock import Lock


def refusing(number):
    def flock(file, operation):
        raise OSError(number, os.strerror(number))

    return flock


@pytest.fixture(params=[errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.EINVAL], ids=errno.errorcode.get)
def no_locks(request, monkeypatch):
    """A file system that cannot lock, as each says it."""
    monkeypatch.setattr(fcntl, "flock", refusing(request.param))
    return os.strerror(request.param)


def test_a_file_system_without_locks_is_named_and_the_run_goes_on(no_locks, well_file, tmp_path, caplog):
    config = load(well_file())
    with caplog.at_level(logging.WARNING), RunFolder(tmp_path / "run", config):
        assert (tmp_path / "run" / "lock.owner").read_text() == f"{os.getpid()} {platform.node()}\n"
    assert f"this file system has no locks (flock: {no_locks})" in caplog.text
    assert not (tmp_path / "run" / "lock.owner").exists()


def test_a_second_process_is_refused_there_too(no_locks, well_file, tmp_path):
    config = load(well_file())
    with (
        RunFolder(tmp_path / "run", config),
        pytest.raises(RunFolderError, match=rf"in use by process {os.getpid()} on .*delete lock\.owner if"),
        RunFolder(tmp_path / "run", config),
    ):
        pass


def test_what_a_killed_process_of_this_machine_has_left_is_taken_over(no_locks, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "lock.owner").write_text(f"{dead.pid} {platform.node()}\n")
    lock = Lock(tmp_path)
    assert (tmp_path / "lock.owner").read_text().startswith(f"{os.getpid()} ")
    lock.close()


@pytest.mark.parametrize("content", ["1 elsewhere\n", "", "half a li"])
def test_what_a_process_of_another_machine_has_is_not(content, no_locks, tmp_path):
    (tmp_path / "lock.owner").write_text(content)
    with pytest.raises(BlockingIOError, match=r"is in use by process .*wait until it has finished"):
        Lock(tmp_path)
    assert (tmp_path / "lock.owner").read_text() == content


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_another_process_has_is_in_use(number, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    (tmp_path / "lock").write_text("process 12 on somewhere")
    with pytest.raises(BlockingIOError, match="is in use by process 12 on somewhere; wait"):
        Lock(tmp_path)
