"""One label by a foreign code: a copy of the structure goes in, and a sound ``Label`` or a ``LabelError`` comes out."""

import contextlib
import re
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType
from typing import Any, get_args

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BadConfiguration, CalculatorSetupError, InputError, PropertyNotImplementedError

from sparring.labels.base import Label, LabelError, Labeller, Reason, depends_on, label_input
from sparring.support.files import DISK_FULL
from sparring.support.stopping import Stopped

__all__ = ["compute", "sound"]

_NOT_CONVERGED = re.compile(
    r"(\bnot|n['\u2019]t|\bfail\w*|\bunable|\bwithout|\bno)\b.{0,40}\bconverge|\bunconverged\b"
    r"|\bconverge\w*.{0,20}\b(fail|not\b|problem)",
    re.IGNORECASE | re.DOTALL,
)
LONGEST = 2000
"""Characters of a message that are kept."""
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
        recipe = _text(getattr(safer, "recipe", "")) or "safer settings"
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
    structure = label_input(atoms, depends_on(labeller))
    with _interrupts() as interrupted:
        try:
            result: object = labeller(structure)
        except LabelError as error:
            raise _plain(error) from error
        except MemoryError as error:
            raise LabelError("out_of_memory", f"{labeller.method} ran out of memory{_message(error)}") from error
        # ASE's interfaces raise these for an element or a structure that they do not know, in this order of types.
        except InputError as error:
            raise LabelError("bad_input", f"{labeller.method} does not take this structure{_message(error)}") from error
        except (CalculatorSetupError, BadConfiguration, PropertyNotImplementedError) as error:
            raise LabelError("not_configured", f"{labeller.method} is not set up{_message(error)}") from error
        except NotImplementedError as error:
            raise LabelError("bad_input", f"{labeller.method} does not take this structure{_message(error)}") from error
        except Stopped:
            raise
        # A foreign code may raise anything; one structure that it cannot do must not end the others.
        except BaseException as error:
            if interrupted:
                raise KeyboardInterrupt from None
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                raise  # no fault of the structure, nor of the labeller
            reason: Reason = "not_converged" if _has_not_converged(error) else "crashed"
            raise LabelError(reason, f"{labeller.method} raised {type(error).__name__}{_message(error)}") from error
    return sound(result, structure, labeller)


def sound(result: object, atoms: Atoms, labeller: Labeller) -> Label:
    """A labeller's result as a label with the right types and shapes.

    Lists stand for arrays, an array of one number for a number, and a symmetric 3 x 3 stress for its six components.

    Raises:
        LabelError: If it is no label, with the reason "bad_result".
    """
    method, given = labeller.method, _Result(labeller.method, result)
    if not isinstance(result, Label):
        raise given.bad(f"{_shown(result)}, wanted a Label with {_FIELDS}")
    if (result.method, result.version) != (method, labeller.version):
        raise given.bad(
            f"a label by {result.method!r} ({result.version}); labels must carry the labeller's own method and version"
        )
    if not isinstance(result.converged, bool | np.bool_ | int):
        raise given.bad(f"converged = {_shown(result.converged)}, wanted True or False")
    return Label(
        energy=given.number("energy", "eV"),
        forces=given.array("forces", (len(atoms), 3), "eV/Å"),
        stress=None if result.stress is None else given.stress(),
        method=method,
        version=labeller.version,
        converged=bool(result.converged),
        wall_time=given.number("wall_time", "seconds"),
        retried_with=None if result.retried_with is None else _text(result.retried_with),
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
            raise self.bad(f"{name} = {_shown(given)} ({error}), wanted {wanted}") from error
        if np.ma.is_masked(given) or value.dtype.kind not in "fiu":
            raise self.bad(f"{name} = {_shown(given)}, wanted {wanted}")
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
            "crashed", f"safer() of {labeller.method} raised {type(error).__name__}{_message(error)}"
        ) from error
    if safer is None:
        return None
    if not isinstance(safer, Labeller) or (safer.method, safer.version) != (labeller.method, labeller.version):
        raise LabelError(
            "bad_result",
            f"safer() of {labeller.method} gave {_shown(safer)}, wanted a labeller of the same method and version, or "
            "None",
        )
    return safer


def _has_not_converged(error: BaseException) -> bool:
    """True if an exception says so: not every code has a type for this failure, but all have the same word."""
    return isinstance(error, Exception) and bool(
        _NOT_CONVERGED.search(_message(error)) or "convergence" in type(error).__name__.lower()
    )


def _plain(error: LabelError) -> LabelError:
    """A labeller's own error, with a reason that can be counted and a text that any process can read."""
    reason: Reason = error.reason if error.reason in get_args(Reason) else "crashed"
    return LabelError(reason, _text(error.message) or "the labeller gave no reason")


def _message(error: BaseException) -> str:
    text = _text(error)
    return f": {text}" if text else ""


def _text(value: object) -> str:
    """A value as text that any file can hold; nothing where it has none, for its class is that of a labeller."""
    try:
        text = str(value)
        if len(text) > LONGEST:
            text = f"{text[:LONGEST]}... ({len(text)} characters)"
        return text.encode(errors="backslashreplace").decode()
    except Exception:
        return ""


def _shown(value: Any) -> str:  # noqa: ANN401 - the value is that of a labeller
    try:
        return f"{value!r:.80}".replace("\n", " ")
    except Exception:
        return f"a {type(value).__name__}"


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
