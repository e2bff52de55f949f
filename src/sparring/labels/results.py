"""One label by a foreign code: a copy of the structure goes in, and a sound ``Label`` or a ``LabelError`` comes out."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, get_args

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BadConfiguration, CalculatorSetupError, InputError, PropertyNotImplementedError

from sparring.labels.base import Label, LabelError, Labeller, Reason, depends_on, label_input

__all__ = ["compute", "sound"]

_FIELDS = "energy, forces, method, version, converged and wall_time"


def compute(labeller: Labeller, atoms: Atoms) -> Label:
    """Compute a label from a copy of the structure; any failure becomes a ``LabelError``.

    Raises:
        LabelError: If there is no label: "crashed" for every exception, ``sys.exit`` included, "out_of_memory" for a
            ``MemoryError``, "not_configured" where ASE finds no program, "bad_result" for what is no label.
        KeyboardInterrupt: If Ctrl-C was pressed; one that the labeller raises by itself is a failure like others.
    """
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
        # A foreign code may raise anything; one structure that it cannot do must not end the others.
        except BaseException as error:
            if interrupted:
                raise KeyboardInterrupt from None
            raise LabelError("crashed", f"{labeller.method} raised {type(error).__name__}{_message(error)}") from error
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


def _plain(error: LabelError) -> LabelError:
    """A labeller's own error, with a reason that can be counted and a text that any process can read."""
    reason: Reason = error.reason if error.reason in get_args(Reason) else "crashed"
    return LabelError(reason, str(error.message))


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        return ""
    return f": {text}" if text else ""


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
