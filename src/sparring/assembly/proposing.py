"""The section ``attack`` of a configuration as functions: what finds candidates, and in which space."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms
from jaxtyping import Bool

from sparring.atoms.dataset import ENERGY, Dataset
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.config import Config, sections
from sparring.config import spaces as section_of
from sparring.dynamics.trajectories import ensemble_of
from sparring.proposers.ascent import AttackResult, attack
from sparring.proposers.dynamics import take_snapshots
from sparring.proposers.objectives import Objective
from sparring.proposers.spaces import Cartesian, Combined, Dihedrals, RandomDisplacement, Space, Uniform, plugin
from sparring.starting_data.isolated import is_isolated_atom
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.systems import alanine_dipeptide

__all__ = ["Attack", "attack_arguments", "attackable", "attacker", "bonds_of", "one_of_each", "space_of"]

logger = logging.getLogger(__name__)

MOSTLY = 0.8
"""From this share of attacks that end lower in energy than they began there is a warning."""

Attack: TypeAlias = Callable[[Committee, Structures, Objective, int], AttackResult]
Bonds: TypeAlias = Sequence[tuple[int, int]]


def attacker(
    config: Config, progress_bars: ProgressBars = no_progress_bars, *, molecules: Sequence[Atoms] = ()
) -> Attack:
    """What finds candidates, one for each seed or several.

    Args:
        config: Of which the section ``attack`` counts.
        progress_bars: Gives it something to tick.
        molecules: A sound geometry of every molecule that seeds may be. What turns with a torsion is read off them.
    """
    section = config.attack
    if isinstance(section, sections.Dynamics):
        return _sampler(section, progress_bars)

    def attack_all(committee: Committee, seeds: Structures, objective: Objective, seed: int) -> AttackResult:
        # What no seed is, need not have the torsions.
        attacked = {tuple(one.numbers) for one in one_of_each(seeds.to_atoms())}
        known = [one for one in molecules if tuple(one.numbers) in attacked]
        space, climbing = attack_arguments(section, known, bonds_of(config))
        result = attack(
            committee, seeds, objective, space=space, seed=seed, progress=progress_bars("attack"), **climbing
        )
        if isinstance(section, sections.Adversarial) and section.objective.kT is not None:
            _warn_of_relaxations(result, section.objective.kT)
        return result

    return attack_all


def _warn_of_relaxations(result: AttackResult, kT: float) -> None:
    """Say so where the Boltzmann weight leads nearly all attacks downhill."""
    fell = result.energy_fell()
    if fell.double().mean() < MOSTLY:
        return
    by = (result.energy[0] - result.best().energy)[fell].median()
    logger.warning(
        "in %d of %d attacks the energy fell below that of their start, by %.3g eV in the median: the Boltzmann weight "
        "dominates, and attacks are relaxations; raise attack.objective.kT (now %.3g eV), let it grow with the "
        "molecule (attack.objective.per: degree_of_freedom), or switch it off (kT: null)",
        int(fell.sum()),
        len(fell),
        float(by),
        kT,
    )


def _sampler(section: sections.Dynamics, progress_bars: ProgressBars) -> Attack:
    ensemble = ensemble_of(
        section.ensemble, section.temperature, friction=section.friction, time_constant=section.time_constant
    )
    names = ("duration", "timestep", "every", "min_distance", "axes", "max_memory")
    moving: dict[str, Any] = {name: getattr(section, name) for name in names}

    def sample(committee: Committee, seeds: Structures, objective: Objective, seed: int) -> AttackResult:
        # Dynamics climbs nothing.
        return take_snapshots(
            committee, seeds, ensemble=ensemble, seed=seed, progress=progress_bars("dynamics"), **moving
        )

    return sample


def attack_arguments(
    section: sections.Adversarial | sections.Random, molecules: Sequence[Atoms] = (), bonds: Bonds | None = None
) -> tuple[Space, dict[str, Any]]:
    """In which space an attack is, and how it climbs there.

    Args:
        section: The section ``attack``.
        molecules: A sound geometry of every molecule that seeds may be.
        bonds: Of the only molecule; None to find them from the distances.
    """
    space = space_of(section.space, molecules, bonds)
    if isinstance(section, sections.Random):
        return space, {"n_steps": 0}
    names = ("n_steps", "learning_rate", "update", "min_distance", "max_memory")
    return space, {name: getattr(section, name) for name in names}


def space_of(section: section_of.AnySpace, molecules: Sequence[Atoms] = (), bonds: Bonds | None = None) -> Space:
    """The section ``attack.space``.

    Raises:
        ValueError: If a molecule does not have the torsions, or no package registers a plugin.
    """
    if isinstance(section, section_of.Combined | section_of.RandomCombined):
        scales = tuple(getattr(part, "scale", 1.0) for part in section.spaces)
        return Combined(spaces=tuple(space_of(part, molecules, bonds) for part in section.spaces), scales=scales)
    if isinstance(section, section_of.RandomCartesian):
        return RandomDisplacement(amplitude=section.amplitude, axes=section.axes, atoms=section.atoms)
    if isinstance(section, section_of.RandomDihedrals):
        turning = Dihedrals.of(molecules, section.torsions, bonds=bonds)
        return Uniform(space=turning, amplitude=section.amplitude)
    if isinstance(section, section_of.RandomPlugin):
        return Uniform(space=plugin(section.name, section.parameters), amplitude=section.amplitude)
    if isinstance(section, section_of.Plugin):
        return plugin(section.name, section.parameters)
    bound: dict[str, Any] = section.bound.arguments() if section.bound else {}
    if isinstance(section, section_of.Dihedrals):
        return Dihedrals.of(molecules, section.torsions, bonds=bonds, spread=section.initial_spread, **bound)
    return Cartesian(spread=section.initial_spread, axes=section.axes, atoms=section.atoms, **bound)


def attackable(config: Config, dataset: Dataset) -> Bool[np.ndarray, " n_structures"]:
    """Which structures of the data can be attacked: torsions turn only where there are some, and all bonds hold.

    Isolated atoms have nothing to move against. What moves atoms may break bonds. Such a structure is worth its label,
    but no seed for what turns torsions.

    Raises:
        ValueError: If no molecule has the torsions.
    """
    structures = dataset.to_atoms()
    allowed = np.array([not is_isolated_atom(atoms) for atoms in structures])
    if isinstance(config.attack, sections.Dynamics):
        return allowed
    for part in getattr(config.attack.space, "spaces", (config.attack.space,)):
        if isinstance(part, section_of.Dihedrals | section_of.RandomDihedrals):
            allowed &= _have(part.torsions, structures, bonds_of(config))
    return allowed


def _have(
    torsions: Sequence[Any], structures: Sequence[Atoms], bonds: Bonds | None
) -> Bool[np.ndarray, " n_structures"]:
    """Which structures have the torsions of what they are, and its bonds."""
    found, errors = np.zeros(len(structures), dtype=bool), []
    for molecule in one_of_each(structures):
        try:
            turning = Dihedrals.of(molecule, torsions, bonds=bonds)
        except ValueError as error:
            errors.append(error)
            continue
        same = [index for index, one in enumerate(structures) if np.array_equal(one.numbers, molecule.numbers)]
        found[same] = turning.intact(Structures.from_atoms([structures[index] for index in same]))
    if len(errors) == len(one_of_each(structures)):
        raise errors[0]
    return found


def one_of_each(structures: Sequence[Atoms]) -> list[Atoms]:
    """The structure of lowest energy of every molecule, told by its atoms in their order; the first if none has any."""
    lowest: dict[tuple[int, ...], Atoms] = {}
    for atoms in structures:
        known = lowest.setdefault(tuple(atoms.numbers.tolist()), atoms)
        if atoms.info.get(ENERGY, float("inf")) < known.info.get(ENERGY, float("inf")):
            lowest[tuple(atoms.numbers.tolist())] = atoms
    return list(lowest.values())


def bonds_of(config: Config) -> Bonds | None:
    """The bonds of a system that knows them; None where distances have to tell."""
    return alanine_dipeptide.BONDS if config.system.kind == "alanine_dipeptide" else None
