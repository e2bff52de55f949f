"""MACE networks without weights, to be trained by :func:`sparring.fit`."""

from math import sqrt

import torch
from ase.data import chemical_symbols
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.dataset import Dataset
from sparring.atoms.structures import Structures
from sparring.potentials.base import Architecture
from sparring.potentials.foreign.base import close_edges, drawing_from
from sparring.potentials.foreign.mace import MACEPotential
from sparring.potentials.foreign.mace_settings import mace_model, new_settings
from sparring.potentials.foreign.packages import require_package, unchanged_settings

__all__ = ["MACE"]


class MACE(Architecture):
    """Hyperparameters of MACE (Batatia et al., doi:10.48550/arXiv.2206.07697), of which data make a network.

    The table of elements, the mean number of neighbours and the scale of energies are those of the data set on which
    :func:`sparring.fit` trains the network, as ``mace_run_train`` has it; the scale is the root of the mean of F².

    Args:
        n_channels: Number of channels of the features.
        max_L: Highest order of the features: 0 for scalars, 1 for vectors.
        n_interactions: Number of interactions.
        correlation: Number of neighbours whose product an interaction takes; body order minus one.
        cutoff: Cutoff in Å.
        n_radial: Number of Bessel functions.
        max_ell: Highest order of the spherical harmonics.
        n_readout: Number of values between the layers of the last readout.

    Raises:
        ValueError: If mace-torch is not installed, or a number is too small.
    """

    kind = "mace"
    supports_vmap = False
    casts_buffers = True

    def __init__(
        self,
        *,
        n_channels: int = 32,
        max_L: int = 1,
        n_interactions: int = 2,
        correlation: int = 3,
        cutoff: float = 5.0,
        n_radial: int = 8,
        max_ell: int = 3,
        n_readout: int = 16,
    ) -> None:
        super().__init__()
        require_package("mace")
        at_least_one = (n_channels, n_interactions, correlation, n_radial, n_readout)
        if min(at_least_one) < 1 or cutoff <= 0 or not 0 <= max_L <= max_ell:
            raise ValueError(
                "MACE needs n_channels, n_interactions, correlation, n_radial and n_readout >= 1, cutoff > 0 and "
                f"0 <= max_L <= max_ell, got {(*at_least_one, cutoff, max_L, max_ell)}"
            )
        self.hyperparameters = {
            "n_channels": n_channels,
            "max_L": max_L,
            "n_interactions": n_interactions,
            "correlation": correlation,
            "cutoff": cutoff,
            "n_radial": n_radial,
            "max_ell": max_ell,
            "n_readout": n_readout,
        }
        self.cutoff = cutoff

    def for_data(self, dataset: Dataset) -> MACEPotential:
        """The network for the elements of a data set, normalised by it; its weights mean nothing yet."""
        numbers: list[int] = dataset.structures.atomic_numbers.unique().tolist()
        settings = new_settings(numbers, **self.hyperparameters)  # type: ignore[arg-type]
        with unchanged_settings(), drawing_from(torch.Generator().manual_seed(0)):
            potential = MACEPotential.from_module(mace_model(settings))
        assert self.cutoff is not None
        potential.normalise(
            mean_neighbors=mean_neighbors(dataset.structures, self.cutoff), scale=root_mean_square_force(dataset)
        )
        return potential

    def forward(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """None: there are no weights before data are known.

        Raises:
            ValueError: Always.
        """
        elements = ", ".join(chemical_symbols[number] for number in structures.atomic_numbers.unique().tolist())
        raise ValueError(
            f"this MACE has no weights (asked for energies of {elements}); train it by sparring.fit, or call "
            "for_data(dataset) for a network without meaning"
        )


def mean_neighbors(structures: Structures, cutoff: float) -> float:
    """Mean number of neighbours of the atoms that have some; one if none has."""
    edges, _ = close_edges(structures, cutoff)
    with_some = len(edges.target.unique())
    return len(edges.target) / with_some if with_some else 1.0


def root_mean_square_force(dataset: Dataset) -> float:
    """Root of the mean square of the components of forces in eV/Å; one if there are none."""
    known = dataset.forces[dataset.atoms_with_forces]
    mean = float(known.square().mean()) if len(known) else 0.0
    return sqrt(mean) if mean > 0 else 1.0
