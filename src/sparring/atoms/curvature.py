r"""Hessian-vector labels: how the forces on a structure change along one direction.

A label is a direction v, a unit vector of all coordinates, and the product with the Hessian H of the energy. It costs
one more gradient, at a step h along the direction:

.. math:: H v \approx -\frac{F(x + h v) - F(x)}{h}

Names in files: columns ``REF_hessian_direction`` and ``REF_hessian_product`` (eV/Å²), and ``REF_hessian_step`` (Å) in
the header, which is zero or missing where the product is exact.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sparring.atoms.dataset import Dataset
from sparring.atoms.reference import HESSIAN_DIRECTION, HESSIAN_PRODUCT, HESSIAN_STEP

__all__ = ["HessianLabels"]


class HessianLabels(NamedTuple):
    """Hessian-vector labels of a data set.

    Attributes:
        direction: Direction of each structure; zero where there is no label.
        product: Product of the Hessian with it, in eV/Å²; zero where there is no label.
        step: Step of the finite difference in Å; zero for exact products.
        known: Mask of the structures that have a label.
    """

    direction: Float[Tensor, "n_atoms 3"]
    product: Float[Tensor, "n_atoms 3"]
    step: Float[Tensor, " n_structures"]
    known: Bool[Tensor, " n_structures"]

    @classmethod
    def of(cls, dataset: Dataset) -> "HessianLabels | None":
        """The Hessian-vector labels of a data set; None if it has none.

        Raises:
            ValueError: If a direction or a product is missing, of wrong shape, or not finite.
        """
        columns, sizes = dataset.arrays or ({},) * len(dataset), dataset.structures.counts.tolist()
        known = [HESSIAN_DIRECTION in arrays or HESSIAN_PRODUCT in arrays for arrays in columns]
        if not any(known):
            return None
        values: dict[str, list[np.ndarray]] = {HESSIAN_DIRECTION: [], HESSIAN_PRODUCT: []}
        for index, (arrays, n_atoms, has) in enumerate(zip(columns, sizes, known, strict=True)):
            for name, rows in values.items():
                rows.append(_vectors(arrays.get(name), name, n_atoms, index) if has else np.zeros((n_atoms, 3)))
        steps = [_step(info.get(HESSIAN_STEP, 0.0), index) for index, info in enumerate(dataset.info)]
        return cls(
            direction=torch.as_tensor(np.concatenate(values[HESSIAN_DIRECTION])),
            product=torch.as_tensor(np.concatenate(values[HESSIAN_PRODUCT])),
            step=torch.tensor(steps, dtype=torch.float64),
            known=torch.tensor(known),
        )


def _step(value: object, index: int) -> float:
    if isinstance(value, int | float | np.number) and 0 <= value < np.inf:
        return float(value)
    raise ValueError(
        f"structure {index}: {HESSIAN_STEP!r} must be a length in Å from 0 on, got {value}; leave it out for 0"
    )


def _vectors(values: object, name: str, n_atoms: int, index: int) -> np.ndarray:
    if values is None:
        other = HESSIAN_PRODUCT if name == HESSIAN_DIRECTION else HESSIAN_DIRECTION
        raise ValueError(f"structure {index} has {other!r} without {name!r}; give both, or leave both out")
    vectors = np.asarray(values, dtype=float)
    if vectors.shape != (n_atoms, 3) or not np.isfinite(vectors).all():
        raise ValueError(
            f"structure {index}: {name!r} must be three finite numbers for each of {n_atoms} atoms, got the shape "
            f"{vectors.shape}; label it again or leave the column out"
        )
    return vectors
