"""Plumbing without chemistry: random seeds, files, progress, plugins, cores, devices, columns of text."""
