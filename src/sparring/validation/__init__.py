"""Validations: one folder for each question about a committee."""
