import math

import numpy as np
import pytest
from ase import Atoms

from sparring.atoms.reference import ENERGY, FORCES
from sparring.labels import LabelError
from sparring.runs.results import Labelled
from sparring.runs.stopping import Stop, error_found


def labelled(errors, failures=()):
    """Labels of a round whose forces err by given values."""
    frames = []
    for error in errors:
        atoms = Atoms("N2", positions=[[0, 0, 0], [0, 0, 1.1]], info={ENERGY: 0.0})
        atoms.arrays[FORCES] = np.zeros((2, 3))
        atoms.arrays["committee_forces"] = np.full((2, 3), error)
        frames.append(atoms)
    return Labelled(frames, tuple(enumerate(failures)), len(frames), 0)


def test_the_next_structure_errs_less_with_the_confidence_that_is_named():
    generator, held = np.random.default_rng(0), []
    for _ in range(2000):
        errors = generator.lognormal(size=20)
        held.append(errors[-1] <= error_found(labelled(errors[:-1]), 0.9))
    assert np.mean(held) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(("n", "known"), [(8, False), (9, True), (0, False)])
def test_nine_labels_are_the_fewest_that_show_anything_with_a_confidence_of_nine_in_ten(n, known):
    assert math.isfinite(error_found(labelled([0.01] * n), 0.9)) == known
    assert Stop(force_error=0.1, confidence=0.9).met(labelled([0.01] * n)) == known


def test_a_run_goes_on_while_one_in_ten_errs_more():
    stop = Stop(force_error=0.1, confidence=0.9)
    assert stop.met(labelled([0.05] * 19 + [5.0]))
    assert not stop.met(labelled([0.05] * 17 + [5.0] * 3))


def test_a_label_that_failed_for_its_geometry_is_an_error_above_all_others():
    stop = Stop(force_error=0.1, confidence=0.9)
    refused, crashed = LabelError("force", "its forces"), LabelError("crashed", "no output")
    assert refused.is_geometry
    assert not crashed.is_geometry
    assert not stop.met(labelled([0.05] * 17, [refused] * 3))
    assert stop.met(labelled([0.05] * 17, [crashed] * 3))
    assert math.isinf(error_found(labelled([0.05] * 17, [refused] * 3), 0.9))


def test_labels_without_forces_never_end_a_run():
    found = labelled([0.01] * 20)
    for atoms in found.atoms:
        del atoms.arrays[FORCES]
    assert not Stop(force_error=0.1, confidence=0.9).met(found)


@pytest.mark.parametrize("wrong", [{"force_error": 0.0}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_an_end_that_makes_no_sense_is_an_error(wrong):
    with pytest.raises(ValueError, match="a run stops at an error above zero"):
        Stop(**{"force_error": 0.1, "confidence": 0.9, **wrong})
