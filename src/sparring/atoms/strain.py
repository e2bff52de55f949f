r"""Strain of cells with all that is in them, and stress, the derivative of the energy in it.

.. math::
    x \to x (1 + \varepsilon), \qquad h_k \to h_k (1 + \varepsilon), \qquad
    S = \frac 1 V \frac{\partial E}{\partial \varepsilon}
      = \frac 1 V \Big( \sum_i x_i \otimes \frac{\partial E}{\partial x_i}
        + \sum_k h_k \otimes \frac{\partial E}{\partial h_k} \Big)

with positions x and lattice vectors h as rows, and the volume V of the cell. It is positive under tension, as in ASE;
the pressure is minus a third of its trace. Rotations leave energies as they are, so that S is symmetric.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.structures import Structures

__all__ = ["from_voigt", "has_stress", "strained", "stress_of", "to_voigt", "virials", "volumes"]

ROWS, COLUMNS = [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]
"""Indices of the components in Voigt order: xx, yy, zz, yz, xz, xy."""


def to_voigt(matrix: Float[np.ndarray, "... 3 3"]) -> Float[np.ndarray, "... 6"]:
    """Components xx, yy, zz, yz, xz, xy of symmetric matrices, as ASE orders them."""
    components: np.ndarray = (matrix + np.swapaxes(matrix, -1, -2))[..., ROWS, COLUMNS] / 2
    return components


def from_voigt(components: Float[np.ndarray, "... 6"]) -> Float[np.ndarray, "... 3 3"]:
    """Symmetric matrices of components xx, yy, zz, yz, xz, xy."""
    matrix = np.empty((*components.shape[:-1], 3, 3))
    matrix[..., ROWS, COLUMNS] = components
    matrix[..., COLUMNS, ROWS] = components
    return matrix


def strained(structures: Structures, strain: Float[Tensor, "n_structures 3 3"]) -> Structures:
    """The structures with all positions and lattice vectors strained: fractional coordinates stay.

    Args:
        structures: Structures.
        strain: Strain of each, symmetric and without a unit. The result is differentiable in it.
    """
    deformation = strain + torch.eye(3, dtype=strain.dtype, device=strain.device)
    positions = structures.positions.unsqueeze(1) @ deformation.index_select(0, structures.structure_index)
    return replace(structures, cells=structures.cells @ deformation).with_positions(positions.squeeze(1))


def volumes(cells: Float[Tensor, "*members n_structures 3 3"]) -> Float[Tensor, "*members n_structures"]:
    """Volume of every cell in Å³, also of left-handed ones; zero where there are fewer than three lattice vectors."""
    first, second, third = cells.unbind(-2)
    # Written out: the derivative of a determinant does not exist, as torch has it, where the matrix is singular.
    product: Tensor = (first * torch.linalg.cross(second, third)).sum(-1).abs()
    return product


def has_stress(structures: Structures) -> Bool[Tensor, " n_structures"]:
    """Mask of the structures that have a stress: periodic ones, slabs among them, with three lattice vectors."""
    return structures.pbc.any(1) & (volumes(structures.cells) > 0)


def virials(
    owner: Int[Tensor, "*members n_atoms"],
    positions: Float[Tensor, "*#members n_atoms 3"],
    cells: Float[Tensor, "*#members n_structures 3 3"],
    position_gradient: Float[Tensor, "*members n_atoms 3"],
    cell_gradient: Float[Tensor, "*members n_structures 3 3"],
) -> Float[Tensor, "*members n_structures 3 3"]:
    """Derivative of the energy of every structure in its strain, V · S, in eV; that of molecules has a value, too.

    Args:
        owner: Structure of each atom.
        positions: Positions in Å.
        cells: Lattice vectors in Å.
        position_gradient: Derivatives of the energies in the positions, in eV/Å.
        cell_gradient: Derivatives of the energies in the lattice vectors, in eV/Å.
    """
    of_atoms = positions.unsqueeze(-1) * position_gradient.unsqueeze(-2)
    index = owner[..., None, None].expand(of_atoms.shape)
    virial = (cells.transpose(-1, -2) @ cell_gradient).scatter_add(-3, index, of_atoms)
    return (virial + virial.transpose(-1, -2)) / 2


def stress_of(
    structures: Structures,
    position_gradient: Float[Tensor, "*members n_atoms 3"],
    cell_gradient: Float[Tensor, "*members n_structures 3 3"],
) -> Float[Tensor, "*members n_structures 3 3"]:
    """Stress of every structure in eV/Å³, from derivatives of its energy; differentiable in positions and cells.

    That of a structure without three lattice vectors is zero.

    Args:
        structures: Structures.
        position_gradient: Derivatives of the energies in the positions, in eV/Å.
        cell_gradient: Derivatives of the energies in the lattice vectors, in eV/Å.
    """
    cells, owner = structures.cells, structures.structure_index.expand(position_gradient.shape[:-1])
    virial = virials(owner, structures.positions, cells, position_gradient, cell_gradient)
    volume = volumes(cells)[..., None, None]
    has_volume = volume > 0
    return torch.where(has_volume, virial / torch.where(has_volume, volume, 1.0), 0.0)
