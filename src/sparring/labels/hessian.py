"""Hessian-vector labels by one more gradient for each structure (:mod:`sparring.atoms.curvature`)."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Float

from sparring.atoms.inheritance import bare_copy
from sparring.atoms.reference import FORCES, HESSIAN_DIRECTION, HESSIAN_PRODUCT, with_hessian_label
from sparring.support.digest import digest

__all__ = ["hessian_vector_labels"]

logger = logging.getLogger(__name__)

NUMBER = "hessian_of"
"""Name in `info` of the number of the structure that a displaced one comes from."""


def hessian_vector_labels(
    structures: Sequence[Atoms],
    label_many: Callable[[Sequence[Atoms]], Sequence[Atoms]],
    *,
    step: float = 0.05,
    directions: Sequence[Float[np.ndarray, "_ 3"]] | None = None,
) -> list[Atoms]:
    r"""Labelled structures with the product of their Hessian and a direction, from a second gradient.

    .. math:: H v \approx -\frac{F(x + h v) - F(x)}{h}

    Single atoms, structures without forces or with such a label already, and those whose displaced copy has no
    label stay as they are.

    Args:
        structures: Labelled structures.
        label_many: Labels of many structures at once, which leaves out those that have none.
        step: Distance h between the two geometries in all coordinates together, in Å.
        directions: Direction for each structure, of any length; by default a random one, which depends on the geometry
            only. Fixed coordinates do not move.

    Raises:
        ValueError: If the step is not positive, there are not as many directions as structures, or one is zero.
    """
    if not 0 < step < np.inf:
        raise ValueError(f"the step of a Hessian-vector label must be a positive length in Å, got {step}")
    if directions is not None and len(directions) != len(structures):
        raise ValueError(f"need a direction for each of {len(structures)} structures, got {len(directions)}")
    units: dict[int, np.ndarray] = {}
    displaced = []
    for index, atoms in enumerate(structures):
        if FORCES not in atoms.arrays or HESSIAN_PRODUCT in atoms.arrays or len(atoms) == 1:
            continue
        moved = bare_copy(atoms)
        units[index] = _unit(moved, _random(atoms) if directions is None else directions[index], index)
        moved.set_positions(atoms.positions + step * units[index], apply_constraint=False)
        moved.info[NUMBER] = index
        displaced.append(moved)
    known = {int(atoms.info[NUMBER]): atoms.arrays[FORCES] for atoms in label_many(displaced)} if displaced else {}
    if len(known) < len(displaced):
        n_failed = len(displaced) - len(known)
        logger.warning("%d of %d Hessian-vector labels failed; their structures go without", n_failed, len(displaced))
    made = list(structures)
    for index, forces in known.items():
        product = (structures[index].arrays[FORCES] - forces) / step
        made[index] = with_hessian_label(structures[index], units[index], product, step)
    return made


def _random(atoms: Atoms) -> Float[np.ndarray, "n_atoms 3"]:
    """Normally distributed numbers that depend on the geometry only, so that a resumed run finds its labels again."""
    geometry = {
        "numbers": atoms.numbers.tolist(),
        "positions": np.round(atoms.positions, 6).tolist(),
        "of": HESSIAN_DIRECTION,
    }
    generator = np.random.default_rng(int(digest(geometry)[:16], 16))
    return generator.normal(size=(len(atoms), 3))


def _unit(atoms: Atoms, direction: Float[np.ndarray, "n_atoms 3"], index: int) -> Float[np.ndarray, "n_atoms 3"]:
    moved = atoms.copy()
    moved.set_positions(atoms.positions + direction)  # constraints of ASE hold fixed atoms
    free = moved.positions - atoms.positions
    length = np.linalg.norm(free)
    if not length > 0:
        raise ValueError(f"the direction of structure {index} moves no atom; give another one")
    return np.asarray(free / length)
