"""Tables for a terminal: whatever the numbers, columns stay apart and line up."""

import dataclasses
import math

import pytest
import torch

from sparring.atoms.structures import Structures
from sparring.dynamics import DynamicsResult
from sparring.evaluation import Errors
from sparring.reporting.tables import common_table
from sparring.reporting.terminal import GenerationTable, dynamics_table
from sparring.units import EV, GPA
from sparring.validation.errors.common_set import CommonErrors


@pytest.mark.parametrize("temperatures", [[300.0], [1e6, 123456.7], [0.001, 1e-7]])
@pytest.mark.parametrize("measured", [1.0, 1234567.89, 2.0**40])
@pytest.mark.parametrize("pressure", [math.nan, 1e6])
def test_columns_of_dynamics_stay_apart_for_any_temperature_and_any_number_of_copies(
    particle, temperatures, measured, pressure
):
    n = 2 * len(temperatures)
    structures = Structures.from_atoms([particle()] * n)
    traces = ("energy", "kinetic_energy", "temperature", "conserved", "energy_variance")
    result = DynamicsResult(
        structures=structures,
        velocities=torch.zeros((n, 3), dtype=torch.float64),
        status=torch.zeros(n, dtype=torch.long),
        failure_time=torch.full((n,), 1e9, dtype=torch.float64),
        failed=torch.zeros(0, dtype=torch.long),
        offending=structures.take([]),
        reasons=("a distance of two hydrogen atoms that is too long for any table",),
        time=torch.arange(3, dtype=torch.float64),
        force_variance=torch.full((3, n), measured**2, dtype=torch.float64),
        positions=None,
        cells=None,
        volume=torch.full((3, n), measured, dtype=torch.float64),
        pressure=torch.full((3, n), pressure, dtype=torch.float64),
        **{name: torch.full((3, n), measured, dtype=torch.float64) for name in traces},
    )
    _, *lines = dynamics_table(result, temperatures).split("\n")
    for temperature, line in zip(temperatures, lines[1:], strict=True):
        cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        assert cells[:2] == [f"{temperature:g} K", "2"]
        moved = [] if math.isnan(pressure) else [f"{measured:.2f} Å³", f"{pressure / GPA:.2f} GPa"]
        assert cells[3:-1] == [f"{measured:.1f} K", *moved, f"{measured:.4f} eV/Å"]
        assert len(cells) == 6 + len(moved)
    # What is in words begins below its heading.
    assert {line.index("1e+09 fs") for line in lines[1:]} == {lines[0].index("failure")}


def test_generations_whose_errors_grow_a_thousandfold_still_have_their_columns_apart():
    errors = {"energy_mae": 1.0, "force_mae": 1.0}
    metrics = {"generation": 1, "n_structures": 9, "errors": {"test": errors}, "system": {}}
    table = GenerationTable()
    table.row(metrics)
    wide = table.row({**metrics, "n_structures": 1234567, "errors": {"test": {"energy_mae": 1e9, "force_mae": 1e9}}})
    assert [len(cell.strip()) > 0 for cell in wide.split("  ") if cell.strip()] == [True] * 9


def test_the_generations_stand_below_each_other_for_each_part_of_the_set():
    def errors(value, n):
        return Errors(energy_mae=value, energy_rmse=value, force_mae=value, force_rmse=value, n_structures=n)

    common = CommonErrors(
        name="the test set of generation 2",
        run_digest="",
        file_digest="",
        near=0.1,
        n_structures={"all": 5, "near": 5, "far": 0},
        n_left_out=0,
        n_without_zero=0,
        committees={},
        errors={"1": {"all": errors(2.0, 5), "near": errors(2.0, 5)}, "2": {"all": errors(1.0, 5)}},
    )
    _, legend, heading, *rows = common_table(common, EV).text().split("\n")
    assert "at most 0.1 eV per atom above the lowest" in legend
    assert heading.split() == ["structures", "n", "gen", "E", "MAE", "RMSE", "F", "MAE", "RMSE"]
    assert [row.split() for row in rows] == [
        ["all", "5", "1", *["2.000"] * 4],
        ["2", *["1.000"] * 4],
        ["near", "the", "minimum", "5", "1", *["2.000"] * 4],
        ["2", *["-"] * 4],
    ]
    stressed = dataclasses.replace(errors(2.0, 5), stress_mae=1 / 160.2176634, stress_rmse=2 / 160.2176634)
    common = dataclasses.replace(common, errors={"1": {"all": stressed}, "2": {"all": errors(1.0, 5)}})
    _, legend, heading, *rows = common_table(common, EV).text().split("\n")
    assert "stresses in GPa" in legend
    assert heading.split()[-3:] == ["S", "MAE", "RMSE"]
    assert [row.split()[-2:] for row in rows[:2]] == [["1.000", "2.000"], ["-", "-"]]
