"""A system that another package brings: a diatomic molecule, and how well a committee knows its bond."""

import numpy as np
from ase import Atoms

from sparring.dynamics.calculator import CommitteeCalculator
from sparring.systems.base import Metric, Progress, System


def dimer(element: str = "N", bond: float = 1.1, n_structures: int = 12) -> System:
    """The molecule, known from a few lengths of its bond.

    Args:
        element: Symbol of both atoms.
        bond: Length in the middle of the starting data, in Å.
        n_structures: Number of starting structures.
    """

    def structures():
        lengths = np.linspace(0.9 * bond, 1.1 * bond, n_structures)
        return [
            Atoms([element] * 2, positions=[[0, 0, 0], [0, 0, length]], info={"source": "scan"}) for length in lengths
        ]

    def evaluation(label_service):
        def stretched_energy(committee, dataset):
            stretched = structures()[-1]
            stretched.calc = CommitteeCalculator(committee)
            truth = stretched.copy()
            truth.calc = label_service.calculator
            return {"stretched_error": stretched.get_potential_energy() - truth.get_potential_energy()}

        return stretched_energy

    return System(
        name=f"{element}2",
        structures=structures,
        start=lambda given: given.label_many(structures()),
        evaluation=evaluation,
        metrics=(
            Metric(
                keys=("stretched_error",), column="stretched", group="dimer", heading="stretched\n({unit})", signed=True
            ),
        ),
        progress=Progress(keys=("stretched_error",), title="Stretched bond", quantity="error ({unit})"),
    )
