"""Trajectories of molecular dynamics in files, written while they are made."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ase import Atoms

from sparring.atoms.inheritance import inherit
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics import (
    NPT,
    NVE,
    CloserThan,
    Criterion,
    DynamicsResult,
    Ensemble,
    Langevin,
    NoseHooverChain,
    Temperature,
    side_by_side,
    simulate,
)
from sparring.dynamics.barostat import CELL_TIME_CONSTANT, PRESSURE
from sparring.dynamics.ensembles import FRICTION, TIME_CONSTANT
from sparring.dynamics.records import Write
from sparring.inputs.extxyz import frame_text
from sparring.support.devices import require_device

__all__ = ["AT_PRESSURE", "ENSEMBLES", "committee_on", "ensemble_of", "md", "trajectory"]

ENSEMBLES = ("nose_hoover", "langevin", "nve", "npt", "npt_cell")
AT_PRESSURE = ("npt", "npt_cell")
"""Ensembles in which the cells move: their volume, or all their lengths and angles."""


def ensemble_of(
    kind: str,
    temperature: Temperature,
    *,
    friction: float = FRICTION,
    time_constant: float = TIME_CONSTANT,
    pressure: float | None = None,
    cell_time_constant: float = CELL_TIME_CONSTANT,
) -> Ensemble:
    """An ensemble by its name; time constants and friction of the others are ignored.

    Args:
        kind: Name of the ensemble: ``nose_hoover``, ``langevin``, ``nve``, ``npt`` or ``npt_cell``.
        temperature: Temperature in K.
        friction: Friction of ``langevin`` in 1/fs.
        time_constant: Time constant of the chain of ``nose_hoover``, ``npt`` and ``npt_cell`` in fs.
        pressure: Pressure of ``npt`` and ``npt_cell`` in eV/Å³, by default 1 bar.
        cell_time_constant: Time constant of the barostat of ``npt`` and ``npt_cell`` in fs.

    Raises:
        ValueError: If the name is unknown, or there is a pressure and cells do not move.
    """
    if pressure is not None and kind in ENSEMBLES and kind not in AT_PRESSURE:
        raise ValueError(
            f"a pressure needs the ensemble {' or '.join(AT_PRESSURE)}, got {kind}; leave the pressure out"
        )
    match kind:
        case "nose_hoover":
            return NoseHooverChain(temperature, time_constant)
        case "langevin":
            return Langevin(temperature, friction)
        case "nve":
            return NVE(temperature)
        case "npt" | "npt_cell":
            return NPT(
                temperature,
                PRESSURE if pressure is None else pressure,
                isotropic=kind == "npt",
                time_constant=time_constant,
                cell_time_constant=cell_time_constant,
            )
    raise ValueError(f"unknown ensemble {kind!r}; wanted one of {', '.join(ENSEMBLES)}")


@contextmanager
def trajectory(path: str | Path) -> Iterator[Write]:
    """Open a new extended XYZ file; gives a function that appends frames to it.

    All frames of one call are flushed together, so that a job that is killed leaves a file that can be read up to its
    last complete frame.

    Raises:
        OSError: If the file cannot be opened.
    """
    with Path(path).open("w", encoding="utf-8") as file:
        count = 0

        def write(frames: list[Atoms]) -> None:
            nonlocal count
            file.write("".join(frame_text(one, f"{path}, frame {count + i}") for i, one in enumerate(frames)))
            file.flush()
            count += len(frames)

        yield write


def md(
    committee: Committee,
    structures: Sequence[Atoms],
    output: str | Path,
    *,
    temperatures: Sequence[float],
    n_copies: int = 1,
    duration: float,
    timestep: float,
    ensemble: str = "nose_hoover",
    friction: float = FRICTION,
    time_constant: float = TIME_CONSTANT,
    pressure: float | None = None,
    cell_time_constant: float = CELL_TIME_CONSTANT,
    every: int = 10,
    seed: int = 0,
    min_distance: float = 0.5,
    criteria: Sequence[Criterion] = (),
    progress: Callable[[int, int], None] | None = None,
) -> DynamicsResult:
    """Replicas of every structure at every temperature, with their trajectories in an extended XYZ file.

    Temperatures are in the outer loop, then structures, then replicas. Frames have the number of their replica
    (``copy``), the index of the structure it started from, step, time, temperature and the committee's predictions; the
    last frame of a replica that has failed has the reason. At constant pressure each frame has its own cell. Centres of
    mass rest, unless a structure is a single atom.

    Args:
        committee: Committee with the mean forces that act.
        structures: Starting geometries.
        output: File of the trajectories.
        temperatures: Temperatures in K.
        n_copies: Number of replicas of each structure at each temperature.
        duration: Duration in fs.
        timestep: Time step in fs.
        ensemble: Name of the ensemble, see :func:`ensemble_of`, as are the next four.
        friction: Friction of the Langevin thermostat in 1/fs.
        time_constant: Time constant of the Nosé-Hoover chain in fs.
        pressure: Pressure in eV/Å³, for ensembles at constant pressure.
        cell_time_constant: Time constant of the barostat in fs.
        every: Number of steps between frames.
        seed: Seed of the velocities and the noise.
        min_distance: Distance of atoms in Å below which a trajectory ends; 0 for no such criterion.
        criteria: Further criteria that end the trajectory of a replica.
        progress: Callback with the number of steps done and of all.

    Raises:
        ValueError: If an argument is out of range, or the committee was not trained on such structures.
        OSError: If the file cannot be written.
    """
    committee.require_known(structures)
    if not timestep > 0 or not duration >= 0:
        raise ValueError(f"need a timestep > 0 and a duration >= 0, got {timestep} fs and {duration} fs")
    start, temperature = side_by_side(Structures.from_atoms(structures), temperatures, n_copies)
    equations = ensemble_of(
        ensemble,
        temperature,
        friction=friction,
        time_constant=time_constant,
        pressure=pressure,
        cell_time_constant=cell_time_constant,
    )
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    with trajectory(output) as write:

        def write_with_parent(frames: list[Atoms]) -> None:
            heirs = []
            for atoms in frames:
                parent = int(atoms.info["copy"]) // n_copies % len(structures)
                atoms.info["start"] = parent
                heirs.append(inherit(atoms, structures[parent]))
            write(heirs)

        return simulate(
            committee,
            start,
            ensemble=equations,
            timestep=timestep,
            n_steps=round(duration / timestep),
            every=every,
            seed=seed,
            criteria=[*([CloserThan(min_distance)] if min_distance else []), *criteria],
            fixed_centre=all(len(atoms) > 1 for atoms in structures),
            write=write_with_parent,
            progress=progress,
        )


def committee_on(committee: Committee, device: str) -> Committee:
    """The committee on a device.

    Raises:
        ValueError: If there is no such device.
    """
    return committee.to(device=require_device(device))
