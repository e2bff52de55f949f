"""Elastic constants: second differences of energies, and relations that some potentials and all cubic crystals obey."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT

from sparring.committee import Committee
from sparring.starting_data.relaxation import RelaxationError, relax
from sparring.surfaces.crystals import relaxed_crystal, repeats
from sparring.surfaces.evaluators import SurfaceCalculator, committee_surface, label_surface
from sparring.units import EV, GPA
from sparring.validation.crystals.surfaces import BoundedLabels
from sparring.validation.elastic.compute import ElasticConstants, averages, elastic
from sparring.validation.elastic.figure import figure
from sparring.validation.elastic.section import more_tables, notes
from sparring.validation.elastic.table import constants_table, shown_constants, table
from sparring.validation.equation_of_state.compute import equation_of_state
from sparring.validation.records import read_record, write_record

XX, YY, YZ = (0, 0), (1, 1), (1, 2)


def cubic(c11, c12, c44):
    constants = np.zeros((6, 6))
    constants[:3, :3] = c12
    np.fill_diagonal(constants, [c11] * 3 + [c44] * 3)
    return constants


@pytest.fixture(scope="module")
def diamond(pairs):
    """Springs to the first and the second neighbours hold the diamond structure; a shear moves its two atoms apart."""

    def wells(length):
        first, second = 2.5, 2.5 * (8 / 3) ** 0.5
        return -torch.exp(-4 * (length - first) ** 2) - 0.3 * torch.exp(-4 * (length - second) ** 2)

    return Committee([pairs(wells, 5.8)]), bulk("Si", a=2.5 * 4 / 3**0.5)


def test_emt_copper_has_the_constants_of_second_differences_of_its_energy(morse_copper, copper, emt, second_difference):
    found = elastic(morse_copper, copper, label=emt)

    def energy(atoms):
        atoms.calc = EMT()
        return atoms.get_potential_energy()

    relaxed = relaxed_crystal(copper, label_surface(BoundedLabels(emt, 100)), fmax=1e-5)
    assert found.label_volume == pytest.approx(relaxed.cell.volume, rel=1e-4)
    expected = cubic(*(second_difference(relaxed, energy, *pair) for pair in ((XX, XX), (XX, YY), (YZ, YZ))))
    np.testing.assert_allclose(found.label_constants / GPA, expected / GPA, atol=0.5)
    assert found.label_constants[0, 0] / GPA == pytest.approx(172, abs=4)  # Jacobsen, Stoltze and Nørskov (1996)
    assert found.label_constants[3, 3] / GPA == pytest.approx(89, abs=4)


def test_bulk_moduli_of_elastic_constants_and_of_the_equation_of_state_agree(morse_copper, copper, emt):
    constants, state = elastic(morse_copper, copper, label=emt), equation_of_state(morse_copper, copper, label=emt)
    assert constants.label.bulk == pytest.approx(state.label.bulk_modulus, rel=0.01)
    for one, other in zip(constants.averages, state.members, strict=True):
        assert one.bulk == pytest.approx(other.bulk_modulus, rel=0.01)
    np.testing.assert_allclose(constants.volumes, state.of_members("volume"), rtol=1e-3)


def test_pair_potentials_obey_cauchy_and_scale_with_their_depth(morse_copper, copper):
    one, other = elastic(morse_copper, copper).constants
    np.testing.assert_allclose(one, cubic(one[0, 0], one[0, 1], one[0, 1]), atol=2e-3 * one[0, 0])  # C12 = C44
    np.testing.assert_allclose(other, 1.1 * one, rtol=1e-3, atol=1e-3 * one[0, 0])


def test_constants_do_not_depend_on_the_cell_and_turn_with_the_crystal(morse_copper, copper):
    one = elastic(morse_copper, copper).constants[0]
    np.testing.assert_allclose(elastic(morse_copper, bulk("Cu", a=3.6, cubic=True)).constants[0], one, atol=2e-3)
    turned = bulk("Cu", a=3.6)
    turned.rotate(45, "z", rotate_cell=True)
    c11, c12, c44 = one[0, 0], one[0, 1], one[3, 3]
    found = elastic(morse_copper, turned).constants[0]
    expected = [(c11 + c12) / 2 + c44, (c11 + c12) / 2 - c44, c11, (c11 - c12) / 2]
    np.testing.assert_allclose([found[0, 0], found[0, 1], found[2, 2], found[5, 5]], expected, rtol=2e-3)


def test_a_labeller_without_a_stress_gives_the_same_constants(morse_copper, emt, emt_without_stress):
    relaxed = bulk("Cu", a=3.59)
    one, other = (elastic(morse_copper, relaxed, label=label, n_labels=500) for label in (emt, emt_without_stress))
    np.testing.assert_allclose(one.label_constants / GPA, other.label_constants / GPA, atol=0.5)
    assert other.about.n_labels >= 13 * 13


def test_atoms_relax_in_a_strained_diamond(diamond, second_difference):
    committee, crystal = diamond
    surface = committee_surface(committee, stress=True)
    relaxed = relaxed_crystal(crystal, surface, fmax=1e-6)

    def energy(atoms, relaxing=True):
        if relaxing:
            return relax(atoms, SurfaceCalculator(surface), fmax=1e-6).get_potential_energy()
        return surface([atoms])[0].energy

    found = elastic(committee, crystal).constants[0]
    expected = cubic(*(second_difference(relaxed, energy, *pair) for pair in ((XX, XX), (XX, YY), (YZ, YZ))))
    np.testing.assert_allclose(found, expected, atol=5e-3 * expected[0, 0])
    clamped = second_difference(relaxed, lambda atoms: energy(atoms, relaxing=False), YZ, YZ)
    assert clamped > 1.2 * found[3, 3]  # without relaxation the shear would be far too stiff


def test_moduli_of_an_isotropic_solid_are_its_lame_constants():
    shear, lame = 0.4, 0.7
    found = averages(cubic(lame + 2 * shear, lame, shear))
    assert (found.bulk, found.shear) == pytest.approx((lame + 2 * shear / 3, shear))
    assert found.lowest == pytest.approx(shear)


def test_a_crystal_that_yields_to_a_strain_has_no_moduli():
    found = averages(cubic(1.0, 1.1, 0.3))  # C11 < C12: unstable against a tetragonal strain (Born)
    assert found.lowest == pytest.approx(-0.1)
    assert np.isnan([found.bulk, found.shear]).all()


def test_a_cell_that_runs_away_is_a_failure_of_its_member(morse_copper, copper, pairs):
    repelling = pairs(lambda length: 1 / length, 6.0)
    found = elastic(Committee([*morse_copper.members, repelling]), copper)
    assert len(found.about.failures) == 1
    assert found.about.failures[0].startswith("member 3: relaxing the cell of Cu: ")
    with pytest.raises(RelaxationError, match="no member of the committee has a result: member 1: relaxing the cell"):
        elastic(Committee([repelling]), copper)


@pytest.mark.parametrize("strain", [0.0, -0.01, 0.1])
def test_a_strain_that_makes_no_sense_is_refused(morse_copper, copper, strain):
    with pytest.raises(ValueError, match=rf"wanted a strain between 0 and 0\.1, got {strain}"):
        elastic(morse_copper, copper, strain=strain)


@pytest.mark.parametrize("length", [0.0, float("nan")])
def test_a_supercell_without_a_length_is_refused(copper, length):
    with pytest.raises(ValueError, match="wanted a length of the supercell above zero, got"):
        repeats(copper, length)


def test_results_are_read_as_they_were_written_and_shown(morse_copper, copper, emt, reported, tmp_path):
    write_record(tmp_path / "one.json", (elastic(morse_copper, copper, label=emt),))
    again = read_record(tmp_path / "one.json", tuple[ElasticConstants, ...])
    (one,) = again
    names = [name for name, *_ in shown_constants(one)]
    assert names == ["C11, C22, C33", "C44, C55, C66", "C12, C13, C23"]
    assert [line.split()[0] for line in constants_table(one).text().split("\n")[-3:]] == ["C11,", "C44,", "C12,"]
    row = table({"generation 1": again}, EV).text().split("\n")[-1]
    assert f"{np.mean([member.bulk for member in one.averages]) / GPA:.1f} ± " in row
    assert f"{one.label.bulk / GPA:.1f}" in row
    assert "2 of 2" in row
    assert any(line.startswith("Labels by EMT: ") for line in notes({"generation 1": again}, reported))
    ((heading, _),) = more_tables({"generation 1": again}, EV)
    assert heading == "Constants of Cu, generation 1"
    (ax,) = figure(again).axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["C11", "C44", "C12", "K", "G"]
