"""Training of a committee: losses, minibatches, the optimiser, and the split of the data."""
