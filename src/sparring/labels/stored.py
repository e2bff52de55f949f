"""An ASE calculator with a store of labels behind it."""

import os
from collections.abc import Iterable
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator, all_changes

from sparring.atoms.electronic_state import electronic_state
from sparring.labels.ase import as_labeller
from sparring.labels.base import Bounds, LabelError, Labeller, check_distance, check_results, depends_on
from sparring.labels.store import LabelStore, further
from sparring.labels.workers import Workers

__all__ = ["StoredCalculator"]


class StoredCalculator(Calculator):
    """An ASE calculator, for optimisers and the like, whose every result is a label in a store.

    Labels are computed in a process of their own, which is started once and serves all steps.

    Args:
        labeller: Labeller for structures without a label in the store.
        store: The store, or its folder.
        bounds: Results outside of these are errors.
        workers: Processes of this labeller to share; its own one if left out.

    Raises:
        LabelError: From a calculation, if the structure has no label or one that ``check`` refuses.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  (ASE declares it so)

    def __init__(
        self,
        labeller: Labeller | BaseCalculator,
        store: LabelStore | str | os.PathLike[str],
        *,
        bounds: Bounds | None = None,
        workers: Workers | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.labeller = as_labeller(labeller)
        self.store = store if isinstance(store, LabelStore) else LabelStore(store)
        self.bounds = bounds or Bounds()
        self.workers = workers or Workers(self.labeller)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Changes since the last calculation, with charge and multiplicity, which ASE ignores."""
        changes: list[str] = super().check_state(atoms, tol)  # type: ignore[no-untyped-call]
        if self.atoms is not None and electronic_state(self.atoms) != electronic_state(atoms):
            changes.append("electronic_state")
        if self.atoms is not None and further(self.atoms, names := depends_on(self.labeller)) != further(atoms, names):
            changes.append("depends_on")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Iterable[str] = ("energy",),
        system_changes: Iterable[str] = tuple(all_changes),
    ) -> None:
        """Read the label of ``atoms``, or compute and keep it."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        structure: Any = self.atoms
        try:
            check_distance(structure, self.bounds)
            label = self.workers.obtain(structure, self.store)
            check_results(label, structure, self.bounds)
        except LabelError as error:
            raise error.named(structure.get_chemical_formula()) from error
        self.results = {"energy": label.energy, "forces": label.forces.copy()}
        if label.stress is not None:
            self.results["stress"] = label.stress.copy()
