"""How long dynamics stays physical."""
