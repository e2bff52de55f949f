"""Trajectories of molecular dynamics in files, written while they are made."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ase import Atoms

from sparring.atoms.inheritance import inherit
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics import (
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
from sparring.dynamics.records import Write
from sparring.inputs.extxyz import frame_text
from sparring.support.devices import require_device

__all__ = ["ENSEMBLES", "committee_on", "ensemble_of", "md", "trajectory"]

ENSEMBLES = ("nose_hoover", "langevin", "nve")


@contextmanager
def trajectory(path: str | Path) -> Iterator[Write]:
    """A new extended XYZ file, and what appends frames to it.

    All frames that were written at once reach the operating system together, so that a job that is killed leaves a
    file that can be read up to its last complete frame.

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


def ensemble_of(kind: str, temperature: Temperature, *, friction: float, time_constant: float) -> Ensemble:
    """An ensemble by its name.

    Raises:
        ValueError: If there is none of that name.
    """
    match kind:
        case "nose_hoover":
            return NoseHooverChain(temperature, time_constant)
        case "langevin":
            return Langevin(temperature, friction)
        case "nve":
            return NVE(temperature)
    raise ValueError(f"unknown ensemble {kind!r}; wanted one of {', '.join(ENSEMBLES)}")


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
    friction: float = 0.01,
    time_constant: float = 50.0,
    every: int = 10,
    seed: int = 0,
    min_distance: float = 0.5,
    criteria: Sequence[Criterion] = (),
    progress: Callable[[int, int], None] | None = None,
) -> DynamicsResult:
    """Copies of every structure at every temperature, side by side, with their trajectories in an extended XYZ file.

    The copies of a structure stand together, the structures of a temperature likewise. Each frame knows its copy, the
    structure it started from, step, time, temperature, and what the committee makes of it; the last frame of a copy
    that has failed says why. Centres of mass rest, unless one of the structures is a single atom.

    Args:
        committee: Whose mean forces act.
        structures: Where copies start.
        output: The file.
        temperatures: In K.
        n_copies: Of each structure at each temperature.
        duration: In fs.
        timestep: In fs.
        ensemble: ``nose_hoover``, ``langevin`` or ``nve``.
        friction: Of Langevin's thermostat, in 1/fs.
        time_constant: Of the Nosé-Hoover chain, in fs.
        every: After how many steps frames are written.
        seed: Of the velocities and the noise.
        min_distance: Atoms closer than this, in Å, end the trajectory of their copy; 0 for no such end.
        criteria: Further criteria that end the trajectory of a copy.
        progress: Called with the number of steps done and to do.

    Raises:
        ValueError: If the arguments make no sense, or the committee was not trained on such structures.
        OSError: If the file cannot be written.
    """
    committee.require_known(structures)
    if not timestep > 0 or not duration >= 0:
        raise ValueError(f"need a timestep > 0 and a duration >= 0, got {timestep} fs and {duration} fs")
    start, temperature = side_by_side(Structures.from_atoms(structures), temperatures, n_copies)
    held = ensemble_of(ensemble, temperature, friction=friction, time_constant=time_constant)
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
            ensemble=held,
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
