import dataclasses
import math

import numpy as np
import pytest
import torch
from ase.build import bulk, fcc111, molecule

from sparring import uncertainty
from sparring.atoms.dataset import ENERGY, FORCES, STRESS, Dataset
from sparring.atoms.strain import from_voigt, to_voigt
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.evaluation import (
    Differences,
    align,
    copy_uncertainties,
    errors,
    evaluate,
    predict_structures,
    with_uncertainties,
)
from sparring.inputs.extxyz import write_structures
from sparring.inputs.reading import read_atoms


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


# --- stress ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def mixture(rattled):
    """Molecules, a molecule in a box that is not periodic, a slab and crystals."""
    boxed = molecule("H2O", vacuum=3.0)
    slab = fcc111("Cu", (1, 1, 2), vacuum=4.0, periodic=False)
    crystals = [one for name in ("Si", "Cu") for one in rattled(bulk(name), 2)]
    return [molecule("H2O"), boxed, slab, *crystals]


def with_stresses(frames, stresses):
    """A data set of structures with these stresses, None for structures without; energies and forces are zero."""
    labelled = []
    for atoms, stress in zip(frames, stresses, strict=True):
        copy = atoms.copy()
        copy.info[ENERGY], copy.arrays[FORCES] = 0.0, np.zeros((len(atoms), 3))
        if stress is not None:
            copy.info[STRESS] = stress
        labelled.append(copy)
    return Dataset.from_atoms(labelled)


def test_periodic_structures_with_a_volume_have_a_stress_and_others_none(committee, mixture):
    members, structures = committee(), Structures.from_atoms(mixture)
    found, parts = predict_structures(members, structures), predict_structures(members, structures, n_at_once=2)
    stress = members.predict(structures, stress=True).stress.detach()
    known = [False, False, True, True, True, True, True]
    assert np.isfinite(found.stress).all((1, 2)).tolist() == known == np.isfinite(found.stress_variance).tolist()
    np.testing.assert_allclose(found.stress[known], stress.mean(0)[known], rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(found.stress_variance[known], uncertainty.stress_variance(stress)[known], rtol=1e-9)
    np.testing.assert_allclose(parts.stress, found.stress, rtol=1e-9, atol=1e-14)
    np.testing.assert_array_equal(found.take([5, 0]).stress, found.stress[[5, 0]])
    np.testing.assert_array_equal(found.take([5, 0]).stress_variance, found.stress_variance[[5, 0]])


def test_molecules_do_not_pay_for_stresses(committee, mixture, monkeypatch):
    asked = []
    predict = Committee.predict

    def noted(self, structures, *, differentiable=True, stress=False):
        asked.append(stress)
        return predict(self, structures, differentiable=differentiable, stress=stress)

    monkeypatch.setattr(Committee, "predict", noted)
    found = predict_structures(committee(), Structures.from_atoms(mixture[:2]))
    assert (found.stress, found.stress_variance) == (None, None)
    predict_structures(committee(), Structures.from_atoms(mixture), n_at_once=2)
    assert asked == [False, False, True, True, True]


def test_errors_of_stresses_are_means_over_nine_components_of_structures_that_have_a_label(committee, mixture):
    members = committee()
    predicted = predict_structures(members, Structures.from_atoms(mixture))
    off = np.array([0.3, 0.0, 0.0, -0.6, 0.0, 0.0])  # xx and yz, which stands twice in the matrix
    known = [None if k not in (3, 4, 5) else to_voigt(predicted.stress[k]) for k in range(7)]
    known[4] = known[4] - off
    known[0] = np.zeros(6)  # a molecule has none, whatever its file says
    data = with_stresses(mixture, known)
    found = Differences.of(predicted, data)
    assert found.errors().stress_mae == pytest.approx((0.3 + 2 * 0.6) / 27)
    assert found.errors().stress_rmse == pytest.approx(np.sqrt((0.3**2 + 2 * 0.6**2) / 27))
    rows = np.array([False, False, True, False, True, True, True])
    assert found.take(rows).errors().stress_mae == pytest.approx((0.3 + 2 * 0.6) / 18)
    chosen = np.flatnonzero(rows).tolist()
    wanted = Differences.of(predicted.take(chosen), data.take(chosen))
    np.testing.assert_array_equal(found.take(rows).stress, wanted.stress)
    np.testing.assert_array_equal(found.take(rows).stress_owner, wanted.stress_owner)
    assert found.take(~rows).errors().stress_mae == pytest.approx(0.0, abs=1e-12)


def test_without_labels_of_stresses_their_errors_are_not_known(committee, mixture):
    found = evaluate(committee(), with_stresses(mixture, [None] * 7))
    assert math.isnan(found.stress_mae)
    assert math.isnan(found.stress_rmse)
    assert found.force_mae > 0


def test_a_turned_crystal_has_the_same_errors_of_its_stress(committee, rattled):
    crystal, turned = rattled(bulk("Cu"), 1)[0], rattled(bulk("Cu"), 1)[0]
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    turn = np.linalg.solve(crystal.cell.array, turned.cell.array)
    label = from_voigt(np.array([0.1, -0.2, 0.05, 0.3, 0.0, -0.1]))
    labels = [to_voigt(label), to_voigt(turn.T @ label @ turn)]
    one, other = (
        evaluate(committee(), with_stresses([atoms], [stress]))
        for atoms, stress in zip((crystal, turned), labels, strict=True)
    )
    assert one.stress_rmse == pytest.approx(other.stress_rmse, rel=1e-9)


def test_files_have_stresses_of_crystals_beside_their_variance(committee, mixture):
    predicted = predict_structures(committee(), Structures.from_atoms(mixture))
    for annotated in (predicted.annotate(mixture), with_uncertainties(mixture, committee())):
        assert ["committee_stress" in atoms.info for atoms in annotated] == [False] * 2 + [True] * 5
        np.testing.assert_allclose(annotated[3].info["committee_stress"], to_voigt(predicted.stress[3]))
        assert annotated[3].info["stress_variance"] == pytest.approx(predicted.stress_variance[3])
    bare = mixture[3].copy()
    copy_uncertainties(annotated[3], bare)
    np.testing.assert_array_equal(bare.info["committee_stress"], annotated[3].info["committee_stress"])
    np.testing.assert_array_equal(bare.arrays["atom_uncertainty"], annotated[3].arrays["atom_uncertainty"])


def test_predictions_in_a_file_are_no_labels(committee, mixture, tmp_path):
    file = tmp_path / "predicted.extxyz"
    write_structures(file, with_uncertainties(mixture, committee()))
    read = read_atoms(file, labels="optional")
    assert not any({STRESS, ENERGY} & atoms.info.keys() for atoms in read)
    np.testing.assert_allclose(read[3].info["committee_stress"].shape, (6,))
