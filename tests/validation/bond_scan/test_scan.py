"""Scans of bonds and angles: holes of closed-form potentials are flagged, and nothing else."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from sparring.atoms.neighbors import distances
from sparring.committee import Committee
from sparring.labels.base import Label, LabelError
from sparring.labels.pool import LabelReport
from sparring.units import KCAL
from sparring.validation.bond_scan.compute import FACTORS, order, scan_bonds
from sparring.validation.bond_scan.figure import bonds_figure
from sparring.validation.bond_scan.scans import BondScan, flags_of
from sparring.validation.bond_scan.table import bonds_table, flag_table
from sparring.validation.records import read_record, write_record

LENGTH, DEPTH, WIDTH = 0.75, 4.5, 2.0


def morse(length):
    return DEPTH * (1 - (-WIDTH * (length - LENGTH)).exp()) ** 2


def with_hole(length):
    """Morse, which turns over below 0.8 of its length and falls 20 eV/Å from there on."""
    edge = torch.as_tensor(0.8 * LENGTH, dtype=length.dtype)
    return torch.where(length < edge, morse(edge) - 20 * (edge - length), morse(length))


def committee(energy_at, spread=0.0):
    """Two members that are sums over pairs of atoms, their energies so far apart."""

    def member(shift):
        def potential(structures):
            owner = structures.structure_index[structures.edges.target]
            zeros = torch.zeros(structures.n_structures, dtype=structures.positions.dtype)
            return zeros.index_add(0, owner, energy_at(distances(structures)) / 2) + shift

        potential.cutoff = 20.0
        return potential

    return Committee([member(-spread / 2), member(spread / 2)])


def labels_by(energy_at, refuse=lambda length: False):
    asked = []

    def label(frames):
        asked.extend(frames)
        found = []
        for atoms in frames:
            length = atoms.get_distance(0, 1)
            energy = float(energy_at(torch.tensor(length)))
            one = Label(
                energy=energy, forces=np.zeros((2, 3)), method="exact", version="", converged=True, wall_time=0.0
            )
            found.append(LabelError("not_converged", "no") if refuse(length) else one)
        return LabelReport(labels=tuple(found), keys=("",) * len(found), n_computed=len(found), n_reused=0)

    return label, asked


@pytest.fixture
def hydrogen():
    return Atoms("H2", positions=[[0.0, 0.0, 0.0], [LENGTH, 0.0, 0.0]])


def kinds(result):
    return [[flag.kind for flag in scan.flags] for scan in result.scans]


# --- without labels ---------------------------------------------------------------------------------------------------


def test_a_morse_potential_has_no_hole(hydrogen):
    result, frames = scan_bonds(committee(morse), hydrogen)
    (scan,) = result.scans
    np.testing.assert_allclose(scan.values, LENGTH * np.array(FACTORS))
    np.testing.assert_allclose(scan.energy, morse(torch.as_tensor(scan.values)))
    assert (scan.flags, frames, result.found, result.n_labels) == ((), [], (), 0)


def test_a_wall_that_turns_over_is_flagged_at_its_lowest_point(hydrogen):
    result, frames = scan_bonds(committee(with_hole), hydrogen)
    (scan,) = result.scans
    (turned, below) = scan.flags
    assert (turned.kind, turned.point, below.kind, below.point) == ("turns over", 0, "below", 0)
    wall = float(with_hole(torch.tensor(0.8 * LENGTH)))
    assert turned.amount == pytest.approx(0.1 * LENGTH * 20, abs=1e-5)
    assert below.amount == pytest.approx(0.1 * LENGTH * 20 - wall, abs=1e-5)
    assert len(frames) == len(FACTORS)
    assert frames[0].info["scan"] == "bond H0-H1"
    assert frames[0].info["value"] == pytest.approx(0.7 * LENGTH)
    assert frames[0].info["committee_energy"] == pytest.approx(-below.amount)


def test_a_hole_is_found_from_a_start_that_is_not_the_minimum(hydrogen):
    hydrogen.set_distance(0, 1, 0.78, fix=0)
    assert kinds(scan_bonds(committee(with_hole), hydrogen)[0]) == [["turns over", "below"]]
    assert kinds(scan_bonds(committee(morse), hydrogen)[0]) == [[]]


def test_a_fall_within_the_tolerance_is_none(hydrogen):
    assert kinds(scan_bonds(committee(with_hole), hydrogen, tolerance=1.6)[0]) == [[]]


def test_the_angle_of_water_that_opens_without_resistance_is_flagged():
    water = molecule("H2O")

    def repelled(structures):
        """Stiff bonds, and hydrogens that repel each other."""
        oxygen, *hydrogens = structures.positions.unflatten(0, (-1, 3)).unbind(1)
        lengths = torch.stack([torch.linalg.vector_norm(one - oxygen, dim=-1) for one in hydrogens])
        apart = torch.linalg.vector_norm(hydrogens[1] - hydrogens[0], dim=-1)
        return 50 * (lengths - 0.9686).square().sum(0) - 5 * apart

    result, _ = scan_bonds(Committee([repelled, repelled]), water)
    assert [scan.name for scan in result.scans] == ["O0-H1", "H1-O0-H2"]
    assert [scan.n_equivalent for scan in result.scans] == [2, 1]
    bond, angle = result.scans
    assert not bond.flags
    assert [flag.kind for flag in angle.flags] == ["below"]
    assert angle.values[-1] == pytest.approx(1.4 * water.get_angle(1, 0, 2))


def test_an_energy_that_is_no_number_is_flagged(hydrogen):
    lost = committee(lambda length: torch.where(length < 0.6, torch.nan, 1.0) * morse(length))
    (scan,) = scan_bonds(lost, hydrogen)[0].scans
    assert [flag.kind for flag in scan.flags] == ["not finite"]


def test_an_angle_without_a_value_below_180_degrees_is_left_out():
    stiff = committee(lambda length: (length - 1.2) ** 2)
    result, _ = scan_bonds(stiff, molecule("CO2"), factors=(1.1, 1.2))
    assert [scan.name for scan in result.scans] == ["C0-O1"]
    assert result.skipped == ("angle O1-C0-O2: all its values would be above 180°",)


def test_crystals_are_scanned_and_what_cannot_change_is_told():
    silicon = bulk("Si", cubic=True)
    stiff = committee(lambda length: torch.where(length < 3.0, (length - 2.35) ** 2, 0.0))
    result, _ = scan_bonds(stiff, silicon)
    assert [(scan.kind, scan.n_equivalent) for scan in result.scans] == [("bond", 16), ("angle", 48)]
    small, _ = scan_bonds(stiff, bulk("Cu"))
    assert small.scans == ()
    assert "bond Cu0-Cu0: it joins an atom with its own image" in small.skipped
    assert bonds_table({"x": small}, KCAL).cells()[0][1:3] == ("0", "0")
    assert len(bonds_figure(small).axes) == 1


# --- with labels ------------------------------------------------------------------------------------------------------


def test_errors_beyond_sigma_and_tolerance_are_flagged(hydrogen):
    label, asked = labels_by(morse)
    result, _ = scan_bonds(committee(lambda length: 1.3 * morse(length), spread=0.2), hydrogen, label=label)
    (scan,) = result.scans
    assert len(asked) == 16  # the start, then all points
    np.testing.assert_allclose(scan.label, morse(torch.as_tensor(scan.values)), rtol=1e-5)
    (flag,) = scan.flags
    worst = float(morse(torch.tensor(0.7 * LENGTH)))
    assert (flag.kind, flag.point) == ("error", 0)
    assert flag.amount == pytest.approx(0.3 * worst, rel=1e-5)
    assert (0.3 * worst) > 3 * 0.2 / math.sqrt(2)
    assert kinds(scan_bonds(committee(lambda x: 1.3 * morse(x), spread=1.0), hydrogen, label=label)[0]) == [[]]


def test_an_energy_far_below_the_label_is_a_hole_within_reach_of_dynamics_only(hydrogen):
    label, _ = labels_by(lambda length: 3 * morse(length))
    (scan,) = scan_bonds(committee(morse), hydrogen, label=label)[0].scans
    too_low, error = scan.flags
    assert (too_low.kind, error.kind, scan.is_hole) == ("too low", "error", True)
    assert float(scan.energy[too_low.point]) < 1.0
    assert too_low.amount == pytest.approx(2 * float(scan.energy[too_low.point]), rel=1e-5)
    assert scan.energy[error.point] > 1.0
    label, _ = labels_by(lambda length: 0.5 * morse(length))
    (scan,) = scan_bonds(committee(morse), hydrogen, label=label)[0].scans
    assert [flag.kind for flag in scan.flags] == ["error"]
    assert not scan.is_hole


def test_a_label_that_agrees_overrules_what_looks_like_a_hole(hydrogen):
    label, _ = labels_by(with_hole)
    result, _ = scan_bonds(committee(with_hole), hydrogen, label=label)
    assert kinds(result) == [[]]
    label, _ = labels_by(morse)
    assert kinds(scan_bonds(committee(with_hole), hydrogen, label=label)[0]) == [
        ["turns over", "below", "too low", "error"]
    ]


def test_energies_are_above_the_label_of_the_start(hydrogen):
    label, _ = labels_by(lambda length: morse(length) - 30.0)
    result, _ = scan_bonds(committee(lambda length: morse(length) - 29.95), hydrogen, label=label)
    assert result.start_energy == pytest.approx(0.05, abs=1e-5)
    np.testing.assert_allclose(result.scans[0].energy - result.scans[0].label, 0.05, atol=1e-5)


def test_labels_are_bounded_and_refused_ones_counted(hydrogen):
    label, asked = labels_by(morse, refuse=lambda length: length < 0.6)
    result, _ = scan_bonds(committee(morse), hydrogen, label=label, n_labels=4)
    lengths = [atoms.get_distance(0, 1) / LENGTH for atoms in asked]
    assert lengths == pytest.approx([1.0, 0.7, 1.4, 1.05])
    assert (result.refused, result.n_labels, result.method) == (1, 2, "exact")
    assert bonds_table({"x": result}, KCAL).cells()[0][7:9] == ("2", "1")


def test_points_get_labels_from_the_ends_inwards():
    assert order(5) == [0, 4, 2, 1, 3]
    assert order(1) == [0]
    assert sorted(order(15)) == list(range(15))


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_a_scan_comes_back_from_its_file_and_is_shown(hydrogen, tmp_path):
    label, _ = labels_by(morse)
    result, _ = scan_bonds(committee(with_hole, spread=0.1), hydrogen, label=label, n_labels=3)
    write_record(tmp_path / "bonds.json", result)
    back = read_record(tmp_path / "bonds.json", BondScan)
    assert repr(back) == repr(result)
    table = flag_table(back, KCAL)
    assert [row[:4] for row in table.cells()] == [
        ("bond H0-H1", "1", "0.52 Å (start 0.75)", "turns over: energy falls by"),
        ("bond H0-H1", "1", "0.52 Å (start 0.75)", "energy below the start by"),
        ("bond H0-H1", "1", "0.52 Å (start 0.75)", "within reach, below the label by"),
        ("bond H0-H1", "1", "0.52 Å (start 0.75)", "error against the label"),
    ]
    figure = bonds_figure(back, unit=KCAL)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["H0-H1"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["committee, hole", "± σ", "label", "worst point"]


def test_each_point_is_judged_by_its_own_sigma():
    flags = flags_of(
        1.0,
        np.array([0.8, 1.0, 1.2]),
        np.array([1.0, 0.0, 2.0]),
        np.array([1.0, 0.1, 0.1]),
        np.array([3.0, 0.0, 1.5]),
        start_energy=0.0,
        tolerance=0.2,
        n_sigma=3.0,
    )
    assert [(flag.kind, flag.point, flag.amount) for flag in flags] == [("error", 2, 0.5)]


# --- wrong use --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"factors": (1.0, 0.9)}, r"factors in rising order from above zero, got 0.2 eV, 3.0 and \[1.0, 0.9\]"),
        ({"factors": (0.0, 0.9)}, "factors in rising order from above zero"),
        ({"factors": ()}, r"got 0.2 eV, 3.0 and \[\]"),
        ({"tolerance": 0.0}, "wanted a tolerance and a number of sigmas above zero"),
        ({"n_sigma": -1.0}, "got 0.2 eV, -1.0 and"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(hydrogen, wrong, message):
    with pytest.raises(ValueError, match=message):
        scan_bonds(committee(morse), hydrogen, **wrong)


def test_a_single_atom_has_nothing_to_scan():
    with pytest.raises(ValueError, match="Ar has no bonds to scan; give a structure of several atoms"):
        scan_bonds(committee(morse), Atoms("Ar"))
