"""The section ``attack`` of a configuration as a proposer, or the section ``propose`` as a portfolio of several."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Bool

from sparring.assembly.proposer_kinds import PROPOSERS, Made, attack_arguments, objective, plugin_of
from sparring.assembly.spaces import bonds_of, one_of_each, space_of
from sparring.atoms.dataset import Dataset
from sparring.config import Config
from sparring.config import proposers as sections
from sparring.expected_error import ExpectedErrors
from sparring.labels.base import composition
from sparring.proposers.base import Proposer
from sparring.proposers.formulas import needs_reference
from sparring.proposers.portfolio import Portfolio
from sparring.starting_data.isolated import is_isolated_atom
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.support.seeds import derive

__all__ = [
    "attack_arguments",
    "attackable",
    "bonds_of",
    "choose_seeds",
    "n_candidates",
    "objective",
    "one_of_each",
    "proposer",
    "proposer_of_run",
    "require_proposers",
    "seeds_of_run",
    "shares_of",
    "space_of",
    "takes_reference",
]


def proposer(
    config: Config,
    dataset: Dataset | None,
    progress_bars: ProgressBars = no_progress_bars,
    *,
    molecules: Sequence[Atoms] | None = None,
    seeds: Sequence[range] | None = None,
    expected: ExpectedErrors | None = None,
) -> Proposer:
    """The section ``attack``, or the portfolio of the section ``propose``.

    Args:
        config: Configuration.
        dataset: Labelled structures, for Boltzmann's Q.
        progress_bars: Progress bars.
        molecules: Intact geometry of every molecule that seeds may be; by default the lowest ones of the data.
        seeds: Indices of the seeds of each part of a portfolio; by default each gets all.
        expected: Expected errors of the committee; None where they are not known.

    Raises:
        ValueError: If the objective needs labelled structures or expected errors and there are none, or no package
            registers a plugin.
    """
    if molecules is None:
        molecules = one_of_each(dataset.to_atoms()) if dataset else ()
    made = Made(config, dataset, molecules, progress_bars, expected)
    found = [PROPOSERS[section.kind].make(section, made) for section in config.proposers]
    if (shares := shares_of(config)) is None:
        return found[0]
    return Portfolio(
        proposers=dict(zip(shares, found, strict=True)),
        shares=shares,
        seeds=None if seeds is None else dict(zip(shares, seeds, strict=True)),
    )


def proposer_of_run(
    config: Config,
    dataset: Dataset,
    expected: ExpectedErrors | None = None,
    progress_bars: ProgressBars = no_progress_bars,
) -> Proposer:
    """The same for the seeds of a run (:func:`seeds_of_run`), of which each part of a portfolio gets its own."""
    ranges, first = [], 0
    for section in config.proposers:
        ranges.append(range(first, first + (section.n_seeds or len(dataset))))
        first = ranges[-1].stop
    return proposer(config, dataset, progress_bars, seeds=ranges, expected=expected)


def seeds_of_run(config: Config, dataset: Dataset, seed: int) -> list[int]:
    """Indices of the structures that are attacked; in a portfolio, those of one part after the other.

    Raises:
        ValueError: If there are none for a proposer.
    """
    alone, chosen = config.propose is None, list[int]()
    for section in config.proposers:
        own = seed if alone else derive(seed, sections.source_of(section))
        allowed = attackable(config, dataset, section)
        chosen += choose_seeds(dataset, section.seeds, section.n_seeds, own, allowed)
    return chosen


def shares_of(config: Config) -> dict[str, float] | None:
    """Share of each part of a portfolio by its source; None without one."""
    return None if config.propose is None else {sections.source_of(part): part.share for part in config.propose}


def require_proposers(config: Config) -> None:
    """Load what other packages register for the proposers, before anything is computed.

    Raises:
        ValueError: If no package registers it, or it cannot be made.
    """
    for section in config.proposers:
        if isinstance(section, sections.AttackPlugin):
            plugin_of(section)
    takes_reference(config)


def takes_reference(config: Config) -> bool:
    """True if an objective needs labelled structures."""
    found = [needs_reference(one.objective) for one in config.proposers if isinstance(one, sections.Adversarial)]
    return any(found)


def n_candidates(config: Config, n_data: int, structures: Sequence[Atoms]) -> dict[str, int]:
    """Largest number of candidates of each proposer in a generation, by source.

    Args:
        config: Configuration.
        n_data: Number of structures in the data, which a proposer attacks that has no number of seeds.
        structures: Structures of each molecule of the data.
    """
    return {
        sections.source_of(one): PROPOSERS[one.kind].n_candidates(one, one.n_seeds or n_data, one_of_each(structures))
        for one in config.proposers
    }


def attackable(
    config: Config, dataset: Dataset, section: sections.AnyProposer | sections.AnyPart | None = None
) -> Bool[np.ndarray, " n_structures"]:
    """Mask of the structures that can be seeds: no isolated atoms, and those that the proposer accepts.

    Torsions turn only where there are some, and all bonds are intact. A structure whose bonds are broken can be
    labelled, but it is no seed for what turns torsions.

    Args:
        config: Configuration.
        dataset: Structures.
        section: Section of the proposer, by default the first.

    Raises:
        ValueError: If no molecule has the torsions.
    """
    section = section or config.proposers[0]
    structures = dataset.to_atoms()
    single = np.array([is_isolated_atom(atoms) for atoms in structures])
    allowed: Bool[np.ndarray, " n_structures"] = PROPOSERS[section.kind].attackable(section, config, structures)
    return np.asarray(allowed & ~single)


def choose_seeds(
    dataset: Dataset,
    which: str,
    n_seeds: int | None,
    seed: int,
    allowed: Bool[np.ndarray, " n_structures"] | None = None,
) -> list[int]:
    """The structures of the data that are attacked.

    ``lowest_energy`` is the lowest of every composition, one after the other as often as needed; ``random`` are all
    in random order, begun again once they are used up. None for as many seeds as there are structures.

    Raises:
        ValueError: If no structure is allowed.
    """
    n = len(dataset)
    allowed = np.ones(n, dtype=bool) if allowed is None else allowed
    if not allowed.any():
        raise ValueError(
            f"none of {n} structures can be attacked: all have broken bonds or are isolated atoms; look at the data"
        )
    if which == "random":
        order = np.random.default_rng(derive(seed, "which")).permutation(n)
        pool = order[allowed[order]].tolist()
    else:
        lowest: dict[str, int] = {}
        for index, atoms in enumerate(dataset.to_atoms()):
            name = composition(atoms)
            if allowed[index] and (name not in lowest or dataset.energy[index] < dataset.energy[lowest[name]]):
                lowest[name] = index
        pool = list(lowest.values())
    return [pool[k % len(pool)] for k in range(n if n_seeds is None else n_seeds)]
