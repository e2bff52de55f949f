"""ACE: a message-passing atomic cluster expansion of Cartesian tensors."""
