"""The barrier between two geometries as a number of each generation: on the committee's surface and on the labels'."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

from ase import Atoms

from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.labels import LabelError
from sparring.labels.base import depends_on
from sparring.labels.service import LabelService
from sparring.starting_data.relaxation import RelaxationError
from sparring.surfaces.evaluators import Evaluate, committee_surface, label_surface
from sparring.surfaces.minimum_energy_path import MinimumEnergyPath, neb

__all__ = ["barrier_evaluation", "label_path"]

logger = logging.getLogger(__name__)


def barrier_evaluation(
    endpoints: Callable[[], tuple[Atoms, Atoms]], label_service: LabelService
) -> Callable[[Committee, Dataset], Mapping[str, object]]:
    """Barrier, its reference by the label method, and its error, all in eV, and None where a surface has no path.

    The path of the label method is computed once; its labels are kept like any others.

    Args:
        endpoints: Function that gives two geometries, near a minimum each.
        label_service: Labeller of the reference.
    """

    @cache
    def ends() -> tuple[Atoms, Atoms]:
        return endpoints()

    @cache
    def reference() -> float | None:
        return _height("the labels have", lambda: label_path(*ends(), label_service))

    def evaluate(committee: Committee, _: Dataset) -> dict[str, object]:
        true = reference()
        surface = committee_surface(committee)
        height = _height("the committee has", lambda: neb(*ends(), surface, method="committee")[0])
        error = None if height is None or true is None else height - true
        return {"barrier": height, "barrier_reference": true, "barrier_error": error}

    return evaluate


def label_path(start: Atoms, end: Atoms, label_service: LabelService) -> MinimumEnergyPath:
    """The path on the surface of the labels. Their energy window does not count: images may be as high as the barrier.

    Raises:
        RelaxationError: If there is no path.
        LabelError: If a label fails.
    """
    service = replace(label_service, bounds=replace(label_service.bounds, energy_window=None))
    surface: Evaluate = label_surface(service)
    names = depends_on(service.labeller)
    return neb(start, end, surface, method=service.labeller.method, depends_on=names)[0]


def _height(whose: str, path: Callable[[], MinimumEnergyPath]) -> float | None:
    try:
        found = path()
    except (RelaxationError, LabelError) as error:
        logger.warning("%s no path between the endpoints: %s", whose, error)
        return None
    if not found.converged:
        logger.warning("%s a path that has not converged: %.2g eV/Å after %d steps", whose, found.fmax, found.n_steps)
    return found.barrier
