"""Labellers that give almost a label, or fail in almost a way. What one does is told by ``atoms.info["do"]``."""

import asyncio
import datetime
import os
import shutil
import sys
import threading
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np

from sparring.labels import Label, LabelError


def truth(atoms, **given):
    own = {"energy": 1.5, "forces": np.zeros((2, 3)), "converged": True, "method": "strange", "version": "strange 1"}
    return Label(**{**own, "wall_time": 0.0, **given})


class Hostile(Label):
    """A label that cannot be read."""

    def __getattribute__(self, name):
        if name == "energy":
            raise RuntimeError("the file of the energy is gone")
        return super().__getattribute__(name)


class Unshowable:
    def __repr__(self):
        raise RuntimeError("no words")


class NoArray:
    def __array__(self, dtype=None, copy=None):
        raise SystemExit(4)


class Silent(Exception):
    def __str__(self):
        return 7


class Unsendable(Exception):
    def __init__(self, needed, lock):
        super().__init__(needed)
        self.lock = lock


class Hollow(LabelError):
    def __init__(self):
        Exception.__init__(self)


def deep(atoms):
    return deep(atoms)


def raises(error):
    def act(atoms):
        raise error if isinstance(error, BaseException) else error()

    return act


def gives(**fields):
    return lambda atoms: truth(atoms, **fields)


def returns(make):
    return lambda atoms: make()


async def later():
    return None


def shrinks(atoms):
    del atoms[0]
    return truth(atoms, forces=np.zeros((1, 3)))


def masked_energy(atoms):
    return truth(atoms, energy=np.ma.masked)


def removes_its_folder_and_fails(atoms):
    shutil.rmtree(os.getcwd())
    raise OSError("No such file or directory: 'job.out'")


def strict_warnings(atoms):
    warnings.simplefilter("error")
    np.seterr(all="raise")
    raise FloatingPointError("underflow in the integrals")


def leaves_a_thread(atoms):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    raise RuntimeError("the pool is exhausted")


def closes_everything(atoms):
    sys.stdout.close()
    sys.stderr.close()
    raise RuntimeError("nothing to print to")


def floods(atoms):
    sys.stdout.write("x" * 5_000_000)
    raise RuntimeError("y" * 1_000_000)


# What it does, the reason that is counted, and words of the message.
BAD = {
    "number": (returns(lambda: -1.5), "gave -1.5, wanted a Label with energy, forces"),
    "array": (returns(lambda: np.zeros((2, 3))), "gave array([[0., 0., 0.]"),
    "class": (returns(lambda: Label), "gave <class 'sparring.labels.base.Label'>"),
    "generator": (returns(lambda: (i for i in range(3))), "gave <generator object"),
    "coroutine": (returns(lambda: asyncio.sleep), "gave <function sleep"),
    "string": (returns(lambda: "E = -1.5"), "gave 'E = -1.5'"),
    "list": (returns(lambda: [1.5, [[0, 0, 0]] * 2]), "gave [1.5, [[0, 0, 0]"),
    "set": (returns(lambda: {1.5}), "gave {1.5}"),
    "exception": (returns(lambda: LabelError("force", "too steep")), "gave LabelError"),
    "unshowable": (returns(Unshowable), "gave a Unshowable, wanted a Label"),
    "hostile": (lambda atoms: Hostile(**vars(truth(atoms))), "to read it raised RuntimeError: the file of the energy"),
    "energy decimal": (gives(energy=Decimal("1.5")), "energy = Decimal('1.5'), wanted one real number in eV"),
    "energy fraction": (gives(energy=Fraction(3, 2)), "energy = Fraction(3, 2)"),
    "energy huge": (gives(energy=10**400), "wanted one real number in eV"),
    "energy bool": (gives(energy=np.bool_(True)), "wanted one real number in eV"),
    "energy none": (gives(energy=None), "energy = None"),
    "energy text": (gives(energy="1.5"), "energy = '1.5'"),
    "energy bytes": (gives(energy=b"1.5"), "energy = b'1.5'"),
    "energy complex": (gives(energy=1.5 + 0j), "energy = (1.5+0j)"),
    "energy empty": (gives(energy=np.array([])), "energy of shape (0,)"),
    "energy two": (gives(energy=[1.0, 2.0]), "energy of shape (2,)"),
    "energy masked": (masked_energy, "energy = masked"),
    "energy date": (gives(energy=datetime.date(2000, 1, 1)), "energy = datetime.date(2000, 1, 1)"),
    "energy function": (gives(energy=len), "energy = <built-in function len>"),
    "energy no array": (gives(energy=NoArray()), "to read it raised SystemExit: 4"),
    "forces none": (gives(forces=None), "forces = None, wanted real numbers in eV/Å"),
    "forces number": (gives(forces=0.0), "forces of shape (), wanted (2, 3) in eV/Å"),
    "forces nan text": (gives(forces=[["nan", "0", "0"]] * 2), "forces = [['nan', '0', '0']"),
    "forces objects": (gives(forces=np.zeros((2, 3), dtype=object)), "forces = array([[0, 0, 0]"),
    "forces bool": (gives(forces=np.zeros((2, 3), dtype=bool)), "forces = array([[False"),
    "forces complex": (gives(forces=np.zeros((2, 3), dtype=complex)), "forces = array([[0.+0.j"),
    "forces dates": (gives(forces=np.zeros((2, 3), dtype="datetime64[s]")), "wanted real numbers in eV/Å"),
    "forces ragged": (gives(forces=[[0.0] * 3, [0.0] * 2]), "forces = [[0.0, 0.0, 0.0], [0.0, 0.0]]"),
    "forces transposed": (gives(forces=np.zeros((3, 2))), "forces of shape (3, 2), wanted (2, 3)"),
    "forces one more": (gives(forces=np.zeros((3, 3))), "forces of shape (3, 3), wanted (2, 3)"),
    "forces batch": (gives(forces=np.zeros((1, 2, 3))), "forces of shape (1, 2, 3), wanted (2, 3)"),
    "forces mapping": (gives(forces={0: [0, 0, 0]}), "forces = {0: [0, 0, 0]}"),
    "forces masked": (gives(forces=np.ma.masked_all((2, 3))), "forces = masked_array"),
    "forces of a smaller structure": (shrinks, "forces of shape (1, 3), wanted (2, 3)"),
    "stress text": (gives(stress="0 0 0 0 0 0"), "stress = '0 0 0 0 0 0', wanted six real numbers"),
    "stress lopsided": (gives(stress=np.arange(9.0).reshape(3, 3)), "a stress that is not symmetric"),
    "stress nine": (gives(stress=np.zeros(9)), "stress of shape (9,), wanted (6,)"),
    "stress complex": (gives(stress=np.zeros(6) + 0j), "stress = array("),
    "stress false": (gives(stress=False), "stress = False"),
    "method": (gives(method="another"), "a label by 'another' (strange 1); labels must carry"),
    "method none": (gives(method=None), "a label by None (strange 1)"),
    "method array": (gives(method=np.array(["strange", "strange"])), "labels must carry the labeller's own"),
    "version number": (gives(version=1), "a label by 'strange' (1)"),
    "converged text": (gives(converged="no"), "converged = 'no', wanted True or False"),
    "converged none": (gives(converged=None), "converged = None"),
    "converged seven": (gives(converged=7), "converged = 7"),
    "converged array": (gives(converged=np.array([True, False])), "converged = array("),
    "wall_time nan": (gives(wall_time=float("nan")), "wall_time = nan, wanted a number of seconds"),
    "wall_time none": (gives(wall_time=None), "wall_time = None"),
    "wall_time text": (gives(wall_time="00:01:30"), "wall_time = '00:01:30'"),
}
FAILS = {
    "exit": (raises(SystemExit(3)), "crashed", "strange raised SystemExit: 3"),
    "interrupt": (raises(KeyboardInterrupt()), "crashed", "strange raised KeyboardInterrupt"),
    "generator exit": (raises(GeneratorExit()), "crashed", "strange raised GeneratorExit"),
    "base exception": (raises(BaseException("why not")), "crashed", "strange raised BaseException: why not"),
    "cancelled": (raises(asyncio.CancelledError()), "crashed", "strange raised CancelledError"),
    "stop iteration": (raises(StopIteration(4)), "crashed", "strange raised StopIteration: 4"),
    "group": (raises(ExceptionGroup("two", [ValueError("a"), KeyError("b")])), "crashed", "raised ExceptionGroup: two"),
    "recursion": (deep, "crashed", "strange raised RecursionError: maximum recursion depth"),
    "memory": (raises(MemoryError()), "out_of_memory", "strange ran out of memory"),
    "silent": (raises(Silent()), "crashed", "strange raised Silent"),
    "unsendable": (raises(Unsendable("a lock", threading.Lock())), "crashed", "strange raised Unsendable: a lock"),
    "surrogate": (raises(OSError("no file \udcff")), "crashed", "no file \\udcff"),
    "terminal": (raises(ValueError("\x1b[2Jall gone\r\0")), "crashed", "ValueError: \\x1b[2Jall gone\\r\\x00"),
    "element": (
        raises(NotImplementedError("no parameters for Og")),
        "bad_input",
        "does not take this structure: no par",
    ),
    "own reason": (raises(LabelError("bad_input", "no spin")), "bad_input", "no spin"),
    "no such reason": (raises(lambda: LabelError("weather", "too hot")), "crashed", "too hot"),
    "reason array": (raises(lambda: LabelError(np.zeros(2), "two reasons")), "crashed", "two reasons"),
    "message object": (raises(lambda: LabelError("force", Unshowable())), "force", "the labeller gave no reason"),
    "hollow": (raises(Hollow()), "crashed", "the labeller gave no reason"),
    "assertion": (raises(AssertionError()), "crashed", "strange raised AssertionError"),
    "energy nan": (gives(energy=float("nan")), "not_finite", "an energy or a force that is not finite"),
    "energy infinite": (gives(energy=np.longdouble("1e4000")), "not_finite", "not finite"),
    "force infinite": (gives(forces=np.full((2, 3), np.inf)), "not_finite", "not finite"),
    "stress nan": (gives(stress=[0, 0, 0, 0, 0, float("nan")]), "not_finite", "a stress that is not finite"),
    "force of 1e12": (gives(forces=np.full((2, 3), 1e12)), "force", "is above the bound of 100 eV/Å"),
    "force of 1e308": (gives(forces=np.full((2, 3), 1e308)), "force", "is above the bound of 100 eV/Å"),
    "not converged": (gives(converged=False, energy=float("nan")), "not_converged", "strange did not converge"),
    "removes its folder": (removes_its_folder_and_fails, "crashed", "No such file or directory: 'job.out'"),
    "strict warnings": (strict_warnings, "crashed", "FloatingPointError: underflow in the integrals"),
    "thread": (leaves_a_thread, "crashed", "RuntimeError: the pool is exhausted"),
    "closes": (closes_everything, "crashed", "RuntimeError: nothing to print to"),
    "floods": (floods, "crashed", "... (and 998000 characters more)"),
}
GOOD = {
    "integer": gives(energy=2, forces=np.zeros((2, 3), dtype=int)),
    "zero dimensions": gives(energy=np.array(1.5)),
    "one number": gives(energy=[[1.5]], forces=[[0, 0, 0], [0, 0, 0]], stress=np.zeros((3, 3)).tolist()),
    "half precision": gives(energy=np.float16(1.5), forces=np.zeros((2, 3), dtype=np.float16)),
    "single precision": gives(forces=np.zeros((2, 3), dtype=np.float32)),
    "read only": lambda atoms: truth(atoms, forces=np.broadcast_to(0.0, (2, 3))),
    "converged one": gives(converged=np.int64(1)),
    "clock set back": gives(wall_time=-3.0),
    "subclass": lambda atoms: type("Own", (Label,), {})(**vars(truth(atoms))),
}


class Strange:
    method, version = "strange", "strange 1"
    depends_on = ("do",)

    def __call__(self, atoms):
        table = {**BAD, **FAILS, **GOOD}
        act = table[atoms.info["do"]]
        return (act[0] if isinstance(act, tuple) else act)(atoms)


class Unnamed(Strange):
    """A labeller whose own attributes are no names."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Shy(Strange):
    @property
    def method(self):
        raise RuntimeError("the licence server does not answer")


class Fickle(Strange):
    """Another method for each call."""

    n = 0

    @property
    def method(self):
        Fickle.n += 1
        return f"strange {Fickle.n}"

    def __call__(self, atoms):
        return truth(atoms, method=f"strange {Fickle.n}")
