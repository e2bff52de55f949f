"""Learning curves: errors of networks and recipes of training against the number of labels."""
