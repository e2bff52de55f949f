"""The section ``attack.region`` of a configuration as the region of a proposer."""

from collections.abc import Sequence
from typing import Any

from ase import Atoms

from sparring.assembly.spaces import of_seeds
from sparring.atoms.guests import Guests
from sparring.atoms.structures import Structures
from sparring.candidates import Candidates
from sparring.committee import Committee
from sparring.config.proposers import Adversarial
from sparring.proposers.base import Proposer
from sparring.proposers.regions import Region, in_region

__all__ = ["in_region_of"]


def in_region_of(section: Adversarial, proposer: Proposer, molecules: Sequence[Atoms]) -> Proposer:
    """A proposer that moves the atoms of the section's region only.

    Args:
        section: Section of the attack, with a region.
        proposer: Proposer of the attack.
        molecules: Intact geometry of every molecule that seeds may be, in which guests are found.
    """
    assert section.region is not None
    arguments: dict[str, Any] = {**section.region.arguments(), "max_memory": section.max_memory}
    if arguments["centres"] != "guest":
        return in_region(proposer, Region(**arguments))

    def propose(committee: Committee, seeds: Structures, seed: int) -> Candidates:
        guests = Guests.of(of_seeds(molecules, seeds))
        return in_region(proposer, Region(**{**arguments, "centres": guests}))(committee, seeds, seed)

    return propose
