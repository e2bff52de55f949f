"""From a configuration to the functions that a run is made of."""
