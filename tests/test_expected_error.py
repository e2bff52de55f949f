import copy
import json
import math

import numpy as np
import pytest
import torch
from ase import Atoms

from sparring.atoms.dataset import Dataset
from sparring.atoms.reference import ENERGY, FORCES
from sparring.committee_files import EXPECTED, read_committee, write_committee
from sparring.dynamics.calculator import CommitteeCalculator
from sparring.evaluation import expected_errors, predict_structures
from sparring.expected_error import ExpectedErrors, PowerLaw, stress_error

ANY = np.random.default_rng(0)


def sample(n, *, factor=3.0, exponent=0.7, spread=0.4, seed=0):
    """Values of σ over two decades, and errors that scatter around a power law of them."""
    generator = np.random.default_rng(seed)
    sigma = 10 ** generator.uniform(-2, 0, n)
    return sigma, factor * sigma**exponent * np.exp(spread * generator.standard_normal(n))


def found(force_errors, sigmas, *, symbols="CH3", generator=ANY):
    """Structures whose predicted forces err by given values on every atom, with a committee's variances."""
    frames = []
    for error, sigma in zip(force_errors, sigmas, strict=True):
        atoms = Atoms(symbols, positions=generator.standard_normal((4, 3)))
        signs = generator.choice([-1.0, 1.0], (4, 3))
        atoms.arrays[FORCES] = generator.standard_normal((4, 3))
        atoms.arrays["committee_forces"] = atoms.arrays[FORCES] + error * signs
        atoms.arrays["atom_uncertainty"] = np.full(4, sigma)
        atoms.info.update({ENERGY: -1.0, "committee_energy": -1.0 + 2 * error})
        atoms.info.update(force_variance=sigma**2, energy_variance=sigma**2)
        frames.append(atoms)
    return frames


def test_a_power_law_is_recovered_from_errors_that_scatter_around_it():
    law = PowerLaw.fit(*sample(2000))
    assert law.factor == pytest.approx(3.0, rel=0.05)
    assert law.exponent == pytest.approx(0.7, abs=0.02)
    assert law.sigma_of(0.5) == pytest.approx((0.5 / law.factor) ** (1 / law.exponent))
    assert law(np.array([law.sigma_of(0.5)])) == pytest.approx(0.5)


def test_half_of_the_errors_are_above_the_expected_one():
    law = PowerLaw.fit(*sample(500))
    sigma, error = sample(4000, seed=1)
    assert (error > law(sigma)).mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("confidence", [0.5, 0.9])
@pytest.mark.parametrize("n", [10, 40])
def test_bounds_hold_for_the_promised_share_of_new_structures_whatever_the_distribution(n, confidence):
    """A promise over draws of both: the labels that bounds are taken from, and the next structure."""
    held = []
    for seed in range(400):
        generator = np.random.default_rng(seed)
        sigma = 10 ** generator.uniform(-2, 0, n + 1)
        error = 2 * sigma * (1 + generator.pareto(2.0, n + 1))  # heavy tails, and no power law of σ with noise
        law = PowerLaw.fit(sigma[:n], error[:n])
        held.append(error[n] <= law.bound(sigma[n:], confidence)[0])
    assert np.mean(held) == pytest.approx(confidence + 0.5 / n, abs=0.06)


def test_few_labels_have_a_bound_of_less_confidence_and_say_so():
    sigma, error = sample(6)
    law = PowerLaw.fit(sigma, error)
    assert law.confidence_of(0.9) == pytest.approx(6 / 7)
    assert law.bound(sigma, 0.9) == pytest.approx(law(sigma) * max(law.ratios))
    assert PowerLaw.fit(*sample(50)).confidence_of(0.9) == 0.9


def test_labels_of_one_sigma_leave_the_exponent_at_one():
    sigma = np.full(20, 0.3) * np.exp(0.01 * ANY.standard_normal(20))
    law = PowerLaw.fit(sigma, 2 * sigma * np.exp(0.5 * ANY.standard_normal(20)))
    assert law.exponent == pytest.approx(1.0, abs=0.05)


def test_a_law_always_rises_with_sigma():
    sigma = np.geomspace(0.01, 1, 50)
    assert 0 < PowerLaw.fit(sigma, 1 / sigma).exponent < 0.2


@pytest.mark.parametrize("wrong", [0.0, math.nan, math.inf])
def test_what_cannot_be_used_is_left_out(wrong):
    sigma, error = sample(30)
    law = PowerLaw.fit(sigma, error)
    for sigmas, errors in (([*sigma, wrong], [*error, 1.0]), ([*sigma, 0.1], [*error, wrong])):
        assert PowerLaw.fit(np.array(sigmas), np.array(errors)) == law


def test_too_few_labels_give_no_law():
    assert PowerLaw.fit(*sample(4)) is None
    assert ExpectedErrors.of(found([0.1] * 4, [0.05] * 4)) is None
    assert ExpectedErrors.of([]) is None


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 90.0])
def test_a_confidence_lies_between_none_and_all(confidence):
    with pytest.raises(ValueError, match="between 0 and 1"):
        PowerLaw.fit(*sample(9)).bound(np.ones(1), confidence)


def test_bounds_are_those_of_the_labels_and_the_line_is_that_of_all():
    test = found(0.5 * np.full(30, 0.02), np.full(30, 0.02))
    labels = found(4 * np.full(30, 0.4), np.full(30, 0.4))
    both, alone = ExpectedErrors.of(labels, test), ExpectedErrors.of((), test)
    assert both.forces(np.array([0.4]))[0] == pytest.approx(1.6, rel=0.1)
    assert both.forces(np.array([0.02]))[0] == pytest.approx(0.01, rel=0.1)
    assert len(both.forces.ratios) == 30
    assert both.forces.n == 60
    assert (both.n_labels, both.n_test) == (30, 30)
    assert alone.forces(np.array([0.4]))[0] == pytest.approx(0.2, rel=0.1)


def test_energies_have_a_law_of_their_own():
    expected = ExpectedErrors.of(found(*sample(200, spread=0.0)[::-1]))
    sigma = np.array([0.05, 0.5])
    assert expected.energy(sigma) == pytest.approx(2 * expected.forces(sigma), rel=1e-6)


def test_elements_whose_forces_err_more_have_a_larger_factor_and_others_that_of_all():
    sigma, error = sample(60)
    frames = found(error, sigma)
    for atoms in frames:
        hydrogen = atoms.numbers == 1
        off = atoms.arrays["committee_forces"] - atoms.arrays[FORCES]
        atoms.arrays["committee_forces"] = atoms.arrays[FORCES] + off * np.where(hydrogen, 0.5, 2.0)[:, None]
    expected = ExpectedErrors.of(frames)
    carbon, hydrogen, oxygen = expected.of_atoms(np.array([0.1, 0.1, 0.1]), ["C", "H", "O"])
    assert carbon / hydrogen == pytest.approx(4, rel=0.25)
    assert oxygen == pytest.approx(expected.forces(np.array([0.1]))[0])


def test_labels_without_forces_say_nothing_about_forces():
    frames = found(*sample(30)[::-1])
    for atoms in frames[::2]:
        del atoms.arrays[FORCES]
    expected = ExpectedErrors.of(frames)
    assert expected.forces.n == 15
    assert expected.energy.n == 30


def test_expected_errors_survive_a_file():
    expected = ExpectedErrors.of(found(*sample(20)[::-1]))
    assert ExpectedErrors.from_dict(json.loads(json.dumps(expected.to_dict()))) == expected


def test_frames_get_the_errors_that_their_sigma_lets_expect():
    frames = found(*sample(50)[::-1])
    expected = ExpectedErrors.of(frames)
    expected.note(frames)
    sigma = np.array([math.sqrt(atoms.info["force_variance"]) for atoms in frames])
    assert [atoms.info["expected_force_error"] for atoms in frames] == pytest.approx(expected.forces(sigma).tolist())
    assert [atoms.info["expected_energy_error"] for atoms in frames] == pytest.approx(expected.energy(sigma).tolist())


def test_a_committee_keeps_its_expected_errors_on_its_way_and_on_disk(committee, tmp_path):
    expected = ExpectedErrors.of(found(*sample(20)[::-1]))
    members = committee().with_expected(expected)
    others = (members.to(dtype=torch.float32), members.without_domain(), copy.deepcopy(members))
    assert all(one.expected == expected for one in others)
    write_committee(tmp_path, members)
    assert read_committee(tmp_path).expected is None  # a run writes them once labels are known
    (tmp_path / EXPECTED).write_text(json.dumps(expected.to_dict()), encoding="utf-8")
    assert read_committee(tmp_path).expected == expected
    assert members.with_expected(None).expected is None


def test_predictions_and_the_calculator_show_what_errors_to_expect(committee, ammonia, rattled):
    members, frames = committee(), rattled(ammonia, 8)
    generator = np.random.default_rng(0)
    for atoms in frames:
        atoms.info[ENERGY], atoms.arrays[FORCES] = 0.0, generator.standard_normal((4, 3))
    dataset = Dataset.from_atoms(frames)
    expected = expected_errors(members, dataset)
    known = members.with_expected(expected)
    plain = predict_structures(members, dataset.structures).annotate(frames)[0]
    shown = predict_structures(known, dataset.structures).annotate(frames)[0]
    assert "expected_force_error" not in plain.info
    sigma = math.sqrt(shown.info["force_variance"])
    assert shown.info["expected_force_error"] == pytest.approx(expected.forces.factor * sigma**expected.forces.exponent)
    atoms = frames[0].copy()
    atoms.calc = CommitteeCalculator(known)
    assert atoms.get_potential_energy() == pytest.approx(shown.info["committee_energy"])
    results = atoms.calc.results
    assert results["forces_error"] == pytest.approx(shown.info["expected_force_error"])
    assert results["energy_error"] == pytest.approx(shown.info["expected_energy_error"])
    of_atoms = expected.of_atoms(shown.arrays["atom_uncertainty"], ["N", "H", "H", "H"])
    assert results["atom_error"] == pytest.approx(of_atoms)
    atoms.calc = CommitteeCalculator(members)
    atoms.get_potential_energy()
    assert "forces_error" not in atoms.calc.results


# --- stress ---------------------------------------------------------------------------------------------------------


def stressed(errors, sigmas):
    """Crystals whose predicted stresses err by given values in every component."""
    frames = found(errors, sigmas)
    for atoms, error, sigma in zip(frames, errors, sigmas, strict=True):
        atoms.info["REF_stress"] = ANY.standard_normal(6)
        atoms.info["committee_stress"] = atoms.info["REF_stress"] + error * ANY.choice([-1.0, 1.0], 6)
        atoms.info["stress_variance"] = sigma**2
    return frames


def test_errors_of_stresses_are_expected_by_those_of_labels_and_stand_in_files_of_crystals():
    sigma, error = sample(100)
    expected = ExpectedErrors.of(stressed(error, sigma))
    law = PowerLaw.fit(sigma, error)
    assert (expected.stress.factor, expected.stress.exponent) == pytest.approx((law.factor, law.exponent))
    crystal, other = stressed([0.1], [0.2])[0], found([0.1], [0.2])[0]
    expected.note([crystal, other])
    assert crystal.info["expected_stress_error"] == pytest.approx(float(expected.stress(np.array(0.2))))
    assert "expected_stress_error" not in other.info
    assert ExpectedErrors.from_dict(json.loads(json.dumps(expected.to_dict()))) == expected


def test_the_root_mean_square_error_of_a_stress_is_that_of_its_nine_components():
    (crystal,) = stressed([0.0], [0.1])
    crystal.info["committee_stress"] = crystal.info["REF_stress"] + np.array([0, 0, 0, 0.3, 0, 0])
    assert stress_error(crystal) == pytest.approx(np.sqrt(2 * 0.3**2 / 9))


def test_labels_without_stresses_say_nothing_of_their_errors_as_files_of_older_versions():
    expected = ExpectedErrors.of(found(*sample(100)))
    assert expected.stress is None
    older = expected.to_dict()
    del older["stress"]
    assert ExpectedErrors.from_dict(json.loads(json.dumps(older))) == expected


def test_the_calculator_expects_an_error_of_the_stress(committee, salt, ammonia):
    expected = ExpectedErrors.of(stressed(*sample(100)))
    salt.calc = CommitteeCalculator(committee().with_expected(expected))
    sigma = np.array(salt.calc.get_property("stress_uncertainty", salt))
    assert salt.calc.get_property("stress_error", salt) == pytest.approx(float(expected.stress(sigma)))
    ammonia.calc = CommitteeCalculator(committee().with_expected(expected))
    ammonia.get_potential_energy()
    assert "stress_error" not in ammonia.calc.results
