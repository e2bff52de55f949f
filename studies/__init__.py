"""Studies that reproduce the paper's figures with repeats, one package a study: ``python -m studies.ammonia run``."""
