import dataclasses

import numpy as np
import pytest
from ase.build import bulk, molecule
from scipy.stats import spearmanr

from sparring.evaluation import StructurePredictions, errors, predict_structures
from sparring.units import EV, KCAL_PER_MOL
from sparring.validation.errors.compute import ErrorReport, error_report
from sparring.validation.errors.reliability import root_mean_square
from sparring.validation.errors.table import errors_table, report_text
from sparring.validation.records import read_record, write_record

N_MEMBERS = 3


@pytest.fixture
def data(rattled, with_random_labels):
    """Water and ammonia with labels of no meaning; energies rise by 1 kcal/mol a structure, from an odd zero each."""

    def make(n=12, *, seed=0):
        frames = [*rattled(molecule("H2O"), n), *rattled(molecule("NH3"), n, seed=1)]
        dataset = with_random_labels(frames, seed=seed)
        above = KCAL_PER_MOL * np.tile(np.arange(n), 2)
        zero = np.repeat([-2000.0, -1500.0], n)
        return dataclasses.replace(dataset, energy=dataset.energy.new_tensor(zero + above))

    return make


def believed(dataset, *, seed=0, size=0.1):
    """A committee's view: off by errors that are spread as its variances say."""
    generator = np.random.default_rng(seed)
    n, counts = len(dataset), dataset.structures.counts.tolist()
    energy_sigma, force_sigma = size * generator.lognormal(0, 1, (2, n))
    forces = [
        label.numpy() + sigma * generator.normal(size=(count, 3))
        for label, sigma, count in zip(dataset.forces.split(counts), force_sigma, counts, strict=True)
    ]
    return StructurePredictions(
        energy=dataset.energy.numpy() + energy_sigma * generator.normal(size=n),
        forces=tuple(forces),
        energy_variance=energy_sigma**2,
        force_variance=force_sigma**2,
        atom_variance=tuple(np.full(count, sigma**2) for count, sigma in zip(counts, force_sigma, strict=True)),
    )


def with_info(dataset, **values):
    info = tuple({key: value[i] for key, value in values.items() if value[i] is not None} for i in range(len(dataset)))
    return dataclasses.replace(dataset, info=info)


def only(predicted, dataset, rows):
    """Errors of some structures, the plain way."""
    chosen = np.flatnonzero(rows).tolist()
    return errors(predicted.take(chosen), dataset.take(chosen))


# --- parts ----------------------------------------------------------------------------------------------------------


def test_windows_are_masks_of_the_energy_above_the_lowest_of_the_composition(data):
    dataset = data()
    predicted = believed(dataset)
    report = error_report(predicted, dataset, n_members=N_MEMBERS, windows=[KCAL_PER_MOL * cap for cap in (2.5, 8.5)])
    above = np.tile(np.arange(12), 2)
    np.testing.assert_allclose(report.energy_above, KCAL_PER_MOL * above, atol=1e-9)
    assert [window.part.errors for window in report.up_to] == [
        only(predicted, dataset, above < 2.5),
        only(predicted, dataset, above < 8.5),
    ]
    assert [window.part.errors for window in report.between] == [
        only(predicted, dataset, above < 2.5),
        only(predicted, dataset, (above > 2.5) & (above < 8.5)),
        only(predicted, dataset, above > 8.5),
    ]
    assert report.overall.errors == errors(predicted, dataset)


def test_a_window_ends_with_its_cap_and_the_next_begins_behind_it(data):
    dataset = data(3)
    cap = float(dataset.energy[1] - dataset.energy[0])
    report = error_report(believed(dataset), dataset, n_members=N_MEMBERS, windows=[cap])
    assert [(one.low, one.high, one.part.errors.n_structures) for one in report.between] == [
        (0.0, cap, 4),
        (cap, None, 2),
    ]


def test_empty_windows_are_absent(data):
    dataset = data(3)
    report = error_report(believed(dataset), dataset, n_members=N_MEMBERS, windows=[1.0, 2.0])
    assert [window.high for window in report.between] == [1.0]
    assert [window.high for window in report.up_to] == [1.0, 2.0]


def test_the_lowest_known_energy_may_be_one_that_was_learnt_from(data):
    dataset = data()
    training, held_out = dataset.take([0, 1, 12, 13]), dataset.take([*range(2, 12), *range(14, 24)])
    given = (believed(training), training)
    report = error_report(believed(held_out), held_out, n_members=N_MEMBERS, training=given)
    assert report.energy_above.min() == pytest.approx(2 * KCAL_PER_MOL)
    other_code = error_report(believed(held_out), held_out, n_members=N_MEMBERS, training=given, aligned=True)
    assert other_code.energy_above.min() == 0.0


def test_a_composition_that_occurs_once_has_no_zero_of_energy(data):
    dataset = data(5).take([0, 1, 2, 5])
    report = error_report(believed(dataset), dataset, n_members=N_MEMBERS)
    assert np.isnan(report.energy_above).tolist() == [False, False, False, True]
    assert [window.part.errors.n_structures for window in report.between] == [3]


def test_energies_per_atom_weigh_large_molecules_less(data):
    dataset = data(1)
    predicted = dataclasses.replace(believed(dataset), energy=dataset.energy.numpy() + np.array([3.0, -8.0]))
    part = error_report(predicted, dataset, n_members=N_MEMBERS).overall
    assert part.energy_mae_per_atom == pytest.approx((3 / 3 + 8 / 4) / 2)
    assert part.energy_rmse_per_atom == pytest.approx(np.sqrt((1 + 4) / 2))
    assert part.energy_bias == pytest.approx(-2.5)


def test_alignment_takes_out_what_another_code_calls_zero(data):
    dataset = data()
    predicted = believed(dataset)
    moved = dataclasses.replace(predicted, energy=predicted.energy + np.repeat([50.0, -30.0], 12))
    one, other = (error_report(each, dataset, n_members=N_MEMBERS, aligned=True) for each in (predicted, moved))
    assert other.overall.errors.energy_rmse == pytest.approx(one.overall.errors.energy_rmse)
    assert other.energy.correlation.rho == pytest.approx(one.energy.correlation.rho)
    assert other.overall.energy_bias == pytest.approx(0.0, abs=1e-9)


# --- groups ---------------------------------------------------------------------------------------------------------


def test_groups_are_those_of_the_key_and_config_type_comes_before_source(data):
    kinds = (["a"] * 5 + ["b"] * 7) * 2
    dataset = with_info(data(), config_type=kinds, source=["x"] * 24)
    predicted = believed(dataset)
    report = error_report(predicted, dataset, n_members=N_MEMBERS)
    assert (report.group_by, list(report.groups)) == ("config_type", ["a", "b"])
    assert report.groups["b"].errors == only(predicted, dataset, np.array(kinds) == "b")
    assert list(error_report(predicted, dataset, n_members=N_MEMBERS, group_by="source").groups) == ["x"]


def test_structures_without_the_key_are_a_group_of_their_own(data):
    dataset = with_info(data(2), generation=[1, None, 2, 1])
    report = error_report(believed(dataset), dataset, n_members=N_MEMBERS, group_by="generation")
    assert {name: part.errors.n_structures for name, part in report.groups.items()} == {
        "1": 2,
        "no generation": 1,
        "2": 1,
    }


def test_without_any_key_there_are_no_groups(data):
    report = error_report(believed(data()), data(), n_members=N_MEMBERS)
    assert (report.group_by, report.groups) == (None, {})


def test_a_key_that_nothing_has_is_refused_with_those_there_are(data):
    dataset = with_info(data(1), phase=["gas", "gas"])
    with pytest.raises(ValueError, match="no structure has the key 'state' to group by; there are phase"):
        error_report(believed(dataset), dataset, n_members=N_MEMBERS, group_by="state")


# --- uncertainty ----------------------------------------------------------------------------------------------------


@pytest.fixture
def judged(data):
    """Held-out structures, what was learnt from, what a committee says of both, and the report."""
    held_out, training = data(20, seed=1), data(15, seed=2)
    predicted, learnt = believed(held_out, seed=3, size=0.3), believed(training, seed=4)
    report = error_report(predicted, held_out, n_members=N_MEMBERS, training=(learnt, training))
    return held_out, training, predicted, learnt, report


def force_errors(predicted, dataset):
    labels = dataset.forces.split(dataset.structures.counts.tolist())
    return [np.sqrt(np.mean((a - b.numpy()) ** 2)) for a, b in zip(predicted.forces, labels, strict=True)]


def test_uncertainty_and_error_are_compared_structure_by_structure(judged):
    held_out, _, predicted, _, report = judged
    np.testing.assert_allclose(report.forces.sigma, np.sqrt(predicted.force_variance))
    np.testing.assert_allclose(report.forces.error, force_errors(predicted, held_out))
    np.testing.assert_allclose(report.energy.error, np.abs(predicted.energy - held_out.energy.numpy()))
    for reliability in (report.forces, report.energy):
        assert reliability.correlation.rho == pytest.approx(spearmanr(reliability.sigma, reliability.error).statistic)
        assert reliability.calibration.scale == pytest.approx(1.0, abs=0.25)
        assert not reliability.absent


def test_unreliable_is_what_errs_like_the_worst_fifth_of_the_training_set(judged):
    held_out, training, predicted, learnt, report = judged
    limit = np.percentile(force_errors(learnt, training), 80)
    by_force, by_energy = report.forces.detections
    assert [by_force.variance, by_energy.variance] == ["force", "energy"]
    assert by_force.error_limit == by_energy.error_limit == pytest.approx(limit)
    assert by_force.n_positive == np.sum(force_errors(predicted, held_out) >= limit)
    assert by_force.choice.threshold == pytest.approx(np.percentile(learnt.force_variance, 80))
    assert by_energy.choice.threshold == pytest.approx(np.percentile(learnt.energy_variance, 80))
    assert report.energy.detections[0].error_limit != by_force.error_limit


def test_errors_that_follow_sigma_are_found_by_it_and_not_by_another(judged):
    *_, report = judged
    assert report.forces.detections[0].area > 0.85 > 0.7 > report.forces.detections[1].area
    assert report.energy.detections[1].area > 0.65 > report.energy.detections[0].area


def test_the_worst_needs_no_training_set(judged):
    held_out, _, predicted, _, _ = judged
    report = error_report(predicted, held_out, n_members=N_MEMBERS, positive="worst", percentile=75.0)
    found = report.forces.detections[0]
    assert (found.n_positive, found.n_negative, found.choice) == (10, 30, None)


def test_without_a_training_set_nothing_is_beyond_it(data):
    dataset = data()
    report = error_report(believed(dataset), dataset, n_members=N_MEMBERS)
    assert report.forces.detections == ()
    assert (
        "the training data of the committee, and so its usual errors, are not known"
        in report.forces.absent["detection"]
    )
    assert report.forces.correlation is not None


def test_a_training_set_that_errs_more_leaves_nothing_to_find(data):
    dataset = data()
    training = (believed(dataset, size=100.0), dataset)
    report = error_report(believed(dataset), dataset, n_members=N_MEMBERS, training=training)
    assert "all 24 errors stay below the limit" in report.energy.absent["detection"]


def test_one_structure_has_errors_but_no_statistics(data):
    dataset = data().take([3])
    report = error_report(believed(dataset), dataset, n_members=N_MEMBERS, positive="worst")
    assert report.overall.errors.n_structures == 1
    assert report.forces.absent == {
        "correlation": "a rank correlation needs at least 4 structures, got 1",
        "detection": f"all 1 errors reach the limit, {report.forces.error[0]:.4g}: there is only one class",
        "calibration": "a calibration needs at least 2 structures, got 1",
    }


def test_one_network_alone_has_no_uncertainty(data, committee):
    dataset = data(4)
    report = error_report(predict_structures(committee(1), dataset.structures), dataset, n_members=1, positive="worst")
    assert set(report.energy.absent) == {"correlation", "detection", "calibration"}
    assert set(report.energy.absent.values()) == {"one network alone has no uncertainty"}


def test_a_constant_sigma_ranks_nothing_but_can_be_calibrated(data):
    dataset = data()
    predicted = dataclasses.replace(believed(dataset), force_variance=np.full(24, 0.04))
    forces = error_report(predicted, dataset, n_members=N_MEMBERS, positive="worst").forces
    assert "all 24 structures have the same σ" in forces.absent["correlation"]
    assert forces.detections[0].area == 0.5
    assert forces.calibration.ratio == pytest.approx(np.sqrt(np.mean(forces.error**2)) / 0.2)


def test_root_mean_squares_are_of_each_structure():
    rms = root_mean_square(np.array([3.0, 4.0, 1.0]), np.array([0, 0, 1]), 2)
    np.testing.assert_allclose(rms, [np.sqrt(12.5), 1.0])


# --- the whole ------------------------------------------------------------------------------------------------------


def test_a_report_comes_back_from_its_file(judged, tmp_path):
    *_, report = judged
    write_record(tmp_path / "errors.json", report)
    back = read_record(tmp_path / "errors.json", ErrorReport)
    assert (back.overall, back.up_to, back.between) == (report.overall, report.up_to, report.between)
    assert back.forces.correlation == report.forces.correlation
    np.testing.assert_array_equal(back.energy.error, report.energy.error)
    np.testing.assert_array_equal(back.forces.detections[1].threshold, report.forces.detections[1].threshold)
    assert back.forces.detections[0].choice == report.forces.detections[0].choice


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"percentile": 120.0}, "between 0 and 100, got 120"),
        ({"windows": [0.1, -0.2]}, "finite values above 0 eV, got -0.2, 0.1"),
    ],
)
def test_wrong_use_is_refused(data, wrong, message):
    dataset = data(2)
    with pytest.raises(ValueError, match=message):
        error_report(believed(dataset), dataset, n_members=N_MEMBERS, **wrong)


def test_predictions_that_are_not_finite_are_named(data):
    dataset = data(2)
    predicted = believed(dataset)
    predicted.forces[2][0, 0] = np.nan
    with pytest.raises(ValueError, match="1 structures are not finite \\(the first is structure 2"):
        error_report(predicted, dataset, n_members=N_MEMBERS)


# --- stress ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def crystals(rattled, with_random_labels):
    """Copper, three of four with a stress, and a committee whose errors are spread as its variances say."""

    def make(n=24, *, seed=0):
        generator = np.random.default_rng(seed)
        dataset = with_random_labels(rattled(bulk("Cu"), n, seed=seed), seed=seed)
        matrices = generator.normal(size=(n, 3, 3))
        labels = matrices + matrices.transpose(0, 2, 1)
        sigma = 0.1 * generator.lognormal(0, 1, n)
        error = sigma[:, None, None] * generator.normal(size=(n, 3, 3))
        predicted = dataclasses.replace(
            believed(dataset, seed=seed),
            stress=labels + (error + error.transpose(0, 2, 1)) / 2,
            stress_variance=sigma**2,
        )
        labels[::4] = np.nan
        return predicted, dataclasses.replace(dataset, stress=dataset.energy.new_tensor(labels))

    return make


def test_without_stresses_a_report_says_nothing_of_them(data):
    dataset = data()
    report = error_report(believed(dataset), dataset, n_members=N_MEMBERS)
    assert report.stress is None
    assert "stress" not in report_text(report, EV)
    assert "stress" not in errors_table({"": report}, EV).text()


def test_the_uncertainty_of_stresses_is_compared_with_their_errors_where_they_are_known(crystals):
    predicted, dataset = crystals()
    report = error_report(predicted, dataset, n_members=N_MEMBERS, training=crystals(seed=1))
    known = np.arange(24) % 4 > 0
    error = np.sqrt(np.square(predicted.stress - dataset.stress.numpy())[known].mean((1, 2)))
    np.testing.assert_allclose(report.stress.error, error)
    np.testing.assert_allclose(report.stress.sigma**2, predicted.stress_variance[known])
    assert report.stress.correlation.rho > 0.8
    assert [detection.variance for detection in report.stress.detections] == ["stress", "force"]
    assert report.stress.detections[0].area > 0.9 > report.stress.detections[1].area
    assert report.overall.errors.stress_rmse == pytest.approx(np.sqrt(np.mean(error**2)))
    assert len(report.forces.sigma) == 24


def test_stresses_are_shown_in_gigapascals(crystals):
    predicted, dataset = crystals()
    report = error_report(predicted, dataset, n_members=N_MEMBERS, training=crystals(seed=1))
    mae = f"{160.2176634 * report.overall.errors.stress_mae:.4f}"
    text = report_text(report, EV)
    assert "stresses (S) in GPa" in text
    assert mae in text
    limit = 160.2176634 * report.stress.detections[0].error_limit
    assert f"stress error >= {limit:.3g} GPa" in text
    assert mae in errors_table({"generation 1": report}, EV).text()


def test_committees_with_and_without_stresses_stand_in_one_table(crystals, data):
    predicted, dataset = crystals()
    molecules = data()
    reports = {
        "crystals": error_report(predicted, dataset, n_members=N_MEMBERS, windows=[]),
        "molecules": error_report(believed(molecules), molecules, n_members=N_MEMBERS, windows=[]),
    }
    lines = errors_table(reports, EV).text().split("\n")
    assert lines[-1].split()[:5][-1] == "-"
    assert "stress (GPa)" in lines[-3]


def test_a_training_set_without_stresses_has_no_usual_errors_of_them(crystals):
    predicted, dataset = crystals()
    others, known = crystals(seed=1)
    training = (others, dataclasses.replace(known, stress=None))
    report = error_report(predicted, dataset, n_members=N_MEMBERS, training=training)
    assert report.stress.detections == ()
    assert "usual errors" in report.stress.absent["detection"]
    assert report.stress.correlation is not None


def test_a_report_on_stresses_can_be_written_and_read(crystals, tmp_path):
    predicted, dataset = crystals()
    report = error_report(predicted, dataset, n_members=N_MEMBERS)
    write_record(tmp_path / "errors.json", report)
    again = read_record(tmp_path / "errors.json", ErrorReport)
    assert again.overall == report.overall
    np.testing.assert_allclose(again.stress.error, report.stress.error)
