"""Energy surfaces over two variables: grids and their true energies; torsions turned, with all else kept or relaxed."""
