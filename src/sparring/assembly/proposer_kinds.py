"""The kinds of proposers: from their sections to functions."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Bool

from sparring.assembly.regions import in_region_of
from sparring.assembly.spaces import (
    Bonds,
    bonds_of,
    have_cells,
    have_guests,
    have_torsions,
    of_seeds,
    parts_of,
    space_of,
)
from sparring.atoms.constraints import fixed_coordinates
from sparring.atoms.dataset import Dataset
from sparring.atoms.structures import Structures
from sparring.candidates import Candidates
from sparring.committee import Committee
from sparring.config import Config, weight_counts_per
from sparring.config import proposers as sections
from sparring.config import spaces as section_of
from sparring.config.objectives import boltzmann_kT, with_per
from sparring.dynamics import UDD
from sparring.dynamics.trajectories import AT_PRESSURE, ensemble_of
from sparring.expected_error import ExpectedErrors
from sparring.proposers import registry
from sparring.proposers.ascent import attack
from sparring.proposers.base import Proposer
from sparring.proposers.biased_dynamics import biased_dynamics
from sparring.proposers.dynamics import n_snapshots, take_snapshots
from sparring.proposers.early_stop import EarlyStop, early_stopped, largest_number_of_frames
from sparring.proposers.formulas import objective_of
from sparring.proposers.objectives import Objective
from sparring.proposers.random import random_displacements
from sparring.proposers.scan import n_scanned, scan
from sparring.proposers.spaces import Space
from sparring.proposers.thermal_start import DynamicsStart, NormalModeStart, ThermalStart, started
from sparring.support.progress import ProgressBars

__all__ = ["PROPOSERS", "Made", "ProposerKind", "attack_arguments", "objective", "plugin_of"]

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
        expected: Expected errors of the committee; None where they are not known.
    """

    config: Config
    dataset: Dataset | None
    molecules: Sequence[Atoms]
    progress_bars: ProgressBars
    expected: ExpectedErrors | None = None


class ProposerKind(NamedTuple):
    """All that the top floor needs of a kind of proposer.

    Attributes:
        make: Its proposer, from its section and the other arguments.
        n_candidates: Largest number of candidates from a number of seeds, from its section, that number, and one
            structure of each molecule.
        attackable: Mask of the structures that can be seeds; isolated atoms never can.
    """

    make: Callable[[Any, Made], Proposer]
    n_candidates: Callable[[Any, int, Sequence[Atoms]], int] = lambda section, n_seeds, molecules: n_seeds
    attackable: Callable[[Any, Config, Sequence[Atoms]], Bool[np.ndarray, " n_structures"]] = (
        lambda section, config, structures: np.ones(len(structures), dtype=bool)
    )


# --- the kinds ------------------------------------------------------------------------------------------------------


def _attack(section: sections.Adversarial, made: Made) -> Proposer:
    climbed = objective(made.config, made.dataset, section, made.expected)
    kT = boltzmann_kT(section.objective)

    def attack_all(committee: Committee, seeds: Structures, seed: int) -> Candidates:
        space, arguments = attack_arguments(section, of_seeds(made.molecules, seeds), bonds_of(made.config))
        progress = made.progress_bars("attack")
        candidates = attack(
            committee, seeds, climbed, space=space, seed=seed, progress=progress, **arguments
        ).candidates()
        if kT is not None:
            _warn_of_relaxations(candidates, kT)
        return candidates

    chosen: Proposer = attack_all
    if section.region is not None:
        chosen = in_region_of(section, attack_all, made.molecules)
    return chosen if section.start is None else started(chosen, _start(section, made.config))


def _start(section: sections.Adversarial, config: Config) -> ThermalStart:
    """The section ``start`` of an attack."""
    if isinstance(section.start, sections.DynamicsStart):
        arguments: dict[str, Any] = section.start.arguments()
        axes = "xyz"[: config.system.n_coordinates]
        return DynamicsStart(**arguments, axes=axes, min_distance=section.min_distance, max_memory=section.max_memory)
    assert section.start is not None
    return NormalModeStart(temperature=section.start.temperature)


def _random(section: sections.Random, made: Made) -> Proposer:
    def displace_all(committee: Committee, seeds: Structures, seed: int) -> Candidates:
        space = space_of(section.space, of_seeds(made.molecules, seeds), bonds_of(made.config))
        return random_displacements(committee, seeds, space=space, seed=seed, progress=made.progress_bars("attack"))

    return displace_all


def _dynamics(section: sections.Dynamics, made: Made) -> Proposer:
    def sample(committee: Committee, seeds: Structures, seed: int) -> Candidates:
        given = {**_moving(section, made), "seed": seed}
        if section.stop is not None:
            return early_stopped(committee, seeds, **given, stop=_stop(section), references=made.molecules)
        return take_snapshots(committee, seeds, **given, min_distance=section.min_distance).candidates()

    return sample


def _biased_dynamics(section: sections.BiasedDynamics, made: Made) -> Proposer:
    bias: dict[str, Any] = (
        {"bias": UDD(height=section.bias.height, width=section.bias.width)}
        if isinstance(section.bias, sections.UDD)
        else {"bias": section.bias.relative, "burn_in": section.bias.burn_in}
    )

    def sample(committee: Committee, seeds: Structures, seed: int) -> Candidates:
        given = {**_moving(section, made), **bias, "seed": seed}
        return biased_dynamics(committee, seeds, **given, stop=_stop(section), references=made.molecules)

    return sample


def _moving(section: sections.Dynamics | sections.BiasedDynamics, made: Made) -> dict[str, Any]:
    """Arguments of all kinds of dynamics."""
    of_ensemble = ("friction", "time_constant", "pressure", "cell_time_constant")
    more = {name: getattr(section, name) for name in of_ensemble}
    ensemble = ensemble_of(section.ensemble, section.temperature, **more)
    names = ("duration", "timestep", "every", "axes", "max_memory")
    progress = made.progress_bars("dynamics")
    return {"ensemble": ensemble, "progress": progress, **{name: getattr(section, name) for name in names}}


def _stop(section: sections.Dynamics | sections.BiasedDynamics) -> EarlyStop:
    """The section ``stop`` of dynamics."""
    assert section.stop is not None
    arguments: dict[str, Any] = section.stop.arguments()
    quiet = section.duration if section.stop.quiet is None else section.stop.quiet
    return EarlyStop(**{**arguments, "quiet": quiet, "min_distance": section.min_distance})


def _scan(section: sections.Scan, made: Made) -> Proposer:
    def scan_all(committee: Committee, seeds: Structures, seed: int) -> Candidates:
        arguments: dict[str, Any] = section.arguments("n_seeds", "seeds", "share", "source")
        return scan(committee, seeds, seed=seed, references=made.molecules, **arguments)

    return scan_all


def plugin_of(section: sections.AttackPlugin) -> Proposer:
    """A proposer that a package registers.

    Raises:
        ValueError: If no package registers it, or it cannot be made.
    """
    return registry.plugin(section.name, section.parameters)


def _fitting_space(
    section: sections.Adversarial | sections.Random, config: Config, structures: Sequence[Atoms]
) -> Bool[np.ndarray, " n_structures"]:
    """Mask of the structures that have what the space moves: torsions with all bonds, or cells without fixed atoms."""
    allowed = np.ones(len(structures), dtype=bool)
    for part in parts_of(section.space):
        if isinstance(part, section_of.Dihedrals | section_of.RandomDihedrals):
            allowed &= have_torsions(part.torsions, structures, bonds_of(config), part.guest)
        if isinstance(part, section_of.Rigid | section_of.RandomRigid):
            allowed &= have_guests(structures, part.atoms)
        if isinstance(part, section_of.Strain | section_of.RandomStrain):
            allowed &= have_cells(structures)
    if isinstance(section, sections.Adversarial) and section.region is not None and section.region.centres == "guest":
        allowed &= have_guests(structures, in_host=True)
    return allowed


def _can_move(
    section: sections.Dynamics | sections.BiasedDynamics, config: Config, structures: Sequence[Atoms]
) -> Bool[np.ndarray, " n_structures"]:
    """Mask of the structures that the ensemble can move: at constant pressure crystals without fixed atoms."""
    if section.ensemble not in AT_PRESSURE:
        return np.ones(len(structures), dtype=bool)
    found = np.array([bool(atoms.pbc.all()) and fixed_coordinates(atoms) is None for atoms in structures])
    if not found.any():
        raise ValueError(
            f"ensemble {section.ensemble} moves cells, and no structure is periodic in three directions without fixed "
            "atoms; use nose_hoover or langevin"
        )
    return found


def _allowed_by_plugin(
    section: sections.AttackPlugin, config: Config, structures: Sequence[Atoms]
) -> Bool[np.ndarray, " n_structures"]:
    allows = getattr(plugin_of(section), "attackable", lambda atoms: True)
    return np.array([bool(allows(atoms)) for atoms in structures])


def _n_frames(section: sections.Dynamics | sections.BiasedDynamics, n_seeds: int, molecules: Sequence[Atoms]) -> int:
    if section.stop is None:
        return n_seeds * n_snapshots(duration=section.duration, timestep=section.timestep, every=section.every)
    return n_seeds * largest_number_of_frames(duration=section.duration, quiet=_stop(section).quiet)


PROPOSERS: Mapping[str, ProposerKind] = {
    "adversarial": ProposerKind(_attack, attackable=_fitting_space),
    "random": ProposerKind(_random, attackable=_fitting_space),
    "dynamics": ProposerKind(_dynamics, _n_frames, _can_move),
    "biased_dynamics": ProposerKind(_biased_dynamics, _n_frames, _can_move),
    "scan": ProposerKind(
        _scan, lambda section, n_seeds, molecules: sum(n_scanned(one, section.n_values) for one in molecules)
    ),
    "plugin": ProposerKind(
        lambda section, made: plugin_of(section),
        lambda section, n_seeds, molecules: n_seeds * int(getattr(plugin_of(section), "n_per_seed", 1)),
        _allowed_by_plugin,
    ),
}
"""The kinds of proposers."""


# --- their arguments ------------------------------------------------------------------------------------------------


def objective(
    config: Config,
    dataset: Dataset | None,
    section: sections.AnyProposer | sections.AnyPart | None = None,
    expected: ExpectedErrors | None = None,
) -> Objective:
    """The objective of a proposer, by default the first; the variance of forces (Eq. 10) where there is none.

    Raises:
        ValueError: If a term needs labelled structures, such as Boltzmann's Q, or expected errors, and there are none.
    """
    section = section or config.proposers[0]
    formula = getattr(section, "objective", "force_variance")
    return objective_of(with_per(formula, weight_counts_per(config, section)), reference=dataset, expected=expected)


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
