"""Several potentials evaluated as one."""

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from sparring.atoms.dataset import Dataset
from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.domain import TrainingDomain
from sparring.potentials import ARCHITECTURES, Architecture, Potential
from sparring.potentials.base import potentials_of

__all__ = ["Committee", "Prediction", "stacked_energies"]

Weights = Mapping[str, Tensor]
UNITS = {"energy": "eV", "length": "Å"}


class Prediction(NamedTuple):
    """What every member says of every structure.

    Attributes:
        energy: Total energies in eV.
        forces: Forces in eV/Å.
    """

    energy: Float[Tensor, "n_members n_structures"]
    forces: Float[Tensor, "n_members n_atoms 3"]

    def detach(self) -> "Prediction":
        """The same numbers without their graph."""
        return Prediction(self.energy.detach(), self.forces.detach())


def stacked_energies(
    architecture: nn.Module, weights: Weights, structures: Structures, own: Mapping[str, object]
) -> Float[Tensor, "n_members n_structures"]:
    """Energies of all members in one vectorised pass.

    Args:
        architecture: The module, as written for one member.
        weights: Its parameters and buffers, each with a leading axis of members.
        structures: What the members look at together.
        own: Fields of the structures that differ between members, each with a leading axis of members.
    """

    def one_member(weights: Weights, own: Mapping[str, object]) -> Tensor:
        energies: Tensor = functional_call(architecture, dict(weights), (replace(structures, **own),))  # type: ignore[arg-type]
        return energies

    return vmap(one_member)(dict(weights), dict(own))


class Committee:
    """Potentials whose disagreement tells what they do not know.

    Members that are modules of one architecture are stacked and evaluated in a single pass; any others
    (foreign models, plain functions) are evaluated one after another behind the same interface, which is also the
    slow, plain reference for the fast way.

    Args:
        members: The potentials.
        stacked: Whether to evaluate them in one pass; by default wherever that is possible.
        written_out: Whether to use derivatives that an architecture has written out for a stacked committee (SchNet
            has). They are faster, the same but for rounding, and may be differentiated twice but not a third time.
        domain: Elements, charges and method of the data that the members were trained on. Structures outside of it are
            refused. By default the elements that members name in an attribute ``elements``, if any do; else nothing is
            known and nothing refused.

    Attributes:
        domain: Elements, charges and method of the training data; None if unknown.

    Raises:
        ValueError: If there is no member, one is not a potential, or members that cannot be stacked are asked to be.
    """

    def __init__(
        self,
        members: Iterable[Potential],
        *,
        stacked: bool | None = None,
        written_out: bool = True,
        domain: TrainingDomain | None = None,
    ) -> None:
        self.members: tuple[Potential, ...] = tuple(_frozen(member) for member in potentials_of(members))
        self.domain = domain or TrainingDomain.of_members(self.members)
        possible = _same_architecture(self.members)
        if stacked and not possible:
            raise ValueError("only modules of one architecture and size can be stacked; leave out stacked=True")
        self._energies: Callable[[Structures, Tensor, bool], Tensor] = self._one_after_another
        self.stacked, self.written_out = possible if stacked is None else stacked, written_out
        if self.stacked:
            self._weights = stack([m for m in self.members if isinstance(m, nn.Module)])
            first = self.members[0]
            assert isinstance(first, Architecture)
            self._energies = (first.written_out(self._weights) if written_out else None) or self._all_at_once

    @property
    def n_members(self) -> int:
        """Number of members."""
        return len(self.members)

    @property
    def cutoff(self) -> float | None:
        """How far the farthest-sighted member sees, in Å; None if none needs edges."""
        return max((c for m in self.members if (c := getattr(m, "cutoff", None)) is not None), default=None)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights; that of positions given to members that have none is double."""
        weight = self._any_weight()
        return torch.float64 if weight is None else weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        weight = self._any_weight()
        return torch.device("cpu") if weight is None else weight.device

    def _any_weight(self) -> Tensor | None:
        modules = (member for member in self.members if isinstance(member, nn.Module))
        return next((weight for module in modules for weight in module.parameters()), None)

    def prepare(self, structures: Structures) -> Structures:
        """The structures in the precision and on the device of the weights, with the edges that the members need."""
        structures = structures.to(dtype=self.dtype, device=self.device)
        return structures if self.cutoff is None else with_edges(structures, self.cutoff)

    def predict(self, structures: Structures, *, differentiable: bool = True) -> Prediction:
        """Energies and forces of every member (Eq. 1): forces are minus the gradient of the energy, nothing else.

        The prediction keeps its graph, so what is made of it can be differentiated again in the positions.

        Elements are compared with those of the training data, for which the host waits if the structures are on a
        graphics card. A loop does that once, by :meth:`require_known`, and goes on with :meth:`without_domain`.

        Args:
            structures: What to look at.
            differentiable: Whether to keep the graph; without it the prediction takes a third of the memory.

        Raises:
            ValueError: If a structure has an element on which the committee was not trained.
        """
        self.require_known(structures)
        structures = self.prepare(structures)
        with torch.enable_grad():
            positions = structures.positions
            if not positions.requires_grad:
                positions = positions.detach().requires_grad_()
            own = positions.expand(self.n_members, -1, -1)
            energy = self._energies(structures, own, differentiable)
            (gradient,) = torch.autograd.grad(energy.sum(), own, create_graph=differentiable)
        prediction = Prediction(energy, -gradient)
        return prediction if differentiable else prediction.detach()

    def _all_at_once(self, structures: Structures, own: Tensor, twice: bool) -> Tensor:
        return stacked_energies(self.members[0], self._weights, structures, {"positions": own})  # type: ignore[arg-type]

    def _one_after_another(self, structures: Structures, own: Tensor, twice: bool) -> Tensor:
        seen = zip(self.members, own.unbind(), strict=True)
        return torch.stack([member(replace(structures, positions=positions)) for member, positions in seen])

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "Committee":
        """The same committee in another precision or on another device."""
        members = [cast(m, dtype=dtype, device=device) if isinstance(m, nn.Module) else m for m in self.members]
        return _rebuilt(members, self.stacked, self.written_out, self.domain)

    def require_known(self, structures: Structures | Dataset | Sequence[Atoms]) -> None:
        """Refuse structures that are not of the domain; where that is unknown, nothing is refused.

        A batch of :class:`sparring.Structures` carries no charges, so only its elements are compared.

        Raises:
            ValueError: If a structure has an element, a charge or a multiplicity on which the committee was not
                trained.
        """
        if self.domain is not None:
            self.domain.require(structures)

    def with_domain(self, domain: TrainingDomain | None) -> "Committee":
        """The same committee with another domain; members and weights are shared."""
        other = object.__new__(Committee)
        other.__dict__.update(self.__dict__, domain=domain)
        return other

    def without_domain(self) -> "Committee":
        """The same committee, which then answers about any structure, known or not."""
        return self if self.domain is None else self.with_domain(None)

    def __reduce__(self) -> tuple[Callable[..., "Committee"], tuple[object, ...]]:
        """Pickled and copied by its members; what is made of them is made anew."""
        return _rebuilt, (self.members, self.stacked, self.written_out, self.domain)

    def state(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Weights with a leading axis of members, and what else rebuilds the committee, ready for JSON.

        Raises:
            ValueError: If :meth:`from_state` could not make the committee again: its members are not of one
                architecture that ships with Sparring.
        """
        first = self.members[0]
        if not isinstance(first, Architecture) or not _same_architecture(self.members):
            raise ValueError(f"only committees of {sorted(ARCHITECTURES)} can be saved, not of {type(first).__name__}")
        kind = getattr(first, "kind", None)
        if ARCHITECTURES.get(str(kind)) is not type(first):
            raise ValueError(
                f"a committee of {type(first).__name__} (kind {kind!r}) cannot be saved: it could not be read again, "
                f"because this version knows {sorted(ARCHITECTURES)} only; save the state_dict() of each member instead"
            )
        weights = {name: weight.contiguous().cpu() for name, weight in stack(self.members).items()}  # type: ignore[arg-type]
        about = {
            "architecture": first.kind,
            "revision": first.revision,
            "hyperparameters": dict(first.hyperparameters),
            "n_members": self.n_members,
            "units": dict(UNITS),
            "weights_sha256": digest(weights),
        }
        return weights, about if self.domain is None else {**about, "domain": self.domain.to_json()}

    @classmethod
    def from_state(cls, weights: Weights, about: Mapping[str, object]) -> "Committee":
        """The committee whose :meth:`state` this is.

        Raises:
            ValueError: If the architecture or the units are not known, or the weights are not those that were saved.
        """
        kind = str(about["architecture"])
        if kind not in ARCHITECTURES:
            raise ValueError(f"unknown architecture {kind!r}; this version knows {sorted(ARCHITECTURES)}")
        revision = ARCHITECTURES[kind].revision
        if about.get("revision", 1) != revision:
            raise ValueError(f"the committee is of another revision of {kind!r} than {revision}; train it again")
        if about.get("units", UNITS) != UNITS:
            raise ValueError(f"the committee is in units of {about['units']}, this version reads {UNITS}")
        if digest(weights) != about["weights_sha256"]:
            raise ValueError("the committee's weights are damaged: their SHA-256 is not the one saved with them")
        hyperparameters: Mapping[str, object] = about["hyperparameters"]  # type: ignore[assignment]
        domain: Mapping[str, object] | None = about.get("domain")  # type: ignore[assignment]
        return cls(
            unstack(ARCHITECTURES[kind](**hyperparameters), weights),
            domain=None if domain is None else TrainingDomain.from_json(domain),
        )


def stack(members: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Parameters and buffers of modules of one architecture, each with a leading axis of members."""
    states = [member.state_dict() for member in members]
    return {name: torch.stack([state[name] for state in states]).detach() for name in states[0]}


def unstack(architecture: nn.Module, weights: Weights) -> list[nn.Module]:
    """One module a member: the inverse of :func:`stack`."""
    n_members = len(next(iter(weights.values())))
    members = []
    for index in range(n_members):
        member = copy.deepcopy(architecture)
        member.load_state_dict({name: weight[index].clone() for name, weight in weights.items()}, assign=True)
        members.append(member)
    return members


def cast(module: nn.Module, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> nn.Module:
    """A copy of the module elsewhere or in another precision; its buffers keep theirs."""
    copied = copy.deepcopy(module).to(device=device)
    for parameter in copied.parameters():
        parameter.data = parameter.data.to(dtype=dtype)
    return copied


def digest(weights: Weights) -> str:
    """SHA-256 of weights, names and shapes included."""
    seen = hashlib.sha256()
    for name in sorted(weights):
        weight = weights[name].detach().cpu().contiguous()
        seen.update(json.dumps([name, str(weight.dtype), list(weight.shape)]).encode())
        seen.update(weight.numpy().tobytes())
    return seen.hexdigest()


def _rebuilt(
    members: Sequence[Potential], stacked: bool, written_out: bool, domain: TrainingDomain | None
) -> Committee:
    """A committee of members and a domain that are known, whatever the members say themselves."""
    return Committee(members, stacked=stacked, written_out=written_out).with_domain(domain)


def _frozen(member: Potential) -> Potential:
    if not isinstance(member, nn.Module):
        return member
    frozen: Potential = copy.deepcopy(member).eval().requires_grad_(requires_grad=False)
    return frozen


def _same_architecture(members: Sequence[Potential]) -> bool:
    if not all(isinstance(member, Architecture) for member in members):
        return False
    first = members[0]
    assert isinstance(first, Architecture)
    return all(
        type(member) is type(first) and member.hyperparameters == first.hyperparameters
        for member in members
        if isinstance(member, Architecture)
    )
