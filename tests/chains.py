"""A chain of five atoms whose two torsions feel a known potential, and nothing else of the chain feels them."""

import numpy as np
import torch
from ase import Atoms

from sparring.atoms.geometry import angle, dihedral
from sparring.atoms.structures import Structures
from sparring.labels import Label
from sparring.surfaces.evaluators import SinglePoint
from sparring.surfaces.torsion_plane import TorsionPlane

BONDS = ((0, 1), (1, 2), (2, 3), (3, 4))
PLANE = TorsionPlane(names=("phi", "psi"), torsions=((0, 1, 2, 3), (1, 2, 3, 4)), bonds=BONDS)
LENGTH, ANGLE = 1.5, 1.9
HEIGHTS = (0.06, 0.04)


def chain(*, length=LENGTH):
    """Flat, all trans."""
    half = ANGLE / 2
    steps = [(length * np.sin(half), length * np.cos(half) * (-1) ** k, 0.0) for k in range(4)]
    return Atoms("C5", positions=np.vstack([np.zeros(3), np.cumsum(steps, axis=0)]))


def turned(phi, psi):
    """With these torsions, in radians; the atoms at the ends turn."""
    atoms = chain()
    atoms.set_dihedral(0, 1, 2, 3, np.degrees(phi), indices=[3, 4])
    atoms.set_dihedral(1, 2, 3, 4, np.degrees(psi), indices=[4])
    return atoms


def known(phi, psi):
    """What the torsions alone feel, in eV."""
    return HEIGHTS[0] * (1 + np.cos(phi)) + HEIGHTS[1] * (1 - np.cos(2 * psi - 0.5))


def energy(positions, *, stiff=20.0, heights=HEIGHTS, repulsion=0.0):
    """Energies of many chains: bonds and angles are springs, torsions feel `known`; the ends may repel each other."""
    total = positions.new_zeros(positions.shape[:-2])
    for i, j in BONDS:
        total = (
            total
            + stiff * (torch.linalg.vector_norm(positions[..., i, :] - positions[..., j, :], dim=-1) - LENGTH) ** 2
        )
    for i in range(3):
        total = total + 0.5 * stiff * (angle(positions, i, i + 1, i + 2) - ANGLE) ** 2
    phi, psi = (dihedral(positions, *torsion) for torsion in PLANE.torsions)
    total = total + heights[0] * (1 + phi.cos()) + heights[1] * (1 - (2 * psi - 0.5).cos())
    ends = torch.linalg.vector_norm(positions[..., 0, :] - positions[..., 4, :], dim=-1)
    return total + repulsion * torch.exp(-ends)


class Chain:
    """Its labeller."""

    version = "1"

    def __init__(self, **choices):
        self.choices, self.method = choices, f"chain {choices}"

    def __call__(self, atoms):
        positions = torch.tensor(atoms.positions, requires_grad=True)
        total = energy(positions, **self.choices)
        (gradient,) = torch.autograd.grad(total, positions)
        return Label(
            energy=float(total.detach()),
            forces=-gradient.numpy(),
            method=self.method,
            version=self.version,
            converged=True,
            wall_time=0.0,
        )


def surface(**choices):
    """The same for many structures in one call."""

    def evaluate(structures):
        positions = torch.tensor(np.stack([atoms.positions for atoms in structures]), requires_grad=True)
        total = energy(positions, **choices)
        (gradient,) = torch.autograd.grad(total.sum(), positions)
        points = zip(total.tolist(), -gradient.numpy(), strict=True)
        return [SinglePoint(one, forces, np.array([one])) for one, forces in points]

    return evaluate


class ChainPotential(torch.nn.Module):
    """The same as a member of a committee, a little higher or lower."""

    cutoff = None

    def __init__(self, factor=1.0, **choices):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(float(factor), dtype=torch.float64))
        self.choices = choices

    def forward(self, structures: Structures):
        positions = structures.positions.reshape(structures.n_structures, 5, 3)
        heights = [self.factor * height for height in HEIGHTS]
        return energy(positions, heights=heights, **self.choices)
