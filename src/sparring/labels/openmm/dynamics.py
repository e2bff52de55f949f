"""Snapshots of Langevin dynamics under a force field: starting data, as in the paper's third example."""

import math
from collections.abc import Callable

import numpy as np
from ase import Atoms
from jaxtyping import Int

from sparring.atoms.inheritance import inherit
from sparring.labels.openmm.labeller import NM, OpenMM
from sparring.labels.openmm.reading import imported
from sparring.units import quantity

__all__ = ["langevin_snapshots", "n_langevin_snapshots"]

PS = quantity("1 ps", "time")
# OpenMM takes 32 bits, and 0 for "choose one yourself".
LARGEST_SEED = 2**31 - 1


def langevin_snapshots(
    labeller: OpenMM,
    start: Atoms,
    *,
    temperature: float = 300.0,
    friction: float = quantity("1 1/ps"),
    timestep: float = 2.0,
    duration: float = quantity("2 ns"),
    every: float = quantity("2 ps"),
    equilibration: float = 0.0,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Atoms]:
    r"""Snapshots of Langevin dynamics at a temperature, without labels (Sec. V.C).

    .. math:: m \ddot r = F(r) - \gamma m \dot r + \sqrt{2 \gamma m kT}\, \xi(t)

    The start is minimised first. Steps are those of OpenMM's `LangevinMiddleIntegrator` (Zhang et al., J. Phys. Chem. A
    123, 6056, 2019, doi:10.1021/acs.jpca.9b02771). No bond is constrained, because potentials must be trained on
    vibrations. Steps of 2 fs are short enough: the positions of a harmonic oscillator have the right distribution for
    any step at which it is stable, and for alanine dipeptide the mean potential energy is that of steps of 0.5 fs.
    Velocities are too slow at such steps, and are not used. Atoms that are fixed stay where they are.

    Args:
        labeller: The force field.
        start: The molecule.
        temperature: Temperature in K.
        friction: Rate gamma in 1/fs.
        timestep: Time step in fs.
        duration: Time from the end of equilibration to the last snapshot, in fs.
        every: Time from snapshot to snapshot, in fs: a whole number of steps.
        equilibration: Time before the duration begins, in fs.
        seed: Seed of velocities and noise. On the platform "Reference" the same seed gives the same bits.
        progress: Callback with the number of snapshots taken and of all, at the start and after each.

    Raises:
        ValueError: If the structure does not fit the force field, the times do not fit each other, an atom is fixed
            along some axes only, or atoms fly apart because steps are too long.
    """
    n_snapshots = n_langevin_snapshots(duration=duration, every=every, timestep=timestep)
    if not (0 < temperature < math.inf and 0 < friction < math.inf and 0 <= equilibration < math.inf):
        raise ValueError(
            f"wanted a positive temperature and friction and an equilibration of at least 0, got {temperature} K, "
            f"{friction} 1/fs and {equilibration} fs"
        )
    labeller.require_fitting(start)
    openmm, number = imported(), 1 + seed % LARGEST_SEED
    integrator = openmm.LangevinMiddleIntegrator(temperature, friction * PS, timestep / PS)
    integrator.setRandomNumberSeed(number)
    fixed = _fixed_atoms(start)
    context = labeller.context(integrator, fixed=fixed.tolist())
    context.setPositions(start.positions / NM)
    snapshots: list[Atoms] = []
    done = 0.0
    try:
        openmm.LocalEnergyMinimizer.minimize(context)
        context.setVelocitiesToTemperature(temperature, number)
        integrator.step(round(equilibration / timestep))
        for index in range(n_snapshots):
            if progress is not None:
                progress(index, n_snapshots)
            integrator.step(round(every / timestep))
            done = (index + 1) * every
            snapshots.append(_snapshot(context, start, fixed, temperature, done))
    # OpenMM looks at the coordinates now and then, and raises this if they are not finite.
    except (openmm.OpenMMException, FloatingPointError) as error:
        raise ValueError(
            f"dynamics of {start.get_chemical_formula()} broke down between {done:g} and {done + every:g} fs: {error}; "
            f"take shorter steps than {timestep:g} fs, or see whether the start and its topology belong together"
        ) from error
    if progress is not None:
        progress(n_snapshots, n_snapshots)
    return snapshots


def n_langevin_snapshots(*, duration: float, every: float, timestep: float) -> int:
    """Number of snapshots that `langevin_snapshots` takes.

    Raises:
        ValueError: If a time is not positive, a snapshot is not a whole number of steps after the last, or there is
            none.
    """
    if not (0 < timestep < math.inf and 0 < every < math.inf and 0 < duration < math.inf):
        raise ValueError(f"wanted positive times, got timestep {timestep}, every {every} and duration {duration} fs")
    n_steps = round(every / timestep)
    if n_steps < 1 or abs(n_steps * timestep - every) > 1e-6 * every:
        raise ValueError(f"a snapshot every {every:g} fs is not a whole number of steps of {timestep:g} fs")
    n_snapshots = math.floor(duration / every * (1 + 1e-9))
    if n_snapshots < 1:
        raise ValueError(f"a duration of {duration:g} fs has no snapshot if there is one every {every:g} fs")
    return n_snapshots


def _fixed_atoms(start: Atoms) -> Int[np.ndarray, " n_fixed"]:
    """Atoms without a mass for OpenMM, which then does not move them."""
    # Worker processes start twice as fast without it, and do not need it.
    from sparring.atoms.constraints import fixed_coordinates

    fixed = fixed_coordinates(start)
    if fixed is None:
        return np.array([], dtype=int)
    for atom in np.flatnonzero(fixed.any(axis=1) & ~fixed.all(axis=1))[:1]:
        raise ValueError(
            f"atom {atom} of {start.get_chemical_formula()} is fixed along some axes only, which dynamics by OpenMM "
            "cannot do; fix it along all three, or enlarge the data by displacements"
        )
    return np.flatnonzero(fixed.all(axis=1))


def _snapshot(
    context: object, start: Atoms, fixed: Int[np.ndarray, " n_fixed"], temperature: float, elapsed: float
) -> Atoms:
    openmm = imported()
    state = context.getState(positions=True)  # type: ignore[attr-defined]
    positions = np.array(state.getPositions(asNumpy=True).value_in_unit(openmm.unit.nanometer), dtype=float) * NM
    if not np.isfinite(positions).all():
        raise FloatingPointError("coordinates are not finite")
    snapshot = inherit(Atoms(numbers=start.numbers, positions=positions), start)
    snapshot.positions[fixed] = start.positions[fixed]  # nanometres have rounded them
    snapshot.info |= {"source": "langevin", "parent": -1, "temperature": temperature, "time": elapsed}
    return snapshot
