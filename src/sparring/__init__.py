"""Neural-network potentials made robust by adversarial attacks on their own uncertainty.

Everything public is imported from here, and only when it is first used: ``import sparring`` loads nothing heavy.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "sparring.proposers.ascent": ("AttackResult", "attack"),
    "sparring.dynamics.calculator": ("CommitteeCalculator",),
    "sparring.committee": ("Committee", "Prediction"),
    "sparring.config": ("Config", "ConfigError"),
    "sparring.atoms.dataset": ("Dataset",),
    "sparring.domain": ("TrainingDomain",),
    "sparring.dynamics": (
        "BondsKept",
        "CloserThan",
        "Criterion",
        "DistanceWindow",
        "DynamicsResult",
        "EnergyBelow",
        "Ensemble",
        "Langevin",
        "NVE",
        "NoseHooverChain",
        "side_by_side",
        "simulate",
    ),
    "sparring.inputs.reading": ("read_atoms",),
    "sparring.inputs.extxyz": ("read_labelled", "read_structures", "write_structures"),
    "sparring.labels": (
        "ASECalculator",
        "Bounds",
        "Label",
        "LabelError",
        "LabelReport",
        "LabelStore",
        "Labeller",
        "OpenMM",
        "PySCF",
        "StoredCalculator",
        "label",
        "labelled_atoms",
        "langevin_snapshots",
    ),
    "sparring.runs.loop": ("Plan", "State", "step"),
    "sparring.atoms.neighbors": ("with_edges",),
    "sparring.proposers.objectives": (
        "Objective",
        "Term",
        "boltzmann",
        "boltzmann_weighted",
        "energy_variance",
        "exp",
        "force_variance",
        "log",
        "mean_energy",
    ),
    "sparring.potentials": ("Architecture", "CoordinateMLP", "Potential", "SchNet"),
    "sparring.reporting": ("report",),
    "sparring.commands.running": ("check", "init", "run", "status"),
    "sparring.selection": (
        "Budget",
        "Candidates",
        "Distinct",
        "EnergyWindow",
        "Selection",
        "Selector",
        "UncertaintyAbove",
        "select",
        "threshold_from",
    ),
    "sparring.proposers.base": ("Proposer",),
    "sparring.proposers.dynamics": ("take_snapshots",),
    "sparring.proposers.spaces": (
        "Cartesian",
        "CollectiveVariables",
        "Combined",
        "Dihedrals",
        "Directions",
        "RandomDisplacement",
        "Space",
        "Uniform",
    ),
    "sparring.training.splits": ("Splits",),
    "sparring.committee_files": ("read_committee", "write_committee"),
    "sparring.atoms.structures": ("Structures",),
    "sparring.training.fitting": ("FitReport", "fit"),
    "sparring.dynamics.trajectories": ("md", "trajectory"),
    "sparring.units": ("kT", "quantity"),
    "sparring.evaluation": ("Errors", "evaluate"),
    "sparring.validation.stability.compute": ("Stability", "own_minimum", "stability"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - it is whatever has that name
    """Import a public name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module 'sparring' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """What there is to import."""
    return __all__
