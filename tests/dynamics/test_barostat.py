"""Constant pressure: known distributions, the conserved quantity, and ASE's integrator as an independent reference."""

import math
from dataclasses import replace

import ase.units
import numpy as np
import pytest
import scipy.stats
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.morse import MorsePotential
from ase.constraints import FixAtoms
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT

from sparring.atoms.neighbors import distances
from sparring.atoms.strain import volumes
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics import HAL, NPT, NVE, Status, init, simulate, step
from sparring.units import kT, quantity

BOTH = pytest.mark.parametrize("isotropic", [True, False], ids=["volume", "cell"])


class Morse:
    """ASE's Morse potential, which ends smoothly between 1.2 and 1.7 times the length."""

    def __init__(self, depth=0.4, steepness=4.0, length=2.6):
        self.depth, self.steepness, self.length = depth, steepness, length
        self.cutoff = 1.7 * length

    def __call__(self, structures):
        distance = distances(structures)
        decay = torch.exp(-self.steepness * (distance / self.length - 1))
        s = ((self.cutoff - distance) / (0.5 * self.length)).clamp(0.0, 1.0)
        switch = s**3 * (6 * s**2 - 15 * s + 10)
        owner = structures.structure_index[structures.edges.target]
        energies = torch.zeros(structures.n_structures, dtype=distance.dtype)
        return energies.index_add(0, owner, switch * self.depth / 2 * decay * (decay - 2))

    def calculator(self):
        reach = {"rcut1": 1.2, "rcut2": 1.7}
        return MorsePotential(epsilon=self.depth, rho0=self.steepness, r0=self.length, **reach)


class Elastic:
    """Cells with an energy of their strain, (h h^T - 1)/2, and atoms that feel nothing: an ideal gas in a crystal."""

    def __init__(self, edge, stiffness):
        self.edge, self.stiffness = edge, stiffness

    def __call__(self, structures):
        reduced = structures.cells / self.edge
        strain = (reduced @ reduced.transpose(-1, -2) - torch.eye(3, dtype=reduced.dtype)) / 2
        return self.stiffness / 2 * strain.square().sum((-2, -1)) + 0.0 * structures.positions.sum()


def gas(structures):
    return 0.0 * structures.positions.sum() + structures.cells.new_zeros(structures.n_structures)


def metal(repeat=2, temperature=300.0, seed=0):
    atoms = bulk("Cu", "fcc", a=3.75, cubic=True).repeat((repeat, repeat, repeat))
    rng = np.random.default_rng(seed)
    atoms.set_momenta(
        rng.normal(size=(len(atoms), 3)) * np.sqrt(atoms.get_masses()[:, None] * ase.units.kB * temperature)
    )
    return atoms


def velocities_of(atoms):
    return torch.as_tensor(atoms.get_velocities() * ase.units.fs)


@pytest.fixture
def skewed():
    """Crystals out of equilibrium: all pressures act."""
    atoms = bulk("Cu", "fcc", a=3.7).repeat((3, 3, 3))
    atoms.rattle(0.05, seed=1)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + np.array([[2, 1, 0], [1, -1, 2], [0, 2, 0]]) / 100), True)
    return Structures.from_atoms([atoms, atoms])


def run(members, start, ensemble, *, timestep=1.0, n_steps=20, every=1, seed=0, **others):
    members = members if isinstance(members, Committee) else Committee([members])
    return simulate(
        members, start, ensemble=ensemble, timestep=timestep, n_steps=n_steps, every=every, seed=seed, **others
    )


# --- against theory -------------------------------------------------------------------------------------------------


@BOTH
def test_the_conserved_quantity_fluctuates_with_the_square_of_the_time_step(skewed, isotropic):
    ensemble = NPT(300.0, quantity("2 GPa", "pressure"), isotropic, time_constant=40.0, cell_time_constant=100.0)
    spread = []
    for n_steps in (50, 100):
        result = run(Morse(), skewed, ensemble, timestep=100.0 / n_steps, n_steps=n_steps, every=n_steps // 50)
        spread.append((result.conserved - result.conserved[0]).square().mean().sqrt().item())
        energy = result.energy + result.kinetic_energy
        exchanged = (energy - energy[0]).square().mean().sqrt().item()
    assert spread[0] / spread[1] == pytest.approx(4.0, rel=0.15)
    assert spread[1] < 0.03 * exchanged
    assert result.volume.std(0).min() > 1.0


@BOTH
def test_time_runs_backwards_as_well(skewed, isotropic):
    members, ensemble = Committee([Morse()]), NPT(300.0, 0.0, isotropic, 40.0, 100.0)
    first = state = init(members, skewed, ensemble=ensemble, seed=0)
    for _ in range(30):
        state = step(members, state, ensemble=ensemble, timestep=2.0)
    bath = state.phase.bath
    assert (state.phase.cells - first.phase.cells).abs().max() > 0.05
    bath = bath._replace(velocities=-bath.velocities, strain_rate=-bath.strain_rate)
    state = replace(state, phase=state.phase._replace(velocities=-state.phase.velocities, bath=bath))
    for _ in range(30):
        state = step(members, state, ensemble=ensemble, timestep=2.0)
    for now, before in (
        (state.phase.positions, first.phase.positions),
        (state.phase.velocities, -first.phase.velocities),
        (state.phase.cells, first.phase.cells),
    ):
        torch.testing.assert_close(now, before, rtol=0, atol=1e-9)


@pytest.mark.parametrize("fixed_centre", [True, False])
def test_volumes_of_an_ideal_gas_stay_distributed_as_gamma(fixed_centre):
    # p(V) ~ V^N e^{-PV/kT}, and V^{N-1} where the centre of mass rests: <V> = (N + 1) kT/P, or N kT/P.
    n_copies, n_atoms, pressure, ensemble = 2000, 3, 1e-3, NPT(400.0, 1e-3, True, 20.0, 40.0)
    thermal, shape = kT(400.0), 3 + (not fixed_centre)
    rng = np.random.default_rng(3)
    edges = np.cbrt(rng.gamma(shape, thermal / pressure, n_copies))
    start = Structures.from_atoms([Atoms("He3", np.zeros((3, 3)), cell=[edge] * 3, pbc=True) for edge in edges])
    members = Committee([gas])
    state = init(members, start, ensemble=ensemble, seed=0, fixed_centre=fixed_centre)
    degrees = state.system.degrees[0].item()
    draw = torch.as_tensor(rng.normal(size=(n_copies, 7)))
    mass = (degrees + 3) / 3 * thermal * 40.0**2
    rate = draw[:, :1] * math.sqrt(thermal / (3 * mass))
    links = draw[:, 1:] / torch.tensor([20.0 * math.sqrt(degrees), 20.0, 20.0, 40.0, 40.0, 40.0]).double()
    bath = state.phase.bath._replace(velocities=links, strain_rate=rate[..., None] * torch.eye(3).double())
    state = replace(state, phase=state.phase._replace(bath=bath))
    before = volumes(state.phase.cells)
    for _ in range(120):
        state = step(members, state, ensemble=ensemble, timestep=1.0)
    reduced = (volumes(state.phase.cells) * pressure / thermal).numpy()
    assert np.corrcoef(before.numpy(), reduced)[0, 1] < 0.7
    assert reduced.mean() == pytest.approx(shape, abs=4 * math.sqrt(shape / n_copies))
    assert scipy.stats.kstest(reduced, scipy.stats.gamma(shape).cdf).pvalue > 1e-3
    assert n_atoms * n_copies == start.n_atoms


def test_strains_of_an_elastic_cell_stay_distributed_as_boltzmann_has_it():
    # U = c/2 sum(E²), E = (h h^T - 1)/2. Volumes weigh cells by V^(N - 1), the barostat by V^-2 dh, and V^-3 dh is
    # V^-4 dE: with four atoms at rest, E is normal, with a variance of kT/c, and half of it off the diagonal.
    n_copies, edge, stiffness, thermal, time_constant = 1500, 6.0, 100.0, kT(300.0), 60.0
    ensemble = NPT(300.0, 0.0, False, 20.0, time_constant)
    draw = torch.as_tensor(np.random.default_rng(0).normal(size=(n_copies, 24)))

    def symmetric(normal, variance):
        matrix = torch.zeros(n_copies, 3, 3, dtype=torch.float64)
        rows, columns = [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]
        values = normal * (variance * torch.tensor([1.0, 1.0, 1.0, 0.5, 0.5, 0.5]).double()).sqrt()
        matrix[:, rows, columns] = values
        matrix[:, columns, rows] = values
        return matrix

    lengths, axes = torch.linalg.eigh(torch.eye(3) + 2 * symmetric(draw[:, :6], thermal / stiffness))
    cells = edge * axes @ torch.diag_embed(lengths.sqrt()) @ axes.mT
    start = Structures.from_atoms([Atoms("He4", np.zeros((4, 3)), cell=np.eye(3), pbc=True)]).take([0] * n_copies)
    members = Committee([Elastic(edge, stiffness)])
    state = init(members, replace(start, cells=cells), ensemble=ensemble, seed=0)
    mass = (9 + 3) / 3 * thermal * time_constant**2
    scales = torch.tensor([20.0 * 3.0, 20.0, 20.0, time_constant * math.sqrt(6.0), time_constant, time_constant])
    bath = state.phase.bath._replace(
        velocities=draw[:, 6:12] / scales, strain_rate=symmetric(draw[:, 12:18], thermal / mass)
    )
    state = replace(state, phase=state.phase._replace(bath=bath))
    before = state.phase.cells
    for _ in range(240):
        state = step(members, state, ensemble=ensemble, timestep=0.5)
    assert (state.status == Status.FINISHED).all()
    assert (state.phase.cells - before).std() > 0.05
    reduced = state.phase.cells / edge
    strain = (reduced @ reduced.mT - torch.eye(3)) / 2
    for row in range(3):
        for column in range(row, 3):
            scaled = strain[:, row, column] * math.sqrt(stiffness / thermal * (1 if row == column else 2))
            # The time step leaves (ωh)²/12 < 1 %.
            assert scaled.var().item() == pytest.approx(1.0, abs=4 * math.sqrt(2 / n_copies) + 0.01)
            assert scipy.stats.kstest(scaled.numpy(), scipy.stats.norm.cdf).pvalue > 1e-3


def test_the_volume_alone_moves_and_shapes_and_coordinates_in_the_cell_follow(skewed):
    start = skewed.with_positions(skewed.positions)
    result = run(Morse(), start, NPT(300.0, 0.0, True, 40.0, 100.0), n_steps=30)
    ratio = result.structures.cells / start.cells
    change = (result.volume[-1] / result.volume[0]) ** (1 / 3)
    assert (change - 1).abs().min() > 1e-3
    torch.testing.assert_close(ratio[start.cells.abs() > 0], change.repeat_interleave(9)[start.cells.flatten() != 0])


def test_a_cell_under_pressure_shrinks_and_under_tension_grows(skewed):
    means = []
    for pressure in ("10 GPa", "0 GPa", "-2 GPa"):
        ensemble = NPT(100.0, quantity(pressure, "pressure"), False, 40.0, 150.0)
        result = run(Morse(), skewed.take([0]), ensemble, timestep=3.0, n_steps=150)
        means.append(result.volume[75:].mean().item())
        inner = result.pressure[75:].mean().item()
        assert inner == pytest.approx(quantity(pressure, "pressure"), abs=quantity("2 GPa", "pressure"))
    assert means[0] < means[1] < means[2]


# --- against ASE ----------------------------------------------------------------------------------------------------


@BOTH
def test_a_trajectory_is_that_of_ase(isotropic):
    atoms, pressure = metal(), quantity("1 GPa", "pressure")
    atoms.calc = Morse().calculator()
    other = (IsotropicMTKNPT if isotropic else MTKNPT)(
        atoms,
        2 * ase.units.fs,
        temperature_K=300.0,
        pressure_au=pressure,
        tdamp=40 * ase.units.fs,
        pdamp=100 * ase.units.fs,
    )
    # ASE's chain of the cell takes 9 degrees of freedom for granted: one of the volume, or six of a symmetric strain.
    if isotropic:
        other._barostat._R[0] /= 9
    else:
        other._barostat._cell_dof = 6
        other._barostat._R[0] *= 6 / 9
    start = Structures.from_atoms([atoms])
    ensemble = NPT(300.0, pressure, isotropic, 40.0, 100.0)
    result = run(
        Morse(), start, ensemble, timestep=2.0, n_steps=40, velocities=velocities_of(atoms), fixed_centre=False
    )
    other.run(40)
    assert abs(result.volume[-1] / result.volume[0] - 1) > 0.01
    close = {"rtol": 0, "atol": 2e-6}
    torch.testing.assert_close(result.structures.cells[0], torch.as_tensor(atoms.cell.array), **close)
    torch.testing.assert_close(result.structures.positions, torch.as_tensor(atoms.positions), **close)
    torch.testing.assert_close(result.velocities, velocities_of(atoms), **close)
    assert result.conserved[-1].item() == pytest.approx(other.get_conserved_energy(), abs=1e-4)


# --- replicas -------------------------------------------------------------------------------------------------------


@BOTH
def test_a_copy_has_the_same_bits_alone_and_among_others(skewed, committee, isotropic):
    ensemble = NPT([300.0, 600.0], 0.0, isotropic, 40.0, 100.0)
    together = run(Morse(), skewed, ensemble, keep_frames=True)
    alone = run(Morse(), skewed.take([1]), replace(ensemble, temperature=600.0), keep_frames=True, numbers=[1])
    parts = run(Morse(), skewed, ensemble, keep_frames=True, max_memory=1.0)
    n = skewed.n_atoms // 2
    assert (alone.cells == together.cells[:, 1:]).all()
    assert (alone.positions == together.positions[:, n:]).all()
    assert (alone.pressure == together.pressure[:, 1:]).all()
    assert (parts.cells == together.cells).all()
    assert (parts.structures.cells == together.structures.cells).all()
    assert not torch.equal(together.cells[-1, 0], together.cells[-1, 1])


def test_frames_have_the_cell_of_their_time(skewed):
    frames = []
    result = run(Morse(), skewed, NPT(300.0, 0.0, False, 40.0, 100.0), every=10, keep_frames=True, write=frames.extend)
    cells = result.cells.flatten(0, 1).numpy()
    np.testing.assert_array_equal([atoms.cell.array for atoms in frames], cells)
    assert result.cells.shape == (3, 2, 3, 3)
    np.testing.assert_allclose(result.volume[-1], np.abs(np.linalg.det(cells[-2:])))
    assert not np.allclose(cells[0], cells[-1])


def test_pressures_are_known_only_where_cells_move(skewed):
    fixed = run(Morse(), skewed, NVE(300.0), n_steps=2, keep_frames=True)
    assert fixed.pressure.isnan().all()
    assert (fixed.cells == skewed.cells).all()
    torch.testing.assert_close(fixed.volume, volumes(skewed.cells).expand(3, 2))


def test_an_ideal_gas_has_the_pressure_of_its_kinetic_energy():
    atoms = Atoms("He8", np.random.default_rng(0).uniform(0, 9, (8, 3)), cell=[9.0] * 3, pbc=True)
    result = run(gas, Structures.from_atoms([atoms]), NPT(300.0, 1e-3), n_steps=5)
    torch.testing.assert_close(result.pressure, 2 * result.kinetic_energy / (3 * result.volume))


def test_a_cell_that_collapses_ends_its_copy_alone(skewed):
    def hole(structures):
        # Cells below 98 % of the volume of the first fall into it.
        return gas(structures) - 1.0 * (0.98 * volumes(skewed.cells[:1]) - volumes(structures.cells)).clamp(min=0.0)

    smaller = replace(skewed, cells=skewed.cells * torch.tensor([1.0, 0.99]).double()[:, None, None])
    atoms = torch.where(skewed.structure_index == 1, 0.99, 1.0).unsqueeze(-1)
    frames = []
    result = run(
        hole,
        smaller.with_positions(atoms * skewed.positions),
        NPT(300.0, 0.0, True, 40.0, 100.0),
        n_steps=40,
        write=frames.extend,
    )
    assert result.status.tolist() == [Status.FINISHED, Status.NOT_FINITE]
    assert result.reasons[1] == "not finite, or the volume changed more than 10-fold"
    assert torch.isfinite(result.structures.cells).all()
    assert 0.1 < volumes(result.structures.cells)[1] / volumes(smaller.cells)[1] < 1.0
    assert not 0.1 < volumes(result.offending.cells)[0] / volumes(smaller.cells)[1] < 10
    assert all(np.isfinite(atoms.cell.array).all() for atoms in frames)


def test_a_bias_pushes_the_cell_as_well_and_is_conserved(skewed):
    members = Committee([Morse(), Morse(depth=0.45), Morse(steepness=4.2)])
    spread = []
    for n_steps in (40, 80):
        ensemble = NPT(300.0, 0.0, False, 40.0, 100.0)
        result = run(members, skewed, ensemble, timestep=160.0 / n_steps, n_steps=n_steps, bias=HAL(tau=0.5))
        spread.append((result.conserved - result.conserved[0]).square().mean().sqrt().item())
    assert spread[0] / spread[1] == pytest.approx(4.0, rel=0.2)


# --- wrong use ------------------------------------------------------------------------------------------------------


def test_molecules_slabs_and_fixed_atoms_have_no_constant_pressure():
    slab = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    held = bulk("Cu", cubic=True)
    held.set_constraint(FixAtoms([0]))
    for atoms, message in (
        (molecule("H2O"), r"periodic in three directions, and replica 0 is not \(pbc FFF\); use nose_hoover"),
        (slab, r"replica 0 is not \(pbc TTF\)"),
        (held, "fixed atoms could not stay; free all atoms"),
    ):
        with pytest.raises(ValueError, match=message):
            run(Morse(), Structures.from_atoms([atoms]), NPT(300.0))


def test_barostats_that_make_no_sense_are_an_error(skewed):
    with pytest.raises(ValueError, match=r"the pressure must be finite, got inf eV/Å³"):
        NPT(300.0, math.inf)
    with pytest.raises(ValueError, match=r"cell_time_constant > 0 and n_links >= 1, got 50\.0 fs, 0\.0 fs and 3 links"):
        NPT(300.0, cell_time_constant=0.0)
    with pytest.raises(ValueError, match="temperatures above 0 K"):
        run(Morse(), skewed, NPT(0.0))
