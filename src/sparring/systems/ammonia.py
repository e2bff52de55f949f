"""Ammonia and its umbrella inversion: a start from nothing, and the barrier that is not in the data."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from sparring.atoms.dataset import ENERGY
from sparring.committee import Committee
from sparring.dynamics import DistanceWindow, EnergyBelow
from sparring.dynamics.calculator import CommitteeCalculator
from sparring.labels.service import LabelService
from sparring.starting_data.normal_modes import LabelMany
from sparring.starting_data.relaxation import RelaxationError
from sparring.starting_data.sampling import NormalModeSample, normal_mode_sample
from sparring.surfaces.grids import Grid, grid
from sparring.systems.base import Progress, Published, Start, StartCost, System, SystemGrid
from sparring.systems.inversion import (
    Barrier,
    inversion_barrier,
    inversion_endpoints,
    relax_planar,
    starting_geometry,
)
from sparring.systems.metrics import BARRIER
from sparring.systems.umbrella import UMBRELLA, planar_geometry, umbrella_coordinates, umbrella_grid

__all__ = [
    "UMBRELLA",
    "Barrier",
    "inversion",
    "inversion_barrier",
    "inversion_endpoints",
    "planar_geometry",
    "relax_planar",
    "starting_data",
    "starting_geometry",
    "system",
    "umbrella_coordinates",
    "umbrella_grid",
    "unphysical",
]

logger = logging.getLogger(__name__)

# In units of the ground state's, in Å of no bond below 0.6 and of none above 1.6. An odd number of radii, and a
# multiple of four and one of heights, have the ground state among them.
RADII, HEIGHTS = (0.65, 1.35), (-2.0, 2.0)


def starting_data(
    calculator: BaseCalculator,
    label_many: LabelMany,
    *,
    n_structures: int = 78,
    temperatures: tuple[float, float] = (250.0, 750.0),
    seed: int,
) -> NormalModeSample:
    """The paper's start (Sec. V.B): MMFF94 geometry, relaxation, Hessian, displacements along normal modes.

    Calculator and `label_many` should be the same level of theory. They know nothing of the inversion: all structures
    belong to one pyramid.

    Raises:
        RelaxationError: If the relaxation does not converge.
        ValueError: If a displacement of the Hessian has no label.
    """
    start = starting_geometry(seed)
    return normal_mode_sample(
        start, calculator, label_many, n_structures=n_structures, temperatures=temperatures, seed=seed
    )


def unphysical(minimum_energy: float, *, margin: float = 1e-3) -> tuple[DistanceWindow, EnergyBelow]:
    """Criteria that end a trajectory of ammonia in the paper (Sec. V.B), for `survival` and `simulate`.

    Two hydrogens are closer than 0.80 Å or farther apart than 2.55 Å, or the predicted energy is below that of the
    ground state. The paper takes the energy of the ground state's label, and no margin. Then a committee that predicts
    the ground state too low, be it by a thousandth of an eV, fails before the first step, however good its forces are.
    So give the energy of the committee's own minimum, `sparring.own_minimum`: what is lower is a hole in its surface.
    The margin is for rounding, up to 1e-4 eV where total energies are in single precision, and for what relaxations
    leave.

    Args:
        minimum_energy: Energy of the ground state in eV, on the committee's scale.
        margin: Energy below the minimum that a copy may still have, in eV.
    """
    return DistanceWindow("H", "H", low=0.80, high=2.55), EnergyBelow(minimum_energy - margin)


def inversion(committee: Committee, label_service: LabelService) -> dict[str, object]:
    """The barrier of ammonia's inversion on the committee's surface and on the label's own, both relaxed, in eV."""
    reference = inversion_barrier(label_service.calculator)
    try:
        height = inversion_barrier(CommitteeCalculator(committee), start=reference.minimum).height
    except RelaxationError as error:
        logger.warning("the committee has no inversion barrier: %s", error)
        return {"barrier": None, "barrier_reference": reference.height, "barrier_error": None}
    return {"barrier": height, "barrier_reference": reference.height, "barrier_error": height - reference.height}


def system(*, n_structures: int = 78, temperatures: tuple[float, float] = (250.0, 750.0)) -> System:
    """Ammonia with its inversion: barrier, endpoints and grid.

    Args:
        n_structures: Number of starting structures, the ground state among them.
        temperatures: Lowest and highest temperature of the displacements, in K.
    """

    def start(given: Start) -> list[Atoms]:
        # The ground state itself is one of the structures: the one that is attacked.
        sample = starting_data(
            given.label_service.calculator,
            given.label_many,
            n_structures=n_structures - 1,
            temperatures=temperatures,
            seed=given.seed,
        )
        return [sample.minimum, *sample.structures]

    # The minimum to begin with, and for the barrier the pyramid and the planar molecule.
    cost = StartCost(n_labels=n_structures + 6 * 4, n_structures=n_structures, n_hessian=6 * 4, n_relaxations=3)
    return System(
        name="ammonia",
        structures=lambda: [starting_geometry()],
        start=start,
        cost=lambda _: cost,
        evaluation=lambda label_service: lambda committee, _: inversion(committee, label_service),
        metrics=BARRIER,
        progress=Progress(
            keys=("barrier",), title="Inversion barrier", quantity="barrier ({unit})", reference="barrier_reference"
        ),
        endpoints=lambda data: inversion_endpoints(_lowest(data)),
        grid=SystemGrid(
            make=_grid,
            points=(21, 21),
            project=lambda start: umbrella_coordinates(_lowest(start)),
            variables=UMBRELLA,
            mirrored=True,
            from_start=True,
        ),
        unphysical=_unphysical,
        published=PUBLISHED,
    )


def _lowest(structures: Sequence[Atoms]) -> Atoms:
    return min(structures, key=lambda atoms: float(atoms.info[ENERGY]))


def _grid(start: Sequence[Atoms], points: tuple[int, ...]) -> Grid:
    radii, heights = np.linspace(*RADII, points[0]), np.linspace(*HEIGHTS, points[1])
    return grid(umbrella_grid(_lowest(start), radii=radii.tolist(), heights=heights.tolist()), *UMBRELLA)


def _unphysical(minimum_energy: Callable[[], float], start: Atoms) -> tuple[DistanceWindow, EnergyBelow] | None:
    return unphysical(minimum_energy()) if start.get_chemical_formula() == "H3N" else None


PUBLISHED = (
    Published("barrier_error", 1, "about −1", "Sec. III.B, Fig. 3d"),
    Published("barrier_error", 2, "within ±0.25", "Sec. III.B, Fig. 3d"),
    Published(
        "barrier_error",
        None,
        "A committee trained on random displacements finds too high a barrier, with larger uncertainties.",
        "Sec. III.B, Fig. 3d",
    ),
    Published("stable", 1, "0 %", "Sec. III.B, Fig. 3f"),
    Published("stable", 3, "83 %", "Sec. III.B, Fig. 3f"),
    Published(
        "stable",
        None,
        "63 % are stable under a committee trained on random displacements; 100 copies of 5 ps at each of 500, 600, "
        "..., 1000 K.",
        "Sec. III.B and V.B, Fig. 3f",
    ),
    Published(
        "landscape",
        None,
        "The third generation of attacks has smaller errors than random displacements up to 40 kcal/mol; up to 5 "
        "kcal/mol all three generations have much smaller ones.",
        "Sec. III.B, Fig. 3f",
    ),
    Published(
        "diversity",
        None,
        "Attacks rarely resemble the training set, and those of the second generation are mostly far from those of the "
        "first. They are more distorted than displacements along normal modes, at energies that stay reasonable.",
        "Sec. III.B, Fig. 3a to c",
    ),
)
"""Statements of the paper about its own committees, in words and numbers; nothing was read off its figures."""
