"""A run folder belongs to one process, whatever the file system, and whatever is deleted in it."""

import errno
import fcntl
import logging
import os
import platform
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sparring.config import load
from sparring.runs.folder import RunFolder, RunFolderError
from sparring.support.lock import Lock, LockLostError
from sparring.support.owner import owner_in, this_process

ELSEWHERE = "process 17 on node7, since 2026-01-01 00:00:00 (machine another-1, start 5)\n"


def refusing(number, *, folders_only=False):
    flock = fcntl.flock

    def refuse(file, operation):
        if folders_only and not isinstance(file, int):
            return flock(file, operation)
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.fixture(params=[errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.EINVAL], ids=errno.errorcode.get)
def no_locks(request, monkeypatch):
    """A file system that cannot lock, as each says it."""
    monkeypatch.setattr(fcntl, "flock", refusing(request.param))
    return os.strerror(request.param)


@pytest.fixture
def no_folder_locks(monkeypatch):
    """A file system that locks files and no folders, as NFS does."""
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EBADF, folders_only=True))


@pytest.fixture
def dead():
    """A process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return this_process()._replace(pid=process.pid, start=1)


def aged(file, seconds):
    """Make a file as if it was touched some time ago."""
    past = time.time() - seconds
    os.utime(file, (past, past))


# --- file systems without locks -------------------------------------------------------------------------------------


def test_a_file_system_without_locks_is_named_and_the_run_goes_on(no_locks, well_file, tmp_path, caplog):
    config = load(well_file())
    with caplog.at_level(logging.WARNING), RunFolder(tmp_path / "run", config):
        assert owner_in(tmp_path / "run" / "lock.owner")[:2] == (os.getpid(), platform.node())
    assert f"this file system has no locks (flock: {no_locks})" in caplog.text
    assert not (tmp_path / "run" / "lock.owner").exists()


def test_a_second_process_is_refused_there_too(no_locks, well_file, tmp_path):
    config = load(well_file())
    with (
        RunFolder(tmp_path / "run", config),
        pytest.raises(RunFolderError, match=rf"in use by process {os.getpid()} on .*delete lock\.owner if.* s ago"),
        RunFolder(tmp_path / "run", config),
    ):
        pass


def test_what_a_killed_process_of_this_machine_has_left_is_taken_over(no_locks, dead, tmp_path):
    (tmp_path / "lock.owner").write_text(dead.line)
    lock = Lock(tmp_path)
    assert owner_in(tmp_path / "lock.owner").pid == os.getpid()
    lock.close()


def test_a_process_that_has_only_the_number_of_the_owner_is_not_taken_for_it(no_locks, tmp_path):
    (tmp_path / "lock.owner").write_text(this_process()._replace(start=1).line)
    lock = Lock(tmp_path)
    assert owner_in(tmp_path / "lock.owner") == this_process()._replace(since=owner_in(tmp_path / "lock.owner").since)
    lock.close()


def test_what_a_live_process_of_this_machine_has_is_not_taken_over_however_long_it_is_silent(no_locks, tmp_path):
    file = tmp_path / "lock.owner"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as suspended:
        start = int(Path(f"/proc/{suspended.pid}/stat").read_text().rpartition(")")[2].split()[19])
        file.write_text(this_process()._replace(pid=suspended.pid, start=start).line)
        aged(file, 1000)
        with pytest.raises(BlockingIOError, match=rf"is in use by process {suspended.pid} on "):
            Lock(tmp_path)
        suspended.kill()
    Lock(tmp_path).close()


@pytest.mark.parametrize("content", [ELSEWHERE, "", "half a li"])
def test_what_a_process_of_another_machine_has_is_taken_over_after_its_silence_only(content, no_locks, tmp_path):
    file = tmp_path / "lock.owner"
    file.write_text(content)
    aged(file, 170)
    with pytest.raises(BlockingIOError, match=r"is in use by .*wait until it has finished"):
        Lock(tmp_path)
    assert file.read_text() == content
    aged(file, 190)
    lock = Lock(tmp_path)
    assert owner_in(file).pid == os.getpid()
    lock.close()


@pytest.fixture
def eager_threads():
    """Threads that take turns as often as they can, so that each meets the others in the middle of what they do."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.parametrize("left", [["lock.owner"], ["lock.owner", "lock.owner.claim"]], ids=["run", "taking_over"])
def test_of_many_processes_that_find_a_dead_owner_one_takes_over(left, no_locks, eager_threads, dead, tmp_path):
    for attempt in range(5):
        folder, barrier, won, refused = tmp_path / str(attempt), threading.Barrier(8), [], []
        folder.mkdir()
        for name in left:
            (folder / name).write_text(dead.line)

        def take(folder=folder, barrier=barrier, won=won, refused=refused):
            barrier.wait()
            try:
                won.append(Lock(folder))
            except BlockingIOError as error:
                refused.append(error)

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(refused)) == (1, 7)
        assert {file.name for file in folder.iterdir()} == {"lock", "lock.owner"}
        won[0].require()
        won[0].close()


def test_an_owner_whose_file_was_taken_over_stops_before_it_writes(no_locks, tmp_path):
    lock = Lock(tmp_path)
    lock.require()
    (tmp_path / "lock.owner").write_text(ELSEWHERE)
    with pytest.raises(LockLostError, match=r"lock\.owner was deleted or replaced .*stops before it writes more"):
        lock.require()
    lock.close()
    assert (tmp_path / "lock.owner").read_text() == ELSEWHERE


# --- file systems with locks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_another_process_has_is_in_use(number, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    (tmp_path / "lock").write_text("process 12 on somewhere")
    aged(tmp_path / "lock", 42)
    text = r"is in use by process 12 on somewhere; wait .*another --folder\. Its last sign of life came 42 s ago"
    with pytest.raises(BlockingIOError, match=text):
        Lock(tmp_path)


def test_deleting_the_lock_does_not_let_a_second_run_in_and_the_first_writes_it_again(tmp_path):
    lock = Lock(tmp_path, heartbeat=0.02)
    (tmp_path / "lock").unlink()
    with pytest.raises(BlockingIOError, match="is in use by"):
        Lock(tmp_path)
    lock.require()
    assert owner_in(tmp_path / "lock").pid == os.getpid()
    lock.close()
    Lock(tmp_path).close()


def test_where_folders_cannot_be_locked_a_run_whose_lock_was_deleted_stops_before_it_writes(no_folder_locks, tmp_path):
    lock = Lock(tmp_path)
    lock.require()
    (tmp_path / "lock").unlink()
    second = Lock(tmp_path)
    with pytest.raises(LockLostError, match=rf"{re.escape(str(tmp_path))}/lock was deleted or replaced while this"):
        lock.require()
    second.require()
    lock.close()
    second.require()
    second.close()


def test_a_run_whose_folder_was_moved_stops_before_it_writes(tmp_path):
    (tmp_path / "run").mkdir()
    lock = Lock(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "run").mkdir()
    with pytest.raises(LockLostError, match="run was deleted or replaced"):
        lock.require()
    lock.close()


def test_an_owner_gives_signs_of_life_until_it_closes_the_lock(tmp_path):
    lock = Lock(tmp_path, heartbeat=0.02)
    aged(tmp_path / "lock", 100)
    before, deadline = (tmp_path / "lock").stat().st_mtime_ns, time.monotonic() + 10
    while (tmp_path / "lock").stat().st_mtime_ns == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert time.time() - (tmp_path / "lock").stat().st_mtime < 50
    lock.close()
    assert (tmp_path / "lock").read_text() == ""
    assert "sparring-lock" not in [thread.name for thread in threading.enumerate()]


def test_a_free_lock_of_an_owner_on_another_machine_is_watched_and_refused_at_its_first_sign(tmp_path, caplog):
    file = tmp_path / "lock"
    file.write_text(ELSEWHERE)
    sign = threading.Timer(0.3, os.utime, (file,))
    aged(file, 1)
    sign.start()
    with pytest.raises(BlockingIOError, match="is in use by process 17 on node7, since 2026"):
        Lock(tmp_path, silence=60.0)
    sign.join()
    assert "process 17 on node7, since 2026-01-01 00:00:00 may be alive; waiting for at most" in caplog.text


def test_a_free_lock_of_an_owner_on_another_machine_that_stays_silent_is_taken(tmp_path):
    (tmp_path / "lock").write_text(ELSEWHERE)
    Lock(tmp_path, silence=0.3).close()


def test_a_free_lock_of_a_process_that_was_killed_here_is_taken_at_once(dead, tmp_path):
    (tmp_path / "lock").write_text(dead.line)
    Lock(tmp_path, silence=1e9).close()
