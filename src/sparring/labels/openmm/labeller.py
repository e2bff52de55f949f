"""Labels by a force field."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version as distribution_version
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, chemical_symbols
from jaxtyping import Float

from sparring.atoms.electronic_state import electronic_state
from sparring.labels.base import Label, LabelError
from sparring.labels.identity import described
from sparring.labels.openmm.reading import (
    Combination,
    PathOrName,
    forcefield_system,
    imported,
    read_system,
    read_topology,
)
from sparring.support.suggestions import did_you_mean
from sparring.units import KJ_PER_MOL, quantity

if TYPE_CHECKING:
    from openmm import System
    from openmm.app import Topology

__all__ = ["OpenMM"]

NM = quantity("1 nm", "length")


class OpenMM:
    """Labels of one molecule by a force field, in vacuum; also for `langevin_snapshots`.

    One context serves for all geometries. The platform "Reference" computes in double precision and gives the same bits
    every time, and for small molecules it is the fastest.

    Args:
        system: System that OpenMM can compute, without constraints, virtual sites and periodic boundaries. It is
            copied.
        topology: Topology with the element of each atom, for refusing structures of other atoms; by default the
            elements follow from the masses.
        name: Name shown before the checksum of the system.
        platform: "Reference", "CPU", "CUDA", "OpenCL" or "HIP", as far as installed.
        properties: Properties of the platform, such as ``{"Precision": "double"}``.

    Attributes:
        method: The name, a checksum of the serialised system (every parameter is in it), and the platform.
        version: The version of OpenMM.

    Raises:
        ValueError: If the system, the topology or the platform cannot be used.
        ModuleNotFoundError: If OpenMM is not installed.
    """

    def __init__(
        self,
        system: "System",
        topology: "Topology | None" = None,
        *,
        name: str = "system",
        platform: str = "Reference",
        properties: Mapping[str, str] | None = None,
    ) -> None:
        openmm = imported()
        self._xml: str = openmm.XmlSerializer.serialize(system)
        self._platform = platform
        self._properties = dict(properties or {})
        self._numbers = _elements(system, topology)
        self._charge = _total_charge(system)
        _require_molecule(system)
        checksum = hashlib.sha256(self._xml.encode()).hexdigest()
        self.method = f"OpenMM {name} system={checksum[:32]} platform={platform}"
        if self._properties:
            self.method += f" {described(self._properties)}"
        self.version = f"openmm {distribution_version('openmm')}"
        # An error of the platform is found here, and not with the first label.
        self._context = self._made_context()

    @classmethod
    def from_forcefield(
        cls,
        forcefield: PathOrName | Sequence[PathOrName],
        topology: "Topology | PathOrName",
        *,
        combination: Combination | None = None,
        platform: str = "Reference",
        properties: Mapping[str, str] | None = None,
    ) -> "OpenMM":
        """Labeller from force field files and a molecule; for arguments and errors see `forcefield_system`."""
        openmm = imported()
        molecule = topology if isinstance(topology, openmm.app.Topology) else read_topology(topology)
        system = forcefield_system(forcefield, molecule, combination=combination)
        names = [forcefield] if isinstance(forcefield, str) or not isinstance(forcefield, Sequence) else forcefield
        name = "+".join(str(one).rpartition("/")[2] for one in names)
        return cls(system, molecule, name=name, platform=platform, properties=properties)

    @classmethod
    def from_file(
        cls,
        system: PathOrName,
        topology: "Topology | PathOrName | None" = None,
        *,
        platform: str = "Reference",
        properties: Mapping[str, str] | None = None,
    ) -> "OpenMM":
        """Labeller from a serialised system; raises as `read_system` and `read_topology`, too."""
        openmm = imported()
        molecule: Any = topology
        if topology is not None and not isinstance(topology, openmm.app.Topology):
            molecule = read_topology(topology)
        return cls(read_system(system), molecule, platform=platform, properties=properties)

    def __repr__(self) -> str:
        return f"<{self.method}>"

    def __getstate__(self) -> dict[str, Any]:
        """All but the context, which belongs to this process."""
        return {**vars(self), "_context": None}

    def __call__(self, atoms: Atoms) -> Label:
        """Compute the label of a geometry of the molecule.

        Raises:
            LabelError: If the structure is another molecule, has its atoms in another order, is periodic, or has a
                charge that the force field does not give it.
        """
        started = time.perf_counter()
        try:
            self.require_fitting(atoms)
        except ValueError as error:
            raise LabelError("bad_input", str(error)) from error
        openmm = imported()
        context = self._context = self._context or self._made_context()
        context.setPositions(atoms.positions / NM)
        state = context.getState(energy=True, forces=True)
        forces: Float[np.ndarray, "n_atoms 3"] = state.getForces(asNumpy=True).value_in_unit(
            openmm.unit.kilojoules_per_mole / openmm.unit.nanometer
        )
        return Label(
            energy=state.getPotentialEnergy().value_in_unit(openmm.unit.kilojoules_per_mole) * KJ_PER_MOL,
            forces=np.array(forces, dtype=float) * (KJ_PER_MOL / NM),
            method=self.method,
            version=self.version,
            converged=True,
            wall_time=time.perf_counter() - started,
        )

    @property
    def system(self) -> "System":
        """A copy of the system that labels are made with; its forces live as long as it does."""
        system: System = imported().XmlSerializer.deserialize(self._xml)
        return system

    def context(self, integrator: Any, *, fixed: Sequence[int] = ()) -> Any:  # noqa: ANN401 - OpenMM has no types
        """A new context of the system, on the same platform; atoms that are fixed have no mass, so nothing moves them.

        Raises:
            ValueError: If there is no such platform here, or it refuses its properties or the system.
        """
        openmm = imported()
        known = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
        if self._platform not in known:
            raise ValueError(
                f"OpenMM has no platform {self._platform!r} here{did_you_mean(self._platform, known)}; it has "
                f"{', '.join(known)}"
            )
        platform = openmm.Platform.getPlatformByName(self._platform)
        system = self.system
        for atom in fixed:
            system.setParticleMass(atom, 0.0)
        try:
            return openmm.Context(system, integrator, platform, self._properties)
        except openmm.OpenMMException as error:
            raise ValueError(
                f"OpenMM cannot use platform {self._platform} with {self._properties or 'no properties'}: {error}"
            ) from error

    def require_fitting(self, atoms: Atoms) -> None:
        """Refuse a structure that is not the molecule of the force field.

        Raises:
            ValueError: If number, order or elements of the atoms differ, the structure is periodic, or its charge or
                multiplicity is not what a force field of this molecule stands for.
        """
        formula = atoms.get_chemical_formula()
        if len(atoms) != len(self._numbers):
            own = Atoms(numbers=self._numbers).get_chemical_formula()
            raise ValueError(
                f"the force field is for {own} with {len(self._numbers)} atoms, got {formula} with {len(atoms)}; give "
                "a topology of this molecule"
            )
        wrong = np.flatnonzero(atoms.numbers != self._numbers)
        if len(wrong):
            first = int(wrong[0])
            raise ValueError(
                f"atom {first} of {formula} is {atoms.symbols[first]}, the topology has "
                f"{chemical_symbols[self._numbers[first]]} there; give the atoms in the order of the topology"
            )
        if atoms.pbc.any():
            raise ValueError(f"labels by OpenMM are for molecules, got {formula} with pbc {atoms.pbc.tolist()}")
        state = electronic_state(atoms)
        if self._charge is not None and state.charge != self._charge:
            raise ValueError(
                f"the charges of the force field add up to {self._charge:+d}, {formula} has charge {state.charge:+d}; "
                f"set atoms.info['charge'] = {self._charge}, or take another force field"
            )
        if state.multiplicity > 2:
            raise ValueError(f"a force field has no spin, got {formula} with multiplicity {state.multiplicity}")

    def _made_context(self) -> Any:  # noqa: ANN401 - OpenMM has no types
        # A context needs an integrator; labels take no step with it.
        return self.context(imported().VerletIntegrator(0.001))


def _require_molecule(system: Any) -> None:  # noqa: ANN401 - OpenMM has no types
    if system.getNumConstraints():
        raise ValueError(
            f"the system has {system.getNumConstraints()} constraints, whose bonds have no energy, and a potential "
            "must see them vibrate; build it with constraints=None, rigidWater=False"
        )
    if system.usesPeriodicBoundaryConditions():
        raise ValueError("the system is periodic, and labels by OpenMM are for molecules; build it with NoCutoff")


def _elements(system: Any, topology: Any) -> np.ndarray:  # noqa: ANN401 - OpenMM has no types
    """Atomic number of every particle, from the topology or from the masses."""
    n_particles = system.getNumParticles()
    masses = np.array([system.getParticleMass(i)._value for i in range(n_particles)])
    if (masses == 0).any():
        raise ValueError(
            f"particle {int(np.argmin(masses))} of the system has no mass: a virtual site or a fixed atom; every "
            "particle must be an atom that may move"
        )
    if topology is None:
        return _nearest_elements(masses)
    elements = [atom.element for atom in topology.atoms()]
    if len(elements) != n_particles or None in elements:
        raise ValueError(
            f"the topology has {sum(element is not None for element in elements)} atoms with an element, the system "
            f"has {n_particles}; they must be of the same molecule"
        )
    return np.array([element.atomic_number for element in elements])


def _nearest_elements(masses: Float[np.ndarray, " n_atoms"]) -> np.ndarray:
    distance = np.abs(masses[:, None] - atomic_masses[None, 1:])
    numbers: np.ndarray = distance.argmin(axis=1) + 1
    strange = np.flatnonzero(distance.min(axis=1) > 0.1)
    if len(strange):
        raise ValueError(
            f"particle {strange[0]} of the system has a mass of {masses[strange[0]]:g}, which is that of no element; "
            "give a topology with the elements"
        )
    return numbers


def _total_charge(system: Any) -> int | None:  # noqa: ANN401 - OpenMM has no types
    """None if the system does not have it."""
    openmm = imported()
    charges = [
        force.getParticleParameters(i)[0].value_in_unit(openmm.unit.elementary_charge)
        for force in system.getForces()
        if isinstance(force, openmm.NonbondedForce)
        for i in range(force.getNumParticles())
    ]
    total = sum(charges)
    return round(total) if charges and abs(total - round(total)) < 0.01 else None
