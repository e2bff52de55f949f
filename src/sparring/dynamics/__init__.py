"""Molecular dynamics of many replicas at once, for any committee."""

from sparring.dynamics.barostat import NPT
from sparring.dynamics.bias import HAL, UDD, Bias
from sparring.dynamics.bonds import BondsKept
from sparring.dynamics.criteria import CloserThan, DistanceWindow, EnergyBelow, UncertainForces
from sparring.dynamics.ensembles import NVE, Ensemble, Langevin, NoseHooverChain, Temperature
from sparring.dynamics.expansion import ThermalExpansion, thermal_expansion
from sparring.dynamics.phase import Criterion, Observation, Status
from sparring.dynamics.records import State
from sparring.dynamics.results import DynamicsResult
from sparring.dynamics.simulation import init, side_by_side, simulate, step

__all__ = [
    "HAL",
    "NPT",
    "NVE",
    "UDD",
    "Bias",
    "BondsKept",
    "CloserThan",
    "Criterion",
    "DistanceWindow",
    "DynamicsResult",
    "EnergyBelow",
    "Ensemble",
    "Langevin",
    "NoseHooverChain",
    "Observation",
    "State",
    "Status",
    "Temperature",
    "ThermalExpansion",
    "UncertainForces",
    "init",
    "side_by_side",
    "simulate",
    "step",
    "thermal_expansion",
]
