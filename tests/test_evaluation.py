import dataclasses

import numpy as np
import pytest
import torch
from ase.build import molecule

from sparring import uncertainty
from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.evaluation import Differences, align, errors, evaluate, predict_structures, with_uncertainties


@pytest.fixture
def mixed(rattled):
    """Molecules of several sizes and compositions."""
    return [one for name in ("H2O", "NH3", "CH4", "N2", "CH3OH") for one in rattled(molecule(name), 3)]


@pytest.fixture
def labelled_by(mixed):
    """The molecules with a committee's own predictions for labels."""

    def make(committee):
        structures = Structures.from_atoms(mixed)
        prediction = committee.predict(structures, differentiable=False)
        forces = prediction.forces.mean(0).split(structures.counts.tolist())
        for atoms, energy, force in zip(mixed, prediction.energy.mean(0).tolist(), forces, strict=True):
            atoms.info[ENERGY] = energy
            atoms.arrays[FORCES] = force.numpy()
        return Dataset.from_atoms(mixed)

    return make


def shifted(dataset, energies):
    return dataclasses.replace(dataset, energy=dataset.energy + dataset.energy.new_tensor(energies))


def test_a_committee_has_no_errors_against_itself(committee, labelled_by):
    members = committee()
    found = evaluate(members, labelled_by(members))
    assert (found.energy_mae, found.energy_rmse, found.force_mae, found.force_rmse) == pytest.approx(
        (0, 0, 0, 0), abs=1e-12
    )
    assert found.n_structures == 15


def test_errors_are_means_over_structures_and_over_force_components(committee, labelled_by):
    members = committee()
    data = labelled_by(members)
    energies = [3.0, -1.0, *[0.0] * 13]
    forces = data.forces.clone()
    forces[0, 0] += 6.0
    found = evaluate(members, dataclasses.replace(shifted(data, energies), forces=forces))
    assert found.energy_mae == pytest.approx(4 / 15)
    assert found.energy_rmse == pytest.approx(np.sqrt(10 / 15))
    n_components = 3 * len(forces)
    assert found.force_mae == pytest.approx(6 / n_components)
    assert found.force_rmse == pytest.approx(6 / np.sqrt(n_components))


def test_many_structures_are_asked_some_at_a_time_and_answer_as_one_by_one(committee, mixed):
    members = committee()
    structures = Structures.from_atoms(mixed)
    whole, parts = predict_structures(members, structures), predict_structures(members, structures, n_at_once=4)
    energy, forces, _ = members.predict(structures, differentiable=False)
    np.testing.assert_allclose(whole.energy, energy.mean(0), rtol=1e-12)
    np.testing.assert_allclose(whole.energy_variance, uncertainty.energy_variance(energy), rtol=1e-9)
    sigma = uncertainty.force_variance(forces, structures.structure_index, structures.n_structures)
    np.testing.assert_allclose(whole.force_variance, sigma, rtol=1e-9)
    of_atoms = uncertainty.atom_variance(forces).split(structures.counts.tolist())
    for got, wanted, some in zip(whole.atom_variance, of_atoms, parts.atom_variance, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9)
        np.testing.assert_allclose(some, got, rtol=1e-9)
    np.testing.assert_allclose(parts.energy, whole.energy, rtol=1e-12)
    np.testing.assert_allclose(np.concatenate(parts.forces), np.concatenate(whole.forces), atol=1e-12)


def test_one_network_alone_is_never_uncertain(schnet, water):
    alone = predict_structures(Committee([schnet()]), Structures.from_atoms([water]))
    assert (alone.energy_variance.tolist(), alone.force_variance.tolist()) == ([0.0], [0.0])
    assert [values.tolist() for values in alone.atom_variance] == [[0.0] * 3]


def test_what_is_taken_of_a_survey_stays_together(committee, mixed):
    whole = predict_structures(committee(), Structures.from_atoms(mixed))
    part = whole.take([4, 1])
    assert part.energy.tolist() == [whole.energy[4], whole.energy[1]]
    np.testing.assert_array_equal(part.forces[1], whole.forces[1])
    np.testing.assert_array_equal(part.atom_variance[0], whole.atom_variance[4])


def test_differences_of_some_structures_are_those_of_their_own_survey(committee, mixed, with_random_labels):
    data = with_random_labels(mixed)
    whole = predict_structures(committee(), data.structures)
    rows = np.arange(len(data)) % 4 == 1
    indices = np.flatnonzero(rows).tolist()
    part = Differences.of(whole, data).take(rows)
    wanted = Differences.of(whole.take(indices), data.take(indices))
    for field in dataclasses.fields(Differences):
        np.testing.assert_array_equal(getattr(part, field.name), getattr(wanted, field.name))
    assert part.errors() == errors(whole.take(indices), data.take(indices))


def test_annotations_go_onto_copies(committee, mixed):
    whole = predict_structures(committee(), Structures.from_atoms(mixed))
    annotated = whole.annotate(mixed)
    assert [one.info["committee_energy"] for one in annotated] == whole.energy.tolist()
    assert "committee_energy" not in mixed[0].info
    assert "atom_uncertainty" not in mixed[0].arrays


def test_the_mean_square_of_the_uncertainties_of_atoms_is_the_variance_of_the_forces(committee, mixed):
    for atoms in predict_structures(committee(), Structures.from_atoms(mixed)).annotate(mixed):
        mean = np.mean(atoms.arrays["atom_uncertainty"] ** 2)
        assert mean == pytest.approx(atoms.info["force_variance"], rel=1e-12)


def test_structures_get_the_uncertainty_of_their_atoms_unless_it_is_not_finite(committee, mixed):
    assert with_uncertainties([], committee()) == []
    found = with_uncertainties(mixed, committee())
    for atoms, wanted in zip(
        found, predict_structures(committee(), Structures.from_atoms(mixed)).annotate(mixed), strict=True
    ):
        np.testing.assert_array_equal(atoms.arrays["atom_uncertainty"], wanted.arrays["atom_uncertainty"])
    assert not any("atom_uncertainty" in atoms.arrays for atoms in mixed)
    lost = Committee([lambda s: torch.nan * uncertainty.sum_over_atoms(s.positions[:, 0], s.structure_index, 15)] * 2)
    assert not any("atom_uncertainty" in atoms.arrays for atoms in with_uncertainties(mixed, lost))


# --- energies of another code ---------------------------------------------------------------------------------------


def test_energies_of_another_code_give_the_same_errors_when_they_are_aligned(committee, labelled_by, mixed):
    members = committee()
    data = labelled_by(members)
    noise = np.random.default_rng(0).normal(size=len(mixed))
    noisy = shifted(data, noise)
    zeros = {1: 13.6, 6: -1027.5, 7: 1485.25, 8: 2042.0}
    other_code = shifted(noisy, [sum(zeros[number] for number in one.numbers) for one in mixed])
    assert evaluate(members, other_code).energy_mae > 1000
    one, other = (evaluate(members, dataset, aligned=True) for dataset in (noisy, other_code))
    assert other.energy_mae == pytest.approx(one.energy_mae, abs=1e-9)
    assert other.energy_rmse == pytest.approx(one.energy_rmse, abs=1e-9)
    assert (other.force_mae, other.force_rmse) == (one.force_mae, one.force_rmse)


def test_alignment_leaves_what_composition_cannot_explain(rattled, water):
    structures = Structures.from_atoms(rattled(water, 4))
    np.testing.assert_allclose(align(np.array([1.0, 2.0, 3.0, 6.0]), structures), [-2.0, -1.0, 0.0, 3.0], atol=1e-12)


def test_alignment_does_not_need_every_element_by_itself(mixed):
    structures = Structures.from_atoms(mixed[:6])  # only H2O and NH3: two equations for three elements
    difference = np.repeat([5.0, -7.0], 3)
    np.testing.assert_allclose(align(difference, structures), 0.0, atol=1e-10)


def test_errors_without_alignment_see_a_shift(committee, labelled_by):
    members = committee()
    data = shifted(labelled_by(members), [0.25] * 15)
    assert errors(predict_structures(members, data.structures), data).energy_mae == pytest.approx(0.25)
