"""Scans of bonds and angles: the energy of a committee and of labels, each bond from 0.7 to 1.4 of its length.

The fragment on the smaller side moves rigidly, see :mod:`sparring.atoms.internal_coordinates`. The scan of a bond at
fixed other coordinates is no path that dynamics follows, but holes of a potential lie on it or beside it, and it takes
milliseconds: an acceptance test as in arXiv:2602.04861.
"""

import itertools
import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float, Int

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.atoms.inheritance import bare_copy, inherit
from sparring.atoms.internal_coordinates import InternalCoordinate, bonds_and_angles, one_of_each, scanned, values
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.evaluation import StructurePredictions, predict_structures
from sparring.labels.base import Label, LabelError
from sparring.validation.bond_scan.scans import BondScan, CoordinateScan, flags_of
from sparring.validation.run_labels import LabelFrames

__all__ = ["FACTORS", "N_LABELS", "N_SIGMA", "TOLERANCE", "order", "scan_bonds"]

FACTORS = tuple(round(0.7 + 0.05 * step, 2) for step in range(15))
"""Multiples of bonds and angles: 0.7 to 1.4. Angles end at 180°."""
TOLERANCE = 0.2
"""Energy in eV, 8 kT at 300 K: a snapshot of dynamics lies up to this above the minimum along one of its bonds."""
N_SIGMA = 3.0
N_LABELS = 100


def scan_bonds(
    committee: Committee,
    start: Atoms,
    *,
    factors: Sequence[float] = FACTORS,
    bonds: Sequence[Sequence[int]] | None = None,
    label: LabelFrames | None = None,
    n_labels: int = N_LABELS,
    tolerance: float = TOLERANCE,
    n_sigma: float = N_SIGMA,
) -> tuple[BondScan, list[Atoms]]:
    """Scan one of each group of equivalent bonds and angles of a structure, and flag holes.

    The criteria are those of :mod:`sparring.validation.bond_scan.scans`. Also returns the geometries of scans with
    holes, candidates for labels, with ``scan``, ``value``, the predictions of the committee and their labels.

    Args:
        committee: Committee to test.
        start: Structure whose bonds and angles are changed, close to a minimum of the true energy.
        factors: Multiples of bonds and angles, in rising order.
        bonds: Pairs of atoms of a molecule; None to find them from the distances.
        label: Function that labels structures, such as the method ``label`` of a label service; None for no labels.
        n_labels: Largest number of labels; ends of all scans come first, then points between.
        tolerance: Tolerance of the criteria, in eV.
        n_sigma: Number of standard deviations that an error may have.

    Raises:
        ValueError: If a bound is not positive, there are no factors, or they are not in rising order, or the structure
            has no bonds.
    """
    rising = len(factors) > 0 and all(a < b for a, b in itertools.pairwise((0.0, *factors)))
    if not (tolerance > 0 and n_sigma > 0 and rising):
        raise ValueError(
            f"wanted a tolerance and a number of sigmas above zero, and factors in rising order from above zero, got "
            f"{tolerance} eV, {n_sigma} and {list(factors)}"
        )
    start = bare_copy(start)
    committee.require_known([start])
    coordinates = bonds_and_angles(start, bonds)
    if not coordinates:
        raise ValueError(f"{start.get_chemical_formula()} has no bonds to scan; give a structure of several atoms")
    curves, skipped = list[_Curve](), list[str]()
    for one in one_of_each(coordinates):
        curve = _curve(start, one, factors) if one.parts else None
        if curve is not None and curve.frames:
            curves.append(curve)
        else:
            skipped.append(f"{one.kind} {one.name}: {one.fixed_because or 'all its values would be above 180°'}")
    frames = [start, *(atoms for curve in curves for atoms in curve.frames)]
    predicted = predict_structures(committee, Structures.from_atoms(frames, ignore_constraints=True))
    sizes = [len(curve.frames) for curve in curves]
    rows = [np.arange(end - size, end) for size, end in zip(sizes, 1 + np.cumsum(sizes), strict=True)]
    labels = _labels(frames, rows, label, n_labels)
    first = labels[0]
    zero = first.energy if isinstance(first, Label) else float(predicted.energy[0])
    known = np.array([one.energy if isinstance(one, Label) else math.nan for one in labels]) - zero
    energy, sigma = predicted.energy - zero, np.sqrt(predicted.energy_variance)
    bounds = {"start_energy": float(energy[0]), "tolerance": tolerance, "n_sigma": n_sigma}
    numbers = Counter(one.group for one in coordinates)
    scans = [
        _scan(curve, numbers[curve.coordinate.group], energy[here], sigma[here], known[here], bounds)
        for curve, here in zip(curves, rows, strict=True)
    ]
    result = BondScan(
        formula=start.get_chemical_formula(),
        scans=tuple(scans),
        skipped=tuple(skipped),
        method=next((one.method for one in labels if isinstance(one, Label)), ""),
        refused=sum(isinstance(one, LabelError) for one in labels),
        **bounds,
    )
    flagged = [here for scan, here in zip(scans, rows, strict=True) if scan.is_hole]
    return result, _annotated(frames, predicted, labels, np.concatenate([[], *flagged]).astype(int))


class _Curve(NamedTuple):
    """A coordinate, its values in Å or degrees in the start and along the scan, and the geometries."""

    coordinate: InternalCoordinate
    start: float
    values: Float[np.ndarray, " n_points"]
    frames: list[Atoms]


def _curve(start: Atoms, coordinate: InternalCoordinate, factors: Sequence[float]) -> _Curve:
    positions, cell = torch.as_tensor(start.positions), torch.as_tensor(start.cell.array)
    wanted, geometries = scanned(positions, coordinate, factors, cell)
    unit = 1.0 if coordinate.kind == "bond" else math.degrees(1)
    frames = []
    for value, moved in zip((unit * wanted).tolist(), geometries.numpy(), strict=True):
        atoms = inherit(Atoms(start.numbers, moved, cell=start.cell, pbc=start.pbc), start)
        atoms.info |= {"scan": f"{coordinate.kind} {coordinate.name}", "value": value}
        frames.append(atoms)
    return _Curve(coordinate, unit * float(values(positions, [coordinate], cell)[0]), unit * wanted.numpy(), frames)


def _scan(
    curve: _Curve,
    n_equivalent: int,
    energy: Float[np.ndarray, " n_points"],
    energy_sigma: Float[np.ndarray, " n_points"],
    label: Float[np.ndarray, " n_points"],
    bounds: Mapping[str, float],
) -> CoordinateScan:
    return CoordinateScan(
        kind=curve.coordinate.kind,
        name=curve.coordinate.name,
        atoms=curve.coordinate.atoms,
        n_equivalent=n_equivalent,
        start=curve.start,
        values=curve.values,
        energy=energy,
        energy_sigma=energy_sigma,
        label=label,
        flags=flags_of(curve.start, curve.values, energy, energy_sigma, label, **bounds),
    )


def _labels(
    frames: Sequence[Atoms], scans: Sequence[Int[np.ndarray, " _"]], label: LabelFrames | None, n_labels: int
) -> list[Label | LabelError | None]:
    """Labels of the start, which is the first frame, and of as many points of the scans as wanted."""
    found: list[Label | LabelError | None] = [None] * len(frames)
    if label is None or n_labels < 1:
        return found
    turns = [(turn, int(rows[point])) for rows in scans for turn, point in enumerate(order(len(rows)))]
    chosen = [0, *(row for _, row in sorted(turns))][:n_labels]
    for row, one in zip(chosen, label([frames[row] for row in chosen]).labels, strict=True):
        found[row] = one
    return found


def order(n_points: int) -> list[int]:
    """Points of a scan in the order in which they get labels: both ends, then the middles of what is between."""
    found = [0, n_points - 1][:n_points]
    gaps = deque([(0, n_points - 1)])
    while gaps:
        low, high = gaps.popleft()
        middle = (low + high) // 2
        if low < middle < high:
            found.append(middle)
            gaps += [(low, middle), (middle, high)]
    return found


def _annotated(
    frames: Sequence[Atoms],
    predicted: StructurePredictions,
    labels: Sequence[Label | LabelError | None],
    rows: Int[np.ndarray, " n_rows"],
) -> list[Atoms]:
    """Frames with the predictions of the committee and the labels that there are."""
    annotated = predicted.annotate(frames)
    found = []
    for row in rows.tolist():
        atoms, one = annotated[row], labels[row]
        if not np.isfinite([atoms.info["committee_energy"], *atoms.arrays["committee_forces"].flat]).all():
            continue
        if isinstance(one, Label):
            atoms.info[ENERGY], atoms.arrays[FORCES] = one.energy, one.forces
        found.append(atoms)
    return found
