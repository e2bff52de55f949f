"""Energy and uncertainty of a committee on a grid of one or two collective variables, beside the truth (Fig. 2a, 3e).

A landscape speaks of total energies. Committee and truth are compared as they are: labels in total energies are what
the committee was trained on, so that a shift is an error like any other. One number, the zero, is taken from both for
people to read. For the shape alone, both are aligned at the lowest true point.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.evaluation import predict_structures
from sparring.surfaces.grids import Grid, Truth, Variable

__all__ = ["Landscape", "Landscapes", "Marks", "landscape"]


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Labelled structures as points of a landscape; y is 0 on a line, energies are in eV above the landscape's zero."""

    x: Float[np.ndarray, " n_structures"]
    y: Float[np.ndarray, " n_structures"]
    energy: Float[np.ndarray, " n_structures"]


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """Predictions of a committee on a grid, and reference energies.

    Attributes:
        x: First variable.
        y: Second variable; None for a line.
        zero: Energy subtracted from all total energies, in eV.
        mask: Mask of the points that have a structure; values of the others are nan.
        energy: Mean energy of the committee in eV above the zero.
        energy_sigma: Standard deviation of the energy over the members, the root of Eq. 5, in eV.
        force_sigma: σ_F, the root of Eq. 7, in eV/Å.
        truth: Reference energy in eV above the zero; nan where it is not known.
        truth_method: Name of the reference method; empty if there is none.
        failures: Messages of failed labels.
        marks: Labelled structures by their role: "start" of the run, "earlier" ones that were added since, and the
            "next" ones, which were chosen by this committee.
        force_error: Root mean square error of the mean forces, over the components that σ_F is of, in eV/Å; nan where
            true forces are not known, None in results of versions that did not compute it.
    """

    x: Variable
    y: Variable | None
    zero: float
    mask: Bool[np.ndarray, "n_x n_y"]
    energy: Float[np.ndarray, "n_x n_y"]
    energy_sigma: Float[np.ndarray, "n_x n_y"]
    force_sigma: Float[np.ndarray, "n_x n_y"]
    truth: Float[np.ndarray, "n_x n_y"]
    truth_method: str
    failures: tuple[str, ...]
    marks: Mapping[str, Marks]
    force_error: Float[np.ndarray, "n_x n_y"] | None = None

    @property
    def has_truth(self) -> bool:
        """True if the reference energy of any point is known."""
        return bool(np.isfinite(self.truth).any())

    def rmse_below(self, caps: Sequence[float], *, aligned: bool = False) -> Float[np.ndarray, " n_caps"]:
        r"""Root mean square error of the committee's energy in the low part of the landscape, in eV (Fig. 3f).

        .. math:: \sqrt{\langle (\bar E - E)^2 \rangle_{E \le E_\mathrm{min} + c}}

        Args:
            caps: Caps c in eV. The true energy E decides which points count, and E_min is the lowest true energy on
                the grid.
            aligned: Flag to compare energies above each surface's own at the lowest true point.

        Returns:
            One error a cap; nan where no point is below.
        """
        error = self.energy - self.truth
        if aligned and self.has_truth:
            error = error - error.flat[np.nanargmin(self.truth)]
        return np.asarray(np.sqrt(self._mean_below(np.square(error), caps)))

    def force_sigma_below(self, caps: Sequence[float]) -> Float[np.ndarray, " n_caps"]:
        """Mean σ_F over the same points, in eV/Å."""
        return self._mean_below(self.force_sigma, caps)

    def force_variance_below(self, caps: Sequence[float]) -> Float[np.ndarray, " n_caps"]:
        """Mean σ_F² over the same points, in (eV/Å)²."""
        return self._mean_below(np.square(self.force_sigma), caps)

    def force_ratio_below(self, caps: Sequence[float]) -> Float[np.ndarray, " n_caps"]:
        r"""Ratio of the error of the forces to their σ, over the same points.

        .. math:: \sqrt{\langle (\bar F - F)^2 \rangle / \langle \sigma_F^2 \rangle}

        For points whose true forces are known; as ``Calibration.ratio`` of :mod:`sparring.validation.errors`. Above
        one, the committee is overconfident.
        """
        if self.force_error is None:
            return np.full(len(caps), np.nan)
        known = np.isfinite(self.force_error)
        inside = [below & known for below in self._below(caps)]
        error, sigma = np.square(self.force_error), np.square(self.force_sigma)
        with np.errstate(divide="ignore", invalid="ignore"):  # members that agree exactly have no σ
            return np.asarray(np.sqrt([error[some].sum() / sigma[some].sum() for some in inside]))

    def error_percentiles_below(self, cap: float, percentiles: Sequence[float]) -> Float[np.ndarray, " n_percentiles"]:
        """Percentiles of the error's size below one cap, in eV; the 100th shows a hole that a mean hides.

        Args:
            cap: Cap in eV, as in :meth:`rmse_below`.
            percentiles: Percentiles from 0 to 100.

        Returns:
            One error each; nan where no point is below.
        """
        inside = self._below([cap])[0]
        if not inside.any():
            return np.full(len(percentiles), np.nan)
        return np.asarray(np.percentile(np.abs(self.energy - self.truth)[inside], percentiles))

    def n_below(self, caps: Sequence[float]) -> Int[np.ndarray, " n_caps"]:
        """Number of points below each cap."""
        return np.asarray(self._below(caps).sum(axis=(1, 2)))

    def _below(self, caps: Sequence[float]) -> Bool[np.ndarray, "n_caps n_x n_y"]:
        lowest = np.fmin.reduce(self.truth, axis=None)  # nan if there is no truth at all, and then nothing is below
        return np.asarray(self.truth - lowest <= np.asarray(caps, dtype=float)[:, None, None])

    def _mean_below(self, values: Float[np.ndarray, "n_x n_y"], caps: Sequence[float]) -> Float[np.ndarray, " n_caps"]:
        return np.array([values[inside].mean() if inside.any() else np.nan for inside in self._below(caps)])


@dataclass(frozen=True, kw_only=True)
class Landscapes:
    """Landscapes of several committees over one grid by their names, with the same zero and the same truth."""

    committees: Mapping[str, Landscape]


def landscape(
    committee: Committee,
    grid: Grid,
    truth: Truth | None = None,
    *,
    zero: float | None = None,
    marks: Mapping[str, Marks] | None = None,
    n_at_once: int = 256,
) -> Landscape:
    """Predictions of a committee at every point of a grid.

    Args:
        committee: Committee.
        grid: Grid of structures.
        truth: Reference energies from :func:`true_energies`, computed once for any number of committees.
        zero: Zero of energies in eV; None for the lowest true energy on the grid, or without references the lowest of
            the committee.
        marks: Labelled structures to show, by role.
        n_at_once: Number of structures per batch.
    """
    committee.require_known(grid.structures)
    predicted = predict_structures(committee, Structures.from_atoms(grid.structures), n_at_once=n_at_once)
    true = np.full(grid.index.shape, np.nan) if truth is None else truth.energy
    true_forces = truth.forces if truth is not None and truth.forces else [None] * len(predicted.forces)
    force_error = [
        np.nan if known is None else np.sqrt(np.square(force - known).mean())
        for force, known in zip(predicted.forces, true_forces, strict=True)
    ]
    if zero is None:
        zero = float(np.nanmin(true if np.isfinite(true).any() else predicted.energy))
    return Landscape(
        x=grid.x,
        y=grid.y,
        zero=zero,
        mask=grid.mask,
        energy=grid.lay_out(predicted.energy) - zero,
        energy_sigma=grid.lay_out(np.sqrt(predicted.energy_variance)),
        force_sigma=grid.lay_out(np.sqrt(predicted.force_variance)),
        truth=true - zero,
        truth_method="" if truth is None else truth.method,
        failures=() if truth is None else truth.failures,
        marks=marks or {},
        force_error=grid.lay_out(np.array(force_error)),
    )
