"""Copper by EMT and by pair potentials, whose crystals are known in every detail."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT

from sparring.atoms.neighbors import distances
from sparring.committee import Committee
from sparring.labels.base import Label
from sparring.labels.pool import LabelReport
from sparring.units import EV
from sparring.validation.base import ReportedRun


def _pairs(energy_at, cutoff):
    """A potential that is a sum over pairs of atoms; it ends smoothly at the cutoff."""

    def potential(structures):
        length = distances(structures)
        energy = energy_at(length) * (1 - (length / cutoff).clamp(max=1.0) ** 2) ** 3
        owner = structures.structure_index[structures.edges.target]
        return energy.new_zeros(structures.n_structures).index_add(0, owner, energy / 2)

    potential.cutoff = cutoff
    return potential


def morse(depth):
    """A potential of Morse, whose minimum is copper."""
    return _pairs(lambda length: depth * ((1 - torch.exp(-1.36 * (length - 2.75))) ** 2 - 1), 4.5)


@pytest.fixture(scope="session")
def pairs():
    """A function that makes a potential of the energy of a pair of atoms."""
    return _pairs


@pytest.fixture
def morse_copper():
    """Two members with the same geometry at the minimum; all energies of one are 10 % above those of the other."""
    return Committee([morse(2.0), morse(2.2)])


@pytest.fixture
def reported(tmp_path):
    return ReportedRun(folder=tmp_path, unit=EV, generations=(1,), has_crystals=True)


@pytest.fixture
def copper():
    return bulk("Cu", a=3.6)


class Labels:
    """Labels by EMT in this process, as a label service has them."""

    def __init__(self, *, stress=True):
        self.frames, self.stress = [], stress

    def __call__(self, frames):
        self.frames += frames
        labels = tuple(map(self._label, frames))
        return LabelReport(labels=labels, keys=("",) * len(frames), n_computed=len(frames), n_reused=0)

    def _label(self, frame):
        atoms = frame.copy()
        atoms.calc = EMT()
        stress = atoms.get_stress() if self.stress else None
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        about = {"method": "EMT", "version": "", "converged": True, "wall_time": 0.0}
        return Label(energy=energy, forces=forces, stress=stress, **about)


@pytest.fixture
def emt():
    """A function that labels by EMT, and keeps what it has labelled in `frames`."""
    return Labels()


@pytest.fixture
def emt_without_stress():
    return Labels(stress=False)


@pytest.fixture
def second_difference():
    """Elastic constants from energies alone: second differences in strains, with a relaxation of the atoms in each."""

    def constants(atoms, energy_of, first, second, step=0.004):
        unit = np.zeros((2, 3, 3))
        for one, (i, j) in zip(unit, (first, second), strict=True):
            one[i, j] += 0.5
            one[j, i] += 0.5

        def energy(*steps):
            strained = atoms.copy()
            strain = np.eye(3) + sum(size * one for size, one in zip(steps, unit, strict=True))
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            return energy_of(strained)

        if first == second:
            total = energy(step, 0) + energy(-step, 0) - 2 * energy(0, 0)
            return total / step**2 / atoms.cell.volume
        total = energy(step, step) + energy(-step, -step) - energy(step, -step) - energy(-step, step)
        return total / (4 * step**2) / atoms.cell.volume

    return constants
