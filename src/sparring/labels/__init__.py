"""Labels: energies and forces of the ground truth, computed once and kept.

``label`` computes them with any ``Labeller``: PySCF, a force field through OpenMM, calculators that ASE has by name, or
a plugin. Importing this package loads no quantum-chemistry code; a labeller loads its own when it is made.
"""

from sparring.labels.ase import ASECalculator, FromCalculator
from sparring.labels.base import Bounds, Label, LabelError, Labeller, check, electronic_state
from sparring.labels.executors.core_hours import BudgetUsedUp, CoreHours
from sparring.labels.executors.parsl import ParslExecutor
from sparring.labels.executors.restartable import ExecutorError, WorkerLost
from sparring.labels.hessian import hessian_vector_labels
from sparring.labels.limits import Limits
from sparring.labels.offline import AnswerError, LabelFiles, LabelsMissing, Offline
from sparring.labels.openmm import OpenMM, langevin_snapshots, n_langevin_snapshots
from sparring.labels.plugins import plugin
from sparring.labels.pool import (
    LabellingError,
    LabelReport,
    by_reason,
    causes,
    label,
    labelled_atoms,
    require_labeller,
)
from sparring.labels.pyscf import PySCF
from sparring.labels.store import LabelStore, label_key
from sparring.labels.stored import StoredCalculator
from sparring.labels.workers import Workers

__all__ = [
    "ASECalculator",
    "AnswerError",
    "Bounds",
    "BudgetUsedUp",
    "CoreHours",
    "ExecutorError",
    "FromCalculator",
    "Label",
    "LabelError",
    "LabelFiles",
    "LabelReport",
    "LabelStore",
    "Labeller",
    "LabellingError",
    "LabelsMissing",
    "Limits",
    "Offline",
    "OpenMM",
    "ParslExecutor",
    "PySCF",
    "StoredCalculator",
    "WorkerLost",
    "Workers",
    "by_reason",
    "causes",
    "check",
    "electronic_state",
    "hessian_vector_labels",
    "label",
    "label_key",
    "labelled_atoms",
    "langevin_snapshots",
    "n_langevin_snapshots",
    "plugin",
    "require_labeller",
]
