"""Owners of labels: structures that they belong to by their key, or by the geometry that they were computed at."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms

from sparring.atoms.composition import composition
from sparring.atoms.electronic_state import electronic_state
from sparring.atoms.reference import ENERGY, FORCES, STRESS, has_volume
from sparring.exchange.answers import Answer
from sparring.exchange.geometry import Motion, motion_onto
from sparring.labels.base import label_input
from sparring.labels.offline import AnswerError

__all__ = ["Given", "Matched", "Problem", "matched", "require_agreement"]

NEAR = 1e-6
"""Deviation in Å that is rounding; a frame is that of each structure that is at most twice as far as the nearest."""
SAME_ENERGY, SAME_FORCE = 1e-4, 1e-3
"""Two labels of one structure agree to this, in eV and eV/Å."""
SHOWN = 5


class Given(NamedTuple):
    """A label in the frame and the order of the structure that was asked for.

    Attributes:
        where: File and frame, for messages.
        energy: Energy in eV.
        forces: Forces in eV/Å.
        stress: Stress in eV/Å³; None where there is none.
        deviation: Largest distance in Å of an atom from where it was asked for.
    """

    where: str
    energy: float
    forces: np.ndarray
    stress: np.ndarray | None
    deviation: float


class Problem(NamedTuple):
    """A calculation that gave no label: its file and frame, and the reason."""

    where: str
    reason: str


class Matched(NamedTuple):
    """Labels and failed calculations by the key of their structure. Where there is a label, failures do not count."""

    labels: dict[str, Given]
    problems: dict[str, Problem]


def matched(
    asked: Mapping[str, Atoms], answers: Iterable[Answer], *, tolerance: float, depends_on: Sequence[str] = ()
) -> Matched:
    """The label of each structure; of several that agree the first.

    A frame with a key is checked against the geometry of that key. Any other belongs to the structure with the same
    geometry, but for a rigid motion and the order of atoms (:mod:`sparring.exchange.geometry`).

    Args:
        asked: Structures that were asked for, by their keys.
        answers: Frames that came back.
        tolerance: Largest distance of atoms from where they were asked for, in Å.
        depends_on: Names in info or arrays that labels depend on besides the standard ones.

    Raises:
        AnswerError: If a frame belongs to no structure or it is not clear to which one, its charge or multiplicity is
            another, or two labels of one structure differ.
    """
    labels: dict[str, Given] = {}
    problems: dict[str, Problem] = {}
    refused: list[str] = []
    by_composition: dict[str, list[str]] = {}
    for key, atoms in asked.items():
        by_composition.setdefault(_formula(atoms), []).append(key)
    for answer in answers:
        try:
            found = _owners(answer, asked, by_composition, tolerance, depends_on)
            for key, motion in found.items():
                if answer.problem:
                    problems.setdefault(key, Problem(answer.where, answer.problem))
                    continue
                given = _given(answer, asked[key], motion)
                if key in labels:
                    require_agreement(labels[key], given)
                labels.setdefault(key, given)
        except AnswerError as error:
            refused.append(str(error))
    if refused:
        more = f"\nand {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
        raise AnswerError("\n".join(refused[:SHOWN]) + more)
    return Matched(labels, {key: problem for key, problem in problems.items() if key not in labels})


def require_agreement(first: Given, second: Given) -> None:
    """Refuse two labels of one structure that differ.

    Raises:
        AnswerError: If their energies or forces differ by more than the digits of files.
    """
    energy = abs(first.energy - second.energy)
    force = float(np.abs(first.forces - second.forces).max(initial=0.0))
    if energy > SAME_ENERGY or force > SAME_FORCE:
        raise AnswerError(
            f"{second.where}: {first.where} is a label of the same structure, and their energies differ by "
            f"{energy:.4g} eV and their forces by {force:.4g} eV/Å; remove the wrong one, or give each its key "
            "(key=... in the header) if they are of different structures"
        )


def _owners(
    answer: Answer,
    asked: Mapping[str, Atoms],
    by_composition: Mapping[str, Sequence[str]],
    tolerance: float,
    depends_on: Sequence[str],
) -> dict[str, Motion]:
    """The structures that a frame is a label of."""
    if answer.key is not None and answer.key not in asked:
        raise AnswerError(
            f"{answer.where}: its key {answer.key[:12]}... is none of those that were asked for here; remove the frame"
        )
    if answer.atoms is None:
        return {} if answer.key is None else {answer.key: Motion(0.0)}
    candidates = [answer.key] if answer.key is not None else by_composition.get(_formula(answer.atoms), ())
    motions = {key: motion_onto(asked[key], answer.atoms, tolerance) for key in candidates}
    near = {key: motion for key, motion in motions.items() if motion.deviation <= tolerance}
    if not near:
        raise AnswerError(_foreign(answer, asked, motions, tolerance))
    same_state = {key: motion for key, motion in near.items() if _state_of(answer.atoms, asked[key]) is None}
    if not same_state:
        raise AnswerError(f"{answer.where}: {_state_of(answer.atoms, asked[next(iter(near))])}")
    least = min(motion.deviation for motion in same_state.values())
    nearest = {key: motion for key, motion in same_state.items() if motion.deviation <= 2 * least + NEAR}
    _require_one_input([asked[key] for key in nearest], answer.where, depends_on)
    return nearest


def _formula(atoms: Atoms) -> str:
    return composition(Atoms(atoms.numbers))


def _foreign(answer: Answer, asked: Mapping[str, Atoms], motions: Mapping[str, Motion], tolerance: float) -> str:
    assert answer.atoms is not None
    formula = answer.atoms.get_chemical_formula()
    if answer.key is not None and _formula(answer.atoms) != _formula(asked[answer.key]):
        wanted = asked[answer.key].get_chemical_formula()
        return f"{answer.where}: it has the atoms {formula}, and its key is that of {wanted}; correct the key"
    if not motions:
        return (
            f"{answer.where}: no structure with the atoms {formula} was asked for; remove the frame, or move the file "
            "to the folder of the generation that it is for"
        )
    key, nearest = min(motions.items(), key=lambda one: one[1].deviation)
    number = list(asked).index(key)
    if np.isfinite(nearest.deviation):
        where = f"atoms or lattice vectors are up to {nearest.deviation:.3g} Å from those of"
    else:
        where = "its atoms are in another order and places, or it repeats along other directions, than those of"
    which = "its key" if answer.key is not None else "the nearest structure"
    return (
        f"{answer.where}: this is not a geometry that was asked for: {where} {which} ({key[:12]}..., structure "
        f"{number} of those asked for, counting from 0), and {tolerance:g} Å are allowed; compute energy "
        "and forces of the written geometry, without relaxing it, or remove the frame"
    )


def _state_of(given: Atoms, wanted: Atoms) -> str | None:
    """Difference of charge or multiplicity, where a frame has its own."""
    state = electronic_state(wanted)._asdict()
    for name, value in state.items():
        own = given.info.get(name, value)
        if own != value:
            return (
                f"its {name} is {own}, and that of the structure that was asked for is {value}; compute it with {name} "
                f"{value}, or remove the frame"
            )
    return None


def _require_one_input(structures: Sequence[Atoms], where: str, depends_on: Sequence[str]) -> None:
    """Refuse a frame that may belong to structures that differ in more than their geometry."""
    inputs = [label_input(atoms, depends_on) for atoms in structures]
    for other in inputs[1:]:
        names = [name for name in {**inputs[0].info, **other.info} if _differ(inputs[0].info, other.info, name)]
        arrays = {*inputs[0].arrays, *other.arrays} - {"numbers", "positions"}
        names += [name for name in sorted(arrays) if _differ(inputs[0].arrays, other.arrays, name)]
        if names:
            raise AnswerError(
                f"{where}: several structures with this geometry were asked for, which differ in {', '.join(names)}; "
                "say which one it is by its key (key=... in the header, or in the name of the file or folder)"
            )


def _differ(one: Mapping[str, object], other: Mapping[str, object], name: str) -> bool:
    if name not in one or name not in other:
        return True
    return not np.array_equal(np.asarray(one[name]), np.asarray(other[name]))


def _given(answer: Answer, target: Atoms, motion: Motion) -> Given:
    assert answer.atoms is not None
    stress = answer.atoms.info.get(STRESS) if has_volume(target) else None
    return Given(
        where=answer.where,
        energy=float(answer.atoms.info[ENERGY]),
        forces=motion.vectors(answer.atoms.arrays[FORCES]),
        stress=None if stress is None else motion.stress(np.asarray(stress, dtype=float)),
        deviation=motion.deviation,
    )
