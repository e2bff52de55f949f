"""Labels by any ASE calculator: by its name, or as an object."""

import contextlib
import copy
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import (
    BaseCalculator,
    CalculationFailed,
    Calculator,
    FileIOCalculator,
    all_changes,
)
from ase.calculators.genericfileio import GenericFileIOCalculator

from sparring.labels import guard
from sparring.labels.base import Label, LabelError, Labeller, depends_on, name_of
from sparring.labels.calculators import compute_by, state_parameters
from sparring.labels.identity import absolute, code_version, described
from sparring.labels.programs import require_program, unusable
from sparring.labels.registry import PACKAGES, calculator_class
from sparring.labels.safer import printed_no_convergence, safer_settings
from sparring.support.suggestions import did_you_mean

# Parameters for charge and multiplicity, by calculator.
_ELECTRONIC_STATE = {
    "gaussian": ("charge", "mult"),
    "orca": ("charge", "mult"),
    "psi4": ("charge", "multiplicity"),
    "qchem": ("charge", "multiplicity"),
    "tblite": ("charge", "multiplicity"),
}
# Further names that these read: tags tell species, ghost atoms or basis sets of one element apart.
_DEPENDS_ON = {
    "castep": ("castep_custom_species", "castep_labels"),
    "crystal": ("tags",),
    "demon": ("tags",),
    "dftb": ("tags",),
    "onetep": ("tags", "onetep_species"),
    "siesta": ("tags",),
}
# All parameters that these read have a default; they ignore others.
_ALL_PARAMETERS_HAVE_DEFAULTS = ("emt", "lj", "morse", "tblite")
_START_WITH_THE_OBJECT = ("cp2k",)
_IGNORE_DUMMY_ATOMS = ("tblite",)


class ASECalculator:
    """Labels by an ASE calculator that is known by name, such as "tblite", "emt", "orca".

    Each label has a new calculator and a new folder, so that labels are independent. Charge and multiplicity are passed
    to calculators that take them. The energy is consistent with the forces (ASE's ``force_consistent``).

    Args:
        name: The calculator's name in ASE's registry, or of a package that provides one (tblite).
        parameters: Parameters of the calculator's class, without charge and multiplicity, which belong to the
            structure. A parameter that names a file counts by the content of the file.

    Raises:
        ValueError: If the name or a parameter is unknown, or ASE does not know where the program is.
        ModuleNotFoundError: If the calculator's package is not installed.
    """

    def __init__(self, name: str, parameters: Mapping[str, object] | None = None) -> None:
        self._name = name
        self._parameters = dict(parameters or {})
        self._state_names = _ELECTRONIC_STATE.get(name)
        self.depends_on = calculator_depends_on(name)
        unusable(name)
        found = calculator_class(name)
        self.method = f"{name} {described(self._parameters)}"
        self.recipe = ""
        self._parameters = absolute(self._parameters)
        self.version = code_version(found)
        for parameter in set(self._parameters) & set(self._state_names or ()):
            raise ValueError(
                f"{parameter!r} of {name!r} belongs to the structure: set atoms.info['charge'] and "
                f"atoms.info['multiplicity'], got {self._parameters[parameter]!r}"
            )
        if name in _ALL_PARAMETERS_HAVE_DEFAULTS:
            known = found.default_parameters
            for parameter in set(self._parameters) - set(known):
                raise ValueError(
                    f"{name!r} has no parameter {parameter!r}{did_you_mean(parameter, known)}; it has "
                    f"{', '.join(known)}"
                )
        if not {"command", "profile"} & set(self._parameters):
            require_program(name, found)
        # To make one of these is to start its program.
        if name in _START_WITH_THE_OBJECT:
            return
        with tempfile.TemporaryDirectory(prefix="sparring-") as folder, contextlib.chdir(folder):
            calculator = self._make({}, folder)
        if name == "tblite":
            _try_method(calculator, name)

    def __repr__(self) -> str:
        return f"<{self.method}>"

    def __call__(self, atoms: Atoms) -> Label:
        """Compute the label of a structure.

        Raises:
            LabelError: If the structure is charged, or of high spin, and the calculator has no parameter for it, or has
                dummy atoms where the calculator would ignore them.
            CalculationFailed: If the calculator gave up for another reason than a lack of convergence.
        """
        state = state_parameters(atoms, self._state_names, self._name)
        if self._name in _IGNORE_DUMMY_ATOMS and (atoms.numbers < 1).any():
            raise LabelError(
                "bad_input",
                f"{self._name!r} needs chemical elements, got {atoms.get_chemical_formula()} with dummy atoms",
            )
        with _own_folder() as folder:
            calculator = self._make(state, folder)
            try:
                return compute_by(calculator, atoms, self.method, self.version, self.depends_on)
            # A program that stops with an error is all that ASE sees of an SCF that has not converged.
            except Exception as error:
                if printed_no_convergence(self._name, Path(folder)):
                    raise LabelError("not_converged", f"{self.method} did not converge, as its output says") from error
                raise

    def safer(self) -> "ASECalculator | None":
        """The same method with settings that converge more slowly and more safely, where they are known."""
        settings = safer_settings(self._name, self._parameters)
        if self.recipe or not settings:
            return None
        safer = copy.copy(self)
        safer._parameters = {**self._parameters, **settings}
        safer.recipe = ", ".join(f"{name}={value}" for name, value in settings.items())
        return safer

    def _make(self, state: Mapping[str, int], folder: str) -> Any:  # noqa: ANN401 - ASE calculators share no type
        quiet = PACKAGES[self._name].quiet if self._name in PACKAGES else {}
        if self._name == "lammpsrun":
            # It puts the name of its folder into the names of its files, and keeps its program for another structure.
            quiet = {"tmp_dir": folder, "keep_alive": False}
        try:
            calculator = calculator_class(self._name)(**{**quiet, **self._parameters, **state})
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"calculator {self._name!r} needs a package that is not installed: {error}"
            ) from error
        # An interface may refuse its parameters, or miss its program, by any exception.
        except Exception as error:
            raise ValueError(
                f"{self._name!r} does not take {self._parameters or 'no parameters'}: {error}".replace("\n", " ")
            ) from error
        if self._name != "lammpsrun":
            calculator.directory = Path(folder)
        return calculator


class FromCalculator:
    """Labels by a live ASE calculator.

    It serves for one structure after another. A calculator that starts from its last wave function makes labels depend
    on their order; give such a one by name, to ``ASECalculator``.

    Args:
        calculator: The calculator.
        method: Description of all that changes its results, such as a file of weights, for the key of a label; by
            default the class and the ``parameters``, for calculators of ASE and for those without further state.
        version: Version of the code that computes; by default of the package that provides the class.
        depends_on: Names in info or arrays of a structure that the calculator reads besides charge, multiplicity and
            initial moments and charges; without it, those in the calculator's own attribute of this name.

    Raises:
        ValueError: If ``calculator`` is not an ASE calculator, has a charge or a multiplicity of its own, or its method
            is not clear.
    """

    def __init__(
        self,
        calculator: Any,  # noqa: ANN401
        *,
        method: str | None = None,
        version: str | None = None,
        depends_on: Sequence[str] | None = None,
    ) -> None:
        if not isinstance(calculator, BaseCalculator):
            raise ValueError(f"wanted an ASE calculator or a labeller (method, version, call), got {calculator!r}")
        self._calculator: Any = calculator
        self._class_name = type(calculator).__qualname__
        self.depends_on = _names(calculator) if depends_on is None else tuple(depends_on)
        self.module = type(calculator).__module__
        parameters = dict(getattr(calculator, "parameters", {}))
        multiplicity = next((name for name in ("multiplicity", "mult") if name in parameters), None)
        self._state_names = ("charge", multiplicity) if "charge" in parameters and multiplicity else None
        if parameters.get("charge") or (multiplicity and parameters[multiplicity] not in (None, 1)):
            raise ValueError(
                f"{self._class_name} holds a charge or a multiplicity of its own; leave them out and set "
                "atoms.info['charge'] and atoms.info['multiplicity'], which belong to the structure"
            )
        if method is None and not _is_described_by_parameters(calculator):
            raise ValueError(
                f"the parameters of {self._class_name} do not describe it completely; name it for the label store: "
                "FromCalculator(calculator, method='...')"
            )
        if method is None:
            method = f"{type(calculator).__module__}.{self._class_name} {described(parameters)}"
        self.method = method
        self.version = code_version(type(calculator)) if version is None else version

    def __repr__(self) -> str:
        return f"<{self.method}>"

    def __call__(self, atoms: Atoms) -> Label:
        """Compute the label of a structure; raises as ``ASECalculator`` does."""
        state = state_parameters(atoms, self._state_names, self._class_name)
        before = {name: self._calculator.parameters[name] for name in state}
        if state:
            self._calculator.set(**state)
        if hasattr(self._calculator, "reset"):
            self._calculator.reset()
        # A folder that the calculator was given is the same in all workers.
        if _in_worker() and isinstance(self._calculator, FileIOCalculator | GenericFileIOCalculator):
            self._calculator.directory = Path.cwd()
        try:
            return compute_by(self._calculator, atoms, self.method, self.version, self.depends_on)
        finally:
            if state:
                self._calculator.set(**before)


def as_labeller(labeller: Any) -> Labeller:  # noqa: ANN401 - ASE calculators share no type
    """A labeller as it is, an ASE calculator as ``FromCalculator``.

    Raises:
        ValueError: If it is neither, or a labeller without a method or a version.
    """
    try:
        found: Labeller = labeller if isinstance(labeller, Labeller) else FromCalculator(labeller)
    except ValueError:
        raise
    # A property that raises is one, and is refused by its name.
    except Exception:
        found = labeller
    name_of(found)
    depends_on(found)
    return found


def calculator_depends_on(name: str) -> tuple[str, ...]:
    """Names in info or arrays that an ASE calculator of this name reads, besides the standard ones."""
    return _DEPENDS_ON.get(name, ())


@contextlib.contextmanager
def _own_folder() -> Iterator[str]:
    """The current folder of a worker, which is fresh for each label and kept if it fails; else a temporary one."""
    if _in_worker():
        yield str(Path.cwd())
        return
    with tempfile.TemporaryDirectory(prefix="sparring-") as folder:
        yield folder


def _in_worker() -> bool:
    return guard.MARKER in os.environ


def _try_method(calculator: Any, name: str) -> None:  # noqa: ANN401 - ASE calculators share no type
    """Compute a hydrogen molecule, in a millisecond: only then does tblite check its method."""
    hydrogen = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.8]])
    try:
        calculator.calculate(hydrogen, ["energy"], all_changes)
    except CalculationFailed:
        return
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{name!r} does not take these parameters: {error}") from error


def _is_described_by_parameters(calculator: BaseCalculator) -> bool:
    package = type(calculator).__module__.partition(".")[0]
    return package in ("ase", *PACKAGES) or set(vars(calculator)) <= set(vars(Calculator()))


def _names(calculator: Any) -> tuple[str, ...]:  # noqa: ANN401 - no common type
    """Names in info or arrays that a calculator depends on, by its own attribute or by its name in ASE."""
    return depends_on(calculator) or calculator_depends_on(str(getattr(calculator, "name", "")))
