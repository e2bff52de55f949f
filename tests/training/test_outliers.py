"""A label that spoils training is named."""

import contextlib
import dataclasses
import re

import pytest

from sparring.atoms.dataset import ENERGY, Dataset
from sparring.potentials import SchNet
from sparring.support.seeds import derive
from sparring.training.fitting import TrainingError, fit
from sparring.training.splits import Splits


@pytest.fixture
def dataset(ammonia, rattled, with_random_labels):
    atoms = with_random_labels(rattled(ammonia, 24)).to_atoms()
    for index, one in enumerate(atoms):
        one.info.update(source="file", frame=100 + index, generation=1)
    return Dataset.from_atoms(atoms)


def network():
    return SchNet(n_features=8, n_filters=8, n_interactions=1, n_gaussians=4, cutoff=3.0)


def spoilt(dataset, index, *, force=0.0, energy=0.0):
    forces, energies = dataset.forces.clone(), dataset.energy.clone()
    forces[4 * index] += force
    energies[index] += energy
    return dataclasses.replace(dataset, forces=forces, energy=energies)


@pytest.mark.parametrize("label", [{"force": 1e4}, {"energy": 1e5}, {"force": 1e30}])
def test_a_label_that_has_all_of_the_loss_is_named_before_it_is_learnt(dataset, label, caplog):
    learnt = fit_splits(dataset).fit[0]
    # Some of these are learnt badly, others not at all.
    with contextlib.suppress(TrainingError):
        fit(network(), spoilt(dataset, learnt, **label), seed=0, n_members=2, n_epochs=1)
    words = f"of the loss before training is that of 1 of 24 structures: structure {learnt} (H3N, frame {100 + learnt}"
    assert words in caplog.text


def test_labels_like_each_other_are_not_worth_a_word(dataset, caplog):
    fit(network(), dataset, seed=0, n_members=2, n_epochs=1)
    assert not caplog.text


def test_a_divergence_names_the_frames_of_largest_loss(dataset):
    learnt = fit_splits(dataset).fit[3]
    wrong = spoilt(dataset, learnt, force=50.0)
    message = (
        f"most of the loss before training was that of structure {learnt} (H3N, frame {100 + learnt}, generation 1"
    )
    with pytest.raises(TrainingError, match=re.escape(message)):
        fit(network(), wrong, seed=0, n_members=2, n_epochs=10, learning_rate=1e6)


def test_one_composition_in_two_charges_is_refused_by_training_itself(dataset):
    atoms = dataset.to_atoms()
    for one in atoms[::2]:
        one.info["charge"] = 1
    assert all(ENERGY in one.info for one in atoms)
    with pytest.raises(
        ValueError, match=r"H3N is there with charge \+0.*and with charge \+1.*'schnet' depends on neither"
    ):
        fit(network(), Dataset.from_atoms(atoms), seed=0, n_members=2, n_epochs=1)


def fit_splits(dataset):
    """The splits that training draws by itself."""
    return Splits.draw(len(dataset), n_members=2, seed=derive(0, "splits"))
