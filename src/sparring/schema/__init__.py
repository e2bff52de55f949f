"""What sections of a configuration are made of: frozen models, and the types of their values."""
