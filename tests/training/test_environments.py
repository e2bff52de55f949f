"""Environments of large structures: forces on their core are learnt, and nothing else of their labels."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from sparring.atoms.dataset import ENERGY, FORCES, STRESS, Dataset
from sparring.atoms.environments import cut_environment
from sparring.atoms.reference import FORCES_MASK
from sparring.committee import Committee, digest
from sparring.evaluation import evaluate, predict_structures
from sparring.expected_error import ExpectedErrors
from sparring.inputs.extxyz import read_labelled, write_structures
from sparring.potentials import ACE, PaiNN, SchNet
from sparring.potentials.stacking import cast, stack
from sparring.training.external import reference_energies_of
from sparring.training.fitting import fit
from sparring.training.heads import fit_heads
from sparring.training.loss import Loss
from sparring.training.low_energies import low_energy_weights
from sparring.training.minibatches import PackedDataset
from sparring.training.splits import Splits
from sparring.training.weak_labels import Taylor
from sparring.validation.errors.compute import error_report


@pytest.fixture
def frames(rattled, salt, with_random_labels):
    """Crystals, and environments of them that are cut from larger ones, with labels that mean nothing."""
    large = rattled(bulk("NaCl", "rocksalt", a=5.0, cubic=True) * (2, 2, 2), 3)
    environments = [cut_environment(atoms, 5, core=3.0, shell=1.5) for atoms in large]
    atoms = with_random_labels([*rattled(salt, 5), *environments]).to_atoms()
    for one in atoms:
        one.info[STRESS] = np.full(6, 0.01)
    return atoms


def wild(frames):
    """The same with other labels outside of the cores of environments: forces, energies and stresses."""
    changed = [atoms.copy() for atoms in frames]
    for atoms in changed:
        mask = atoms.arrays.get(FORCES_MASK)
        if mask is not None:
            atoms.arrays[FORCES][~mask] = 1e4 * np.random.default_rng(1).normal(size=(int((~mask).sum()), 3))
            atoms.info.update({ENERGY: -1e5, STRESS: np.full(6, 1e3)})
    return changed


NETWORKS = {
    "schnet": lambda: SchNet(n_features=4, n_filters=4, n_interactions=1, n_gaussians=4, cutoff=3.0),
    "ace": lambda: ACE(n_features=2, n_interactions=1, cutoff=3.0),
}
SPLITS = Splits(test=(), train=((0, 1, 2, 5, 6), (2, 3, 4, 5, 7)), validation=((3, 4, 7), (0, 1, 6)))


@pytest.mark.parametrize("options", [{}, {"energy_scale": 0.5}, {"taylor": Taylor()}])
@pytest.mark.parametrize("name", NETWORKS)
def test_training_does_not_see_the_labels_outside_of_the_core(frames, name, options):
    learnt = [
        fit(NETWORKS[name](), Dataset.from_atoms(atoms), seed=0, splits=SPLITS, n_epochs=2, batch_size=3, **options)
        for atoms in (frames, wild(frames))
    ]
    (one, report), (other, of_wild) = learnt
    assert digest(stack(list(one.members))) == digest(stack(list(other.members)))
    assert (report.validation_loss == of_wild.validation_loss).all()
    core = [atoms.copy() for atoms in frames]
    core[5].arrays[FORCES][0] += 1.0
    changed, _ = fit(NETWORKS[name](), Dataset.from_atoms(core), seed=0, splits=SPLITS, n_epochs=2, batch_size=3)
    assert digest(stack(list(one.members))) != digest(stack(list(changed.members)))


def test_the_loss_of_an_environment_is_the_mean_over_the_forces_on_its_core(frames, schnet):
    dataset, network = Dataset.from_atoms(frames), schnet()
    data = PackedDataset.of(dataset, cutoff=3.0, dtype=torch.float64, device="cpu", padded=False)
    loss = Loss(network, data, 0.3, 0.7, torch.zeros(1, 100, dtype=torch.float64))
    row = torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).unsqueeze(0)
    found = loss.losses_of(row, torch.tensor([[5, 6]]))[0]
    for index, value in zip((5, 6), found, strict=True):
        forces, mask = forces_of(network, frames[index]), frames[index].arrays[FORCES_MASK]
        wanted = 0.7 * np.square(forces - frames[index].arrays[FORCES])[mask].mean()
        assert value.item() == pytest.approx(wanted, rel=1e-9)


def forces_of(network, atoms):
    structures = Dataset.from_atoms([atoms]).structures
    return Committee([network]).predict(structures, differentiable=False).forces[0].numpy()


def test_a_molecule_with_a_mask_is_trained_on_in_one_pass_with_others(rattled, ammonia, with_random_labels):
    atoms = with_random_labels(rattled(ammonia, 8)).to_atoms()
    for one in atoms[::2]:
        one.set_array(FORCES_MASK, np.array([True, True, False, False]))
    one, other = (
        fit(NETWORKS["schnet"](), Dataset.from_atoms(some), seed=0, n_members=2, n_epochs=2)[0]
        for some in (atoms, wild_molecules(atoms))
    )
    assert digest(stack(list(one.members))) == digest(stack(list(other.members)))


def wild_molecules(atoms):
    changed = [one.copy() for one in atoms]
    for one in changed[::2]:
        one.arrays[FORCES][2:] = 1e4
        one.info[ENERGY] = 1e5
    return changed


def test_energies_of_environments_are_not_compared_with_others(frames):
    one, other = (Dataset.from_atoms(atoms) for atoms in (frames, wild(frames)))
    assert reference_energies_of(one) == reference_energies_of(other)
    weights = low_energy_weights(one, 0.1)
    torch.testing.assert_close(weights, low_energy_weights(other, 0.1), rtol=0, atol=0)
    assert weights[5:].tolist() == [1.0, 1.0, 1.0]
    assert one.has_energy.tolist() == [True] * 5 + [False] * 3


def test_a_data_set_keeps_its_masks(frames, tmp_path):
    write_structures(tmp_path / "frames.xyz", frames)
    dataset = Dataset.from_atoms(read_labelled(tmp_path / "frames.xyz"))
    back = dataset.to_atoms()
    assert FORCES_MASK not in back[0].arrays
    for atoms, given in zip(back[5:], frames[5:], strict=True):
        assert (atoms.arrays[FORCES_MASK] == given.arrays[FORCES_MASK]).all()
        assert not given.arrays[FORCES_MASK].all()
    assert dataset.take([0, 1]).force_mask is None
    assert (dataset.take([6]).force_mask.numpy() == frames[6].arrays[FORCES_MASK]).all()
    assert (dataset + dataset).has_energy.tolist() == 2 * dataset.has_energy.tolist()
    assert int(dataset.atoms_with_forces.sum()) == 10 + sum(int(a.arrays[FORCES_MASK].sum()) for a in frames[5:])


def test_a_mask_of_all_atoms_is_none(with_random_labels, rattled, water):
    atoms = with_random_labels(rattled(water, 1)).to_atoms()
    atoms[0].set_array(FORCES_MASK, np.ones(3, dtype=bool))
    dataset = Dataset.from_atoms(atoms)
    assert dataset.force_mask is None
    assert dataset.has_energy.all()


@pytest.mark.parametrize(
    ("mask", "forces", "message"),
    [
        ([0, 0, 0], True, "structure 0 .H2O. has a REF_forces_mask and no atom whose forces count"),
        ([1, 0, 0], False, "has a REF_forces_mask and no forces, so that nothing can be learnt from it; leave it out"),
        ([2, 0, 0], True, "REF_forces_mask must be true or false for each of 3 atoms"),
    ],
)
def test_a_mask_that_leaves_nothing_is_an_error(mask, forces, message):
    atoms = molecule("H2O")
    atoms.info[ENERGY] = 1.0
    if forces:
        atoms.arrays[FORCES] = np.zeros((3, 3))
    atoms.set_array(FORCES_MASK, np.array(mask))
    with pytest.raises(ValueError, match=message):
        Dataset.from_atoms([atoms])


def test_heads_learn_the_forces_on_the_core_alone(frames):
    backbone = PaiNN(n_features=4, n_interactions=1, n_radial=3, cutoff=3.0)
    backbone.initialise(torch.Generator().manual_seed(0))
    backbone = cast(backbone, dtype=torch.float64)
    one, other = (fit_heads(backbone, Dataset.from_atoms(atoms), n_members=3) for atoms in (frames, wild(frames)))
    assert digest(stack(list(one.members))) == digest(stack(list(other.members)))
    core = [atoms.copy() for atoms in frames]
    core[5].arrays[FORCES][0] += 1.0
    changed = fit_heads(backbone, Dataset.from_atoms(core), n_members=3)
    assert digest(stack(list(one.members))) != digest(stack(list(changed.members)))


@pytest.mark.parametrize("aligned", [False, True])
def test_errors_are_those_of_forces_on_the_core(frames, committee, aligned):
    members = committee(2)
    one, other = (evaluate(members, Dataset.from_atoms(atoms), aligned=aligned) for atoms in (frames, wild(frames)))
    assert one == other
    crystals, environments = (Dataset.from_atoms(some) for some in (frames[:5], frames[5:]))
    whole = evaluate(members, crystals, aligned=aligned)
    assert (one.energy_rmse, one.stress_rmse) == (whole.energy_rmse, whole.stress_rmse)
    assert one.n_structures == 8
    of_environments = evaluate(members, environments, aligned=aligned)
    assert np.isnan(of_environments.energy_mae)
    n_crystals, n_core = 10, int(environments.atoms_with_forces.sum())
    squares = n_crystals * whole.force_rmse**2 + n_core * of_environments.force_rmse**2
    assert one.force_rmse == pytest.approx(np.sqrt(squares / (n_crystals + n_core)))


def test_a_report_of_errors_and_expected_errors_do_not_see_the_labels_outside_of_the_core(frames, committee):
    found = []
    for atoms in (frames, wild(frames)):
        dataset = Dataset.from_atoms(atoms)
        predicted = predict_structures(committee(2), dataset.structures)
        report = error_report(predicted, dataset, n_members=2, training=(predicted, dataset), data="some")
        labelled = predicted.annotate(dataset.to_atoms())
        found.append((repr(report.overall), repr(report.up_to), report.energy, ExpectedErrors.of(labelled)))
        assert np.isnan(report.energy_above[5:]).all()
        assert report.energy.error.shape == (5,)
        assert report.forces.error.shape == (8,)
    one, other = found
    assert one[:2] == other[:2]
    np.testing.assert_array_equal(one[2].error, other[2].error)
    assert one[3] == other[3]
