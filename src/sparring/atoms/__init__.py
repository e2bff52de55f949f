"""Structures and labelled data, and the geometry of atoms: neighbours, bonds, torsions, similarity, duplicates."""
