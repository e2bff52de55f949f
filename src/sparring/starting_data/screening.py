"""Checks of structures from files before training: plausible labels, duplicates, charges that a network ignores.

A label from a file must satisfy the bounds of computed ones. A frame that is refused is a failure like that of a
labeller: it is counted and reported, and the run goes on.
"""

import logging
from collections import Counter
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from sparring.atoms.composition import composition
from sparring.atoms.dataset import ENERGY, FORCES
from sparring.atoms.duplicates import duplicate_groups
from sparring.atoms.electronic_state import electronic_state
from sparring.atoms.structures import Structures
from sparring.labels.base import Bounds, Label, LabelError, check
from sparring.labels.service import Failed
from sparring.starting_data.isolated import is_isolated_atom
from sparring.units import HARTREE, KCAL_PER_MOL

__all__ = ["label_errors", "require_one_state", "screen"]

logger = logging.getLogger(__name__)

LARGEST_FORCE = 1e5
"""Largest force, in eV/Å, that is accepted without bounds; no atom of chemistry has such a force."""
LARGEST_ENERGY = 1e7
"""No atom has such an energy, in eV; that of element 118 with all its electrons is a sixth of it."""
FARTHEST_ENERGY = 1e3
"""No structure is so far from others of its composition, in eV an atom."""
FAR_ENERGY = 25.0
"""None is so far from them without a force beyond any bound: atoms that are pulled apart cost a third of it, in eV."""
UNITS = {"Hartree": HARTREE, "Rydberg": HARTREE / 2, "kcal/mol": KCAL_PER_MOL, "meV": 1e-3}
SAME_ENERGY, SAME_FORCE = 2e-3, 2e-2
"""Labels of one geometry differ by less where one method gave both, in eV and eV/Å."""
SHOWN = 3


def screen(structures: Sequence[Atoms], bounds: Bounds, failed: Failed, *, file: str = "the file") -> list[Atoms]:
    """The structures without those whose label is not plausible; duplicates are logged and stay.

    Args:
        structures: Structures of a file with or without labels, and the number of their frame in ``info["frame"]``.
        bounds: Limits outside which a label is not trained on.
        failed: Callback with each structure that is left out, and the reason.
        file: Name of the file, for messages.

    Raises:
        ValueError: If two frames of one geometry, charge and multiplicity have labels that contradict each other.
    """
    kept, reasons = [], Counter[str]()
    names = [f"{file}, frame {one.info.get('frame', i)} (counting from 0)" for i, one in enumerate(structures)]
    for atoms, where in zip(structures, names, strict=True):
        try:
            electronic_state(atoms)
        except ValueError as impossible:
            raise ValueError(f"{where}: {impossible}") from impossible
    for atoms, error, where in zip(structures, label_errors(structures, bounds), names, strict=True):
        if error is None:
            kept.append(atoms)
            continue
        reasons[error.reason] += 1
        failed(atoms, LabelError(error.reason, f"{where}, {atoms.get_chemical_formula()}: {error}"))
    if reasons:
        counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        logger.warning(
            "%s: %d of %d frames are not trained on (%s); labels.bounds decide, and failures.csv names each",
            *(file, sum(reasons.values()), len(structures), counts),
        )
    _check_duplicates(kept, file)
    return kept


def label_errors(structures: Sequence[Atoms], bounds: Bounds) -> list[LabelError | None]:
    """Failure of the label of each structure; None if it passes, or if there is no label.

    The energy window is above the lowest energy of the same composition and charge among those that pass otherwise.
    """
    middle = _middle_energies(structures)
    errors = [_problem(atoms, bounds, middle) if ENERGY in atoms.info else None for atoms in structures]
    lowest: dict[str, float] = {}
    labelled = [(index, atoms) for index, atoms in enumerate(structures) if ENERGY in atoms.info]
    for index, atoms in labelled:
        if errors[index] is None:
            name, energy = composition(atoms), float(atoms.info[ENERGY])
            lowest[name] = min(lowest.get(name, energy), energy)
    for index, atoms in labelled:
        if errors[index] is None:
            errors[index] = _problem(atoms, bounds, middle, lowest[composition(atoms)])
    return errors


def _middle_energies(structures: Sequence[Atoms]) -> dict[str, float]:
    """The median energy of each composition that has at least three labels: no single absurd one moves it."""
    energies: dict[str, list[float]] = {}
    for atoms in structures:
        if ENERGY in atoms.info:
            energies.setdefault(composition(atoms), []).append(float(atoms.info[ENERGY]))
    return {name: float(np.median(values)) for name, values in energies.items() if len(values) > 2}


def _problem(atoms: Atoms, bounds: Bounds, middle: dict[str, float], lowest: float | None = None) -> LabelError | None:
    energy = float(atoms.info[ENERGY])
    forces = np.asarray(atoms.arrays.get(FORCES, np.zeros((len(atoms), 3))), dtype=float)
    longest = float(np.linalg.norm(forces, axis=1).max())
    if not (np.isfinite(energy) and np.isfinite(longest)):
        return LabelError("not_finite", "its energy or a force is not finite; label it again")
    if abs(energy) > LARGEST_ENERGY * len(atoms):
        return LabelError("energy", f"an energy of {energy:.6g} eV is absurd for {len(atoms)} atoms; look at its unit")
    usual = middle.get(composition(atoms), energy)
    if abs(energy - usual) > len(atoms) * (FARTHEST_ENERGY if bounds.max_force is None else FAR_ENERGY):
        near = [name for name, size in UNITS.items() if abs(energy * size - usual) < 0.02 * abs(energy - usual)]
        return LabelError(
            "energy",
            f"its energy of {energy:.6g} eV is {abs(energy - usual):.4g} eV from the median of its composition, which "
            f"is absurd{f' (in {near[0]} it would fit)' if near else ''}; correct it, or label it again",
        )
    if longest > LARGEST_FORCE:
        return LabelError("force", f"a force of {longest:.4g} eV/Å is absurd; look at its unit, or label it again")
    label = Label(energy=energy, forces=forces, method="the file", version="", converged=True, wall_time=0.0)
    try:
        check(label, atoms, bounds, lowest)
    except LabelError as error:
        return error
    return None


def _check_duplicates(structures: Sequence[Atoms], file: str) -> None:
    """Log frames of one geometry, and refuse labels of one geometry that contradict each other."""
    molecules = [atoms for atoms in structures if not is_isolated_atom(atoms)]
    if len(molecules) < 2:
        return
    groups = duplicate_groups(Structures.from_atoms(molecules))
    twins = [(int(first), index) for index, first in enumerate(groups) if first != index]
    if not twins:
        return
    names = [f"{molecules[i].info.get('frame', i)} and {molecules[j].info.get('frame', j)}" for i, j in twins]
    more = f" and {len(twins) - SHOWN} more" if len(twins) > SHOWN else ""
    contradictions = [
        f"frames {name} ({difference})"
        for name, (i, j) in zip(names, twins, strict=True)
        if (difference := _contradiction(molecules[i], molecules[j]))
    ]
    if contradictions:
        n_more = len(contradictions) - SHOWN
        raise ValueError(
            f"{file}: the same geometry has different labels in {'; '.join(contradictions[:SHOWN])}"
            f"{f' and {n_more} more' if n_more > 0 else ''}; keep the labels of one method, or give what differs "
            "(charge, multiplicity)"
        )
    logger.warning(
        "%s: %d of %d frames have the geometry of another one (frames %s%s); they stay together in training, "
        "validation or test",
        *(file, len(twins), len(molecules), ", ".join(names[:SHOWN]), more),
    )


def _contradiction(one: Atoms, other: Atoms) -> str | None:
    """Difference of two labels of one geometry, if it is larger than that of two runs of one code."""
    if ENERGY not in one.info or ENERGY not in other.info or electronic_state(one) != electronic_state(other):
        return None
    apart = abs(float(one.info[ENERGY]) - float(other.info[ENERGY]))
    if apart > SAME_ENERGY * max(1.0, len(one) / 10):
        return f"energies {apart:.4g} eV apart"
    if FORCES in one.arrays and FORCES in other.arrays:
        # Lengths, because one of them may be turned.
        lengths = [np.linalg.norm(atoms.arrays[FORCES], axis=1) for atoms in (one, other)]
        apart = float(np.abs(lengths[0] - lengths[1]).max())
        if apart > SAME_FORCE + 1e-3 * float(lengths[0].max()):
            return f"forces {apart:.4g} eV/Å apart"
    return None


def require_one_state(
    structures: Sequence[Atoms], *, potential: str, file: str = "the data", note: bool = True
) -> None:
    """Refuse one formula in several charges or multiplicities, which a potential that depends on neither cannot fit.

    Different charges of different formulas can be fitted, and are only logged.

    Args:
        structures: Structures of the whole data set.
        potential: Name of the potential, for messages.
        file: Name of the file, for messages.
        note: Flag to log that different compositions have different charges.

    Raises:
        ValueError: If a composition occurs in several charges or multiplicities.
    """
    found: dict[str, dict[tuple[int, int], list[int]]] = {}
    for index, atoms in enumerate(structures):
        if not is_isolated_atom(atoms):
            states = found.setdefault(atoms.get_chemical_formula(), {})
            states.setdefault(electronic_state(atoms), []).append(int(atoms.info.get("frame", index)))
    for formula, states in found.items():
        if len(states) > 1:
            parts = [
                f"charge {charge:+d}, multiplicity {multiplicity} (frames {_some(frames)})"
                for (charge, multiplicity), frames in sorted(states.items())
            ]
            raise ValueError(
                f"{file}: {formula} is there with {' and with '.join(parts)}; the potential {potential!r} depends on "
                "neither charge nor multiplicity, and would fit a mean of their energies: put each into a file and "
                "a run of its own"
            )
    charges = {formula: next(iter(states))[0] for formula, states in found.items()}
    if note and len(set(charges.values())) > 1:
        logger.warning(
            "%s: molecules differ in charge (%s); the potential %r depends on the formula only, which differs",
            *(file, ", ".join(f"{formula} {charge:+d}" for formula, charge in charges.items()), potential),
        )


def _some(frames: Sequence[int]) -> str:
    shown = ", ".join(map(str, frames[:SHOWN]))
    return f"{shown} and {len(frames) - SHOWN} more" if len(frames) > SHOWN else shown
