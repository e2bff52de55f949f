"""Labels that meet a signal to stop, or a full disk: neither is a failure of the structure."""

import errno
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from sparring.labels import Label, LabelStore, label
from sparring.labels.results import compute
from sparring.support.stopping import SIGNALS, Stopped, stopping_by_signals


class Interrupted:
    """A labeller in whose calculation something else happens."""

    method, version = "interrupted", "1"

    def __init__(self, happens):
        self.happens = happens

    def __call__(self, atoms):
        self.happens()
        return Label(
            energy=0.0, forces=0 * atoms.positions, method="interrupted", version="1", converged=True, wall_time=0.0
        )


def sends_sigterm():
    os.kill(os.getpid(), signal.SIGTERM)


def fails_with(number):
    def fail():
        raise OSError(number, os.strerror(number), "wavefunction.gbw")

    return fail


def test_a_signal_in_the_middle_of_a_label_in_this_process_stops_and_is_no_failed_label(water):
    with pytest.raises(Stopped, match="stopped by SIGTERM"), stopping_by_signals():
        compute(Interrupted(sends_sigterm), water)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_under_a_labeller_is_raised_with_its_file(number, water):
    with pytest.raises(OSError, match=r"wavefunction\.gbw") as error:
        compute(Interrupted(fails_with(number)), water)
    assert error.value.errno == number


def test_a_record_for_which_there_is_no_room_stops_and_the_others_are_kept(water, rattled, tmp_path, monkeypatch):
    structures, store = rattled(water, 3), LabelStore(tmp_path / "labels")
    label(structures[:2], Interrupted(lambda: None), store=store)
    with monkeypatch.context() as patch:
        patch.setenv("SPARRING_FAULT", "store:full")
        patch.setenv("SPARRING_FAULT_PASSAGES", str(tmp_path / "passages"))
        with pytest.raises(OSError, match=r"No space left on device: '.*labels/\w{64}.json'"):
            label(structures, Interrupted(lambda: None), store=store)
    assert len(store) == 2
    assert label(structures, Interrupted(lambda: None), store=store).n_computed == 1


def children():
    """Processes that this one has started."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                yield int(folder.name)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked up in /proc")
def test_workers_and_their_guard_leave_signals_of_a_batch_system_to_the_run(toys, water, tmp_path):
    log, reached = tmp_path / "log", set()

    def send_to_all():
        while not log.exists():
            time.sleep(0.02)
        for pid in children():
            reached.add(pid)
            for number in SIGNALS:
                os.kill(pid, number)

    thread = threading.Thread(target=send_to_all)
    thread.start()
    report = label([water], toys.Harmonic(log=str(log), delays={3: 2.0}))
    thread.join()
    assert len(reached) >= 2
    assert isinstance(report.labels[0], Label)
    assert len(log.read_text().splitlines()) == 1
