import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from ase import Atoms
from ase.build import bulk
from ase.md.nose_hoover_chain import NoseHooverChainNVT
from ase.md.verlet import VelocityVerlet
from ase.units import kB

from sparring.atoms.neighbors import distances
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics import (
    NVE,
    CloserThan,
    Criterion,
    EnergyBelow,
    Ensemble,
    Langevin,
    NoseHooverChain,
    Status,
    init,
    side_by_side,
    simulate,
    step,
)
from sparring.dynamics.calculator import CommitteeCalculator
from sparring.dynamics.ensembles import NOISE
from sparring.support import philox
from sparring.support.seeds import derive
from sparring.units import AMU, kT

ENSEMBLES = [NVE(300.0), Langevin(300.0, 0.02), NoseHooverChain(300.0, 30.0)]
ALL = pytest.mark.parametrize("ensemble", ENSEMBLES, ids=lambda one: type(one).__name__)

WATER = torch.tensor([15.999, 1.008, 1.008], dtype=torch.float64).reshape(1, 3, 1)
"""Masses in amu."""


def summed(values, structures):
    return values.new_zeros(structures.n_structures).index_add(0, structures.structure_index, values)


class Well:
    """Every atom in a parabola of its own about the origin; in eV/Å²."""

    def __init__(self, stiffness):
        self.stiffness = stiffness

    def __call__(self, structures):
        return summed(self.stiffness / 2 * structures.positions.square().sum(-1), structures)


def cage(structures):
    """Holds atoms together, conserves their momentum, but not their angular momentum; anharmonic."""
    sums = structures.positions.new_zeros(structures.n_structures, 3)
    centre = sums.index_add(0, structures.structure_index, structures.positions) / structures.counts.unsqueeze(1)
    away = structures.positions - centre[structures.structure_index]
    softer = torch.stack([1.0 * away[:, 0] ** 2, 0.7 * away[:, 1] ** 2, 0.5 * away[:, 2] ** 2]).sum(0)
    return summed(softer, structures) + 2.0 * summed(away.square().sum(-1), structures).square()


def gathered(atoms, n_copies):
    """Copies that start near the bottom of the cage."""
    start = Structures.from_atoms([atoms]).take([0] * n_copies)
    return start.with_positions(0.1 * start.positions)


class Repulsion:
    """Between pairs; ends smoothly."""

    cutoff = 4.0

    def __call__(self, structures):
        reduced = (distances(structures) / self.cutoff).clamp(max=1.0)
        owner = structures.structure_index[structures.edges.target]
        energies = torch.zeros(structures.n_structures, dtype=reduced.dtype)
        return energies.index_add(0, owner, 2.0 * (1 - reduced.square()) ** 4)


class Springs(Repulsion):
    """Between all pairs of a molecule."""

    def __call__(self, structures):
        owner = structures.structure_index[structures.edges.target]
        energies = torch.zeros(structures.n_structures, dtype=structures.positions.dtype)
        return energies.index_add(0, owner, 2.0 * (distances(structures) - 1.3) ** 2)


def shifted(potential, by):
    """A member that disagrees with the others about forces along x."""

    def moved(structures):
        return potential(structures) + by * summed(structures.positions[:, 0], structures)

    moved.cutoff = getattr(potential, "cutoff", None)
    return moved


@pytest.fixture
def waters(water):
    return Structures.from_atoms([water]).take([0] * 6)


@pytest.fixture
def crystal():
    silicon = bulk("Si", cubic=True)
    silicon.rattle(0.1, seed=0)
    return silicon


def run(members, start, ensemble, *, timestep=0.5, n_steps=20, every=1, seed=0, **others):
    if not isinstance(members, Committee):
        members = Committee([members])
    return simulate(
        members, start, ensemble=ensemble, timestep=timestep, n_steps=n_steps, every=every, seed=seed, **others
    )


TRACES = ("energy", "kinetic_energy", "temperature", "conserved", "energy_variance", "force_variance")


def assert_same(one, other, *, tolerance=0.0, copies=None):
    """One result is the other, or that of some of its copies."""
    copies = list(range(other.structures.n_structures)) if copies is None else copies
    atoms = torch.cat([torch.nonzero(other.structures.structure_index == copy).flatten() for copy in copies])
    close = {"rtol": tolerance, "atol": tolerance, "equal_nan": True}
    for name in TRACES:
        torch.testing.assert_close(getattr(one, name), getattr(other, name)[:, copies], msg=name, **close)
    torch.testing.assert_close(one.structures.positions, other.structures.positions[atoms], **close)
    torch.testing.assert_close(one.velocities, other.velocities[atoms], **close)
    assert one.status.tolist() == other.status[copies].tolist()
    torch.testing.assert_close(one.failure_time, other.failure_time[copies], **close)


# --- against theory -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("potential", [cage, Springs()], ids=["cage", "springs"])
def test_the_energy_fluctuates_with_the_square_of_the_time_step(water, waters, potential):
    start = gathered(water, 6) if potential is cage else waters
    fluctuation = []
    for n_steps in (50, 100):
        result = run(potential, start, NVE(300.0), timestep=30.0 / n_steps, n_steps=n_steps, every=n_steps // 50)
        fluctuation.append((result.conserved - result.conserved[0]).square().mean().sqrt().item())
    assert fluctuation[0] / fluctuation[1] == pytest.approx(4.0, rel=0.05)
    assert fluctuation[1] < 1e-3


@pytest.mark.parametrize("ensemble", [NVE(300.0), NoseHooverChain(300.0, 20.0)], ids=["nve", "chain"])
def test_time_runs_backwards_as_well(waters, ensemble):
    members = Committee([Springs()])
    first = state = init(members, waters, ensemble=ensemble, seed=0)
    for _ in range(50):
        state = step(members, state, ensemble=ensemble, timestep=0.5)
    phase, bath = state.phase, state.phase.bath
    assert (phase.positions - first.phase.positions).abs().max() > 0.05
    back = phase._replace(velocities=-phase.velocities, bath=bath._replace(velocities=-bath.velocities))
    state = replace(state, phase=back)
    for _ in range(50):
        state = step(members, state, ensemble=ensemble, timestep=0.5)
    torch.testing.assert_close(state.phase.positions, first.phase.positions, rtol=0, atol=1e-11)
    torch.testing.assert_close(state.phase.velocities, -first.phase.velocities, rtol=0, atol=1e-11)
    torch.testing.assert_close(state.phase.bath.velocities, first.phase.bath.velocities, rtol=0, atol=1e-11)


@pytest.mark.parametrize("n_links", [1, 4])
def test_the_chains_conserved_quantity_is_conserved_to_the_square_of_the_time_step(waters, n_links):
    spread, worst = [], []
    for n_steps in (50, 100):
        ensemble = NoseHooverChain(300.0, 20.0, n_links)
        result = run(Springs(), waters, ensemble, timestep=40.0 / n_steps, n_steps=n_steps, every=n_steps // 50)
        energy = result.energy + result.kinetic_energy
        spread.append((result.conserved - result.conserved[0]).square().mean().sqrt().item())
        worst.append((energy - energy[0]).square().mean().sqrt().item())
    assert spread[0] / spread[1] == pytest.approx(4.0, rel=0.15)
    assert spread[1] < 0.01 * worst[1]


def test_heat_accounts_for_what_langevins_thermostat_does_to_the_energy(waters):
    result = run(Springs(), waters, Langevin(300.0, 0.02), timestep=0.2, n_steps=150)
    energy = result.energy + result.kinetic_energy
    assert (energy[-1] - energy[0]).abs().max() > 0.05
    assert (result.conserved - result.conserved[0]).abs().max() < 1e-3


@pytest.mark.parametrize("fixed_centre", [True, False])
def test_langevins_thermostat_leads_to_the_gamma_distribution_of_kinetic_energies(water, fixed_centre):
    n_copies, degrees = 300, 6 if fixed_centre else 9

    def held(structures):
        return cage(structures) + (0.0 if fixed_centre else Well(0.5)(structures))

    result = run(
        held, gathered(water, n_copies), Langevin(400.0, 0.1), n_steps=240, every=20, fixed_centre=fixed_centre
    )
    reduced = (result.kinetic_energy / kT(400.0))[4:]
    # K/kT ~ Γ(f/2, 1), of mean and variance f/2. Copies are independent, points in time are not: the standard error
    # is that of the copies' means over time. Of the time step, BAOAB's kinetic energy lacks (ωh)²/4 < 0.5 %.
    for power, expected in ((1, degrees / 2), (2, (degrees / 2) ** 2 + degrees / 2)):
        means = reduced.pow(power).mean(0)
        error = means.std().item() / math.sqrt(n_copies)
        assert means.mean().item() == pytest.approx(expected, abs=4 * error + 0.005 * power * expected)
        assert error < 0.05 * expected
    assert scipy.stats.kstest(reduced[-1].numpy(), scipy.stats.gamma(degrees / 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("fixed_centre", [True, False])
def test_a_chain_leaves_the_canonical_distribution_as_it_is(fixed_centre):
    # Positions, velocities and chains drawn from it stay distributed so at every later time, copy by copy.
    n_copies, n_links, time_constant, stiffness = 3000, 3, 15.0, 2.0
    draw = torch.randn(3 * n_copies, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    positions = math.sqrt(kT(400.0) / stiffness) * draw[:, :3]
    if fixed_centre:
        positions = positions - positions.reshape(n_copies, 3, 3).mean(1).repeat_interleave(3, dim=0)
    start = Structures.from_atoms([Atoms("OH2", np.zeros((3, 3)))]).take([0] * n_copies).with_positions(positions)

    def held(structures):
        index, r = structures.structure_index, structures.positions
        centre = r.new_zeros(n_copies, 3).index_add(0, index, r) / 3
        away = r - centre[index] if fixed_centre else r
        return summed(stiffness / 2 * away.square().sum(-1), structures)

    members, ensemble = Committee([held]), NoseHooverChain(400.0, time_constant, n_links)
    state = init(members, start, ensemble=ensemble, seed=0, fixed_centre=fixed_centre)
    degrees = 6 if fixed_centre else 9
    speeds = draw[:n_copies, 3:] / time_constant / torch.tensor([degrees, 1.0, 1.0]).double().sqrt()
    state = replace(state, phase=state.phase._replace(bath=state.phase.bath._replace(velocities=speeds)))
    for _ in range(80):
        state = step(members, state, ensemble=ensemble, timestep=1.0)
    kinetic = state.system.kinetic_energy(state.phase.velocities)
    for energy in (kinetic / kT(400.0), state.phase.seen.energy / kT(400.0)):
        # Γ(k = f/2) of independent copies: the mean has the variance k/N, the variance (2k² + 6k)/N.
        shape = degrees / 2
        assert energy.mean().item() == pytest.approx(shape, abs=4 * math.sqrt(shape / n_copies))
        spread = math.sqrt((2 * shape**2 + 6 * shape) / n_copies)
        assert energy.var().item() == pytest.approx(shape, abs=4 * spread)
        assert scipy.stats.kstest(energy.numpy(), scipy.stats.gamma(shape).cdf).pvalue > 1e-3


def test_langevins_positions_in_a_parabola_are_exact_whatever_the_time_step(particle):
    # Leimkuhler and Matthews: <U> = f kT/2 for any ωh < 2, while <K> = f kT/2 (1 - (ωh)²/4).
    n_copies, stiffness, reduced_step = 600, 2.0, 1.0
    timestep = reduced_step * math.sqrt(AMU / stiffness)
    result = run(
        Well(stiffness),
        Structures.from_atoms([particle()]).take([0] * n_copies),
        Langevin(300.0, 0.05),
        timestep=timestep,
        n_steps=240,
        every=4,
        fixed_centre=False,
    )
    for name, expected in (("energy", 1.5), ("kinetic_energy", 1.5 * (1 - reduced_step**2 / 4))):
        means = (getattr(result, name)[20:] / kT(300.0)).mean(0)
        error = means.std().item() / math.sqrt(n_copies)
        assert error < 0.02 * expected
        assert means.mean().item() == pytest.approx(expected, abs=4 * error)


def test_velocities_begin_with_maxwells_distribution_and_no_net_momentum(ammonia):
    n_copies = 2000
    start = Structures.from_atoms([ammonia]).take([0] * n_copies)
    for fixed_centre, degrees in ((True, 9), (False, 12)):
        state = init(Committee([cage]), start, ensemble=NVE(500.0), seed=1, fixed_centre=fixed_centre)
        reduced = state.system.kinetic_energy(state.phase.velocities) / kT(500.0)
        assert scipy.stats.kstest(reduced.numpy(), scipy.stats.gamma(degrees / 2).cdf).pvalue > 1e-3
        momentum = (state.system.masses.unsqueeze(1) * state.phase.velocities).reshape(n_copies, 4, 3).sum(1)
        assert bool((momentum.abs().max() < 1e-12) == fixed_centre)
        result = run(cage, start, NVE(500.0), n_steps=0, fixed_centre=fixed_centre)
        error = 500.0 * math.sqrt(2 / degrees / n_copies)
        assert result.temperature.mean().item() == pytest.approx(500.0, abs=4 * error)


def test_temperatures_stand_side_by_side(water):
    start, temperature = side_by_side(gathered(water, 1), [100.0, 300.0, 900.0], 100)
    result = run(cage, start, Langevin(temperature, 0.1), n_steps=200, every=20)
    measured = result.temperature[5:].mean(0).reshape(3, 100)
    for wanted, values in zip((100.0, 300.0, 900.0), measured, strict=True):
        assert values.mean().item() == pytest.approx(wanted, abs=4 * values.std().item() / 10 + 0.005 * wanted)


def test_without_temperature_friction_brings_everything_to_rest(waters):
    result = run(cage, waters, Langevin(0.0, 0.2), timestep=1.0, n_steps=200, every=200)
    assert result.temperature[-1].max() < 1e-3
    assert result.energy[-1].max() < 1e-4


@ALL
def test_the_centre_of_mass_rests_if_the_forces_let_it(waters, ensemble):
    result = run(cage, waters, ensemble, n_steps=50)
    momentum = (WATER * result.velocities.reshape(6, 3, 3)).sum(1)
    assert momentum.abs().max() < 1e-13


def test_a_net_force_is_left_alone(waters):
    result = run(shifted(cage, -0.1), waters, NVE(300.0), n_steps=20)
    momentum = AMU * (WATER * result.velocities.reshape(6, 3, 3)).sum(1)
    expected = torch.tensor([3 * 0.1 * 10.0, 0.0, 0.0], dtype=torch.float64).expand(6, 3)
    torch.testing.assert_close(momentum, expected, rtol=0, atol=1e-11)


# --- against references ---------------------------------------------------------------------------------------------


def of_ase(atoms, velocities):
    """The same start for ASE, whose unit of time is √AMU fs."""
    atoms = atoms.copy()
    atoms.set_velocities(velocities.numpy() * math.sqrt(AMU))
    return atoms


def test_trajectories_are_those_of_ases_velocity_verlet(committee, ammonia, rattled, crystal):
    members = committee(2)
    for structures, potential in ((rattled(ammonia, 3), members), ([crystal], Committee([Repulsion()]))):
        start = Structures.from_atoms(structures)
        velocities = init(potential, start, ensemble=NVE(500.0), seed=3).phase.velocities
        result = run(potential, start, NVE(), n_steps=40, seed=7, velocities=velocities)
        for i, atoms in enumerate(structures):
            own = start.structure_index == i
            reference = of_ase(atoms, velocities[own])
            reference.calc = CommitteeCalculator(potential)
            VelocityVerlet(reference, 0.5 / math.sqrt(AMU)).run(40)
            assert np.abs(result.structures.positions[own].numpy() - reference.positions).max() < 1e-8
            assert result.energy[-1, i].item() == pytest.approx(reference.get_potential_energy(), abs=1e-8)
            assert result.kinetic_energy[-1, i].item() == pytest.approx(reference.get_kinetic_energy(), abs=1e-8)


def test_trajectories_are_those_of_ases_nose_hoover_chain(committee, ammonia, rattled):
    members, structures, wanted = committee(2), rattled(ammonia, 2), (250.0, 600.0)
    start = Structures.from_atoms(structures)
    velocities = init(members, start, ensemble=NVE(800.0), seed=3, fixed_centre=False).phase.velocities
    # ASE's chain takes all 3n degrees of freedom for free.
    ensemble = NoseHooverChain(wanted, 25.0, 4)
    result = run(members, start, ensemble, n_steps=40, velocities=velocities, fixed_centre=False)
    for i, atoms in enumerate(structures):
        own = start.structure_index == i
        reference = of_ase(atoms, velocities[own])
        reference.calc = CommitteeCalculator(members)
        chain = NoseHooverChainNVT(
            reference,
            0.5 / math.sqrt(AMU),
            temperature_K=wanted[i] * kT(1.0) / kB,
            tdamp=25.0 / math.sqrt(AMU),
            tchain=4,
        )
        chain.run(40)
        assert np.abs(result.structures.positions[own].numpy() - reference.positions).max() < 1e-8
        assert result.conserved[-1, i].item() == pytest.approx(chain.get_conserved_energy(), abs=1e-8)


def test_langevins_trajectory_is_that_of_a_slow_and_plain_baoab(particle):
    stiffness, friction, timestep, temperature = 1.5, 0.03, 0.7, 350.0
    ensemble = Langevin(temperature, friction)
    start = Structures.from_atoms([particle(0.1 * i, 0.2) for i in range(3)])
    result = run(Well(stiffness), start, ensemble, timestep=timestep, n_steps=25, seed=5, fixed_centre=False)
    for i in range(3):
        key, row = torch.tensor([derive(5, "dynamics", i)]), torch.tensor([0])
        thermal = math.sqrt(kT(temperature) / AMU)
        r = start.positions[i].numpy()
        v = thermal * philox.normals(key, row, stream=0, step=0)[0].numpy()
        for count in range(25):
            noise = philox.normals(key, row, stream=NOISE, step=count)[0].numpy()
            v = v - timestep / 2 * stiffness * r / AMU
            r = r + timestep / 2 * v
            v = np.exp(-friction * timestep) * v + np.sqrt(1 - np.exp(-2 * friction * timestep)) * thermal * noise
            r = r + timestep / 2 * v
            v = v - timestep / 2 * stiffness * r / AMU
        np.testing.assert_allclose(result.structures.positions[i].numpy(), r, rtol=0, atol=1e-13)
        np.testing.assert_allclose(result.velocities[i].numpy(), v, rtol=0, atol=1e-13)


# --- copies do not notice one another -------------------------------------------------------------------------------


@ALL
def test_a_copy_alone_goes_the_way_it_goes_in_a_batch(water, ammonia, ensemble):
    start = Structures.from_atoms([water, ammonia, water, ammonia])
    together = run(cage, start, ensemble)
    assert not torch.allclose(together.energy[:, 0], together.energy[:, 2])
    for copies in ([2], [3, 0]):
        assert_same(run(cage, start.take(copies), ensemble, numbers=copies), together, copies=copies)


@ALL
def test_so_it_does_under_the_forces_of_networks_but_for_their_rounding(committee, ammonia, water, ensemble):
    start = Structures.from_atoms([ammonia, water, ammonia])
    together = run(committee(), start, ensemble, n_steps=10)
    assert_same(
        run(committee(), start.take([1]), ensemble, n_steps=10, numbers=[1]), together, copies=[1], tolerance=1e-8
    )


@ALL
@pytest.mark.parametrize("max_memory", [1.0, 1500.0])
def test_what_is_divided_to_fit_the_memory_stays_the_same(water, ammonia, ensemble, max_memory):
    start = Structures.from_atoms([water, ammonia, water, ammonia, water])
    wanted = replace(ensemble, temperature=[100.0, 200.0, 300.0, 400.0, 500.0])
    velocities = init(Committee([cage]), start, ensemble=wanted, seed=2).phase.velocities
    ticks = []
    options = {"keep_frames": True, "velocities": velocities, "n_steps": 12, "every": 2}
    whole = run(cage, start, wanted, max_memory=None, **options)
    parts = run(cage, start, wanted, max_memory=max_memory, progress=lambda *tick: ticks.append(tick), **options)
    assert_same(parts, whole)
    assert (parts.positions == whole.positions).all()
    assert 12 < len(ticks) <= 60
    assert ticks == [(count + 1, len(ticks)) for count in range(len(ticks))]


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_way(waters):
    one, same, other = (run(cage, waters, Langevin(300.0, 0.02), seed=seed) for seed in (1, 1, 2))
    assert_same(one, same)
    assert (one.structures.positions != other.structures.positions).all()


def test_what_is_given_is_left_as_it_was(waters):
    velocities = torch.full((18, 3), 0.01, dtype=torch.float64)
    positions = waters.positions.clone()
    run(cage, waters, NoseHooverChain(300.0, 20.0), n_steps=3, velocities=velocities)
    assert (velocities == 0.01).all()
    assert (waters.positions == positions).all()


def test_single_precision_forces_move_positions_in_double_precision(committee, ammonia):
    start = Structures.from_atoms([ammonia]).take([0, 0])
    single = run(committee(dtype=torch.float32), start, NVE(300.0), n_steps=20)
    double = run(committee(), start, NVE(300.0), n_steps=20)
    assert single.structures.positions.dtype == single.energy.dtype == torch.float64
    torch.testing.assert_close(single.structures.positions, double.structures.positions, rtol=0, atol=1e-5)
    assert (single.conserved - single.conserved[0]).abs().max() < 1e-3


def test_disagreement_is_noted_along_the_way(waters):
    members = Committee([shifted(cage, by) for by in (-0.3, 0.0, 0.3)])
    result = run(members, waters, NVE(300.0), n_steps=3)
    # Forces differ by (0.3, 0, -0.3) along x for each atom: σ_F² = 0.09 / 3.
    torch.testing.assert_close(result.force_variance, torch.full((4, 6), 0.03, dtype=torch.float64))
    assert (run(cage, waters, NVE(300.0), n_steps=3).force_variance == 0).all()


# --- crystals -------------------------------------------------------------------------------------------------------


@ALL
def test_a_crystal_conserves_its_quantity_beside_a_molecule_and_is_not_wrapped(crystal, ammonia, ensemble):
    start = Structures.from_atoms([crystal, ammonia, crystal])
    result = run(Repulsion(), start, ensemble, n_steps=30)
    assert (result.conserved - result.conserved[0])[:, [0, 2]].abs().max() < 1e-3
    alone = run(Repulsion(), start.take([2]), ensemble, n_steps=30, numbers=[2])
    assert_same(alone, result, copies=[2], tolerance=1e-10)


def test_positions_leave_the_cell_unwrapped(crystal):
    start = Structures.from_atoms([crystal])
    fast = torch.tensor([0.5, 0.0, 0.0]).double().expand(8, 3)
    result = run(Repulsion(), start, NVE(), n_steps=100, every=100, velocities=fast, fixed_centre=False)
    away = result.structures.positions - start.positions
    torch.testing.assert_close(away.mean(0), torch.tensor([25.0, 0.0, 0.0]).double(), rtol=0, atol=1e-9)
    still = run(Repulsion(), start, NVE(), n_steps=100, every=100, fixed_centre=False)
    torch.testing.assert_close(result.energy[-1], still.energy[-1], rtol=0, atol=1e-9)


# --- failures -------------------------------------------------------------------------------------------------------


def broken_beyond_one(structures):
    """A flat land with an abyss."""
    x = structures.positions[:, 0]
    return summed(torch.where(x > 1.05, torch.nan, 0.0 * x), structures)


@pytest.fixture
def travellers(particle):
    """Particles at 0, 0.5 and -5 Å that move at 0.1 Å/fs along x, and the arguments that make them do so."""
    start = Structures.from_atoms([particle(x) for x in (0.0, 0.5, -5.0)])
    velocities = torch.tensor([[0.1, 0.0, 0.0]]).double().expand(3, 3)
    return start, {"velocities": velocities, "fixed_centre": False, "timestep": 1.0, "n_steps": 20}


@pytest.mark.parametrize("every", [1, 4, 7, 50])
def test_a_copy_that_fails_leaves_at_its_very_step_and_the_others_do_not_notice(travellers, every):
    start, options = travellers
    result = run(broken_beyond_one, start, NVE(), every=every, keep_frames=True, **options)
    assert result.status.tolist() == [Status.NOT_FINITE, Status.NOT_FINITE, Status.FINISHED]
    assert result.failure_time[:2].tolist() == pytest.approx([11.0, 6.0], abs=1e-9)
    assert math.isnan(result.failure_time[2])
    assert result.failed.tolist() == [0, 1]
    assert result.structures.positions[:, 0].tolist() == pytest.approx([1.0, 1.0, -3.0])
    assert result.offending.positions[:, 0].tolist() == pytest.approx([1.1, 1.1])
    assert result.reasons[result.status[0]] == "not finite"
    alone = run(
        broken_beyond_one, start.take([2]), NVE(), every=every, **{**options, "velocities": options["velocities"][:1]}
    )
    assert_same(alone, result, copies=[2])
    rows = result.time
    for copy, last in ((0, 10.5), (1, 5.5), (2, 99.0)):
        assert torch.equal(torch.isfinite(result.energy[:, copy]), rows < last)
        assert torch.equal(torch.isfinite(result.positions[:, copy, 0]), rows < last)


def test_a_batch_from_which_all_have_left_ends_in_peace(travellers, ammonia):
    start, options = travellers
    ticks = []
    result = run(
        broken_beyond_one,
        start,
        NVE(),
        every=2,
        **{**options, "n_steps": 80},
        progress=lambda *tick: ticks.append(tick),
    )
    assert (result.status == Status.NOT_FINITE).all()
    assert ticks[-1] == (80, 80)
    assert result.energy.shape == (41, 3)
    assert torch.isnan(result.energy[-1]).all()
    molecules = Structures.from_atoms([ammonia, ammonia])
    result = run(Springs(), molecules, NVE(300.0), criteria=[lambda structures, seen: seen.energy > -1], n_steps=4)
    assert result.status.tolist() == [2, 2]
    assert result.failure_time.tolist() == [0.0, 0.0]
    assert torch.isnan(result.energy).all()
    assert (result.structures.positions == molecules.positions).all()


def test_noise_is_not_shuffled_when_a_copy_leaves(waters):
    def fails_third(structures, seen):
        # At the third look of what is the second copy as long as all are there.
        looks.append(1)
        return (torch.arange(structures.n_structures) == 1) & (len(looks) == 3)

    looks = []
    result = run(cage, waters, Langevin(300.0, 0.1), every=2, criteria=[fails_third])
    assert result.status.tolist() == [0, 2, 0, 0, 0, 0]
    assert result.reasons[2] == "fails_third"
    assert result.failure_time[1] == 1.0
    undisturbed = run(cage, waters, Langevin(300.0, 0.1), every=2)
    others = [0, 2, 3, 4, 5]
    torch.testing.assert_close(result.energy[:, others], undisturbed.energy[:, others], rtol=0, atol=0)


def test_atoms_that_run_into_each_other_end_their_copy():
    pairs = Structures.from_atoms([Atoms("H2", [[0, 0, 0], [d, 0, 0]]) for d in (1.0, 2.0)])
    closing = torch.tensor([[0.05, 0.0, 0.0], [-0.05, 0.0, 0.0]]).double().repeat(2, 1)
    result = run(
        Well(0.0),
        pairs,
        NVE(),
        timestep=1.0,
        n_steps=8,
        every=3,
        velocities=closing,
        criteria=[EnergyBelow(-1e9), CloserThan(0.65)],
    )
    assert result.status.tolist() == [3, 0]
    assert result.reasons[3] == "CloserThan(distance=0.65)"
    ends = result.offending.positions
    assert 0.5 < (ends[0] - ends[1]).norm() < 0.65
    # Through the face of a cell, farther than anyone else looks.
    cell = Atoms("He2", positions=[[0.5, 2, 2], [3.5, 2, 2]], cell=[4, 4, 4], pbc=True)
    apart = -closing[:2]
    result = run(
        Well(0.0),
        Structures.from_atoms([cell]),
        NVE(),
        timestep=1.0,
        n_steps=8,
        velocities=apart,
        criteria=[CloserThan(0.55)],
    )
    assert result.failure_time.tolist() == [5.0]
    assert isinstance(CloserThan(0.5), Criterion)


def test_an_energy_that_falls_into_a_hole_ends_its_copy(travellers):
    start, options = travellers

    def slope(structures):
        return -1e-6 * summed(structures.positions[:, 0], structures)

    result = run(slope, start, NVE(), criteria=[EnergyBelow(-1.25e-6)], **options)
    assert result.status.tolist() == [2, 2, 0]
    assert result.failure_time[:2].tolist() == [13.0, 8.0]


def test_an_explosion_in_a_crystal_does_not_reach_the_cell_list(crystal):
    start = Structures.from_atoms([crystal, crystal])
    velocities = torch.zeros(16, 3).double()
    velocities[3, 1] = torch.inf
    result = run(Repulsion(), start, NVE(), n_steps=5, every=3, velocities=velocities)
    assert result.status.tolist() == [Status.NOT_FINITE, Status.FINISHED]
    assert result.failure_time[0] == 0.5
    assert torch.isfinite(result.structures.positions).all()
    assert not torch.isfinite(result.offending.positions).all()


# --- frames ---------------------------------------------------------------------------------------------------------


def test_frames_tell_what_they_are_and_a_failed_copy_has_its_last_two(travellers):
    start, options = travellers
    chunks = []
    run(broken_beyond_one, start, NVE(77.0), every=10, write=chunks.append, numbers=[5, 6, 9], **options)
    told = [[(a.info["copy"], a.info["step"], a.info.get("failed")) for a in frames] for frames in chunks]
    assert told == [
        [(5, 0, None), (6, 0, None), (9, 0, None)],
        [(6, 5, None), (6, 6, "not finite")],
        [(5, 10, None), (9, 10, None)],
        [(5, 10, None), (5, 11, "not finite")],
        [(9, 20, None)],
    ]
    last = chunks[-1][0]
    assert last.positions[0].tolist() == pytest.approx([-3.0, 0.0, 0.0])
    assert last.info == {
        "copy": 9,
        "step": 20,
        "time": 20.0,
        "temperature": 77.0,
        "committee_energy": 0.0,
        "energy_variance": 0.0,
        "force_variance": 0.0,
    }
    assert "committee_energy" not in chunks[1][1].info


def test_coordinates_that_are_not_finite_make_no_frame(crystal):
    velocities = torch.zeros(8, 3).double()
    velocities[3, 1] = torch.inf
    frames = []
    run(Repulsion(), Structures.from_atoms([crystal]), NVE(), n_steps=2, velocities=velocities, write=frames.extend)
    assert [atoms.info["step"] for atoms in frames] == [0, 0]
    assert all(np.isfinite(atoms.positions).all() for atoms in frames)


def test_rows_and_frames_come_every_so_many_steps(waters):
    frames = []
    result = run(cage, waters, NVE(300.0), n_steps=10, every=4, keep_frames=True, write=frames.extend)
    assert result.time.tolist() == [0.0, 2.0, 4.0]
    assert [atoms.info["step"] for atoms in frames] == [0] * 6 + [4] * 6 + [8] * 6
    assert result.positions.shape == (3, 18, 3)
    finer = run(cage, waters, NVE(300.0), n_steps=10, keep_frames=True)
    assert (result.positions == finer.positions[::4]).all()
    assert (result.structures.positions == finer.positions[-1]).all()
    assert finer.positions is not None
    assert run(cage, waters, NVE(300.0), n_steps=1).positions is None


# --- on a device ----------------------------------------------------------------------------------------------------


@ALL
def test_a_step_asks_nothing_of_the_device(committee, ammonia, water, ensemble, never_asks):
    members, criteria = committee(dtype=torch.float32), [CloserThan(0.3), EnergyBelow(-1e9)]
    start = Structures.from_atoms([ammonia, water, ammonia])
    state = init(members, start, ensemble=ensemble, seed=0, criteria=criteria)

    with never_asks():
        for _ in range(3):
            state = step(members, state, ensemble=ensemble, timestep=0.5, criteria=criteria)
    assert state.step == 3
    assert (state.status == Status.FINISHED).all()


# --- wrong use ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"timestep": 0.0}, {"timestep": -1.0}, {"n_steps": -1}, {"every": 0}])
def test_times_that_make_no_sense_are_an_error(waters, wrong):
    with pytest.raises(ValueError, match="need timestep > 0, n_steps >= 0 and every >= 1, got"):
        run(cage, waters, NVE(300.0), **wrong)


@pytest.mark.parametrize(
    ("ensemble", "message"),
    [
        (NVE(-1.0), r"not negative, got -1.0 K"),
        (Langevin([300.0, 400.0], 0.1), "one temperature, or one for each of 6 replicas, got 2"),
        (NoseHooverChain(torch.ones(7), 10.0), "one for each of 6 replicas, got 7"),
        (NoseHooverChain(0.0, 10.0), "needs temperatures above 0 K"),
    ],
)
def test_temperatures_that_make_no_sense_are_an_error(waters, ensemble, message):
    assert isinstance(ensemble, Ensemble)
    with pytest.raises(ValueError, match=message):
        run(cage, waters, ensemble)


def test_thermostats_that_make_no_sense_are_an_error():
    with pytest.raises(ValueError, match=r"friction is a rate .* got -0.1 1/fs"):
        Langevin(300.0, -0.1)
    with pytest.raises(ValueError, match=r"time_constant > 0 and n_links >= 1, got 0\.0 fs and 3 links"):
        NoseHooverChain(300.0, 0.0)
    with pytest.raises(ValueError, match=r"got 10\.0 fs and 0 links"):
        NoseHooverChain(300.0, 10.0, 0)
    with pytest.raises(ValueError, match=r"distance must be positive, got 0\.0"):
        CloserThan(0.0)


def test_copies_and_what_belongs_to_them_must_be_as_many(waters, particle):
    with pytest.raises(ValueError, match="a number for each of 6 replicas, got 2"):
        run(cage, waters, NVE(300.0), numbers=[1, 2])
    with pytest.raises(ValueError, match=r"velocities of shape \(18, 3\), got \(6, 3\)"):
        run(cage, waters, NVE(300.0), velocities=torch.zeros(6, 3))
    with pytest.raises(ValueError, match="pass fixed_centre=False"):
        run(Well(1.0), Structures.from_atoms([particle()]), NVE(300.0))
    with pytest.raises(ValueError, match=r"at least one replica and one temperature, got 0 and \[300.0\]"):
        side_by_side(waters, [300.0], 0)
