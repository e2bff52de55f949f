"""The test that every foreign potential passes at load, at one random crystal."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor, nn

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.potentials.base import Potential
from sparring.potentials.looped import require_energies, require_not_compiled, require_same_precision
from sparring.potentials.stacking import cast

__all__ = ["self_test"]

STEP = 1e-4
"""Step of finite differences, in Å; angles of CHGNet change their slope within 0.001 Å."""
STEPS = (STEP, STEP / 10, STEP / 100)
"""Steps that are tried one after another: second derivatives may jump between the points of the longer ones, as those
of networks with the activation CELU do (ANI). A wrong derivative agrees at none of them."""
TOLERANCE = 1e-5
"""Largest deviation of a derivative from finite differences, relative to its size."""
CELL = ((4.1, 0.0, 0.0), (0.7, 4.3, 0.0), (0.3, -0.5, 4.6))
SITES = ((0.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5))


def self_test(potential: Potential, *, name: str = "the potential", seed: int = 0) -> None:
    """Check that energies of a potential can be differentiated twice, and that both derivatives are right.

    Derivatives are compared with finite differences in double precision, forces with those of the energy, the
    derivative of forces along a direction (of which the gradient of σ_F² consists) with those of the forces.

    Args:
        potential: Potential with the attributes ``elements`` and ``cutoff``.
        name: Name of the potential in messages.
        seed: Seed of the geometry and of the directions.

    Raises:
        ValueError: If the model is compiled, returns no energies, detaches them or their gradient, has a derivative
            that is wrong, or two evaluations that differ.
    """
    _refuse_compiled(potential, name)
    require_same_precision([potential])
    generator = torch.Generator().manual_seed(seed)
    structures = _crystal(getattr(potential, "elements", ("H",)), getattr(potential, "cutoff", None), generator)
    double = cast(potential, dtype=torch.float64, device="cpu") if isinstance(potential, nn.Module) else potential
    energy, gradient = _gradient(double, structures, name)
    again, _ = _gradient(double, structures, name)
    if not torch.equal(energy, again):
        raise ValueError(
            f"{name} has other energies when it is evaluated again ({energy.item():.12g} and {again.item():.12g} eV); "
            "a potential must be deterministic: switch off dropout and random numbers"
        )
    first, second = (torch.randn(gradient.shape, generator=generator).double() for _ in range(2))

    def energy_slope(step: float) -> Tensor:
        return _slope(lambda moved: double(moved).detach().sum(), structures, first, step)

    _compare((gradient * first).sum(), energy_slope, gradient.norm() * first.norm(), f"{name}: dE/dx")
    positions = structures.positions.clone().requires_grad_()
    _, gradient = _gradient(double, _moved(structures, positions), name)
    (along,) = torch.autograd.grad((gradient * first).sum(), positions)

    def force_slope(step: float) -> Tensor:
        return _slope(
            lambda moved: (_gradient(double, moved, name)[1].detach() * first).sum(), structures, second, step
        )

    _compare((along * second).sum(), force_slope, along.norm() * second.norm(), f"{name}: d²E/dx²")


def _refuse_compiled(potential: Potential, name: str) -> None:
    if not isinstance(potential, nn.Module):
        return
    require_not_compiled(potential, name)
    for module in (potential, *potential.children()):
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"{name} is compiled by TorchScript, which an adapter cannot take apart; give the original module, not "
                "the one that was exported for a dynamics code"
            )


def _crystal(elements: Sequence[str], cutoff: float | None, generator: torch.Generator) -> Structures:
    """Four atoms of up to four elements in a cell without symmetry."""
    symbols = [elements[index * len(elements) // len(SITES)] for index in range(len(SITES))]
    atoms = Atoms(symbols, scaled_positions=SITES, cell=CELL, pbc=True)
    structures = Structures.from_atoms([atoms])
    noise = 0.15 * torch.randn(structures.positions.shape, generator=generator)
    structures = structures.with_positions(structures.positions + noise.double())
    return structures if cutoff is None else with_edges(structures, cutoff + 4 * STEP)


def _moved(structures: Structures, positions: Float[Tensor, "n_atoms 3"]) -> Structures:
    """The same atoms at other positions, with the same edges: they reach far enough for the steps."""
    return replace(structures, positions=positions)


def _gradient(potential: Potential, structures: Structures, name: str) -> tuple[Tensor, Tensor]:
    positions = structures.positions
    if not positions.requires_grad:
        positions = positions.clone().requires_grad_()
    energy = potential(_moved(structures, positions))
    require_energies(energy, structures.n_structures, name)
    if not energy.requires_grad:
        raise ValueError(f"{name} detaches its energy from the positions, so that it has no forces; remove detach()")
    if not bool(torch.isfinite(energy).all()):
        raise ValueError(f"{name} has the energy {energy.item()} for an ordinary crystal; is the checkpoint damaged?")
    (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=True, materialize_grads=True)
    if not gradient.requires_grad:
        raise ValueError(f"{name} detaches its forces, so that they cannot be differentiated; attacks need that")
    return energy, gradient


def _slope(
    function: Callable[[Structures], Tensor], structures: Structures, direction: Float[Tensor, "n_atoms 3"], step: float
) -> Tensor:
    """Derivative along a direction by a five-point stencil."""

    def at(step: float) -> Tensor:
        return function(_moved(structures, structures.positions + step * direction))

    unit = step / float(direction.norm())
    return (8 * (at(unit) - at(-unit)) - (at(2 * unit) - at(-2 * unit))) / (12 * unit)


def _compare(got: Tensor, slope: Callable[[float], Tensor], size: Tensor, what: str) -> None:
    """Compare a derivative with the finite differences of one of the steps."""
    found = []
    for step in STEPS:
        found.append(float(slope(step)))
        if abs(float(got.detach()) - found[-1]) <= TOLERANCE * float(size.detach()) + 1e-8:
            return
    raise ValueError(
        f"{what} along a direction is {float(got.detach()):.8g} by automatic differentiation and {found[0]:.8g} by "
        "finite differences; attacks on such a model would go in wrong directions. Does it detach a part, or round to "
        "single precision?"
    )
