"""Charge and multiplicity of a frame, under any known names; two values that differ are an error."""

import operator
import re
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from sparring.atoms.electronic_state import electronic_state
from sparring.atoms.reference import known_results
from sparring.inputs.names import CHARGES, MULTIPLICITIES, like_charge, like_multiplicity

__all__ = ["take_state"]

MOST_ADDED = 4
"""Largest number of electrons an atom that an anion has more than its neutral atoms."""


def take_state(atoms: Atoms, where: str, words: Sequence[str] = ()) -> list[str]:
    """Put charge and multiplicity of a structure under `charge` and `multiplicity`, and return notes on ignored data.

    `spin` and `total_spin` are multiplicities, as OMol25, fairchem and MACE have them. PySCF's `spin` is 2S; since the
    two differ by one, only one of them fits the number of electrons, and the other is an error here.

    Args:
        atoms: The structure, whose `info` is changed.
        where: File and frame, for messages.
        words: Words of the comment line that have no value.

    Raises:
        ValueError: If a value is no whole number, two names disagree, or the number of electrons does not fit.
    """
    notes = [*_bare_pair(atoms, words, where), *_in_words(words)]
    for word in {*words} & {*CHARGES, *MULTIPLICITIES}:  # of a sentence, not a key
        atoms.info.pop(word, None)
    charge = _one_of(atoms, CHARGES, where)
    multiplicity = _one_of(atoms, MULTIPLICITIES, where)
    notes += _ignored(atoms, moment=multiplicity is None)
    if charge is None and multiplicity is None:
        return notes
    for name, found in (("charge", charge), ("multiplicity", multiplicity)):
        if found is not None:
            atoms.info[name] = found[1]
    if charge is not None and charge[1] < -MOST_ADDED * len(atoms):
        raise ValueError(
            f"{where}: {charge[0]}={charge[1]} adds {-charge[1]} electrons to {len(atoms)} atoms, allowed are "
            f"{MOST_ADDED} an atom; correct it"
        )
    if (atoms.numbers > 0).all():
        _check_electrons(atoms, multiplicity, where)
    return notes


def _one_of(atoms: Atoms, names: tuple[str, ...], where: str) -> tuple[str, int] | None:
    """The value that all names of a meaning agree about, and the first of the names; they are taken out of `info`."""
    found = {name: _whole(name, atoms.info.pop(name), where) for name in names if name in atoms.info}
    if len(set(found.values())) > 1:
        values = " and ".join(f"{name}={value}" for name, value in found.items())
        raise ValueError(f"{where}: {values} disagree, and mean the same; keep {names[0]} with the right value")
    return next(iter(found.items()), None)


def _whole(name: str, value: object, where: str) -> int:
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        if isinstance(value, float | np.floating) and value == int(value):
            return int(value)
        if isinstance(value, np.ndarray):
            raise TypeError
        return operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where}: {name} must be a whole number, got {value!r}; correct it") from None


def _check_electrons(atoms: Atoms, multiplicity: tuple[str, int] | None, where: str) -> None:
    try:
        electronic_state(atoms)
    except ValueError as error:
        name, value = multiplicity or ("multiplicity", 0)
        if name not in ("spin", "total_spin"):
            raise ValueError(f"{where}: {error}") from error
        raise ValueError(
            f"{where}: {name}={value} read as multiplicity 2S+1 (OMol25, fairchem, MACE) does not fit "
            f"{atoms.get_chemical_formula()} with charge {atoms.info.get('charge', 0)}; if it is 2S (PySCF), write "
            f"multiplicity={value + 1}"
        ) from error


def _bare_pair(atoms: Atoms, words: Sequence[str], where: str) -> list[str]:
    """A comment line such as "1 2", which many programs take for charge and multiplicity."""
    if len(words) != 2 or not re.fullmatch(r"[+-]?[0-9]{1,2} [0-9]{1,2}", " ".join(words)):
        return []
    for word in words:
        atoms.info.pop(word, None)
    pair = f"charge={int(words[0])} multiplicity={int(words[1])}"
    lowest = electronic_state(Atoms(atoms.numbers)).multiplicity
    if (int(words[0]), int(words[1])) == (0, lowest) and not atoms.info:
        return [f"the comment line {' '.join(words)!r} is not read; write {pair!r} if it is charge and multiplicity"]
    raise ValueError(
        f"{where}: the comment line {' '.join(words)!r} may be charge and multiplicity, which are not guessed; write "
        f"{pair!r}, or words if it is something else"
    )


def _in_words(words: Sequence[str]) -> list[str]:
    """Charges and multiplicities that a comment in words speaks of."""
    written = re.findall(r"\b(charge|mult|multiplicity|spin)\b ?:? ?([+-]?[0-9]+)\b", " ".join(words), re.IGNORECASE)
    return [f"{name}: {value} in the comment line is not read; write it as key=value" for name, value in written]


def _size(value: object) -> float:
    return abs(float(value)) if isinstance(value, int | float | np.number) else 0.0


def _ignored(atoms: Atoms, *, moment: bool) -> list[str]:
    notes = []
    magmom = known_results(atoms).get("magmom", 0.0)  # ASE takes it out of the header
    moments = {"magmom": magmom} if moment and np.ndim(magmom) == 0 and _size(magmom) >= 0.5 else {}
    for name, value in (atoms.info | moments).items():
        if isinstance(value, bool | str) or np.ndim(value) != 0:
            continue
        for looks, meaning, proper in (
            (like_charge, "a charge", CHARGES[0]),
            (like_multiplicity, "a multiplicity or a number of electrons", MULTIPLICITIES[0]),
        ):
            if looks(name) and name not in (*CHARGES, *MULTIPLICITIES):
                notes.append(f"{name} looks like {meaning} and is ignored; write {proper}=... if it is one")
    return notes
