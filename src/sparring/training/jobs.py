"""Data sets and members of committees that train together, checked and packed."""

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from ase.data import chemical_symbols
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.dataset import Dataset
from sparring.atoms.duplicates import duplicate_groups
from sparring.domain import TrainingDomain
from sparring.potentials import Architecture
from sparring.potentials.base import N_ELEMENTS
from sparring.potentials.stacking import same_architecture
from sparring.starting_data.screening import require_one_state
from sparring.support.seeds import derive
from sparring.training.low_energies import low_energy_weights
from sparring.training.minibatches import PackedDataset
from sparring.training.replay import aligned_replay, with_replay
from sparring.training.splits import Splits
from sparring.training.trainer import Member

__all__ = [
    "Job",
    "check_architecture",
    "check_elements",
    "check_labels",
    "check_options",
    "domain_of",
    "drawn_splits",
    "initial_references",
    "jobs_of",
    "joined",
    "members_of",
    "packed",
    "structure_keys",
]

logger = logging.getLogger(__name__)


class Job(NamedTuple):
    """One of several committees that train together.

    Attributes:
        dataset: Labelled structures.
        splits: Training and validation sets of its members.
        seed: Seed of its weights and minibatches.
        first: Index of its first structure among those of all committees.
        n_replayed: Number of its last structures that are from an earlier training.
    """

    dataset: Dataset
    splits: Splits
    seed: int
    first: int
    n_replayed: int = 0

    def part_of(self, values: Float[np.ndarray, " n_structures"]) -> Float[np.ndarray, " n_own"]:
        """Values of the structures of this committee."""
        return values[self.first : self.first + len(self.dataset)]


def jobs_of(
    datasets: Sequence[Dataset],
    seeds: Sequence[int],
    splits: Sequence[Splits] | None,
    n_members: int,
    *,
    bootstrap: bool = False,
    replay: Dataset | None = None,
    module: Architecture | None = None,
) -> list[Job]:
    """One job for each data set, with splits drawn where there are none, and with structures of an earlier training.

    Args:
        datasets: Labelled structures of each committee.
        seeds: Seed of each committee.
        splits: Training and validation sets of each committee; None to draw them.
        n_members: Size of each committee whose splits are drawn.
        bootstrap: True for bootstrap samples of the training sets; the replay is not sampled.
        replay: Labelled structures of an earlier training.
        module: Module that training starts from, to which the energies of the replay are aligned.

    Raises:
        ValueError: If there is no data set, or there are not as many seeds or splits as data sets.
    """
    n = len(datasets)
    if not n or len(seeds) != n or (splits is not None and len(splits) != n):
        n_splits = "none" if splits is None else len(splits)
        raise ValueError(f"need as many seeds and splits as data sets, got {len(seeds)}, {n_splits} and {n}")
    jobs, first = [], 0
    for index, (dataset, seed) in enumerate(zip(datasets, seeds, strict=True)):
        own = drawn_splits(dataset, n_members, seed) if splits is None else splits[index]
        own = own.bootstrapped(seed) if bootstrap else own
        if replay is not None:
            check_sizes(own, len(dataset))
            dataset, own = with_replay(dataset, own, aligned_replay(replay, dataset, module))
        jobs.append(Job(dataset, own, seed, first, 0 if replay is None else len(replay)))
        first += len(dataset)
    return jobs


def drawn_splits(dataset: Dataset, n_members: int, seed: int) -> Splits:
    """Splits of 60:20:20 with a common test set, duplicates on one side."""
    groups = duplicate_groups(dataset.structures)
    return Splits.draw(len(dataset), n_members=n_members, seed=derive(seed, "splits"), groups=groups)


def members_of(jobs: Sequence[Job]) -> tuple[Member, ...]:
    """All members, those with the largest training sets first."""
    members = [
        Member(index, number, job.seed, *(tuple(job.first + i for i in ids) for ids in (train, validation)))
        for index, job in enumerate(jobs)
        for number, (train, validation) in enumerate(zip(job.splits.train, job.splits.validation, strict=True))
    ]
    return tuple(sorted(members, key=lambda member: -len(member.train)))


def joined(jobs: Sequence[Job]) -> Dataset:
    """Structures of all committees, one after another."""
    if len(jobs) == 1:
        return jobs[0].dataset
    return Dataset.from_atoms([atoms for job in jobs for atoms in job.dataset.to_atoms()])


def packed(
    jobs: Sequence[Job],
    architecture: Architecture,
    energy_scale: float | None,
    dtype: torch.dtype,
    device: torch.device | str,
    replay_weight: float = 1.0,
    reach: float = 0.0,
) -> PackedDataset:
    """Structures and labels of all committees, one after another, with edges that reach farther than the cutoff."""
    weights = None
    if energy_scale is not None:
        weights = torch.cat([low_energy_weights(job.dataset, energy_scale) for job in jobs])
    if replay_weight != 1 and any(job.n_replayed for job in jobs):
        of_all = [torch.ones(len(job.dataset), dtype=torch.float64) for job in jobs]
        for job, values in zip(jobs, of_all, strict=True):
            values[len(values) - job.n_replayed :] = replay_weight
        weights = torch.cat(of_all) * (1.0 if weights is None else weights)
    return PackedDataset.of(
        joined(jobs),
        cutoff=None if architecture.cutoff is None else architecture.cutoff + reach,
        dtype=dtype,
        device=device,
        structure_weight=weights,
        padded=architecture.supports_vmap and not _has_stacked_model(architecture),
    )


def _has_stacked_model(architecture: Architecture) -> bool:
    weights = [*architecture.named_parameters(), *architecture.named_buffers()]
    return architecture.stacked_model({name: weight.detach().unsqueeze(0) for name, weight in weights}) is not None


def structure_keys(jobs: Sequence[Job]) -> list[int]:
    """Keys of random numbers for the structures of all committees, which do not depend on other committees."""
    return [derive(job.seed, "structure", index) for job in jobs for index in range(len(job.dataset))]


def initial_references(
    jobs: Sequence[Job], members: Sequence[Member], modules: Sequence[Architecture] = ()
) -> Float[Tensor, "n_members n_elements"]:
    """Reference energies to begin with: those of isolated atoms where a data set has them.

    Elsewhere those of the modules that training starts from, or zero.
    """
    references = torch.zeros(len(members), N_ELEMENTS, dtype=torch.float64)
    for row, module in enumerate(modules):
        known = module.get_reference_energies()
        if known is not None:
            references[row] = known.double().cpu()
    for row, member in enumerate(members):
        for number, energy in jobs[member.committee].dataset.atomic_energies.items():
            references[row, number] = energy
    return references


def domain_of(dataset: Dataset, splits: Splits) -> TrainingDomain:
    """Training domain of the members, with a warning of elements that some training sets do not have."""
    domain = TrainingDomain.of(dataset, [index for ids in splits.train for index in ids])
    numbers, owner = dataset.structures.atomic_numbers, dataset.structures.structure_index
    for number in numbers.unique().tolist():
        have = set(owner[numbers == number].tolist())
        without = [member for member, ids in enumerate(splits.train) if not have & set(ids)]
        if without:
            logger.warning(
                "%d of %d members train on no structure with %s, which occurs in %d of %d: what they predict for it is "
                "random; add structures with it, or leave these out",
                *(len(without), splits.n_members, chemical_symbols[number], len(have), len(dataset)),
            )
    return domain


def check_options(job: Job, n_epochs: int, batch_size: int, learning_rate: float, ema_decay: float | None) -> None:
    """Check arguments of a training.

    Raises:
        ValueError: If one is out of range, or the splits do not match the data set.
    """
    splits = job.splits
    check_sizes(splits, len(job.dataset))
    if n_epochs < 1 or batch_size < 1 or learning_rate <= 0:
        got = f"{n_epochs}, {batch_size} and {learning_rate}"
        raise ValueError(f"need n_epochs >= 1, batch_size >= 1 and learning_rate > 0, got {got}")
    if ema_decay is not None and not 0 < ema_decay < 1:
        raise ValueError(f"ema_decay must be between 0 and 1, or None, got {ema_decay}")
    if len({len(ids) for ids in splits.train}) > 1 or len({len(ids) for ids in splits.validation}) > 1:
        raise ValueError("all members must have training sets of one size, and validation sets of one size")


def check_architecture(architecture: object, start_from: Sequence[object] = ()) -> None:
    """Check that a module can be trained, and that training can start from others.

    Raises:
        ValueError: If one is no architecture or shares weights with other members, or they are not of one
            architecture.
    """
    modules: list[Architecture] = []
    for module in (architecture, *start_from):
        if not isinstance(module, Architecture):
            raise ValueError(
                f"fit trains a sparring.Architecture, got {type(module).__name__}; make your module one: a subclass "
                "with kind, hyperparameters, cutoff, initialise(generator) and forward(structures), and supports_vmap "
                "= False unless torch.func.vmap can transform it (docs/extending.md)"
            )
        if module.shared is not None:
            raise ValueError(
                f"fit trains members that share nothing, and those of kind {module.kind!r} share their "
                f"{module.shared}; train the {module.shared} itself, or make heads of it by sparring.fit_heads"
            )
        modules.append(module)
    if not same_architecture(modules):
        kinds = ", ".join(type(module).__name__ for module in modules[1:])
        raise ValueError(
            f"a training starts from modules of one architecture with the same hyperparameters, got start_from with "
            f"{kinds} and the architecture {type(architecture).__name__}, which differ; pass modules of one kind and "
            "size, and one of them as the architecture"
        )


def check_sizes(splits: Splits, n_structures: int) -> None:
    """Check that splits are those of a data set of this size.

    Raises:
        ValueError: If they are not.
    """
    if splits.n_structures != n_structures:
        raise ValueError(f"the splits are of {splits.n_structures} structures, the data set has {n_structures}")


def check_elements(atomic_numbers: Iterable[int], architecture: Architecture) -> None:
    """Check that an architecture supports all elements of a data set.

    Raises:
        ValueError: If it does not.
    """
    numbers = sorted(set(atomic_numbers))
    if numbers[-1] >= N_ELEMENTS:
        raise ValueError(f"elements up to {N_ELEMENTS - 1} can be learnt, the data set has atomic number {numbers[-1]}")
    supported = numbers if architecture.elements is None else TrainingDomain.of_elements(architecture.elements).elements
    missing = [chemical_symbols[number] for number in numbers if number not in supported]
    if missing:
        known = ", ".join(chemical_symbols[number] for number in supported)
        raise ValueError(
            f"{architecture.kind} has the elements {known}, the data set also has {', '.join(missing)}; give the "
            "architecture these elements or leave their structures out"
        )


def check_labels(dataset: Dataset, architecture: Architecture, energy_weight: float) -> None:
    """Check that there is something to train on, and that the architecture can distinguish the charges in the data.

    Raises:
        ValueError: If there is not, or it cannot.
    """
    if not dataset.n_with_forces and not energy_weight:
        raise ValueError("no structure has forces and energy_weight is 0, so there is nothing to learn; raise it")
    if not architecture.uses_charge:
        require_one_state(dataset.to_atoms(), potential=architecture.kind, note=False)
