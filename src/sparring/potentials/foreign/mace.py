"""MACE, by the package mace-torch: Batatia et al., doi:10.48550/arXiv.2206.07697."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from ase.data import chemical_symbols
from jaxtyping import Float
from torch import Tensor, nn

from sparring.atoms.structures import Structures
from sparring.potentials.foreign.base import close_edges, element_index
from sparring.potentials.foreign.checkpoints import read_checkpoint

__all__ = ["MACEPotential"]

SAFE_LOADING = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
"""Environment variable that ``import mace`` sets: it switches off the safe loading of PyTorch for the process."""


class MACEPotential(nn.Module):
    """A MACE model, of which only the energy is used.

    Args:
        model: The module that mace-torch trains, such as ``ScaleShiftMACE``; not one that was exported by TorchScript.
        head: Name of the head of a model with several.

    Attributes:
        elements: Symbols of the elements in the model's table.
        cutoff: Cutoff of the model, in Å.
        head: Name of the head.

    Raises:
        ValueError: If the module is no MACE model with energies, or does not have the head.
    """

    extra = "mace"
    package = "mace"

    def __init__(self, model: nn.Module, *, head: str | None = None) -> None:
        super().__init__()
        if isinstance(model, torch.jit.ScriptModule):
            raise ValueError("the MACE model is compiled by TorchScript; give the .model file that training wrote")
        missing = [name for name in ("atomic_numbers", "r_max", "atomic_energies_fn") if not hasattr(model, name)]
        if missing:
            raise ValueError(
                f"{type(model).__name__} is no MACE model with energies: it has no {', '.join(missing)}; give the "
                ".model file that mace_run_train wrote"
            )
        if hasattr(model, "joint_embedding"):
            raise ValueError("the MACE model needs charges or other inputs beside the structure; this is not supported")
        heads = list(getattr(model, "heads", None) or ["Default"])
        if head is None and len(heads) > 1:
            raise ValueError(f"the MACE model has several heads, {', '.join(heads)}; choose one by head")
        if head is not None and head not in heads:
            raise ValueError(f"the MACE model has no head {head!r}; it has {', '.join(heads)}")
        self.model = model
        self.head = heads[0] if head is None else head
        self.cutoff = float(model.r_max)  # type: ignore[arg-type]
        numbers = torch.as_tensor(model.atomic_numbers).tolist()
        self.elements = tuple(chemical_symbols[number] for number in numbers)
        self._head_index = heads.index(self.head)

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
        with safe_loading():
            content = read_checkpoint(file, trust_pickle=trust_pickle)
        if not isinstance(content, nn.Module):
            raise ValueError(
                f"{file} has weights without the hyperparameters of the model (a {type(content).__name__}); give the "
                ".model file, or load the weights into the module and call sparring.load_potential('mace', module)"
            )
        return cls(content, head=head)

    def forward(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Energy of each structure, in eV."""
        energy: Tensor = self._outputs(structures)["energy"]
        return energy.double()

    def features(self, structures: Structures) -> Float[Tensor, "n_atoms n_features"]:
        """Node features of all interactions, which the readouts use."""
        return self._outputs(structures)["node_feats"]

    def _outputs(self, structures: Structures) -> dict[str, Tensor]:
        edges, _ = close_edges(structures, self.cutoff)
        numbers = torch.as_tensor(self.model.atomic_numbers, device=structures.positions.device)
        species = element_index(structures, numbers)
        owner = structures.structure_index.index_select(0, edges.target)
        # Vectors are target - source + shift here, the opposite of ours.
        shifts = -(edges.shifts.unsqueeze(1) @ structures.cells.index_select(0, owner)).squeeze(1)
        counts = structures.counts
        data = {
            "positions": structures.positions.clone(),  # MACE calls requires_grad_() of it
            "node_attrs": torch.nn.functional.one_hot(species, len(numbers)).to(structures.positions.dtype),
            "edge_index": torch.stack([edges.source, edges.target]),
            "shifts": shifts,
            "unit_shifts": -edges.shifts,
            "cell": structures.cells.reshape(-1, 3),
            "batch": structures.structure_index,
            "ptr": torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            "head": torch.full_like(counts, self._head_index),
        }
        # In training mode the graph is kept; of forces, which would be detached otherwise, none is computed.
        outputs: dict[str, Tensor] = self.model(data, training=True, compute_force=False)
        return outputs


@contextmanager
def safe_loading() -> Iterator[None]:
    """Keep the safe loading of PyTorch as it was, whatever is imported meanwhile."""
    before = os.environ.get(SAFE_LOADING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", f".*{SAFE_LOADING}", UserWarning)  # by e3nn, of its own tables
            yield
    finally:
        os.environ.pop(SAFE_LOADING, None)
        if before is not None:
            os.environ[SAFE_LOADING] = before
