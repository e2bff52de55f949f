r"""Stresses of a file against its energies, and against those of a labeller: unit, sign, virials, another method.

Between two frames whose cells differ by a small strain, energies change by the work of stress and forces:

.. math:: E_b - E_a \approx \tfrac 1 2 \sum_{c = a, b} \Big( V_c S_c : D_c - \sum_i F_{ci} \cdot u_{ci} \Big),
    \qquad D_c = h_c^{-1} (h_b - h_a)

with lattice vectors h as rows, volume V, stress S (positive under tension), and the displacement u of an atom at fixed
cell: its change of fractional coordinates in the cell c. Volumes scanned for an equation of state, strained cells and
dynamics with a barostat have such pairs.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from jaxtyping import Float

from sparring.atoms.reference import ENERGY, FORCES, STRESS, has_volume
from sparring.plausibility.findings import STRESS_UNITS, Finding, nearest_unit
from sparring.units import GPA, quantity

__all__ = ["stress_disagreements", "stress_inconsistencies"]

LARGEST_STRAIN, SMALLEST_STRAIN = 0.1, 1e-5
"""Strains between two frames that are compared: beyond, the sum is none of the integral; below, rounding decides."""
FARTHEST, STILL = 0.2, 1e-3
"""Largest displacement of an atom at fixed cell, in Å; the second where frames have no forces."""
MOST_FRAMES, MOST_PAIRS, FEWEST_PAIRS = 100, 100, 3
ENERGY_NOISE = 2e-3
"""Change of energy, in eV, that tells nothing."""
EXPLAINED, CERTAIN = 0.8, 0.98
"""Share of the squared changes of energy that a unit or a sign must explain to be believed, and any other factor."""
N_ITERATIONS = 5
CONSTANT = 2e-3
"""Constant pressure in eV/Å³ between stresses and slopes of energies, above which it is reported."""
FRAMES_OF_CONSTANT = 6
"""Smallest number of frames that tell a factor from a constant pressure."""
STRESS_NOISE, STRESS_SHARE = 2e-3, 0.05
"""Stresses of two calculations agree to this, in eV/Å³, plus this share of their size."""
PARALLEL = 0.98


class _Pair(NamedTuple):
    """Two frames a small strain apart, with energies in eV.

    Attributes:
        first: Number of the first frame.
        second: Number of the second frame.
        change: Change of the energy by the strain: without the work of the forces.
        expected: Change by the stresses, the mean of both.
        by_stress: Difference of what either stress says.
        by_forces: Difference of what the forces of either frame say.
        expansion: Change of the volume in Å³.
        volume: Mean volume in Å³.
    """

    first: int
    second: int
    change: float
    expected: float
    by_stress: float
    by_forces: float
    expansion: float
    volume: float

    def spread(self, factor: float) -> float:
        """Difference of what either end says of the change, with stresses times a factor; their mean errs by less."""
        return abs(factor * self.by_stress + self.by_forces)


class _Fit(NamedTuple):
    """Changes of energies as a multiple of the work of stresses, plus that of a constant pressure in eV/Å³."""

    factor: float
    constant: float
    explained: float


def stress_inconsistencies(
    structures: Sequence[Atoms], file: str, *, stress_unit: str = "eV/Å³", stress_sign: str = "tension"
) -> list[Finding]:
    """In what the stresses of a file contradict its energies; empty if they agree or cannot be compared.

    Args:
        structures: Frames of the file with labels in eV, eV/Å and eV/Å³; those without energy and stress do not count.
        file: Name of the file.
        stress_unit: Unit that the stresses of the file were read in.
        stress_sign: Sign that they were read with: positive under "tension" or "compression".
    """
    rows = [row for row in _pairs(structures) if max(abs(row.change), abs(row.expected)) > ENERGY_NOISE]
    if len(rows) < FEWEST_PAIRS:
        return []
    agree = np.array([abs(row.change - row.expected) <= 0.25 * row.spread(1.0) + ENERGY_NOISE for row in rows])
    example = max(rows, key=lambda row: abs(row.expected))
    measured = f"{len(rows)} pairs of strained frames, such as {example.first} and {example.second}"
    fit = _fitted(rows)
    told = f"{file}: energies change by {fit.factor:.4g} times what the stresses say ({measured})"
    if fit.explained > EXPLAINED:
        opposite = _wrong_sign(fit.factor, rows, stress_unit, stress_sign)
        if opposite is not None:
            return [_stop(f"{told}: {opposite}")]
        unit = _unit(fit.factor, stress_unit)
        if unit is not None:
            return [
                _stop(
                    f"{told}, so that they are not in {stress_unit}. They look like {unit}: write "
                    f"`stress_unit: {unit}` in the section system, or convert the file to eV/Å³"
                )
            ]
    as_much = _is_one(fit.factor)
    if fit.explained > CERTAIN and as_much and abs(fit.constant) > CONSTANT:
        return [
            Finding(
                "warn",
                f"{file}: stresses differ from the slopes of energies by a constant pressure of "
                f"{-fit.constant / GPA:.2g} GPa ({measured}): Pulay stress of a small basis set, or another setting; a "
                "committee learns both as well as it can",
            )
        ]
    if agree.mean() >= 0.5 and (as_much or fit.explained < CERTAIN):
        return []
    return [
        _stop(
            f"{told}, and by as much in {np.mean(agree):.0%} of them: energies and stresses do not belong together; "
            "look for another method or order, or a stress of another kind (zero, or with the part of moving atoms)"
        )
    ]


def stress_disagreements(
    stresses: Sequence[tuple[Float[np.ndarray, "6"], Float[np.ndarray, "6"]]], stress_unit: str, stress_sign: str
) -> Iterator[Finding]:
    """In what stresses of a file differ from a labeller's; the names of file and frames are left out.

    Args:
        stresses: Stress of the file and of the labeller for each frame that has both, in eV/Å³.
        stress_unit: Unit that the stresses of the file were read in.
        stress_sign: Sign that they were read with.
    """
    if not stresses:
        return
    file, own = (np.array([voigt_6_to_full_3x3_stress(one[which]) for one in stresses]).ravel() for which in (0, 1))
    size, own_size, apart = (float(np.sqrt(np.mean(one**2))) for one in (file, own, file - own))
    if apart <= STRESS_NOISE + STRESS_SHARE * own_size:
        return
    cosine = float(file @ own) / max(float(np.linalg.norm(file) * np.linalg.norm(own)), 1e-300)
    measured = f"root mean square {size / GPA:.4g} GPa, by the labeller {own_size / GPA:.4g} GPa, cosine {cosine:.3f}"
    unit = _unit(own_size / size, stress_unit) if size else None
    if abs(cosine) < PARALLEL or (unit is None and cosine > 0):
        yield Finding(
            "stop",
            f"the stresses are not those of this labeller ({measured}): another method, or of the wrong kind; take "
            "them out of the file, or name the labeller that made them",
        )
    elif cosine < 0:
        yield Finding("stop", f"the stresses have the opposite sign ({measured}): {_remedy(unit, stress_sign)}")
    else:
        yield Finding("stop", f"the stresses look like {unit} ({measured}): write `stress_unit: {unit}`")


# --- words ------------------------------------------------------------------------------------------------------------


def _stop(text: str) -> Finding:
    return Finding("stop", text, about="stress")


def _is_one(factor: float) -> bool:
    return 0.75 <= factor <= 1.35


def _unit(factor: float, stress_unit: str) -> str | None:
    """The unit that explains a positive factor; None for that in which stresses were read, or if there is none."""
    read_as = quantity(f"1 {stress_unit}", "pressure")
    if _is_one(factor) or factor <= 0:
        return None
    unit = nearest_unit(factor * read_as, STRESS_UNITS, within=0.2)
    return None if unit is None or math.isclose(STRESS_UNITS[unit], read_as, rel_tol=1e-6) else unit


def _wrong_sign(factor: float, rows: Sequence[_Pair], stress_unit: str, stress_sign: str) -> str | None:
    """Words about a negative factor, if it is that of a unit or of virials; None otherwise."""
    if factor >= 0:
        return None
    unit = _unit(-factor, stress_unit)
    virial = abs(math.log(-factor * np.mean([row.volume for row in rows]))) < 0.2
    if unit is None and not virial and not _is_one(-factor):
        return None
    looks = "" if unit is None else f", and look like {unit}"
    text = f"they have the opposite sign{looks}: {_remedy(unit, stress_sign)}"
    return f"{text}. They may be virials in eV, too: call them virial then" if virial else text


def _remedy(unit: str | None, stress_sign: str) -> str:
    other = "compression" if stress_sign == "tension" else "tension"
    lines = ([] if unit is None else [f"`stress_unit: {unit}`"]) + [f"`stress_sign: {other}`"]
    return f"write {' and '.join(lines)} in the section system, or convert the file (positive under tension, as in ASE)"


# --- pairs ------------------------------------------------------------------------------------------------------------


def _fitted(rows: Sequence[_Pair]) -> _Fit:
    """The factor between changes of energy and what stresses say, with a constant pressure where pairs show one."""
    fit = _Fit(1.0, 0.0, 0.0)
    for _ in range(N_ITERATIONS):
        fit = _weighted(rows, fit.factor)
    return fit


def _weighted(rows: Sequence[_Pair], factor: float) -> _Fit:
    """The best factor where pairs count for as much as their ends agree, with stresses times an approximate factor."""
    change = np.array([row.change for row in rows])
    columns = np.array([(row.expected, row.expansion) for row in rows])
    floor = 0.05 * abs(factor) * np.abs(columns[:, 0]).max() + 0.01 * np.abs(change).max() + 1e-12
    root = np.array([1 / math.hypot(row.spread(factor), floor) for row in rows])
    change, columns = root * change, root[:, None] * columns
    total = max(float(change @ change), 1e-300)
    first, other = columns.T
    alone = float(change @ first) / max(float(first @ first), 1e-300)
    left_alone = float(np.sum((change - alone * first) ** 2))
    cosine = float(first @ other) / max(float(np.linalg.norm(first) * np.linalg.norm(other)), 1e-300)
    n_frames = len({row.first for row in rows} | {row.second for row in rows})
    if n_frames >= FRAMES_OF_CONSTANT and abs(cosine) < 0.99:
        both = np.linalg.lstsq(columns, change, rcond=None)[0]
        left = float(np.sum((change - columns @ both) ** 2))
        if left < left_alone / 9:
            return _Fit(float(both[0]), float(both[1]), 1 - left / total)
    return _Fit(alone, 0.0, 1 - left_alone / total)


def _pairs(structures: Sequence[Atoms]) -> list[_Pair]:
    """Pairs of labelled frames of the same atoms a small strain apart, nearest first."""
    alike: dict[object, list[int]] = {}
    for index, atoms in enumerate(structures):
        if ENERGY in atoms.info and STRESS in atoms.info and has_volume(atoms):
            key = (atoms.numbers.tobytes(), atoms.info.get("charge"), atoms.info.get("multiplicity"))
            alike.setdefault(key, []).append(index)
    found: dict[tuple[int, int], float] = {}
    for group in sorted(alike.values(), key=len, reverse=True)[:10]:
        some = group[:: math.ceil(len(group) / MOST_FRAMES)]
        near = [*pairwise(group[: 10 * MOST_FRAMES]), *((i, j) for k, i in enumerate(some) for j in some[k + 1 :])]
        cells = {index: structures[index].cell.array for index in {*some, *group[: 10 * MOST_FRAMES]}}
        for i, j in near:
            strain = np.abs(np.linalg.solve(cells[i], cells[j] - cells[i])).max()
            if SMALLEST_STRAIN < strain < LARGEST_STRAIN:
                found[i, j] = float(strain)
    near_first = sorted(found, key=lambda pair: found[pair])[: 20 * MOST_PAIRS]
    steps = {pair: _still(structures[pair[0]], structures[pair[1]]) for pair in near_first}
    kept = [pair for pair in near_first if _far(steps[pair], *(structures[one] for one in pair)) < 1]
    kept.sort(key=lambda pair: _far(steps[pair], *(structures[one] for one in pair)) + found[pair] / LARGEST_STRAIN)
    return [_pair(structures, *pair, steps[pair]) for pair in kept[:MOST_PAIRS]]


def _still(first: Atoms, second: Atoms) -> Float[np.ndarray, "n_atoms 3"]:
    """Change of fractional coordinates."""
    step = np.linalg.solve(second.cell.array.T, second.positions.T) - np.linalg.solve(
        first.cell.array.T, first.positions.T
    )
    return np.asarray((step - np.round(step)).T)


def _far(step: Float[np.ndarray, "n_atoms 3"], first: Atoms, second: Atoms) -> float:
    """Displacement of an atom at fixed cell, over the largest that is allowed."""
    both = FORCES in first.arrays and FORCES in second.arrays
    return float(np.linalg.norm(step @ first.cell.array, axis=1).max()) / (FARTHEST if both else STILL)


def _pair(structures: Sequence[Atoms], first: int, second: int, step: Float[np.ndarray, "n_atoms 3"]) -> _Pair:
    frames = [structures[first], structures[second]]
    cells = [atoms.cell.array for atoms in frames]
    volumes = [abs(float(np.linalg.det(cell))) for cell in cells]
    by_stress, by_forces = [], []
    for atoms, cell, volume in zip(frames, cells, volumes, strict=True):
        deformation = np.linalg.solve(cell, cells[1] - cells[0])
        by_stress.append(volume * float(np.vdot(voigt_6_to_full_3x3_stress(atoms.info[STRESS]), deformation)))
        forces = atoms.arrays.get(FORCES)
        by_forces.append(0.0 if forces is None else -float(np.vdot(forces, step @ cell)))
    change = float(frames[1].info[ENERGY]) - float(frames[0].info[ENERGY])
    return _Pair(
        first=first,
        second=second,
        change=change - sum(by_forces) / 2,
        expected=sum(by_stress) / 2,
        by_stress=by_stress[1] - by_stress[0],
        by_forces=by_forces[1] - by_forces[0],
        expansion=volumes[1] - volumes[0],
        volume=sum(volumes) / 2,
    )
