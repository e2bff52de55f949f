"""Selection of candidates to label: uncertain, low enough in energy, distinct or diverse, within the budget."""

from sparring.candidates import Candidates
from sparring.selection.diversity import LCMD, Features, MaxDet
from sparring.selection.selectors import (
    PLUGIN_GROUP,
    Budget,
    Distinct,
    EnergyWindow,
    Selection,
    SelectionStep,
    Selector,
    UncertaintyAbove,
    plugin,
    select,
    threshold_from,
)

__all__ = [
    "LCMD",
    "PLUGIN_GROUP",
    "Budget",
    "Candidates",
    "Distinct",
    "EnergyWindow",
    "Features",
    "MaxDet",
    "Selection",
    "SelectionStep",
    "Selector",
    "UncertaintyAbove",
    "plugin",
    "select",
    "threshold_from",
]
