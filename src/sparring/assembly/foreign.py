"""Committees of models of other packages, from the sections ``committee`` and ``training`` of a configuration."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch

from sparring.assembly.resources import machine
from sparring.assembly.training import checkpoint_arguments, fit_arguments
from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.committee_files import read_committee
from sparring.config import Config, committees
from sparring.config.trainers import trainer_named
from sparring.config.training import Command, FineTune
from sparring.inputs.reading import read_atoms
from sparring.plausibility.model_units import require_units
from sparring.potentials import Architecture
from sparring.potentials.foreign.alignment import align_energies
from sparring.potentials.foreign.loading import load_potentials
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.training.external import Program, train_members
from sparring.training.fitting import FitReport, fit
from sparring.training.jobs import domain_of
from sparring.training.splits import Splits

__all__ = ["FitMembers", "loaded", "members", "of_models", "program"]

FitMembers = Callable[[Dataset, Splits, int], tuple[Committee, FitReport]]
"""Function from data, splits and a seed to a committee and an account of its training."""


def of_models(config: Config, folder: Path | None, progress_bars: ProgressBars = no_progress_bars) -> FitMembers:
    """Committees of the section ``committee`` of kind "foreign", by the kind of the section ``training``.

    Args:
        config: Configuration.
        folder: Folder for checkpoints, and for what a trainer of the user's writes; None for no checkpoints, and the
            current folder for the trainer.
        progress_bars: Progress bars by title.

    Raises:
        ValueError: If a model cannot be loaded, or the trainer is not known.
    """
    if isinstance(config.training, FineTune):
        return _tuned(config, config.training, folder, progress_bars)
    if isinstance(config.training, Command):
        return _trained_outside(config, config.training, (folder or Path.cwd()) / "trained", progress_bars)
    return loaded(config)


def loaded(config: Config) -> FitMembers:
    """Models of another package as they are, except that their zeros of energy are aligned.

    Raises:
        ValueError: If one cannot be loaded, or there are not as many as members.
    """
    models = members(config.committee, getattr(torch, config.dtype))
    wanted = config.committee.n_members
    if len(models) != wanted:
        raise ValueError(f"committee: there are {len(models)} models for n_members: {wanted}; give one for each member")

    def load_members(dataset: Dataset, splits: Splits, seed: int) -> tuple[Committee, FitReport]:
        require_units(Committee(models), dataset, lambda index: f"model {index} of committee.models")
        return _untrained(config, models, dataset)

    return load_members


def _untrained(config: Config, models: list[Architecture], dataset: Dataset) -> tuple[Committee, FitReport]:
    """Models as a committee, with the account of a training without epochs."""
    committee = Committee(align_energies(models, dataset.to_atoms())).to(device=config.device)
    return committee, FitReport.untrained(committee.n_members)


def _tuned(config: Config, training: FineTune, folder: Path | None, progress_bars: ProgressBars) -> FitMembers:
    """Models that every generation trains further, always from the checkpoints, on its data and on a replay."""
    models, again = members(config.committee, getattr(torch, config.dtype)), None
    if training.replay is not None:
        section = training.replay
        keys = {name: getattr(section, name) for name in ("energy_key", "forces_key", "stress_key")}
        again = Dataset.from_atoms(read_atoms(section.file, labels="required", **keys))
    arguments = {
        **fit_arguments(config),
        "start_from": models,
        "replay": again,
        "replay_weight": training.replay.weight if training.replay else 1.0,
    }

    def tune_members(dataset: Dataset, splits: Splits, seed: int) -> tuple[Committee, FitReport]:
        given = {"progress": progress_bars("training"), **arguments, **checkpoint_arguments(config, folder, dataset)}
        return fit(models[0], dataset, splits=splits, seed=seed, **given)  # type: ignore[arg-type]

    return tune_members


def _trained_outside(config: Config, training: Command, folder: Path, progress_bars: ProgressBars) -> FitMembers:
    """Models that a program of the user's trains on the data of every generation."""
    trainer = program(training)

    def train_outside(dataset: Dataset, splits: Splits, seed: int) -> tuple[Committee, FitReport]:
        content = repr((seed, splits, dataset.energy.tolist(), dataset.structures.positions.tolist()))
        name = f"{len(dataset)}-structures-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
        progress = progress_bars("training")
        executor = machine().executor_of_members(folder, trainer.time_limit)
        how = {"seed": seed, "folder": folder / name, "progress": progress, "executor": executor}
        paths = train_members(trainer, dataset, splits, **how)  # type: ignore[arg-type]
        models = members(config.committee, getattr(torch, config.dtype), tuple(map(str, paths)))
        committee, report = _untrained(config, models, dataset)
        return committee.with_domain(domain_of(dataset, splits)), report

    return train_outside


def program(training: Command) -> Program:
    """The program of the section ``training`` of kind "command", from the user's file of trainers.

    Raises:
        ConfigError: If the file does not have it.
        ValueError: If it has a placeholder that is not known.
    """
    named = trainer_named(training.trainer)
    return Program(name=training.trainer, time_limit=training.time_limit, **named.arguments())  # type: ignore[arg-type]


def members(
    section: committees.AnyCommittee,
    dtype: torch.dtype | None = None,
    models: tuple[str, ...] = (),
) -> list[Architecture]:
    """The models of the section ``committee``.

    Args:
        section: Section of the kind "foreign".
        dtype: Precision of the weights; by default that of the models.
        models: Paths of models that are read instead of those of the section.

    Raises:
        ValueError: If one cannot be loaded, or they do not go together.
    """
    assert isinstance(section, committees.ForeignCommittee)
    models = models or section.models
    if section.adapter == "sparring":
        saved = [read_committee(folder).to(dtype=dtype) for folder in models]
        return [one for committee in saved for one in committee.members if isinstance(one, Architecture)]
    return load_potentials(section.adapter, models, head=section.head, dtype=dtype)
