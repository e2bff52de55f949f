"""One label by a foreign code: a copy of the structure goes in, and a sound ``Label`` or a ``LabelError`` comes out."""

import contextlib
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any, get_args

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BadConfiguration, CalculatorSetupError, InputError, PropertyNotImplementedError

from sparring.labels.base import Label, LabelError, Labeller, Reason, depends_on, label_input, name_of
from sparring.labels.messages import readable, shown
from sparring.support.files import DISK_FULL
from sparring.support.stopping import Stopped

__all__ = ["compute", "sound"]

_NOT_CONVERGED = re.compile(
    r"(\bnot|n['\u2019]t|\bfail\w*|\bunable|\bwithout|\bno)\b.{0,40}\bconverge|\bunconverged\b"
    r"|\bconverge\w*.{0,20}\b(fail|not\b|problem)",
    re.IGNORECASE | re.DOTALL,
)
_FIELDS = "energy, forces, method, version, converged and wall_time"


def compute(labeller: Labeller, atoms: Atoms) -> Label:
    """Compute a label from a copy of the structure; any failure becomes a ``LabelError``.

    One that has not converged is tried once more by ``labeller.safer()``, if there is one; the label says so.

    Raises:
        LabelError: If there is no label: "crashed" for every exception, ``sys.exit`` included, "not_converged" for one
            that says so, "out_of_memory" for a ``MemoryError``, "not_configured" where ASE finds no program,
            "bad_input" for a structure that the labeller does not take, "bad_result" for what is no label.
        OSError: If the disk is full, or cannot be written any more.
        Stopped: If a signal has come.
        KeyboardInterrupt: If Ctrl-C was pressed; one that the labeller raises by itself is a failure like others.
    """
    label, failure = None, None
    try:
        label = _attempt(labeller, atoms)
    except LabelError as error:
        if error.reason != "not_converged":
            raise
        failure = error
    if label is not None and label.converged:
        return label
    if (safer := _safer(labeller)) is not None:
        recipe = readable(getattr(safer, "recipe", "")) or "safer settings"
        try:
            return replace(_attempt(safer, atoms), retried_with=recipe)
        except LabelError as error:
            if failure is None or error.reason != "not_converged":
                raise LabelError(error.reason, f"{error.message} (second attempt, with {recipe})") from error
            failure = LabelError("not_converged", f"{failure.message} (neither with {recipe})")
    if failure is not None:
        raise failure
    assert label is not None
    return label


def _attempt(labeller: Labeller, atoms: Atoms) -> Label:
    # Read once: a labeller's own property may raise, or change.
    method, version = name_of(labeller)
    structure = label_input(atoms, depends_on(labeller))
    with _interrupts() as interrupted:
        try:
            result: object = labeller(structure)
        except BaseException as error:
            _raise_what_ends_the_run(error, interrupted)
            raise _failure(method, error) from error
        try:
            return sound(result, len(atoms), method, version)
        except LabelError:
            raise
        # A result is an object of the labeller's own: to read it may fail in any way.
        except BaseException as error:
            _raise_what_ends_the_run(error, interrupted)
            raise LabelError(
                "bad_result",
                f"{method} gave {shown(result)}, and to read it raised {type(error).__name__}{_told(error)}",
            ) from error


def _raise_what_ends_the_run(error: BaseException, interrupted: Sequence[int]) -> None:
    """Raise an exception again that is no fault of the structure, nor of the labeller."""
    if interrupted:
        raise KeyboardInterrupt from None
    if isinstance(error, Stopped) or (isinstance(error, OSError) and error.errno in DISK_FULL):
        raise error


def _failure(method: str, error: BaseException) -> LabelError:
    """The failure that an exception stands for: one structure that a labeller cannot do must not end the others."""
    told = _told(error)
    match error:
        case LabelError():
            return _plain(error)
        case MemoryError():
            return LabelError("out_of_memory", f"{method} ran out of memory{told}")
        # ASE's interfaces raise these for an element or a structure that they do not know, in this order of types.
        case InputError():
            return LabelError("bad_input", f"{method} does not take this structure{told}")
        case CalculatorSetupError() | BadConfiguration() | PropertyNotImplementedError():
            return LabelError("not_configured", f"{method} is not set up{told}")
        case NotImplementedError():
            return LabelError("bad_input", f"{method} does not take this structure{told}")
    reason: Reason = "not_converged" if _has_not_converged(error) else "crashed"
    return LabelError(reason, f"{method} raised {type(error).__name__}{told}")


def sound(result: object, n_atoms: int, method: str, version: str) -> Label:
    """A labeller's result as a label with the right types and shapes.

    Lists stand for arrays, an array of one number for a number, and a symmetric 3 x 3 stress for its six components.

    Args:
        result: Result of the labeller.
        n_atoms: Number of atoms of the structure.
        method: Method of the labeller.
        version: Version of the labeller.

    Raises:
        LabelError: If it is no label, with the reason "bad_result".
    """
    given = _Result(method, result)
    if not isinstance(result, Label):
        raise given.bad(f"{shown(result)}, wanted a Label with {_FIELDS}")
    if not _is(result.method, method) or not _is(result.version, version):
        raise given.bad(
            f"a label by {shown(result.method)} ({readable(result.version)}); labels must carry the labeller's own "
            "method and version"
        )
    return Label(
        energy=given.number("energy", "eV"),
        forces=given.array("forces", (n_atoms, 3), "eV/Å"),
        stress=None if result.stress is None else given.stress(),
        method=method,
        version=version,
        converged=given.truth("converged"),
        wall_time=given.seconds("wall_time"),
        retried_with=None if result.retried_with is None else readable(result.retried_with),
    )


class _Result:
    """Reads and checks the fields of a result."""

    def __init__(self, method: str, result: object) -> None:
        self.method = method
        self.result = result

    def bad(self, what: str) -> LabelError:
        return LabelError("bad_result", f"{self.method} gave {what}")

    def number(self, name: str, unit: str) -> float:
        value = self._real(name, f"one real number in {unit}")
        if value.size != 1:
            raise self.bad(f"{name} of shape {value.shape}, wanted one real number in {unit}")
        return float(value.reshape(()))

    def seconds(self, name: str) -> float:
        value = self.number(name, "seconds")
        if not np.isfinite(value):
            raise self.bad(f"{name} = {value}, wanted a number of seconds")
        return max(0.0, value)  # a clock may have been set back

    def truth(self, name: str) -> bool:
        value = getattr(self.result, name)
        if not isinstance(value, bool | np.bool_ | int | np.integer) or value not in (0, 1):
            raise self.bad(f"{name} = {shown(value)}, wanted True or False")
        return bool(value)

    def array(self, name: str, shape: tuple[int, ...], unit: str) -> np.ndarray:
        value = self._real(name, f"real numbers in {unit}")
        if value.shape != shape:
            raise self.bad(f"{name} of shape {value.shape}, wanted {shape} in {unit}")
        return np.array(value, dtype=float)

    def stress(self) -> np.ndarray:
        value = self._real("stress", "six real numbers in eV/Å³")
        if value.shape != (3, 3):
            return self.array("stress", (6,), "eV/Å³, in the order xx, yy, zz, yz, xz, xy")
        if not np.allclose(value, value.T, atol=1e-6, equal_nan=True):
            raise self.bad("a stress that is not symmetric, wanted xx, yy, zz, yz, xz, xy in eV/Å³")
        return np.array(value, dtype=float)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]

    def _real(self, name: str, wanted: str) -> np.ndarray:
        given = getattr(self.result, name, None)
        try:
            value = np.asarray(given)
        # An object may refuse to be an array in its own way, as a tensor with a gradient does.
        except Exception as error:
            raise self.bad(f"{name} = {shown(given)} ({error}), wanted {wanted}") from error
        if np.ma.is_masked(given) or value.dtype.kind not in "fiu":
            raise self.bad(f"{name} = {shown(given)}, wanted {wanted}")
        return value


def _safer(labeller: Labeller) -> Labeller | None:
    """The labeller's own safer variant, which must give labels of the same key."""
    make = getattr(labeller, "safer", None)
    if not callable(make):
        return None
    try:
        safer: Any = make()
    except Exception as error:
        raise LabelError(
            "crashed", f"safer() of {labeller.method} raised {type(error).__name__}{_told(error)}"
        ) from error
    if safer is None:
        return None
    if not isinstance(safer, Labeller) or (safer.method, safer.version) != (labeller.method, labeller.version):
        raise LabelError(
            "bad_result",
            f"safer() of {labeller.method} gave {shown(safer)}, wanted a labeller of the same method and version, or "
            "None",
        )
    return safer


def _has_not_converged(error: BaseException) -> bool:
    """True if an exception says so: not every code has a type for this failure, but all have the same word."""
    return isinstance(error, Exception) and bool(
        _NOT_CONVERGED.search(_told(error)) or "convergence" in type(error).__name__.lower()
    )


def _plain(error: LabelError) -> LabelError:
    """A labeller's own error, with a reason that can be counted and a text that any process can read."""
    reason, message = getattr(error, "reason", None), getattr(error, "message", "")
    counted: Reason = next((one for one in get_args(Reason) if _is(reason, one)), "crashed")
    return LabelError(counted, readable(message) or "the labeller gave no reason")


def _is(given: object, wanted: str) -> bool:
    return isinstance(given, str) and given == wanted


def _told(error: BaseException) -> str:
    text = readable(error)
    return f": {text}" if text else ""


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Interrupts from outside while the labeller works; only the main thread gets them."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield came
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
