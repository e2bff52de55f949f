"""The section ``attack`` of a configuration as a proposer, and in which space it moves atoms."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Bool

from sparring.assembly.spaces import Bonds, bonds_of, have_torsions, one_of_each, space_of
from sparring.atoms.dataset import Dataset
from sparring.atoms.structures import Structures
from sparring.candidates import Candidates
from sparring.committee import Committee
from sparring.config import Config, sections, weight_counts_per
from sparring.config import spaces as section_of
from sparring.config.objectives import boltzmann_kT, with_per
from sparring.dynamics.trajectories import ensemble_of
from sparring.proposers import registry
from sparring.proposers.ascent import attack
from sparring.proposers.base import Proposer
from sparring.proposers.dynamics import n_snapshots, take_snapshots
from sparring.proposers.formulas import needs_reference, objective_of
from sparring.proposers.objectives import Objective
from sparring.proposers.random import random_displacements
from sparring.proposers.spaces import Space
from sparring.starting_data.isolated import is_isolated_atom
from sparring.support.progress import ProgressBars, no_progress_bars

__all__ = [
    "PROPOSERS",
    "attack_arguments",
    "attackable",
    "bonds_of",
    "candidates_per_seed",
    "objective",
    "one_of_each",
    "proposer",
    "require_proposer",
    "source_of",
    "space_of",
]

logger = logging.getLogger(__name__)

MOSTLY = 0.8
"""Share of attacks that end lower in energy than they began from which on there is a warning."""


class Made(NamedTuple):
    """The arguments from which a proposer is made, besides its section.

    Attributes:
        config: Configuration.
        dataset: Labelled structures, for Boltzmann's Q; None where there are none.
        molecules: Intact geometry of every molecule that seeds may be, from which torsions are read.
        progress_bars: Progress bars.
    """

    config: Config
    dataset: Dataset | None
    molecules: Sequence[Atoms]
    progress_bars: ProgressBars


class ProposerKind(NamedTuple):
    """All that the top floor needs of a kind of proposer.

    Attributes:
        make: Its proposer, from the section ``attack`` and the other arguments.
        source: Source of its structures in the data, by which the report finds a colour and words.
        n_per_seed: Largest number of candidates from a seed.
        attackable: Mask of the structures that can be seeds; isolated atoms never can.
    """

    make: Callable[[Any, Made], Proposer]
    source: Callable[[Any], str]
    n_per_seed: Callable[[Any], int] = lambda section: 1
    attackable: Callable[[Config, Sequence[Atoms]], Bool[np.ndarray, " n_structures"]] = lambda config, structures: (
        np.ones(len(structures), dtype=bool)
    )


def proposer(
    config: Config,
    dataset: Dataset | None,
    progress_bars: ProgressBars = no_progress_bars,
    *,
    molecules: Sequence[Atoms] | None = None,
) -> Proposer:
    """The section ``attack``.

    Args:
        config: Configuration.
        dataset: Labelled structures, for Boltzmann's Q.
        progress_bars: Progress bars.
        molecules: Intact geometry of every molecule that seeds may be; by default the lowest ones of the data.

    Raises:
        ValueError: If the objective needs labelled structures and there are none, or no package registers a plugin.
    """
    if molecules is None:
        molecules = one_of_each(dataset.to_atoms()) if dataset else ()
    return _kind(config).make(config.attack, Made(config, dataset, molecules, progress_bars))


def require_proposer(config: Config) -> None:
    """Load what other packages register for the section ``attack``, before anything is computed.

    Raises:
        ValueError: If no package registers it, or it cannot be made.
    """
    if isinstance(config.attack, sections.AttackPlugin):
        _plugin(config.attack)
    elif isinstance(config.attack, sections.Adversarial):
        needs_reference(config.attack.objective)


def source_of(config: Config) -> str:
    """Source of the structures that the section ``attack`` finds."""
    return _kind(config).source(config.attack)


def candidates_per_seed(config: Config) -> int:
    """Largest number of candidates from a seed."""
    return _kind(config).n_per_seed(config.attack)


def _kind(config: Config) -> ProposerKind:
    return PROPOSERS[config.attack.kind]


# --- the kinds ------------------------------------------------------------------------------------------------------


def _attack(section: sections.Adversarial, made: Made) -> Proposer:
    climbed, kT = objective(made.config, made.dataset), boltzmann_kT(section.objective)

    def attack_all(committee: Committee, seeds: Structures, seed: int) -> Candidates:
        space, arguments = attack_arguments(section, _of_seeds(made.molecules, seeds), bonds_of(made.config))
        progress = made.progress_bars("attack")
        candidates = attack(
            committee, seeds, climbed, space=space, seed=seed, progress=progress, **arguments
        ).candidates()
        if kT is not None:
            _warn_of_relaxations(candidates, kT)
        return candidates

    return attack_all


def _random(section: sections.Random, made: Made) -> Proposer:
    def displace_all(committee: Committee, seeds: Structures, seed: int) -> Candidates:
        space = space_of(section.space, _of_seeds(made.molecules, seeds), bonds_of(made.config))
        return random_displacements(committee, seeds, space=space, seed=seed, progress=made.progress_bars("attack"))

    return displace_all


def _dynamics(section: sections.Dynamics, made: Made) -> Proposer:
    ensemble = ensemble_of(
        section.ensemble, section.temperature, friction=section.friction, time_constant=section.time_constant
    )
    names = ("duration", "timestep", "every", "min_distance", "axes", "max_memory")
    arguments: dict[str, Any] = {name: getattr(section, name) for name in names}

    def sample(committee: Committee, seeds: Structures, seed: int) -> Candidates:
        progress = made.progress_bars("dynamics")
        return take_snapshots(
            committee, seeds, ensemble=ensemble, seed=seed, progress=progress, **arguments
        ).candidates()

    return sample


def _plugin(section: sections.AttackPlugin) -> Proposer:
    return registry.plugin(section.name, section.parameters)


def _with_torsions(config: Config, structures: Sequence[Atoms]) -> Bool[np.ndarray, " n_structures"]:
    """Mask of the structures that have the torsions of the space, and all their bonds."""
    assert isinstance(config.attack, sections.Adversarial | sections.Random)
    allowed = np.ones(len(structures), dtype=bool)
    for part in getattr(config.attack.space, "spaces", (config.attack.space,)):
        if isinstance(part, section_of.Dihedrals | section_of.RandomDihedrals):
            allowed &= have_torsions(part.torsions, structures, bonds_of(config))
    return allowed


def _allowed_by_plugin(config: Config, structures: Sequence[Atoms]) -> Bool[np.ndarray, " n_structures"]:
    assert isinstance(config.attack, sections.AttackPlugin)
    allows = getattr(_plugin(config.attack), "attackable", lambda atoms: True)
    return np.array([bool(allows(atoms)) for atoms in structures])


def _n_snapshots(section: sections.Dynamics) -> int:
    return n_snapshots(duration=section.duration, timestep=section.timestep, every=section.every)


PROPOSERS: Mapping[str, ProposerKind] = {
    "adversarial": ProposerKind(_attack, lambda section: "attack", attackable=_with_torsions),
    "random": ProposerKind(_random, lambda section: "random", attackable=_with_torsions),
    "dynamics": ProposerKind(_dynamics, lambda section: "dynamics", _n_snapshots),
    "plugin": ProposerKind(
        lambda section, made: _plugin(section),
        lambda section: str(section.name),
        lambda section: int(getattr(_plugin(section), "n_per_seed", 1)),
        _allowed_by_plugin,
    ),
}
"""The kinds of the section ``attack``."""


# --- their arguments ------------------------------------------------------------------------------------------------


def _of_seeds(molecules: Sequence[Atoms], seeds: Structures) -> list[Atoms]:
    """The molecules that are among the seeds: others need not have the torsions."""
    attacked = {tuple(one.numbers) for one in one_of_each(seeds.to_atoms())}
    return [one for one in molecules if tuple(one.numbers) in attacked]


def objective(config: Config, dataset: Dataset | None) -> Objective:
    """The section ``attack.objective``; the variance of forces (Eq. 10) where there is none.

    Raises:
        ValueError: If a term needs labelled structures, such as Boltzmann's Q, and there are none.
    """
    formula = getattr(config.attack, "objective", "force_variance")
    return objective_of(with_per(formula, weight_counts_per(config)), reference=dataset)


def _warn_of_relaxations(candidates: Candidates, kT: float) -> None:
    """Warn where the Boltzmann weight leads nearly all attacks downhill."""
    fell = candidates.energy_fell()
    if candidates.paths is None or fell.mean() < MOSTLY:
        return
    lower = np.sort((candidates.paths.energy[0].cpu().numpy() - candidates.energy)[fell])
    logger.warning(
        "in %d of %d attacks the energy fell below that of their start, by %.3g eV in the median: the Boltzmann weight "
        "dominates, and attacks are relaxations; in attack.objective raise kT of boltzmann (now %.3g eV), let it grow "
        "with the molecule (per=degree_of_freedom), or leave the weight out",
        int(fell.sum()),
        len(fell),
        float(lower[(len(lower) - 1) // 2]),  # the lower of two, as the median of PyTorch
        kT,
    )


def attack_arguments(
    section: sections.Adversarial, molecules: Sequence[Atoms] = (), bonds: Bonds | None = None
) -> tuple[Space, dict[str, Any]]:
    """The space of an attack, and the other arguments of :func:`sparring.attack`.

    Args:
        section: Section ``attack``.
        molecules: Intact geometry of every molecule that seeds may be.
        bonds: Bonds of the only molecule; None to find them from the distances.
    """
    names = ("n_steps", "learning_rate", "update", "min_distance", "max_memory")
    return space_of(section.space, molecules, bonds), {name: getattr(section, name) for name in names}


def attackable(config: Config, dataset: Dataset) -> Bool[np.ndarray, " n_structures"]:
    """Mask of the structures that can be seeds: no isolated atoms, and those that the proposer accepts.

    Torsions turn only where there are some, and all bonds are intact. A structure whose bonds are broken can be
    labelled, but it is no seed for what turns torsions.

    Raises:
        ValueError: If no molecule has the torsions.
    """
    structures = dataset.to_atoms()
    single = np.array([is_isolated_atom(atoms) for atoms in structures])
    allowed: Bool[np.ndarray, " n_structures"] = _kind(config).attackable(config, structures) & ~single
    return allowed
