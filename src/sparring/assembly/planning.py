"""From a configuration to the functions that a run is made of: each section becomes arguments of one function."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from jaxtyping import Float

from sparring.assembly import foreign, heads
from sparring.assembly.labels import counted, further_labels, label_service_of
from sparring.assembly.proposing import proposer_of_run, require_proposers, seeds_of_run, shares_of
from sparring.assembly.training import checkpoint_arguments, fit_arguments
from sparring.assembly.unlabelled import predicting
from sparring.atoms.dataset import Dataset
from sparring.atoms.duplicates import duplicate_groups
from sparring.committee import Committee
from sparring.config import Config, committees, sections
from sparring.config.proposers import source_of
from sparring.evaluation import last_layer_features
from sparring.expected_error import ExpectedErrors
from sparring.labels import Bounds, Labeller
from sparring.labels.base import depends_on
from sparring.labels.service import Failed, LabelService
from sparring.potentials import ARCHITECTURES, Architecture
from sparring.potentials import plugin as potential_plugin
from sparring.potentials.foreign.mace_from_scratch import MACE
from sparring.runs.loop import Fitted, Plan
from sparring.runs.stopping import Stop
from sparring.selection import LCMD, Budget, Distinct, EnergyWindow, MaxDet, Selector, UncertaintyAbove, threshold_from
from sparring.selection import plugin as selector_plugin
from sparring.starting_data.base import Starting, note_forces, references
from sparring.starting_data.isolated import split_isolated
from sparring.starting_data.normal_modes import LabelMany
from sparring.starting_data.screening import screen
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.support.seeds import derive
from sparring.surfaces.torsion_maps import evaluation
from sparring.surfaces.torsion_plane import TorsionPlane
from sparring.systems.base import Evaluate, Start, System
from sparring.systems.own.structures import numbered
from sparring.training.fitting import FitReport, fit
from sparring.training.mixed import fit_mixed
from sparring.training.splits import Splits

__all__ = ["architecture", "fit_arguments", "plan", "train"]

logger = logging.getLogger(__name__)


def plan(
    config: Config,
    folder: Path,
    progress_bars: ProgressBars = no_progress_bars,
    *,
    accept_missing: bool = False,
) -> Plan:
    """The functions of a run in a folder, from the sections of its configuration.

    Args:
        config: Configuration.
        folder: Run folder.
        progress_bars: Progress bars by title.
        accept_missing: True to count offline labels as failed that were asked for before and have not come.

    Raises:
        ValueError: If a labeller, a method or a calculator is not known.
        ModuleNotFoundError: If the package that a labeller needs is not installed.
    """
    require_proposers(config)
    for section in config.selection:
        if isinstance(section, sections.SelectorPlugin):
            selector_plugin(section.name, section.parameters)
    label_service = label_service_of(config, folder, progress_bars, accept_missing=accept_missing, of_run=True)
    system = config.system.build()
    return Plan(
        seed=config.seed,
        n_generations=config.generations,
        start=_start(config, system, label_service),
        fit=_naming_labels(_fitting(config, folder, progress_bars), config, label_service.labeller),
        evaluate=_evaluate(system, label_service),
        seeds=lambda dataset, seed: seeds_of_run(config, dataset, seed),
        proposer=lambda dataset, expected: proposer_of_run(config, dataset, expected, progress_bars),
        selectors=lambda *known: selectors(config, progress_bars, *known),
        label=None if config.labels.labeller.kind == "none" else label_service.label,
        max_failed=config.labels.max_failed,
        min_succeeded=config.labels.min_succeeded,
        n_members=config.committee.n_members,
        fractions=config.training.splits.fractions,
        shared_validation=config.training.splits.validation == "shared",
        source=source_of(config.proposers[0]),
        inherited=depends_on(label_service.labeller),
        further_labels=further_labels(config, label_service),
        stop=None if config.stop is None else Stop(**config.stop.arguments()),  # type: ignore[arg-type]
    )


def _fitting(config: Config, folder: Path | None, progress_bars: ProgressBars) -> foreign.FitMembers:
    """The sections ``committee`` and ``training``; without a folder there are no checkpoints."""
    if config.committee.kind == "foreign":
        return foreign.of_models(config, folder, progress_bars)
    if config.committee.kind == "heads":
        return heads.fitted(config)
    networks, training = [architecture(section) for section in config.committee.potentials], fit_arguments(config)

    def fit_members(dataset: Dataset, splits: Splits, seed: int) -> tuple[Committee, FitReport]:
        given = {"splits": splits, "seed": seed, "progress": progress_bars("training"), **training}
        given |= checkpoint_arguments(config, folder, dataset)
        if len(networks) > 1:
            return fit_mixed(networks, dataset, **given)  # type: ignore[arg-type]
        return fit(networks[0], dataset, **given)  # type: ignore[arg-type]

    return fit_members


def _naming_labels(fit_members: foreign.FitMembers, config: Config, labeller: Labeller) -> foreign.FitMembers:
    """The same, with committees that know what computed the labels that they were fitted to, if any."""
    heads_of_labels = config.committee.kind == "heads" and config.committee.uncertainty == "heads"
    if config.training.kind == "none" and not heads_of_labels:
        return fit_members

    def fit_and_name(dataset: Dataset, splits: Splits, seed: int) -> tuple[Committee, FitReport]:
        committee, report = fit_members(dataset, splits, seed)
        if (domain := committee.domain) is not None:
            named = replace(domain, method=labeller.method, method_version=labeller.version)
            committee = committee.with_domain(named)
        return committee, report

    return fit_and_name


def train(
    config: Config, dataset: Dataset, progress_bars: ProgressBars = no_progress_bars, folder: Path | None = None
) -> Fitted:
    """The sections ``committee`` and ``training`` on data of one's own: one committee, without the loop.

    Isolated atoms are not trained on; they give elements their energies. Labels beyond the bounds are left out.

    Args:
        config: Configuration.
        dataset: Labelled structures.
        progress_bars: Progress bars by title.
        folder: Folder for checkpoints, and for what a trainer of the user's writes; None for no checkpoints, and the
            current folder for the trainer.

    Raises:
        ValueError: If no label is left, or one geometry has several.
    """
    bounds = Bounds(**config.labels.bounds.arguments())  # type: ignore[arg-type]
    frames = numbered(dataset.to_atoms())
    kept = screen(frames, bounds, lambda _, error: logger.warning("%s", error), file="the data")
    structures, isolated = split_isolated(kept)
    if not structures:
        raise ValueError(f"none of {len(dataset)} structures can be trained on: look at labels.bounds and the labels")
    if len(structures) < len(dataset):
        dataset = Dataset.from_atoms(structures)
        dataset = replace(dataset, atomic_energies=references(isolated, dataset))
    note_forces(dataset)
    splits = Splits.draw(
        len(dataset),
        n_members=config.committee.n_members,
        seed=derive(config.seed, "splits"),
        fractions=config.training.splits.fractions,
        shared=config.training.splits.validation == "shared",
        groups=duplicate_groups(dataset.structures),
    )
    return Fitted(*_fitting(config, folder, progress_bars)(dataset, splits, config.seed))


def architecture(
    section: committees.AnyPotential | committees.ForeignCommittee | committees.HeadsCommittee,
) -> Architecture:
    """The section ``committee.potential``; the first model of another package, or the backbone of heads.

    Raises:
        ValueError: If no package registers a plugin's name, it does not accept the parameters, or a model of another
            package cannot be loaded.
    """
    if isinstance(section, committees.ForeignCommittee):
        return foreign.members(section)[0]
    if isinstance(section, committees.HeadsCommittee):
        return heads.backbone(section.backbone)
    if isinstance(section, committees.PotentialPlugin):
        return potential_plugin(section.name, section.parameters)
    kinds: Mapping[str, type[Architecture]] = {**ARCHITECTURES, MACE.kind: MACE}
    return kinds[section.kind](**section.arguments())


def selectors(
    config: Config,
    progress_bars: ProgressBars,
    variances: Float[np.ndarray, " n_train"],
    lowest: Mapping[str, float],
    seed: int,
    committee: Committee,
    dataset: Dataset,
    expected: ExpectedErrors | None = None,
) -> list[Selector]:
    """The section ``selection``."""
    steps: list[Selector] = []
    features, shares = partial(last_layer_features, committee), shares_of(config)
    for section in config.selection:
        if isinstance(section, sections.UncertaintyAbove):
            steps.append(UncertaintyAbove(threshold=_threshold(section, variances, expected)))
        elif isinstance(section, sections.EnergyWindow):
            steps.append(EnergyWindow(above=lowest, window=section.window))
        elif isinstance(section, sections.Distinct):
            steps.append(Distinct(**section.arguments(), progress=progress_bars("comparison")))  # type: ignore[arg-type]
        elif isinstance(section, sections.MaxDet):
            steps.append(MaxDet(n=section.n, features=features, scaled=section.scaled, shares=shares))
        elif isinstance(section, sections.LCMD):
            training = dataset.structures if section.with_data else None
            steps.append(LCMD(n=section.n, features=features, training=training, shares=shares))
        elif isinstance(section, sections.SelectorPlugin):
            steps.append(selector_plugin(section.name, section.parameters))
        else:
            steps.append(Budget(n=section.n, order=section.order, seed=seed, shares=shares))
    return steps


def _threshold(
    section: sections.UncertaintyAbove, variances: Float[np.ndarray, " n_train"], expected: ExpectedErrors | None
) -> float:
    """The force variance from which on structures are uncertain, in (eV/Å)²."""
    if section.force_error is None:
        return threshold_from(variances, float(section.percentile))
    if expected is None:
        logger.warning(
            "too few errors are known to say which candidates err by %g eV/Å: all pass uncertainty_above",
            section.force_error,
        )
        return 0.0
    return expected.forces.sigma_of(section.force_error) ** 2


def _start(config: Config, system: System, label_service: LabelService) -> Callable[[], Starting]:
    """Labelled structures to begin with, and an account of those that have no label."""
    seed = derive(config.seed, 1, "start") % 2**31

    def begin(label_many: LabelMany, failed: Failed) -> Sequence[Atoms]:
        given = Start(
            label_service=label_service,
            label_many=label_many,
            failed=failed,
            seed=seed,
            n_generations=config.generations,
            potential=config.committee.potential.kind,
        )
        return system.start(given)

    further, labelled = further_labels(config, label_service), counted(label_service, begin)

    def start() -> Starting:
        found = Starting(())
        with label_service.together():
            found = labelled()
            found = found._replace(atoms=further(found.atoms))
        return found

    return predicting(system, start) if config.labels.labeller.kind == "none" else start


def _evaluate(system: System, label_service: LabelService) -> Evaluate:
    """The evaluation of each committee: the system's own numbers, and errors over its torsions."""
    parts: list[Evaluate] = [] if system.evaluation is None else [system.evaluation(label_service)]
    if system.torsions is not None:
        parts.append(_over_torsions(system.torsions, label_service))
    return lambda committee, dataset: {
        name: value for part in parts for name, value in part(committee, dataset).items()
    }


def _over_torsions(
    torsions: Callable[[Sequence[Atoms]], tuple[TorsionPlane, Atoms]], label_service: LabelService
) -> Evaluate:
    known: list[Evaluate] = []

    def evaluate(committee: Committee, dataset: Dataset) -> Mapping[str, object]:
        if not known:
            # The first structures of all data sets of a run are the same, so that all generations have one grid.
            known.append(evaluation(*torsions(dataset.to_atoms()[:1]), label_service))
        return known[0](committee, dataset)

    return evaluate
