"""Failures of copies: which coordinate went, and how wrong the committee is there."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from sparring.atoms.internal_coordinates import bonds_and_angles
from sparring.atoms.neighbors import distances
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics import NVE, CloserThan, DistanceWindow, Langevin, simulate
from sparring.expected_error import ExpectedErrors, PowerLaw
from sparring.labels.base import Label, LabelError
from sparring.labels.pool import LabelReport
from sparring.units import KCAL, kT
from sparring.validation.records import read_record, write_record
from sparring.validation.survival.compute import survival
from sparring.validation.survival.failures import Contact, Failure, explained
from sparring.validation.survival.labels import labelled_failures
from sparring.validation.survival.spread import LEAST, Moments, SpreadOfCopies
from sparring.validation.survival.table import failure_table
from sparring.validation.survival.trials import Survival

LENGTH, STIFFNESS = 0.75, 30.0


def of_pairs(energy_at):
    """A potential that is a sum over pairs of atoms."""

    def potential(structures):
        owner = structures.structure_index[structures.edges.target]
        energies = torch.zeros(structures.n_structures, dtype=structures.positions.dtype)
        return energies.index_add(0, owner, energy_at(distances(structures)) / 2)

    potential.cutoff = 20.0
    return potential


@pytest.fixture
def hydrogen():
    return Atoms("H2", positions=[[0.0, 0.0, 0.0], [LENGTH, 0.0, 0.0]])


# --- spread -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_memory", [None, 1.0])
def test_the_spread_of_a_bond_on_a_spring_is_that_of_equipartition(hydrogen, max_memory):
    spring = of_pairs(lambda distance: STIFFNESS / 2 * (distance - LENGTH) ** 2)
    n_copies = 60 if max_memory is None else 2
    seen = SpreadOfCopies(bonds_and_angles(hydrogen))
    simulate(
        Committee([spring]),
        Structures.from_atoms([hydrogen] * n_copies),
        ensemble=Langevin(temperature=300.0, friction=0.2),
        timestep=0.5,
        n_steps=250 if max_memory is None else 60,
        seed=0,
        every=5,
        watch=seen,
        max_memory=max_memory,
    )
    moments = seen.moments()
    rows = 51 - 10 if max_memory is None else 13 - 10
    assert moments.n_samples == n_copies * rows
    if max_memory is None:
        assert moments.mean[0] == pytest.approx(LENGTH, abs=0.005)
        assert moments.spread(["bond"])[0] == pytest.approx(math.sqrt(kT(300.0) / STIFFNESS), rel=0.1)


def test_the_last_ten_rows_before_a_failure_do_not_count():
    pulled = of_pairs(lambda distance: 8 * distance.clamp(max=1.0))  # the second molecule is too long to be pulled
    pair = [Atoms("H2", positions=[[0, 0, 0], [0, 0, length]]) for length in (LENGTH, 2.0)]
    seen = SpreadOfCopies(bonds_and_angles(pair[0]))
    options = {"ensemble": NVE(temperature=1e-6), "criteria": [CloserThan(0.4)], "watch": seen}
    result = simulate(Committee([pulled]), Structures.from_atoms(pair), timestep=0.1, n_steps=30, seed=0, **options)
    fails = round(float(result.failure_time[0]) / 0.1)
    assert 10 < fails < 30
    assert torch.isnan(result.failure_time[1])
    assert seen.moments().n_samples == (fails - 10) + (31 - 10)


def test_the_spread_of_a_failure_is_that_of_its_copies():
    spring = of_pairs(lambda distance: STIFFNESS / 2 * (distance - LENGTH) ** 2)
    result = survival(
        Committee([spring]),
        Atoms("H2", positions=[[0, 0, 0], [0, 0, LENGTH]]),
        temperatures=[3000.0],
        criteria=[DistanceWindow("H", "H", 0.5, 1.0)],
        duration=125.0,
        ensemble="langevin",
        friction=0.2,
    )
    spreads = {failure.departure.spread for failure in result.failures}
    assert len(spreads) == 1
    assert spreads.pop() == pytest.approx(math.sqrt(kT(3000.0) / STIFFNESS), rel=0.5)  # far above LEAST


def test_moments_of_parts_are_those_of_all_samples():
    samples = np.random.default_rng(0).normal(2.0, 0.3, (30, 2))

    def moments(some):
        mean = some.mean(axis=0)
        return Moments(n_samples=len(some), mean=mean, squares=((some - mean) ** 2).sum(axis=0))

    joined = Moments.joined([Moments.none(2), moments(samples[:7]), Moments.none(2), moments(samples[7:])])
    np.testing.assert_allclose(joined.mean, samples.mean(axis=0))
    np.testing.assert_allclose(joined.spread(["bond", "angle"]), samples.std(axis=0, ddof=1))
    assert Moments.none(1).spread(["angle"]).tolist() == [LEAST["angle"]]


# --- what went --------------------------------------------------------------------------------------------------------


def explain(start, frame, spread=None):
    coordinates = bonds_and_angles(start)
    moments = Moments.none(len(coordinates))
    if spread is not None:
        squares = np.array([spread.get(one.name, 0.0) ** 2 for one in coordinates])
        moments = Moments(n_samples=2, mean=np.zeros(len(coordinates)), squares=squares)
    (found,) = explained([Failure(copy=0, time=1.0, reason="")], [frame], start, coordinates, moments)
    return found


def test_the_coordinate_that_went_is_farthest_in_units_of_its_own_spread():
    water = molecule("H2O")
    frame = water.copy()
    frame.set_distance(0, 1, 1.2, fix=0)
    stretched = explain(water, frame)
    assert (stretched.departure.kind, stretched.departure.name, stretched.departure.atoms) == ("bond", "O0-H1", (0, 1))
    assert str(stretched.departure) == "bond O0-H1 1.20 Å (start 0.97 Å)"
    assert stretched.departure.deviation == pytest.approx((1.2 - water.get_distance(0, 1)) / LEAST["bond"])
    assert stretched.contact is None

    frame.set_angle(1, 0, 2, 130.0, indices=[2])
    both = explain(water, frame, {"O0-H1": 0.5})  # this bond is soft: it has moved by half of its spread only
    assert str(both.departure) == "angle H1-O0-H2 130° (start 104°)"
    assert both.departure.deviation == pytest.approx((130 - water.get_angle(1, 0, 2)) / 3)


def test_atoms_that_run_into_each_other_are_a_contact_unless_they_were_bonded():
    water = molecule("H2O")
    frame = water.copy()
    frame.set_angle(1, 0, 2, 30.0, indices=[2])
    found = explain(water, frame)
    assert found.contact == Contact(name="H1-H2", atoms=(1, 2), distance=found.contact.distance)
    assert found.contact.distance == pytest.approx(frame.get_distance(1, 2))
    frame = water.copy()
    frame.set_distance(0, 1, 0.4, fix=0)
    assert explain(water, frame).contact is None


def test_a_contact_is_found_beside_bonds_that_are_closer():
    water = molecule("H2O")
    frame = water.copy()
    frame.set_angle(1, 0, 2, 45.0, indices=[2])  # H-H 0.74 Å is 1.2 times the sum of radii, O-H 0.97 Å is 1.0 times
    assert str(explain(water, frame).contact) == "H1-H2 0.74 Å"


def test_an_atom_may_be_bonded_to_one_image_and_in_contact_with_another():
    chain = Atoms("Au2", positions=[[0, 0, 0], [2.6, 0, 0]], cell=[6.4, 12, 12], pbc=True)
    frame = chain.copy()
    frame.positions[1, 0] += 0.6  # away from one atom, and towards its image
    assert explain(chain, chain).contact is None
    assert str(explain(chain, frame).contact) == "Au0-Au1 3.20 Å"


def test_a_failure_in_dynamics_names_its_bond():
    result = falling(CloserThan(0.4))
    assert len(result.failures) == 6
    for failure in result.failures:
        assert failure.departure.name == "H0-H1"
        assert failure.departure.value < 0.4
        assert failure.departure.start == pytest.approx(0.75)
        assert failure.energy == pytest.approx(8 * (failure.departure.value - 0.75))


# --- labels -----------------------------------------------------------------------------------------------------------


def report(labels):
    return LabelReport(labels=tuple(labels), keys=("",) * len(labels), n_computed=len(labels), n_reused=0)


def true_label(atoms):
    """A harmonic bond; atoms that are closer than 0.35 Å have no label."""
    arm = atoms.positions[1] - atoms.positions[0]
    length = np.linalg.norm(arm)
    if length < 0.35:
        return LabelError("not_converged", "no self-consistent field")
    pull = STIFFNESS * (length - LENGTH) * arm / length
    energy = STIFFNESS / 2 * (length - LENGTH) ** 2
    return Label(energy=energy, forces=np.array([pull, -pull]), method="", version="", converged=True, wall_time=0.0)


def falling(criterion, **options):
    pulled, more = (of_pairs(lambda distance, zero=zero: 8 * distance + zero) for zero in (0.0, 0.4))
    start = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.75]])
    options = {"temperatures": [1e-6, 2e-6], "n_copies": 3, "duration": 9.0, "timestep": 0.25} | options
    return survival(Committee([pulled, more]), start, criteria=[criterion], ensemble="nve", **options)


def test_failures_with_labels_have_the_errors_of_the_committee():
    asked = []

    def label(frames):
        asked.extend(frames)
        return report([true_label(atoms) for atoms in frames])

    result = falling(DistanceWindow("H", "H", 0.45, 0.8), label=label, n_labels=3)
    assert len(asked) == 3  # the earliest two at the first temperature, the earliest at the second
    assert [sum(not math.isnan(one.energy_error) for one in trial.failures) for trial in result.trials] == [2, 1]
    first = result.trials[0].failures[0]
    length = first.departure.value
    assert first.energy_error == pytest.approx(8 * length + 0.2 - STIFFNESS / 2 * (length - LENGTH) ** 2)
    force = abs(8 - STIFFNESS * (length - LENGTH))
    assert first.force_error == pytest.approx(math.sqrt(2 * force**2 / 6))
    assert first.energy_sigma == pytest.approx(0.4 / math.sqrt(2))
    assert first.force_sigma == pytest.approx(0.0)


def test_a_refused_label_is_shown_as_such(tmp_path):
    result = falling(CloserThan(0.3), label=lambda frames: report([true_label(atoms) for atoms in frames]), n_labels=1)
    refused = result.trials[0].failures[0]
    assert refused.refused == "not_converged: no self-consistent field"
    assert math.isnan(refused.energy_error)
    table = failure_table(result, KCAL)
    assert [row[-1] for row in table.cells()] == ["not converged", *["-"] * 5]
    assert "error of E" not in " ".join(table.headings)
    write_record(tmp_path / "survival.json", result)
    assert repr(read_record(tmp_path / "survival.json", Survival)) == repr(result)


def test_labels_go_to_the_earliest_failures_at_each_temperature_in_turn():
    assert labelled_failures([3, 1, 5], 6) == [[0, 1, 2], [0], [0, 1]]
    assert labelled_failures([3, 1], 0) == [[], []]


def test_a_table_has_twenty_failures_those_with_labels_first():
    label = {"label": lambda frames: report([true_label(atoms) for atoms in frames]), "n_labels": 1}
    result = falling(DistanceWindow("H", "H", 0.45, 0.8), n_copies=21, temperatures=[1e-6], **label)
    table = failure_table(result, KCAL)
    assert len(table.rows) == 20
    assert "error of E\n(kcal/mol)" in table.headings
    assert table.rows[0][3:5] == ("H-H outside 0.45 to 0.8 Å", str(result.failures[0].departure))


def test_failures_show_the_errors_that_their_uncertainty_lets_expect(hydrogen):
    far_apart = [of_pairs(lambda distance, k=k: -k * distance) for k in (3.0, 4.0)]
    law = PowerLaw(factor=2.0, exponent=0.5, ratios=(1.0,), n=9)
    expected = ExpectedErrors(forces=law, energy=None, elements={}, n_labels=9, n_test=0)
    options = {
        "temperatures": [300.0],
        "criteria": [CloserThan(0.1), DistanceWindow("H", "H", 0.1, 1.5)],
        "n_copies": 2,
    }
    start = Atoms("H2", positions=[[0, 0, 0], [0, 0, LENGTH]])
    for committee, known in ((Committee(far_apart), False), (Committee(far_apart).with_expected(expected), True)):
        result = survival(committee, start, duration=50.0, **options)
        assert len(result.failures) == 2
        for failure in result.failures:
            wanted = pytest.approx(2 * math.sqrt(failure.force_sigma)) if known else None
            assert failure.force_expected == wanted
        assert ("expected error of F" in failure_table(result, KCAL).text()) == known
