"""Predictions of a committee for many structures, and their errors against labels."""

from sparring.evaluation.differences import Differences, Errors, align, errors, evaluate, expected_errors
from sparring.evaluation.features import last_layer_features
from sparring.evaluation.predictions import (
    StructurePredictions,
    copy_uncertainties,
    predict_structures,
    with_uncertainties,
)

__all__ = [
    "Differences",
    "Errors",
    "StructurePredictions",
    "align",
    "copy_uncertainties",
    "errors",
    "evaluate",
    "expected_errors",
    "last_layer_features",
    "predict_structures",
    "with_uncertainties",
]
