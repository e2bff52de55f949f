"""What `sparring validate barrier` makes of its arguments, and the tables that it prints."""

from pathlib import Path

from sparring.reporting.data import EnergyUnit
from sparring.support.columns import aligned
from sparring.surfaces.minimum_energy_path import MinimumEnergyPath
from sparring.validation.barrier.compute import LABELS, Barriers

__all__ = ["barrier_tables", "ends_of"]


def ends_of(start: Path | None, end: Path | None) -> tuple[Path, Path] | None:
    """Both files, or none.

    Raises:
        ValueError: If there is only one.
    """
    if start is None:
        return None
    if end is None:
        raise ValueError(f"a path has two ends, got only {start}; give END.xyz too")
    return start, end


def barrier_tables(found: Barriers, unit: EnergyUnit) -> str:
    """The path of the last committee, image by image beside the true one, and one row a surface for the barriers."""
    name = list(found.committees)[-1]
    lines = [
        f"{name}: energies in {unit.name} above the start, ± the standard deviation between members",
        *_profile(found.committees[name], found.truth, unit),
        f"barriers in {unit.name}: the highest image above the start, and above the end (back); curve: top of the "
        "curve through all images",
        *_heights(found, unit),
    ]
    return "\n".join([*lines, *([f"labels by {found.truth.method}"] if found.truth else [])])


def _profile(path: MinimumEnergyPath, truth: MinimumEnergyPath | None, unit: EnergyUnit) -> list[str]:
    rows = [("image", "path (Å)", "energy", "±", "labels: path (Å)", "energy")]
    for number, values in enumerate(zip(path.coordinate, path.energy, path.energy_sigma, strict=True)):
        coordinate, energy, sigma = map(float, values)
        beside = (f"{truth.coordinate[number]:.3f}", _shown(float(truth.energy[number]), unit)) if truth else ("", "")
        rows.append((str(number), f"{coordinate:.3f}", _shown(energy, unit), _shown(sigma, unit), *beside))
    return aligned([row if truth else row[:4] for row in rows])


def _heights(found: Barriers, unit: EnergyUnit) -> list[str]:
    rows = [("", "barrier", "±", "members", "back", "curve", "error")]
    surfaces = dict(found.committees) | ({LABELS: found.truth} if found.truth else {})
    for name, path in surfaces.items():
        heights = [_shown(float(height), unit) for height in sorted(path.member_barriers)]
        spread = (_shown(path.barrier_sigma, unit), f"{heights[0]} to {heights[-1]}") if len(heights) > 1 else ("", "")
        error = _shown(path.barrier - found.truth.barrier, unit, "+") if found.truth and name != LABELS else ""
        other = (_shown(path.barrier_reverse, unit), _shown(path.interpolated_barrier, unit), error)
        rows.append((name, _shown(path.barrier, unit), *spread, *other))
    lines = aligned([row if found.truth else row[:-1] for row in rows])
    return [lines[0], *(line + _remark(path) for line, path in zip(lines[1:], surfaces.values(), strict=True))]


def _shown(energy: float, unit: EnergyUnit, sign: str = "") -> str:
    decimals = unit.decimals + 1
    return f"{round(energy / unit.size, decimals) + 0.0:{sign}.{decimals}f}"  # no minus before zero


def _remark(path: MinimumEnergyPath) -> str:
    return "" if path.converged else f"  not converged: {path.fmax:.2g} eV/Å after {path.n_steps} steps"
