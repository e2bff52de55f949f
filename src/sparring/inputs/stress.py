"""Stresses and virials in files of users, which belong to the energy of a frame.

A label without a stress is a label, too: an unknown name is therefore mentioned, and no error. Two values that
contradict each other are one.
"""

from collections.abc import Mapping

import numpy as np
from ase import Atoms

from sparring.atoms.dataset import ENERGY, STRESS
from sparring.atoms.reference import has_volume, stress_named
from sparring.inputs.checks import check_stress
from sparring.inputs.names import ENERGIES, FORCE_COLUMNS, STRESSES, foreign_pressure, like_stress

__all__ = ["stress_names", "take_stress"]

SAME_SHARE, SAME_STRESS = 1e-3, 1e-5
"""Stresses that differ by less are the same: by this share of the largest component, and this in eV/Å³."""


def stress_names(atoms: Atoms, results: Mapping[str, object], stress_key: str | None = STRESS) -> list[str]:
    """Names in a frame that are those of a stress or a virial, or look like it."""
    return [name for name, value in _values(atoms, results).items() if _is_one(name, value, stress_key)]


def take_stress(
    atoms: Atoms,
    results: Mapping[str, object],
    where: str,
    *,
    stress_key: str | None,
    energy_name: str | None,
    forces_name: str | None,
    foreign_units: bool,
) -> list[str]:
    """Put the stress of a frame under `REF_stress`, in eV/Å³, and return notes on the decisions.

    Args:
        atoms: Structure, whose `info` is changed: known names are removed.
        results: Results of its calculator.
        where: File and frame, for messages.
        stress_key: The file's name of the stress or the virial; left as it is, known names are looked for; None to
            leave stresses aside.
        energy_name: Name of the energy that the frame is labelled with; None if it has none.
        forces_name: Name of the forces.
        foreign_units: Flag for a caller that converts units.

    Raises:
        ValueError: If the stress is not finite, not symmetric, of wrong shape or in another unit, or there are several
            that differ.
    """
    values = {name: value for name, value in _values(atoms, results).items() if _is_one(name, value, stress_key)}
    known = [name for name in values if name in STRESSES or name == stress_key]
    for name in known:
        atoms.info.pop(name, None)
    if energy_name is None:
        return [f"{', '.join(known)} without an energy is left aside"] if known else []
    if stress_key is None:
        return [f"{', '.join(known)} is left aside (stress_key: null)"] if known else []
    if not has_volume(atoms):
        reason = 'a stress is that of a cell that is periodic in all three directions (pbc="T T T")'
        return [f"{', '.join(known)} is left aside: {reason}"] if known else []
    chosen = [stress_key] if stress_key != STRESS else _of_the_energy(energy_name, forces_name)
    taken = {name: stress_named(name, values[name], atoms, where) for name in chosen if name in values}
    for name, stress in taken.items():
        check_stress(stress, name, where, foreign_units=foreign_units)
    units = [unit for unit in map(foreign_pressure, taken) if unit]
    if units and not foreign_units:
        raise ValueError(f"{where}: stress_key {stress_key!r} has a unit by its name; write `stress_unit: {units[0]}`")
    if not taken:
        text = f"{', '.join(values)} is not taken for the stress of this label; `stress_key: {min(values, default='')}`"
        text += " takes it"
        return [text] if values else []
    first, *others = taken.items()
    for name, stress in others:
        if np.abs(stress - first[1]).max() > SAME_SHARE * np.abs(stress).max() + SAME_STRESS:
            raise ValueError(
                f"{where}: {first[0]} and {name} differ: {_shown(first[1])} and {_shown(stress)} eV/Å³, if a virial is "
                f"minus the volume times the stress; name the right one: `stress_key: {first[0]}`, or `{name}`"
            )
    atoms.info[STRESS] = first[1]
    return []


def _values(atoms: Atoms, results: Mapping[str, object]) -> dict[str, object]:
    there = {**({"stress": results["stress"]} if "stress" in results else {}), **atoms.info}
    return {name: value for name, value in there.items() if value is not None}


def _is_one(name: str, value: object, stress_key: str | None) -> bool:
    return name in STRESSES or name == stress_key or like_stress(name, value)


def _of_the_energy(energy_name: str, forces_name: str | None) -> list[str]:
    """Known names of the stress that belongs to an energy: of one kind, as for the forces."""
    if energy_name == ENERGY:
        return [name for name in STRESSES if name.startswith("REF_")]
    plain = energy_name in ENERGIES or forces_name in FORCE_COLUMNS[1:]
    return [name for name in STRESSES if plain and not name.startswith("REF_")]


def _shown(stress: np.ndarray) -> str:
    return "[" + ", ".join(f"{one:.4g}" for one in stress) + "]"
