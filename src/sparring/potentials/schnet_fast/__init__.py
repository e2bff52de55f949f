"""SchNet for a whole committee with analytic first and second derivatives; energies are those of schnet.py."""
