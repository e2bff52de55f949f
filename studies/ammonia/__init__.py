"""Ammonia: attacks, random displacements and molecular dynamics, label for label."""
