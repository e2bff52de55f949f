"""One member of a committee from one backbone."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.atoms.structures import Structures
from sparring.potentials.base import N_ELEMENTS, Architecture, Potential
from sparring.potentials.heads.backbone import energy_and_features, require_backbone
from sparring.potentials.nested import built, described

__all__ = ["Head"]


class Head(Architecture):
    r"""A potential corrected by a linear readout of its own features.

    .. math:: E = E_\text{backbone} + \sum_i \left( w \cdot f_i + s_{Z_i} \right)

    with the features :math:`f_i` of atom i, weights w in eV and an energy s of each element in eV. Weights are in
    double precision, whatever that of the backbone is. :func:`sparring.fit_heads` and :func:`sparring.llpr` make
    committees of heads, which share their backbone.

    Args:
        backbone: Kind and hyperparameters that rebuild the backbone, as JSON has them.
        n_features: Number of features of an atom.
        module: The backbone with its weights; without it one is built whose weights mean nothing.

    Raises:
        ValueError: If the backbone has no features, or its package is not installed.
    """

    kind = "heads"
    supports_vmap = False
    shared = "backbone"

    def __init__(
        self, *, backbone: Mapping[str, object] | None, n_features: int, module: Potential | None = None
    ) -> None:
        super().__init__()
        if module is None:
            if backbone is None:
                raise ValueError("a head needs its backbone: give `module`, or the kind and hyperparameters of one")
            module = built(backbone, "backbone")
        require_backbone(module)
        self.backbone = module
        self.hyperparameters = {"backbone": backbone, "n_features": n_features}
        self.cutoff: float | None = getattr(module, "cutoff", None)
        self.elements = getattr(module, "elements", None)
        self.uses_charge = getattr(module, "uses_charge", False)
        self.register_buffer("weight", torch.zeros(n_features, dtype=torch.float64))
        self.register_buffer("atomic_energy", torch.zeros(N_ELEMENTS, dtype=torch.float64))
        self.weight: Tensor
        self.atomic_energy: Tensor

    @classmethod
    def of(
        cls, backbone: nn.Module, weight: Float[Tensor, " n_features"], atomic_energy: Float[Tensor, " n_elements"]
    ) -> "Head":
        """The head with these weights on this very backbone.

        Args:
            backbone: Potential with features.
            weight: Weights of the features, in eV.
            atomic_energy: Energies of elements by atomic number, in eV.
        """
        made = cls(backbone=described(backbone), n_features=len(weight), module=backbone)
        made.weight = weight.detach().to(made.weight)
        made.atomic_energy = atomic_energy.detach().to(made.atomic_energy)
        return made.to(device=next(backbone.parameters(), made.weight).device)

    def forward(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Energy of each structure, in eV."""
        return self.energy_and_features(structures)[0]

    def energy_and_features(
        self, structures: Structures
    ) -> tuple[Float[Tensor, " n_structures"], Float[Tensor, "n_atoms n_features"]]:
        """Energy of each structure in eV, and the features of the backbone: a head can be a backbone, too."""
        energy, features = energy_and_features(self.backbone, structures)
        atoms = features @ self.weight + self.atomic_energy.index_select(0, structures.atomic_numbers)
        return energy.index_add(0, structures.structure_index, atoms), features

    def set_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Set the energy of each element, in eV, by atomic number."""
        self.atomic_energy = energies.to(self.atomic_energy)
