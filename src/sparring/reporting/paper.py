"""What the paper says of the same quantities: Schwalbe-Koda et al. (2021), doi:10.1038/s41467-021-25342-8.

Only what it says in words and numbers; nothing was read off its figures. It holds for the paper's own systems,
committees and protocols, so a report quotes it for these systems alone.
"""

from typing import NamedTuple

__all__ = ["PAPER", "Published", "published", "remarks"]


class Published(NamedTuple):
    """A statement of the paper.

    Attributes:
        system: As configurations name it.
        quantity: What it is about.
        generation: Of the committee, if it is about one that learnt from attacks; None if about others or several.
        words: As a cell of a table or a line of text quotes it; energies in kcal/mol.
        where: Section and figure.
    """

    system: str
    quantity: str
    generation: int | None
    words: str
    where: str


PAPER = (
    Published("ammonia", "barrier_error", 1, "about −1", "Sec. III.B, Fig. 3d"),
    Published("ammonia", "barrier_error", 2, "within ±0.25", "Sec. III.B, Fig. 3d"),
    Published(
        "ammonia",
        "barrier_error",
        None,
        "A committee trained on random displacements finds too high a barrier, with larger uncertainties.",
        "Sec. III.B, Fig. 3d",
    ),
    Published("ammonia", "stable", 1, "0 %", "Sec. III.B, Fig. 3f"),
    Published("ammonia", "stable", 3, "83 %", "Sec. III.B, Fig. 3f"),
    Published(
        "ammonia",
        "stable",
        None,
        "63 % are stable under a committee trained on random displacements; 100 copies of 5 ps at each of 500, 600, "
        "..., 1000 K.",
        "Sec. III.B and V.B, Fig. 3f",
    ),
    Published(
        "ammonia",
        "landscape",
        None,
        "The third generation of attacks has smaller errors than random displacements up to 40 kcal/mol; up to 5 "
        "kcal/mol all three generations have much smaller ones.",
        "Sec. III.B, Fig. 3f",
    ),
    Published(
        "double_well_2d",
        "landscape",
        None,
        "After the last generation the median error is two to three times larger with random displacements than with "
        "attacks, over more than 100 experiments.",
        "Sec. III.A, Fig. 2b",
    ),
    Published(
        "alanine_dipeptide",
        "landscape",
        None,
        "From generation to generation committees reproduce more of the landscape, such as φ > π/2 and the ellipsoid "
        "of high energy at (0, 0); there the uncertainty remains high, for what lies above 10⁴ kcal/mol is discarded.",
        "Sec. III.C, Fig. 4c",
    ),
    Published(
        "ammonia",
        "diversity",
        None,
        "Attacks rarely resemble the training set, and those of the second generation are mostly far from those of the "
        "first. They are more distorted than displacements along normal modes, at energies that stay reasonable.",
        "Sec. III.B, Fig. 3a to c",
    ),
)


def published(system: str, quantity: str, generation: int) -> Published | None:
    """What the paper says of one of its committees, if it says anything."""
    return next((one for one in PAPER if one[:3] == (system, quantity, generation)), None)


def remarks(system: str, quantity: str) -> tuple[Published, ...]:
    """What it says of others, or of several at once."""
    return tuple(one for one in PAPER if one[:3] == (system, quantity, None))
