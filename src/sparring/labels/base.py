"""Labels, labellers, and the checks of a label before it is trained on."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from ase import Atoms
from jaxtyping import Float

from sparring.atoms.composition import composition
from sparring.atoms.electronic_state import ElectronicState, electronic_state
from sparring.atoms.inheritance import geometry_of

__all__ = [
    "GEOMETRY_REASONS",
    "Bounds",
    "ElectronicState",
    "Label",
    "LabelError",
    "Labeller",
    "Reason",
    "check",
    "check_distance",
    "check_results",
    "composition",
    "depends_on",
    "electronic_state",
    "label_input",
    "name_of",
]

Reason = Literal[
    "not_converged",
    "not_finite",
    "energy",
    "force",
    "distance",
    "crashed",
    "timed_out",
    "out_of_memory",
    "worker_lost",
    "bad_result",
    "bad_input",
    "not_configured",
    "missing",
]
GEOMETRY_REASONS: tuple[Reason, ...] = ("not_converged", "not_finite", "energy", "force", "distance")
"""Failures that a strange geometry explains. All others are failures of the labeller, its program or the machine."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Label:
    """Energy and forces of one structure, as the labeller gave them; ``check`` refuses unusable ones.

    Attributes:
        energy: Total energy in eV.
        forces: Forces in eV/Å.
        stress: Stress in eV/Å³ and Voigt order (xx, yy, zz, yz, xz, xy); None where there is none.
        method: The labeller's ``method``.
        version: The labeller's ``version``.
        converged: True if the labeller's own criteria were met.
        wall_time: Time the label took, in seconds.
        retried_with: Settings of the second attempt, where the first one had not converged; None for the labeller's own
            settings. The converged result is the same.
    """

    energy: float
    forces: Float[np.ndarray, "n_atoms 3"]
    stress: Float[np.ndarray, "6"] | None = None
    method: str
    version: str
    converged: bool
    wall_time: float
    retried_with: str | None = None


class LabelError(Exception):
    """A structure has no usable label. This is data: it is counted and reported, and the run goes on.

    Attributes:
        reason: Kind of failure.
        message: Full description.
        files: Folder with the input and output of the calculation, where they were kept.
    """

    def __init__(self, reason: Reason, message: str, files: Path | None = None) -> None:
        super().__init__(reason, message, files)
        self.reason = reason
        self.message = message
        self.files = files

    @property
    def is_geometry(self) -> bool:
        """True if the geometry may be at fault. If not, the same structure may get a label another time."""
        return self.reason in GEOMETRY_REASONS

    def __str__(self) -> str:
        return self.message

    def named(self, name: str) -> "LabelError":
        """The same failure, with the structure's name before the message and the folder of its files after it."""
        where = f"; its files are in {self.files}" if self.files is not None else ""
        return LabelError(self.reason, f"{name}: {self.message}{where}", self.files)


@runtime_checkable
class Labeller(Protocol):
    """Computes labels. A plain function will do, with the two attributes set on it.

    It must give the same label for the same structure, independent of earlier calls. To work in several processes it
    must be picklable.

    It gets only what is in the key of a label: geometry, charge and multiplicity, and initial moments and charges where
    there are any. Further names in ``atoms.info`` or ``atoms.arrays`` that it reads, such as tags or an electric field,
    are listed in an optional attribute ``depends_on``, a tuple of names. These are then in the key, too, and are handed
    on to structures made from others.

    An optional method ``safer()`` returns a labeller of the same method and version with a more robust way to the same
    converged result (damping, second-order steps, more cycles), or None. It gets one attempt where a label has not
    converged. Its attribute ``recipe`` describes it in words.

    Attributes:
        method: Description of everything that changes the result: level of theory, basis, grids, thresholds.
        version: Name and version of the code that computes.
    """

    @property
    def method(self) -> str:
        """Everything that changes the result."""
        ...

    @property
    def version(self) -> str:
        """The code that computes."""
        ...

    def __call__(self, atoms: Atoms) -> Label:
        """Compute energy and forces.

        Raises:
            LabelError: If the structure has no label.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bounds outside which a label counts as a failure of the method. None switches a bound off.

    Electronic-structure codes do not always notice their own failure: for overlapping atoms tblite once gave +727 eV
    and no error.

    Attributes:
        min_distance: Shortest distance between two atoms, in Å.
        max_force: Longest force vector on an atom, in eV/Å.
        energy_window: Largest energy above the lowest known one of the same composition, in eV.
    """

    min_distance: float | None = 0.5
    max_force: float | None = 100.0
    energy_window: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_distance", "max_force", "energy_window"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value}; None switches the bound off")


def name_of(labeller: object) -> tuple[str, str]:
    """Method and version of a labeller.

    Raises:
        ValueError: If one of them is not a text, is empty, or cannot be read.
    """
    values = []
    for name in ("method", "version"):
        try:
            value = getattr(labeller, name)
        # A property of the labeller's own may raise anything.
        except Exception as error:
            raise ValueError(f"the {name} of a labeller cannot be read ({type(error).__name__}: {error})") from error
        if not isinstance(value, str) or not value.strip():
            raise ValueError(
                f"the {name} of a labeller must be a text that is not empty, as it is part of the key of labels; got "
                f"{value!r:.80}"
            )
        values.append(str(value))
    return values[0], values[1]


def depends_on(labeller: object) -> tuple[str, ...]:
    """Names in info or arrays of a structure that a labeller reads, besides the standard ones.

    Raises:
        ValueError: If they are not a tuple or list of names.
    """
    try:
        names = getattr(labeller, "depends_on", ())
    except Exception as error:
        raise ValueError(f"depends_on of a labeller cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"depends_on of a labeller must be a tuple of names in atoms.info or atoms.arrays, got {names!r}"
        )
    return tuple(names)


def label_input(atoms: Atoms, names: Sequence[str] = ()) -> Atoms:
    """A copy with only what is in the key of a label, so that nothing else can change the label.

    Constraints are left out: a label has the forces on all atoms.

    Args:
        atoms: The structure.
        names: Further names in info or arrays that the labeller reads.
    """
    bare = geometry_of(atoms)
    bare.info = electronic_state(atoms)._asdict()
    for name in ("initial_magmoms", "initial_charges"):
        if atoms.has(name) and np.any(atoms.get_array(name)):
            bare.set_array(name, atoms.get_array(name))
    for name in names:
        if name in atoms.info:
            bare.info[name] = copy.deepcopy(atoms.info[name])
        if name in atoms.arrays:
            bare.set_array(name, atoms.arrays[name])
    return bare


def check(label: Label, atoms: Atoms, bounds: Bounds, lowest_energy: float | None = None) -> None:
    """Refuse a label that must not be trained on.

    Args:
        label: The label of ``atoms``.
        atoms: The structure.
        bounds: Bounds of distances, forces and energies.
        lowest_energy: Lowest known energy of the same composition, in eV; without it the energy is not bounded.

    Raises:
        LabelError: If the label has not converged, is not finite, or is out of bounds.
    """
    check_distance(atoms, bounds)
    check_results(label, atoms, bounds, lowest_energy)


def check_results(label: Label, atoms: Atoms, bounds: Bounds, lowest_energy: float | None = None) -> None:
    """Refuse a label as :func:`check` does, of a structure whose distances have been checked before it was computed."""
    if not label.converged:
        raise LabelError(
            "not_converged", f"{label.method} did not converge; a geometry nearer to equilibrium may, or another method"
        )
    if not (np.isfinite(label.energy) and np.isfinite(label.forces).all()):
        raise LabelError("not_finite", f"{label.method} gave an energy or a force that is not finite")
    if label.stress is not None and not np.isfinite(label.stress).all():
        raise LabelError("not_finite", f"{label.method} gave a stress that is not finite")
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(label.forces, axis=1)
    if bounds.max_force is not None and lengths.max(initial=0.0) > bounds.max_force:
        i = int(lengths.argmax())
        raise LabelError(
            "force",
            f"the force of {lengths[i]:.4g} eV/Å on atom {i} ({atoms.symbols[i]}) is above the bound of "
            f"{bounds.max_force:g} eV/Å; raise max_force to allow it",
        )
    if bounds.energy_window is not None and lowest_energy is not None:
        above = label.energy - lowest_energy
        if above > bounds.energy_window:
            raise LabelError(
                "energy",
                f"its energy is {above:.4g} eV above the lowest known of this composition, more than the window of "
                f"{bounds.energy_window:g} eV; raise energy_window to allow it",
            )


def check_distance(atoms: Atoms, bounds: Bounds) -> None:
    """Refuse a structure with atoms too close to each other, before it is labelled.

    Raises:
        LabelError: If two atoms, or an atom and a periodic image, are closer than ``bounds.min_distance``.
    """
    if not bounds.min_distance:
        return
    # Worker processes start twice as fast without it, and do not need it.
    from ase.neighborlist import neighbor_list

    first, second, distance = neighbor_list("ijd", atoms, bounds.min_distance, self_interaction=False)
    if len(distance):
        nearest = int(distance.argmin())
        i, j = first[nearest], second[nearest]
        raise LabelError(
            "distance",
            f"atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) are {distance[nearest]:.4g} Å apart, less "
            f"than the bound of {bounds.min_distance:g} Å; lower min_distance to allow it",
        )
