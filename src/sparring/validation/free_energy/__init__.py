"""Free energies over two torsions, from dynamics."""
