"""Thermal expansion: copper against ASE's effective medium theory and integrator, and an ideal gas."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT, beta

from sparring.atoms.neighbors import distances
from sparring.atoms.strain import volumes
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics.expansion import thermal_expansion
from sparring.units import kT


class CopperEMT:
    """Effective medium theory of copper alone, with the parameters and the cutoff of ASE."""

    def __init__(self):
        known = EMT()
        known.initialize(Atoms("Cu"))
        self.rc, self.cutoff, self.steepness = known.rc, known.rc_list, known.acut
        par = {name: float(values[0]) for name, values in known.par.items()}
        self.E0, self.V0, self.s0 = par["E0"], par["V0"], par["s0"]
        self.eta2, self.kappa, self.lamda = par["eta2"], par["kappa"], par["lambda"]
        self.pair, self.density = par["neghalfv0overgamma2"], par["inv12gamma1"]

    def __call__(self, structures):
        r, target = distances(structures), structures.edges.target
        w = torch.sigmoid(-self.steepness * (r - self.rc)) * (r < self.cutoff)
        zero = torch.zeros(structures.n_atoms, dtype=r.dtype)
        sigma1 = zero.index_add(0, target, torch.exp(-self.eta2 * (r - beta * self.s0)) * w)
        pairs = zero.index_add(0, target, torch.exp(-self.kappa * (r / beta - self.s0)) * w)
        ds = -torch.log(sigma1 * self.density) / (beta * self.eta2)
        cohesion = self.E0 * ((1 + self.lamda * ds) * torch.exp(-self.lamda * ds) - 1)
        each = cohesion + 6 * self.V0 * torch.exp(-self.kappa * ds) + self.pair * pairs
        energies = torch.zeros(structures.n_structures, dtype=r.dtype)
        return energies.index_add(0, structures.structure_index, each)


def gas(structures):
    return 0.0 * structures.positions.sum() + structures.cells.new_zeros(structures.n_structures)


@pytest.fixture(scope="module")
def copper():
    return bulk("Cu", "fcc", a=3.64, cubic=True).repeat(2)


def test_copper_has_the_energies_forces_and_stresses_of_ase(copper):
    atoms = copper.copy()
    atoms.rattle(0.1, seed=0)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + np.array([[2, 1, 0], [1, -1, 2], [0, 2, 0]]) / 100), True)
    atoms.calc = EMT()
    found = Committee([CopperEMT()]).predict(Structures.from_atoms([atoms]), stress=True)
    assert found.energy.item() == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(found.forces[0].detach(), atoms.get_forces(), atol=1e-9)
    np.testing.assert_allclose(found.stress[0, 0].detach(), atoms.get_stress(voigt=False), atol=1e-9)


@pytest.mark.slow
def test_copper_expands_as_with_the_integrator_of_ase(copper):
    # EMT and IsotropicMTKNPT of ASE 3.29, 32 atoms, 1 bar, steps of 4 fs, tdamp 50 fs, pdamp 400 fs, two runs of 20 ps
    # at 93/96 of each temperature (ASE counts the centre of mass, which rests, as three degrees of freedom), one degree
    # of freedom in the chain of the cell: 376.75 +- 0.04 and 392.80 +- 0.11 Å³.
    of_ase = torch.tensor([376.75, 392.80], dtype=torch.float64)
    found = thermal_expansion(
        Committee([CopperEMT()]),
        Structures.from_atoms([copper]),
        [300.0, 900.0],
        n_copies=4,
        duration=1600.0,
        settling=600.0,
        timestep=4.0,
        cell_time_constant=300.0,
    )
    assert found.n_failed == (0, 0)
    torch.testing.assert_close(found.volume, of_ase, rtol=0, atol=1.0)
    assert (found.volume_error < 0.5).all()
    assert found.coefficient.item() == pytest.approx(2.32e-5, rel=0.1)


def test_an_ideal_gas_expands_with_its_temperature():
    # <V> = N kT/P with the centre of mass at rest, so that the volume doubles with the temperature.
    n_atoms, pressure = 50, 0.02
    volume = n_atoms * kT(300.0) / pressure
    atoms = Atoms(f"He{n_atoms}", np.random.default_rng(0).uniform(0, 1, (n_atoms, 3)), cell=[1.0] * 3, pbc=True)
    atoms.set_cell([volume ** (1 / 3)] * 3, scale_atoms=True)
    found = thermal_expansion(
        Committee([gas]),
        Structures.from_atoms([atoms]),
        [300.0, 600.0],
        pressure=pressure,
        n_copies=40,
        duration=1000.0,
        settling=500.0,
        timestep=5.0,
        cell_time_constant=60.0,
    )
    expected = torch.tensor([volume, 2 * volume], dtype=torch.float64)
    assert ((found.volume - expected).abs() < 4 * found.volume_error).all()
    assert (found.volume_error < 0.04 * expected).all()
    assert found.coefficient.item() == pytest.approx(
        math.log(2.0) / (3 * 300.0), abs=4 * found.coefficient_error.item()
    )


def test_copies_that_fail_do_not_count(copper):
    class Hole(CopperEMT):
        """Large cells have no energy."""

        def __call__(self, structures):
            return torch.where(volumes(structures.cells) > 410.0, torch.nan, super().__call__(structures))

    start = Structures.from_atoms([copper])
    settings = {"n_copies": 2, "duration": 200.0, "settling": 0.0, "timestep": 2.0, "cell_time_constant": 200.0}
    found = thermal_expansion(Committee([Hole()]), start, [300.0, 20000.0], **settings)
    assert found.n_failed[0] == 0
    assert found.n_failed[1] >= 1
    assert found.volume.isnan().tolist() == found.volume_error.isnan().tolist() == [False, True]
    assert found.coefficient.isnan().all()


def test_arguments_that_make_no_sense_are_an_error(copper):
    start = Structures.from_atoms([copper])
    for structures, temperatures, wrong, message in (
        (start.take([0, 0]), [300.0], {}, "need one crystal, got 2 structures"),
        (start, [], {}, r"need temperatures in ascending order, got \[\]"),
        (start, [300.0, 300.0], {}, r"ascending order, got \[300\.0, 300\.0\]"),
        (start, [300.0], {"n_copies": 1}, "need n_copies >= 2, settling >= 0 and a duration .*, got 1 copies, 2000"),
        (start, [300.0], {"duration": 1.0}, "got 8 copies, 2000.0 fs, 1.0 fs and 2.0 fs"),
    ):
        with pytest.raises(ValueError, match=message):
            thermal_expansion(Committee([gas]), structures, temperatures, **wrong)
