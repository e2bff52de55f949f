"""Features of atoms, whatever potential they come from."""

from jaxtyping import Float
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.potentials.base import Backbone, Potential

__all__ = ["energy_and_features", "require_backbone", "sum_features"]


def require_backbone(potential: Potential) -> None:
    """Check that a potential has features of atoms.

    Raises:
        ValueError: If it has none.
    """
    if not (isinstance(potential, Backbone) or callable(getattr(potential, "features", None))):
        raise ValueError(
            f"{type(potential).__name__} cannot be the backbone of a committee, because it has no features of atoms; "
            "give it a method energy_and_features(structures), or take ACE, PaiNN, SchNet or a model of an adapter"
        )


def energy_and_features(
    potential: Potential, structures: Structures
) -> tuple[Float[Tensor, " n_structures"], Float[Tensor, "n_atoms n_features"]]:
    """Energy of each structure in eV, and features of each atom: in one pass, or two if there is only ``features``.

    Raises:
        ValueError: If the potential has no features, or they are not one row for each atom.
    """
    require_backbone(potential)
    if isinstance(potential, Backbone):
        energy, features = potential.energy_and_features(structures)
    else:
        energy, features = potential(structures), potential.features(structures)  # type: ignore[attr-defined]
    if not isinstance(features, Tensor) or features.dim() != 2 or len(features) != structures.n_atoms:
        got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(
            f"features of {type(potential).__name__} must have a row for each of {structures.n_atoms} atoms, got {got}"
        )
    return energy.double(), features.double()


def sum_features(
    features: Float[Tensor, "n_atoms n_features"], structures: Structures
) -> Float[Tensor, "n_structures n_features"]:
    """Sum of the features over the atoms of each structure."""
    zeros = features.new_zeros(structures.n_structures, features.shape[1])
    return zeros.index_add(0, structures.structure_index, features)
