r"""Relaxation of many copies of a molecule at once with two torsions constrained.

A geometry y stands for the one that has the wanted torsions, s(y): y with both torsions turned to what they are held
at, exactly. What is minimised is :math:`E(s(y))`, without constraints, by L-BFGS (Nocedal 1980,
doi:10.1090/S0025-5718-1980-0572855-7). A step that leads uphill is not taken but tried again shorter, so that a
geometry never ends above where it started.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Bool, Float, Int

from sparring.atoms.structures import Structures
from sparring.labels import LabelError
from sparring.surfaces.evaluators import Evaluate
from sparring.surfaces.torsion_plane import TorsionPlane

__all__ = ["ConstrainedMinimum", "relax_constrained"]

N_PAIRS = 12
CURVATURE = 70.0  # eV/Å², a first guess that suits bonds
LONGEST = 0.15  # Å, of the step of an atom
SHORTEST = 1e-6  # Å; there is nowhere lower to go

Rows = Float[np.ndarray, "n_copies n_coordinates"]


class ConstrainedMinimum(NamedTuple):
    """A relaxed structure with its energy in eV, which is infinite where the surface failed."""

    atoms: Atoms
    energy: float
    converged: bool


def relax_constrained(
    starts: Sequence[Atoms],
    targets: Float[np.ndarray, "n_copies 2"],
    plane: TorsionPlane,
    evaluate: Evaluate,
    *,
    fmax: float = 0.02,
    max_steps: int = 300,
) -> list[ConstrainedMinimum]:
    """Relax copies of one molecule with two torsions constrained.

    Args:
        starts: Starting geometries, whose torsions are set to the targets first.
        targets: Angles of both torsions, in radians.
        plane: Torsions that are constrained.
        evaluate: Surface that gives energies and forces.
        fmax: Largest force of a converged copy, in eV/Å.
        max_steps: Maximum number of steps of each.
    """
    surface = _Surface(starts, targets, plane, evaluate)
    y = surface.begin()
    everything = np.arange(len(starts))
    energy, gradient = surface(y, everything)
    memory = _Memory.empty(y.shape)
    radius = np.full(len(y), LONGEST)
    for _ in range(max_steps):
        moving = np.flatnonzero(np.isfinite(energy) & (_largest(gradient) > fmax) & (radius > SHORTEST))
        if not len(moving):
            break
        step = _limited(memory.take(moving).direction(gradient[moving]), radius[moving])
        trial = y[moving] + step
        found, slope = surface(trial, moving)
        lower = found <= energy[moving]
        memory.add(moving, step, slope - gradient[moving])
        radius[moving] = np.where(lower, np.minimum(1.5 * radius[moving], LONGEST), 0.3 * _largest(step))
        better = moving[lower]
        y[better], energy[better], gradient[better] = trial[lower], found[lower], slope[lower]
    return [
        ConstrainedMinimum(atoms, float(energy[i]), bool(_largest(gradient)[i] <= fmax))
        for i, atoms in enumerate(surface.at(y))
    ]


class _Surface:
    """E(s(y)) and its gradient, for some of the copies at a time."""

    def __init__(
        self,
        starts: Sequence[Atoms],
        targets: Float[np.ndarray, "n_copies 2"],
        plane: TorsionPlane,
        evaluate: Evaluate,
    ) -> None:
        self.starts, self.plane, self.evaluate = starts, plane, evaluate
        self.targets = torch.as_tensor(targets, dtype=torch.float64)
        self.space = plane.space(starts[0])
        self.structures = Structures.from_atoms(starts)

    def begin(self) -> Rows:
        """The starting geometries with both torsions set to their targets."""
        with torch.no_grad():
            turned = self.plane.turned(self.space, self.structures, self.targets)
        return np.array(turned.positions.reshape(len(self.starts), -1).numpy())

    def at(self, y: Rows) -> list[Atoms]:
        """The geometries s(y) of all copies."""
        with torch.no_grad():
            x = self._turned(torch.as_tensor(y), np.arange(len(y)))
        return self._atoms(np.arange(len(y)), x.numpy())

    def __call__(self, y: Rows, copies: Int[np.ndarray, " n"]) -> tuple[Float[np.ndarray, " n"], Rows]:
        leaf = torch.as_tensor(y).requires_grad_()
        x = self._turned(leaf, copies)
        points = self.evaluate(self._atoms(copies, x.detach().numpy()))
        energy, forces = np.full(len(copies), np.inf), np.zeros(x.shape)
        for row, point in enumerate(points):
            if not isinstance(point, LabelError) and np.isfinite(point.energy) and np.isfinite(point.forces).all():
                energy[row], forces[row] = point.energy, point.forces
        (gradient,) = torch.autograd.grad(x, leaf, torch.as_tensor(-forces))
        return energy, gradient.numpy()

    def _turned(self, y: torch.Tensor, copies: Int[np.ndarray, " n"]) -> torch.Tensor:
        some = self.structures.take(copies).with_free_positions(y.reshape(-1, 3))
        return self.plane.turned(self.space, some, self.targets[copies]).positions.reshape(len(copies), -1, 3)

    def _atoms(self, copies: Int[np.ndarray, " n"], positions: np.ndarray) -> list[Atoms]:
        frames = []
        for copy, place in zip(copies.tolist(), positions, strict=True):
            atoms = self.starts[copy].copy()
            atoms.positions = place
            frames.append(atoms)
        return frames


class _Memory(NamedTuple):
    """The last steps of each copy, newest first, how the gradient changed on them, and the inverse of their product."""

    steps: Float[np.ndarray, "n_pairs n_copies n_coordinates"]
    changes: Float[np.ndarray, "n_pairs n_copies n_coordinates"]
    inverse: Float[np.ndarray, "n_pairs n_copies"]
    scale: Float[np.ndarray, " n_copies"]

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> "_Memory":
        """No steps."""
        pairs = (N_PAIRS, *shape)
        return cls(np.zeros(pairs), np.zeros(pairs), np.zeros(pairs[:2]), np.full(shape[0], 1 / CURVATURE))

    def take(self, copies: Int[np.ndarray, " n"]) -> "_Memory":
        """The steps of some copies."""
        return _Memory(self.steps[:, copies], self.changes[:, copies], self.inverse[:, copies], self.scale[copies])

    def add(self, copies: Int[np.ndarray, " n"], step: Rows, change: Rows) -> None:
        """Store a step; steps of negative curvature are left out."""
        product = (step * change).sum(axis=1)
        kept = np.isfinite(product) & (product > 1e-12)
        copies, step, change, product = copies[kept], step[kept], change[kept], product[kept]
        for values, newest in ((self.steps, step), (self.changes, change), (self.inverse, 1 / product)):
            values[1:, copies] = values[:-1, copies]
            values[0, copies] = newest
        self.scale[copies] = product / (change**2).sum(axis=1)

    def direction(self, gradient: Rows) -> Rows:
        """The step of L-BFGS: Nocedal's two loops."""
        q = gradient.copy()
        weights = []
        for step, change, inverse in zip(self.steps, self.changes, self.inverse, strict=True):
            weight = inverse * (step * q).sum(axis=1)
            q -= weight[:, None] * change
            weights.append(weight)
        q *= self.scale[:, None]
        pairs = zip(self.steps[::-1], self.changes[::-1], self.inverse[::-1], weights[::-1], strict=True)
        for step, change, inverse, weight in pairs:
            q += (weight - inverse * (change * q).sum(axis=1))[:, None] * step
        uphill: Bool[np.ndarray, " n"] = (q * gradient).sum(axis=1) <= 0
        return np.where(uphill[:, None], gradient * self.scale[:, None], q) * -1


def _largest(rows: Rows) -> Float[np.ndarray, " n_copies"]:
    """The longest of each copy's vectors, one of which belongs to each atom."""
    return np.asarray(np.sqrt((rows.reshape(len(rows), -1, 3) ** 2).sum(axis=2)).max(axis=1))


def _limited(step: Rows, radius: Float[np.ndarray, " n_copies"]) -> Rows:
    return np.asarray(step * np.minimum(1.0, radius / np.maximum(_largest(step), 1e-300))[:, None])
