"""Agreement of the labels of a file with those of a labeller: unit, sign, zero of energy, method.

Both label the same few frames. Where they disagree, the pattern of the differences shows why: a constant ratio is a
unit, a ratio of -1 a sign, a constant difference of energies another zero, and anything else another method.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sparring.plausibility.findings import ENERGY_UNITS, FORCE_UNITS, Finding, nearest_unit
from sparring.plausibility.stresses import stress_disagreements

__all__ = ["Compared", "disagreements"]

FORCE_NOISE, FORCE_SHARE = 5e-3, 0.02
"""Forces agree to this, in eV/Å, plus this share of their size: versions of a code and grids differ by less."""
ENERGY_NOISE, ENERGY_SHARE = 2e-3, 0.02
"""Energies agree to this an atom, in eV; differences of energies to that plus this share of their size."""
ANEW = "take the labels out of the file to have it labelled anew, or name the labeller that made them"
PARALLEL = 0.98
"""Forces whose directions agree to this cosine differ by a factor."""


class Compared(NamedTuple):
    """A frame with the label of the file and the labeller's.

    Attributes:
        name: Name of the frame in messages.
        composition: Energies are compared within it.
        numbers: Atomic numbers.
        energy: Energy of the file, in eV.
        forces: Forces of the file, in eV/Å; None where there are none.
        own_energy: Energy of the labeller, in eV.
        own_forces: Forces of the labeller, in eV/Å.
        stress: Stress of the file, in eV/Å³; None where there is none.
        own_stress: Stress of the labeller, in eV/Å³.
    """

    name: str
    composition: str
    numbers: Sequence[int]
    energy: float
    forces: Float[np.ndarray, "n_atoms 3"] | None
    own_energy: float
    own_forces: Float[np.ndarray, "n_atoms 3"]
    stress: Float[np.ndarray, "6"] | None = None
    own_stress: Float[np.ndarray, "6"] | None = None

    @property
    def noise(self) -> float:
        """To what the energies agree, in eV."""
        return ENERGY_NOISE * len(self.numbers)


def disagreements(
    frames: Sequence[Compared],
    file: str,
    *,
    energy_unit: str = "eV",
    forces_unit: str = "eV/Å",
    stress_unit: str = "eV/Å³",
    stress_sign: str = "tension",
) -> list[Finding]:
    """In what the labels of a file differ from the labeller's, with what to do about it; empty if they agree.

    Args:
        frames: The frames that both have labelled.
        file: Name of the file.
        energy_unit: Unit that the energies of the file were read in.
        forces_unit: Unit that its forces were read in.
        stress_unit: Unit that its stresses were read in.
        stress_sign: Sign that they were read with: positive under "tension" or "compression".
    """
    if not frames:
        return []
    stresses = [(one.stress, one.own_stress) for one in frames if one.stress is not None and one.own_stress is not None]
    found = [
        *_fixed(frames),
        *_forces(frames, FORCE_UNITS.get(forces_unit, 1.0)),
        *_energies(frames, ENERGY_UNITS.get(energy_unit, 1.0)),
        *stress_disagreements(stresses, stress_unit, stress_sign),
    ]
    return [one._replace(text=f"{file}: {one.text}") for one in found]


# --- forces -----------------------------------------------------------------------------------------------------------


def _zeroed(frame: Compared) -> np.ndarray:
    """Atoms without any force in the file on which the labeller has one."""
    assert frame.forces is not None
    has_force = np.linalg.norm(frame.own_forces, axis=1) > 10 * FORCE_NOISE
    return np.asarray(~frame.forces.any(axis=1) & has_force)


def _fixed(frames: Sequence[Compared]) -> Iterator[Finding]:
    held = [frame for frame in frames if frame.forces is not None and _zeroed(frame).any()]
    if held:
        frame, atoms = held[0], np.flatnonzero(_zeroed(held[0]))
        largest = np.linalg.norm(frame.own_forces[atoms], axis=1).max()
        some = ", ".join(map(str, atoms[:5].tolist())) + (", ..." if len(atoms) > 5 else "")
        yield Finding(
            "stop",
            f"the forces on {len(atoms)} of {len(frame.numbers)} atoms of {frame.name} ({some}) are exactly zero, by "
            f"the labeller they are up to {largest:.3g} eV/Å: those of fixed atoms were set to zero; write the "
            "true ones (ASE: get_forces(apply_constraint=False))",
        )


def _forces(frames: Sequence[Compared], read_as: float) -> Iterator[Finding]:
    both = [
        (frame.forces[~_zeroed(frame)], frame.own_forces[~_zeroed(frame)])
        for frame in frames
        if frame.forces is not None
    ]
    file = np.concatenate([one.ravel() for one, _ in both]) if both else np.zeros(0)
    own = np.concatenate([one.ravel() for _, one in both]) if both else np.zeros(0)
    size, own_size = _rms(file), _rms(own)
    if _rms(file - own) <= FORCE_NOISE + FORCE_SHARE * own_size:
        return
    cosine = float(file @ own) / max(float(np.linalg.norm(file) * np.linalg.norm(own)), 1e-300)
    measured = f"root mean square {size:.4g} eV/Å, by the labeller {own_size:.4g} eV/Å, on {len(both)} frames"
    if abs(cosine) < PARALLEL or own_size < 2 * FORCE_NOISE:
        yield Finding(
            "stop",
            f"the forces are not those of this labeller (cosine {cosine:.3f}; {measured}): another method, other atoms "
            f"or another geometry; {ANEW}",
        )
        return
    factor = own_size / size
    if cosine < 0:
        yield Finding(
            "stop",
            f"the forces have the opposite sign (cosine {cosine:.3f}): they look like gradients; multiply them by -1",
        )
    unit = nearest_unit(factor * read_as, FORCE_UNITS, within=0.12)
    if abs(math.log(factor)) <= FORCE_SHARE:
        return
    if unit is not None and abs(FORCE_UNITS[unit] / read_as - 1) > 1e-9:
        yield Finding(
            "stop",
            f"the forces look like {unit}: ratio {factor * read_as:.4g} to eV/Å ({measured}); write `forces_unit: "
            f"{unit}` in the section system, or convert the file to eV/Å",
        )
    else:
        yield Finding(
            "stop",
            f"the forces are {1 / factor:.4g} times those of this labeller ({measured}), which is no unit: scaled, or "
            f"another method; {ANEW}",
        )


# --- energies ---------------------------------------------------------------------------------------------------------


def _energies(frames: Sequence[Compared], read_as: float) -> Iterator[Finding]:
    file = np.array([frame.energy for frame in frames])
    own = np.array([frame.own_energy for frame in frames])
    noise = np.array([frame.noise for frame in frames])
    if (np.abs(file - own) <= noise).all():
        return
    first = frames[0]
    measured = f"{first.name}: {first.energy / read_as:.6f} in the file, {first.own_energy:.6f} eV by the labeller"
    differences, own_differences, allowed = _differences(frames)
    total = _ratio_of(file, own)
    unit = nearest_unit(total * read_as, ENERGY_UNITS, within=0.002) if total is not None and total > 0 else None
    if unit is not None and abs(ENERGY_UNITS[unit] / read_as - 1) > 1e-9:
        yield _unit(unit, f"ratio {total * read_as:.6g} to eV ({measured})")  # type: ignore[operator]
    elif not own_differences.any() or (np.abs(own_differences) <= allowed).all():
        yield _one_difference(frames, file - own, measured)
    elif (np.abs(differences - own_differences) <= allowed + ENERGY_SHARE * np.abs(own_differences)).all():
        yield _zero(frames, file - own, measured)
    else:
        yield from _ratio_of_differences(differences, own_differences, read_as, measured)


def _ratio_of_differences(
    file: Float[np.ndarray, " n"], own: Float[np.ndarray, " n"], read_as: float, measured: str
) -> Iterator[Finding]:
    ratio = _ratio_of(file, own, within=0.1)
    counted = f"of {len(own)} difference{'s' * (len(own) > 1)} of energies between frames"
    unit = nearest_unit(abs(ratio) * read_as, ENERGY_UNITS, within=0.12) if ratio else None
    if ratio is not None and ratio < 0:
        yield Finding("stop", f"the energies have the opposite sign (ratio {ratio:.4g} {counted}); multiply them by -1")
    if unit is not None and ratio is not None and abs(ENERGY_UNITS[unit] / read_as - 1) > 1e-9:
        yield _unit(unit, f"ratio {abs(ratio) * read_as:.4g} to eV {counted}; {measured}; their zero is another, too")
    elif ratio is None or ratio > 0:
        shown = ", ".join(f"{one:.4g} and {other:.4g} eV" for one, other in zip(file, own, strict=True))
        yield Finding(
            "stop",
            f"the energies are not those of this labeller: differences between frames are {shown} ({measured}): "
            f"another method; {ANEW}",
        )


def _unit(unit: str, evidence: str) -> Finding:
    return Finding(
        "stop",
        f"the energies look like {unit}: {evidence}; write `energy_unit: {unit}` in the section system, or convert the "
        "file to eV",
    )


def _zero(frames: Sequence[Compared], offsets: Float[np.ndarray, " n_frames"], measured: str) -> Finding:
    """Differences agree, totals do not."""
    by_composition = {frame.composition: offset for frame, offset in zip(frames, offsets, strict=True)}
    atoms = {frame.composition: len(frame.numbers) for frame in frames}
    per_atom = [offset / atoms[name] for name, offset in by_composition.items()]
    listed = ", ".join(f"{offset:+.6g} eV for {name}" for name, offset in by_composition.items())
    if len(per_atom) > 1 and np.ptp(per_atom) <= 2 * ENERGY_NOISE:
        listed += f" ({np.mean(per_atom):+.6g} eV an atom)"
    return Finding(
        "stop",
        f"the energies have another zero: {listed}, while differences between frames agree ({measured}): atomization "
        "or formation energies, pseudopotentials, or energies of atoms taken off; give total energies of this labeller",
    )


def _one_difference(frames: Sequence[Compared], offsets: Float[np.ndarray, " n_frames"], measured: str) -> Finding:
    """No two frames of a composition whose energies differ enough to tell a zero from a method."""
    listed = ", ".join(f"{offset:+.6g} eV for {one.composition}" for one, offset in zip(frames, offsets, strict=True))
    return Finding(
        "stop",
        f"the energies are not those of this labeller ({listed}; {measured}): another zero or another method, which "
        f"{len(frames)} frame{'s' * (len(frames) > 1)} cannot tell apart; give total energies of this labeller",
    )


def _differences(frames: Sequence[Compared]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies of frames above the first of their composition: of the file, of the labeller, and what is noise."""
    first: dict[str, Compared] = {}
    rows = []
    for frame in frames:
        base = first.setdefault(frame.composition, frame)
        if frame is not base:
            rows.append((frame.energy - base.energy, frame.own_energy - base.own_energy, frame.noise))
    table = np.array(rows, dtype=float).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def _ratio_of(file: np.ndarray, own: np.ndarray, within: float = 0.002) -> float | None:
    """The factor from the one to the other, or None if it is not the same for all."""
    if not len(file) or not float(file @ file) or not float(own @ own):
        return None
    factor = float(file @ own) / float(file @ file)
    return factor if factor and np.abs(factor * file - own).max() <= within * np.abs(own).max() else None


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else 0.0
