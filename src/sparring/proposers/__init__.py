"""Proposers of new structures: attacks by gradient ascent, random displacements, dynamics; objectives and spaces."""
