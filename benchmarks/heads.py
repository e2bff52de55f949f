"""Cost of one attack step of a committee from one backbone, in energy-and-force evaluations of the backbone.

Run it with ``python benchmarks/heads.py``; it takes a minute with PaiNN, whose weights are random, on ammonia. With
``--backbone chgnet`` (extra ``chgnet``) the backbone is CHGNet with its own weights and the seeds are distorted cells
of MgO. For K members a step may cost (K + 1) x 1.5 evaluations: one and a half times K + 1 potentials that are
evaluated once. All are processor times of one run, the ways in turn, so that other work on the machine counts little.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from ase import Atoms
from ase.build import bulk, molecule
from timing import about

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.potentials import Architecture, PaiNN
from sparring.potentials.foreign.loading import load_potential
from sparring.proposers.ascent import Ascent
from sparring.proposers.objectives import force_variance
from sparring.proposers.spaces import Cartesian
from sparring.training.heads import fit_heads
from sparring.training.llpr import llpr

MOST = 1.5
"""Evaluations that a step may cost for each member and the mean."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", choices=("painn", "chgnet"), default="painn")
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--seeds", type=int, help="seeds of the attack; by default 30, or 4 with chgnet")
    parser.add_argument("--features", type=int, default=64, help="features of PaiNN")
    parser.add_argument("--repeats", type=int, default=5, help="steps of which the median is taken")
    parser.add_argument("--output", type=Path, help="where to write the numbers as JSON")
    options = parser.parse_args(arguments)
    backbone, unit = _backbone(options.backbone, options.features)
    n_seeds = options.seeds or (30 if options.backbone == "painn" else 4)
    seconds = dict(_seconds(backbone, _rattled(unit, n_seeds), options.members, options.repeats))
    evaluation = seconds.pop("evaluation")
    allowed = MOST * (options.members + 1)
    print(f"{options.backbone}, {n_seeds} x {unit.get_chemical_formula()}, {options.members} members, ", end="")
    print(f"{torch.get_num_threads()} threads; an energy-and-force evaluation takes {1000 * evaluation:.1f} ms")
    rows = {}
    for name, value in seconds.items():
        rows[name] = {"ms": 1000 * value, "evaluations": value / evaluation}
        print(f"  {name:<12} {1000 * value:>9.1f} ms  {value / evaluation:>6.1f} evaluations (at most {allowed:.1f})")
    if options.output:
        result = {**about(), "evaluation_ms": 1000 * evaluation, "members": options.members, "steps": rows}
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _backbone(name: str, n_features: int) -> tuple[Architecture, Atoms]:
    if name == "chgnet":
        return load_potential("chgnet", "default"), bulk("MgO", "rocksalt", a=4.21, cubic=True)
    network = PaiNN(n_features=n_features)
    network.initialise(torch.Generator().manual_seed(0))
    return network, molecule("NH3")


def _rattled(unit: Atoms, n_copies: int) -> list[Atoms]:
    copies = [unit.copy() for _ in range(n_copies)]
    for index, one in enumerate(copies):
        one.rattle(0.05, seed=index)
    return copies


def _seconds(backbone: Architecture, frames: list[Atoms], n_members: int, n_repeats: int) -> Mapping[str, float]:
    """Processor seconds of an energy-and-force evaluation, and of an attack step of each committee."""
    single = Committee([backbone])
    seeds = Structures.from_atoms(frames, dtype=single.dtype)
    known = seeds.take(range(min(4, len(frames))))
    labels = single.predict(known, differentiable=False)
    labelled = known.to(dtype=torch.float64).to_atoms()
    for index, atoms in enumerate(labelled):
        atoms.info[ENERGY] = float(labels.energy[0, index]) + 0.1 * index
        atoms.arrays[FORCES] = 1.1 * labels.forces[0][known.structure_index == index].double().numpy()
    ways: dict[str, Callable[[], object]] = {
        "evaluation": lambda: single.without_domain().predict(single.prepare(seeds), differentiable=False),
        "heads": _step(fit_heads(backbone, Dataset.from_atoms(labelled), n_members=n_members), seeds),
        "llpr": _step(llpr(backbone, known, n_members=n_members, scale=1.0), seeds),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(n_repeats + 1):
        for name, way in ways.items():
            start = time.process_time()
            way()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(values[1:]) for name, values in times.items()}  # the first fills caches


def _step(committee: Committee, seeds: Structures) -> Callable[[], object]:
    committee = committee.without_domain()
    ascent = Ascent(committee, seeds, force_variance, Cartesian())
    state = ascent.start(torch.zeros_like(seeds.positions))
    return lambda: ascent.step(state, 0)


if __name__ == "__main__":
    main()
