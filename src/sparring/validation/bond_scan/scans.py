r"""Scans of bonds and angles, and what counts as a hole in them.

With the mean energy E of the committee along a scan, its energy :math:`E_0` in the start of all scans and a tolerance
:math:`\Delta`, a point x is flagged, if

=============  ==================================================================================================
turns over     :math:`E(x) < E(y) - \Delta` for a point y between x and the lowest point near the start: the
               wall has a maximum, behind which the energy falls
below          :math:`E(x) < E_0 - \Delta`
too low        :math:`E(x) < E_{label}(x) - \max(k \sigma_E(x), \Delta)` and :math:`E(x) < E_0 + 1` eV: dynamics can go
               there, and should not
not finite     E(x) is no number
error          :math:`|E(x) - E_{label}(x)| > \max(k \sigma_E(x), \Delta)` at any energy: σ promises too much
=============  ==================================================================================================

All but the last are holes. A label overrules the first two: where it agrees with the committee within the last bound,
the surface itself turns over, as in a proton transfer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

__all__ = ["REACH", "BondScan", "CoordinateScan", "Flag", "flags_of"]

REACH = 1.0
"""Energy in eV above the start up to which dynamics comes."""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """The worst point of a scan in one respect.

    Attributes:
        point: Index of the point.
        kind: "turns over", "below", "too low", "not finite" or "error".
        amount: Fall, depth below the start or the label, or error (committee less label), in eV; NaN if the energy is
            no number.
    """

    point: int
    kind: str
    amount: float


@dataclass(frozen=True, kw_only=True)
class CoordinateScan:
    """The energy along a bond or an angle, everything else rigid.

    Attributes:
        kind: "bond" or "angle".
        name: Elements and indices of the atoms.
        atoms: Indices of the atoms.
        n_equivalent: Number of equivalent coordinates, of which this is the first.
        start: Value in the start, in Å or degrees.
        values: Values, in Å or degrees.
        energy: Mean energy of the committee, in eV above the zero of all scans.
        energy_sigma: Uncertainty of the energy, in eV.
        label: Energy of the labels, in eV above the same zero; NaN where there is none.
        flags: Worst points.
    """

    kind: str
    name: str
    atoms: tuple[int, ...]
    n_equivalent: int
    start: float
    values: Float[np.ndarray, " n_points"]
    energy: Float[np.ndarray, " n_points"]
    energy_sigma: Float[np.ndarray, " n_points"]
    label: Float[np.ndarray, " n_points"]
    flags: tuple[Flag, ...]

    @property
    def title(self) -> str:
        """Kind and atoms."""
        return f"{self.kind} {self.name}"

    @property
    def is_hole(self) -> bool:
        """True if a flag is more than an error."""
        return any(flag.kind != "error" for flag in self.flags)

    @property
    def unit(self) -> str:
        """Unit of the values."""
        return "Å" if self.kind == "bond" else "°"


@dataclass(frozen=True, kw_only=True)
class BondScan:
    """Scans of all bonds and angles of a structure, one of each group of equivalent ones.

    Attributes:
        formula: Chemical formula of the start.
        tolerance: Tolerance in eV.
        n_sigma: Number of standard deviations that an error may have.
        start_energy: Mean energy of the committee in the start, in eV above the zero of all scans: the label of the
            start, or this energy itself where there is none.
        scans: Scans, bonds first.
        skipped: Bonds and angles without a scan, with the reasons.
        method: Method of the labels; empty without labels.
        refused: Number of labels that failed.
    """

    formula: str
    tolerance: float
    n_sigma: float
    start_energy: float
    scans: tuple[CoordinateScan, ...]
    skipped: tuple[str, ...]
    method: str
    refused: int

    @property
    def found(self) -> tuple[CoordinateScan, ...]:
        """Flagged scans."""
        return tuple(scan for scan in self.scans if scan.flags)

    @property
    def holes(self) -> tuple[CoordinateScan, ...]:
        """Scans with a hole."""
        return tuple(scan for scan in self.scans if scan.is_hole)

    @property
    def n_labels(self) -> int:
        """Number of points with a label."""
        return sum(int(np.isfinite(scan.label).sum()) for scan in self.scans)


def flags_of(
    start: float,
    values: Float[np.ndarray, " n_points"],
    energy: Float[np.ndarray, " n_points"],
    energy_sigma: Float[np.ndarray, " n_points"],
    label: Float[np.ndarray, " n_points"],
    *,
    start_energy: float,
    tolerance: float,
    n_sigma: float,
) -> tuple[Flag, ...]:
    """The worst point of a scan in each respect in which it is flagged.

    Args:
        start: Value in the start.
        values: Values along the scan, in rising order.
        energy: Mean energies of the committee in eV.
        energy_sigma: Uncertainties of the energies in eV; NaN for a single member.
        label: Energies of labels in eV, NaN where there is none.
        start_energy: Mean energy of the committee in the start, in eV.
        tolerance: Tolerance in eV.
        n_sigma: Number of standard deviations that an error may have.
    """
    lost = np.flatnonzero(~np.isfinite(energy))
    known = np.where(np.isfinite(energy), energy, np.nan)
    error = known - label
    bound = np.fmax(n_sigma * energy_sigma, tolerance)
    agrees = np.abs(error) <= bound
    fall = np.where(agrees, np.nan, _falls(values - start, known))
    depth = np.where(agrees, np.nan, start_energy - known)

    def worst(kind: str, amount: Float[np.ndarray, " n_points"], beyond: np.ndarray) -> Iterator[Flag]:
        if beyond.any():
            point = int(np.where(beyond, np.abs(amount), -np.inf).argmax())
            yield Flag(point=point, kind=kind, amount=float(amount[point]))

    return (
        *(Flag(point=int(point), kind="not finite", amount=float("nan")) for point in lost[:1]),
        *worst("turns over", fall, fall > tolerance),
        *worst("below", depth, depth > tolerance),
        *worst("too low", -error, (error < -bound) & (known < start_energy + REACH)),
        *worst("error", error, np.abs(error) > bound),
    )


def _falls(away: Float[np.ndarray, " n_points"], energy: Float[np.ndarray, " n_points"]) -> Float[np.ndarray, " n"]:
    """Energy that each point lies below the highest one between it and the lowest point near the start.

    The lowest point near the start is where one gets to from the start if the energy never rises on the way.
    """
    place = int(np.abs(away).argmin())
    for step in (-1, 1):
        while 0 <= place + step < len(energy) and energy[place + step] < energy[place]:
            place += step
    fall = np.zeros(len(energy))
    for side in (slice(place, None), slice(place, None, -1)):
        outward = energy[side]
        fall[side] = np.fmax.accumulate(outward) - outward
    return fall
