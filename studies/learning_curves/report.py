"""Table and figure of the learning curves, and their record."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from sparring.plots.style import GENERATIONS, STYLE
from sparring.support.files import write_text
from sparring.support.tables import Table
from studies.common.figures import FigureFolder
from studies.common.tables import numbers, summary
from studies.learning_curves.data import MOLECULES
from studies.learning_curves.plan import CURVES, N_MEMBERS, N_STEPS, SIZES, TABLE, TABLE_SIZE, Result

__all__ = ["write_report"]

MEV = 1e-3


def write_report(results: Sequence[Result], output: Path) -> str:
    """Write page, record and figure; gives a text about what was written.

    Raises:
        ValueError: If nothing has been computed.
    """
    if not results:
        raise ValueError("nothing has been computed yet: python -m studies.learning_curves run")
    output.mkdir(parents=True, exist_ok=True)
    rows = sorted(results, key=lambda r: (r.molecule, r.network, r.recipe, r.n, r.seed))
    write_text(output / "learning_curves.json", json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    figures = FigureFolder(output)
    with rc_context(STYLE):
        figures.save("learning_curves", figure(rows), "Errors of forces against the number of labels")
    write_text(output / "learning_curves.md", page(rows))
    return f"{output}: learning_curves.json, learning_curves.md, {', '.join(figures.captions)}"


def figure(results: Sequence[Result]) -> Figure:
    """Errors of forces against the number of labels, one panel a molecule; bars are standard deviations over seeds."""
    drawn = Figure(figsize=(7.0, 3.0), layout="constrained")
    for axes, molecule in zip(drawn.subplots(1, len(MOLECULES), squeeze=False)[0], MOLECULES, strict=True):
        for (network, recipe), colour in zip(CURVES, GENERATIONS, strict=False):
            errors = {n: _errors(results, molecule, network, recipe, n) for n in SIZES}
            known = [n for n, values in errors.items() if len(values)]
            axes.errorbar(
                known,
                [errors[n].mean() for n in known],
                yerr=[errors[n].std(ddof=1) if len(errors[n]) > 1 else 0.0 for n in known],
                color=colour,
                marker="o",
                markersize=4,
                capsize=2,
                label=f"{network}, {recipe}",
            )
        axes.set(title=molecule, xscale="log", yscale="log", xlabel="labels", ylabel="error of forces (meV/Å)")
        axes.set_xticks(SIZES, [str(n) for n in SIZES])
        axes.minorticks_off()
        axes.legend()
    return drawn


def page(results: Sequence[Result]) -> str:
    """The page of the study."""
    return "\n".join(
        [
            "# Learning curves",
            "",
            f"Committees of {N_MEMBERS} learn snapshots of dynamics at 500 K and are tested on 500 later ones: ethanol "
            f"(GFN2-xTB) and alanine dipeptide (OPLS-AA). All take {N_STEPS:,} steps of ten structures, whatever the "
            "number of labels; a fifth of these decides which epoch is kept. Errors are mean absolute ones of force "
            "components, in meV/Å, and of energies without a constant shift, in meV: mean ± standard deviation over "
            "seeds (number of seeds). Times are of one thread beside other programs, so that only their ratios in one "
            "row of a molecule mean something. *One stage* is the recipe of former versions: Adam at 10⁻³, energies "
            "and forces with weight 1. *Two stages* is that of the examples, with three times their rate: AMSGrad at "
            "3·10⁻² (SchNet and PaiNN: 3·10⁻³) with energies of weight 0.01, then a third of the steps at "
            "10⁻³ with weight 1.",
            "",
            "```",
            "python -m studies.learning_curves run",
            "python -m studies.learning_curves report",
            "```",
            "",
            *(section for molecule in MOLECULES for section in _of_molecule(results, molecule)),
            "![Errors of forces against the number of labels](learning_curves.svg)",
            "",
        ]
    )


def _of_molecule(results: Sequence[Result], molecule: str) -> list[str]:
    curves = Table(
        columns=numbers("Forces, meV/Å", *(f"{n} labels" for n in SIZES)),
        rows=tuple(
            (f"{network}, {recipe}", *(_cell(_errors(results, molecule, network, recipe, n)) for n in SIZES))
            for network, recipe in CURVES
        ),
    )
    chosen = [one for one in (*CURVES, *TABLE) if len(_errors(results, molecule, *one, TABLE_SIZE))]
    table = Table(
        columns=numbers(f"{TABLE_SIZE} labels", "forces", "energies", "training, s", "attack step, ms"),
        rows=tuple(
            (f"{network}, {recipe}", *_row(_of(results, molecule, network, recipe, TABLE_SIZE)))
            for network, recipe in chosen
        ),
    )
    return [f"## {molecule.capitalize()}", "", curves.markdown(), "", table.markdown(), ""]


def _row(results: Sequence[Result]) -> tuple[str, str, str, str]:
    return (
        summary([one.force_mae for one in results], unit=MEV, decimals=1),
        summary([one.energy_mae for one in results], unit=MEV, decimals=1),
        f"{np.median([one.training_seconds for one in results]):.0f}",
        f"{1000 * np.median([one.step_seconds for one in results]):.0f}",
    )


def _cell(errors: np.ndarray) -> str:
    return summary(errors.tolist(), decimals=1)


def _of(results: Sequence[Result], molecule: str, network: str, recipe: str, n: int) -> list[Result]:
    wanted = (molecule, network, recipe, n)
    return [one for one in results if (one.molecule, one.network, one.recipe, one.n) == wanted]


def _errors(results: Sequence[Result], molecule: str, network: str, recipe: str, n: int) -> np.ndarray:
    return np.array([one.force_mae / MEV for one in _of(results, molecule, network, recipe, n)])
