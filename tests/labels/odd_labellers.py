"""Labellers with the manners of real codes. What one does is told by ``atoms.info["do"]``."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from sparring.labels import Label


def truth(atoms, **given):
    """The label that a well-behaved labeller gives."""
    own = {"energy": float(0.5 * (atoms.positions**2).sum()), "forces": -atoms.positions, "converged": True}
    return Label(**{**own, "method": "odd", "version": "odd 1", "wall_time": 0.0, **given})


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Odd:
    method, version = "odd", "odd 1"
    depends_on = ("do",)

    def __call__(self, atoms):
        return getattr(self, atoms.info.get("do", "good"))(atoms)

    def good(self, atoms):
        return truth(atoms)

    # Results that are no labels.
    def none(self, atoms):
        return None

    def pair(self, atoms):
        return 1.0, -atoms.positions

    def mapping(self, atoms):
        return {"energy": 1.0, "forces": -atoms.positions}

    def text(self, atoms):
        return truth(atoms, energy="-1.5")

    def complex_energy(self, atoms):
        return truth(atoms, energy=1.0 + 1j)

    def true_energy(self, atoms):
        return truth(atoms, energy=True)

    def two_energies(self, atoms):
        return truth(atoms, energy=np.array([1.0, 2.0]))

    def no_energy(self, atoms):
        return truth(atoms, energy=None)

    def ragged(self, atoms):
        return truth(atoms, forces=[[0.0, 0.0, 0.0], [0.0]])

    def too_few(self, atoms):
        return truth(atoms, forces=np.zeros((1, 3)))

    def flat(self, atoms):
        return truth(atoms, forces=np.zeros(3 * len(atoms)))

    def masked(self, atoms):
        return truth(atoms, forces=np.ma.masked_greater(np.ones((len(atoms), 3)), 0))

    def objects(self, atoms):
        return truth(atoms, forces=np.full((len(atoms), 3), None))

    def stress_text(self, atoms):
        return truth(atoms, stress="hydrostatic")

    def stress_lopsided(self, atoms):
        return truth(atoms, stress=np.arange(9.0).reshape(3, 3))

    def another(self, atoms):
        return truth(atoms, method="even")

    def maybe(self, atoms):
        return truth(atoms, converged="yes")

    def unpicklable(self, atoms):
        return truth(atoms, energy=threading.Lock())

    # Results that are meant well.
    def lists(self, atoms):
        return truth(atoms, energy=np.array([[0.25]]), forces=(-atoms.positions).tolist(), stress=np.eye(3).tolist())

    def single(self, atoms):
        return truth(atoms, energy=np.float32(0.5), forces=np.float32(-atoms.positions), converged=np.bool_(True))

    # Failures.
    def exit_zero(self, atoms):
        sys.exit(0)

    def interrupt(self, atoms):
        raise KeyboardInterrupt

    def generator_exit(self, atoms):
        raise GeneratorExit

    def memory_error(self, atoms):
        raise MemoryError("no room for integrals")

    def strange_error(self, atoms):
        class Strange(Exception):
            def __init__(self):
                self.lock = threading.Lock()

            def __str__(self):
                raise RuntimeError("not even its text")

        raise Strange

    def nan(self, atoms):
        return truth(atoms, energy=np.nan)

    # What ends the process.
    def leave(self, atoms):
        say("licence has expired")
        os._exit(7)

    def abort(self, atoms):
        os.write(2, b"forrtl: severe (174)\n")
        os.abort()

    def segfault(self, atoms):
        ctypes.string_at(0)

    def killed(self, atoms):
        os.kill(os.getpid(), signal.SIGKILL)

    def leave_with_a_fork(self, atoms):
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(7)

    # What never comes back.
    def hang(self, atoms):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sleep", "1000"])
        time.sleep(1000)

    def grow(self, atoms):
        self.kept = np.ones(2**26)
        time.sleep(1000)

    # Manners.
    def sorts(self, atoms):
        order = np.argsort(-atoms.positions[:, 2])
        atoms.positions[:] = atoms.positions[order]
        return truth(atoms)

    def prints(self, atoms):
        say("SCF iteration\n" * 200_000)
        os.write(1, b"fortran says hello\n")
        return truth(atoms)

    def closes(self, atoms):
        sys.stdout.close()
        os.close(1)
        os.close(2)
        return truth(atoms)

    def wanders(self, atoms):
        os.chdir("/")
        return truth(atoms)

    def forks(self, atoms):
        os.fork()
        return truth(atoms)

    def scratch(self, atoms):
        """Writes a file of a fixed name where it is started, and reads it back."""
        np.save("scratch.npy", atoms.positions)
        time.sleep(0.05)
        atoms.positions = np.load("scratch.npy")
        return truth(atoms)

    def fails_with_files(self, atoms):
        Path("job.inp").write_text("B3LYP def2-SVP")
        say("basis set is linearly dependent")
        raise RuntimeError("the job failed")


class Noisy(Odd):
    """Gives another energy each time."""

    def good(self, atoms):
        return truth(atoms, energy=time.perf_counter())


class DiesAtStart(Odd):
    """Cannot be loaded, as a library that aborts."""

    def __init__(self, log):
        self.log = log

    def __setstate__(self, state):
        with Path(state["log"]).open("a") as file:
            file.write("start\n")
        say("libmpi: cannot open display")
        os._exit(9)


class Moody(Odd):
    """Does what is written in a file."""

    def __init__(self, file):
        self.file = file

    def __call__(self, atoms):
        mood, _, which = Path(self.file).read_text().partition(" of ")
        this = repr(float(atoms.positions[0, 0]))
        if which == "the first":
            Path(self.file).write_text(f"{mood} of {this}")
        return getattr(self, mood if which in ("", "the first", this) else "good")(atoms)


class Slow(Odd):
    """Takes a time that is another one for each structure, in no order."""

    def good(self, atoms):
        time.sleep(0.3 * (1000 * atoms.positions[-1, -1] * np.pi % 1))
        return truth(atoms)


class Vandal(Odd):
    """Kills the process that supervises its own, or the one above that, as many times as it is told."""

    def __init__(self, log, times, above=False):
        self.log, self.times, self.above = str(log), times, above

    def vandal(self, atoms):
        with Path(self.log).open("a") as file:
            file.write("x")
        if len(Path(self.log).read_text()) <= self.times:
            victim = os.getppid()
            if self.above:
                victim = int(Path(f"/proc/{victim}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(victim, signal.SIGKILL)
            time.sleep(1000)
        return truth(atoms)


class Locked(Odd):
    """Holds what no other process can have."""

    def __init__(self):
        self.lock = threading.Lock()
