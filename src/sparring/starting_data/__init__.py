"""Data to begin with: relaxation, normal modes, displacements, isolated atoms, and what a run does not learn from."""
