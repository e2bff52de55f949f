"""Statements of the paper about a system: Schwalbe-Koda et al. (2021), doi:10.1038/s41467-021-25342-8.

Only what it says in words and numbers; nothing was read off its figures. It holds for the paper's own systems,
committees and protocols, so a report quotes it for these systems alone.
"""

from sparring.systems.base import Published, System

__all__ = ["Published", "published", "remarks"]


def published(system: System, quantity: str, generation: int) -> Published | None:
    """The statement about one of the paper's committees, if there is one."""
    return next((one for one in system.published if one[:2] == (quantity, generation)), None)


def remarks(system: System, quantity: str) -> tuple[Published, ...]:
    """Statements about other committees, or about several at once."""
    return tuple(one for one in system.published if one[:2] == (quantity, None))
