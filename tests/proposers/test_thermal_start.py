"""Attacks that begin at thermal geometries: bonds and angles at their spread."""

import numpy as np
import pytest
import torch

from sparring.atoms.neighbors import distances
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.proposers.base import predicted
from sparring.proposers.thermal_start import DynamicsStart, NormalModeStart, ThermalStart, started
from sparring.units import kT

STIFFNESS, LENGTH = 20.0, 1.1


def spring(structures):
    """A spring between the atoms of a diatomic, in eV/Å²; edges come in both directions."""
    owner = structures.structure_index[structures.edges.target]
    energies = STIFFNESS / 4 * (distances(structures) - LENGTH) ** 2
    return energies.new_zeros(structures.n_structures).index_add(0, owner, energies)


spring.cutoff = 5.0


@pytest.fixture
def diatomics():
    from ase import Atoms

    return Structures.from_atoms([Atoms("N2", positions=[[0, 0, 0], [LENGTH, 0, 0]])] * 400)


def lengths(structures):
    return (structures.positions[1::2] - structures.positions[::2]).norm(dim=1).numpy()


@pytest.mark.parametrize(
    "start", [NormalModeStart(temperature=500.0), DynamicsStart(temperature=500.0, duration=300.0, timestep=1.0)]
)
def test_the_spread_of_a_bond_is_that_of_the_temperature(diatomics, start):
    assert isinstance(start, ThermalStart)
    moved = start(Committee([spring]), diatomics, 0)
    expected = np.sqrt(kT(500.0) / STIFFNESS)
    # The standard error of a standard deviation of n draws is 1/sqrt(2n) of it, here 3.5 %.
    assert np.std(lengths(moved)) == pytest.approx(expected, rel=0.14)
    assert np.mean(lengths(moved)) == pytest.approx(LENGTH, abs=5 * expected / 20)


@pytest.mark.parametrize("start", [NormalModeStart(temperature=300.0), DynamicsStart(temperature=300.0, duration=20.0)])
def test_an_attack_begins_at_the_displaced_seeds_and_the_same_seed_gives_the_same(diatomics, start):
    some, committee = diatomics.take(range(3)), Committee([spring, spring])
    looked_at = []

    def proposer(committee, seeds, seed):
        looked_at.append(seeds)
        return predicted(committee, seeds)

    moved = started(proposer, start)
    first, again, other = moved(committee, some, 1), moved(committee, some, 1), moved(committee, some, 2)
    assert torch.equal(looked_at[0].positions, start(committee, some, 1).positions)
    assert torch.equal(first.structures.positions, again.structures.positions)
    assert not torch.equal(first.structures.positions, other.structures.positions)
    assert len(set(lengths(first.structures).round(6))) == 3  # also from one geometry


def test_dynamics_moves_a_particle_along_its_own_axes_only(particle):
    def well(structures):
        energies = structures.positions[:, 0].square()
        return energies.new_zeros(structures.n_structures).index_add(0, structures.structure_index, energies)

    seeds = Structures.from_atoms([particle(0.3, 0.1, -0.2)] * 3)
    moved = DynamicsStart(temperature=300.0, duration=20.0, axes="x")(Committee([well]), seeds, 0)
    assert torch.equal(moved.positions[:, 1:], seeds.positions[:, 1:])
    assert (moved.positions[:, 0] != seeds.positions[:, 0]).all()
    with pytest.raises(ValueError, match="axes must be some of 'xyz', got 'w'"):
        DynamicsStart(temperature=300.0, axes="w")(Committee([well]), seeds, 0)


def test_an_ion_has_a_hessian_of_its_own(diatomics):
    def stiffer(structures):
        """The spring, a hundred times as stiff in an ion."""
        factor = 1.0 if structures.charge is None else 1.0 + 99.0 * structures.charge
        return factor * spring(structures)

    stiffer.cutoff = spring.cutoff
    frames = diatomics.take(range(200)).to_atoms()
    for atoms in frames[::2]:
        atoms.info["charge"] = 1
    seeds = Structures.from_atoms(frames)
    moved = lengths(NormalModeStart(temperature=300.0)(Committee([stiffer]), seeds, 0))
    assert np.std(moved[1::2]) / np.std(moved[::2]) == pytest.approx(10, rel=0.4)
