"""The loop of Schwalbe-Koda et al. (2021), doi:10.1038/s41467-021-25342-8: Algorithm 1.

A run is a :class:`Plan`, which holds every choice as a function, and a :class:`State`, which holds all that the next
generation needs. Each stage goes through ``once``, which computes it, or finds it where it has been computed before.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from ase import Atoms
from jaxtyping import Float

from sparring.atoms.dataset import FORCES, Dataset
from sparring.atoms.duplicates import duplicate_groups
from sparring.atoms.inheritance import inherit, own_columns
from sparring.atoms.structures import Structures
from sparring.candidates import Candidates
from sparring.committee import Committee
from sparring.evaluation import Errors, errors, survey
from sparring.labels import Label, LabelError, LabelReport, labelled_atoms
from sparring.labels.base import composition
from sparring.proposers.base import Proposer, propose
from sparring.selection import SelectionStep, Selector, select
from sparring.starting_data.base import StartFailure, Starting, in_words, note_forces, references
from sparring.starting_data.isolated import split_isolated
from sparring.support.seeds import derive
from sparring.training.fitting import FitReport
from sparring.training.splits import Splits

__all__ = ["Attacked", "Chosen", "Evaluated", "Fitted", "Labelled", "Once", "Plan", "State", "run", "step"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


class State(NamedTuple):
    """All that a generation needs: the data of Algorithm 1, and who learns from which of them."""

    generation: int
    dataset: Dataset
    splits: Splits
    failures: tuple[StartFailure, ...] = ()
    """What the run could not begin with; empty after the first generation."""


class Fitted(NamedTuple):
    """A trained committee, and how it was trained."""

    committee: Committee
    report: FitReport


class Evaluated(NamedTuple):
    """What a committee says of its own data, and what is special to the system.

    Attributes:
        predictions: The data set with the committee's energies, forces and variances.
        force_variance: Of each structure of the data set, in (eV/Å)².
        errors: On the structures that it has trained on, and on those that no member has seen.
        system: Named results of the system's own evaluation.
    """

    predictions: list[Atoms]
    force_variance: Float[np.ndarray, " n_structures"]
    errors: Mapping[str, Errors]
    system: Mapping[str, object]


class Attacked(NamedTuple):
    """The candidates of a proposer.

    Attributes:
        candidates: Candidates, with paths where the proposer has some.
        seeds: Structure of the data that each comes from.
        heirs: The candidates with what they inherit from it.
    """

    candidates: Candidates
    seeds: tuple[int, ...]
    heirs: tuple[Atoms, ...] = ()


class Chosen(NamedTuple):
    """Candidates worth a label, and how many each step of the selection let through."""

    atoms: list[Atoms]
    steps: tuple[SelectionStep, ...]


class Labelled(NamedTuple):
    """The newly labelled with what the committee expected of them, and those that have no label."""

    atoms: list[Atoms]
    failures: tuple[tuple[int, LabelError], ...]
    n_computed: int
    n_reused: int


@runtime_checkable
class Once(Protocol):
    """Computes a stage of a generation, or gives back what was computed before."""

    def __call__(self, generation: int, stage: str, compute: Callable[[], T]) -> T:
        """The result of the stage."""


def forget(generation: int, stage: str, compute: Callable[[], T]) -> T:
    """Compute every stage and keep nothing: a run without a folder."""
    return compute()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every choice of a run, as a function.

    Attributes:
        seed: Whatever draws random numbers derives its own from it, the generation and the stage.
        n_generations: How many committees are trained; the last one is not attacked.
        start: Labelled structures to begin with, and those that have no usable label.
        fit: Data, splits and a seed to a committee.
        evaluate: What is special to the system, e.g. a barrier, of a committee and the data that it knows.
        seeds: Which structures of the data are attacked.
        proposer: Proposer of candidates, given the data, whose molecules it moves.
        selectors: What is worth a label, given the variances of the training set, lowest energies and a seed.
        label: Structures, and the lowest known energies, to labels.
        max_failed: Share of the chosen structures that may have no label for reasons that are not the geometry's.
        n_members: Size of the committee.
        fractions: Of training, validation and test.
        shared_validation: Whether members share one training set.
        source: How what attacks find is called in the data.
        inherited: What the labels depend on besides what all descendants of a structure have from it: further names in
            its info or arrays.
    """

    seed: int
    n_generations: int
    start: Callable[[], Starting]
    fit: Callable[[Dataset, Splits, int], tuple[Committee, FitReport]]
    evaluate: Callable[[Committee, Dataset], Mapping[str, object]]
    seeds: Callable[[Dataset, int], Sequence[int]]
    proposer: Callable[[Dataset], Proposer]
    selectors: Callable[[Float[np.ndarray, " n_train"], Mapping[str, float], int], Sequence[Selector]]
    label: Callable[[Sequence[Atoms], Mapping[str, float]], LabelReport]
    n_members: int
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    shared_validation: bool = False
    max_failed: float = 1.0
    source: str = field(default="attack")
    inherited: tuple[str, ...] = ()

    def seed_of(self, generation: int, stage: str) -> int:
        """The seed of a stage."""
        return derive(self.seed, generation, stage)


def run(plan: Plan, once: Once = forget) -> Committee:
    """Adversarial training of a neural-network potential: Algorithm 1. Returns the last committee."""
    state = once(1, "data", lambda: start(plan))
    while True:
        committee, following = step(state, plan, once)
        if following is None:
            return committee
        state = following


def step(state: State, plan: Plan, once: Once = forget) -> tuple[Committee, State | None]:
    """One generation: train, attack, choose, label. There is no next state once the run is over."""
    generation = state.generation

    # Training, lines 2-4
    committee = once(generation, "fit", lambda: train(state, plan)).committee
    evaluated = once(generation, "evaluate", lambda: evaluate(state, plan, committee))
    if generation == plan.n_generations:
        return committee, None

    # Adversarial attack, lines 5-12
    attacked = once(generation, "attack", lambda: attack_seeds(state, plan, committee))
    chosen = once(generation, "select", lambda: choose(state, plan, evaluated, attacked))

    # Evaluating, lines 13-16
    labelled = once(generation, "label", lambda: label_chosen(state, plan, committee, chosen))
    if not labelled.atoms:
        logger.warning(
            "generation %d: nothing that the attacks found was worth a label or could be labelled; the run ends here",
            generation,
        )
        return committee, None
    return committee, once(generation + 1, "data", lambda: extend(state, plan, labelled))


def start(plan: Plan) -> State:
    """The data that a run begins with, D_1; isolated atoms are no part of them, and give elements their energies.

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
    dataset = Dataset.from_atoms([_stamped(atoms, plan, generation=1) for atoms in structures])
    dataset = replace(dataset, atomic_energies=references(isolated, dataset))
    note_forces(dataset)
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
    """The data of the next generation, D_{g+1}; what has a place in the splits keeps it."""
    generation = state.generation + 1
    added = Dataset.from_atoms([_stamped(atoms, plan, generation=generation) for atoms in labelled.atoms])
    dataset = state.dataset + added
    splits = state.splits.extend(
        len(dataset),
        seed=plan.seed_of(generation, "splits"),
        fractions=plan.fractions,
        shared=plan.shared_validation,
        groups=duplicate_groups(dataset.structures),
    )
    return State(generation, dataset, splits)


def train(state: State, plan: Plan) -> Fitted:
    """A committee of the data as they stand (Eq. 2 and 3)."""
    return Fitted(*plan.fit(state.dataset, state.splits, plan.seed_of(state.generation, "fit")))


def evaluate(state: State, plan: Plan, committee: Committee) -> Evaluated:
    """How well a committee knows what it has seen, what it has not, and what the system asks of it."""
    test = set(state.splits.test)
    # Whatever of its own data no member was trained on, its errors are to show.
    surveyed = survey(committee.without_domain(), state.dataset.structures)
    predictions = surveyed.annotate(state.dataset.to_atoms())
    for index, atoms in enumerate(predictions):
        atoms.info["split"] = "test" if index in test else "fit"
    parts = {"test": state.splits.test, "fit": state.splits.fit}
    by_part = {name: errors(surveyed.take(ids), state.dataset.take(ids)) for name, ids in parts.items()}
    return Evaluated(predictions, surveyed.force_variance, by_part, plan.evaluate(committee, state.dataset))


def attack_seeds(state: State, plan: Plan, committee: Committee) -> Attacked:
    """Propose candidates from some of the data, by attacks all at once (Eq. 13 and 14) or otherwise."""
    seed = plan.seed_of(state.generation, "attack")
    seeds = tuple(int(i) for i in plan.seeds(state.dataset, derive(seed, "seeds")))
    chosen = state.dataset.take(seeds)
    committee = committee.without_domain()  # its own data cannot be new to it
    candidates = propose(plan.proposer(state.dataset), committee, chosen.structures, seed)
    parents = tuple(seeds[origin] for origin in candidates.origins(len(seeds)))
    return Attacked(candidates, parents, tuple(candidates.heirs(chosen.to_atoms(), plan.inherited)))


def choose(state: State, plan: Plan, evaluated: Evaluated, attacked: Attacked) -> Chosen:
    """What is worth a label of what the attacks found."""
    parents = state.dataset.to_atoms()
    charges = np.array([int(parents[parent].info.get("charge", 0)) for parent in attacked.seeds])
    candidates = attacked.candidates._replace(charge=charges)
    selectors = plan.selectors(
        evaluated.force_variance[list(state.splits.fit)],
        lowest_energies(parents),
        plan.seed_of(state.generation, "select"),
    )
    selection = select(candidates, *selectors)
    geometries = candidates.structures.to_atoms()
    paths, chosen = candidates.paths, []
    for index in selection.indices.tolist():
        parent = attacked.seeds[index]
        atoms = inherit(geometries[index], parents[parent], plan.inherited)
        atoms.info.update(
            source=plan.source,
            parent=parent,
            candidate=index,
            best_step=0 if paths is None else int(paths.best_step[index]),
            objective=float(candidates.score[index]),
            committee_energy=float(candidates.energy[index]),
            energy_variance=float(candidates.energy_variance[index]),
            force_variance=float(candidates.force_variance[index]),
        )
        chosen.append(atoms)
    return Chosen(chosen, selection.steps)


def label_chosen(state: State, plan: Plan, committee: Committee, chosen: Chosen) -> Labelled:
    """Ground truth for what was chosen, beside what the committee expected before it has learnt it.

    Raises:
        LabellingError: If the labeller, not the geometries, is to blame for too many failures.
    """
    if not chosen.atoms:
        return Labelled([], (), 0, 0)
    report = plan.label(chosen.atoms, lowest_energies(state.dataset.to_atoms()))
    report.require_labeller(plan.max_failed)
    expected = survey(committee.without_domain(), Structures.from_atoms(chosen.atoms)).annotate(chosen.atoms)
    labelled, failures = [], []
    for atoms, label, key in zip(expected, report.labels, report.keys, strict=True):
        if isinstance(label, Label):
            atoms = labelled_atoms(atoms, label, key)
            atoms.info["wall_time"] = label.wall_time
            labelled.append(atoms)
        else:
            failures.append((int(atoms.info["candidate"]), label))
    return Labelled(labelled, tuple(failures), report.n_computed, report.n_reused)


def lowest_energies(atoms: Sequence[Atoms]) -> dict[str, float]:
    """The lowest known energy in eV of each composition, charge included."""
    lowest: dict[str, float] = {}
    for one in atoms:
        name, energy = composition(one), float(one.info["REF_energy"])
        lowest[name] = min(lowest.get(name, energy), energy)
    return lowest


def _stamped(atoms: Atoms, plan: Plan, generation: int) -> Atoms:
    """What goes into the data of a structure: its label, what it is, and where it comes from.

    One that comes from a file as it is keeps the columns that it has there, too; those of a structure that was made
    from it might be results, which belong to the file's geometry.
    """
    bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    bare.info = {"REF_energy": atoms.info["REF_energy"]}
    stamped = inherit(bare, atoms, plan.inherited)
    stamped.info |= {key: atoms.info[key] for key in ("label", "source", "parent", "frame") if key in atoms.info}
    stamped.info["generation"] = generation
    if atoms.info.get("source") == "file":
        info, arrays = own_columns(atoms)
        stamped.info |= {name: value for name, value in info.items() if name not in stamped.info}
        stamped.arrays |= {name: array.copy() for name, array in arrays.items() if name not in stamped.arrays}
    if FORCES in atoms.arrays:
        stamped.arrays[FORCES] = np.array(atoms.arrays[FORCES], dtype=float)
    return stamped
