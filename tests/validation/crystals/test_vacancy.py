"""Formation energies of vacancies: that of ASE, and that of pair potentials, which is known."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.optimize import BFGS

from sparring.surfaces.crystals import relaxed_crystal
from sparring.surfaces.evaluators import label_surface
from sparring.units import EV
from sparring.validation.crystals.surfaces import BoundedLabels
from sparring.validation.equation_of_state.compute import equation_of_state
from sparring.validation.records import read_record, write_record
from sparring.validation.vacancy.compute import Vacancies, inequivalent_sites, vacancy
from sparring.validation.vacancy.figure import figure
from sparring.validation.vacancy.section import notes, table


def test_the_energy_of_emt_copper_is_that_of_ase(morse_copper, copper, emt):
    found = vacancy(morse_copper, copper, length=6.0, label=emt)
    whole = relaxed_crystal(copper, label_surface(BoundedLabels(emt, 100))) * found.supercell
    whole.calc = EMT()
    defective = whole.copy()
    del defective[13]  # any atom
    defective.calc = EMT()
    unrelaxed = defective.get_potential_energy() - len(defective) / len(whole) * whole.get_potential_energy()
    BFGS(defective, logfile=None).run(fmax=0.005)
    expected = defective.get_potential_energy() - len(defective) / len(whole) * whole.get_potential_energy()
    assert found.label_energy == pytest.approx([expected], abs=1e-3)
    assert expected < unrelaxed - 0.005  # relaxation counts
    assert found.n_atoms == len(whole) == 27


def test_a_vacancy_of_a_pair_potential_costs_at_most_the_cohesive_energy(morse_copper, copper):
    """Without relaxation it costs exactly that: the bonds of an atom are lost, half of them are regained."""
    found = vacancy(morse_copper, copper, length=6.0)
    cohesive = -equation_of_state(morse_copper, copper).of_members("energy")
    energy = found.energy[:, 0]
    assert (energy < cohesive).all()
    assert (energy > 0.9 * cohesive).all()
    assert energy[1] == pytest.approx(1.1 * energy[0], rel=2e-3)


def test_sites_differ_in_their_neighbours():
    assert inequivalent_sites(bulk("Cu", cubic=True)) == (0,)
    tungsten = Atoms("W8", cell=[5.0] * 3, pbc=True)  # A15: chains of W, and a body-centred lattice
    tungsten.set_scaled_positions(
        [
            [0, 0, 0],
            [0.5, 0.5, 0.5],
            [0.25, 0.5, 0],
            [0.75, 0.5, 0],
            [0, 0.25, 0.5],
            [0, 0.75, 0.5],
            [0.5, 0, 0.25],
            [0.5, 0, 0.75],
        ]
    )
    assert inequivalent_sites(tungsten) == (0, 2)


def test_vacancies_in_compounds_and_in_single_atoms_are_refused(morse_copper, copper):
    with pytest.raises(ValueError, match="NaCl is a compound, and the formation energy of a vacancy is that of a cry"):
        vacancy(morse_copper, bulk("NaCl", "rocksalt", a=5.0))
    with pytest.raises(
        ValueError, match="a supercell of one atom has no room for a vacancy; wanted a longer length th"
    ):
        vacancy(morse_copper, copper, length=2.0)


def test_results_are_read_as_they_were_written_and_shown(morse_copper, copper, emt, reported, tmp_path):
    write_record(tmp_path / "one.json", (vacancy(morse_copper, copper, length=6.0, label=emt),))
    (one,) = again = read_record(tmp_path / "one.json", tuple[Vacancies, ...])
    row = table({"generation 1": again}, EV).text().split("\n")[-1].split()
    assert row == [
        *("generation", "1", "Cu", f"{one.energy.mean():.3f}", "±", f"{np.std(one.energy, ddof=1):.3f}"),
        *(f"{one.label_energy[0]:.3f}", f"{one.energy.mean() - one.label_energy[0]:+.3f}", "27"),
    ]
    assert any(line.startswith("Labels by EMT: ") for line in notes({"generation 1": again}, reported))
    (ax,) = figure(again).axes
    assert ax.get_ylabel() == "formation energy (eV)"
    assert ax.get_ylim()[0] == 0
