"""Structures from files of users: formats, names of columns and header keys, and checks."""
