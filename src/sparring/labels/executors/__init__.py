"""Executors: anything that is a ``concurrent.futures.Executor`` computes labels, on this or on other machines.

One job is one label (:mod:`~sparring.labels.executors.job`). Wherever it runs, it is computed in a process of its own
with limits of time and memory, and that process writes its record into the store.
"""
