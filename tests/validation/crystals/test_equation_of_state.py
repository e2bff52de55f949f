"""Equations of state: curves that are known, and bulk moduli that agree with elastic constants."""

import numpy as np
import pytest
from ase.build import bulk
from ase.eos import birchmurnaghan

from sparring.committee import Committee
from sparring.labels.base import LabelError
from sparring.labels.pool import LabelReport
from sparring.starting_data.relaxation import RelaxationError
from sparring.support.tables import UNKNOWN
from sparring.units import EV, GPA
from sparring.validation.equation_of_state.compute import EquationOfState, equation_of_state, fitted
from sparring.validation.equation_of_state.figure import figure
from sparring.validation.equation_of_state.section import notes, table
from sparring.validation.records import read_record, write_record


def test_a_curve_of_birch_and_murnaghan_is_recovered():
    volumes = np.linspace(10.0, 13.0, 9)
    found = fitted(volumes, birchmurnaghan(volumes, -3.5, 0.9, 4.7, 11.6))
    assert (found.volume, found.energy, found.bulk_modulus, found.derivative) == pytest.approx((11.6, -3.5, 0.9, 4.7))


@pytest.mark.parametrize("minimum", [9.0, 14.0])
def test_a_minimum_outside_of_the_volumes_is_none(minimum):
    volumes = np.linspace(10.0, 13.0, 9)
    assert np.isnan(fitted(volumes, birchmurnaghan(volumes, -3.5, 0.9, 4.7, minimum)).volume)


def test_energies_without_a_minimum_have_no_fit():
    volumes = np.linspace(10.0, 13.0, 9)
    assert np.isnan(fitted(volumes, -((volumes - 11.5) ** 2)).bulk_modulus)
    assert np.isnan(fitted(volumes, np.where(volumes < 11.3, np.nan, (volumes - 11.5) ** 2)).bulk_modulus)


def test_emt_copper_has_its_known_lattice_constant_and_bulk_modulus(morse_copper, copper, emt):
    found = equation_of_state(morse_copper, copper, volume_range=0.06, label=emt)
    assert (4 * found.label.volume) ** (1 / 3) == pytest.approx(3.59, abs=0.005)  # Å, as in ASE's tutorial
    assert found.label.bulk_modulus / GPA == pytest.approx(134, abs=2)
    assert len(emt.frames) == found.about.n_labels == 11  # symmetry leaves no forces: nothing is relaxed
    assert found.about.unlabelled == ""


def test_energies_that_are_scaled_scale_the_bulk_modulus_and_not_the_volume(morse_copper, copper):
    one, other = equation_of_state(morse_copper, copper).members
    assert other.volume == pytest.approx(one.volume, rel=1e-6)
    assert other.bulk_modulus == pytest.approx(1.1 * one.bulk_modulus, rel=1e-5)


def test_a_supercell_has_the_equation_of_state_of_its_cell(morse_copper, copper):
    small, large = (equation_of_state(morse_copper, one) for one in (copper, copper * (2, 2, 1)))
    assert large.members[0].volume / 4 == pytest.approx(small.members[0].volume, rel=1e-9)
    assert large.members[0].bulk_modulus == pytest.approx(small.members[0].bulk_modulus, rel=1e-6)
    assert large.about.formula == "Cu"


def test_atoms_relax_at_each_volume(morse_copper, copper):
    moved = copper * (2, 1, 1)
    moved.positions[1] += (0.0, 0.05, 0.0)
    found, straight = (equation_of_state(morse_copper, one, n_points=5) for one in (moved, copper))
    np.testing.assert_allclose(found.energy / 2, straight.energy, atol=1e-4)


def test_displaced_atoms_are_relaxed_once_and_not_at_each_volume(morse_copper, copper, emt):
    moved = copper * (2, 1, 1)
    moved.rattle(0.05, seed=1)
    found = equation_of_state(morse_copper, moved, volume_range=0.2, n_points=15, label=emt)
    assert found.about.unlabelled == ""
    assert len(emt.frames) < 60
    assert found.label.bulk_modulus / GPA == pytest.approx(134, abs=4)


def test_a_label_that_fails_leaves_a_gap_and_too_few_a_reason(morse_copper, copper, emt):
    def without(n):
        def label(frames):
            refused = (LabelError("not_converged", "no label here"),) * n
            return LabelReport(labels=(*refused, *emt(frames[n:]).labels), keys=(), n_computed=11 - n, n_reused=0)

        return label

    found = equation_of_state(morse_copper, copper, label=without(2))
    assert np.isnan(found.label_energy).tolist() == [True] * 2 + [False] * 9
    assert found.label.bulk_modulus / GPA == pytest.approx(134, abs=4)
    found = equation_of_state(morse_copper, copper, label=without(7))
    assert found.about.unlabelled == "fewer than 5 volumes have an energy: no label here"
    assert np.isnan(found.label.volume)


def test_no_more_labels_are_computed_than_allowed(morse_copper, copper, emt):
    found = equation_of_state(morse_copper, copper, label=emt, n_labels=10)
    assert emt.frames == []
    assert found.about.unlabelled == "more than 10 labels are needed; raise the number of labels"
    assert equation_of_state(morse_copper, copper, label=emt, n_labels=0).about.unlabelled == ""


def test_a_member_without_energies_is_named_and_the_others_count(morse_copper, copper):
    def broken(structures):
        return structures.positions.sum() * structures.cells.sum((1, 2)) * float("nan")

    found = equation_of_state(Committee([*morse_copper.members, broken]), copper)
    assert found.about.failures == ("member 3: fewer than 5 volumes have an energy: no energy is finite",)
    assert np.isfinite(found.of_members("volume")).tolist() == [True, True, False]
    with pytest.raises(RelaxationError, match="no member of the committee has a result: member 1: fewer than 5"):
        equation_of_state(Committee([broken]), copper)


@pytest.mark.parametrize("wrong", [{"volume_range": 0.0}, {"volume_range": 0.5}, {"n_points": 4}])
def test_volumes_that_make_no_sense_are_refused(morse_copper, copper, wrong):
    with pytest.raises(ValueError, match=r"range of volumes between 0 and 0\.5, and at least 5 points, got"):
        equation_of_state(morse_copper, copper, **wrong)


def test_what_is_no_crystal_is_refused(morse_copper, copper):
    slab, wire = copper * (2, 2, 1), copper.copy()
    slab.center(vacuum=6.0, axis=2)
    wire.pbc = (True, True, False)
    with pytest.raises(ValueError, match="Cu4 is a slab or a molecule in a box, with an empty layer; give a bulk"):
        equation_of_state(morse_copper, slab)
    with pytest.raises(ValueError, match=r"periodic along 2 directions \(pbc=TTF\), and a crystal along three"):
        equation_of_state(morse_copper, wire)


def test_results_are_read_as_they_were_written_and_shown(morse_copper, copper, emt, reported, tmp_path):
    found = (
        equation_of_state(morse_copper, copper, label=emt),
        equation_of_state(morse_copper, bulk("Cu", "bcc", 2.9)),
    )
    write_record(tmp_path / "one.json", found)
    again = read_record(tmp_path / "one.json", tuple[EquationOfState, ...])
    np.testing.assert_array_equal(again[1].energy, found[1].energy)
    assert again[0].about == found[0].about
    assert np.isnan(again[1].label.volume)
    _, first, second = table({"generation 1": again}, EV).text().split("\n")[-3:]
    modulus = f"{found[0].of_members('bulk_modulus').mean() / GPA:.1f} ± "
    assert modulus in first
    assert f"{found[0].label.bulk_modulus / GPA:.1f}" in first
    assert second.split()[-1] == UNKNOWN
    assert "Labels by EMT: 11 for a crystal." in notes({"generation 1": again}, reported)
    one, other = figure(again).axes
    assert one.get_xlabel() == "volume of an atom (Å³)"
    assert [text.get_text().partition(":")[0] for text in one.get_legend().get_texts()] == ["± σ", "committee", "label"]
    assert len(other.get_legend().get_texts()) == 2
