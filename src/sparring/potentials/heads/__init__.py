"""Committees from one backbone: linear readouts of the features of a potential, evaluated in one pass over it."""
