import ase.io
import pytest
from ase.build import bulk

from sparring.committee_files import write_committee
from sparring.inputs.extxyz import write_structures


@pytest.fixture
def arguments(committee, ammonia, water, tmp_path):
    (tmp_path / "committee").mkdir()
    write_committee(tmp_path / "committee", committee(2))
    write_structures(tmp_path / "start.xyz", [ammonia, water])
    return ["md", tmp_path / "committee", tmp_path / "start.xyz", "--output", tmp_path / "out" / "traj.extxyz"]


def test_md_writes_trajectories_and_prints_a_row_for_each_temperature(sparring, arguments, tmp_path):
    times = ["--time", "0.002 ps", "--timestep", "0.5 fs", "--every", 2, "--copies", 2, "--min-distance", "0.3 Å"]
    answer = sparring(*arguments, "--temperature", "300K, 500 K", "--temperature", "50", *times)
    assert answer.exit_code == 0
    rows = answer.out.rstrip().split("\n")
    assert [row.split()[:4] for row in rows[2:5]] == [[t, "K", "4", "4"] for t in ("300", "500", "50")]
    assert rows[5] == f"trajectories: {tmp_path / 'out' / 'traj.extxyz'}"
    frames = ase.io.read(tmp_path / "out" / "traj.extxyz", index=":")
    assert len(frames) == 12 * 3
    assert {atoms.info["temperature"] for atoms in frames} == {50.0, 300.0, 500.0}


def test_md_at_constant_pressure_prints_volume_and_pressure(sparring, arguments, tmp_path):
    write_structures(tmp_path / "start.xyz", [bulk("Si")])
    times = ["--time", "2 fs", "--timestep", "0.5 fs", "--every", 2, "--temperature", "300 K"]
    answer = sparring(*arguments, *times, "--ensemble", "npt_cell", "--pressure", "0.1 GPa")
    assert answer.exit_code == 0
    assert "V and P: mean volume of a cell and mean pressure" in answer.out
    row = answer.out.split("\n")[2].split()
    assert row[7] == "Å³"
    assert row[9] == "GPa"
    frames = ase.io.read(tmp_path / "out" / "traj.extxyz", index=":")
    assert len({atoms.cell.array.tobytes() for atoms in frames}) == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--temperature", "-5 K"], "a temperature is finite and not negative, got -5.0 K"),
        (["--temperature", "300 fs"], "measures time, wanted temperature"),
        (["--temperature", "300", "--timestep", "0 fs"], "need a timestep > 0"),
        (["--temperature", "300", "--friction", "3 fs"], "measures time, wanted rate; units of rate: 1/fs"),
        (["--temperature", "300", "--ensemble", "npH"], "unknown ensemble 'npH'; wanted one of nose_hoover"),
        (["--temperature", "300", "--ensemble", "npt"], "replica 0 is not (pbc FFF); use nose_hoover or langevin"),
        (["--temperature", "300", "--pressure", "1 bar"], "a pressure needs the ensemble npt or npt_cell, got nose_h"),
        (["--temperature", "300", "--pressure", "1 K"], "measures temperature, wanted pressure"),
        (["--temperature", "300", "--copies", "0"], "at least one replica and one temperature, got 0"),
        (["--temperature", "300", "--every", "0"], "every >= 1, got"),
        (["--temperature", "300", "--device", "abacus"], "cannot use the device 'abacus'"),
    ],
)
def test_what_md_cannot_do_is_said_in_one_line(sparring, arguments, wrong, message):
    answer = sparring(*arguments, *wrong)
    assert answer.exit_code == 2
    assert answer.err.startswith("sparring: ")
    assert message in answer.err
    assert answer.err.count("\n") == 1
