"""SevenNet, by the package sevenn: Park et al., doi:10.1021/acs.jctc.4c00190."""

from collections.abc import Mapping
from pathlib import Path

import torch
from ase.data import chemical_symbols
from jaxtyping import Float
from torch import Tensor, nn

from sparring.atoms.structures import Structures
from sparring.potentials.base import N_ELEMENTS, Architecture
from sparring.potentials.foreign.base import close_edges, element_index
from sparring.potentials.foreign.checkpoints import read_checkpoint
from sparring.potentials.foreign.packages import require_package, unchanged_settings
from sparring.potentials.foreign.sevennet_settings import sevennet_model, sevennet_settings

__all__ = ["SevenNetPotential"]

MODELS = {"default": "SEVENNET_0_11Jul2024", "7net-0": "SEVENNET_0_11Jul2024"}
MODELS |= {"7net-0_22may2024": "SEVENNET_0_22May2024", "7net-l3i5": "SEVENNET_l3i5", "7net-mf-0": "SEVENNET_MF_0"}
"""Models whose weights are in the package, with the constant of sevenn that has their path; others are downloaded."""
GRADIENTS = "force_output"
"""Layer that differentiates the energy, which is left out."""
LAST = "reduce_hidden_to_energy"
"""Last linear layer; the readout of some models is a network of another name."""


class SevenNetPotential(Architecture):
    """A SevenNet model, of which only the atomic energies are used.

    Args:
        settings: Values that rebuild the model, as :func:`sevennet_settings` has them.
        head: Name of the data set of a model that was trained on several ("modality" in SevenNet).
        model: The model with its weights; without it one is built whose weights mean nothing.

    Attributes:
        elements: Symbols of the elements in the model's table.
        cutoff: Cutoff of the model, in Å.
        head: Name of the data set; None for a model of one.

    Raises:
        ValueError: If sevenn is not installed, or the model does not have the head.
    """

    kind = "sevennet"
    supports_vmap = False
    casts_buffers = True
    elements: tuple[str, ...]
    cutoff: float

    def __init__(
        self, *, settings: Mapping[str, object], head: str | None = None, model: nn.Module | None = None
    ) -> None:
        super().__init__()
        if model is None:
            require_package("sevennet")
            with unchanged_settings():
                model = sevennet_model(settings)
        assert isinstance(model, nn.Module)
        heads: dict[str, int] = dict(model.modal_map or {})  # type: ignore[arg-type]
        if head is None and heads:
            raise ValueError(
                f"the SevenNet model was trained on several data sets, {', '.join(heads)}; choose one by head"
            )
        if head is not None and head not in heads:
            known = f"it has {', '.join(heads)}" if heads else "it has a single one; leave head out"
            raise ValueError(f"the SevenNet model has no data set {head!r}; {known}")
        self.model, self.head = model, head
        self.hyperparameters = {"settings": dict(settings), "head": head}
        self.cutoff = float(model.cutoff)  # type: ignore[arg-type]
        rows: dict[int, int] = model.type_map  # type: ignore[assignment]
        numbers = sorted(rows, key=rows.__getitem__)
        self.elements = tuple(chemical_symbols[number] for number in numbers)
        self._head_index = 0 if head is None else heads[head]
        basis: nn.Module = model.edge_embedding.basis_function  # type: ignore[union-attr, assignment]
        if not isinstance(basis.coeffs, nn.Parameter):  # else it would stay on the CPU and in its precision
            basis.coeffs = nn.Parameter(basis.coeffs, requires_grad=False)  # type: ignore[arg-type]
        self.register_buffer("_numbers", torch.tensor(numbers), persistent=False)
        self.register_buffer("added_energies", torch.zeros(N_ELEMENTS, dtype=basis.coeffs.dtype))

    @classmethod
    def from_module(cls, model: nn.Module, *, head: str | None = None) -> "SevenNetPotential":
        """The potential of a module that sevenn built, with its configuration in an attribute ``config``.

        Args:
            model: Module: ``model, model.config = sevenn.util.model_from_checkpoint(file)``.
            head: Name of the data set of a model that was trained on several.

        Raises:
            ValueError: If the module is no SevenNet, was changed for a dynamics code, or has no configuration.
        """
        missing = [name for name in ("edge_embedding", "type_map", "rescale_atomic_energy") if not hasattr(model, name)]
        if missing:
            raise ValueError(f"{type(model).__name__} is no SevenNet: it has no {', '.join(missing)}")
        config = getattr(model, "config", None)
        if not isinstance(config, Mapping):
            raise ValueError(
                "a SevenNet module does not know its configuration, without which it cannot be saved; give the "
                "checkpoint, or write model, model.config = sevenn.util.model_from_checkpoint(file)"
            )
        return cls(settings=sevennet_settings(config), head=head, model=model)

    @classmethod
    def from_file(
        cls, file: Path | str, *, trust_pickle: bool = False, head: str | None = None
    ) -> "SevenNetPotential":
        """A model of the package, or the model of a checkpoint, which is a pickle.

        Args:
            file: "default" or another name of a model in the package, or the path of a checkpoint that sevenn wrote.
            trust_pickle: Consent to unpickle the checkpoint.
            head: Name of the data set of a model that was trained on several.

        Raises:
            ValueError: If the file is not trusted, cannot be read or has no SevenNet.
        """
        with unchanged_settings():
            import sevenn._const
            from sevenn.util import model_from_checkpoint

            path = str(file)
            if path in MODELS:
                path = getattr(sevenn._const, MODELS[path])
            else:
                content = read_checkpoint(file, trust_pickle=trust_pickle)
                if not (isinstance(content, dict) and {"config", "model_state_dict"} <= set(content)):
                    raise ValueError(
                        f"{file} has no SevenNet model with its configuration (a {type(content).__name__}); give the "
                        f"checkpoint that training wrote. Models of the package are {', '.join(MODELS)}"
                    )
            try:
                model, config = model_from_checkpoint(path)
            except (RuntimeError, KeyError, AssertionError, OSError, TypeError) as error:
                raise ValueError(f"{file} has no SevenNet of this version of sevenn: {error!s:.300}") from error
        return cls(settings=sevennet_settings(config), head=head, model=model)

    def forward(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Energy of each structure, in eV."""
        atomic: Tensor = self._outputs(structures)["atomic_energy"]
        energies = atomic.squeeze(1).double() + self.added_energies.double()[structures.atomic_numbers]  # type: ignore[operator, index]
        return energies.new_zeros(structures.n_structures).index_add(0, structures.structure_index, energies)

    def features(self, structures: Structures) -> Float[Tensor, "n_atoms n_features"]:
        """Features of atoms that the last linear layer takes.

        Raises:
            ValueError: If the readout of the model has no such layer.
        """
        if not hasattr(self.model, LAST):
            raise ValueError("the readout of this SevenNet is a network, so that it has no linear last layer")
        return self._outputs(structures, last=LAST)["x"]

    def add_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Add energies in eV, by atomic number."""
        self.added_energies += energies.to(self.added_energies)

    def _outputs(self, structures: Structures, last: str = GRADIENTS) -> dict[str, Tensor]:
        """Values that the layers before the last one write."""
        edges, vectors = close_edges(structures, self.cutoff)
        data = {
            # Vectors go from the first atom to the second here, and messages to the first.
            "edge_index": torch.stack([edges.target, edges.source]),
            "edge_vec": vectors,
            "x": element_index(structures, self._numbers),  # type: ignore[arg-type]
            "batch": structures.structure_index,
            "modal_type": torch.full_like(structures.counts, self._head_index),
        }
        for name, layer in self.model.named_children():
            if name == last:
                break
            if name != "reduce_total_enegy":  # waits for the host
                data = layer(data)
            for one_hot in ("x", "node_attr", "modal_attr"):
                if one_hot in data and data[one_hot].is_floating_point():
                    data[one_hot] = data[one_hot].to(vectors.dtype)
        return data
