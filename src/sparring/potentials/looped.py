"""Members of a committee that are evaluated one after another: modules of other packages and plain functions."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.atoms.structures import Structures
from sparring.potentials.base import Potential

__all__ = ["looped_energies", "require_energies", "require_not_compiled", "require_same_precision", "weights_of"]

PRECISIONS = (torch.float32, torch.float64)


def looped_energies(
    members: Sequence[Potential],
    structures: Structures,
    positions: Float[Tensor, "n_members n_atoms 3"],
    cells: Float[Tensor, "n_members n_structures 3 3"] | None = None,
    first: int = 0,
) -> Float[Tensor, "n_members n_structures"]:
    """Energies of all members, one after another.

    Args:
        members: Potentials.
        structures: Structures that all members evaluate.
        positions: Positions for each member, in Å.
        cells: Lattice vectors for each member, in Å; None for those of the structures.
        first: Number of the first member, for messages.

    Raises:
        ValueError: If a member returns something other than one energy for each structure, or an energy without a
            graph, whose forces would be zero.
    """
    moved = [replace(structures, positions=row) for row in positions]
    if cells is not None:
        moved = [replace(one, cells=cell) for one, cell in zip(moved, cells, strict=True)]
    energies = [member(one) for member, one in zip(members, moved, strict=True)]
    for index, (member, energy) in enumerate(zip(members, energies, strict=True), first):
        require_energies(energy, structures.n_structures, _named(index, member))
        if positions.requires_grad and torch.is_grad_enabled() and not energy.requires_grad:
            raise ValueError(
                f"{_named(index, member)} returns energies without a graph, so it would have no forces; "
                "compute them from structures.positions without detach(), torch.no_grad() and NumPy"
            )
    return torch.stack(energies)


def require_energies(energy: object, n_structures: int, name: str) -> None:
    """Check the type and the shape of what a potential returns.

    Args:
        energy: Result of the potential.
        n_structures: Number of structures in the batch.
        name: Name of the potential in the message.

    Raises:
        ValueError: If it is no tensor with one energy for each structure.
    """
    if not isinstance(energy, Tensor):
        raise ValueError(
            f"{name} must return a tensor with the energy of each structure in eV, got {type(energy).__name__}; "
            "return total energies only: forces are derived from them"
        )
    if energy.shape != (n_structures,):
        raise ValueError(
            f"{name} must return one energy for each structure, of shape ({n_structures},), got "
            f"{tuple(energy.shape)}; sum atomic energies by structures.structure_index"
        )


def weights_of(members: Sequence[Potential]) -> Iterator[tuple[int, Tensor]]:
    """Index of the member and one of its floating-point weights, for every member that is a module with weights."""
    for index, member in enumerate(members):
        if isinstance(member, nn.Module):
            found = next((weight for weight in member.parameters() if weight.is_floating_point()), None)
            if found is not None:
                yield index, found


def require_not_compiled(potential: Potential, name: str) -> None:
    """Check that a potential can be differentiated twice as far as ``torch.compile`` is concerned.

    Args:
        potential: Potential.
        name: Name of the potential in the message.

    Raises:
        ValueError: If the module or a part of it is compiled.
    """
    modules = potential.modules() if isinstance(potential, nn.Module) else ()
    if any(type(module).__name__ == "OptimizedModule" for module in modules):
        raise ValueError(f"{name} is compiled by torch.compile, which has no second derivatives; give the original")


def require_same_precision(members: Sequence[Potential]) -> None:
    """Check that the weights of all members are of one precision and on one device, and that no member is compiled.

    Raises:
        ValueError: If they are not, or of a precision that is too low for second derivatives.
    """
    for index, member in enumerate(members):
        require_not_compiled(member, _named(index, member))
    first: tuple[int, Tensor] | None = None
    for index, weight in weights_of(members):
        name = _named(index, members[index])
        if weight.dtype not in PRECISIONS:
            raise ValueError(f"{name} has weights in {weight.dtype}; allowed are float32 and float64: call .float()")
        first = first or (index, weight)
        for what, own, other in (
            ("precision", weight.dtype, first[1].dtype),
            ("device", weight.device, first[1].device),
        ):
            if own != other:
                raise ValueError(
                    f"members of a committee must have the same {what}: {name} has {own}, member {first[0]} {other}; "
                    f"call .to({other}) of the module before"
                )


def _named(index: int, member: Potential) -> str:
    return f"member {index} ({getattr(member, '__name__', type(member).__name__)})"
