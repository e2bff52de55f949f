"""The tables of the sections about validations; what is not known is a dash."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from sparring.reporting.data import EnergyUnit, Run
from sparring.reporting.paper import published
from sparring.reporting.tables import UNKNOWN, Table
from sparring.surfaces.landscape import Landscape
from sparring.surfaces.minimum_energy_path import MinimumEnergyPath
from sparring.surfaces.torsion_maps import CAPS
from sparring.units import KCAL_PER_MOL
from sparring.validation.diversity.compute import Diversity
from sparring.validation.errors.compute import ErrorReport, Part
from sparring.validation.errors.reliability import Reliability
from sparring.validation.free_energy.histograms import FreeEnergies
from sparring.validation.stability.trials import Stability, Trial

__all__ = [
    "NOVELTY",
    "barriers",
    "diversities",
    "errors",
    "free_energies",
    "landscapes",
    "legend",
    "protocols",
    "stabilities",
    "usual_caps",
]

NOVELTY = (
    "Median (largest) of each group. New: median distance of SOAP vectors to the nearest structure of the training set "
    "before, and how many times farther that is than structures of that set are from each other.",
)


def barriers(run: Run, paths: Mapping[str, MinimumEnergyPath], truth: MinimumEnergyPath | None) -> Table:
    """A row a committee, and one for the labels; errors beside the paper's."""
    unit = run.unit
    rows = []
    for name, path in paths.items():
        members = np.sort(path.member_barriers)
        several = len(members) > 1
        rows.append(
            (
                name,
                _energy(path.barrier, unit),
                f"± {_energy(path.barrier_sigma, unit)}" if several else UNKNOWN,
                f"{_energy(members[0], unit)} to {_energy(members[-1], unit)}" if several else UNKNOWN,
                UNKNOWN if truth is None else _energy(path.barrier - truth.barrier, unit, sign="+"),
                _paper(run, "barrier_error", name),
                "yes" if path.converged else "no",
            )
        )
    if truth is not None:
        done = "yes" if truth.converged else "no"
        rows.append(("label method", _energy(truth.barrier, unit), "", "", "", "", done))
    headings = ("", f"barrier\n({unit.name})", "spread", "members", "its\nerror", "paper's\nerror", "converged")
    return _table(headings, rows)


def stabilities(run: Run, results: Mapping[str, Stability]) -> Table:
    """A row a committee: what part of the copies stayed physical at each temperature and in all."""
    temperatures = sorted({trial.temperature for result in results.values() for trial in result.trials})
    rows = []
    for name, result in results.items():
        shares = {trial.temperature: _share(trial) for trial in result.trials}
        reasons: dict[str, int] = {}
        for trial in result.trials:
            for reason, count in trial.reasons:
                reasons[reason] = reasons.get(reason, 0) + count
        commonest = max(reasons, key=lambda reason: reasons[reason]) if reasons else UNKNOWN
        rows.append(
            (
                name,
                *(shares.get(temperature, UNKNOWN) for temperature in temperatures),
                _share(result),
                _paper(run, "stable", name),
                commonest,
            )
        )
    headings = ("", *(f"{temperature:g} K" for temperature in temperatures), "all", "paper", "commonest failure")
    return _table(headings, rows)


def protocols(results: Mapping[str, Stability]) -> tuple[str, ...]:
    """What copies were put through; a line for all committees, or one each where they differ."""
    lines: dict[str, list[str]] = {}
    for name, result in results.items():
        settings = result.settings
        copies = sorted({trial.n_copies for trial in result.trials})
        line = (
            f"{settings.formula}, {' or '.join(map(str, copies))} copies at each temperature for "
            f"{settings.duration / 1000:g} ps in steps of {settings.timestep:g} fs, {settings.ensemble}. A copy fails "
            f"if: {'; '.join(settings.criteria)}."
        )
        lines.setdefault(line, []).append(name)
    words = "With 95 % intervals (Wilson)."
    if len(lines) == 1:
        return (f"{words} {next(iter(lines))}",)
    return (words, *(f"{', '.join(names)}: {line}" for line, names in lines.items()))


def landscapes(run: Run, maps: Mapping[str, Landscape]) -> Table:
    """A row a committee: errors over all points whose true energy is below several caps, and what σ_F says of them."""
    unit = run.unit
    first = next(iter(maps.values()))
    limits = usual_caps(first, unit)

    def cells(values: Float[np.ndarray, " n_caps"], decimals: int) -> tuple[str, ...]:
        return tuple(f"{value:.{decimals}f}" if np.isfinite(value) else UNKNOWN for value in values)

    errors = {name: cells(unit.show(one.rmse_below(limits)), unit.decimals) for name, one in maps.items()}
    ratios = {name: cells(one.force_ratio_below(limits), 2) for name, one in maps.items()}
    points = tuple(str(n) for n in first.n_below(limits))
    groups = [(f"RMS error of the energy ({unit.name}) where the truth is", errors, points)]
    if any(cell != UNKNOWN for row in ratios.values() for cell in row):
        groups.append(("RMS error of the forces over RMS σF there", ratios, ("",) * len(limits)))
    columns = tuple(f"up to {cap / unit.size:g}" for cap in limits)
    return Table(
        groups=(("", 1), *((title, len(limits)) for title, *_ in groups)),
        headings=("", *columns * len(groups)),
        rows=(
            *((name, *(cell for _, of, _ in groups for cell in of[name])) for name in maps),
            ("points", *(cell for *_, last in groups for cell in last)),
        ),
    )


def usual_caps(landscape: Landscape, unit: EnergyUnit) -> tuple[float, ...]:
    """Energies in eV below which errors of a landscape are usually given."""
    if unit.size != KCAL_PER_MOL:
        return (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
    caps = (5.0, 10.0, 20.0, 40.0, 80.0) if landscape.x.period is None else CAPS
    return tuple(cap * KCAL_PER_MOL for cap in caps)


def free_energies(run: Run, results: Mapping[str, FreeEnergies]) -> Table:
    """A row a committee: how far its free energy is from the reference's where both are known."""
    unit = run.unit
    rows = []
    for name, one in results.items():
        inside = " / ".join(f"{100 * share:.0f} %" for share in one.inside)
        error = f"{_energy(one.difference, unit)} ± {_energy(one.difference_sigma, unit)}"
        known = (error, _energy(one.noise, unit), _energy(one.weighted, unit))
        cells = (*(known if one.shared.any() else [UNKNOWN] * 3), str(int(one.shared.sum())), inside)
        rows.append((name, *cells, f"{one.n_failed} of {one.n_blocks[0]}"))
    headings = (
        "",
        f"mean |ΔF|\n({unit.name})",
        "of it by\nnoise alone",
        "weighted by\nthe reference",
        "bins\nshared",
        "time there,\ncommittee / reference",
        "copies\nfailed",
    )
    return _table(headings, rows)


def errors(run: Run, reports: Mapping[str, ErrorReport]) -> Table:
    """A row a committee: errors in all and by energy, and what its uncertainty is worth."""
    unit = run.unit
    caps = sorted({window.high for report in reports.values() for window in report.up_to if window.high is not None})
    rows = []
    for name, report in reports.items():
        below = {window.high: window.part for window in report.up_to}
        rows.append(
            (
                name,
                str(report.overall.errors.n_structures),
                *_maes(report.overall, unit),
                *(cell for cap in caps for cell in _rmses(below.get(cap), unit)),
                *_reliability(report.forces),
            )
        )
    groups = (
        ("", 2),
        ("MAE, all", 2),
        *((f"RMSE ≤ {cap / unit.size:g} {unit.name}", 2) for cap in caps),
        ("σ_F against error", 3),
    )
    both = ("energy", "force")
    headings = ("", "n", *both, *(word for _ in caps for word in both), "ρ", "error/σ", "AUC")
    return Table(groups=groups, headings=headings, rows=tuple(rows))


def legend(run: Run, reports: Mapping[str, ErrorReport]) -> tuple[str, ...]:
    """What the numbers of error reports mean, and of what they are."""
    sets = dict.fromkeys(report.data for report in reports.values())
    data = ", ".join(sets)
    different = "These are different structures: rows cannot be compared with each other."
    return (
        *((different,) if len(sets) > 1 else ()),
        f"Energies in {run.unit.name}, components of forces in {run.unit.name}/Å, of n structures: {data}. "
        "ρ: rank correlation of the committee's σ_F and its true error; error/σ: by what factor σ is too small; AUC: "
        "area under the ROC curve of Eq. 8, 0.5 for guesses.",
    )


def diversities(run: Run, diversity: Diversity) -> Table:
    """A row a group of structures."""
    unit = run.unit
    rows = []
    for name, members in diversity.groups().items():
        energy, rmsd = unit.show(diversity.energy[members]), diversity.rmsd[members]
        novelty, spacing = float(np.median(diversity.novelty[members])), float(np.median(diversity.spacing[members]))
        new = UNKNOWN if np.isnan(novelty) else f"{novelty:.3g}"
        farther = f"{novelty / spacing:.1f} ×" if spacing > 0 else UNKNOWN
        rows.append(
            (
                name,
                str(len(members)),
                f"{np.median(energy):.{unit.decimals}f} ({energy.max():.{unit.decimals}f})",
                f"{np.median(rmsd):.3f} ({rmsd.max():.3f})",
                new,
                farther,
            )
        )
    headings = ("", "structures", f"energy\n({unit.name})", "RMSD (Å)", "new", "times\nfarther")
    return _table(headings, rows)


# --- cells ----------------------------------------------------------------------------------------------------------


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    """Without columns of which nothing is known."""
    kept = [place for place in range(len(headings)) if any(row[place] not in (UNKNOWN, "") for row in rows)]
    return Table(
        groups=(),
        headings=tuple(headings[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in rows),
    )


def _paper(run: Run, quantity: str, name: str) -> str:
    """The paper's number for a committee of the same generation that learnt from attacks, as the paper's did."""
    kind, _, number = name.rpartition(" ")
    if kind != "generation" or (run.strategy != "adversarial" and number != "1"):
        return UNKNOWN
    found = published(run.system, quantity, int(number))
    return UNKNOWN if found is None else found.words


def _energy(energy: float, unit: EnergyUnit, sign: str = "") -> str:
    return f"{energy / unit.size:{sign}.{unit.decimals}f}".replace("-", "−")


def _share(one: Stability | Trial) -> str:
    low, high = one.interval
    return f"{100 * one.fraction:.0f} %\n{100 * low:.0f}–{100 * high:.0f}"


def _maes(part: Part, unit: EnergyUnit) -> tuple[str, str]:
    return _energy(part.errors.energy_mae, unit), _energy(part.errors.force_mae, unit)


def _rmses(part: Part | None, unit: EnergyUnit) -> tuple[str, str]:
    if part is None:
        return UNKNOWN, UNKNOWN
    return _energy(part.errors.energy_rmse, unit), _energy(part.errors.force_rmse, unit)


def _reliability(reliability: Reliability) -> tuple[str, str, str]:
    correlation, calibration = reliability.correlation, reliability.calibration
    own = [one.area for one in reliability.detections if one.variance == "force"]
    return (
        UNKNOWN if correlation is None else f"{correlation.rho:.2f}".replace("-", "−"),
        UNKNOWN if calibration is None else f"{calibration.scale:.2f}",
        f"{own[0]:.2f}" if own else UNKNOWN,
    )
