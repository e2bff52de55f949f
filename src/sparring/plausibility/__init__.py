"""Plausibility before computing: what a file's labels give away before they become data.

:func:`disagreements` compares labels of a file with a labeller's, :func:`inconsistencies` energies of a file with its
own forces. Both give findings, which are data; :func:`require` stops a run because of them.
"""

from sparring.plausibility.agreement import Compared, disagreements
from sparring.plausibility.choice import frames_to_compare
from sparring.plausibility.comparison import Comparison, compare, require
from sparring.plausibility.consistency import inconsistencies
from sparring.plausibility.findings import ENERGY_UNITS, FORCE_UNITS, Finding

__all__ = [
    "ENERGY_UNITS",
    "FORCE_UNITS",
    "Compared",
    "Comparison",
    "Finding",
    "compare",
    "disagreements",
    "frames_to_compare",
    "inconsistencies",
    "require",
]
