"""Survival in molecular dynamics: hundreds of copies at several temperatures, and when and why they fail.

Sec. V.B of Schwalbe-Koda et al. (2021), doi:10.1038/s41467-021-25342-8, for any structure, committee and criteria.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from sparring.atoms.inheritance import bare_copy, inherit
from sparring.atoms.internal_coordinates import InternalCoordinate, bonds_and_angles
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics import Criterion, DynamicsResult, Ensemble, Status, Temperature, simulate
from sparring.dynamics.calculator import CommitteeCalculator
from sparring.dynamics.records import Write
from sparring.dynamics.trajectories import ensemble_of
from sparring.evaluation import predict_structures
from sparring.starting_data.relaxation import RelaxationError, relax
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.support.seeds import derive
from sparring.validation.run_labels import LabelFrames
from sparring.validation.survival.batches import Cell, MDBatch, Positions, identity, once
from sparring.validation.survival.failures import Failure, explained, with_predictions
from sparring.validation.survival.labels import compared, labelled_failures
from sparring.validation.survival.spread import Moments, SpreadOfCopies
from sparring.validation.survival.trials import Settings, Survival, SurvivalAtTemperature, in_words

__all__ = ["Failure", "Settings", "Survival", "SurvivalAtTemperature", "own_minimum", "survival"]

EVERY = 20
"""Number of steps between two removals of failed copies from the batch."""
PREDICTED = ("committee_", "energy_variance", "force_variance", "stress_variance", "atom_uncertainty", "expected_")
"""Beginnings of the names of predictions in `info` and `arrays`."""
DECIMALS = 4
NEIGHBOURS, STRAIN = 3.0, 0.2
"""In a minimum of its own a structure keeps distances shorter than this, in Å, within this part of their length."""


def survival(
    committee: Committee,
    start: Atoms,
    *,
    temperatures: Sequence[float],
    criteria: Sequence[Criterion],
    n_copies: int = 20,
    duration: float = 30_000.0,
    timestep: float = 0.5,
    ensemble: str = "nose_hoover",
    friction: float = 0.01,
    time_constant: float = 50.0,
    pressure: float | None = None,
    cell_time_constant: float = 500.0,
    seed: int = 0,
    n_at_once: int = 50,
    batches: Path | str | None = None,
    write: Write | None = None,
    label: LabelFrames | None = None,
    n_labels: int = 10,
    finished: Callable[[SurvivalAtTemperature], None] | None = None,
    progress_bars: ProgressBars = no_progress_bars,
) -> Survival:
    """Simulate copies of a structure, and record which of them fail, when and why.

    A copy fails if a criterion is met or a number is not finite. It then leaves the batch; the others are not affected.
    The result of a copy depends on the seed, its temperature and its number; neither on other temperatures, nor, except
    for rounding, on the number of copies.

    The frames in which copies failed are geometries to which the committee leads, and should not: they are candidates
    for labels. They have the committee's mean energy and forces and both variances, and ``copy``, ``temperature``,
    ``time`` in fs and ``failed``, the reason. If a number was not finite, the frame is the last finite one. Each
    failure has the bond or angle that went farthest in its frame, in units of its thermal spread over the copies, the
    energy and the uncertainty there, and, where there is a label, the errors.

    Args:
        committee: Committee whose mean forces are used.
        start: Start of all copies. The centre of mass is fixed, unless this is a single atom.
        temperatures: Temperatures in K.
        criteria: Criteria of unphysical geometries: :class:`sparring.DistanceWindow`, :class:`sparring.BondsKept`,
            :class:`sparring.CloserThan`, :class:`sparring.EnergyBelow`, or any function like these.
        n_copies: Number of copies at each temperature.
        duration: Length of a trajectory in fs.
        timestep: Time step in fs.
        ensemble: Ensemble: ``nose_hoover``, ``langevin``, ``nve``, or with cells that move ``npt`` or ``npt_cell``.
        friction: Friction of the Langevin thermostat in 1/fs.
        time_constant: Time constant of the Nosé-Hoover chain in fs.
        pressure: Pressure in eV/Å³ where cells move, by default 1 bar.
        cell_time_constant: Time constant of the barostat in fs.
        seed: Random seed of velocities and noise.
        n_at_once: Number of copies that are simulated together. Larger batches use a graphics card better; smaller ones
            lose less when the computation is interrupted.
        batches: Folder for the results of batches. A batch that is found there, of the same committee, start and
            settings, is not computed again.
        write: Function that takes the frames in which copies failed, those of a temperature in order of time.
        label: Function that labels frames in which copies failed, such as the method ``label`` of a label service;
            None for no labels.
        n_labels: Largest number of frames that are labelled: the earliest at each temperature in turn.
        finished: Function that is called with each finished temperature.
        progress_bars: Progress bars.

    Raises:
        ValueError: If the arguments are inconsistent, the start itself fails, or batches are to be stored and the
            committee or a criterion cannot be identified.
    """
    _check(temperatures, n_copies, n_at_once, duration, timestep)
    committee.require_known([start])
    batches = None if batches is None else Path(batches)
    constants: dict[str, Any] = {
        "friction": friction,
        "time_constant": time_constant,
        "pressure": pressure,
        "cell_time_constant": cell_time_constant,
    }

    def ensemble_at(temperature: Temperature) -> Ensemble:
        return ensemble_of(ensemble, temperature, **constants)

    settings = Settings(
        formula=start.get_chemical_formula(),
        duration=round(duration / timestep) * timestep,
        timestep=timestep,
        ensemble=in_words(ensemble, **constants),
        criteria=tuple(str(getattr(criterion, "__name__", criterion)) for criterion in criteria),
        seed=seed,
    )
    work = _Work(committee, bare_copy(start), criteria, settings, bonds_and_angles(start))
    work.check(ensemble_at(list(temperatures)), len(temperatures))
    of = "" if batches is None else identity(committee, start, criteria, asdict(settings))
    trials, frames = [], []
    for temperature in map(float, temperatures):
        parts = []
        for first in range(0, n_copies, n_at_once):
            copies = range(first, min(first + n_at_once, n_copies))
            title = f"{temperature:g} K, copies {first + 1} to {copies[-1] + 1} of {n_copies}"
            compute = partial(work.batch, of, temperature, copies, ensemble_at(temperature), title, progress_bars)
            parts.append(once(batches, of, temperature, copies, compute))
        failures, failing = work.failures(temperature, parts)
        trials.append(SurvivalAtTemperature.of(temperature, n_copies, failures))
        frames.append(failing)
        if write and failing:
            write(failing)
        if finished:
            finished(trials[-1])
    return Survival.of(trials if label is None else _with_labels(trials, frames, label, n_labels), settings)


def _with_labels(
    trials: Sequence[SurvivalAtTemperature], frames: Sequence[Sequence[Atoms]], label: LabelFrames, n_labels: int
) -> list[SurvivalAtTemperature]:
    """Trials whose earliest failures have the errors of the committee against labels."""
    found = []
    chosen = labelled_failures([len(trial.failures) for trial in trials], n_labels)
    for trial, some, which in zip(trials, frames, chosen, strict=True):
        checked = compared([trial.failures[i] for i in which], [some[i] for i in which], label)
        others = [failure for i, failure in enumerate(trial.failures) if i not in which]
        found.append(replace(trial, failures=tuple(sorted([*checked, *others], key=_order))))
    return found


def _order(failure: Failure) -> tuple[float, int]:
    return failure.time, failure.copy


def own_minimum(committee: Committee, start: Atoms) -> float:
    """Energy, in eV, of the committee's minimum closest to a structure, the lowest energy of its basin.

    If the relaxation leaves the basin (a distance between neighbours changes by more than a fifth) or does not
    converge, this is the energy of the structure itself.

    Rounded down to 1e-4 eV, so that machines that differ in the last digits give the same energy.
    """
    calculator = CommitteeCalculator(committee)
    beginning = bare_copy(start)
    beginning.calc = calculator
    energy = _rounded_down(beginning.get_potential_energy())
    try:
        relaxed = relax(start, calculator)
    except RelaxationError:
        return energy
    before, after = (atoms.get_all_distances(mic=bool(atoms.pbc.any())) for atoms in (start, relaxed))
    near = (before > 0) & (before < NEIGHBOURS)
    stays = bool((np.abs(after - before)[near] <= STRAIN * before[near]).all())
    return _rounded_down(relaxed.get_potential_energy()) if stays else energy


def _rounded_down(energy: float) -> float:
    return float(np.round(np.floor(energy * 10**DECIMALS) / 10**DECIMALS, DECIMALS))


@dataclass(frozen=True)
class _Work:
    """Everything that is the same at all temperatures."""

    committee: Committee
    start: Atoms
    criteria: Sequence[Criterion]
    settings: Settings
    coordinates: Sequence[InternalCoordinate]

    def check(self, ensemble: Ensemble, n_copies: int) -> None:
        """Check that the ensemble exists, the criteria fit the start, and the start meets none of them."""
        structures = Structures.from_atoms([self.start] * n_copies)
        for criterion in self.criteria:
            if check := getattr(criterion, "check", None):
                check(structures)
        status = int(self._simulate(structures, ensemble, n_steps=0, seed=0).status[0])
        if status >= Status.CRITERION:
            raise ValueError(
                f"the start itself fails ({self.settings.criteria[status - Status.CRITERION]}); give another start, or "
                "criteria that it meets"
            )

    def batch(
        self, of: str, temperature: float, copies: range, ensemble: Ensemble, title: str, progress_bars: ProgressBars
    ) -> MDBatch:
        """Simulate copies together."""
        many = Structures.from_atoms([self.start]).take([0] * len(copies))
        spread = SpreadOfCopies(self.coordinates)
        result = self._simulate(
            many,
            ensemble,
            n_steps=round(self.settings.duration / self.settings.timestep),
            seed=derive(self.settings.seed, "stability", repr(temperature)),
            numbers=copies,
            watch=spread,
            progress=progress_bars(title),
        )
        words = (*result.reasons[: Status.CRITERION], *self.settings.criteria)
        status, times, failed = result.status.tolist(), result.failure_time.tolist(), result.failed.tolist()
        # Geometries after a blow-up are useless as training data.
        ends = zip(failed, result.offending.to_atoms(), result.structures.take(failed).to_atoms(), strict=True)
        shown = [well if status[i] == Status.NOT_FINITE else end for i, end, well in ends]
        return MDBatch(
            identity=of,
            temperature=temperature,
            first=copies[0],
            n_copies=len(copies),
            failures=tuple(Failure(copy=copies[i], time=times[i], reason=words[status[i]]) for i in failed),
            positions=tuple(atoms.positions for atoms in shown),
            cells=tuple(atoms.cell.array for atoms in shown) if ensemble.moves_cells else None,
            moments=spread.moments(),
        )

    def _simulate(self, structures: Structures, ensemble: Ensemble, **others: Any) -> DynamicsResult:  # noqa: ANN401
        return simulate(
            self.committee,
            structures,
            ensemble=ensemble,
            timestep=self.settings.timestep,
            every=EVERY,
            criteria=self.criteria,
            fixed_centre=len(self.start) > 1,
            **others,
        )

    def failures(self, temperature: float, parts: Sequence[MDBatch]) -> tuple[list[Failure], list[Atoms]]:
        """Failures at a temperature in order of time, explained, and their frames with predictions of the committee."""
        ends = [end for part in parts for end in part.ends(self.start.cell.array)]
        ends = sorted(ends, key=lambda end: _order(end[0]))
        if not ends:
            return [], []
        geometries = [self._frame(temperature, *end) for end in ends]
        failures = explained(
            [failure for failure, *_ in ends],
            geometries,
            self.start,
            self.coordinates,
            Moments.joined([part.moments for part in parts]),
        )
        structures = Structures.from_atoms([*geometries, self.start], ignore_constraints=True)
        predicted = predict_structures(self.committee, structures)
        frames = predicted.annotate([*geometries, self.start])[:-1]
        for atoms in frames:
            for values in (atoms.info, atoms.arrays):
                for name in [
                    name for name in values if name.startswith(PREDICTED) and not np.isfinite(values[name]).all()
                ]:
                    del values[name]
        return with_predictions(failures, predicted), frames

    def _frame(self, temperature: float, failure: Failure, positions: Positions, cell: Cell) -> Atoms:
        atoms = inherit(Atoms(self.start.numbers, positions, cell=cell, pbc=self.start.pbc), self.start)
        atoms.info.update(copy=failure.copy, temperature=temperature, time=failure.time, failed=failure.reason)
        return atoms


def _check(temperatures: Sequence[float], n_copies: int, n_at_once: int, duration: float, timestep: float) -> None:
    if not temperatures or len(set(temperatures)) < len(temperatures):
        raise ValueError(f"need at least one temperature, and each once, got {list(temperatures)}")
    if n_copies < 1 or n_at_once < 1:
        raise ValueError(f"need at least one copy, and one at once, got {n_copies} and {n_at_once}")
    if not 0 < timestep <= duration < math.inf:
        raise ValueError(f"need a timestep > 0 and a duration of at least one, got {timestep} fs and {duration} fs")
