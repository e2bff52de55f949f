"""Active learning of a double well, many independent loops at once, by three ways of finding new points.

The protocol is that of Schwalbe-Koda et al. (2021), Sec. V.A. Loops of one number share their starting data and their
first committee, whatever the strategy, so that strategies are compared in pairs. Random numbers of a loop belong to its
number alone: with which others it is computed changes nothing but the rounding.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from double_well_networks import Lesson, train
from double_well_protocol import WELLS, Course, Protocol
from double_well_search import STRATEGIES, Found, crew, structures_of, survey
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.selection import Budget, Candidates, Distinct, UncertaintyAbove, select, threshold_from
from sparring.support.seeds import derive
from sparring.systems.wells import DoubleWell2D, grid_rmse, grid_structures
from sparring.training.splits import Splits
from sparring.uncertainty import energy_variance

__all__ = ["Panel", "begin", "extend", "learn", "run_loops"]

WINDOWS = (0.0, 5.0)
"""The error is also noted where the true energy is below these, in eV."""

INNER = 1.2
"""And within this distance of zero along each coordinate, in Å: the window of the published notebook."""


class Panel(NamedTuple):
    """What a committee says over the grid: mean energy and standard deviation of the members, in eV."""

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
    begun: Sequence[Course] = (),
    panels_of: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    keep: Callable[[Sequence[Course], Sequence[Panel]], None] = lambda courses, panels: None,
) -> list[Course]:
    """Loops of these numbers under each strategy, all side by side, to the last committee.

    Args:
        protocol: All choices.
        numbers: Of the loops.
        strategies: Names of STRATEGIES.
        begun: Where an earlier call was, to go on from there.
        panels_of: The number of the loop whose committees are wanted for figures.
        say: Takes a line of progress.
        keep: Takes where the loops are after each generation, and the panels of that generation.
    """
    courses = list(begun) or [begin(protocol, number, strategy) for strategy in strategies for number in numbers]
    for generation in range(courses[0].generation, protocol.n_generations + 1):
        weights = learn(protocol, courses)
        errors = [evaluate(protocol, courses[i], weights[i]) for i in range(len(courses))]
        for strategy in strategies:
            mine = [e for c, e in zip(courses, errors, strict=True) if c.strategy == strategy]
            n_labels, rmse = (np.median([e[name] for e in mine]) for name in ("n_labels", "rmse"))
            say(f"generation {generation}: {strategy}, {n_labels:g} labels, RMSE {rmse:.3g} eV (medians)")
        panels = [panel(protocol, c, weights[i]) for i, c in enumerate(courses) if c.number == panels_of]
        if generation == protocol.n_generations:
            courses = [c._replace(record=(*c.record, e)) for c, e in zip(courses, errors, strict=True)]
            keep(courses, panels)
            return courses
        for strategy in strategies:
            places = [i for i, course in enumerate(courses) if course.strategy == strategy]
            some = [courses[i] for i in places]
            team = crew(protocol, weights[places])
            known = survey(team, [course.train for course in some])
            thresholds = [threshold_from(variances, protocol.percentile) for variances in known]
            found = STRATEGIES[strategy](protocol, team, some, thresholds)
            for i, course, threshold, candidates in zip(places, some, thresholds, found, strict=True):
                courses[i] = extend(protocol, course, errors[i], threshold, candidates)
        keep(courses, panels)
    return courses


def begin(protocol: Protocol, number: int, strategy: str) -> Course:
    """The starting data of a loop."""
    well = WELLS[protocol.well]
    if isinstance(well, DoubleWell2D):
        # Twice as many as are needed in the mean: that there are not enough never happens.
        n_points = 30 * protocol.n_start
        atoms = well.starting_data(seed=derive(protocol.seed, number, "start"), n_points=n_points)[: protocol.n_start]
    else:
        atoms = well.starting_data()
    splits = Splits.draw(
        len(atoms), n_members=protocol.n_members, seed=derive(protocol.seed, number, "splits"), shared=True
    )
    return Course(number, strategy, np.concatenate([one.positions for one in atoms]), splits)


def learn(protocol: Protocol, courses: Sequence[Course]) -> Tensor:
    """Weights of the committee of each course (n_courses, n_members, n_weights); equal lessons are learnt once."""
    lessons: dict[tuple[int, int], Lesson] = {}
    keys = []
    for course in courses:
        seed = course.seed(protocol, "fit")
        sets = [
            _labelled(protocol, course.points[list(ids[0])]) for ids in (course.splits.train, course.splits.validation)
        ]
        for member in range(protocol.n_members):
            keys.append((seed, member))
            lessons.setdefault(keys[-1], Lesson(seed, member, *sets))
    weights = train(
        protocol.network,
        list(lessons.values()),
        n_epochs=protocol.n_epochs,
        batch_size=protocol.batch_size,
        learning_rate=protocol.learning_rate,
        energy_weight=protocol.energy_weight,
        force_weight=protocol.force_weight,
    )
    place = {key: row for row, key in enumerate(lessons)}
    by_course: Tensor = weights[[place[key] for key in keys]].unflatten(0, (len(courses), protocol.n_members))
    return by_course


def _labelled(protocol: Protocol, points: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    well, d = WELLS[protocol.well], protocol.n_coordinates
    labels = (points[:, :d], well.energies(points), well.forces(points)[:, :d])
    x, e, f = (torch.as_tensor(values, dtype=torch.float64) for values in labels)
    return x, e, f


def evaluate(protocol: Protocol, course: Course, weights: Tensor) -> dict[str, Any]:
    """The error of the mean energy over the grid, all of it and where the energy is low."""
    well, team = WELLS[protocol.well], crew(protocol, weights.unsqueeze(0))
    said: list[Tensor] = []

    def predict(structures: Structures) -> Tensor:
        with torch.no_grad():
            said.append(torch.stack([member(structures) for member in team.members]).mean(0))
        return said[-1]

    rmse = grid_rmse(well, predict)
    grid = grid_structures(well).positions.numpy()
    truth = well.energies(grid)
    error = said[-1].numpy() - truth
    inner = float(np.sqrt(np.mean(error[(np.abs(grid) <= INNER).all(1)] ** 2)))
    below = {f"{window:g}": float(np.sqrt(np.mean(error[truth < window] ** 2))) for window in WINDOWS}
    return {"n_labels": len(course.points), "rmse": rmse, "rmse_inner": inner, "rmse_below": below}


def panel(protocol: Protocol, course: Course, weights: Tensor) -> Panel:
    """For the figures."""
    team = crew(protocol, weights.unsqueeze(0))
    grid = grid_structures(WELLS[protocol.well])
    with torch.no_grad():
        energy = torch.stack([member(grid) for member in team.members])
    spread = energy_variance(energy).sqrt()
    return Panel(course.number, course.strategy, course.generation, energy.mean(0).numpy(), spread.numpy())


def extend(protocol: Protocol, course: Course, error: dict[str, Any], threshold: float, found: Found) -> Course:
    """Choose, label, and deal out the new points."""
    nothing = np.zeros(len(found.points))
    candidates = Candidates(structures_of(found.points), found.score, nothing, nothing, found.force_variance)
    selection = select(
        candidates,
        UncertaintyAbove(threshold=threshold),
        Distinct(rmsd=protocol.distance, align=False),
        Budget(n=protocol.budget, order="random", seed=course.seed(protocol, "budget") % 2**31),
    )
    new = found.points[selection.indices]
    note = {
        **error,
        "threshold": threshold,
        "selection": {step.name: step.n_out for step in selection.steps},
        "sampled": new[:, : protocol.n_coordinates].round(6).tolist(),
        "sampled_energy": WELLS[protocol.well].energies(new).round(6).tolist(),
    }
    points = np.concatenate([course.points, new])
    splits = course.splits
    if len(new):
        splits = splits.extend(len(points), seed=course.seed(protocol, "splits"), shared=True)
    return course._replace(points=points, splits=splits, record=(*course.record, note))
