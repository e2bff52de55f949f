r"""Networks with a frozen random prior, whose members disagree where there are no data.

.. math:: E(x) = f_\theta(x) + \beta \, p(x)

with a trained network :math:`f_\theta` and a network :math:`p` of the same architecture whose random weights are never
trained, of its own for each member: Osband, Aslanides and Cassirer, arXiv:1806.03335. Where there are data, training
cancels the prior; elsewhere nothing does, and members differ by their priors.

Departures from the paper: :math:`\beta` is such that the forces of the prior on the training data have the size of the
labels' times a scale, and the prior of an isolated atom is zero, so that elements keep their reference energies.
"""

import copy
from collections.abc import Mapping

import torch
from ase import Atoms
from ase.data import atomic_numbers
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from sparring.atoms.dataset import Dataset
from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.potentials.base import N_ELEMENTS, Architecture, Backbone, PartialLoss, StackedModel
from sparring.potentials.nested import built, described

__all__ = ["WithPrior"]

N_SAMPLE = 32
"""Number of training structures on which the forces of a prior are measured."""


class WithPrior(Architecture):
    """A network to which a frozen random one of the same architecture is added (:mod:`sparring.potentials.prior`).

    Args:
        network: Kind and hyperparameters of the network, as JSON has them.
        scale: Size of the forces of the prior on the training data, in units of that of the labels.
        spread: Root mean square of the forces of the training data in eV/Å; None for that of the data.
        module: The network itself; without it one is built.

    Raises:
        ValueError: If the scale is not positive, or the network shares weights with other members.
    """

    kind = "with_prior"
    draws_constants = True
    amplitude: Tensor

    def __init__(
        self,
        *,
        network: Mapping[str, object],
        scale: float = 1.0,
        spread: float | None = None,
        module: Architecture | None = None,
    ) -> None:
        super().__init__()
        if not 0 < scale < float("inf"):
            raise ValueError(f"the scale of a prior must be a positive number, got {scale}; leave the prior out")
        self.network = built(network, "network") if module is None else module
        if self.network.shared is not None:
            raise ValueError(
                f"a prior is added to networks of their own, and members of kind {self.network.kind!r} share their "
                f"{self.network.shared}; give the architecture of a whole network"
            )
        self.hyperparameters = {"network": dict(network), "scale": scale, "spread": spread}
        self.cutoff, self.elements = self.network.cutoff, self.network.elements
        self.edge_width, self.uses_charge = self.network.edge_width, self.network.uses_charge
        self.supports_vmap, self.casts_buffers = self.network.supports_vmap, self.network.casts_buffers
        self.prior = _constant(self.network)
        self.register_buffer("amplitude", torch.tensor(scale, dtype=torch.float64))
        self._sample: Structures | None = None

    @classmethod
    def of(cls, network: nn.Module, scale: float = 1.0) -> "WithPrior":
        """A network with a prior.

        Args:
            network: Architecture of the network and of its prior; its weights are drawn anew.
            scale: Size of the forces of the prior on the training data, in units of that of the labels.

        Raises:
            ValueError: If the network is no architecture, or a prior cannot be added to it.
        """
        description = described(network)
        if description is None or not isinstance(network, Architecture):
            raise ValueError(f"a prior is added to a sparring.Architecture, got {type(network).__name__}")
        return cls(network=description, scale=scale, module=copy.deepcopy(network))

    def for_data(self, dataset: Dataset) -> "WithPrior":
        """The network for a data set, with a prior of the size of its forces."""
        network = self.network.for_data(dataset)
        forces = dataset.forces[dataset.atoms_with_forces]
        known = self.hyperparameters["spread"]
        spread = known or (max(float(forces.square().mean().sqrt()), 1e-3) if len(forces) else 1.0)
        description = described(network)
        assert description is not None
        assert isinstance(spread, float)
        made = WithPrior(network=description, scale=self._scale, spread=spread, module=network)
        step = -(-len(dataset) // N_SAMPLE)
        made._sample = dataset.structures.take(range(0, len(dataset), step))
        return made

    @property
    def _scale(self) -> float:
        return float(self.hyperparameters["scale"])  # type: ignore[arg-type]

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights of the network, as without a prior, and then those of the prior."""
        self.network.initialise(generator)
        drawn = copy.deepcopy(self.network)
        drawn.initialise(generator)
        _ground(drawn)
        self.prior.load_state_dict(drawn.state_dict())
        spread, size = self.hyperparameters["spread"], self._size_of_prior(drawn)
        if isinstance(spread, float) and size > 0:
            self.amplitude = torch.full_like(self.amplitude, self._scale * spread / size)
        self._sample = None  # only here; a saved committee has the amplitude

    def _size_of_prior(self, drawn: Architecture) -> float:
        """Root mean square of the forces of a prior on the training data, in eV/Å; zero without data."""
        if self._sample is None:
            return 0.0
        weight = next(drawn.parameters())
        sample = self._sample.to(dtype=weight.dtype, device=weight.device)
        sample = sample if self.cutoff is None else with_edges(sample, self.cutoff)
        sample = sample.with_positions(sample.positions.detach().requires_grad_())
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(drawn(sample).sum(), sample.positions)
        return float(gradient.square().mean().sqrt())

    def forward(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Energy of each structure, in eV."""
        energies: Tensor = self.network(structures)
        return energies + self._prior_energy(structures)

    def energy_and_features(
        self, structures: Structures
    ) -> tuple[Float[Tensor, " n_structures"], Float[Tensor, "n_atoms n_features"]]:
        """Energy of each structure in eV, and the features of the trained network.

        Raises:
            ValueError: If the network has no features.
        """
        if not isinstance(self.network, Backbone):
            raise ValueError(f"{self.network.kind} has no features of atoms; take schnet, painn or ace")
        energy, features = self.network.energy_and_features(structures)
        return energy + self._prior_energy(structures), features

    def _prior_energy(self, structures: Structures) -> Tensor:
        # Buffers keep their precision, and the prior is evaluated in that of the trained weights.
        weights = dict(self.prior.named_buffers())
        for name, weight in self.network.named_parameters():
            weights[name] = weights[name].to(weight.dtype)
        energies: Tensor = functional_call(self.prior, weights, (structures,))
        return self.amplitude * energies

    def stacked_model(self, weights: Mapping[str, Tensor]) -> "StackedWithPrior | None":
        """Trained networks and priors of all members in one pass, where the architecture has such an evaluation."""
        own, priors = _parts(self.network, weights)
        model, of_priors = self.network.stacked_model(own), self.network.stacked_model(priors)
        if model is None or of_priors is None:
            return None
        return StackedWithPrior(self.network, weights, model, of_priors)

    def set_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Set the energy of each element, in eV, by atomic number."""
        self.network.set_reference_energies(energies)

    def get_reference_energies(self) -> Float[Tensor, " n_elements"] | None:
        """Energies of the elements, in eV, by atomic number."""
        return self.network.get_reference_energies()


class StackedWithPrior:
    """All members with their priors: to evaluate, as a committee of twice as many; to train, with known priors.

    Args:
        network: Architecture of networks and priors.
        weights: Parameters and buffers of :class:`WithPrior`, each with a leading axis of members.
        model: Trained networks.
        priors: Priors.
    """

    def __init__(
        self, network: Architecture, weights: Mapping[str, Tensor], model: StackedModel, priors: StackedModel
    ) -> None:
        self._network, self._weights = network, weights
        self._model, self._priors = model, priors
        self._both: StackedModel | None = None  # stacked when first evaluated: training does not need it

    def with_weights(self, weights: Mapping[str, Tensor]) -> "StackedWithPrior":
        """The same architecture with other weights."""
        own, priors = _parts(self._network, weights)
        return StackedWithPrior(
            self._network, weights, self._model.with_weights(own), self._priors.with_weights(priors)
        )

    def __call__(
        self,
        structures: Structures,
        positions: Float[Tensor, "n_members n_atoms 3"],
        create_graph: bool,
        cells: Float[Tensor, "n_members n_structures 3 3"] | None = None,
    ) -> Float[Tensor, "n_members n_structures"]:
        """Energies of all members, see :class:`sparring.potentials.base.StackedModel`."""
        if self._both is None:
            own, priors = _parts(self._network, self._weights)
            both = {name: torch.cat([own[name], priors[name]]) for name in own}
            self._both = self._network.stacked_model(both)
        assert self._both is not None
        twice = None if cells is None else torch.cat([cells, cells])
        energy, prior = self._both(structures, torch.cat([positions, positions]), create_graph, twice).chunk(2)
        return energy + self._weights["amplitude"].unsqueeze(-1) * prior

    def accumulate_gradient(
        self,
        structures: Structures,
        positions: Float[Tensor, "n_members n_atoms 3"],
        loss: PartialLoss,
        gradient: Mapping[str, Tensor],
        cells: Float[Tensor, "n_members n_structures 3 3"] | None = None,
    ) -> Float[Tensor, "n_members n_structures"]:
        """Losses and their derivatives in the weights, see :class:`sparring.potentials.base.StackedModel`."""
        amplitude = self._weights["amplitude"]
        with torch.enable_grad():
            inputs = [values.detach().requires_grad_() for values in (positions, cells) if values is not None]
            energies = self._priors(structures, inputs[0], False, *inputs[1:])
            of_priors = torch.autograd.grad(energies.sum(), inputs, materialize_grads=True)
        energies = amplitude.unsqueeze(-1) * energies.detach()
        scaled = [amplitude.to(values).reshape(-1, *[1] * (values.dim() - 1)) * values for values in of_priors]

        def with_prior(members: slice, rows: slice, atoms: slice, energy: Tensor, *slopes: Tensor) -> Tensor:
            of_part = zip(slopes, scaled, (atoms, rows), strict=False)
            total = [slope + prior[members, part] for slope, prior, part in of_part]
            return loss(members, rows, atoms, energy + energies[members, rows], *total)

        own = {name: gradient[f"network.{name}"] for name, _ in self._network.named_parameters()}
        # Models of other packages that know no cells train without stresses.
        further = () if cells is None else (cells,)
        return self._model.accumulate_gradient(structures, positions, with_prior, own, *further)


def _parts(network: Architecture, weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights of the trained networks, and of the priors in the same precision."""
    own, priors = (
        {name.removeprefix(f"{part}."): w for name, w in weights.items() if name.startswith(f"{part}.")}
        for part in ("network", "prior")
    )
    return own, {name: weight.to(own[name].dtype) for name, weight in priors.items()}


def _constant(network: Architecture) -> Architecture:
    """A copy whose parameters are buffers, which are not trained."""
    prior = copy.deepcopy(network)
    for module in prior.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach().clone())
    return prior


def _ground(drawn: Architecture) -> None:
    """Let the energies of isolated atoms be zero, by the reference energies of the elements."""
    if drawn.cutoff is None:
        return  # particles of a toy well have no elements
    elements = range(1, N_ELEMENTS) if drawn.elements is None else drawn.elements
    numbers = [atomic_numbers[element] if isinstance(element, str) else int(element) for element in elements]
    weight, energies = next(drawn.parameters()), torch.zeros(N_ELEMENTS, dtype=torch.float64)
    atoms = Structures.from_atoms([Atoms([number]) for number in numbers])
    atoms = with_edges(atoms.to(dtype=weight.dtype, device=weight.device), drawn.cutoff)
    drawn.set_reference_energies(energies)  # a trained network brings some, which would count twice
    with torch.no_grad():
        energies[numbers] = drawn(atoms).cpu().double()
    drawn.set_reference_energies(-energies)
