r"""Consistency of the energies and forces of a file, without any labeller.

Between two frames a small step apart, energies change by the work of the forces:

.. math:: E_b - E_a \approx -\tfrac{1}{2} (F_a + F_b) \cdot (x_b - x_a)

Pairs of neighbouring frames (of a trajectory, or of displacements about one geometry) therefore show the ratio of the
two units and the sign of the forces. What both share, such as Hartree beside Hartree/Å, only a labeller can show, or
energies and distances that no structure has.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from jaxtyping import Float

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.plausibility.findings import ENERGY_UNITS, FORCE_UNITS, Finding
from sparring.plausibility.sizes import STRETCHED, bond_ratio, energy_findings, length_findings
from sparring.units import BOHR

__all__ = ["inconsistencies", "neighbouring_pairs"]

FARTHEST = 0.35
"""Largest displacement of an atom between two frames that are compared, in Å."""
NEAREST = 1e-4
"""Smallest, in Å: below it rounding decides."""
MOST_FRAMES, MOST_PAIRS, FEWEST_PAIRS = 200, 100, 5
PARALLEL, UNRELATED = 0.85, 0.6
"""Cosine of changes of energies and the work of forces: above the first they differ by a factor, below the second
they have nothing to do with each other. Of labels that belong together it was above 0.92 in all data sets of
benchmarks/label_consistency.py, of labels that were exchanged below 0.4."""
FEWEST_UNRELATED = 10
"""Fewest pairs that can show that labels have nothing to do with each other."""
NOISE = 5e-3
"""Changes of energies that may be noise, in eV."""
LARGEST_CHANGE = 10.0
"""Changes of energy, and works of forces, above this times their median do not count: one absurd label shows nothing
about the others."""
COMMON = (
    ("Hartree", "Hartree/Bohr"),
    ("Ry", "Ry/Bohr"),
    ("eV", "eV/Bohr"),
    ("kcal/mol", "kcal/mol/Bohr"),
    ("kJ/mol", "kJ/mol/nm"),
    ("eV", "eV/nm"),
    *(
        (energy, force)
        for energy in ("eV", "Hartree", "Ry", "kcal/mol", "kJ/mol", "meV")
        for force in ("eV/Å", "Hartree/Bohr", "Ry/Bohr", "kcal/mol/Å", "kJ/mol/Å", "kJ/mol/nm", "meV/Å")
    ),
)
"""Pairs of units that files have, the most common first."""


def inconsistencies(
    structures: Sequence[Atoms], file: str, *, energy_unit: str = "eV", forces_unit: str = "eV/Å"
) -> list[Finding]:
    """In what the energies and forces of a file contradict each other; empty if they agree or cannot be compared.

    Args:
        structures: Frames of the file; those without energy and forces do not count.
        file: Name of the file.
        energy_unit: Unit that the energies of the file were read in.
        forces_unit: Unit that its forces were read in.
    """
    if found := [*length_findings(structures, file), *energy_findings(structures, file)]:
        return found
    pairs = _informative_pairs(structures)
    if len(pairs) < FEWEST_PAIRS:
        return []
    change, expected, low, high = np.array([one.row for one in pairs]).T
    cosine = float(change @ expected) / max(float(np.linalg.norm(change) * np.linalg.norm(expected)), 1e-300)
    # A pair counts for as much as both of its ends agree: the less the forces change on the way, the better their mean.
    spread = high - low
    weight = 1 / (spread**2 + (0.05 * np.abs(expected).max() + 1e-12) ** 2)
    slope = float((weight * change) @ expected) / max(float((weight * expected) @ expected), 1e-300)
    measured = f"{len(pairs)} pairs of neighbouring frames, cosine {cosine:.3f}"
    if cosine < -PARALLEL:
        text = (
            f"{file}: forces point uphill ({measured}): they look like gradients; multiply them by -1, or the energies "
            f"if these have the opposite sign{_shown(pairs)}"
        )
        return [Finding("stop", text, about="consistency")]
    factor = None
    if cosine > PARALLEL:
        factor = _factor(slope, FORCE_UNITS.get(forces_unit, 1.0) / ENERGY_UNITS.get(energy_unit, 1.0), structures)
    if factor:
        return [Finding("stop", f"{file}: {factor} ({measured}){_shown(pairs)}", about="consistency")]
    # The mean of both ends errs in third order only; what both say of a step differs in second order.
    share = float(np.mean(np.abs(change - expected) <= 0.25 * spread + 2e-3))
    size = max(float(np.sqrt(np.mean(change**2))), float(np.sqrt(np.mean(expected**2))))
    unrelated = cosine < UNRELATED and len(pairs) >= FEWEST_UNRELATED and size > NOISE
    if share >= 0.5 and not unrelated:
        return []
    text = (
        f"{file}: energies and forces do not belong together: energies change as the forces say in {share:.0%} of "
        f"{measured}; look whether energies of one method stand beside forces of another, or in another order"
        f"{_shown(pairs)}"
    )
    return [Finding("stop", text, about="consistency")]


class _Pair(NamedTuple):
    """Two frames, by their numbers, and the change of energy with what the forces say of it."""

    frames: tuple[int, int]
    row: tuple[float, float, float, float]


def _informative_pairs(structures: Sequence[Atoms]) -> list[_Pair]:
    """Neighbouring pairs, without steps that tell nothing and without absurd changes."""
    numbers = {id(atoms): _number(atoms, index) for index, atoms in enumerate(structures)}
    found = [_Pair((numbers[id(a)], numbers[id(b)]), _changes(a, b)) for a, b in neighbouring_pairs(structures)]
    # Steps to which energies do not answer tell nothing; a step that forces and energies both ignore is none.
    found = [one for one in found if max(abs(one.row[0]), abs(one.row[1])) > 1e-7]
    if not found:
        return []
    sizes = np.abs([one.row[:2] for one in found])
    usual = np.median(sizes, axis=0)
    kept = ((sizes <= LARGEST_CHANGE * usual) | (usual == 0)).all(axis=1)
    return [one for one, keep in zip(found, kept, strict=True) if keep]


def _number(atoms: Atoms, index: int) -> int:
    frame = atoms.info.get("frame")
    return frame if isinstance(frame, int) else index


def _shown(pairs: Sequence[_Pair]) -> str:
    """The pair that shows most."""
    one = max(pairs, key=lambda pair: abs(pair.row[1]))
    return (
        f". Between frames {one.frames[0]} and {one.frames[1]}, for one, energies change by {one.row[0]:.4g}, and the "
        f"work of the forces is {one.row[1]:.4g}"
    )


def _factor(slope: float, read_as: float, structures: Sequence[Atoms]) -> str | None:
    """Cause of a constant factor between changes of energy and the work of forces; None for none."""
    if 0.75 <= slope <= 1.35:
        return None
    said = f"energies change by {slope:.4g} times what the forces say"
    if abs(math.log(slope / BOHR)) < 0.2 and bond_ratio(structures) > STRETCHED:
        return f"{said}, and atoms are far apart: positions look like Bohr; convert them to Å, with the cell"
    likely = _units(slope, read_as)
    if not likely:
        return f"{said}, which is no ratio of units; look at the units of both, and whether one method gave them"
    return (
        f"{said}, so that they are not in eV and eV/Å. They look like {', or '.join(likely)}. Write `energy_unit` and "
        "`forces_unit` in the section system, or convert the file"
    )


def _units(slope: float, read_as: float) -> list[str]:
    """Pairs of units in which energies change by so many times what the forces say."""
    ratios = {pair: FORCE_UNITS[pair[1]] / ENERGY_UNITS[pair[0]] for pair in COMMON}
    off = {pair: abs(math.log(slope * read_as / ratio)) for pair, ratio in ratios.items()}
    nearest = min(off, key=lambda pair: round(off[pair], 6))
    same = [pair for pair in off if math.isclose(ratios[pair], ratios[nearest], rel_tol=1e-6)]
    return [f"{energy} with {force}" for energy, force in same[:3]] if off[nearest] < 0.2 else []


def _changes(first: Atoms, second: Atoms) -> tuple[float, float, float, float]:
    """The change of energy, what the mean forces say of it, and the lower and the higher of what either end says."""
    step = _step(first, second)
    ends = [-float(np.vdot(atoms.arrays[FORCES], step)) for atoms in (first, second)]
    change = float(second.info[ENERGY]) - float(first.info[ENERGY])
    return change, sum(ends) / 2, min(ends), max(ends)


def neighbouring_pairs(structures: Sequence[Atoms]) -> list[tuple[Atoms, Atoms]]:
    """Pairs of labelled frames of the same atoms in the same cell that lie a small step apart, nearest first."""
    labelled = [atoms for atoms in structures if ENERGY in atoms.info and FORCES in atoms.arrays and len(atoms) > 1]
    alike: dict[object, list[Atoms]] = {}
    for atoms in labelled:
        key = (atoms.numbers.tobytes(), np.round(atoms.cell.array, 6).tobytes(), atoms.info.get("charge"))
        alike.setdefault((*key, atoms.info.get("multiplicity")), []).append(atoms)
    found: list[tuple[float, Atoms, Atoms]] = []
    for group in sorted(alike.values(), key=len, reverse=True)[:10]:
        # Neighbours in a trajectory, and whatever else is near among not too many.
        found += [(_far(a, b), a, b) for a, b in pairwise(group[: 10 * MOST_FRAMES])]
        some = group[:: math.ceil(len(group) / MOST_FRAMES)] if len(group) > MOST_FRAMES else group
        found += [(_far(some[i], some[j]), some[i], some[j]) for i, j in _near(some)]
    near = [row for row in found if NEAREST < row[0] < FARTHEST]
    pairs = {(id(a), id(b)): (a, b) for _, a, b in sorted(near, key=lambda row: row[0])}
    return list(pairs.values())[:MOST_PAIRS]


def _near(group: Sequence[Atoms]) -> Iterator[tuple[int, int]]:
    """Candidates, by the displacement of all atoms together and without images: cheap for many frames."""
    flat = np.array([atoms.positions.ravel() for atoms in group])
    squares = (flat**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None] - 2 * flat @ flat.T, 0)
    first, second = np.nonzero(np.triu(distances < FARTHEST**2 * len(group[0]), k=1))
    nearest = np.argsort(distances[first, second], kind="stable")[: 5 * MOST_PAIRS]
    yield from zip(first[nearest].tolist(), second[nearest].tolist(), strict=True)


def _far(first: Atoms, second: Atoms) -> float:
    return float(np.linalg.norm(_step(first, second), axis=1).max())


def _step(first: Atoms, second: Atoms) -> Float[np.ndarray, "n_atoms 3"]:
    step = second.positions - first.positions
    return np.asarray(find_mic(step, first.cell, first.pbc)[0]) if first.pbc.any() else step
