"""Values of the section of a proposer that are right by themselves but do not fit each other or the system."""

from collections.abc import Iterator
from typing import Any

from sparring.config.objectives import terms_of
from sparring.config.problems import KeyPath
from sparring.config.proposers import Adversarial, AnyPart, AnyProposer, BiasedDynamics, Dynamics, Random, Scan

__all__ = ["proposer_contradictions"]


def proposer_contradictions(
    proposer: AnyProposer | AnyPart, at: KeyPath, system: str, free: str | None
) -> Iterator[tuple[KeyPath, str]]:
    """Values of the section of a proposer that do not fit each other or the system.

    Args:
        proposer: Section.
        at: Path of its key.
        system: Kind of the system.
        free: Axes of a particle in a well; None for molecules.
    """
    if free is not None:
        yield from _in_a_well(proposer, at, system, free)
    if isinstance(proposer, Dynamics | BiasedDynamics):
        yield from _of_dynamics(proposer, at, free)
    if isinstance(proposer, Adversarial) and proposer.region is not None and "strain" in map(_kind, _parts(proposer)):
        yield (*at, "region"), "a region holds all other atoms, which cannot follow a strained cell; leave one out"
    if proposer.seeds == "lowest_energy" and proposer.n_seeds is None:
        yield (*at, "n_seeds"), "null attacks every structure of the training data: that needs `seeds: random`"


def _parts(proposer: Adversarial | Random) -> list[Any]:
    """Spaces of a proposer, those of a combination one by one."""
    return list(getattr(proposer.space, "spaces", (proposer.space,)))


def _kind(section: Any) -> str:  # noqa: ANN401 - sections of spaces share no type
    return str(section.kind)


def _of_dynamics(proposer: Dynamics | BiasedDynamics, at: KeyPath, free: str | None) -> Iterator[tuple[KeyPath, str]]:
    if free is None and proposer.axes != "xyz":
        yield (*at, "axes"), f"atoms of molecules move along xyz, got {proposer.axes}"
    if round(proposer.duration / proposer.timestep) < proposer.every:
        steps = f"{proposer.every} steps of {proposer.timestep:g} fs"
        yield (*at, "every"), f"{steps} are longer than the duration of {proposer.duration:g} fs; take fewer"
    quiet = None if proposer.stop is None else proposer.stop.quiet
    if quiet is not None and not proposer.every * proposer.timestep <= quiet <= proposer.duration:
        allowed = f"{proposer.every * proposer.timestep:g} fs (`every`) and {proposer.duration:g} fs (`duration`)"
        yield (*at, "stop", "quiet"), f"must be between {allowed}, got {quiet:g} fs"


def _in_a_well(proposer: AnyProposer | AnyPart, at: KeyPath, system: str, free: str) -> Iterator[tuple[KeyPath, str]]:
    """Problems of a proposer that moves atoms or torsions, for a well, which has none."""
    parts: dict[KeyPath, Any] = {}  # where atoms move is a plugin's business
    if isinstance(proposer, Scan):
        yield (*at, "kind"), f"{system} is a particle, which has no bonds and angles; use random or dynamics"
    elif isinstance(proposer, Dynamics | BiasedDynamics):
        parts = {at: proposer}
    elif isinstance(proposer, Adversarial | Random):
        found = _parts(proposer)
        combined = proposer.space.kind == "combined"
        parts = {(*at, "space", *(("spaces", index) if combined else ())): part for index, part in enumerate(found)}
    if isinstance(proposer, Adversarial) and proposer.region is not None:
        yield (*at, "region"), f"{system} is a single particle, which has no region; leave it out"
    if isinstance(proposer, Adversarial) and proposer.start is not None and proposer.start.kind == "normal_modes":
        yield (*at, "start", "kind"), f"{system} is a particle, which has no normal modes; use dynamics"
    if isinstance(proposer, Adversarial):
        for term in sorted(terms_of(proposer.objective) & {"bond_window", "mutual_repulsion"}):
            problem = f"{term} measures distances between atoms, and system {system} is a single particle; leave it out"
            yield (*at, "objective"), problem
    for place, part in parts.items():
        if part.kind == "dihedrals":
            yield (*place, "kind"), f"{system} is a particle, which has no torsions; use cartesian"
        elif part.kind == "rigid":
            yield (*place, "kind"), f"{system} is a particle, which cannot turn; use cartesian"
        elif part.kind == "strain":
            yield (*place, "kind"), f"{system} is a particle, which has no cell; use cartesian"
        elif part.kind != "plugin" and not set(part.axes) <= set(free):
            yield (*place, "axes"), f"{system} has only {free}, got {part.axes}"
