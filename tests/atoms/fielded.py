"""A calculator that depends on more than atoms; worker processes import this file, which imports little."""

from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT


class Fielded(Calculator):
    """Energies of EMT, lower by a field, by tags and by antiparallel moments; it names the first two."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    depends_on = ("field", "tags")

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        free = self.atoms.copy()
        free.calc = EMT()
        moments = free.get_initial_magnetic_moments()
        shift = sum(free.info.get("field", [0.0])) + 10 * free.get_tags().sum() + 100 * (moments.min() < 0)
        self.results = {"energy": free.get_potential_energy() - shift, "forces": free.get_forces()}
