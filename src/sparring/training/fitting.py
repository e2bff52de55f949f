"""Training of committees: all members at once, each on its own minibatches (Eq. 2, with Adam)."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from sparring.atoms.curvature import HessianLabels
from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.potentials import Architecture, WithPrior
from sparring.support.devices import require_device
from sparring.training.checkpoints import checkpoints_of
from sparring.training.epochs import Schedule, require_two_members, run_epochs
from sparring.training.jobs import (
    check_architecture,
    check_elements,
    check_labels,
    check_options,
    domain_of,
    initial_references,
    jobs_of,
    joined,
    members_of,
    packed,
    structure_keys,
)
from sparring.training.loss import Loss
from sparring.training.outliers import losses_before_training, warn_of_few
from sparring.training.references import reference_energies
from sparring.training.reports import FitReport, TrainingError
from sparring.training.splits import Splits
from sparring.training.trainer import SecondStage, Trainer, modules_of
from sparring.training.weak_labels import REACH, Taylor, weak_terms

__all__ = ["FitReport", "TrainingError", "fit", "fit_many", "reference_energies"]


def fit(
    architecture: Architecture,
    dataset: Dataset,
    *,
    seed: int,
    n_members: int = 5,
    splits: Splits | None = None,
    bootstrap: bool = False,
    start_from: Sequence[Architecture] = (),
    replay: Dataset | None = None,
    replay_weight: float = 1.0,
    prior_scale: float | None = None,
    n_epochs: int = 500,
    batch_size: int = 30,
    learning_rate: float = 3e-4,
    energy_weight: float = 0.1,
    force_weight: float = 1.0,
    stress_weight: float = 1.0,
    energy_scale: float | None = None,
    taylor: Taylor | None = None,
    hessian_weight: float = 0.01,
    patience: int | None = 30,
    factor: float = 0.5,
    ema_decay: float | None = None,
    amsgrad: bool = False,
    second_stage: SecondStage | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    checkpoint: Path | str | None = None,
    checkpoint_interval: float = 600.0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Committee, FitReport]:
    """Train a committee.

    Every member keeps the weights of the epoch in which its validation loss was lowest. A member whose loss diverges
    goes back to its best weights and on at a tenth of its learning rate, once; if it diverges again it is dropped.

    The committee refuses elements and charges that it was not trained on, see :class:`sparring.TrainingDomain`.

    Args:
        architecture: Architecture of the members, also of another package; their weights are drawn anew. Modules that
            cannot be stacked train one after another.
        dataset: Labelled structures.
        seed: Seed of the weights and of the order of the minibatches.
        n_members: Size of the committee, unless ``splits`` gives it.
        splits: Training and validation set of each member; by default 60:20:20 with a common test set.
        bootstrap: True to train each member on a bootstrap sample of its training set: as many structures, drawn with
            replacement, so that it sees 63 % of them. For members that start from the same weights.
        start_from: Trained modules of the architecture that are trained further, one or several for the members in
            turn: weights, and the constants of a model of another package, are theirs. By default, weights are drawn.
        replay: Labelled structures of an earlier training, on which every member trains, too, and none is validated.
            Their zero of energy is shifted to that of the data set.
        replay_weight: Weight of the loss of a structure of the replay; that of others is one.
        prior_scale: Scale of a frozen random prior for each member, see :class:`sparring.WithPrior`: the size of its
            forces on the data set, in units of that of the labels. None for no prior.
        n_epochs: Number of passes over the training set.
        batch_size: Number of structures in a minibatch; the last one of an epoch may be smaller.
        learning_rate: Initial learning rate of Adam.
        energy_weight: Weight α_E of Eq. 3.
        force_weight: Weight α_F of Eq. 3.
        stress_weight: Weight of stresses, where the data set has some: of squared errors of virials for each atom, see
            :mod:`sparring.training.loss`; 0 to leave stresses out.
        energy_scale: Energy above the lowest of its composition, in eV, at which a structure's errors have half the
            weight (:func:`sparring.training.low_energies.low_energy_weights`); None for equal weights, as in the paper.
        taylor: Energies of displaced structures, from forces, as further labels; None for none.
        hessian_weight: Weight of Hessian-vector labels, where the data set has some
            (:mod:`sparring.training.weak_labels`), in (Å²/eV)²; 0 to leave them out.
        patience: Number of epochs without improvement of the validation loss after which a member's learning rate is
            reduced; None for a constant rate.
        factor: Factor of the learning rate at each reduction.
        ema_decay: Decay per step of an exponential moving average of the weights, which is then validated and kept;
            None to validate and keep the weights themselves, as the paper does.
        amsgrad: True to divide steps by the largest running mean of the squared gradient so far (AMSGrad), not by the
            latest one (Adam).
        second_stage: Stage of training with weights of its own in the loss, after the first; of its epochs the best
            is kept. None for one stage.
        dtype: Precision of the weights.
        device: Device to train on.
        checkpoint: Folder for checkpoints, from the newest of which the same call goes on if it was ended; the result
            is that of an unbroken training, bit for bit. The folder may be removed afterwards. None for none.
        checkpoint_interval: Time between two checkpoints, in seconds.
        progress: Function that is called with the number of epochs done and their total.

    Raises:
        ValueError: If the splits do not match the data set, the architecture does not support its elements, the device
            cannot be used, or an argument is out of range.
        TrainingError: If fewer than two members are left.
    """
    ((committee, report),) = fit_many(
        architecture,
        [dataset],
        seeds=[seed],
        n_members=n_members,
        splits=None if splits is None else [splits],
        bootstrap=bootstrap,
        start_from=start_from,
        replay=replay,
        replay_weight=replay_weight,
        prior_scale=prior_scale,
        n_epochs=n_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        energy_weight=energy_weight,
        force_weight=force_weight,
        stress_weight=stress_weight,
        energy_scale=energy_scale,
        taylor=taylor,
        hessian_weight=hessian_weight,
        patience=patience,
        factor=factor,
        ema_decay=ema_decay,
        amsgrad=amsgrad,
        second_stage=second_stage,
        dtype=dtype,
        device=device,
        checkpoint=checkpoint,
        checkpoint_interval=checkpoint_interval,
        progress=progress,
    )
    return committee, report


def fit_many(
    architecture: Architecture,
    datasets: Sequence[Dataset],
    *,
    seeds: Sequence[int],
    n_members: int = 5,
    splits: Sequence[Splits] | None = None,
    bootstrap: bool = False,
    start_from: Sequence[Architecture] = (),
    replay: Dataset | None = None,
    replay_weight: float = 1.0,
    prior_scale: float | None = None,
    n_epochs: int = 500,
    batch_size: int = 30,
    learning_rate: float = 3e-4,
    energy_weight: float = 0.1,
    force_weight: float = 1.0,
    stress_weight: float = 1.0,
    energy_scale: float | None = None,
    taylor: Taylor | None = None,
    hessian_weight: float = 0.01,
    patience: int | None = 30,
    factor: float = 0.5,
    ema_decay: float | None = None,
    amsgrad: bool = False,
    second_stage: SecondStage | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    checkpoint: Path | str | None = None,
    checkpoint_interval: float = 600.0,
    progress: Callable[[int, int], None] | None = None,
) -> list[tuple[Committee, FitReport]]:
    """Train several committees of one architecture at once, each on a data set of its own.

    The result is that of :func:`fit` for each, but for rounding, and but for constants that an architecture takes from
    its data (:meth:`sparring.Architecture.for_data`): they are those of all data sets. One pass over the members of all
    committees is faster than many passes over few members where networks are small, as those of toy wells are.

    Args:
        architecture: Architecture of all members.
        datasets: Labelled structures of each committee; sizes may differ.
        seeds: Seed of each committee.
        n_members: Size of each committee, unless ``splits`` gives it.
        splits: Training and validation sets of each committee; by default 60:20:20 with a common test set.
        bootstrap: True to train each member on a bootstrap sample of its training set.
        start_from: Trained modules that the members of each committee are trained further from, as in :func:`fit`.
        replay: Labelled structures of an earlier training, as in :func:`fit`.
        replay_weight: Weight of the loss of a structure of the replay.
        prior_scale: Scale of a frozen random prior for each member; None for no prior.
        n_epochs: Number of passes over the training sets.
        batch_size: Number of structures in a minibatch.
        learning_rate: Initial learning rate of Adam.
        energy_weight: Weight α_E of Eq. 3.
        force_weight: Weight α_F of Eq. 3.
        stress_weight: Weight of virials of each atom, where there are stresses.
        energy_scale: Scale of weights that fall with the energy, as in :func:`fit`.
        taylor: Energies of displaced structures as further labels; None for none.
        hessian_weight: Weight of Hessian-vector labels; 0 to leave them out.
        patience: Number of epochs without improvement before a learning rate is reduced; None for constant rates.
        factor: Factor of a learning rate at each reduction.
        ema_decay: Decay per step of an exponential moving average of the weights; None for no average.
        amsgrad: True for AMSGrad instead of Adam.
        second_stage: Second stage of training; None for one stage.
        dtype: Precision of the weights.
        device: Device to train on.
        checkpoint: Folder for checkpoints, as in :func:`fit`; None for none.
        checkpoint_interval: Time between two checkpoints, in seconds.
        progress: Function that is called with the number of epochs done and their total.

    Raises:
        ValueError: If there is no data set, there are not as many seeds or splits as data sets, or :func:`fit` would
            refuse one of them.
        TrainingError: If a committee has fewer than two members left.
    """
    architecture = architecture if prior_scale is None else WithPrior.of(architecture, prior_scale)
    check_architecture(architecture, start_from)
    first = start_from[0] if start_from else None
    jobs = jobs_of(datasets, seeds, splits, n_members, bootstrap=bootstrap, replay=replay, module=first)
    architecture = architecture.for_data(joined(jobs)) if first is None else first
    for job in jobs:
        check_options(job, n_epochs, batch_size, learning_rate, ema_decay)
        if second_stage is not None:
            check_options(job, second_stage.n_epochs, batch_size, second_stage.learning_rate, ema_decay)
        check_elements(job.dataset.structures.atomic_numbers.tolist(), architecture)
    require_device(device)
    domains = [domain_of(job.dataset, job.splits) for job in jobs]
    for job in jobs:
        check_labels(job.dataset, architecture, energy_weight)
    labels = HessianLabels.of(joined(jobs))
    reach = REACH if taylor or (labels and hessian_weight) else 0.0
    data = packed(jobs, architecture, energy_scale, dtype, device, replay_weight, reach)
    terms = weak_terms(labels, data, structure_keys(jobs), taylor, hessian_weight)
    members = members_of(jobs)
    modules = modules_of(architecture, members, start_from)
    architecture = modules[0] if modules else architecture
    references = initial_references(jobs, members, modules)
    loss = Loss(architecture, data, energy_weight, force_weight, references, modules, stress_weight)
    trainer = Trainer(loss, members, batch_size, ema_decay, amsgrad, terms)
    state = trainer.start(learning_rate, dtype, device)
    trainer = trainer.aligned(state.weights)
    before = losses_before_training(trainer.loss, state.weights, members, batch_size)
    for job in jobs:
        warn_of_few(job.part_of(before), job.dataset)
    schedule = Schedule(n_epochs, second_stage, patience, factor)
    trainer, state, curves = run_epochs(
        trainer,
        state,
        schedule,
        require_members=lambda state, epoch: require_two_members(jobs, members, state, epoch, learning_rate, before),
        progress=progress,
        checkpoints=checkpoints_of(checkpoint, checkpoint_interval, trainer, state, schedule),
    )
    trainer, results = trainer.aligned(state.best_weights), []
    for index, domain in enumerate(domains):
        rows = sorted((r for r, m in enumerate(members) if m.committee == index), key=lambda r: members[r].number)
        report = FitReport.of(curves, state, rows)
        kept = [row for number, row in enumerate(rows) if number not in report.dropped]
        results.append((trainer.committee(state.best_weights, kept).with_domain(domain), report))
    return results
