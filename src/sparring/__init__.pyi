"""The public names of Sparring and their modules, for type checkers and for ``import sparring``."""

from .atoms.dataset import Dataset as Dataset
from .atoms.environments import cut_environment as cut_environment
from .atoms.guests import Guests as Guests
from .atoms.internal_coordinates import bonds_and_angles as bonds_and_angles
from .atoms.neighbors import with_edges as with_edges
from .atoms.structures import Structures as Structures
from .commands.asking import Told as Told
from .commands.asking import ask as ask
from .commands.asking import tell as tell
from .commands.running import check as check
from .commands.running import run as run
from .commands.starting import init as init
from .commands.status import status as status
from .commands.verifying import verify as verify
from .committee import Committee as Committee
from .committee import Prediction as Prediction
from .committee_files import read_committee as read_committee
from .committee_files import write_committee as write_committee
from .config import Config as Config
from .config import ConfigError as ConfigError
from .domain import TrainingDomain as TrainingDomain
from .dynamics import (
    HAL as HAL,
)
from .dynamics import (
    NPT as NPT,
)
from .dynamics import (
    NVE as NVE,
)
from .dynamics import (
    UDD as UDD,
)
from .dynamics import (
    Bias as Bias,
)
from .dynamics import (
    BondsKept as BondsKept,
)
from .dynamics import (
    CloserThan as CloserThan,
)
from .dynamics import (
    Criterion as Criterion,
)
from .dynamics import (
    DistanceWindow as DistanceWindow,
)
from .dynamics import (
    DynamicsResult as DynamicsResult,
)
from .dynamics import (
    EnergyBelow as EnergyBelow,
)
from .dynamics import (
    Ensemble as Ensemble,
)
from .dynamics import (
    Langevin as Langevin,
)
from .dynamics import (
    NoseHooverChain as NoseHooverChain,
)
from .dynamics import (
    ThermalExpansion as ThermalExpansion,
)
from .dynamics import (
    UncertainForces as UncertainForces,
)
from .dynamics import (
    side_by_side as side_by_side,
)
from .dynamics import (
    simulate as simulate,
)
from .dynamics import (
    thermal_expansion as thermal_expansion,
)
from .dynamics.calculator import CommitteeCalculator as CommitteeCalculator
from .dynamics.trajectories import md as md
from .dynamics.trajectories import trajectory as trajectory
from .evaluation import Errors as Errors
from .evaluation import evaluate as evaluate
from .evaluation import expected_errors as expected_errors
from .evaluation import last_layer_features as last_layer_features
from .expected_error import ExpectedErrors as ExpectedErrors
from .inputs.extxyz import (
    read_labelled as read_labelled,
)
from .inputs.extxyz import (
    read_structures as read_structures,
)
from .inputs.extxyz import (
    write_structures as write_structures,
)
from .inputs.reading import read_atoms as read_atoms
from .labels import (
    AnswerError as AnswerError,
)
from .labels import (
    ASECalculator as ASECalculator,
)
from .labels import (
    Bounds as Bounds,
)
from .labels import (
    BudgetUsedUp as BudgetUsedUp,
)
from .labels import (
    CoreHours as CoreHours,
)
from .labels import (
    ExecutorError as ExecutorError,
)
from .labels import (
    Label as Label,
)
from .labels import (
    LabelError as LabelError,
)
from .labels import (
    Labeller as Labeller,
)
from .labels import (
    LabelReport as LabelReport,
)
from .labels import (
    LabelsMissing as LabelsMissing,
)
from .labels import (
    LabelStore as LabelStore,
)
from .labels import (
    Offline as Offline,
)
from .labels import (
    OpenMM as OpenMM,
)
from .labels import (
    ParslExecutor as ParslExecutor,
)
from .labels import (
    PySCF as PySCF,
)
from .labels import (
    StoredCalculator as StoredCalculator,
)
from .labels import (
    WorkerLost as WorkerLost,
)
from .labels import (
    hessian_vector_labels as hessian_vector_labels,
)
from .labels import (
    label as label,
)
from .labels import (
    labelled_atoms as labelled_atoms,
)
from .labels import (
    langevin_snapshots as langevin_snapshots,
)
from .potentials import (
    ACE as ACE,
)
from .potentials import (
    Architecture as Architecture,
)
from .potentials import (
    CoordinateMLP as CoordinateMLP,
)
from .potentials import (
    PaiNN as PaiNN,
)
from .potentials import (
    Potential as Potential,
)
from .potentials import (
    SchNet as SchNet,
)
from .potentials import (
    WithPrior as WithPrior,
)
from .potentials.foreign.alignment import align_energies as align_energies
from .potentials.foreign.loading import load_potential as load_potential
from .potentials.foreign.loading import load_potentials as load_potentials
from .potentials.foreign.mace_from_scratch import MACE as MACE
from .proposers.ascent import AttackResult as AttackResult
from .proposers.ascent import attack as attack
from .proposers.base import Proposer as Proposer
from .proposers.biased_dynamics import biased_dynamics as biased_dynamics
from .proposers.boltzmann import boltzmann as boltzmann
from .proposers.boltzmann import boltzmann_weighted as boltzmann_weighted
from .proposers.bond_window import bond_window as bond_window
from .proposers.dynamics import take_snapshots as take_snapshots
from .proposers.early_stop import EarlyStop as EarlyStop
from .proposers.early_stop import early_stopped as early_stopped
from .proposers.energy_floor import EnergyFloor as EnergyFloor
from .proposers.energy_floor import below_floor as below_floor
from .proposers.energy_floor import reachable as reachable
from .proposers.environments import cut as cut
from .proposers.mutual_repulsion import mutual_repulsion as mutual_repulsion
from .proposers.objectives import (
    Objective as Objective,
)
from .proposers.objectives import (
    Term as Term,
)
from .proposers.objectives import (
    closeness as closeness,
)
from .proposers.objectives import (
    energy_variance as energy_variance,
)
from .proposers.objectives import (
    exp as exp,
)
from .proposers.objectives import (
    force_variance as force_variance,
)
from .proposers.objectives import (
    free_force_variance as free_force_variance,
)
from .proposers.objectives import (
    log as log,
)
from .proposers.objectives import (
    mean_energy as mean_energy,
)
from .proposers.objectives import (
    stress_variance as stress_variance,
)
from .proposers.portfolio import Portfolio as Portfolio
from .proposers.regions import Region as Region
from .proposers.regions import in_region as in_region
from .proposers.scan import scan as scan
from .proposers.spaces import (
    Cartesian as Cartesian,
)
from .proposers.spaces import (
    CollectiveVariables as CollectiveVariables,
)
from .proposers.spaces import (
    Combined as Combined,
)
from .proposers.spaces import (
    Dihedrals as Dihedrals,
)
from .proposers.spaces import (
    Directions as Directions,
)
from .proposers.spaces import (
    RandomDisplacement as RandomDisplacement,
)
from .proposers.spaces import (
    Rigid as Rigid,
)
from .proposers.spaces import (
    Space as Space,
)
from .proposers.spaces import (
    Strain as Strain,
)
from .proposers.spaces import (
    Uniform as Uniform,
)
from .proposers.target_error import target_error as target_error
from .proposers.thermal_start import DynamicsStart as DynamicsStart
from .proposers.thermal_start import NormalModeStart as NormalModeStart
from .proposers.thermal_start import started as started
from .reporting import report as report
from .runs.loop import Plan as Plan
from .runs.loop import State as State
from .runs.loop import step as step
from .selection import (
    LCMD as LCMD,
)
from .selection import (
    Budget as Budget,
)
from .selection import (
    Candidates as Candidates,
)
from .selection import (
    Distinct as Distinct,
)
from .selection import (
    EnergyWindow as EnergyWindow,
)
from .selection import (
    MaxDet as MaxDet,
)
from .selection import (
    Selection as Selection,
)
from .selection import (
    Selector as Selector,
)
from .selection import (
    UncertaintyAbove as UncertaintyAbove,
)
from .selection import (
    select as select,
)
from .selection import (
    threshold_from as threshold_from,
)
from .teacher import PotentialLabeller as PotentialLabeller
from .training.fitting import FitReport as FitReport
from .training.fitting import fit as fit
from .training.fitting import fit_many as fit_many
from .training.heads import fit_heads as fit_heads
from .training.llpr import llpr as llpr
from .training.mixed import fit_mixed as fit_mixed
from .training.splits import Splits as Splits
from .training.trainer import SecondStage as SecondStage
from .training.weak_labels import Taylor as Taylor
from .units import kT as kT
from .units import quantity as quantity
from .validation.bond_scan.compute import scan_bonds as scan_bonds
from .validation.bond_scan.scans import BondScan as BondScan
from .validation.elastic.compute import ElasticConstants as ElasticConstants
from .validation.elastic.compute import elastic as elastic
from .validation.equation_of_state.compute import EquationOfState as EquationOfState
from .validation.equation_of_state.compute import equation_of_state as equation_of_state
from .validation.phonons.compute import PhononStates as PhononStates
from .validation.phonons.compute import phonons as phonons
from .validation.survival.compute import Survival as Survival
from .validation.survival.compute import own_minimum as own_minimum
from .validation.survival.compute import survival as survival
from .validation.vacancy.compute import Vacancies as Vacancies
from .validation.vacancy.compute import vacancy as vacancy

__version__: str
