"""Plumbing without chemistry: seeds, files, caches, digests, progress, plugins, cores, devices, columns of text."""
