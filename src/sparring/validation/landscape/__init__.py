"""Energies and uncertainties on a grid, beside the true ones."""
