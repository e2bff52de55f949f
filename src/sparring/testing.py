"""Checks of what Sparring expects of a potential, for the tests of packages that bring one.

Each check raises an ``AssertionError`` that names the property and the size of the deviation. Modules are checked in
double precision, in a copy::

    def test_my_network_is_a_potential():
        network = MyNetwork(cutoff=4.0)
        network.initialise(torch.Generator().manual_seed(0))
        sparring.testing.check_potential(network, [molecule("H2O"), bulk("NaCl", "rocksalt", a=5.6)])
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.potentials import Potential
from sparring.potentials.stacking import cast

__all__ = [
    "check_batches",
    "check_derivatives",
    "check_extensivity",
    "check_longer_edges",
    "check_potential",
    "check_symmetries",
]

STEP = 1e-4
"""Step of finite differences, in Å."""


def check_potential(
    potential: Potential, structures: Sequence[Atoms], *, symmetric: bool = True, tolerance: float = 1e-6, seed: int = 0
) -> None:
    """Check everything that Sparring relies on: derivatives, batches, longer edges and symmetries.

    Args:
        potential: Potential, with weights that make its energies depend on positions.
        structures: Molecules or crystals of elements that the potential supports, without overlapping atoms.
        symmetric: False for a potential of coordinates, which is invariant neither to motions nor to permutations.
        tolerance: Largest absolute deviation, in eV and Å, beside a relative one of the same size.
        seed: Seed of random displacements, rotations and permutations.

    Raises:
        AssertionError: If a property does not hold.
    """
    check_derivatives(potential, structures, tolerance=tolerance, seed=seed)
    check_batches(potential, structures, tolerance=tolerance)
    check_longer_edges(potential, structures, tolerance=tolerance)
    if symmetric:
        check_symmetries(potential, structures, tolerance=tolerance, seed=seed)


def check_derivatives(
    potential: Potential, structures: Sequence[Atoms], *, tolerance: float = 1e-6, seed: int = 0
) -> None:
    """Check forces and the derivative of forces along a direction against finite differences of energies and forces.

    Attacks differentiate forces, so a potential must keep the graph of its energy twice.

    Args:
        potential: Potential to check.
        structures: Molecules or crystals.
        tolerance: Largest absolute deviation, in eV and Å, beside a relative one of the same size.
        seed: Seed of the direction.

    Raises:
        AssertionError: If the energy has no graph, or a derivative deviates.
    """
    energies = _energies(potential)
    generator = torch.Generator().manual_seed(seed)
    for atoms in structures:
        start = Structures.from_atoms([atoms], ignore_constraints=True)
        direction, other = (torch.randn(start.positions.shape, generator=generator).double() for _ in range(2))

        def gradient_at(positions: Tensor, start: Structures = start) -> Tensor:
            return _gradient(energies, start.with_positions(positions))

        nudges = STEP * torch.eye(start.positions.numel()).double().reshape(-1, *start.positions.shape)
        above, below = (
            energies(start.take([0] * len(nudges)).with_positions((start.positions + sign * nudges).flatten(0, 1)))
            for sign in (1, -1)
        )
        expected = ((above - below) / (2 * STEP)).reshape(start.positions.shape).detach()
        name = atoms.get_chemical_formula()
        _compare(gradient_at(start.positions).detach(), expected, tolerance, f"dE/dx of {name} and finite differences")
        positions = start.positions.clone().requires_grad_()
        along = (gradient_at(positions) * direction).sum()
        try:
            (second,) = torch.autograd.grad(along, positions)
        except RuntimeError as error:
            raise AssertionError(f"the forces on {name} cannot be differentiated: {error}") from error
        forward, backward = (gradient_at(start.positions + sign * STEP * other).detach() for sign in (1, -1))
        expected = ((forward - backward) / (2 * STEP) * direction).sum()
        _compare(
            (second * other).sum(), expected, 10 * tolerance, f"second derivatives of {name} and finite differences"
        )


def check_batches(potential: Potential, structures: Sequence[Atoms], *, tolerance: float = 1e-6) -> None:
    """Check that the energies of a batch are those of its structures alone.

    Args:
        potential: Potential to check.
        structures: Molecules or crystals; best of different sizes.
        tolerance: Largest absolute deviation in eV, beside a relative one of the same size.

    Raises:
        AssertionError: If structures of a batch influence each other, or energies have the wrong shape.
    """
    energies = _energies(potential)
    batch = [*structures, *reversed(structures)]
    together = energies(Structures.from_atoms(batch, ignore_constraints=True))
    assert together.shape == (len(batch),), f"energies must have shape ({len(batch)},), got {tuple(together.shape)}"
    alone = torch.cat([energies(Structures.from_atoms([atoms], ignore_constraints=True)) for atoms in batch])
    _compare(together, alone, tolerance, "energies of a batch and of its structures alone")


def check_longer_edges(potential: Potential, structures: Sequence[Atoms], *, tolerance: float = 1e-6) -> None:
    """Check that pairs beyond the cutoff do not count in crystals.

    While atoms move, edges may be longer than the cutoff: neighbours are found with a skin.

    Args:
        potential: Potential to check.
        structures: Molecules, which are left out, or crystals.
        tolerance: Largest absolute deviation in eV, beside a relative one of the same size.

    Raises:
        AssertionError: If energies change with pairs that are farther apart than the cutoff.
    """
    cutoff: float | None = getattr(potential, "cutoff", None)
    crystals = [atoms for atoms in structures if atoms.pbc.any()]
    if cutoff is None or not crystals:
        return
    energies, batch = _energies(potential), Structures.from_atoms(crystals, ignore_constraints=True)
    names = "energies of crystals with edges up to the cutoff and with longer ones"
    _compare(energies(with_edges(batch, cutoff + 1.0)), energies(batch), tolerance, names)


def check_symmetries(
    potential: Potential, structures: Sequence[Atoms], *, tolerance: float = 1e-6, seed: int = 0
) -> None:
    """Check that energies do not change by translation, rotation or a permutation of atoms.

    Args:
        potential: Potential to check.
        structures: Molecules or crystals.
        tolerance: Largest absolute deviation in eV, beside a relative one of the same size.
        seed: Seed of the motions.

    Raises:
        AssertionError: If an energy changes.
    """
    energies, rng = _energies(potential), np.random.default_rng(seed)

    def shifted(atoms: Atoms) -> None:
        atoms.positions += rng.normal(size=3)

    def rotated(atoms: Atoms) -> None:
        rotation = Rotation.random(rng=rng).as_matrix().T
        atoms.set_cell(atoms.cell.array @ rotation)
        atoms.positions = atoms.positions @ rotation

    def permuted(atoms: Atoms) -> None:
        order = np.roll(np.arange(len(atoms)), 1)  # no atom keeps its place
        atoms.numbers, atoms.positions = atoms.numbers[order], atoms.positions[order]

    motions: dict[str, Callable[[Atoms], None]] = {
        "translation": shifted,
        "rotation": rotated,
        "permutation of atoms": permuted,
    }
    for motion, move in motions.items():
        moved = [atoms.copy() for atoms in structures]
        for atoms in moved:
            atoms.set_constraint()
            move(atoms)
        before, after = (
            energies(Structures.from_atoms(frames, ignore_constraints=True)) for frames in (structures, moved)
        )
        _compare(after, before, tolerance, f"energies after and before a {motion}")


def check_extensivity(
    potential: Potential, molecules: Sequence[Atoms], *, distance: float = 100.0, tolerance: float = 1e-6
) -> None:
    """Check that two molecules far apart have the sum of their energies.

    Args:
        potential: Potential to check.
        molecules: Molecules, without periodic boundaries.
        distance: Distance between the two, in Å.
        tolerance: Largest absolute deviation in eV, beside a relative one of the same size.

    Raises:
        AssertionError: If the energies are not additive.
    """
    energies, pairs = _energies(potential), []
    for molecule in molecules:
        far = molecule.copy()
        far.positions += [distance, 0.0, 0.0]
        pairs.append(molecule + far)
    one, two = (energies(Structures.from_atoms(frames, ignore_constraints=True)) for frames in (molecules, pairs))
    _compare(two, 2 * one, tolerance, f"energies of two molecules {distance:g} Å apart and twice that of one")


def _energies(potential: Potential) -> Callable[[Structures], Float[Tensor, " n_structures"]]:
    """The potential in double precision, with the edges that it needs."""
    double = cast(potential, dtype=torch.float64) if isinstance(potential, nn.Module) else potential
    cutoff: float | None = getattr(potential, "cutoff", None)

    def energies(structures: Structures) -> Tensor:
        moved: Tensor = double(structures if cutoff is None else with_edges(structures, cutoff))
        return moved.double()

    return energies


def _gradient(energies: Callable[[Structures], Tensor], structures: Structures) -> Tensor:
    positions = structures.positions
    if not positions.requires_grad:
        positions = positions.clone().requires_grad_()
    energy = energies(structures.with_positions(positions)).sum()
    if not energy.requires_grad:
        raise AssertionError("the energy has no graph: it must be differentiable in the positions of the structures")
    return torch.autograd.grad(energy, positions, create_graph=True, materialize_grads=True)[0]


def _compare(got: Tensor, wanted: Tensor, tolerance: float, names: str) -> None:
    deviation = (got - wanted).abs()
    if not bool((deviation <= tolerance + tolerance * wanted.abs()).all()):
        raise AssertionError(f"{names} differ by up to {float(deviation.max()):.3g}, more than {tolerance:g}")
