"""Potentials of other packages as potentials of Sparring: one adapter a file, each an extra.

An adapter is a module ``Structures -> energies`` in eV with the attributes ``elements`` and ``cutoff``, and optionally
a method ``features(structures)``. It takes nothing but energies from the other package: forces are derived here, since
most packages return them without a graph in evaluation mode.
"""

from sparring.potentials.foreign.alignment import align_energies
from sparring.potentials.foreign.loading import ADAPTERS, load_potential, load_potentials

__all__ = ["ADAPTERS", "align_energies", "load_potential", "load_potentials"]
