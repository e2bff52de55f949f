"""ANI models, by the package torchani: Gao et al., doi:10.1021/acs.jcim.0c00451."""

from collections.abc import Mapping
from pathlib import Path

import torch
from ase.data import chemical_symbols
from jaxtyping import Float
from torch import Tensor, nn

from sparring.atoms.structures import Structures
from sparring.potentials.base import N_ELEMENTS, Architecture
from sparring.potentials.foreign.base import close_pairs, element_index
from sparring.potentials.foreign.checkpoints import read_checkpoint
from sparring.potentials.foreign.packages import require_package, unchanged_settings
from sparring.potentials.foreign.torchani_settings import FILES, named_model, torchani_model, torchani_settings
from sparring.units import HARTREE

__all__ = ["TorchANIPotential"]


class TorchANIPotential(Architecture):
    """An ANI model, of which only the energies of atoms are used, converted from Hartree.

    A batch of structures is evaluated as if it were one molecule of atoms that are neighbours within structures only.
    Energies of free atoms are added in double precision.

    Args:
        settings: Values that rebuild the model, as :func:`torchani_settings` has them.
        model: The model with its weights; without it one is built whose weights mean nothing.

    Attributes:
        elements: Symbols of the elements that the model has networks for.
        cutoff: Cutoff of the model, in Å.

    Raises:
        ValueError: If torchani is not installed.
    """

    kind = "torchani"
    supports_vmap = False
    casts_buffers = False
    elements: tuple[str, ...]
    cutoff: float
    added_energies: Tensor

    def __init__(self, *, settings: Mapping[str, object], model: nn.Module | None = None) -> None:
        super().__init__()
        if model is None:
            require_package("torchani")
            with unchanged_settings():
                model = torchani_model(settings)
        assert isinstance(model, nn.Module)
        for module in model.modules():  # constants in single precision, as torchani makes them, fit weights of any
            for name, constant in module.named_buffers(recurse=False):
                if constant.is_floating_point() and name != "self_energies":
                    setattr(module, name, constant.float())
        self.model = model
        self.hyperparameters = {"settings": dict(settings)}
        self.cutoff = float(model.cutoff)  # type: ignore[arg-type]
        self.elements = tuple(chemical_symbols[number] for number in model.atomic_numbers.tolist())  # type: ignore[operator]
        self.register_buffer("added_energies", torch.zeros(N_ELEMENTS, dtype=torch.float64))

    @classmethod
    def from_module(cls, model: nn.Module, *, head: str | None = None) -> "TorchANIPotential":
        """The potential of a ``torchani.arch.ANI``: an ensemble, whose mean it is, or one network of it.

        Args:
            model: Module, such as ``torchani.models.ANI2x()[0]``.
            head: None; ANI models have one head.

        Raises:
            ValueError: If the module is no ANI model, or has a part that cannot be written.
        """
        if head is not None:
            raise ValueError(f"ANI models have a single head, got head={head!r}; leave it out")
        missing = [name for name in ("potentials", "energy_shifter", "atomic_numbers") if not hasattr(model, name)]
        if missing:
            raise ValueError(f"{type(model).__name__} is no ANI model: it has no {', '.join(missing)}")
        return cls(settings=torchani_settings(model), model=model)

    @classmethod
    def from_file(cls, file: Path | str, *, trust_pickle: bool = False, head: str | None = None) -> "TorchANIPotential":
        """A published model whose weights torchani has downloaded before, or the model of a pickle.

        Args:
            file: Name of a model such as "ANI2x", whose ensemble is then one member; one network of it, as "ANI2x/0" to
                "ANI2x/7"; or the path of a module that ``torch.save`` wrote.
            trust_pickle: Consent to unpickle the file.
            head: None; ANI models have one head.

        Raises:
            ValueError: If the weights are not on this computer, or the file is not trusted, cannot be read or has no
                ANI model.
        """
        name, _, number = str(file).partition("/")
        with unchanged_settings():
            if name in FILES:
                return cls.from_module(_published(name, number), head=head)
            content = read_checkpoint(file, trust_pickle=trust_pickle)
        if not isinstance(content, nn.Module):
            raise ValueError(
                f"{file} has weights without the architecture of the model (a {type(content).__name__}); load them "
                "into the module and call sparring.load_potential('torchani', module), or give the name of a "
                f"published model: {', '.join(FILES)}"
            )
        return cls.from_module(content, head=head)

    def forward(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Energy of each structure, in eV."""
        return self._energies(structures, *self._inputs(structures))

    def features(self, structures: Structures) -> Float[Tensor, "n_atoms n_features"]:
        """Values that the last layer of an atom's network takes, in columns of the element; zero in those of others.

        Raises:
            ValueError: If the model is an ensemble, which has several last layers.
        """
        return self.energy_and_features(structures)[1]

    def energy_and_features(
        self, structures: Structures
    ) -> tuple[Float[Tensor, " n_structures"], Float[Tensor, "n_atoms n_features"]]:
        """Energy of each structure in eV, and :meth:`features` of each atom.

        Raises:
            ValueError: If the model is an ensemble, which has several last layers.
        """
        networks = self.model.potentials["nnp"].neural_networks  # type: ignore[union-attr, index]
        if not hasattr(networks, "atomics"):
            raise ValueError("an ensemble of networks has several last layers; take one of it, such as 'ANI2x/0'")
        species, neighbors = self._inputs(structures)
        found: list[Tensor] = []
        hook = networks.register_forward_pre_hook(lambda _, inputs: found.append(inputs[1].squeeze(0)))
        try:
            energy = self._energies(structures, species, neighbors)
        finally:
            hook.remove()
        columns = []
        for row, network in enumerate(networks.atomics.values()):
            values = found[0]
            for layer in network.layers:
                values = network.activation(layer(values))
            columns.append(values * (species == row).to(values.dtype).unsqueeze(1))
        return energy, torch.cat(columns, dim=1)

    def get_reference_energies(self) -> Float[Tensor, " n_elements"]:
        """Energies in eV, by atomic number, that the model adds for each atom."""
        own: Tensor = self.model.energy_shifter.self_energies.double().cpu()  # type: ignore[union-attr, assignment]
        own = HARTREE * own * float(self.model.energy_shifter._enabled)  # type: ignore[union-attr, arg-type]
        numbers: Tensor = self.model.atomic_numbers.cpu()  # type: ignore[assignment]
        return self.added_energies.cpu().index_add(0, numbers, own)

    def set_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Set the energies in eV, by atomic number, that the model adds for each atom."""
        self.add_reference_energies(energies.cpu().double() - self.get_reference_energies())

    def add_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Add energies in eV, by atomic number, to those that the model adds for each atom."""
        self.added_energies += energies.to(self.added_energies)

    def _energies(self, structures: Structures, species: Tensor, neighbors: object) -> Tensor:
        from torchani.neighbors import discard_outside_cutoff

        coordinates, rows = structures.positions.unsqueeze(0), species.unsqueeze(0)
        atomic = coordinates.new_zeros(structures.n_atoms, dtype=torch.float64)
        for potential in self.model.potentials.values():  # type: ignore[operator]
            if potential._enabled:
                near = discard_outside_cutoff(neighbors, potential.cutoff)
                part = potential.compute_from_neighbors(rows, coordinates, near, 0, True)
                atomic = atomic + part.energies.squeeze(0).double()
        energies = HARTREE * atomic + self._reference_energies(species) + self.added_energies[structures.atomic_numbers]
        return energies.new_zeros(structures.n_structures).index_add(0, structures.structure_index, energies)

    def _reference_energies(self, species: Tensor) -> Tensor:
        shifter = self.model.energy_shifter
        energies: Tensor = shifter.self_energies.double()[species]  # type: ignore[union-attr, index]
        return HARTREE * energies if shifter._enabled else torch.zeros_like(energies)  # type: ignore[union-attr]

    def _inputs(self, structures: Structures) -> tuple[Tensor, object]:
        """Row of each atom's element, and the pairs of atoms as torchani has them."""
        from torchani.neighbors import Neighbors

        species = element_index(structures, self.model.atomic_numbers)  # type: ignore[arg-type]
        edges, vectors = close_pairs(structures, self.cutoff)
        lengths = vectors.square().sum(1).sqrt()
        # Vectors go from the second atom to the first here.
        return species, Neighbors(torch.stack([edges.source, edges.target]), lengths, vectors)


def _published(name: str, number: str) -> nn.Module:
    """A published model, with the weights that torchani has downloaded before: all networks, or one of them."""
    from torchani.paths import data_dir

    weights = data_dir() / "StateDicts" / FILES[name]
    if not weights.is_file():
        raise ValueError(
            f"the weights of {name} are not on this computer ({weights}); download them once by python -c "
            f'"import torchani; torchani.models.{name}()", which needs a network'
        )
    model = named_model(name)
    model.load_state_dict(read_checkpoint(weights))  # type: ignore[arg-type]
    if not number:
        return model
    if not (number.isdecimal() and int(number) < len(model)):  # type: ignore[arg-type]
        raise ValueError(f"{name} has the networks {name}/0 to {name}/{len(model) - 1}, got {name}/{number}")  # type: ignore[arg-type]
    one: nn.Module = model[int(number)]  # type: ignore[index]
    return one
