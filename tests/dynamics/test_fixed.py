"""Dynamics with fixed atoms: they stay, and temperatures and thermostats count what may move."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian
from ase.md.verlet import VelocityVerlet
from ase.units import fs

from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics import NVE, Langevin, NoseHooverChain, init, simulate, step
from sparring.dynamics.calculator import CommitteeCalculator
from sparring.dynamics.trajectories import md
from sparring.proposers.dynamics import take_snapshots
from sparring.systems.own.structures import read_own
from sparring.units import kT

ALL = pytest.mark.parametrize(
    "ensemble", [NVE(300.0), Langevin(300.0, 0.05), NoseHooverChain(300.0, 30.0)], ids=lambda one: type(one).__name__
)


class Wells:
    """Every atom of a structure in a parabola of its own about where it should be, in eV/Å²."""

    def __init__(self, sites, stiffness=5.0):
        self.sites, self.stiffness = torch.as_tensor(sites), stiffness

    def __call__(self, structures):
        away = structures.positions.reshape(structures.n_structures, -1, 3) - self.sites
        return self.stiffness / 2 * away.square().sum((1, 2))


@pytest.fixture
def held(ammonia):
    """Nitrogen rests, and a hydrogen atom moves in a plane."""
    ammonia.set_constraint([FixAtoms([0]), FixCartesian([1], (False, False, True))])
    return ammonia


def run(members, start, ensemble, **others):
    arguments = {"timestep": 0.5, "n_steps": 40, "every": 1, "seed": 1, **others}
    return simulate(members, start, ensemble=ensemble, **arguments)


@ALL
def test_fixed_coordinates_never_move_and_have_no_velocity(ensemble, held, water, committee):
    start = Structures.from_atoms([held, water]).take([0, 1, 0])
    result = run(committee(), start, ensemble, keep_frames=True)
    assert (result.positions[:, start.fixed] == start.positions[start.fixed]).all()
    assert not result.velocities[start.fixed].any()
    assert (result.structures.positions[~start.fixed] != start.positions[~start.fixed]).all()
    assert (result.structures.fixed == start.fixed).all()


@pytest.mark.parametrize(
    ("constraints", "degrees"),
    [
        ([], 9),
        ([FixAtoms([0])], 9),
        ([FixAtoms([0, 1, 2])], 3),
        ([FixCartesian([0], (False, False, True))], 9),  # the centre still rests along x and y
        ([FixCartesian([0, 1, 2, 3], (False, False, True))], 6),
    ],
    ids=str,
)
def test_degrees_of_freedom_are_free_coordinates_less_axes_along_which_the_centre_rests(
    constraints, degrees, ammonia, committee
):
    ammonia.set_constraint(constraints)
    start = Structures.from_atoms([ammonia])
    state = init(committee(), start, ensemble=NVE(300.0), seed=0)
    assert state.system.degrees.tolist() == [degrees]
    moving = init(committee(), start, ensemble=NVE(300.0), seed=0, fixed_centre=False)
    fixed = 0 if start.fixed is None else int(start.fixed.sum())
    assert moving.system.degrees.tolist() == [12 - fixed]


def test_centres_rest_along_axes_along_which_nothing_is_fixed_and_only_those(ammonia, water, committee):
    ammonia.set_constraint(FixCartesian([2], (True, False, False)))
    start = Structures.from_atoms([ammonia, water])
    state = init(committee(), start, ensemble=NVE(300.0), seed=0)
    momentum = state.system.masses.unsqueeze(-1) * state.phase.velocities
    per_copy = torch.stack([part.sum(0) for part in momentum.split(start.counts.tolist())])
    assert (per_copy.abs() > 1e-6).tolist() == [[True, False, False], [False] * 3]


def test_velocities_are_drawn_for_the_degrees_of_freedom_that_there_are(held):
    start = Structures.from_atoms([held]).take([0] * 500)
    result = run(Committee([Wells(held.positions)]), start, NVE(300.0), n_steps=0)
    # 8 coordinates are free; the mean of 500 copies is known to 2 %.
    assert result.kinetic_energy[0].mean().item() == pytest.approx(4 * kT(300.0), rel=0.08)
    assert result.temperature[0].mean().item() == pytest.approx(300.0, rel=0.08)


def test_langevin_holds_the_temperature_of_free_atoms_and_their_place_in_a_well(held):
    start = Structures.from_atoms([held]).take([0] * 200)
    members = Committee([Wells(held.positions)])
    result = run(members, start, Langevin(300.0, 0.1), n_steps=200, every=5)
    late = slice(12, None)
    assert result.temperature[late].mean().item() == pytest.approx(300.0, rel=0.05)
    potential = result.energy[late].mean().item()
    assert potential == pytest.approx(8 / 2 * kT(300.0), rel=0.05)  # equipartition of 8 free coordinates


@ALL
def test_what_is_conserved_stays_conserved(ensemble, held):
    members = Committee([Wells(held.positions + 0.1)])
    result = run(members, Structures.from_atoms([held]), ensemble, timestep=0.05, every=2)
    conserved = result.conserved[:, 0]
    exchanged = (result.energy[:, 0] - result.energy[0, 0]).abs().max()
    assert (conserved - conserved[0]).abs().max() < 1e-2 * exchanged


def test_a_trajectory_with_fixed_atoms_is_that_of_ase(held, committee):
    members = committee()
    start = Structures.from_atoms([held])
    generator = torch.Generator().manual_seed(0)
    velocities = start.on_free(0.02 * torch.randn(4, 3, generator=generator, dtype=torch.float64))
    result = run(members, start, NVE(), n_steps=30, velocities=velocities, keep_frames=True)
    atoms = held.copy()
    atoms.calc = CommitteeCalculator(members)
    atoms.set_velocities(velocities.numpy() / fs)
    VelocityVerlet(atoms, 0.5 * fs).run(30)
    np.testing.assert_allclose(result.positions[-1].numpy(), atoms.positions, atol=1e-6)


@pytest.mark.parametrize("ensemble", [NVE(), NoseHooverChain(300.0, 30.0)], ids=["NVE", "chain"])
def test_free_atoms_move_as_if_fixed_ones_were_a_part_of_the_potential(ensemble, ammonia):
    ammonia.set_constraint(FixAtoms([0]))
    start, rest = Structures.from_atoms([ammonia]), Structures.from_atoms([ammonia[1:]])
    sites = torch.as_tensor(ammonia.positions) + 0.1
    velocities = 0.02 * torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = run(Committee([Wells(sites)]), start, ensemble, velocities=velocities)
    alone = run(Committee([Wells(sites[1:])]), rest, ensemble, velocities=velocities[1:], fixed_centre=False)
    torch.testing.assert_close(whole.structures.positions[1:], alone.structures.positions, rtol=0, atol=1e-12)
    torch.testing.assert_close(whole.temperature, alone.temperature)


def test_velocities_that_are_given_to_fixed_atoms_are_left_out(held, committee):
    start = Structures.from_atoms([held])
    result = run(committee(), start, NVE(), n_steps=3, velocities=torch.ones_like(start.positions))
    assert (result.structures.positions[start.fixed] == start.positions[start.fixed]).all()


def test_a_structure_all_of_which_is_fixed_cannot_move(water, committee):
    water.set_constraint(FixAtoms([0, 1, 2]))
    with pytest.raises(ValueError, match="replica 0 cannot move: all its 3 atoms are fixed; free some"):
        run(committee(), Structures.from_atoms([water]), NVE(300.0))


@ALL
def test_a_step_with_fixed_atoms_asks_nothing_of_the_device(ensemble, held, water, committee, never_asks):
    members = committee()
    state = init(members, Structures.from_atoms([held, water]), ensemble=ensemble, seed=0)
    state = step(members, state, ensemble=ensemble, timestep=0.5)
    with never_asks():
        step(members, state, ensemble=ensemble, timestep=0.5)


def test_snapshots_and_trajectories_keep_fixed_atoms_and_say_which_they_are(held, committee, tmp_path):
    members = committee()
    seeds = Structures.from_atoms([held, Atoms("N2", positions=[[0, 0, 0], [0, 0, 1.1]])])
    result = take_snapshots(members, seeds, ensemble=NVE(300.0), seed=0, duration=10.0, every=5)
    rounds = result.structures.n_structures // 2
    assert (result.structures.fixed == seeds.take([0, 1] * rounds).fixed).all()
    whole = seeds.take([0, 1] * rounds)
    assert (result.structures.positions[whole.fixed] == whole.positions[whole.fixed]).all()
    held.set_initial_magnetic_moments([0.0, 1.0, -1.0, 0.5])
    md(members, [held], tmp_path / "md.xyz", temperatures=[300.0], n_copies=2, duration=5.0, timestep=0.5)
    for frame in read_own(tmp_path / "md.xyz"):
        assert frame.positions[0].tolist() == held.positions[0].tolist()
        assert frame.positions[1, 2] == held.positions[1, 2]
        assert (Structures.from_atoms([frame]).fixed == seeds.take([0]).fixed).all()
        assert frame.get_initial_magnetic_moments().tolist() == [0.0, 1.0, -1.0, 0.5]
