"""Alignment of members that were trained with different zeros of energy."""

import copy
import logging
from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Float
from torch import Tensor, nn

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.potentials.base import N_ELEMENTS, Potential, potentials_of
from sparring.potentials.foreign.base import ShiftableEnergies
from sparring.potentials.looped import weights_of

__all__ = ["align_energies"]

logger = logging.getLogger(__name__)


class _Shifted(nn.Module):
    """A potential with an energy added for each atom, by its element."""

    def __init__(self, potential: Potential, energies: Float[Tensor, " n_elements"]) -> None:
        super().__init__()
        self.potential = potential
        self.cutoff: float | None = getattr(potential, "cutoff", None)
        self.elements = getattr(potential, "elements", None)
        self.register_buffer("energies", energies)

    def forward(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        added = self.energies.to(torch.float64)[structures.atomic_numbers]  # type: ignore[index]
        energy: Tensor = self.potential(structures).double()
        return energy.index_add(0, structures.structure_index, added)


def align_energies(
    members: Sequence[Potential], structures: Sequence[Atoms], *, tolerance: float = 0.05
) -> list[Potential]:
    r"""Members of a committee with the same zero of energy.

    Models that were trained with different reference energies of atoms differ by a sum over atoms, which the variance
    of the energies (Eq. 5) would count as uncertainty. For each member, energies of elements

    .. math:: \min_{s} \sum_k \Big( E_m(k) - \bar E(k) + \sum_Z n_Z(k) s_Z \Big)^2

    are fitted to structures and added. They change neither forces nor their variance. If structures have one
    composition, this is its mean difference.

    Args:
        members: Potentials.
        structures: Structures without large forces, such as those to be attacked.
        tolerance: Largest shift, in eV an atom, that is left as it is: members agree about it.

    Returns:
        The members; those of a committee that needs no shift as they were given.

    Raises:
        ValueError: If there are no members or no structures.
    """
    potentials = potentials_of(members)
    batch = Structures.from_atoms(structures, ignore_constraints=True)
    energies = np.stack([_energies(member, batch) for member in potentials])
    counts = batch.element_counts(N_ELEMENTS)[:, :N_ELEMENTS].double().numpy()
    present = np.flatnonzero(counts.any(0))
    fitted = np.linalg.lstsq(counts[:, present], (energies.mean(0) - energies).T, rcond=1e-9)[0].T
    largest = np.abs(fitted @ counts[:, present].T / counts.sum(1)).max()
    if largest <= tolerance:
        return list(potentials)
    for index, shifts in enumerate(fitted):
        shown = ", ".join(f"{chemical_symbols[z]} {shift:+.3f}" for z, shift in zip(present, shifts, strict=True))
        logger.warning(
            "member %d (%s) has another zero of energy than the mean of the members; added to each atom, in eV: %s",
            index,
            type(potentials[index]).__name__,
            shown,
        )
    tables = torch.zeros(len(potentials), N_ELEMENTS, dtype=torch.float64)
    tables[:, torch.as_tensor(present)] = torch.as_tensor(fitted)
    return [_with_energies(member, table) for member, table in zip(potentials, tables, strict=True)]


def _with_energies(member: Potential, energies: Float[Tensor, " n_elements"]) -> Potential:
    """The member with energies added to its own table, so that it can be saved; wrapped if it has none."""
    if not isinstance(member, ShiftableEnergies):
        return _Shifted(member, energies)
    copied = copy.deepcopy(member)
    copied.add_reference_energies(energies)
    assert isinstance(copied, Potential)
    return copied


def _energies(member: Potential, structures: Structures) -> Float[np.ndarray, " n_structures"]:
    weight = next((weight for _, weight in weights_of([member])), structures.positions)
    moved = structures.to(dtype=weight.dtype, device=weight.device)
    cutoff: float | None = getattr(member, "cutoff", None)
    with torch.no_grad():
        energy = member(moved if cutoff is None else with_edges(moved, cutoff))
    values: Float[np.ndarray, " n_structures"] = energy.double().cpu().numpy()
    return values
