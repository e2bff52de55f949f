"""Parts of the sections of a configuration: frozen models, and the types of their values."""
