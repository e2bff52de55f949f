"""Several potentials evaluated as one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from ase import Atoms
from jaxtyping import Float, Int
from torch import Tensor

from sparring import uncertainty
from sparring.atoms.dataset import Dataset
from sparring.atoms.neighbors import with_edges
from sparring.atoms.strain import stress_of
from sparring.atoms.structures import Structures
from sparring.domain import TrainingDomain
from sparring.expected_error import ExpectedErrors
from sparring.potentials import Potential
from sparring.potentials.base import MemberEnergies, potentials_of
from sparring.potentials.evaluation import energies_by_architecture
from sparring.potentials.heads.evaluation import SharedBackbone, shares_backbone
from sparring.potentials.looped import looped_energies, require_same_precision, weights_of
from sparring.potentials.saving import digest, restored, saved
from sparring.potentials.stacking import Weights, can_be_stacked, cast_members, frozen

__all__ = ["Committee", "Prediction", "Summary", "digest"]

UNITS = {"energy": "eV", "length": "Å"}


class Summary(NamedTuple):
    """Mean and variance over the members of a committee, in double precision.

    Attributes:
        energy: Mean energies in eV (Eq. 4).
        forces: Mean forces in eV/Å (Eq. 6).
        energy_variance: Variance of the energies in eV² (Eq. 5); zero for a single member.
        force_variance: Variance of the forces in (eV/Å)² (Eq. 7); zero for a single member.
        atom_variance: Variance of the force on each atom in (eV/Å)²; zero for a single member.
        stress: Mean stresses in eV/Å³; None if the prediction has none.
        stress_variance: Variance of the stresses in (eV/Å³)²; zero for a single member, None if there are none.
    """

    energy: Float[Tensor, " n_structures"]
    forces: Float[Tensor, "n_atoms 3"]
    energy_variance: Float[Tensor, " n_structures"]
    force_variance: Float[Tensor, " n_structures"]
    atom_variance: Float[Tensor, " n_atoms"]
    stress: Float[Tensor, "n_structures 3 3"] | None = None
    stress_variance: Float[Tensor, " n_structures"] | None = None


class Prediction(NamedTuple):
    """Energies and forces of each member for each structure.

    Attributes:
        energy: Total energies in eV.
        forces: Forces in eV/Å.
        stress: Stresses in eV/Å³, positive under tension as in ASE; None if they were not asked for.
    """

    energy: Float[Tensor, "n_members n_structures"]
    forces: Float[Tensor, "n_members n_atoms 3"]
    stress: Float[Tensor, "n_members n_structures 3 3"] | None = None

    def detach(self) -> "Prediction":
        """The same numbers without their graph."""
        return Prediction(*(None if values is None else values.detach() for values in self))  # type: ignore[arg-type]

    def summary(self, structure_index: Int[Tensor, " n_atoms"]) -> Summary:
        """Mean and variance over the members (Eq. 4-7); a device is not waited for.

        Args:
            structure_index: Structure of each atom.
        """
        energy, n_structures = self.energy.mean(0).double(), self.energy.shape[1]
        forces = self.forces.mean(0).double()
        stress = None if self.stress is None else self.stress.mean(0).double()
        if len(self.energy) == 1:
            zero = torch.zeros_like(energy)
            of_stress = None if stress is None else zero
            return Summary(energy, forces, zero, zero, torch.zeros_like(forces[:, 0]), stress, of_stress)
        of_energy, of_atoms = uncertainty.energy_variance(self.energy), uncertainty.atom_variance(self.forces)
        of_forces = uncertainty.mean_over_atoms(of_atoms, structure_index, n_structures)
        of_stress = None if self.stress is None else uncertainty.stress_variance(self.stress).double()
        return Summary(energy, forces, of_energy.double(), of_forces.double(), of_atoms.double(), stress, of_stress)


class Committee:
    """Potentials whose disagreement is the uncertainty of their mean.

    Members that are modules of one architecture are stacked and evaluated in a single pass, and heads of one backbone
    in one pass over it. Where there are several architectures, neighbours of one are evaluated in one pass. Others
    (foreign models, plain functions) are evaluated one after another behind the same interface; that is also the slow,
    plain reference for the evaluation in one pass.

    Args:
        members: Potentials.
        stacked: True for evaluation of all in one pass, False for one member after another; by default as few passes
            as possible.
        analytic: Use of analytic derivatives where an architecture has them (SchNet and PaiNN do). They are faster, and
            the same but for rounding; energies can then be differentiated twice, not three times.
        domain: Elements, charges and method of the training data, outside of which structures are refused. By default
            the elements in an attribute ``elements`` of members, if any has one; otherwise nothing is refused.

    Attributes:
        domain: Elements, charges and method of the training data; None if unknown.
        expected: Expected errors, from labels that members were not trained on; None if unknown.
        stacked: True if all members are evaluated in one pass.

    Raises:
        ValueError: If there is no member, one is not a potential, members differ in precision or device or have no
            element in common, or ``stacked`` is True for members that cannot be stacked.
    """

    def __init__(
        self,
        members: Iterable[Potential],
        *,
        stacked: bool | None = None,
        analytic: bool = True,
        domain: TrainingDomain | None = None,
    ) -> None:
        self.members: tuple[Potential, ...] = frozen(potentials_of(members))
        require_same_precision(self.members)
        self.domain = domain or TrainingDomain.of_members(self.members)
        self.expected: ExpectedErrors | None = None
        one_backbone = shares_backbone(self.members)
        possible = one_backbone or can_be_stacked(self.members)
        if stacked and not possible:
            raise ValueError("only modules of one architecture and size can be stacked; leave out stacked=True")
        self._given, self.stacked, self.analytic = stacked, possible if stacked is None else stacked, analytic
        self._heads = SharedBackbone.of(self.members) if one_backbone and self.stacked else None
        self._energies: MemberEnergies = self._looped_energies
        if stacked is not False and not one_backbone:
            self._energies = energies_by_architecture(self.members, analytic=analytic)

    @property
    def n_members(self) -> int:
        """Number of members."""
        return len(self.members)

    @property
    def cutoff(self) -> float | None:
        """Largest cutoff of the members, in Å; None if none needs edges."""
        return max((c for m in self.members if (c := getattr(m, "cutoff", None)) is not None), default=None)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights; double if no member has any."""
        weight = self._any_weight()
        return torch.float64 if weight is None else weight.dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        weight = self._any_weight()
        return torch.device("cpu") if weight is None else weight.device

    def _any_weight(self) -> Tensor | None:
        return next((weight for _, weight in weights_of(self.members)), None)

    def prepare(self, structures: Structures) -> Structures:
        """The structures in the precision and on the device of the weights, with the edges that the members need."""
        structures = structures.to(dtype=self.dtype, device=self.device)
        return structures if self.cutoff is None else with_edges(structures, self.cutoff)

    def predict(self, structures: Structures, *, differentiable: bool = True, stress: bool = False) -> Prediction:
        """Energies and forces of every member (Eq. 1): forces are minus the gradient of the energy, nothing else.

        The prediction keeps its graph, so functions of it can be differentiated in the positions, and in the cells.

        Elements are compared with those of the training data, for which the host waits if the structures are on a
        graphics card. A loop does that once, by :meth:`require_known`, and goes on with :meth:`without_domain`.

        Args:
            structures: Structures to evaluate.
            differentiable: True to keep the graph; without it the prediction takes a third of the memory.
            stress: True for stresses (:func:`sparring.atoms.strain.stress_of`), too; that of a structure without
                three lattice vectors is zero.

        Raises:
            ValueError: If a structure has an element on which the committee was not trained.
        """
        self.require_known(structures)
        structures = self.prepare(structures)
        with torch.enable_grad():
            structures = replace(structures, positions=_with_gradient(structures.positions))
            if stress:
                structures = replace(structures, cells=_with_gradient(structures.cells))
            energy, gradients = self._energies_and_gradients(structures, differentiable, stress=stress)
            found = stress_of(structures, *gradients) if stress else None
        prediction = Prediction(energy, -gradients[0], found)
        return prediction if differentiable else prediction.detach()

    def _energies_and_gradients(
        self, structures: Structures, differentiable: bool, *, stress: bool
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Energies of all members, and their derivatives in the positions and, for stresses, in the cells."""
        if self._heads is not None:
            return self._heads.energies_and_gradients(structures, differentiable, cells=stress)
        positions = structures.positions.expand(self.n_members, -1, -1)
        cells = structures.cells.expand(self.n_members, -1, -1, -1) if stress else None
        energy = self._energies(structures, positions, differentiable, cells)
        inputs = [positions] if cells is None else [positions, cells]
        return energy, torch.autograd.grad(energy.sum(), inputs, create_graph=differentiable, materialize_grads=stress)

    def _looped_energies(
        self, structures: Structures, positions: Tensor, create_graph: bool, cells: Tensor | None = None
    ) -> Tensor:
        return looped_energies(self.members, structures, positions, cells)

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "Committee":
        """The same committee in another precision or on another device."""
        members = cast_members(self.members, dtype=dtype, device=device)
        return _rebuilt(members, self._given, self.analytic, self.domain, self.expected)

    def require_known(self, structures: Structures | Dataset | Sequence[Atoms]) -> None:
        """Refuse structures outside the domain; nothing is refused if the domain is unknown.

        Of a batch of :class:`sparring.Structures` only the elements are compared: it carries no multiplicities.

        Raises:
            ValueError: If a structure has an element, a charge or a multiplicity on which the committee was not
                trained.
        """
        if self.domain is not None:
            self.domain.require(structures)

    def with_domain(self, domain: TrainingDomain | None) -> "Committee":
        """The same committee with another domain; members and weights are shared."""
        return self._with(domain=domain)

    def with_expected(self, expected: ExpectedErrors | None) -> "Committee":
        """The same committee with other expected errors; members and weights are shared."""
        return self._with(expected=expected)

    def _with(self, **changed: object) -> "Committee":
        other = object.__new__(Committee)
        other.__dict__.update(self.__dict__, **changed)
        return other

    def without_domain(self) -> "Committee":
        """The same committee without a domain, which evaluates any structure."""
        return self if self.domain is None else self.with_domain(None)

    def __reduce__(self) -> tuple[Callable[..., "Committee"], tuple[object, ...]]:
        """Pickled and copied by its members; stacked weights are made anew."""
        return _rebuilt, (self.members, self._given, self.analytic, self.domain, self.expected)

    def state(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Weights with a leading axis of members, and what else rebuilds the committee, ready for JSON.

        Raises:
            ValueError: If :meth:`from_state` could not make the committee again: a member is of no architecture that
                ships with Sparring or that an installed package registers.
        """
        weights, about = saved(self.members)
        about = {**about, "units": dict(UNITS)}
        return weights, about if self.domain is None else {**about, "domain": self.domain.to_json()}

    @classmethod
    def from_state(cls, weights: Weights, about: Mapping[str, object]) -> "Committee":
        """The committee whose :meth:`state` this is.

        Raises:
            ValueError: If the package of an architecture is not installed, an architecture is of another revision,
                the units are not known, or the weights are not those that were saved.
        """
        if about.get("units", UNITS) != UNITS:
            raise ValueError(f"the committee is in units of {about['units']}, this version reads {UNITS}")
        domain: Mapping[str, object] | None = about.get("domain")  # type: ignore[assignment]
        return cls(restored(weights, about), domain=None if domain is None else TrainingDomain.from_json(domain))


def _with_gradient(values: Tensor) -> Tensor:
    return values if values.requires_grad else values.detach().requires_grad_()


def _rebuilt(
    members: Sequence[Potential],
    stacked: bool | None,
    analytic: bool,
    domain: TrainingDomain | None,
    expected: ExpectedErrors | None,
) -> Committee:
    """A committee with this domain, which replaces the elements of the members, and these expected errors."""
    return Committee(members, stacked=stacked, analytic=analytic).with_domain(domain).with_expected(expected)
