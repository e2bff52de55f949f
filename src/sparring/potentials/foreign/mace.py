"""MACE, by the package mace-torch: Batatia et al., doi:10.48550/arXiv.2206.07697."""

from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

import torch
from ase.data import chemical_symbols
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.atoms.structures import Structures
from sparring.potentials.base import N_ELEMENTS, Architecture
from sparring.potentials.foreign.base import close_edges, copy_weights, drawing_from, element_index
from sparring.potentials.foreign.checkpoints import read_checkpoint
from sparring.potentials.foreign.mace_settings import mace_model, mace_settings
from sparring.potentials.foreign.packages import require_package, unchanged_settings

__all__ = ["MACEPotential"]


class MACEPotential(Architecture):
    """A MACE model, of which only the energy is used.

    Args:
        settings: Arguments that rebuild the model, as :func:`mace_settings` has them.
        head: Name of the head of a model with several.
        model: The model with its weights; without it one is built whose weights mean nothing.

    Attributes:
        elements: Symbols of the elements in the model's table.
        cutoff: Cutoff of the model, in Å.
        head: Name of the head.

    Raises:
        ValueError: If mace-torch is not installed, or the model does not have the head.
    """

    kind = "mace"
    supports_vmap = False
    casts_buffers = True
    elements: tuple[str, ...]
    cutoff: float

    def __init__(
        self, *, settings: Mapping[str, object], head: str | None = None, model: nn.Module | None = None
    ) -> None:
        super().__init__()
        if model is None:
            require_package("mace")
            with unchanged_settings():
                model = mace_model(settings)
        heads = list(getattr(model, "heads", None) or ["Default"])
        if head is None and len(heads) > 1:
            raise ValueError(f"the MACE model has several heads, {', '.join(heads)}; choose one by head")
        if head is not None and head not in heads:
            raise ValueError(f"the MACE model has no head {head!r}; it has {', '.join(heads)}")
        self.model = model
        self.head = heads[0] if head is None else head
        self.hyperparameters = {"settings": dict(settings), "head": self.head}
        self.cutoff = float(model.r_max)  # type: ignore[arg-type]
        numbers = torch.as_tensor(model.atomic_numbers).tolist()
        self.elements = tuple(chemical_symbols[number] for number in numbers)
        self._head_index = heads.index(self.head)
        mean = float(model.interactions[0].avg_num_neighbors)  # type: ignore[index, union-attr]
        self.register_buffer("mean_neighbors", torch.tensor(mean, dtype=torch.as_tensor(model.r_max).dtype))

    @classmethod
    def from_module(cls, model: nn.Module, *, head: str | None = None) -> "MACEPotential":
        """The potential of a module that mace-torch trained, such as ``ScaleShiftMACE``.

        Args:
            model: Module; not one that was exported by TorchScript.
            head: Name of the head of a model with several.

        Raises:
            ValueError: If the module is no MACE model with energies, or does not have the head.
        """
        if isinstance(model, torch.jit.ScriptModule):
            raise ValueError("the MACE model is compiled by TorchScript; give the .model file that training wrote")
        missing = [name for name in ("atomic_numbers", "r_max", "interactions") if not hasattr(model, name)]
        if missing:
            raise ValueError(
                f"{type(model).__name__} is no MACE model with energies: it has no {', '.join(missing)}; give the "
                ".model file that mace_run_train wrote"
            )
        if hasattr(model, "joint_embedding"):
            raise ValueError("the MACE model needs charges or other inputs beside the structure; this is not supported")
        with unchanged_settings():
            return cls(settings=mace_settings(model), head=head, model=model)

    @classmethod
    def from_file(cls, file: Path | str, *, trust_pickle: bool = False, head: str | None = None) -> "MACEPotential":
        """The model of a ``.model`` file of mace-torch, which is a pickle.

        Args:
            file: Path of the file.
            trust_pickle: Consent to unpickle the file.
            head: Name of the head of a model with several.

        Raises:
            ValueError: If the file is not trusted, cannot be read or has no MACE model.
        """
        with unchanged_settings():
            content = read_checkpoint(file, trust_pickle=trust_pickle)
        if not isinstance(content, nn.Module):
            raise ValueError(
                f"{file} has weights without the hyperparameters of the model (a {type(content).__name__}); give the "
                ".model file, or load the weights into the module and call sparring.load_potential('mace', module)"
            )
        return cls.from_module(content, head=head)

    def forward(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Energy of each structure, in eV."""
        species = self._species(structures)
        return self._energy(structures, species, self._outputs(structures, species))

    def _energy(self, structures: Structures, species: Tensor, outputs: Mapping[str, Tensor]) -> Tensor:
        # Energies of free atoms are added in double precision: they can be thousands of eV.
        atoms = self._reference_table()[species].double()
        return outputs["interaction_energy"].double().index_add(0, structures.structure_index, atoms)

    def features(self, structures: Structures) -> Float[Tensor, "n_atoms n_features"]:
        """Node features of all interactions, which the readouts use."""
        return self._outputs(structures, self._species(structures))["node_feats"]

    def energy_and_features(
        self, structures: Structures
    ) -> tuple[Float[Tensor, " n_structures"], Float[Tensor, "n_atoms n_features"]]:
        """Energy of each structure in eV, and those node features of all interactions that rotations do not change."""
        species = self._species(structures)
        outputs = self._outputs(structures, species)
        layouts = [product.linear.irreps_out for product in self.model.products]  # type: ignore[union-attr]
        starts = [0, *accumulate(layout.dim for layout in layouts)]
        scalars = [
            torch.arange(start + part.start, start + part.stop)
            for start, layout in zip(starts, layouts, strict=False)
            for part, irrep in zip(layout.slices(), layout, strict=True)
            if str(irrep.ir) == "0e"
        ]
        columns = torch.cat(scalars).to(structures.positions.device)
        return self._energy(structures, species, outputs), outputs["node_feats"].index_select(1, columns)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw new weights, as mace-torch does for a new model; normalisations stay."""
        settings: dict[str, object] = self.hyperparameters["settings"]  # type: ignore[assignment]
        with unchanged_settings(), drawing_from(generator):
            new = mace_model(settings)
        copy_weights(new, self.model)

    def normalise(self, *, mean_neighbors: float, scale: float) -> None:
        """Set the mean number of neighbours of an atom, and the scale of energies in eV: the root of mean F²."""
        self.mean_neighbors.fill_(mean_neighbors)  # type: ignore[operator]
        self.model.scale_shift.scale.fill_(scale)  # type: ignore[union-attr, operator]

    def set_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Set the energies in eV, by atomic number, of free atoms in the model."""
        self._reference_table().copy_(energies[torch.as_tensor(self.model.atomic_numbers).cpu()])

    def get_reference_energies(self) -> Float[Tensor, " n_elements"]:
        """Energies in eV, by atomic number, of free atoms in the model."""
        energies = torch.zeros(N_ELEMENTS, dtype=torch.float64)
        energies[torch.as_tensor(self.model.atomic_numbers).cpu()] = self._reference_table().double().cpu()
        return energies

    def add_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Add energies in eV, by atomic number, to those of free atoms in the model."""
        table = self._reference_table()
        table += energies[torch.as_tensor(self.model.atomic_numbers).cpu()].to(table)

    def _reference_table(self) -> Float[Tensor, " n_elements"]:
        table: Tensor = self.model.atomic_energies_fn.atomic_energies  # type: ignore[union-attr, assignment]
        return table if table.dim() == 1 else table[self._head_index]

    def _species(self, structures: Structures) -> Int[Tensor, " n_atoms"]:
        return element_index(structures, torch.as_tensor(self.model.atomic_numbers, device=structures.positions.device))

    def _outputs(self, structures: Structures, species: Int[Tensor, " n_atoms"]) -> dict[str, Tensor]:
        edges, _ = close_edges(structures, self.cutoff)
        owner = structures.structure_index.index_select(0, edges.target)
        # Vectors are target - source + shift here, the opposite of ours.
        shifts = -(edges.shifts.unsqueeze(1) @ structures.cells.index_select(0, owner)).squeeze(1)
        counts = structures.counts
        data = {
            "positions": structures.positions.clone(),  # MACE calls requires_grad_() of it
            "node_attrs": torch.nn.functional.one_hot(species, len(self.elements)).to(structures.positions.dtype),
            "edge_index": torch.stack([edges.source, edges.target]),
            "shifts": shifts,
            "unit_shifts": -edges.shifts,
            "cell": structures.cells.reshape(-1, 3),
            "batch": structures.structure_index,
            "ptr": torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            "head": torch.full_like(counts, self._head_index),
        }
        # In training mode the graph is kept; of forces, which would be detached otherwise, none is computed.
        for block in self.model.interactions:  # type: ignore[union-attr]
            block.avg_num_neighbors = self.mean_neighbors
        outputs: dict[str, Tensor] = self.model(data, training=True, compute_force=False)
        return outputs
