"""New labels beside the errors that were expected before them, in folders that are made up and have known answers."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from sparring.atoms.reference import ENERGY, FORCES
from sparring.expected_error import ExpectedErrors, PowerLaw
from sparring.inputs.extxyz import write_structures
from sparring.runs.expectations import new_labels, new_labels_of_run, ratio_on_test_set
from sparring.runs.generation import Generation
from sparring.runs.saved_run import SavedRun

LAW = PowerLaw(factor=2.0, exponent=1.0, ratios=tuple(np.linspace(0.1, 1.9, 19)), n=30)
"""Errors are expected to be twice σ, and the bound of 90 % is 3.6 σ: the 18th of 19 ratios is 1.8."""


def frames(errors, sigmas, sources=(), **info):
    found = []
    for place, (error, sigma) in enumerate(zip(errors, sigmas, strict=True)):
        atoms = Atoms("N2", positions=[[0, 0, 0], [0, 0, 1.1]])
        atoms.info.update({ENERGY: 0.0, "committee_energy": 0.0, "force_variance": sigma**2, **info})
        atoms.arrays[FORCES] = np.zeros((2, 3))
        atoms.arrays["committee_forces"] = np.full((2, 3), float(error))
        if sources:
            atoms.info["source"] = sources[place]
        found.append(atoms)
    return found


@pytest.fixture
def generation(tmp_path):
    def make(labelled=(), *, number=2, law=LAW, n_labels=20, refused=()):
        folder = tmp_path / f"generation-{number:02d}"
        folder.mkdir(parents=True)
        write_structures(folder / "labelled.extxyz", labelled)
        with (folder / "failures.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(
                [
                    ("candidate", "reason", "message", "files"),
                    *((i, reason, "", "") for i, reason in enumerate(refused)),
                ]
            )
        if law is not None:
            known = ExpectedErrors(forces=law, energy=None, elements={}, n_labels=n_labels, n_test=11)
            (folder / "expected_errors.json").write_text(json.dumps(known.to_dict()), encoding="utf-8")
        return Generation(folder)

    return make


def test_labels_within_the_bound_that_was_known_before_them_are_counted(generation):
    found = new_labels(generation(frames([0.2, 0.4, 0.35, 0.36, 0.37], [0.1] * 5)))
    expectation = found.expectation()
    assert (expectation.n_labels, expectation.n_within, expectation.confidence) == (5, 3, 0.9)
    assert expectation.ratio == pytest.approx(0.36 / 0.2)
    assert found.sigma_ratio == pytest.approx(3.6)
    assert found.median_error == pytest.approx(0.36)
    assert not found.by_test


def test_each_source_of_a_portfolio_is_counted_for_itself(generation):
    labelled = frames([0.2, 0.4, 0.4, 0.1], [0.1] * 4, ["attack", "scan", "scan", "attack"])
    found = new_labels(generation(labelled))
    counts = {one.source: (one.n_within, one.n_labels, one.ratio) for one in found.by_source}
    assert counts == {"attack": (2, 2, pytest.approx(0.75)), "scan": (0, 2, pytest.approx(2.0))}
    assert (found.expectation().n_within, found.expectation().n_labels) == (2, 4)


def test_a_single_source_is_not_listed_twice(generation):
    assert not new_labels(generation(frames([0.1] * 3, [0.1] * 3, ["attack"] * 3))).by_source


def test_a_bound_by_few_structures_has_the_confidence_that_they_give(generation):
    few = replace(LAW, ratios=(0.5, 1.0, 1.5, 2.0))
    found = new_labels(generation(frames([0.39, 0.41], [0.1] * 2), law=few))
    assert found.expectation().confidence == pytest.approx(0.8)
    assert found.expectation().n_within == 1


def test_a_bound_of_test_structures_is_told_from_one_of_labels(generation):
    assert new_labels(generation(frames([0.1], [0.1]), n_labels=0)).by_test


def test_labels_like_those_before_are_no_surprise_and_worse_ones_are(generation):
    """The probability is that of draws: structures that set the bound, then labels of the same distribution."""
    few_within = new_labels(generation(frames([0.1] * 14 + [0.5] * 6, [0.1] * 20))).expectation()
    generator, counts = np.random.default_rng(0), []
    for _ in range(20000):
        bound = np.sort(generator.random(19))[17]
        counts.append((generator.random(20) <= bound).sum())
    assert few_within.probability == pytest.approx(np.mean(np.array(counts) <= 14), abs=0.01)
    assert few_within.probability < 0.2
    none_within = new_labels(generation(frames([9.0] * 20, [0.1] * 20), number=3)).expectation()
    assert none_within.probability < 1e-6


def test_the_error_found_is_that_of_the_confidence_that_is_asked_for(generation):
    folder = generation(frames(np.arange(1, 20) / 10, [0.1] * 19), refused=["distance", "crashed"])
    found = new_labels(folder, 0.9)  # of 20 errors, the highest is that of the refused label
    assert found.error_found == pytest.approx(1.9)
    assert (found.n_refused, found.stop_confidence) == (1, 0.9)
    assert new_labels(folder, 0.5).error_found == pytest.approx(1.1)
    assert math.isinf(new_labels(folder, 0.95).error_found)


def test_a_refused_label_is_above_the_median(generation):
    found = new_labels(generation(frames([0.1, 0.2], [0.1] * 2), refused=["distance"] * 3))
    assert math.isinf(found.median_error)


def test_folders_of_older_versions_have_errors_and_no_expectation(generation):
    found = new_labels(generation(frames([0.2] * 9, [0.1] * 9), law=None))
    assert found.expectation() is None
    assert found.by_source == ()
    assert found.sigma_ratio == pytest.approx(2.0)
    assert found.error_found == pytest.approx(0.2)


def test_generations_without_labels_give_nothing(generation, tmp_path):
    assert new_labels(generation()) is None
    assert new_labels(Generation(tmp_path / "generation-07")) is None
    generation(frames([0.1], [0.1]), number=1)
    assert [one.generation for one in new_labels_of_run(SavedRun(tmp_path))] == [1]


def test_labels_without_forces_have_no_error(generation):
    labelled = frames([0.2, 0.3], [0.1] * 2)
    del labelled[0].arrays[FORCES]
    found = new_labels(generation(labelled))
    assert found.expectation().n_labels == 1
    assert np.isnan(found.error[0])


def test_members_that_agree_exactly_have_no_ratio(generation):
    found = new_labels(generation(frames([0.2, 0.3], [0.0, 0.1])))
    assert found.sigma_ratio == pytest.approx(3.0)
    assert found.expectation().n_labels == 1


def test_only_test_structures_count_for_the_ratio_of_the_test_set(generation):
    folder = generation()
    structures = [*frames([0.3, 0.1, 0.2], [0.1] * 3, split="test"), *frames([9.0], [0.1], split="fit")]
    write_structures(folder.folder / "predictions.extxyz", structures)
    assert ratio_on_test_set(folder) == (pytest.approx(2.0), 3)
