"""The loop of Schwalbe-Koda et al. (2021), doi:10.1038/s41467-021-25342-8: Algorithm 1.

A run is a :class:`Plan`, which holds every choice as a function, and a :class:`State`, which holds all that the next
generation needs. Each stage goes through a cache, which computes it, or reads its result if it is known.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float

from sparring.atoms.composition import lowest_energies
from sparring.atoms.dataset import Dataset
from sparring.atoms.duplicates import duplicate_groups
from sparring.atoms.inheritance import inherit
from sparring.atoms.structures import Structures
from sparring.candidates import Candidates
from sparring.committee import Committee
from sparring.evaluation import Errors, copy_uncertainties, errors, predict_structures, with_uncertainties
from sparring.expected_error import ExpectedErrors
from sparring.labels import Label, LabelReport, labelled_atoms
from sparring.proposers.base import Proposer, propose
from sparring.runs.cache import StageCache, no_cache
from sparring.runs.provenance import PREDICTED, stamped
from sparring.runs.results import Chosen, Evaluated, Fitted, Labelled, State
from sparring.runs.stopping import Stop
from sparring.selection import Selector, select
from sparring.starting_data.base import Starting, in_words, note_forces, references
from sparring.starting_data.isolated import split_isolated
from sparring.support.seeds import derive
from sparring.training.fitting import FitReport
from sparring.training.splits import Splits

__all__ = ["Attacked", "Chosen", "Evaluated", "Fitted", "Labelled", "Plan", "State", "run", "step"]

logger = logging.getLogger(__name__)


class Attacked(NamedTuple):
    """The candidates of a proposer.

    Attributes:
        candidates: Candidates, with paths where the proposer has some.
        seeds: Structure of the data that each comes from.
        heirs: The candidates with what they inherit from it, and with uncertainties of their atoms and stresses.
    """

    candidates: Candidates
    seeds: tuple[int, ...]
    heirs: tuple[Atoms, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every choice of a run, as a function.

    Attributes:
        seed: Random seed, from which those of all stages are derived.
        n_generations: Number of committees that are trained; the last one is not attacked.
        start: Labelled structures to begin with, and those that have no usable label.
        fit: Data, splits and a seed to a committee.
        evaluate: Evaluation that is special to the system, e.g. a barrier, given the committee and its data.
        seeds: Indices of the structures that are attacked, given the data and a seed.
        proposer: Proposer of candidates, given the data, whose molecules it moves, and expected errors.
        selectors: Steps of the selection, given the variances of the training set, lowest energies, a seed, the
            committee, its data and its expected errors.
        label: Structures, and the lowest known energies, to labels; None for a run that ends with the structures to
            be labelled, of a committee that is not trained.
        max_failed: Share of the labels that may fail for reasons other than the geometry.
        min_succeeded: Share of the labels that must succeed.
        n_members: Size of the committee.
        fractions: Fractions of the data for training, validation and test.
        shared_validation: If True, members share one training and validation set.
        source: Name of the origin of new structures in the data, unless candidates have one.
        inherited: Further names in `info` or `arrays` that labels depend on, and that candidates inherit.
        further_labels: Function that adds labels of further properties to labelled candidates.
        stop: Errors at which the run ends before its last generation; None for no such end.
    """

    seed: int
    n_generations: int
    start: Callable[[], Starting]
    fit: Callable[[Dataset, Splits, int], tuple[Committee, FitReport]]
    evaluate: Callable[[Committee, Dataset], Mapping[str, object]]
    seeds: Callable[[Dataset, int], Sequence[int]]
    proposer: Callable[[Dataset, ExpectedErrors | None], Proposer]
    selectors: Callable[
        [Float[np.ndarray, " n_train"], Mapping[str, float], int, Committee, Dataset, ExpectedErrors | None],
        Sequence[Selector],
    ]
    label: Callable[[Sequence[Atoms], Mapping[str, float]], LabelReport] | None
    n_members: int
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    shared_validation: bool = False
    max_failed: float = 1.0
    min_succeeded: float = 0.0
    source: str = field(default="attack")
    inherited: tuple[str, ...] = ()
    further_labels: Callable[[Sequence[Atoms]], Sequence[Atoms]] = list
    stop: Stop | None = None

    def seed_of(self, generation: int, stage: str) -> int:
        """The seed of a stage."""
        return derive(self.seed, generation, stage)

    def ends_with(self, state: State) -> bool:
        """True if the committee of a generation is the last one, which is not attacked."""
        enough = self.stop is not None and state.found is not None and self.stop.met(state.found)
        return self.label is not None and (state.generation == self.n_generations or enough)


def run(plan: Plan, cache: StageCache = no_cache) -> Committee:
    """Adversarial training of a neural-network potential: Algorithm 1. Returns the last committee."""
    state = cache(1, "data", lambda: start(plan))
    while True:
        committee, following = step(state, plan, cache)
        if following is None:
            return committee
        state = following


def step(state: State, plan: Plan, cache: StageCache = no_cache) -> tuple[Committee, State | None]:
    """One generation: train, attack, choose, label. There is no next state once the run is over."""
    generation = state.generation

    # Training, lines 2-4
    fitted = cache(generation, "fit", lambda: train(state, plan)).committee.with_expected(None)
    evaluated = cache(generation, "evaluate", lambda: evaluate(state, plan, fitted))
    committee = fitted.with_expected(evaluated.expected)
    if plan.ends_with(state):
        return committee, None

    # Adversarial attack, lines 5-12
    attacked = cache(generation, "attack", lambda: attack_seeds(state, plan, committee, evaluated))
    chosen = cache(generation, "select", lambda: choose(state, plan, committee, evaluated, attacked))
    if plan.label is None:
        return committee, None

    # Evaluating, lines 13-16
    labelled = cache(generation, "label", lambda: label_chosen(state, plan, committee, chosen))
    if not labelled.atoms:
        logger.warning(
            "generation %d: no candidate was chosen and labelled; the run ends here",
            generation,
        )
        return committee, None
    return committee, cache(generation + 1, "data", lambda: extend(state, plan, labelled))


def start(plan: Plan) -> State:
    """Data at the beginning of a run, D_1; isolated atoms only give the energies of elements.

    Raises:
        ValueError: If too few structures have a usable label; the reasons of the others are counted.
    """
    began = plan.start()
    structures, isolated = split_isolated(began.atoms)
    failures, reasons = began.failures, in_words(began.failures)
    if not structures:
        raise ValueError(f"there is nothing to begin with: 0 structures are labelled, {reasons}")
    if failures:
        logger.warning("data: %d of %d labelled, %s", len(structures), len(structures) + len(failures), reasons)
    dataset = Dataset.from_atoms([stamped(atoms, generation=1, inherited=plan.inherited) for atoms in structures])
    dataset = replace(dataset, atomic_energies=references(isolated, dataset))
    note_forces(dataset)
    if plan.label is None:
        return State(1, dataset, Splits.untrained(len(dataset), n_members=plan.n_members), failures)
    try:
        splits = Splits.draw(
            len(dataset),
            n_members=plan.n_members,
            seed=plan.seed_of(1, "splits"),
            fractions=plan.fractions,
            shared=plan.shared_validation,
            groups=duplicate_groups(dataset.structures),
        )
    except ValueError as error:
        raise ValueError(f"{error} ({reasons})" if failures else str(error)) from error
    return State(1, dataset, splits, failures)


def extend(state: State, plan: Plan, labelled: Labelled) -> State:
    """Data of the next generation, D_{g+1}; structures stay in the split in which they are."""
    generation = state.generation + 1
    added = Dataset.from_atoms(
        [stamped(atoms, generation=generation, inherited=plan.inherited) for atoms in labelled.atoms]
    )
    dataset = state.dataset + added
    splits = state.splits.extend(
        len(dataset),
        seed=plan.seed_of(generation, "splits"),
        fractions=plan.fractions,
        shared=plan.shared_validation,
        groups=duplicate_groups(dataset.structures),
    )
    return State(generation, dataset, splits, found=labelled)


def train(state: State, plan: Plan) -> Fitted:
    """A committee trained on the data (Eq. 2 and 3)."""
    return Fitted(*plan.fit(state.dataset, state.splits, plan.seed_of(state.generation, "fit")))


def evaluate(state: State, plan: Plan, committee: Committee) -> Evaluated:
    """Errors of a committee on its training and test data, and the evaluation that is special to the system.

    All data are test data of a committee that is not trained; predictions of its own have no errors.
    """
    parts = {"test": state.splits.test, "fit": state.splits.fit}
    if plan.label is None:
        labelled = tuple(k for k, info in enumerate(state.dataset.info) if not info.get(PREDICTED))
        parts = {"test": labelled, "fit": ()}
    test = set(parts["test"])
    # Test structures may have elements that no member was trained on.
    predicted = predict_structures(committee.without_domain(), state.dataset.structures)
    predictions = predicted.annotate(state.dataset.to_atoms())
    for index, atoms in enumerate(predictions):
        atoms.info["split"] = "test" if index in test else "fit"
    by_part = {
        name: errors(predicted.take(ids), state.dataset.take(ids)) if ids else Errors.unknown()
        for name, ids in parts.items()
    }
    expected = ExpectedErrors.of(
        () if state.found is None else state.found.atoms, [predictions[k] for k in sorted(test)]
    )
    system = plan.evaluate(committee, state.dataset)
    return Evaluated(predictions, predicted.force_variance, by_part, system, expected)


def attack_seeds(state: State, plan: Plan, committee: Committee, evaluated: Evaluated) -> Attacked:
    """Propose candidates from some of the data, by attacks all at once (Eq. 13 and 14) or otherwise."""
    seed = plan.seed_of(state.generation, "attack")
    seeds = tuple(int(i) for i in plan.seeds(state.dataset, derive(seed, "seeds")))
    chosen = state.dataset.take(seeds)
    committee = committee.without_domain()  # its own data cannot be new to it
    candidates = propose(plan.proposer(state.dataset, evaluated.expected), committee, chosen.structures, seed)
    parents = tuple(seeds[origin] for origin in candidates.origins(len(seeds)))
    heirs = with_uncertainties(candidates.heirs(chosen.to_atoms(), plan.inherited), committee)
    return Attacked(candidates, parents, tuple(heirs))


def choose(state: State, plan: Plan, committee: Committee, evaluated: Evaluated, attacked: Attacked) -> Chosen:
    """Select candidates for labelling."""
    parents = state.dataset.to_atoms()
    charges = np.array([int(parents[parent].info.get("charge", 0)) for parent in attacked.seeds])
    candidates = attacked.candidates._replace(charge=charges)
    selectors = plan.selectors(
        evaluated.force_variance[list(state.splits.fit)],
        lowest_energies(parents),
        plan.seed_of(state.generation, "select"),
        committee,
        state.dataset,
        evaluated.expected,
    )
    selection = select(candidates, *selectors)
    geometries, chosen = candidates.structures.to_atoms(), list[Atoms]()
    for index in selection.indices.tolist():
        parent = attacked.seeds[index]
        atoms = inherit(geometries[index], parents[parent], plan.inherited)
        atoms.info.update(
            source=plan.source if candidates.source is None else candidates.source[index],
            parent=parent,
            candidate=index,
            **candidates.numbers(index),
        )
        if attacked.heirs:
            copy_uncertainties(attacked.heirs[index], atoms)
        chosen.append(atoms)
    if evaluated.expected is not None:
        evaluated.expected.note(chosen)
    return Chosen(chosen, selection.steps)


def label_chosen(state: State, plan: Plan, committee: Committee, chosen: Chosen) -> Labelled:
    """Labels of the chosen candidates, with the predictions of the committee before it is trained on them.

    Raises:
        LabellingError: If too many labels fail.
    """
    if not chosen.atoms or plan.label is None:
        return Labelled([], (), 0, 0)
    report = plan.label(chosen.atoms, lowest_energies(state.dataset.to_atoms()))
    report.require_labeller(plan.max_failed, plan.min_succeeded)
    expected = predict_structures(committee.without_domain(), Structures.from_atoms(chosen.atoms)).annotate(
        chosen.atoms
    )
    labelled, failures = [], []
    for atoms, label, key in zip(expected, report.labels, report.keys, strict=True):
        if isinstance(label, Label):
            atoms = labelled_atoms(atoms, label, key)
            atoms.info["wall_time"] = label.wall_time
            labelled.append(atoms)
        else:
            failures.append((int(atoms.info["candidate"]), label))
    return Labelled(list(plan.further_labels(labelled)), tuple(failures), report.n_computed, report.n_reused)
