"""CHGNet, by the package of that name: Deng et al., doi:10.1038/s42256-023-00716-3."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import torch
from ase.data import chemical_symbols
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.atoms.structures import Edges, Structures
from sparring.potentials.base import N_ELEMENTS, Architecture
from sparring.potentials.foreign.base import close_edges, copy_weights, drawing_from, element_index
from sparring.potentials.foreign.checkpoints import read_checkpoint
from sparring.potentials.foreign.packages import require_package, unchanged_settings

__all__ = ["CHGNetPotential"]

MODELS = ("0.3.0", "0.2.0", "r2scan")
"""Models whose weights are in the package."""
NOT_TRAINED = ("Po", "At", "Rn", "Fr", "Ra")
"""Elements of the table that are not in CHGNet's training data, so that their parameters are random."""


class CHGNetPotential(Architecture):
    """A CHGNet model, of which only the energy is used.

    Its own conversion of structures rounds to single precision and takes one structure after another, so the graph of a
    batch is built here. An atom without neighbours has its energy in the table of the composition model and what the
    network adds to it; CHGNet itself refuses such structures.

    Args:
        settings: Arguments that rebuild the model, ``CHGNet.model_args``.
        model: The model with its weights; without it one is built whose weights mean nothing.

    Attributes:
        elements: Symbols of the elements in CHGNet's training data.
        cutoff: Cutoff of the atom graph, in Å.

    Raises:
        ValueError: If chgnet is not installed.
    """

    kind = "chgnet"
    supports_vmap = False
    casts_buffers = True
    elements: tuple[str, ...]
    cutoff: float

    def __init__(self, *, settings: Mapping[str, object], model: nn.Module | None = None) -> None:
        super().__init__()
        if model is None:
            require_package("chgnet")
            with unchanged_settings():
                from chgnet.model.model import CHGNet

                model = CHGNet(**settings)
        assert isinstance(model, nn.Module)
        self.model = model
        reference = model.composition_model
        if reference is not None and "weight" in reference.fc._parameters:  # type: ignore[union-attr]
            # Energies of elements are fitted by least squares, not trained.
            table = reference.fc._parameters.pop("weight")  # type: ignore[union-attr]
            reference.fc.register_buffer("weight", table.detach())  # type: ignore[union-attr]
        self.hyperparameters = {"settings": dict(settings)}
        converter = model.graph_converter
        self.cutoff = float(converter.atom_graph_cutoff)  # type: ignore[union-attr, arg-type]
        self.bond_cutoff = float(converter.bond_graph_cutoff)  # type: ignore[union-attr, arg-type]
        n_elements: int = model.atom_embedding.embedding.num_embeddings  # type: ignore[union-attr, assignment]
        self.elements = tuple(one for one in chemical_symbols[1 : n_elements + 1] if one not in NOT_TRAINED)
        self.register_buffer("_numbers", torch.arange(1, n_elements + 1), persistent=False)

    @classmethod
    def from_module(cls, model: nn.Module, *, head: str | None = None) -> "CHGNetPotential":
        """The potential of a ``chgnet.model.CHGNet``.

        Args:
            model: Module.
            head: None; CHGNet has one head.

        Raises:
            ValueError: If the module is no CHGNet, or cannot be written as JSON.
        """
        if head is not None:
            raise ValueError(f"CHGNet has a single head, got head={head!r}; leave it out")
        parts = ("graph_converter", "atom_embedding", "composition_model", "model_args")
        missing = [name for name in parts if not hasattr(model, name)]
        if missing:
            raise ValueError(f"{type(model).__name__} is no CHGNet: it has no {', '.join(missing)}")
        try:
            settings = json.loads(json.dumps(model.model_args))
        except TypeError as error:
            raise ValueError(f"CHGNet was built with modules as arguments, which cannot be saved: {error}") from error
        if settings.get("composition_model") is not None:
            settings["composition_model"] = "MPtrj"  # its energies are weights, whatever they were fitted to
        settings = {"mlp_out_bias": False, **settings, "version": None}
        return cls(settings=settings, model=model)

    @classmethod
    def from_file(cls, file: Path | str, *, trust_pickle: bool = False, head: str | None = None) -> "CHGNetPotential":
        """A model of the package, or the model of a checkpoint.

        Args:
            file: "default" or another name of a model in the package, or the path of a checkpoint: a file that CHGNet's
                trainer wrote, or a state dictionary of the default size.
            trust_pickle: Consent to unpickle the checkpoint.
            head: None; CHGNet has one head.

        Raises:
            ValueError: If the file is not trusted, cannot be read or has no CHGNet.
        """
        name = "0.3.0" if str(file) == "default" else str(file)
        with unchanged_settings():
            from chgnet.model.model import CHGNet

            if name in MODELS:
                return cls.from_module(CHGNet.load(model_name=name, use_device="cpu", verbose=False), head=head)
            content = read_checkpoint(file, trust_pickle=trust_pickle)
            if isinstance(content, nn.Module):
                return cls.from_module(content, head=head)
            saved = content.get("model", content) if isinstance(content, dict) else None
            try:
                if isinstance(saved, dict) and {"model_args", "state_dict"} <= set(saved):
                    return cls.from_module(CHGNet.from_dict(saved), head=head)
                model = CHGNet()
                model.load_state_dict(saved)
            except (RuntimeError, TypeError, KeyError, AttributeError) as error:
                raise ValueError(
                    f"{file} has no CHGNet of this version: {error!s:.300}; models of the package are "
                    f"{', '.join(('default', *MODELS))}"
                ) from error
        return cls.from_module(model, head=head)

    def forward(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Energy of each structure, in eV: CHGNet's own is the energy of an atom."""
        species = element_index(structures, self._numbers)  # type: ignore[arg-type]
        return self._total(structures, species, self._outputs(structures, species)["e"])

    def _total(self, structures: Structures, species: Tensor, energy: Tensor) -> Tensor:
        if self.model.is_intensive:
            energy = energy * structures.counts
        reference = self.model.composition_model
        if reference is None:
            return energy.double()
        table: Tensor = reference.fc.weight[0]  # type: ignore[union-attr, index]
        atoms = table[species].double()
        return energy.double().index_add(0, structures.structure_index, atoms)

    def features(self, structures: Structures) -> Float[Tensor, "n_atoms n_features"]:
        """Features of atoms after the last convolution, which the readout of the energy takes.

        Raises:
            ValueError: If the readout of the model takes features of structures instead.
        """
        return self.energy_and_features(structures)[1]

    def energy_and_features(
        self, structures: Structures
    ) -> tuple[Float[Tensor, " n_structures"], Float[Tensor, "n_atoms n_features"]]:
        """Energy of each structure in eV, and features of atoms after the last convolution, which its readout takes.

        Raises:
            ValueError: If the readout of the model takes features of structures instead.
        """
        if not self.model.mlp_first:
            raise ValueError("this CHGNet sums over atoms before its readout, so that it has no features of atoms")
        found: list[Tensor] = []
        readout: nn.Module = self.model.mlp  # type: ignore[assignment]
        hook = readout.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
        species = element_index(structures, self._numbers)  # type: ignore[arg-type]
        try:
            energy = self._outputs(structures, species)["e"]
        finally:
            hook.remove()
        return self._total(structures, species, energy), found[0]

    def initialise(self, generator: torch.Generator) -> None:
        """Draw new weights, as CHGNet does for a new model."""
        settings: dict[str, object] = self.hyperparameters["settings"]  # type: ignore[assignment]
        with unchanged_settings(), drawing_from(generator):
            new = CHGNetPotential(settings=settings)
        copy_weights(new, self)

    def set_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Set energies in eV, by atomic number, in the composition model, if there is one."""
        if self.model.composition_model is not None:
            table: Tensor = self.model.composition_model.fc.weight[0]  # type: ignore[union-attr, index]
            table.copy_(energies[1 : len(table) + 1])

    def get_reference_energies(self) -> Float[Tensor, " n_elements"] | None:
        """Energies in eV, by atomic number, in the composition model; None without one."""
        if self.model.composition_model is None:
            return None
        table: Tensor = self.model.composition_model.fc.weight[0]  # type: ignore[union-attr, index]
        energies = torch.zeros(N_ELEMENTS, dtype=torch.float64)
        energies[1 : len(table) + 1] = table
        return energies

    def add_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Add energies in eV, by atomic number, to those of the composition model."""
        if self.model.composition_model is None:
            raise ValueError("this CHGNet has no composition model, so that energies of elements cannot be added")
        table: Tensor = self.model.composition_model.fc.weight[0]  # type: ignore[union-attr, index]
        table += energies[1 : len(table) + 1].to(table)

    def _outputs(self, structures: Structures, species: Tensor) -> dict[str, Tensor]:
        edges, vectors = close_edges(structures, self.cutoff)
        pairs = _undirected(edges)
        lengths = vectors.square().sum(1).sqrt()
        centres = _angles(edges.target, lengths, self.bond_cutoff)
        directions = -vectors / lengths.unsqueeze(1)  # from the neighbour to the central atom
        bonds, network = lengths.index_select(0, pairs.representative), self.model
        angle_bases, bond_graph = lengths.new_zeros(0), edges.target.new_zeros(0)
        if len(centres.first):
            rows = (directions.index_select(0, rows) for rows in centres)
            angle_bases = network.angle_basis_expansion(*rows)  # type: ignore[operator]
            either = (pairs.pair.index_select(0, rows) for rows in centres)
            bond_graph = torch.stack([edges.target.index_select(0, centres.first), *either], dim=1)
        graph = SimpleNamespace(
            atomic_numbers=species + 1,
            bond_bases_ag=network.bond_basis_expansion.rbf_expansion_ag(bonds),  # type: ignore[union-attr, operator]
            bond_bases_bg=network.bond_basis_expansion.rbf_expansion_bg(bonds),  # type: ignore[union-attr, operator]
            angle_bases=angle_bases,
            batched_atom_graph=torch.stack([edges.target, edges.source], dim=1),
            batched_bond_graph=bond_graph,
            atom_owners=structures.structure_index,
            directed2undirected=pairs.pair,
        )
        outputs: dict[str, Tensor] = network._compute(graph)  # type: ignore[operator]
        return outputs


class Undirected(NamedTuple):
    """Pairs of atoms, each of which two directed edges stand for.

    Attributes:
        pair: Pair of each directed edge.
        representative: One directed edge of each pair.
    """

    pair: Int[Tensor, " n_edges"]
    representative: Int[Tensor, " n_pairs"]


class Angles(NamedTuple):
    """Ordered pairs of different edges that share their central atom.

    Attributes:
        first: Index of the first edge.
        second: Index of the second edge.
    """

    first: Int[Tensor, " n_angles"]
    second: Int[Tensor, " n_angles"]


def _undirected(edges: Edges) -> Undirected:
    shifts = edges.shifts.round().long()
    forward = torch.cat([edges.target.unsqueeze(1), edges.source.unsqueeze(1), shifts], dim=1)
    backward = torch.cat([edges.source.unsqueeze(1), edges.target.unsqueeze(1), -shifts], dim=1)
    # The first entry in which the two differ says which is the smaller; an edge never equals its reverse.
    difference = (forward - backward).sign()
    weights = difference.new_tensor([16, 8, 4, 2, 1])
    smaller = ((difference * weights).sum(1) < 0).unsqueeze(1)
    index: Tensor
    _, index = torch.unique(torch.where(smaller, forward, backward), dim=0, return_inverse=True)
    n_pairs = int(index.max()) + 1 if len(index) else 0
    numbers = torch.arange(len(index), device=index.device)
    representative = numbers.new_zeros(n_pairs).scatter_reduce(0, index, numbers, "amin", include_self=False)
    return Undirected(index, representative)


def _angles(target: Int[Tensor, " n_edges"], lengths: Float[Tensor, " n_edges"], cutoff: float) -> Angles:
    short = (lengths.detach() < cutoff).nonzero().squeeze(1)
    centre = target.index_select(0, short)
    # Edges are sorted by their target, so those of one atom stand together.
    _, group, counts = torch.unique_consecutive(centre, return_inverse=True, return_counts=True)
    size, first = counts[group], (counts.cumsum(0) - counts)[group]
    own = torch.repeat_interleave(torch.arange(len(short), device=short.device), size - 1)
    begin = (size - 1).cumsum(0) - (size - 1)
    local = torch.arange(len(own), device=short.device) - begin[own]
    other = first[own] + local + (local >= (own - first[own])).long()
    return Angles(short[own], short[other])
