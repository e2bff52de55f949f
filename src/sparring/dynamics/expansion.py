r"""Thermal expansion: mean volumes at constant pressure and several temperatures.

.. math:: \alpha = \frac{1}{3} \frac{\ln \bar V_{i+1} - \ln \bar V_i}{T_{i+1} - T_i}
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics.barostat import CELL_TIME_CONSTANT, NPT, PRESSURE
from sparring.dynamics.simulation import side_by_side, simulate
from sparring.units import quantity

__all__ = ["ThermalExpansion", "thermal_expansion"]


@dataclass(frozen=True, kw_only=True)
class ThermalExpansion:
    r"""Mean volumes of a crystal, and its expansion from each temperature to the next.

    Standard errors are those of the means over copies.

    Attributes:
        temperature: Temperatures in K, in ascending order.
        volume: Mean volume of the cell in Å³; NaN where fewer than two copies finished.
        volume_error: Standard error of the volume in Å³.
        coefficient: Linear coefficient :math:`\alpha` in 1/K between each temperature and the next.
        coefficient_error: Standard error of the coefficient in 1/K.
        n_failed: Number of copies at each temperature that failed, and do not count.
    """

    temperature: Float[Tensor, " n_temperatures"]
    volume: Float[Tensor, " n_temperatures"]
    volume_error: Float[Tensor, " n_temperatures"]
    coefficient: Float[Tensor, " n_intervals"]
    coefficient_error: Float[Tensor, " n_intervals"]
    n_failed: tuple[int, ...]


def thermal_expansion(
    committee: Committee,
    crystal: Structures,
    temperatures: Sequence[float],
    *,
    pressure: float = PRESSURE,
    isotropic: bool = True,
    n_copies: int = 8,
    duration: float = quantity("10 ps", "time"),
    settling: float = quantity("2 ps", "time"),
    timestep: float = 2.0,
    time_constant: float = quantity("50 fs", "time"),
    cell_time_constant: float = CELL_TIME_CONSTANT,
    seed: int = 0,
    max_memory: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ThermalExpansion:
    """Mean volumes of a crystal at constant pressure, and its linear coefficient of thermal expansion.

    Nuclei are classical: well below the Debye temperature a real crystal expands less.

    Args:
        committee: Committee whose mean forces and stress act.
        crystal: Start, one structure; a supercell with some tens of atoms, near its volume at these temperatures.
        temperatures: Temperatures in K, in ascending order.
        pressure: Pressure in eV/Å³.
        isotropic: True to move the volume alone, False for all of the cell.
        n_copies: Number of copies at each temperature.
        duration: Length of the trajectories in fs, without what is left out.
        settling: Time at the beginning in fs that is left out.
        timestep: Time step in fs.
        time_constant: Time constant of the chain of the atoms, in fs.
        cell_time_constant: Time constant of the cell, in fs.
        seed: Seed of the velocities.
        max_memory: Bytes to take at a time; further copies are simulated later. None for no limit.
        progress: Callback with the number of steps done and of all.

    Raises:
        ValueError: If there is not one crystal, temperatures do not ascend, or an argument is out of range.
    """
    if crystal.n_structures != 1:
        raise ValueError(f"need one crystal, got {crystal.n_structures} structures")
    if not temperatures or any(not low < high for low, high in pairwise(temperatures)):
        raise ValueError(f"need temperatures in ascending order, got {list(temperatures)}")
    if n_copies < 2 or not timestep > 0 or not settling >= 0 or not timestep <= duration < math.inf:
        raise ValueError(
            f"need n_copies >= 2, settling >= 0 and a duration of at least one timestep > 0, got {n_copies} copies, "
            f"{settling} fs, {duration} fs and {timestep} fs"
        )
    start, temperature = side_by_side(crystal, temperatures, n_copies)
    n_settling = round(settling / timestep)
    result = simulate(
        committee,
        start,
        ensemble=NPT(temperature, pressure, isotropic, time_constant, cell_time_constant),
        timestep=timestep,
        n_steps=n_settling + round(duration / timestep),
        every=1,
        seed=seed,
        max_memory=max_memory,
        progress=progress,
    )
    # A copy that failed has NaN from then on, and so as its mean.
    means = result.volume[n_settling + 1 :].mean(0).unflatten(0, (len(temperatures), n_copies))
    finished = (~means.isnan()).sum(1)
    volume = means.nanmean(1)
    variance = (means - volume.unsqueeze(1)).square().nansum(1) / (finished - 1) / finished
    unknown = finished < 2
    volume, error = volume.masked_fill(unknown, math.nan), variance.sqrt().masked_fill(unknown, math.nan)
    intervals = 3 * temperature[::n_copies].to(volume).diff()
    relative = (error / volume).square()
    return ThermalExpansion(
        temperature=temperature[::n_copies],
        volume=volume,
        volume_error=error,
        coefficient=volume.log().diff() / intervals,
        coefficient_error=(relative[1:] + relative[:-1]).sqrt() / intervals,
        n_failed=tuple(n_copies - one for one in finished.tolist()),
    )
