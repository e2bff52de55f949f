import json

import pytest

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.committee_files import write_committee
from sparring.inputs.extxyz import read_structures, write_structures
from sparring.validation.records import read_record
from sparring.validation.survival.compute import Survival


@pytest.fixture
def generation(committee, ammonia, rattled, tmp_path):
    """A generation of a run, of ammonia if it is to be."""

    def make(*, kind="own", others=()):
        folder = tmp_path / "run" / "generation-01"
        folder.mkdir(parents=True)
        write_committee(folder, committee(2))
        data = [*rattled(ammonia, 3), ammonia.copy(), *others]
        for energy, atoms in zip((2.0, -1.0, -2.0, -3.0, 0.0), data, strict=False):
            atoms.info = {"charge": 0, "multiplicity": 1, **atoms.info, ENERGY: energy}
            atoms.arrays[FORCES] = atoms.positions * 0.0
        write_structures(folder / "dataset.extxyz", data)
        (folder.parent / "config.yaml").write_text(f"system: {{kind: {kind}}}\n", encoding="utf-8")
        return folder

    return make


SHORT = ("--copies", 3, "--time", "4 fs", "--at-once", 2)


def test_survival_prints_a_row_for_each_temperature_and_writes_what_it_found(sparring, generation):
    folder = generation()
    answer = sparring("validate", "survival", folder, *SHORT, "--temperature", "50K, 9000 K", "--bonds", "0.93,1.07")
    assert answer.exit_code == 0, answer.err
    lines = answer.out.rstrip().split("\n")
    assert lines[0] == "H3N fails if: a bond outside 0.93 to 1.07 of its length"
    assert lines[2].split() == [
        "T",
        "copies",
        "stable",
        "fraction",
        "[95",
        "%]",
        "half",
        "failed",
        "commonest",
        "failure",
    ]
    assert [line.split()[:4] for line in lines[3:5]] == [["50", "K", "3", "3"], ["9000", "K", "3", "0"]]
    assert lines[3].endswith("100 % [44, 100]        > 4 fs  none")
    assert lines[4].endswith("a bond outside 0.93 to 1.07 of its length (3)")
    assert lines[5].split() == ["all", "6", "3", "50", "%", "[19,", "81]"]

    output = folder / "validation"
    result = read_record(output / "survival.json", Survival)
    assert [trial.n_stable for trial in result.trials] == [3, 0]
    frames = read_structures(output / "survival_failures.extxyz")
    assert [atoms.info["copy"] for atoms in frames] == [failure.copy for failure in result.trials[1].failures]
    assert all(atoms.info["charge"] == 0 and ENERGY not in atoms.info for atoms in frames)
    assert (output / "survival.png").read_bytes().startswith(b"\x89PNG")
    assert (output / "survival.svg").exists()
    assert len(list((output / "survival").glob("*K_*"))) == 4


def test_the_same_command_does_nothing_twice_and_gives_the_same_files(sparring, generation):
    folder = generation()
    command = ("validate", "survival", folder, *SHORT, "--temperature", "9000 K", "--bonds", "0.93,1.07")
    first = sparring(*command)
    output = folder / "validation"
    files = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in output.rglob("*") if file.is_file()}
    assert sparring(*command) == first
    for file, (content, written) in files.items():
        assert file.read_bytes() == content
        if file.parent.name == "survival":
            assert file.stat().st_mtime_ns == written


@pytest.mark.usefixtures("undrawn")
def test_copies_of_a_run_start_from_its_lowest_energy_and_ammonia_fails_as_in_the_paper(sparring, generation, ammonia):
    folder = generation(kind="ammonia")
    quick = ("--copies", 1, "--time", "1 fs", "--temperature", "300K")
    answer = sparring("validate", "survival", folder, *quick)
    assert answer.exit_code == 0, answer.err
    assert answer.out.startswith("H3N fails if: H-H outside 0.8 to 2.55 Å; energy below ")
    assert not read_structures(folder / "validation" / "survival_failures.extxyz", allow_empty=True)
    assert "geometries at failure" not in answer.out
    write_structures(folder / "same.xyz", [ammonia])
    again = sparring("validate", "survival", folder, folder / "same.xyz", *quick)
    assert again.out == answer.out
    assert len(list((folder / "validation" / "survival").glob("*K_*"))) == 1


@pytest.mark.parametrize(
    ("criteria", "words"),
    [
        ([], "a bond outside 0.6 to 1.6 of its length; atoms closer than 0.5 Å; energy below "),
        (["--min-distance", "0.4 Å"], "atoms closer than 0.4 Å"),
        (["--window", "H,H,0.8 Å,0.255 nm", "--window", "N,H,0,3"], "H-H outside 0.8 to 2.55 Å; N-H outside 0 to 3 Å"),
        (
            ["--window", "0,1,0.5,inf", "--bonds", "0.5,2"],
            "0-1 closer than 0.5 Å; a bond outside 0.5 to 2 of its length",
        ),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_criteria_are_those_that_were_asked_for(sparring, generation, tmp_path, criteria, words):
    folder = generation()
    quick = ("--copies", 1, "--time", "1 fs", "--temperature", "10K")
    answer = sparring("validate", "survival", folder, *quick, "--output", tmp_path / "out", *criteria)
    assert answer.exit_code == 0, answer.err
    assert answer.out.split("\n")[0].startswith(f"H3N fails if: {words}")
    written = json.loads((tmp_path / "out" / "survival.json").read_text())["settings"]["criteria"]
    assert answer.out.split("\n")[0] == f"H3N fails if: {'; '.join(written)}"


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("own", [], ((300.0,), 20, 30_000.0)),
        ("alanine_dipeptide", [], ((300.0,), 20, 30_000.0)),
        ("ammonia", [], ((500.0, 600.0, 700.0, 800.0, 900.0, 1000.0), 100, 5000.0)),
        ("ammonia", ["--temperature", "300K,0.4 K", "--temperature", "500K"], ((300.0, 0.4, 500.0), 100, 5000.0)),
        ("own", ["--copies", 7, "--time", "1 ps"], ((300.0,), 7, 1000.0)),
    ],
)
def test_temperatures_copies_and_time_are_the_papers_only_where_it_has_numbers_to_compare(
    sparring, generation, monkeypatch, kind, given, expected
):
    def instead(members, atoms, *, temperatures, n_copies, duration, **others):
        raise ValueError(f"asked for {temperatures, n_copies, duration}")

    monkeypatch.setattr("sparring.validation.survival.compute.survival", instead)
    answer = sparring("validate", "survival", generation(kind=kind), "--bonds", "0.6,1.6", *given)
    assert answer.err == f"sparring: asked for {expected}\n"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--temperature", "300 fs"], "measures time, wanted temperature"),
        (["--temperature", ""], "wanted a finite number with a unit"),
        (["--window", "H,H,2.55,0.8"], "a window needs 0 <= low < high, and one of them, got 2.55 Å and 0.8 Å"),
        (["--window", "H,H,0.8"], "a window is two elements or two indices of atoms, and the shortest and longest"),
        (["--window", "H,0,0.8,1"], "got 'H,0,0.8,1'"),
        (["--window", "C,H,0.8,2.5"], "C-H outside 0.8 to 2.5 Å: the structure has no pair of C and H"),
        (["--window", "0,7,0.8,2.5"], "there is no atom 7; the structure has 4, counted from 0"),
        (["--bonds", "0.6"], "relative to its length in the start, e.g. '0.6,1.6'; got '0.6'"),
        (["--bonds", "1.1,1.6"], "must be one below and one above 1"),
        (["--min-distance", "5 eV"], "measures energy, wanted length"),
        (["--energy-below", "-5 eV"], "the start itself fails (energy below"),
        (["--ensemble", "nph"], "unknown ensemble 'nph'"),
        (["--copies", "0"], "at least one copy, and one at once, got 0 and 50"),
        (["--device", "abacus"], "cannot use the device 'abacus'"),
    ],
)
def test_what_survival_cannot_do_is_said_in_one_line(sparring, generation, wrong, message):
    answer = sparring("validate", "survival", generation(), *wrong)
    assert answer.exit_code == 2
    assert answer.err.startswith("sparring: ")
    assert message in answer.err
    assert answer.err.count("\n") == 1


def test_a_start_is_one_structure(sparring, generation, committee, ammonia, water, tmp_path):
    folder = generation(others=[water])
    write_structures(tmp_path / "two.xyz", [ammonia, ammonia])
    answer = sparring("validate", "survival", folder, tmp_path / "two.xyz")
    assert (answer.exit_code, answer.err) == (
        2,
        f"sparring: {tmp_path / 'two.xyz'} has 2 structures, expected one: the start\n",
    )
    answer = sparring("validate", "survival", folder)
    assert answer.err.endswith("has structures of H2O, H3N; give START.xyz, a file with one of them\n")
    alone = tmp_path / "alone"
    alone.mkdir()
    write_committee(alone, committee(2))
    answer = sparring("validate", "survival", alone)
    assert "is not a generation of a run: it has no dataset.extxyz; give START.xyz" in answer.err


def test_energies_of_a_molecule_and_its_cation_are_not_compared(sparring, generation, ammonia):
    cation = ammonia.copy()
    cation.info.update(charge=1, multiplicity=2)
    answer = sparring("validate", "survival", generation(others=[cation]))
    assert answer.exit_code == 2
    assert answer.err.endswith("has structures of H3N, H3N+1; give START.xyz, a file with one of them\n")
