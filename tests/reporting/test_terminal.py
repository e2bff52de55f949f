import dataclasses
import math

import pytest

from sparring.evaluation import Errors
from sparring.reporting.terminal import GenerationTable, errors_table
from sparring.systems.registry import read_system
from sparring.units import KCAL_PER_MOL

AMMONIA = read_system({"kind": "ammonia"})


def metrics(**more):
    errors = {"energy_mae": KCAL_PER_MOL, "force_mae": 2 * KCAL_PER_MOL}
    return {"generation": 2, "n_structures": 98, "errors": {"test": errors}, "system": {}, **more}


def row(table, **more):
    """The row as a mapping from its heading, which must line up."""
    legend, heading, line = table.row(metrics(**more)).split("\n")
    assert len(heading) == len(line)
    return legend + heading, line


def test_the_heading_stands_above_the_first_row_only():
    table = GenerationTable()
    assert table.row(metrics()).count("\n") == 2
    assert table.row(metrics()).count("\n") == 0


def test_rows_of_one_run_stand_under_one_heading():
    table = GenerationTable()
    attack = {"n_seeds": 30, "n_not_finite": 1, "n_overlap": 2}
    labels = {"n_chosen": 20, "n_computed": 17, "n_reused": 2, "n_failed": 1}
    _, *first = table.row(metrics(attack=attack, labels=labels)).split("\n")
    last = table.row(metrics())
    assert len({len(line) for line in (*first, last)}) == 1


def test_molecules_are_in_kcal_per_mol():
    heading, line = row(GenerationTable())
    assert "energies in kcal/mol" in heading
    assert line.split() == ["2", "98", "1.000", "2.000", *["-"] * 5]


def test_wells_are_in_their_own_unit():
    heading, line = row(GenerationTable(read_system({"kind": "double_well_1d"})), system={"grid_rmse": 0.5})
    assert "energies in eV" in heading
    assert "kcal" not in heading
    assert line.split()[2:5] == [f"{KCAL_PER_MOL:.3f}", f"{2 * KCAL_PER_MOL:.3f}", "0.500"]


def test_a_barrier_stands_beside_that_of_the_labels_and_its_error_has_a_sign():
    system = {"barrier": 5 * KCAL_PER_MOL, "barrier_reference": 6 * KCAL_PER_MOL, "barrier_error": -KCAL_PER_MOL}
    heading, line = row(GenerationTable(AMMONIA), system=system)
    assert "barrier" in heading
    assert line.split()[4:7] == ["5.00", "6.00", "-1.00"]


def test_a_committee_without_a_barrier_says_none():
    system = {"barrier": None, "barrier_reference": 6 * KCAL_PER_MOL, "barrier_error": None}
    assert row(GenerationTable(AMMONIA), system=system)[1].split()[4:7] == ["none", "6.00", "none"]


def test_attacks_and_labels_are_counted():
    attack = {"n_seeds": 30, "n_not_finite": 1, "n_overlap": 2}
    labels = {"n_chosen": 20, "n_computed": 17, "n_reused": 2, "n_failed": 1}
    _, line = row(GenerationTable(), attack=attack, labels=labels)
    assert line.split()[4:] == ["30", "3", "19", "17", "1"]


def test_stresses_are_in_gigapascals_where_there_are_any():
    table = GenerationTable()
    errors = {"energy_mae": 0.0, "force_mae": 0.0}
    parts = {"test": {**errors, "stress_mae": None}, "fit": {**errors, "stress_mae": 1.0}}
    legend, heading, line = table.row(metrics(errors=parts)).split("\n")
    assert "stresses in GPa; E, F, S: mean" in legend
    assert heading.split()[2:5] == ["E", "F", "S"]
    assert line.split()[4] == "-"
    later = table.row(metrics(errors={"test": {**errors, "stress_mae": 2 / 160.2176634}}))
    assert later.split()[4] == "2.000"
    without = row(GenerationTable(), errors={"test": {**errors, "stress_mae": None}})
    assert "S" not in without[0].replace("Å", "")


def test_errors_are_shown_in_both_units():
    text = errors_table(
        Errors(energy_mae=KCAL_PER_MOL, energy_rmse=0.1, force_mae=0.2, force_rmse=0.3, n_structures=12)
    )
    lines = text.split("\n")
    assert lines[0] == "12 structures"
    assert [line.split()[0] for line in lines[1:]] == ["energy", "energy", "force", "force"]
    assert lines[1].split() == ["energy", "MAE", f"{KCAL_PER_MOL:.5f}", "eV", "1.0000", "kcal/mol"]
    assert float(lines[4].split()[2]) == pytest.approx(0.3)


def test_errors_of_stresses_are_shown_where_they_are_known():
    known = Errors(
        energy_mae=0.1,
        energy_rmse=0.1,
        force_mae=0.2,
        force_rmse=0.3,
        n_structures=12,
        stress_mae=0.01,
        stress_rmse=0.02,
    )
    *_, mae, rmse = errors_table(known).split("\n")
    assert mae.split() == ["stress", "MAE", "0.01000", "eV/Å³", f"{1.602176634:.4f}", "GPa"]
    assert rmse.split()[:3] == ["stress", "RMSE", "0.02000"]
    assert "stress" not in errors_table(dataclasses.replace(known, stress_mae=math.nan, stress_rmse=math.nan))
