"""A run: Algorithm 1 of the paper, its stages, and the run folder."""
