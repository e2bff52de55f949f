"""Alanine dipeptide: attacks on two torsions, random torsions and longer dynamics, label for label."""
