r"""References for the measurements: the plain loop and the floor.

The **plain loop** is how the published code of Schwalbe-Koda et al. works: one structure at a time, the members one
after another, ordinary automatic differentiation, ordinary optimisers. Its members are Sparring's own SchNets as plain
modules, so that the mathematics is the same; it is spared what the published code does beside (gradients of weights
that an attack throws away, data loaders), so that it is rather too fast than too slow. One structure takes it as long
as any other, so one is timed, and the time is multiplied with their number. Only training has flat minibatches there
too: a member learns from all molecules of a minibatch at once, and only the members come one after another.

The **floor** is the matrix products of the network and nothing else: no elementwise work, no sums over neighbours, no
memory to be asked for; stacked over members, with the shapes and the number of weight matrices that the calculation
has, at the rate at which ``torch.bmm`` does them there and then. A layer :math:`y = x W` costs

==================  =============================================  ====================================================
task                products                                       which
==================  =============================================  ====================================================
forces, dynamics    2                                              :math:`xW`, :math:`\bar y W^T`
attack              4                                              and the derivatives of both along a direction
training            6                                              the first two, and for each of them the gradients of
                                                                   its input and of the weights
==================  =============================================  ====================================================

The first layer that embeddings go through does not depend on positions: it is evaluated once, and in training has one
gradient of its input and one of its weights. Edges are counted as the network has them, each pair twice. An algorithm
that went beyond that (filters are the same both ways; where elements are few, so are embeddings) could be faster than
this floor.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet
from cases import KT, TEMPERATURE, TIMESTEP, Size
from timing import ProgressCallback
from torch import Tensor, nn

from sparring.atoms.dataset import Dataset
from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics.calculator import CommitteeCalculator
from sparring.potentials import SchNet


class Path(NamedTuple):
    """The path of a plain attack.

    Attributes:
        objective: Objective at every point, before its step.
        positions: Positions at every point.
    """

    objective: list[float]
    positions: list[Tensor]


def plain_attack(
    members: Iterable[SchNet],
    seed: Structures,
    delta: Tensor,
    *,
    n_steps: int,
    tick: ProgressCallback,
    learning_rate: float = 0.01,
) -> Path:
    """An attack on one seed in its plainest form: n steps of an optimiser."""
    members = list(members)
    dtype = next(members[0].parameters()).dtype
    delta = delta.clone().requires_grad_()
    optimiser = torch.optim.Adam([delta], lr=learning_rate, maximize=True)
    path = Path([], [])
    for _ in range(n_steps):
        optimiser.zero_grad()
        structure = seed.with_positions(seed.positions + delta).to(dtype=dtype)
        structure = with_edges(structure, members[0].cutoff)
        energies, forces = [], []
        for member in members:
            energy = member(structure)
            (gradient,) = torch.autograd.grad(energy.sum(), structure.positions, create_graph=True)
            energies.append(energy)
            forces.append(-gradient)
        disagreement = torch.stack(forces) - torch.stack(forces).mean(0)
        variance = disagreement.square().sum() / (len(members) - 1) / delta.numel()
        objective = variance.double().log() - torch.stack(energies).mean() / KT
        objective.backward()
        path.objective.append(objective.item())
        path.positions.append(structure.positions.detach())
        optimiser.step()
        tick()
    return path


def plain_training(
    members: Iterable[SchNet],
    dataset: Dataset,
    *,
    n_steps: int,
    tick: ProgressCallback,
    learning_rate: float = 3e-4,
    energy_weight: float = 0.1,
    force_weight: float = 1.0,
) -> list[float]:
    """Every member by itself takes steps of Adam on one minibatch (Eq. 3), which is ready with its edges.

    Returns:
        The loss of the last member before each of its steps.
    """
    members = [member.requires_grad_() for member in members]
    structures = with_edges(dataset.structures, members[0].cutoff).to(dtype=torch.float32)
    owner = structures.structure_index
    weight = 1 / (3 * structures.counts[owner]).float()
    wanted = dataset.forces.float()
    optimisers = [torch.optim.Adam(member.parameters(), lr=learning_rate) for member in members]
    losses = []
    for _ in range(n_steps):
        for member, optimiser in zip(members, optimisers, strict=True):
            optimiser.zero_grad()
            positions = structures.positions.detach().requires_grad_()
            moved = Structures(**{**vars(structures), "positions": positions})
            energy = member(moved)
            (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
            energy_loss = (energy - dataset.energy).square().mean()
            force_loss = (weight * (gradient + wanted).square().sum(-1)).sum() / len(dataset)
            loss = energy_weight * energy_loss + force_weight * force_loss
            loss.backward()
            optimiser.step()
        losses.append(loss.item())
        tick()
    return losses


def plain_dynamics(members: Iterable[nn.Module], atoms: Atoms, *, n_steps: int, tick: ProgressCallback) -> None:
    """Velocity Verlet of one copy in ASE, with a committee whose members are evaluated one after another."""
    atoms = atoms.copy()
    atoms.calc = CommitteeCalculator(Committee(list(members), stacked=False))
    thermal = np.sqrt(atoms.get_masses() * units.kB * TEMPERATURE)
    atoms.set_momenta(thermal[:, None] * np.random.default_rng(0).normal(size=(len(atoms), 3)))
    dynamics = VelocityVerlet(atoms, timestep=TIMESTEP * units.fs)
    for _ in range(n_steps):
        dynamics.run(1)
        tick()


def plain_forces(members: Iterable[nn.Module], structure: Structures, *, n_steps: int, tick: ProgressCallback) -> None:
    """Energies and forces of one structure, from members one after another."""
    committee = Committee(list(members), stacked=False)
    for _ in range(n_steps):
        committee.predict(committee.prepare(structure), differentiable=False)
        tick()


class Product(NamedTuple):
    """One layer of the network as a product of matrices, rows × inner by inner × columns, for each member.

    Attributes:
        rows: Number of edges or atoms.
        inner: Number of input features.
        columns: Number of output features.
        moves: Dependence of the input on positions.
    """

    rows: int
    inner: int
    columns: int
    moves: bool = True

    @property
    def flop(self) -> int:
        """Multiplications and additions of one member."""
        return 2 * self.rows * self.inner * self.columns


FORWARD, BACKWARD, WEIGHTS = "forward", "backward", "weights"

PASSES = {
    "forces": (FORWARD, BACKWARD),
    "dynamics": (FORWARD, BACKWARD),
    "attack": (FORWARD, BACKWARD, FORWARD, BACKWARD),
    "training": (FORWARD, BACKWARD, FORWARD, WEIGHTS, BACKWARD, WEIGHTS),
}
"""Passes of a task through each layer whose input depends on positions."""

RESTING_PASSES = {
    "forces": (FORWARD,),
    "dynamics": (FORWARD,),
    "attack": (FORWARD,),
    "training": (FORWARD, BACKWARD, WEIGHTS),
}
"""Passes of a task through the layer whose input does not."""


def products(size: Size, n_atoms: int, n_edges: int) -> list[Product]:
    """The layers of a SchNet, in their order, without the last one, which has a single column."""
    n_features, n_filters, n_interactions, n_gaussians = size
    layers = []
    for interaction in range(n_interactions):
        layers += [
            Product(n_edges, n_gaussians, n_gaussians),
            Product(n_edges, n_gaussians, n_filters),
            Product(n_atoms, n_features, n_filters, moves=interaction > 0),
            Product(n_atoms, n_filters, n_features),
            Product(n_atoms, n_features, n_features),
        ]
    return [*layers, Product(n_atoms, n_features, max(n_features // 2, 1))]


def passes(product: Product, task: str) -> tuple[str, ...]:
    """Passes of a task through a layer."""
    return (PASSES if product.moves else RESTING_PASSES)[task]


def flop(layers: Iterable[Product], task: str, n_members: int) -> int:
    """Floating-point operations of one step of a task."""
    return n_members * sum(layer.flop * len(passes(layer, task)) for layer in layers)


class Floor:
    """The matrix products of one step, with matrices of their own for every layer and every result.

    Args:
        layers: Shapes of the products.
        task: Task, which determines the passes.
        n_members: Number of networks.
    """

    def __init__(self, layers: Iterable[Product], task: str, n_members: int) -> None:
        self.calls: list[tuple[Tensor, Tensor, Tensor]] = []
        generator = torch.Generator().manual_seed(0)
        layers = list(layers)
        calls_of_layers = []
        for layer in layers:
            x, y, weight = (
                torch.randn(n_members, *shape, generator=generator)
                for shape in ((layer.rows, layer.inner), (layer.rows, layer.columns), (layer.columns, layer.inner))
            )
            x_out, y_out, weight_out = (torch.empty_like(one) for one in (x, y, weight))
            calls = {
                FORWARD: (x, weight.mT, y_out),
                BACKWARD: (y, weight, x_out),
                WEIGHTS: (y.mT, x, weight_out),
            }
            calls_of_layers.append([calls[which] for which in passes(layer, task)])
        # Pass by pass, as the calculation goes: up through the layers and down again.
        for number in range(max(map(len, calls_of_layers))):
            going = [calls[number] for calls in calls_of_layers if number < len(calls)]
            self.calls += going if number % 2 == 0 else reversed(going)

    def run(self, n_steps: int, tick: ProgressCallback) -> None:
        """Do them all, several times."""
        for _ in range(n_steps):
            for left, right, result in self.calls:
                torch.bmm(left, right, out=result)
            tick()
