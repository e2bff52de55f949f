"""A system of one's own: structures from a file, with torsions, endpoints, a grid and criteria if it names some."""
