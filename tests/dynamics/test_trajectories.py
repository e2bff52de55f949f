from inspect import signature

import ase.io
import numpy as np
import pytest
from ase.build import molecule

from sparring.cli import committee_verbs
from sparring.committee import Committee
from sparring.config import proposers as sections
from sparring.dynamics import NPT, NVE, Langevin, NoseHooverChain, Status
from sparring.dynamics.barostat import CELL_TIME_CONSTANT
from sparring.dynamics.ensembles import FRICTION, TIME_CONSTANT
from sparring.dynamics.trajectories import ENSEMBLES, committee_on, ensemble_of, md, trajectory
from sparring.inputs.extxyz import read_structures
from sparring.reporting.terminal import dynamics_table
from sparring.units import quantity
from sparring.validation.survival import command
from sparring.validation.survival.compute import survival


def test_friction_and_time_constant_have_one_default_everywhere():
    constants = {"friction": FRICTION, "time_constant": TIME_CONSTANT, "cell_time_constant": CELL_TIME_CONSTANT}
    for name, default in constants.items():
        assert sections.Dynamics.model_fields[name].default == default
        for function in (md, survival, committee_verbs.md, command.survival):
            assert quantity(signature(function).parameters[name].default) == default


def stamped(name, step):
    atoms = molecule(name)
    atoms.rattle(0.01, seed=step)
    atoms.info = {"copy": 0, "step": step, "time": 0.1 * step}
    return atoms


def test_frames_are_appended_whole_and_read_back_by_ase_while_more_may_come(tmp_path):
    path = tmp_path / "traj.extxyz"
    path.write_text("what was here before\n", encoding="utf-8")
    frames = [stamped(name, step) for step, name in enumerate(("H2O", "NH3", "H2O"))]
    with trajectory(path) as write:
        write(frames[:2])
        assert len(ase.io.read(path, index=":")) == 2
        write([])
        write(frames[2:])
    for read in (ase.io.read(path, index=":"), read_structures(path)):
        assert [atoms.info for atoms in read] == [atoms.info for atoms in frames]
        for one, other in zip(read, frames, strict=True):
            assert (one.positions == other.positions).all()
            assert one.get_chemical_symbols() == other.get_chemical_symbols()


def test_a_frame_that_cannot_be_written_is_named(tmp_path):
    bad = molecule("H2O")
    bad.positions[0, 0] = np.nan
    with trajectory(tmp_path / "t.xyz") as write:
        write([molecule("H2O")])
        with pytest.raises(ValueError, match=r"t\.xyz, frame 2.*not finite"):
            write([molecule("H2O"), bad])
    assert len(ase.io.read(tmp_path / "t.xyz", index=":")) == 1


def test_ensembles_have_names():
    kinds = [ensemble_of(kind, 300.0, friction=0.1, time_constant=20.0) for kind in ENSEMBLES]
    bar = quantity("1 bar", "pressure")
    at_pressure = [NPT(300.0, bar, isotropic, time_constant=20.0) for isotropic in (True, False)]
    assert kinds == [NoseHooverChain(300.0, 20.0), Langevin(300.0, 0.1), NVE(300.0), *at_pressure]
    assert ensemble_of("npt", 300.0, pressure=2.0, cell_time_constant=99.0) == NPT(300.0, 2.0, cell_time_constant=99.0)
    with pytest.raises(ValueError, match="a pressure needs the ensemble npt or npt_cell, got nve; leave the pressure"):
        ensemble_of("nve", 300.0, pressure=0.0)
    with pytest.raises(
        ValueError, match="unknown ensemble 'npH'; wanted one of nose_hoover, langevin, nve, npt, npt_c"
    ):
        ensemble_of("npH", 300.0, friction=0.1, time_constant=20.0)


def test_many_temperatures_copies_and_structures_share_a_file(committee, tmp_path):
    charged, water = molecule("NH3"), molecule("H2O")
    charged.info["charge"] = 1
    path = tmp_path / "new" / "traj.extxyz"
    result = md(
        committee(),
        [charged, water],
        path,
        temperatures=[100.0, 300.0],
        n_copies=2,
        duration=2.0,
        timestep=0.5,
        every=2,
        min_distance=0.1,
    )
    assert (result.status == Status.FINISHED).all()
    frames = read_structures(path)
    assert len(frames) == 8 * 3
    last = frames[-8:]
    assert [atoms.info["copy"] for atoms in last] == list(range(8))
    assert [atoms.info["start"] for atoms in last] == [0, 0, 1, 1] * 2
    assert [atoms.info["temperature"] for atoms in last] == [100.0] * 4 + [300.0] * 4
    assert [atoms.info.get("charge") for atoms in last] == [1, 1, None, None] * 2
    assert {(atoms.info["step"], atoms.info["time"]) for atoms in last} == {(4, 2.0)}
    assert (np.concatenate([atoms.positions for atoms in last]) == result.structures.positions.numpy()).all()
    assert [atoms.info["force_variance"] for atoms in last] == result.force_variance[-1].tolist()
    for atoms in frames:
        assert np.mean(atoms.arrays["atom_uncertainty"] ** 2) == pytest.approx(atoms.info["force_variance"])


def test_a_table_has_a_row_for_each_temperature(committee, tmp_path):
    start = [molecule("NH3"), molecule("H2O")]
    options = {"temperatures": [300.0, 500.0], "duration": 1.0, "timestep": 0.5, "every": 1}
    result = md(committee(), start, tmp_path / "t.xyz", n_copies=3, min_distance=0.0, **options)
    _, heading, *rows = dynamics_table(result, [300.0, 500.0]).split("\n")
    assert heading.split() == ["wanted", "copies", "finished", "T", "uncertainty", "failure"]
    assert [row.split()[:4] for row in rows] == [["300", "K", "6", "6"], ["500", "K", "6", "6"]]
    assert all(row.endswith("none") for row in rows)
    failed = md(committee(), start, tmp_path / "t.xyz", min_distance=0.99, **options)
    assert "0 fs (CloserThan(distance=0.99))" in dynamics_table(failed, [300.0, 500.0])
    reasons = [atoms.info.get("failed") for atoms in read_structures(tmp_path / "t.xyz")]
    assert "CloserThan(distance=0.99)" in reasons


def test_a_single_atom_may_move_its_centre_of_mass(mlp, particle, tmp_path):
    result = md(
        Committee([mlp(0), mlp(1)]),
        [particle(0.1)],
        tmp_path / "t.xyz",
        temperatures=[300.0],
        duration=2.0,
        timestep=1.0,
        ensemble="nve",
    )
    assert result.temperature[0, 0] > 0
    assert len(read_structures(tmp_path / "t.xyz", allow_dummy=True)) == 1


def test_times_and_devices_that_make_no_sense_are_an_error(committee, tmp_path):
    with pytest.raises(ValueError, match=r"timestep > 0 and a duration >= 0, got 0\.0 fs and 1\.0 fs"):
        md(committee(), [molecule("H2O")], tmp_path / "t", temperatures=[1.0], duration=1.0, timestep=0.0)
    assert not (tmp_path / "t").exists()
    with pytest.raises(ValueError, match="cannot use the device 'abacus'"):
        committee_on(committee(), "abacus")
    assert committee_on(committee(), "cpu").n_members == 3
