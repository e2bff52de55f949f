"""Potentials of other packages as potentials of Sparring: one adapter a file, each an extra.

An adapter is a module ``Structures -> energies`` in eV with the attributes ``elements`` and ``cutoff``, and optionally
a method ``features(structures)``. It takes nothing but energies from the other package: forces are derived here, since
most packages return them without a graph in evaluation mode.
"""
