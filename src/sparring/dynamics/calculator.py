"""A committee as an ASE calculator."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from sparring.atoms.strain import to_voigt
from sparring.atoms.structures import Structures
from sparring.committee import Committee

__all__ = ["CommitteeCalculator"]


class CommitteeCalculator(Calculator):
    """Mean energy and forces of a committee with their uncertainties, for all methods of ASE.

    Results, in eV and Å:

    ======================  =====================================================================
    ``energy``, ``forces``  mean over members (Eq. 4 and 6), shapes () and (n_atoms, 3)
    ``energy_comm``         each member's energy, (n_members,)
    ``forces_comm``         each member's forces, (n_members, n_atoms, 3)
    ``energy_var``          variance of the energy (Eq. 5), ()
    ``forces_var``          variance of the forces (Eq. 7), ()
    ``energy_uncertainty``  its root, the standard deviation, ()
    ``forces_uncertainty``  root of ``forces_var``, ()
    ``atom_uncertainty``    standard deviation of the force on each atom, (n_atoms,)
    ``energy_error``        expected error of the energy (:class:`sparring.ExpectedErrors`), ()
    ``forces_error``        expected error of the forces, root mean square over components, ()
    ``atom_error``          expected error of the force on each atom, (n_atoms,)
    ``stress_error``        expected error of the stress, root mean square over its nine components, ()
    ``stress``              mean stress in eV/Å³, (6,) in the order xx, yy, zz, yz, xz, xy
    ``stress_comm``         each member's stress, (n_members, 6)
    ``stress_var``          variance of the stress, mean over its nine components, ()
    ``stress_uncertainty``  its root, ()
    ======================  =====================================================================

    Errors are there if the committee has expected errors, as that of a run has. Stresses are there for periodic
    structures with three lattice vectors; of a slab they are those of the whole cell, vacuum included, as in ASE.
    """

    implemented_properties = [  # noqa: RUF012  (ASE declares it so)
        "energy",
        "free_energy",
        "forces",
        "energy_comm",
        "forces_comm",
        "energy_var",
        "forces_var",
        "energy_uncertainty",
        "forces_uncertainty",
        "atom_uncertainty",
        "energy_error",
        "forces_error",
        "atom_error",
        "stress_error",
        "stress",
        "stress_comm",
        "stress_var",
        "stress_uncertainty",
    ]

    def __init__(self, committee: Committee) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.committee = committee

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill ``results``; called by ASE.

        Raises:
            ValueError: If the committee was not trained on the elements, the charge or the multiplicity of the atoms.
        """
        super().calculate(atoms, list(properties), list(system_changes))  # type: ignore[no-untyped-call]
        assert self.atoms is not None  # ASE's own calculate has just put them there
        self.committee.require_known([self.atoms])
        structures = self.committee.prepare(Structures.from_atoms([self.atoms], ignore_constraints=True))
        # Asked for in any case: ASE takes what was computed for an energy as all there is.
        stress = bool(self.atoms.pbc.any() and self.atoms.cell.rank == 3)
        prediction = self.committee.without_domain().predict(structures, differentiable=False, stress=stress)
        summary = prediction.summary(structures.structure_index)
        mean = float(summary.energy)
        self.results: dict[str, Any] = {
            "energy": mean,
            "free_energy": mean,
            "forces": summary.forces.cpu().numpy(),
            "energy_comm": prediction.energy[:, 0].cpu().numpy(),
            "forces_comm": prediction.forces.double().cpu().numpy(),
        }
        if prediction.stress is not None:
            self.results["stress_comm"] = to_voigt(prediction.stress[:, 0].double().cpu().numpy())
            self.results["stress"] = self.results["stress_comm"].mean(0)
        if self.committee.n_members > 1:
            if summary.stress_variance is not None:
                self.results["stress_var"] = float(summary.stress_variance)
                self.results["stress_uncertainty"] = self.results["stress_var"] ** 0.5
            self.results["energy_var"] = float(summary.energy_variance)
            self.results["forces_var"] = float(summary.force_variance)
            self.results["energy_uncertainty"] = self.results["energy_var"] ** 0.5
            self.results["forces_uncertainty"] = self.results["forces_var"] ** 0.5
            self.results["atom_uncertainty"] = summary.atom_variance.sqrt().cpu().numpy()
            self._add_expected_errors(self.atoms.get_chemical_symbols())

    def _add_expected_errors(self, symbols: Sequence[str]) -> None:
        if (expected := self.committee.expected) is None:
            return
        sigma = np.array(self.results["forces_uncertainty"])
        self.results["forces_error"] = float(expected.forces(sigma))
        self.results["atom_error"] = expected.of_atoms(self.results["atom_uncertainty"], symbols)
        if expected.energy is not None:
            self.results["energy_error"] = float(expected.energy(np.array(self.results["energy_uncertainty"])))
        if expected.stress is not None and "stress_uncertainty" in self.results:
            self.results["stress_error"] = float(expected.stress(np.array(self.results["stress_uncertainty"])))
