r"""Free energy over two torsions from plain dynamics: that of a committee against that of the labels' own surface.

.. math:: F(\varphi, \psi) = -kT \ln p(\varphi, \psi)

======================  ===========================================================================
:math:`p`               part of the time that is spent in a bin of the plane
block                   a copy, or a stretch of one long trajectory: what is taken for independent
shared region           bins that both have visited often enough, in several blocks
======================  ===========================================================================

Only the shared region is compared: what plain dynamics does not reach in its time has no free energy here. Surfaces are
known up to a constant each, so that the mean difference over the bins of the shared region is taken out. Statistical
errors are those of bootstraps over blocks (Efron 1979, doi:10.1214/aos/1176344552).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from sparring.surfaces.grids import Variable
from sparring.surfaces.torsion_plane import PERIOD, bins, wrapped
from sparring.units import kT as thermal

__all__ = ["FreeEnergies", "Visits", "compare", "free_energy", "in_blocks", "visits"]

N_BOOTSTRAPS = 200
LEAST = 10
"""Smallest number of frames of each trajectory in a bin of the shared region."""
LEAST_BLOCKS = 3
"""Smallest number of blocks with frames in such a bin."""


@dataclass(frozen=True, kw_only=True)
class Visits:
    """Numbers of frames of each block in each bin of the plane; the first bins start at -π.

    Attributes:
        counts: Numbers of frames.
        n_failed: Number of copies that failed; their frames until then count.
        method: Description of the dynamics.
    """

    counts: Int[np.ndarray, "n_blocks n_x n_y"]
    n_failed: int
    method: str

    @property
    def n_frames(self) -> int:
        """Total number of frames."""
        return int(self.counts.sum())


@dataclass(frozen=True, kw_only=True)
class FreeEnergies:
    """Two free energies, in eV, where both are known.

    Attributes:
        x: First torsion; values are centres of bins.
        y: Second torsion.
        temperature: Temperature in K.
        committee: Free energy of the committee; nan in bins that were not visited.
        reference: Free energy of the reference; its lowest value in the shared region is zero, and the means of both
            there are equal.
        sigma: Standard error of the difference; nan outside of the shared region.
        shared: True in the region that is compared.
        difference: Mean absolute difference over the bins of the shared region; nan if there is none, like the next.
        difference_sigma: Standard error of the mean absolute difference.
        weighted: Mean absolute difference, with bins weighted by the counts of the reference.
        noise: Mean absolute difference expected from statistical errors alone.
        inside: Fractions of time of committee and reference in the shared region.
        n_blocks: Numbers of blocks of committee and reference.
        n_failed: Number of copies of the committee that failed.
        methods: Descriptions of both dynamics.
    """

    x: Variable
    y: Variable
    temperature: float
    committee: Float[np.ndarray, "n_x n_y"]
    reference: Float[np.ndarray, "n_x n_y"]
    sigma: Float[np.ndarray, "n_x n_y"]
    shared: Bool[np.ndarray, "n_x n_y"]
    difference: float
    difference_sigma: float
    weighted: float
    noise: float
    inside: tuple[float, float]
    n_blocks: tuple[int, int]
    n_failed: int
    methods: tuple[str, str]


def visits(
    angles: Float[np.ndarray, "n_blocks n_frames 2"], *, n_bins: int = 24, n_failed: int = 0, method: str = ""
) -> Visits:
    """Histograms of angles; frames whose angles are not finite are left out.

    Args:
        angles: Angles in radians.
        n_bins: Number of bins along each side.
        n_failed: Number of copies that failed.
        method: Description of the dynamics.
    """
    counts = [bins(block[np.isfinite(block).all(axis=1)], n_bins) for block in angles]
    return Visits(counts=np.stack(counts), n_failed=n_failed, method=method)


def free_energy(counts: Int[np.ndarray, "n_blocks n_x n_y"], temperature: float) -> Float[np.ndarray, "n_x n_y"]:
    """F in eV above its lowest value; nan in bins that were not visited.

    Raises:
        ValueError: If nothing was visited.
    """
    if not counts.sum():
        raise ValueError("no frames for a free energy: all were discarded, or their angles are not finite")
    energy = _plain(counts.sum(axis=0), temperature)
    return np.asarray(energy - np.nanmin(energy))


def compare(
    committee: Visits,
    reference: Visits,
    *,
    names: tuple[str, str],
    temperature: float,
    least: int = LEAST,
    least_blocks: int = LEAST_BLOCKS,
    seed: int = 0,
) -> FreeEnergies:
    """Compare free energies in the region that both have visited.

    Args:
        committee: Histograms of the copies of the committee.
        reference: Histograms of the reference.
        names: Names of the torsions.
        temperature: Temperature in K.
        least: Smallest number of frames of each in a bin of the shared region.
        least_blocks: Smallest number of blocks with frames in such a bin.
        seed: Random seed of the bootstraps.

    Raises:
        ValueError: If bins differ.
    """
    if committee.counts.shape[1:] != reference.counts.shape[1:]:
        raise ValueError(f"bins must be the same, got {committee.counts.shape[1:]} and {reference.counts.shape[1:]}")
    shared = np.logical_and(*(_often(one.counts, least, least_blocks) for one in (committee, reference)))
    totals = [one.counts.sum(axis=0) for one in (committee, reference)]
    energies = [_plain(total, temperature) for total in totals]
    sigma = np.full(shared.shape, np.nan)
    # Where nothing is shared each surface has a zero of its own, and there is no difference to speak of.
    zeros = [np.fmin.reduce(one, axis=None) for one in energies]
    difference = difference_sigma = weighted = noise = np.nan
    if shared.any():
        apart = (energies[0] - energies[1])[shared]
        zeros[1] = energies[1][shared].min()
        zeros[0] = zeros[1] + apart.mean()
        apart = np.abs(apart - apart.mean())
        draws = _bootstraps(committee.counts, reference.counts, shared, temperature, np.random.default_rng(seed))
        sigma[shared] = draws.std(axis=0, ddof=1)
        difference, difference_sigma = apart.mean(), np.abs(draws).mean(axis=1).std(ddof=1)
        weighted = (apart * totals[1][shared]).sum() / totals[1][shared].sum()
        # The mean of the absolute value of a normal distribution.
        noise = np.sqrt(2 / np.pi) * sigma[shared].mean()
    x, y = (_centres(name, n) for name, n in zip(names, shared.shape, strict=True))
    inside = [float(total[shared].sum() / max(total.sum(), 1)) for total in totals]
    return FreeEnergies(
        x=x,
        y=y,
        temperature=temperature,
        committee=energies[0] - zeros[0],
        reference=energies[1] - zeros[1],
        sigma=sigma,
        shared=shared,
        difference=float(difference),
        difference_sigma=float(difference_sigma),
        weighted=float(weighted),
        noise=float(noise),
        inside=(inside[0], inside[1]),
        n_blocks=(len(committee.counts), len(reference.counts)),
        n_failed=committee.n_failed,
        methods=(committee.method, reference.method),
    )


def in_blocks(angles: Float[np.ndarray, "n_frames 2"], n_blocks: int) -> Float[np.ndarray, "n_blocks n_in_block 2"]:
    """One long trajectory as stretches of equal length; some last frames may be left over.

    Raises:
        ValueError: If there are fewer frames than blocks.
    """
    length = len(angles) // n_blocks
    if not length:
        raise ValueError(f"{len(angles)} frames cannot be divided into {n_blocks} blocks")
    return np.asarray(wrapped(angles[: length * n_blocks]).reshape(n_blocks, length, 2))


def _plain(counts: Int[np.ndarray, "*n n_x n_y"], temperature: float) -> Float[np.ndarray, "*n n_x n_y"]:
    shares = counts / np.maximum(counts.sum(axis=(-2, -1), keepdims=True), 1)
    return np.asarray(-thermal(temperature) * np.log(np.where(shares > 0, shares, np.nan)))


def _often(counts: Int[np.ndarray, "n_blocks n_x n_y"], least: int, blocks: int) -> Bool[np.ndarray, "n_x n_y"]:
    return np.asarray((counts.sum(axis=0) >= least) & ((counts > 0).sum(axis=0) >= blocks))


def _bootstraps(
    committee: Int[np.ndarray, "n_blocks n_x n_y"],
    reference: Int[np.ndarray, "m_blocks n_x n_y"],
    shared: Bool[np.ndarray, "n_x n_y"],
    temperature: float,
    generator: np.random.Generator,
) -> Float[np.ndarray, "n_draws n_shared"]:
    """Differences in the shared region with blocks drawn anew, aligned as the true ones are."""
    draws = []
    for _ in range(N_BOOTSTRAPS):
        parts = []
        for counts in (committee, reference):
            drawn = counts[generator.integers(len(counts), size=len(counts))].sum(axis=0)[shared]
            # A bin that only blocks that were not drawn have visited: half a visit, the smallest count.
            parts.append(-thermal(temperature) * np.log(np.maximum(drawn, 0.5)))
        difference = parts[0] - parts[1]
        draws.append(difference - difference.mean())
    return np.array(draws)


def _centres(name: str, n: int) -> Variable:
    return Variable(name=name, unit="rad", values=-np.pi + PERIOD * (np.arange(n) + 0.5) / n, period=PERIOD)
