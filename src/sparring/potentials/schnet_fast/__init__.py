"""SchNet with its derivatives written out: the energies of schnet.py, and two derivatives without a graph."""
