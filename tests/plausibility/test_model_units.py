"""Models whose energies are in other units, or those of one atom, are found by their forces."""

import numpy as np
import pytest

from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.plausibility.model_units import require_units, wrong_unit
from sparring.units import HARTREE, KCAL_PER_MOL


def changed(potential, change):
    """The same potential in another unit."""

    def energies(structures):
        return change(potential(structures), structures)

    energies.cutoff = potential.cutoff
    return energies


@pytest.fixture
def labelled(schnet, ammonia, water, rattled):
    """A potential, and structures of two sizes with nearly its own labels."""
    from sparring.atoms.structures import Structures

    one, frames = schnet(0), [*rattled(ammonia, 5), *rattled(water, 5)]
    prediction = Committee([one]).predict(Structures.from_atoms(frames), differentiable=False)
    forces = 40 * prediction.forces[0].double()  # a network with random weights is flat
    rows = forces.split([len(frame) for frame in frames])
    for frame, energy, force in zip(frames, prediction.energy[0].tolist(), rows, strict=True):
        frame.info["REF_energy"] = 40 * energy
        frame.arrays["REF_forces"] = 0.9 * force.numpy()
    return changed(one, lambda energy, _: 40 * energy), Dataset.from_atoms(frames)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda energy, _: energy / HARTREE, r"b\.model are in Hartree, not in eV.* forces times 27\.21 agree"),
        (lambda energy, _: energy / KCAL_PER_MOL, r"b\.model are in kcal/mol, .* forces times 0\.04336 agree"),
        (lambda energy, _: 1000 * energy, r"b\.model are in meV"),
        (lambda energy, structures: energy / structures.counts, r"b\.model are in eV an atom, .* forces times 3\.5"),
        (lambda energy, structures: energy / structures.counts / HARTREE, r"b\.model are in Hartree an atom"),
    ],
)
def test_a_model_in_another_unit_is_named_with_the_factor(labelled, change, message):
    potential, dataset = labelled
    committee = Committee([potential, changed(potential, change)])
    with pytest.raises(ValueError, match=message):
        require_units(committee, dataset, ["a.model", "b.model"].__getitem__)


@pytest.mark.parametrize(
    "change", [lambda energy, _: energy, lambda energy, _: 1.5 * energy, lambda energy, _: -energy]
)
def test_a_model_in_ev_is_accepted_however_good_it_is(labelled, change):
    potential, dataset = labelled
    require_units(Committee([changed(potential, change)]), dataset)


def test_a_model_whose_own_labels_come_back_to_the_bit_is_accepted():
    forces = np.random.default_rng(0).normal(size=(7, 3))
    assert wrong_unit(forces, forces.copy(), np.array([4, 4, 4, 4, 3, 3, 3])) is None
