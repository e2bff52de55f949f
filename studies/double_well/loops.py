"""Active learning of a double well, many independent loops at once, with three strategies to propose new points.

The protocol is that of Schwalbe-Koda et al. (2021), Sec. V.A. Loops of one number share their starting data and their
first committee, whatever the strategy, so that strategies are compared in pairs. Random numbers of a loop belong to its
number alone; the other loops of a batch change nothing but the rounding.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.selection import Budget, Candidates, Distinct, UncertaintyAbove, select, threshold_from
from sparring.support.seeds import derive
from sparring.systems.wells import DoubleWell2D, grid_rmse, grid_structures
from sparring.training.splits import Splits
from sparring.uncertainty import energy_variance
from studies.double_well.proposers import STRATEGIES, Proposal, force_variances, stacked_committee, structures_of
from studies.double_well.protocol import WELLS, LoopState, Protocol
from studies.double_well.training import TrainingJob, train

__all__ = ["GridPrediction", "add_labels", "run_loops", "start_loop", "train_committees"]

WINDOWS = (0.0, 5.0)
"""Caps of the true energy in eV, below which the error is recorded as well."""

INNER = 1.2
"""Half width in Å of the window of the published notebook, in which the error is recorded as well."""


class GridPrediction(NamedTuple):
    """Mean energy of a committee over the grid and the standard deviation of its members, in eV."""

    number: int
    strategy: str
    generation: int
    energy: np.ndarray
    spread: np.ndarray


def run_loops(
    protocol: Protocol,
    numbers: Sequence[int],
    strategies: Sequence[str],
    *,
    resumed: Sequence[LoopState] = (),
    grid_of: int | None = None,
    log: Callable[[str], None] = lambda line: None,
    save: Callable[[Sequence[LoopState], Sequence[GridPrediction]], None] = lambda loops, predictions: None,
) -> list[LoopState]:
    """Run loops of these numbers under each strategy, all side by side, up to the last committee.

    Args:
        protocol: All choices.
        numbers: Numbers of the loops.
        strategies: Names of STRATEGIES.
        resumed: Loops of an earlier call, from which to continue.
        grid_of: Number of the loop whose committees are evaluated on the grid for figures.
        log: Function that prints a line of progress.
        save: Function that saves the loops after each generation, with the predictions on the grid.
    """
    loops = list(resumed) or [start_loop(protocol, number, strategy) for strategy in strategies for number in numbers]
    for generation in range(loops[0].generation, protocol.n_generations + 1):
        weights = train_committees(protocol, loops)
        errors = [evaluate(protocol, loops[i], weights[i]) for i in range(len(loops))]
        for strategy in strategies:
            own = [e for c, e in zip(loops, errors, strict=True) if c.strategy == strategy]
            n_labels, rmse = (np.median([e[name] for e in own]) for name in ("n_labels", "rmse"))
            log(f"generation {generation}: {strategy}, {n_labels:g} labels, RMSE {rmse:.3g} eV (medians)")
        predictions = [grid_prediction(protocol, c, weights[i]) for i, c in enumerate(loops) if c.number == grid_of]
        if generation == protocol.n_generations:
            loops = [c._replace(record=(*c.record, e)) for c, e in zip(loops, errors, strict=True)]
            save(loops, predictions)
            return loops
        for strategy in strategies:
            places = [i for i, loop in enumerate(loops) if loop.strategy == strategy]
            mine = [loops[i] for i in places]
            committee = stacked_committee(protocol, weights[places])
            variances = force_variances(committee, [loop.train for loop in mine])
            thresholds = [threshold_from(values, protocol.percentile) for values in variances]
            found = STRATEGIES[strategy](protocol, committee, mine, thresholds)
            for i, loop, threshold, candidates in zip(places, mine, thresholds, found, strict=True):
                loops[i] = add_labels(protocol, loop, errors[i], threshold, candidates)
        save(loops, predictions)
    return loops


def start_loop(protocol: Protocol, number: int, strategy: str) -> LoopState:
    """A loop with its starting data."""
    well = WELLS[protocol.well]
    if isinstance(well, DoubleWell2D):
        # On average twice as many as are needed, so that there are always enough.
        n_points = 30 * protocol.n_start
        atoms = well.starting_data(seed=derive(protocol.seed, number, "start"), n_points=n_points)[: protocol.n_start]
    else:
        atoms = well.starting_data()
    splits = Splits.draw(
        len(atoms), n_members=protocol.n_members, seed=derive(protocol.seed, number, "splits"), shared=True
    )
    return LoopState(number, strategy, np.concatenate([one.positions for one in atoms]), splits)


def train_committees(protocol: Protocol, loops: Sequence[LoopState]) -> Tensor:
    """Weights of the committee of each loop (n_loops, n_members, n_weights); equal jobs are trained once."""
    jobs: dict[tuple[int, int], TrainingJob] = {}
    keys = []
    for loop in loops:
        seed = loop.seed(protocol, "fit")
        sets = [_labelled(protocol, loop.points[list(ids[0])]) for ids in (loop.splits.train, loop.splits.validation)]
        for member in range(protocol.n_members):
            keys.append((seed, member))
            jobs.setdefault(keys[-1], TrainingJob(seed, member, *sets))
    weights = train(
        protocol.network,
        list(jobs.values()),
        n_epochs=protocol.n_epochs,
        batch_size=protocol.batch_size,
        learning_rate=protocol.learning_rate,
        energy_weight=protocol.energy_weight,
        force_weight=protocol.force_weight,
    )
    place = {key: row for row, key in enumerate(jobs)}
    by_loop: Tensor = weights[[place[key] for key in keys]].unflatten(0, (len(loops), protocol.n_members))
    return by_loop


def _labelled(protocol: Protocol, points: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    well, d = WELLS[protocol.well], protocol.n_coordinates
    labels = (points[:, :d], well.energies(points), well.forces(points)[:, :d])
    x, e, f = (torch.as_tensor(values, dtype=torch.float64) for values in labels)
    return x, e, f


def evaluate(protocol: Protocol, loop: LoopState, weights: Tensor) -> dict[str, Any]:
    """The error of the mean energy over the grid, all of it and where the energy is low."""
    well, committee = WELLS[protocol.well], stacked_committee(protocol, weights.unsqueeze(0))
    energies: list[Tensor] = []

    def predict(structures: Structures) -> Tensor:
        with torch.no_grad():
            energies.append(torch.stack([member(structures) for member in committee.members]).mean(0))
        return energies[-1]

    rmse = grid_rmse(well, predict)
    grid = grid_structures(well).positions.numpy()
    truth = well.energies(grid)
    error = energies[-1].numpy() - truth
    inner = float(np.sqrt(np.mean(error[(np.abs(grid) <= INNER).all(1)] ** 2)))
    below = {f"{window:g}": float(np.sqrt(np.mean(error[truth < window] ** 2))) for window in WINDOWS}
    return {"n_labels": len(loop.points), "rmse": rmse, "rmse_inner": inner, "rmse_below": below}


def grid_prediction(protocol: Protocol, loop: LoopState, weights: Tensor) -> GridPrediction:
    """Predictions of a committee on the grid, for the figures."""
    committee = stacked_committee(protocol, weights.unsqueeze(0))
    grid = grid_structures(WELLS[protocol.well])
    with torch.no_grad():
        energy = torch.stack([member(grid) for member in committee.members])
    spread = energy_variance(energy).sqrt()
    return GridPrediction(loop.number, loop.strategy, loop.generation, energy.mean(0).numpy(), spread.numpy())


def add_labels(
    protocol: Protocol, loop: LoopState, error: dict[str, Any], threshold: float, proposal: Proposal
) -> LoopState:
    """Select and label new points, and assign them to the splits."""
    zeros = np.zeros(len(proposal.points))
    candidates = Candidates(structures_of(proposal.points), proposal.score, zeros, zeros, proposal.force_variance)
    selection = select(
        candidates,
        UncertaintyAbove(threshold=threshold),
        Distinct(rmsd=protocol.distance, align=False),
        Budget(n=protocol.budget, order="random", seed=loop.seed(protocol, "budget") % 2**31),
    )
    new = proposal.points[selection.indices]
    entry = {
        **error,
        "threshold": threshold,
        "selection": {step.name: step.n_out for step in selection.steps},
        "sampled": new[:, : protocol.n_coordinates].round(6).tolist(),
        "sampled_energy": WELLS[protocol.well].energies(new).round(6).tolist(),
    }
    points = np.concatenate([loop.points, new])
    splits = loop.splits
    if len(new):
        splits = splits.extend(len(points), seed=loop.seed(protocol, "splits"), shared=True)
    return loop._replace(points=points, splits=splits, record=(*loop.record, entry))
