"""Phonons: those of ASE, three that cost no energy, the speed of sound, and imaginary modes where a crystal yields."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.phonons import Phonons

from sparring.committee import Committee
from sparring.surfaces.crystals import relaxed_crystal
from sparring.surfaces.evaluators import label_surface
from sparring.units import AMU, EV, THZ
from sparring.validation.crystals.surfaces import BoundedLabels
from sparring.validation.elastic.compute import elastic
from sparring.validation.phonons.compute import PhononStates, phonons
from sparring.validation.phonons.figure import figure
from sparring.validation.phonons.section import imaginary_modes, notes, table
from sparring.validation.records import read_record, write_record


def test_bands_of_emt_copper_are_those_of_ase(morse_copper, copper, emt, tmp_path):
    found = phonons(morse_copper, copper, length=6.0, label=emt)
    relaxed = relaxed_crystal(copper, label_surface(BoundedLabels(emt, 100)))
    reference = Phonons(relaxed, EMT(), supercell=found.supercell, delta=0.01, name=str(tmp_path / "phonons"))
    reference.run()
    reference.read(acoustic=True)
    path = copper.cell.bandpath(npoints=len(found.distance))
    np.testing.assert_allclose(found.label_bands, reference.band_structure(path.kpts, verbose=False), atol=1e-9)
    states = reference.get_dos(kpts=(20, 20, 20))
    mean = np.average(states.get_energies(), weights=states.get_weights())
    assert np.average(found.energies, weights=found.label_states) == pytest.approx(mean, rel=0.01)


def test_an_atom_has_three_states_and_three_modes_cost_no_energy(morse_copper, copper):
    found = phonons(morse_copper, copper)
    for states in found.states:
        assert np.trapezoid(states, found.energies) == pytest.approx(3.0, rel=2e-3)
    at_gamma = found.bands[:, np.isclose(found.distance, dict(found.ticks)["Γ"])]
    assert np.abs(at_gamma).max() / THZ < 1e-4
    assert not any(lowest.imaginary for lowest in found.lowest)


def test_frequencies_grow_with_the_root_of_the_energy(morse_copper, copper):
    one, other = phonons(morse_copper, copper).bands
    np.testing.assert_allclose(other, 1.1**0.5 * one, rtol=1e-3, atol=1e-4)


def test_long_waves_travel_with_the_speed_of_sound(morse_copper, copper):
    found, constants = phonons(morse_copper, copper), elastic(morse_copper, copper)
    wave = found.distance < 0.05 * dict(found.ticks)["X"]  # along [100], from Γ
    slope = found.bands[0][wave][-1] / found.distance[wave][-1]
    density = copper.get_masses()[0] * AMU / constants.volumes[0]
    speed = np.sqrt(constants.constants[0][[3, 3, 0], [3, 3, 0]] / density)  # two transverse, one longitudinal: Å/fs
    np.testing.assert_allclose(slope, THZ * 1e3 / (2 * np.pi) * speed, rtol=0.03)  # ħ in eV fs


def test_a_crystal_that_yields_has_imaginary_modes_with_names(morse_copper):
    """Short pair potentials do not hold a body-centred crystal, which shears towards a close packing."""
    found = phonons(morse_copper, bulk("Cu", "bcc", a=2.87))
    assert all(lowest.imaginary for lowest in found.lowest)
    (line,) = imaginary_modes({"generation 1": (found,)})
    assert line.startswith("generation 1, Cu, imaginary modes: member 1 ")
    assert line.count("i THz at ") == 2


def test_a_compound_has_optical_modes(pairs):
    salt = bulk("NaCl", "rocksalt", a=5.0)

    def potential(structures):
        return pairs(lambda length: (length - 2.5) ** 2, 3.2)(structures)

    potential.cutoff = 3.2
    found = phonons(Committee([potential]), salt, length=6.0)
    assert found.bands.shape[-1] == 6
    assert found.bands[0][:, 5].min() > 0.5 * found.bands[0].max()
    assert np.trapezoid(found.states[0], found.energies) == pytest.approx(6.0, rel=2e-3)


def test_a_displacement_that_makes_no_sense_is_refused(morse_copper, copper):
    with pytest.raises(ValueError, match=r"wanted a displacement between 0 and 0\.5 Å, got 0\.5 Å"):
        phonons(morse_copper, copper, displacement=0.5)


def test_results_are_read_as_they_were_written_and_shown(morse_copper, copper, emt, reported, tmp_path):
    write_record(tmp_path / "one.json", (phonons(morse_copper, copper, label=emt),))
    (one,) = again = read_record(tmp_path / "one.json", tuple[PhononStates, ...])
    row = table({"generation 1": again}, EV).text().split("\n")[-1]
    assert f"{one.label_bands.max() / THZ:.2f}" in row
    assert row.endswith("0 of 2")
    first, *rest = notes({"generation 1": again}, reported)
    assert first.startswith("Supercells: Cu 5 x 5 x 5.")
    assert any(line.startswith("Labels by EMT: ") for line in rest)
    bands, states = figure(again).axes
    assert [label.get_text() for label in bands.get_xticklabels()][:2] == ["Γ", "X"]
    assert [text.get_text() for text in states.get_legend().get_texts()] == ["± σ", "committee", "label"]
