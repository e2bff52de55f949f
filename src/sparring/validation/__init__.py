"""How good a committee is."""
