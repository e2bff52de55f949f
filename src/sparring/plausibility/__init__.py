"""Plausibility before computing: what a file's labels give away before they become data.

:func:`disagreements` compares labels of a file with a labeller's, :func:`inconsistencies` energies of a file with its
own forces, :func:`stress_inconsistencies` with its stresses. All give findings, which are data; :func:`require` stops a
run because of them.
"""

from sparring.plausibility.agreement import Compared, disagreements
from sparring.plausibility.choice import frames_to_compare
from sparring.plausibility.comparison import Comparison, compare, contradictions, require
from sparring.plausibility.consistency import inconsistencies
from sparring.plausibility.findings import ENERGY_UNITS, FORCE_UNITS, STRESS_UNITS, Finding
from sparring.plausibility.stresses import stress_inconsistencies

__all__ = [
    "ENERGY_UNITS",
    "FORCE_UNITS",
    "STRESS_UNITS",
    "Compared",
    "Comparison",
    "Finding",
    "compare",
    "contradictions",
    "disagreements",
    "frames_to_compare",
    "inconsistencies",
    "require",
    "stress_inconsistencies",
]
