"""`sparring validate landscape --grid` and `sparring validate free-energy` on a run on alanine dipeptide."""

import numpy as np
import pytest

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.committee_files import write_committee
from sparring.config import dump, load, template_files
from sparring.inputs.extxyz import write_structures
from sparring.surfaces.landscape import Landscapes
from sparring.systems import alanine_dipeptide
from sparring.validation.free_energy.histograms import FreeEnergies
from sparring.validation.records import read_record

pytest.importorskip("openmm")


@pytest.fixture
def run(tmp_path, committee, rattled):
    """A run of one generation, whose committee has learnt nothing."""
    folder = tmp_path / "run"
    part = folder / "generation-01"
    part.mkdir(parents=True)
    frames = rattled(alanine_dipeptide.geometry(), 4, stdev=0.02)
    for number, one in enumerate(frames):
        one.info |= {ENERGY: float(number), "generation": 1}
        one.arrays[FORCES] = np.zeros((22, 3))
    write_structures(part / "dataset.extxyz", frames)
    write_committee(part, committee(2))
    (tmp_path / "example.yaml").write_text(next(iter(template_files("alanine_dipeptide").values())), encoding="utf-8")
    (folder / "config.yaml").write_text(dump(load(tmp_path / "example.yaml")), encoding="utf-8")
    return folder


def test_a_run_has_a_rigid_and_a_relaxed_grid_in_files_of_their_own(undrawn, sparring, run):
    rigid = sparring("validate", "landscape", run, "--points", "2x3")
    relaxed = sparring("validate", "landscape", run, "--points", "2x3", "--grid", "relaxed")
    assert (rigid.exit_code, relaxed.exit_code) == (0, 0), relaxed.err
    assert rigid.out.split("\n")[0] == "6 points: 2 of phi × 3 of psi"
    assert rigid.out.split("\n")[3].split() == ["≤", "20", "≤", "50", "≤", "100", "≤", "300"]
    assert "6 computed" in relaxed.out
    assert relaxed.out.rstrip().split("\n")[-1].startswith(f"results: {run / 'validation' / 'landscape_relaxed.json'}")
    one, other = (
        read_record(run / "validation" / f"{name}.json", Landscapes).committees["generation 1"]
        for name in ("landscape", "landscape_relaxed")
    )
    assert (other.truth + other.zero <= one.truth + one.zero + 1e-9).all()
    assert one.x.period == pytest.approx(2 * np.pi)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--grid", "flat"], "--grid must be rigid or relaxed, got 'flat'"),
        (["--points", "8"], "wanted numbers of points such as 24x24 for alanine_dipeptide, got 8"),
    ],
)
def test_a_grid_that_there_is_not_is_refused_in_one_line(sparring, run, wrong, message):
    answer = sparring("validate", "landscape", run, *wrong)
    assert answer.exit_code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1


SHORT = ("--copies", 4, "--time", "60 fs", "--equilibration", "2 fs", "--bins", 3, "--at-once", 2, "--blocks", 4)


def test_a_free_energy_is_compared_with_the_force_fields_own(sparring, run):
    # An untrained committee lets go of the atoms, which is what there is to say of it.
    answer = sparring("validate", "free-energy", run / "generation-01", *SHORT, "--reference-time", "4 ps")
    assert answer.exit_code == 0, answer.err
    lines = answer.out.rstrip().split("\n")
    assert lines[0] == "committee: committee, 4 copies of 0.06 ps in steps of 1 fs"
    assert lines[1].startswith("reference: OpenMM opls-aa")
    assert lines[3].split()[-2:] == ["copies", "failed"]
    assert lines[4].startswith("generation-01 ")
    folder = run / "generation-01" / "validation"
    result = read_record(folder / "free_energy.json", FreeEnergies)
    assert result.n_blocks == (4, 4)
    assert sorted(file.suffix for file in folder.glob("free_energy.*")) == [".json", ".png", ".svg"]
    assert len(list((folder / "free_energy").glob("[0-9]*"))) == 2
    assert len(list((run / "validation").glob("free_energy_reference_*"))) == 2


def test_a_reference_may_be_a_file(undrawn, sparring, run, tmp_path):
    frames = [alanine_dipeptide.geometry() for _ in range(80)]
    write_structures(tmp_path / "long.xyz", frames)
    answer = sparring("validate", "free-energy", run / "generation-01", tmp_path / "long.xyz", *SHORT)
    assert answer.exit_code == 0, answer.err
    assert f"reference: {tmp_path / 'long.xyz'}" in answer.out
    assert "nothing to compare" in answer.out


def test_a_committee_without_torsions_has_no_such_free_energy(sparring, finished_well):
    answer = sparring("validate", "free-energy", finished_well / "generation-01")
    assert answer.exit_code == 2
    assert "the free energy is over two torsions, and system 'double_well_1d' has none" in answer.err
