"""Errors on labels that no member has trained on, and what the uncertainty is worth."""
