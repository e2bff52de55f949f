"""MACE on the structures that attacks on ACE had labelled, beside ACE itself: is it the network, or the data?

    python -m studies.ammonia run --strategies ace --tasks run barrier --seeds 20 21 22
    python -m studies.ammonia.mace --seeds 20 21 22

Committees of three small MACE models (32 channels, L = 1) learn the data of the last generation with the recipe of the
example. Needs the extra mace; half an hour of one core for three seeds.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from sparring import MACE, read_committee
from sparring.atoms.dataset import Dataset
from sparring.atoms.duplicates import duplicate_groups
from sparring.dynamics.calculator import CommitteeCalculator
from sparring.evaluation import evaluate
from sparring.inputs.extxyz import read_labelled
from sparring.runs.folder import read_metrics
from sparring.systems.ammonia import inversion_barrier
from sparring.training.fitting import fit
from sparring.training.splits import Splits
from sparring.training.trainer import SecondStage
from sparring.units import KCAL_PER_MOL
from studies.ammonia.plan import ACE, NAME, STRATEGIES, Study

RECIPE = {
    "n_epochs": 200,
    "batch_size": 10,
    "learning_rate": 0.01,
    "energy_weight": 0.01,
    "energy_scale": 10 * KCAL_PER_MOL,
    "patience": 50,
    "factor": 0.8,
    "ema_decay": 0.99,
    "amsgrad": True,
    "second_stage": SecondStage(n_epochs=100, learning_rate=1e-3, energy_weight=1.0),
}
"""Training of the example, with half as many epochs: a step of MACE costs several of ACE."""


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each seed as soon as it is known."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.ammonia.mace",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/studies") / NAME, help="folder of runs and results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[20, 21, 22], help="seeds of runs of ACE")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    study = Study(folder=options.folder)
    for seed in options.seeds:
        print(compared(study.generation(ACE, seed, STRATEGIES[ACE].generations), seed), flush=True)


def compared(generation: Path, seed: int) -> str:
    """Errors of MACE, trained on the data of a generation, beside the error of the barrier of its committee."""
    frames = read_labelled(generation / "dataset.extxyz")
    dataset = Dataset.from_atoms(frames)
    splits = Splits.draw(len(dataset), n_members=3, seed=seed, groups=duplicate_groups(dataset.structures))
    start = time.process_time()
    committee, _ = fit(MACE(n_channels=32, max_L=1), dataset, seed=seed, splits=splits, **RECIPE)  # type: ignore[arg-type]
    seconds = time.process_time() - start
    truth = read_metrics(generation)["system"]["barrier_reference"]
    mace, ace = (
        (inversion_barrier(CommitteeCalculator(one), frames[0]).height - truth) / KCAL_PER_MOL
        for one in (committee, read_committee(generation))
    )
    errors = evaluate(committee, dataset.take(splits.test))
    return (
        f"seed {seed}: barrier, error of MACE {mace:+.2f} kcal/mol and of ACE {ace:+.2f}; MACE on its own test set: "
        f"{errors.energy_mae / KCAL_PER_MOL:.3f} kcal/mol, {errors.force_mae / KCAL_PER_MOL:.3f} kcal/mol/Å; "
        f"trained in {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
