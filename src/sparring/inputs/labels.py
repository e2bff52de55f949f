"""Labels in files of users: the energy and the forces of a frame, or an error if they are ambiguous.

Nothing is guessed. Known names are read; any other that looks like an energy or like forces is an error that shows the
two lines to write, because the alternative is to compute labels again that the file already has.
"""

import math
import re
from typing import NamedTuple

import numpy as np
from ase import Atoms

from sparring.atoms.dataset import ENERGY, FORCES, STRESS
from sparring.atoms.reference import checked_forces, known_results
from sparring.inputs.checks import check_labels
from sparring.inputs.names import (
    ENERGIES,
    FORCE_COLUMNS,
    foreign_pressure,
    foreign_unit,
    is_gradient,
    like_energy,
    like_forces,
    unknown_vectors,
)
from sparring.inputs.stress import stress_names, take_stress
from sparring.units import quantity

__all__ = ["drop_labels", "take_label"]

LONE_FORCE = 0.1
"""Force on a lone atom that grids of integration leave, in eV/Å."""
SAME_ENERGY = 1e-6
"""Energies of one method that differ by less, in eV, are the same up to their digits."""


class _Found(NamedTuple):
    """Values of a frame by name: scalars of the header and results, and columns."""

    scalars: dict[str, object]
    columns: dict[str, np.ndarray]
    like_energies: list[str]
    like_forces: list[str]
    vectors: list[str]


def take_label(
    atoms: Atoms,
    where: str,
    *,
    energy_key: str = ENERGY,
    forces_key: str = FORCES,
    stress_key: str | None = STRESS,
    required: bool = False,
    foreign_units: bool = False,
) -> list[str]:
    """Put the label of a structure under `REF_energy`, `REF_forces` and `REF_stress`; returns notes on the decisions.

    A structure without any hint of a label is left without; one with an energy and nothing like forces gets the energy
    only. The force on a single atom is zero, also if the file has none.

    Args:
        atoms: Structure, whose `info` and `arrays` are changed and whose calculator is removed.
        where: File and frame, for messages.
        energy_key: The file's name of the energy; left as it is, known names are looked for.
        forces_key: The file's name of the forces; left as it is, known names are looked for.
        stress_key: The file's name of the stress or virial; left as it is, known names are looked for; None for none.
        required: Flag to raise for a structure without a label.
        foreign_units: Flag for a caller that converts units, so that names with another unit are not refused.

    Raises:
        ValueError: If it is not clear what the label is, or it is not finite, of wrong shape or in another unit.
    """
    found, results = _look(atoms), known_results(atoms)
    for name in ENERGIES:
        value = found.scalars.get(name)
        if isinstance(value, float | np.floating) and not math.isfinite(value):
            _energy(name, value, where)
    if not foreign_units:
        _check_units(atoms, found, where)
    named = (energy_key, forces_key) != (ENERGY, FORCES)
    if named:
        _check_names(energy_key, forces_key, where, foreign_units=foreign_units)
        energy_name = energy_key if energy_key in found.scalars else None
        forces_name = forces_key if forces_key in found.columns else None
        notes = _free_energy_left(found, energy_name)
    else:
        energy_name, forces_name, notes = _known_names(found, where)
    unclear = (
        (energy_name is None and (forces_name is not None or found.like_energies or found.like_forces))
        or (energy_name is not None and forces_name is None and (found.like_forces or found.vectors))
        or (energy_name is None and required)
    )
    if unclear:
        raise ValueError(f"{where}: {_not_seen(atoms, found, energy_name, forces_name, energy_key, forces_key)}")
    if forces_name is None:
        _check_header(atoms, where)
    notes += take_stress(
        atoms,
        results,
        where,
        stress_key=stress_key,
        energy_name=energy_name,
        forces_name=forces_name,
        foreign_units=foreign_units,
    )
    if energy_name is None:
        atoms.calc = None
        atoms.info.pop("label", None)
        return notes
    energy = _energy(energy_name, found.scalars[energy_name], where)
    forces = None if forces_name is None else checked_forces(forces_name, found.columns[forces_name], len(atoms), where)
    if forces is None and len(atoms) == 1:
        forces = np.zeros((1, 3))
    check_labels(energy, forces, where, foreign_units=foreign_units)
    if len(atoms) == 1 and atoms.numbers[0] and forces is not None and np.abs(forces).max() > LONE_FORCE:
        raise ValueError(
            f"{where}: a lone atom has no force, {forces_name} is {forces[0].tolist()} eV/Å; correct or remove it"
        )
    atoms.calc = None
    atoms.info.pop(energy_name, None)
    atoms.info[ENERGY] = energy
    if forces_name is not None:
        atoms.arrays.pop(forces_name, None)
    if forces is not None:
        atoms.arrays[FORCES] = forces
    return notes


def drop_labels(atoms: Atoms) -> list[str]:
    """Remove everything that is a label or looks like one; returns notes on it."""
    found = _look(atoms)
    scalars = [name for name in found.scalars if name in ENERGIES or name in found.like_energies]
    columns = [name for name in found.columns if name in FORCE_COLUMNS or name in found.like_forces]
    scalars += stress_names(atoms, known_results(atoms))
    atoms.calc = None
    atoms.info.pop("label", None)
    for name in scalars:
        atoms.info.pop(name, None)
    for name in columns:
        atoms.arrays.pop(name, None)
    if not scalars and not columns:
        return []
    return [f"{', '.join([*scalars, *columns])} of the file are left aside, the frame is labelled anew (relabel: true)"]


def _look(atoms: Atoms) -> _Found:
    results = known_results(atoms)
    scalars = {**{name: value for name, value in results.items() if np.ndim(value) == 0}, **atoms.info}
    columns = {**{name: value for name, value in results.items() if np.ndim(value) > 0}, **atoms.arrays}
    columns = {
        name: np.asarray(value) for name, value in columns.items() if name not in ("numbers", "positions", "stress")
    }
    return _Found(
        scalars,
        columns,
        [name for name, value in scalars.items() if like_energy(name, value) or name in ENERGIES],
        [name for name, value in columns.items() if like_forces(name, value) or name in FORCE_COLUMNS],
        [name for name, value in columns.items() if len(atoms) > 1 and unknown_vectors(name, value)],
    )


def _known_names(found: _Found, where: str) -> tuple[str | None, str | None, list[str]]:
    """Known names of the energy and the forces of one method."""
    if ENERGY in found.scalars or FORCES in found.columns:
        energy_name = ENERGY if ENERGY in found.scalars else None
        return energy_name, FORCES if FORCES in found.columns else None, _free_energy_left(found, energy_name)
    forces_name = "forces" if "forces" in found.columns else None
    there = {name: _energy(name, found.scalars[name], where) for name in ENERGIES if name in found.scalars}
    if not there:
        return None, forces_name, []
    name, energy = next(iter(there.items()))
    others = [other for other in there.values() if abs(other - energy) > SAME_ENERGY]
    total = there.get("total_energy", energy)
    if all(abs(total - other) > SAME_ENERGY for known, other in there.items() if known != "total_energy") and others:
        values = " and ".join(f"{one}={value!r}" for one, value in there.items())
        raise ValueError(f"{where}: {values} differ; name the one that belongs to the forces: `energy_key: {name}`")
    if not others:
        return name, forces_name, []
    return (
        name,
        forces_name,
        [
            "energy and free_energy differ; free_energy, the force-consistent one, is taken as the label, as in labels "
            "that are computed (`energy_key: energy` takes the other)"
        ],
    )


def _free_energy_left(found: _Found, energy_name: str | None) -> list[str]:
    """A word if an energy named otherwise leaves aside a free energy that differs from it."""
    taken, free = found.scalars.get(energy_name or ""), found.scalars.get("free_energy")
    numbers = isinstance(taken, (int, float, np.number)) and isinstance(free, (int, float, np.number))
    if not numbers or energy_name == "free_energy" or abs(float(taken) - float(free)) <= SAME_ENERGY:  # type: ignore[arg-type]
        return []
    return [
        f"{energy_name} is taken as the label, and free_energy differs from it; labels that are computed are the "
        "force-consistent free energy (`energy_key: free_energy` takes it from the file, too)"
    ]


def _not_seen(
    atoms: Atoms, found: _Found, energy_name: str | None, forces_name: str | None, energy_key: str, forces_key: str
) -> str:
    """Message with the names in the frame, and the two lines to write."""
    has = ", ".join([*sorted({*found.scalars} - {"uid"}), *sorted(found.columns)][:30]) or "the geometry"
    energies = [name for name in found.like_energies if name != energy_key] or [energy_key]
    columns = [name for name in (found.like_forces or found.vectors) if name != forces_key]
    energy, forces = energy_name or energies[0], forces_name or (columns[0] if columns else None)
    if forces and found.columns[forces].ndim == 1 and found.columns[forces].size == len(atoms) > 1:
        advice = f"{forces} is one column: announce forces as one group of three in Properties, as in forces:R:3"
    elif forces and is_gradient(forces):
        advice = f"{forces} is a gradient: give forces, which are -dE/dx, in columns of another name"
    else:
        advice = f"name what is meant in section system: `energy_key: {energy}`"
        advice += f", `forces_key: {forces}`" if forces else ""
        advice += " (options --energy-key, --forces-key)"
        advice += "" if found.like_forces or not columns else f", rename {forces} if it is no force"
    units = [one for one in map(foreign_unit, filter(None, (energy, forces))) if one]
    if {"i", "time", "E"} <= set(atoms.info) and energy == "E":
        units.append("Hartree, as CP2K writes E")
    convert = f"; convert to eV and eV/Å first, the unit seems to be {units[0]}" if units else ""
    missing = [key for key, name in ((energy_key, energy_name), (forces_key, forces_name)) if name is None]
    if not found.like_energies and not found.like_forces:
        return f"there is no {missing[0]!r}, only {has}; {advice}, or label the structures first"
    what = " and ".join(repr(key) for key in missing)
    return f"there is no {what}, only {has}; {advice}, or `relabel: true` to label all frames anew{convert}"


# --- values ---------------------------------------------------------------------------------------------------------


def _check_names(energy_key: str, forces_key: str, where: str, *, foreign_units: bool) -> None:
    if is_gradient(forces_key):
        raise ValueError(
            f"{where}: forces_key {forces_key!r} is a gradient by its name; forces are -dE/dx, in eV/Å: change the "
            "sign, and call the columns otherwise"
        )
    for option, key in (("energy_key", energy_key), ("forces_key", forces_key)):
        unit = foreign_unit(key)
        if unit and not foreign_units:
            raise ValueError(
                f"{where}: {option} {key!r} has the unit {unit} by its name; energies are in eV and forces in eV/Å: "
                "convert them, and call them otherwise"
            )


def _check_header(atoms: Atoms, where: str) -> None:
    """Check that forces do not stand in the header, where they would be overlooked."""
    for name, value in atoms.info.items():
        many = isinstance(value, np.ndarray) and value.size == 3 * len(atoms) > 3
        if many and "forc" in name.lower() and not name.startswith("committee_"):
            raise ValueError(
                f"{where}: {name} stands in the header with {3 * len(atoms)} numbers; forces belong into columns, "
                "as in Properties=species:S:1:pos:R:3:forces:R:3"
            )


def _check_units(atoms: Atoms, found: _Found, where: str) -> None:
    """Check for units in the header, which are not converted."""
    for name, value in atoms.info.items():
        word = None
        if "unit" in name.lower() and isinstance(value, str):
            words = re.split(r"[\s,;]+", value)
            word = next((one for one in words if foreign_unit(one) or foreign_pressure(one)), None)
        elif value is True and (found.like_energies or found.like_forces):
            word = foreign_unit(name, whole=True)
        if word:
            said = f"{name}={value}" if value is not True else name
            raise ValueError(
                f"{where}: the header has {said!r}; a unit in a file is not converted: energies are in eV, lengths in "
                "Å, forces in eV/Å, stresses in eV/Å³"
            )


def _energy(name: str, value: object, where: str) -> float:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, str) and foreign_unit(value):
        try:
            hint = f"; {name}={quantity(value, 'energy')!r} if that is the unit"
        except ValueError:
            hint = ""
        raise ValueError(f"{where}: {name} carries a unit, {value!r}; energies are numbers in eV{hint}")
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
        raise ValueError(f"{where}: {name} must be one finite number in eV, got {value!r}; label it again")
    return float(value)
