import numpy as np
import pytest

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.committee_files import write_committee
from sparring.inputs.extxyz import read_structures, write_structures
from sparring.validation.bond_scan.scans import BondScan
from sparring.validation.records import read_record
from sparring.validation.survival.trials import Survival


@pytest.fixture
def generation(committee, ammonia, rattled, tmp_path):
    """A generation of a run that EMT labels, with a committee that was never trained."""
    folder = tmp_path / "run" / "generation-01"
    folder.mkdir(parents=True)
    write_committee(folder, committee(2))
    data = [ammonia.copy(), *rattled(ammonia, 2)]
    for energy, atoms in zip((-3.0, -2.0, -1.0), data, strict=True):
        atoms.info.update({ENERGY: energy, "charge": 0, "multiplicity": 1})
        atoms.arrays[FORCES] = atoms.positions * 0.0
    write_structures(folder / "dataset.extxyz", data)
    write_structures(folder.parent / "start.xyz", [ammonia])
    (folder.parent / "config.yaml").write_text(
        "system: {kind: own, file: start.xyz}\nlabels: {labeller: {kind: ase, name: emt}, n_workers: 1}\n",
        encoding="utf-8",
    )
    return folder


def test_bonds_scans_the_structure_of_lowest_energy_against_labels_of_the_run(sparring, generation):
    answer = sparring("validate", "bonds", generation, "--labels", 5)
    assert answer.exit_code == 0, answer.err
    output = generation / "validation"
    result = read_record(output / "bonds.json", BondScan)
    assert [(scan.title, scan.n_equivalent) for scan in result.scans] == [("bond N0-H1", 3), ("angle H1-N0-H2", 3)]
    assert (result.n_labels + result.refused, result.method) == (4, "emt {}")
    assert answer.out.startswith(f"{len(result.holes)} of 2 scans of bonds and angles of H3N have holes, ")
    assert (output / "bonds.png").exists()
    assert (output / "bonds.svg").exists()
    frames = read_structures(output / "bonds.extxyz", allow_empty=True)
    assert len(frames) == sum(len(scan.values) for scan in result.holes)
    assert all(np.isfinite(atoms.arrays["atom_uncertainty"]).all() for atoms in frames)
    assert len(list((generation.parent / "labels").glob("*.json"))) >= 1


def test_failures_of_copies_are_compared_with_labels_of_the_run(sparring, generation):
    options = ("--copies", 3, "--time", "4 fs", "--temperature", "9000 K", "--bonds", "0.93,1.07", "--labels", 2)
    answer = sparring("validate", "survival", generation, *options)
    assert answer.exit_code == 0, answer.err
    failures = read_record(generation / "validation" / "survival.json", Survival).failures
    assert [failure.energy_error == failure.energy_error for failure in failures] == [True, True, False]
    assert "error of E (kcal/mol)" in answer.out


def test_without_a_labeller_there_is_a_line_that_says_so(undrawn, sparring, generation, ammonia, tmp_path):
    (generation.parent / "config.yaml").write_text("system: {kind: own}\n", encoding="utf-8")
    answer = sparring("validate", "bonds", generation)
    assert answer.exit_code == 0, answer.err
    assert answer.err.startswith("scans have no labels: the labeller of the run cannot be used: ")
    assert "no labels" in answer.out
    again = sparring("validate", "bonds", generation, "--labels", 0)
    assert (again.exit_code, again.err) == (0, "")
    write_structures(tmp_path / "two.xyz", [ammonia, ammonia])
    wrong = sparring("validate", "bonds", generation, tmp_path / "two.xyz")
    assert (wrong.exit_code, wrong.err) == (
        2,
        f"sparring: {tmp_path / 'two.xyz'} has 2 structures, expected one: the start\n",
    )


def test_the_former_name_of_survival_still_works_and_is_not_listed(sparring, generation):
    former, now = (sparring("validate", name, "--help") for name in ("stability", "survival"))
    assert former.exit_code == 0
    assert former.out.replace(" ", "").count("Fractionofcopiesthatstayphysical") == 1
    assert now.out.count("--labels") == former.out.count("--labels") == 1
    listed = sparring("validate", "--help").out
    assert "survival" in listed
    assert "stability" not in listed
