"""Time of ACE with 16 features and of PaiNN with 64 relative to SchNet with 128: attack steps and epochs of training.

Run it with ``OMP_NUM_THREADS=1 python benchmarks/networks.py``; it takes some minutes. Five members with random
weights, single precision; the objective of the attack is the force variance. Beside networks as they are used stand
their plain modules under ``torch.vmap``. Candidates alternate in one process, and times are those of the processor, the
smallest of all repeats.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from cases import N_MEMBERS, batch, labelled

from sparring.committee import Committee
from sparring.potentials import ACE, Architecture, PaiNN, SchNet
from sparring.proposers.objectives import force_variance
from sparring.support.malloc import keep_freed_memory
from sparring.training.fitting import fit

SCHNET = "schnet"
ATTACKS = (("ammonia", 30), ("alanine dipeptide", 10))
TRAININGS = (("ammonia", 60, 30), ("alanine dipeptide", 20, 10))
"""Systems, with the numbers of structures in a data set and in a minibatch."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="tiny networks and few structures, to see that it works")
    options = parser.parse_args(arguments)
    keep_freed_memory()  # as `sparring` does
    small = options.quick
    networks: dict[str, Architecture] = {
        "ace": ACE(n_features=2 if small else 16, mean_neighbors=5.0),
        "painn": PaiNN(n_features=4, n_interactions=1) if small else PaiNN(n_features=64, n_interactions=3),
        SCHNET: SchNet(n_features=8, n_filters=8) if small else SchNet(n_features=128, n_filters=128),
    }
    committees = {name: Committee(members(network)) for name, network in networks.items()}
    for name in ("ace", "painn"):
        committees[f"{name}, plain"] = Committee(members(networks[name]), analytic=False)
    for system, n_seeds in ATTACKS:
        n = 2 if options.quick else n_seeds
        steps = {name: attack_step(committee, system, n) for name, committee in committees.items()}
        print(line(f"attack step, {n} x {system}", smallest(steps, options.repeats)), flush=True)
    for system, n_structures, n_batch in () if options.quick else TRAININGS:
        epochs = {
            name: partial(epochs_of, network, system, n_structures, n_batch) for name, network in networks.items()
        }
        print(line(f"epoch, {n_structures} x {system}", smallest(epochs, 1)), flush=True)


def members(network: Architecture) -> list[Architecture]:
    """Networks with weights of their own."""
    networks = [type(network)(**network.hyperparameters) for _ in range(N_MEMBERS)]
    for seed, one in enumerate(networks):
        one.initialise(torch.Generator().manual_seed(seed))
    return networks


def attack_step(committee: Committee, system: str, n_seeds: int) -> Callable[[], float]:
    """Function that takes the gradient of the force variance, and returns the time of the processor."""
    structures = committee.prepare(batch(system, n_seeds))

    def step() -> float:
        start = time.process_time()
        moved = structures.with_positions(structures.positions.detach().requires_grad_())
        torch.autograd.grad(force_variance(committee.predict(moved), moved).sum(), moved.positions)
        return time.process_time() - start

    step()
    return step


def epochs_of(network: Architecture, system: str, n_structures: int, n_batch: int) -> float:
    """Time of the processor for an epoch: six epochs less one, over five, after one to warm up."""
    seconds = []
    for n_epochs in (1, 1, 6):
        start = time.process_time()
        data = labelled(system, n_structures)
        fit(network, data, n_members=N_MEMBERS, n_epochs=n_epochs, batch_size=n_batch, learning_rate=1e-3, seed=0)
        seconds.append(time.process_time() - start)
    return (seconds[2] - seconds[1]) / 5


def smallest(candidates: Mapping[str, Callable[[], float]], n_repeats: int) -> dict[str, float]:
    """Smallest time of each candidate, from rounds in which each runs once."""
    rounds = [{name: run() for name, run in candidates.items()} for _ in range(n_repeats)]
    return {name: min(one[name] for one in rounds) for name in candidates}


def line(task: str, seconds: Mapping[str, float]) -> str:
    """A row of the table."""
    ratios = "  ".join(f"{name}: {value / seconds[SCHNET]:.2f}" for name, value in seconds.items())
    return f"{task:35}  {ratios}  (SchNet: {1000 * seconds[SCHNET]:.0f} ms)"


if __name__ == "__main__":
    main()
