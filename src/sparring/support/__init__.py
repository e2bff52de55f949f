"""Plumbing without chemistry: random seeds, files, caches, digests, progress, plugins, cores, devices, columns of text."""
