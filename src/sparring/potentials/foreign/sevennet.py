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
from sparring.potentials.foreign.checkpoints import copied_checkpoint
from sparring.potentials.foreign.packages import require_package, unchanged_settings
from sparring.potentials.foreign.sevennet_settings import sevennet_model, sevennet_settings

__all__ = ["SevenNetPotential"]

MODELS = {"default": "SEVENNET_0_11Jul2024", "7net-0": "SEVENNET_0_11Jul2024"}
MODELS |= {"7net-0_22may2024": "SEVENNET_0_22May2024", "7net-l3i5": "SEVENNET_l3i5", "7net-mf-0": "SEVENNET_MF_0"}
"""Models whose weights are in the package, with the constant of sevenn that has their path; others are downloaded."""
UNUSED = ("reduce_total_enegy", "force_output")
"""Layers that add up energies and differentiate them."""
ONE_HOT = ("onehot_idx_to_onehot", "one_hot_modality")
CONSTANTS = {"shift", "scale", "denominator"}
"""Normalisations, which are no weights."""
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
    added_energies: Tensor

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
                f"the SevenNet model was trained on several data sets, {', '.join(sorted(heads))}; choose one by head"
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
        _fix_constants(model)
        self.register_buffer("_numbers", torch.tensor(numbers), persistent=False)
        self.register_buffer("added_energies", torch.zeros(N_ELEMENTS, dtype=torch.float64))

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
    def from_file(cls, file: Path | str, *, trust_pickle: bool = False, head: str | None = None) -> "SevenNetPotential":
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

            try:
                if str(file) in MODELS:
                    model, config = model_from_checkpoint(getattr(sevenn._const, MODELS[str(file)]))
                else:
                    with copied_checkpoint(file, trust_pickle=trust_pickle) as (content, copied):
                        if not (isinstance(content, dict) and {"config", "model_state_dict"} <= set(content)):
                            raise ValueError(
                                f"{file} has no SevenNet model with its configuration (a {type(content).__name__}); "
                                "give the checkpoint that training wrote. Models of the package are "
                                + ", ".join(MODELS)
                            )
                        model, config = model_from_checkpoint(str(copied))
            except (RuntimeError, KeyError, AssertionError, OSError, TypeError) as error:
                raise ValueError(f"{file} has no SevenNet of this version of sevenn: {error!s:.300}") from error
        return cls(settings=sevennet_settings(config), head=head, model=model)

    def forward(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Energy of each structure, in eV."""
        return self._outputs(structures)[0]

    def features(self, structures: Structures) -> Float[Tensor, "n_atoms n_features"]:
        """Features of atoms that the last linear layer takes.

        Raises:
            ValueError: If the readout of the model has no such layer.
        """
        return self.energy_and_features(structures)[1]

    def energy_and_features(
        self, structures: Structures
    ) -> tuple[Float[Tensor, " n_structures"], Float[Tensor, "n_atoms n_features"]]:
        """Energy of each structure in eV, and the features of atoms that the last linear layer takes.

        Raises:
            ValueError: If the readout of the model has no such layer.
        """
        energy, features = self._outputs(structures)
        if features is None:
            raise ValueError("the readout of this SevenNet is a network, so that it has no linear last layer")
        return energy, features

    def get_reference_energies(self) -> Float[Tensor, " n_elements"]:
        """Energies in eV, by atomic number, that the model adds for each atom."""
        energies = self.added_energies.detach().double().cpu()
        shift: Tensor = self.model.rescale_atomic_energy.shift.detach().double().cpu()  # type: ignore[union-attr, operator]
        return energies.index_add(0, self._numbers.cpu(), self._of_head(shift).expand(len(self._numbers)))  # type: ignore[arg-type]

    def set_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Set the energies in eV, by atomic number, that the model adds for each atom."""
        self.add_reference_energies(energies.cpu().double() - self.get_reference_energies())

    def add_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Add energies in eV, by atomic number, to those that the model adds for each atom."""
        self.added_energies += energies.to(self.added_energies)

    def _of_head(self, shift: Tensor) -> Tensor:
        return shift[self._head_index] if shift.dim() == 2 else shift

    def _outputs(self, structures: Structures) -> tuple[Tensor, Tensor | None]:
        edges, vectors = close_edges(structures, self.cutoff)
        data = {
            # Vectors go from the first atom to the second here, and messages to the first.
            "edge_index": torch.stack([edges.target, edges.source]),
            "edge_vec": vectors,
            "x": element_index(structures, self._numbers),  # type: ignore[arg-type]
            "batch": structures.structure_index,
            "modal_type": torch.full_like(structures.counts, self._head_index),
        }
        features = None
        for name, layer in self.model.named_children():
            if name in UNUSED:
                continue
            if name == LAST:
                features = data["x"]
            data = layer(data)
            if name in ONE_HOT:  # in single precision, whatever the model has
                data |= {
                    key: data[key].to(vectors.dtype) for key in ("x", "node_attr", "modal_attr") if _floats(data, key)
                }
        energies = data["atomic_energy"].squeeze(1).double()
        energies = energies + self.added_energies.double()[structures.atomic_numbers]
        total = energies.new_zeros(structures.n_structures).index_add(0, structures.structure_index, energies)
        return total, features


def _floats(data: Mapping[str, Tensor], key: str) -> bool:
    return key in data and data[key].is_floating_point()


def _fix_constants(model: nn.Module) -> None:
    """Make buffers of constants: parameters would be trained, and plain tensors stay on their device."""
    basis: nn.Module = model.edge_embedding.basis_function  # type: ignore[union-attr, assignment]
    if not isinstance(basis.coeffs, nn.Parameter):
        coefficients = basis.__dict__.pop("coeffs")
        basis.register_buffer("coeffs", coefficients)
    for module in model.modules():
        for name in CONSTANTS & set(module._parameters):
            constant = module._parameters.pop(name)
            assert constant is not None
            module.register_buffer(name, constant.detach())
