"""The ways of doing every task: Sparring's, through its public functions as users call them, and the references."""

from collections.abc import Callable
from typing import cast

from cases import (
    N_MEMBERS,
    OBJECTIVE,
    PAPER,
    TEMPERATURE,
    TIMESTEP,
    Case,
    Size,
    batch,
    copies,
    labelled,
    networks,
    space,
)
from references import Floor, plain_attack, plain_dynamics, plain_forces, plain_training, products
from timing import ProgressCallback, Way
from torch import Generator, Tensor

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics import NVE, simulate
from sparring.potentials import SchNet
from sparring.proposers.ascent import attack
from sparring.proposers.spaces import Cartesian
from sparring.training.fitting import fit
from sparring.training.splits import Splits

SPARRING, AUTOGRAD, LOOP, FLOOR = "sparring", "autograd", "loop", "floor"
"""Sparring with default options; the same with vmap and automatic derivatives; the two references."""

Build = Callable[[], Way]

FEW_ATOMS = 500
"""Number of atoms in a batch below which an epoch has eight minibatches instead of two."""


def ways(case: Case, *, n_members: int = N_MEMBERS, size: Size = PAPER) -> dict[str, Build]:
    """Functions that set up each way of doing the task of a case, by name."""
    builders = {"attack": attacks, "training": trainings, "dynamics": simulations, "forces": evaluations}
    return {**builders[case.task](case, n_members, size), FLOOR: lambda: floor(case, n_members, size)}


def floor(case: Case, n_members: int, size: Size) -> Way:
    return Way(Floor(products(size, *atoms_and_edges(case)), case.task, n_members).run)


def atoms_and_edges(case: Case) -> tuple[int, int]:
    """Total numbers of atoms and edges of all structures of a case."""
    structures = with_edges(batch(case.system, case.n_structures), SchNet().cutoff)
    assert structures.edges is not None
    return structures.n_atoms, len(structures.edges.target)


def attacks(case: Case, n_members: int, size: Size) -> dict[str, Build]:
    members = networks(n_members, size)

    def ours(*, analytic: bool) -> Way:
        committee, seeds = Committee(members, analytic=analytic), batch(case.system, case.n_structures)
        moves = space(case.system)

        def run(n_steps: int, tick: ProgressCallback) -> None:
            # An attack of n steps evaluates n + 1 points.
            attack(committee, seeds, OBJECTIVE, seed=0, space=moves, n_steps=n_steps - 1, progress=tick)

        return Way(run)

    def loop() -> Way:
        plain = cast("tuple[SchNet, ...]", Committee(members, stacked=False).members)
        seed = batch(case.system, 1)
        delta = start(seed)
        return Way(
            lambda n_steps, tick: plain_attack(plain, seed, delta, n_steps=n_steps, tick=tick), case.n_structures
        )

    return {SPARRING: lambda: ours(analytic=True), AUTOGRAD: lambda: ours(analytic=False), LOOP: loop}


def start(seeds: Structures) -> Tensor:
    """Initial displacement of an attack with the random seed 0."""
    return Cartesian().initial(seeds, Generator().manual_seed(0))


def trainings(case: Case, n_members: int, size: Size) -> dict[str, Build]:
    n_batch = case.n_structures

    def ours() -> Way:
        few = n_batch * batch(case.system, 1).n_atoms < FEW_ATOMS
        n_steps = 8 if few else 2
        # One structure to validate on is the least there can be: its time is counted, and is little.
        dataset = labelled(case.system, n_steps * n_batch + 1)
        *train, last = range(len(dataset))
        splits = Splits(test=(), train=(tuple(train),) * n_members, validation=((last,),) * n_members)

        def run(n_epochs: int, tick: ProgressCallback) -> None:
            network = SchNet(**size._asdict())
            fit(network, dataset, seed=0, splits=splits, n_epochs=n_epochs, batch_size=n_batch, progress=tick)

        return Way(run, 1 / n_steps)

    def loop() -> Way:
        dataset = labelled(case.system, n_batch)
        members = networks(n_members, size)
        return Way(lambda n_steps, tick: plain_training(members, dataset, n_steps=n_steps, tick=tick))

    return {SPARRING: ours, LOOP: loop}


def simulations(case: Case, n_members: int, size: Size) -> dict[str, Build]:
    members = networks(n_members, size)

    def ours() -> Way:
        committee, begin = Committee(members), batch(case.system, case.n_structures)

        def run(n_steps: int, tick: ProgressCallback) -> None:
            simulate(
                committee,
                begin,
                ensemble=NVE(temperature=TEMPERATURE),
                timestep=TIMESTEP,
                n_steps=n_steps,
                every=n_steps,
                seed=0,
                progress=tick,
            )

        return Way(run)

    def loop() -> Way:
        (atoms,) = copies(case.system, 1)
        return Way(lambda n_steps, tick: plain_dynamics(members, atoms, n_steps=n_steps, tick=tick), case.n_structures)

    return {SPARRING: ours, LOOP: loop}


def evaluations(case: Case, n_members: int, size: Size) -> dict[str, Build]:
    members = networks(n_members, size)

    def ours(*, analytic: bool) -> Way:
        committee, structures = Committee(members, analytic=analytic), batch(case.system, case.n_structures)

        def run(n_steps: int, tick: ProgressCallback) -> None:
            for _ in range(n_steps):
                committee.predict(committee.prepare(structures), differentiable=False)
                tick()

        return Way(run)

    def loop() -> Way:
        structure = batch(case.system, 1)
        return Way(
            lambda n_steps, tick: plain_forces(members, structure, n_steps=n_steps, tick=tick), case.n_structures
        )

    return {SPARRING: lambda: ours(analytic=True), AUTOGRAD: lambda: ours(analytic=False), LOOP: loop}
