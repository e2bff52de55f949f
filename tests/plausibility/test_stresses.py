"""Stresses of a file against the energies of its strained frames, and against those of a labeller."""

import logging
import re
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from sparring.atoms.dataset import ENERGY, FORCES, STRESS
from sparring.commands.running import check, run
from sparring.config import load
from sparring.inputs.extxyz import read_labelled, write_structures
from sparring.labels import FromCalculator, label
from sparring.plausibility import compare, require, stress_inconsistencies
from sparring.units import GPA, HARTREE

FILE = "train.xyz"


def labelled(atoms, calculator=None):
    one = atoms.copy()
    one.calc = calculator or EMT()
    one.info[ENERGY], one.arrays[FORCES] = float(one.get_potential_energy()), one.get_forces()
    one.info[STRESS] = one.get_stress()
    one.calc = None
    return one


def scan(atoms, factors):
    """Cells of an equation of state."""
    frames = []
    for factor in factors:
        one = atoms.copy()
        one.set_cell(factor * atoms.cell.array, scale_atoms=True)
        frames.append(one)
    return frames


def strained(atoms, n, *, strain=0.02, stdev=0.0, seed=0):
    """Cells under random strains, rattled."""
    generator, frames = np.random.default_rng(seed), []
    for _ in range(n):
        one, tensor = atoms.copy(), strain * generator.normal(size=(3, 3))
        one.set_cell(atoms.cell.array @ (np.eye(3) + (tensor + tensor.T) / 2), scale_atoms=True)
        one.positions += stdev * generator.normal(size=one.positions.shape)
        frames.append(one)
    return frames


def changed(frames, stress):
    copies = [atoms.copy() for atoms in frames]
    for atoms in copies:
        atoms.info[STRESS] = stress(atoms.info[STRESS], atoms.get_volume())
    return copies


@pytest.fixture(scope="module")
def eos():
    return [labelled(one) for one in scan(bulk("Cu", cubic=True), np.linspace(0.96, 1.04, 7))]


@pytest.fixture(scope="module")
def crystals():
    return [labelled(one) for one in strained(bulk("Cu", cubic=True), 12, stdev=0.03)]


SETS = {
    "equation of state": lambda: scan(bulk("Cu", cubic=True), np.linspace(0.96, 1.04, 7)),
    "coarse equation of state": lambda: scan(bulk("Cu"), [0.94, 0.97, 1.0, 1.03, 1.06]),
    "three frames": lambda: scan(bulk("Cu", cubic=True), [0.98, 1.0, 1.02]),
    "compressed": lambda: scan(bulk("Cu", cubic=True), [0.90, 0.91, 0.92, 0.93]),
    "shear": lambda: strained(bulk("Cu", cubic=True), 8),
    "rattled": lambda: strained(bulk("Cu", cubic=True), 12, stdev=0.03),
    "large and rattled": lambda: strained(bulk("Cu", cubic=True) * 2, 12, strain=0.01, stdev=0.05),
    "barostat": lambda: strained(bulk("Cu", cubic=True) * 2, 20, strain=1e-3, stdev=0.08),
    "far apart": lambda: strained(bulk("Cu", cubic=True), 6, strain=0.2, stdev=0.3),
    "primitive and skewed": lambda: strained(bulk("Cu"), 8),
}


@pytest.mark.parametrize("name", SETS)
def test_stresses_of_one_surface_pass(name):
    assert stress_inconsistencies([labelled(one) for one in SETS[name]()], FILE) == []


def test_stresses_of_a_left_handed_cell_pass_and_wrong_ones_do_not():
    mirrored = bulk("Cu", cubic=True)
    mirrored.set_cell(mirrored.cell.array[[1, 0, 2]])
    frames = [labelled(one) for one in scan(mirrored, [0.97, 0.98, 0.99, 1.0])]
    assert stress_inconsistencies(frames, FILE) == []
    assert stress_inconsistencies(changed(frames, lambda s, _: -s), FILE) != []


def test_frames_wrapped_through_the_faces_of_the_cell_pass(crystals):
    moved = [atoms.copy() for atoms in crystals]
    for number, atoms in enumerate(moved):
        atoms.info, atoms.arrays[FORCES] = dict(crystals[number].info), crystals[number].arrays[FORCES]
        atoms.positions[number % 4] += atoms.cell.array[number % 3]
    assert stress_inconsistencies(moved, FILE) == []
    assert stress_inconsistencies(changed(moved, lambda s, _: -s), FILE) != []


def without_forces(frames):
    copies = [atoms.copy() for atoms in frames]
    for atoms in copies:
        del atoms.arrays[FORCES]
    return copies


@pytest.mark.parametrize("forces", [True, False])
def test_the_opposite_sign_is_recognised(eos, forces):
    frames = eos if forces else without_forces(eos)
    (finding,) = stress_inconsistencies(changed(frames, lambda s, _: -s), FILE)
    assert (finding.severity, finding.about) == ("stop", "stress")
    assert re.search(
        r"train\.xyz: energies change by -(1|1\.0\d+|0\.9\d+) times what the stresses say \(\d+ pairs of strained "
        r"frames, such as \d and \d\): they have the opposite sign: write `stress_sign: compression` in the section",
        finding.text,
    )


def test_the_opposite_sign_is_recognised_among_rattled_crystals(crystals):
    (finding,) = stress_inconsistencies(changed(crystals, lambda s, _: -s), FILE)
    assert "they have the opposite sign: write `stress_sign: compression`" in finding.text
    (finding,) = stress_inconsistencies(changed(crystals, lambda s, _: -s), FILE, stress_sign="compression")
    assert "write `stress_sign: tension`" in finding.text


UNITS = {
    "GPa": GPA,
    "kbar": GPA / 10,
    "bar": GPA / 1e4,
    "MPa": GPA / 1e3,
    "Hartree/Bohr³": 183.631,
    "Ry/Å³": HARTREE / 2,
}


@pytest.mark.parametrize("frames", ["eos", "crystals"])
@pytest.mark.parametrize("unit", UNITS)
def test_units_are_recognised_and_named(request, unit, frames):
    odd = changed(request.getfixturevalue(frames), lambda s, _: s / UNITS[unit])
    (finding,) = stress_inconsistencies(odd, FILE)
    match = re.search(r"energies change by (\S+) times .*look like (\S+): write `stress_unit: (\S+)` in", finding.text)
    assert match[2] == match[3] == unit
    assert float(match[1]) == pytest.approx(UNITS[unit], rel=0.1)


def test_numbers_that_vasp_prints_are_recognised_as_kbar_of_the_other_sign(eos):
    (finding,) = stress_inconsistencies(changed(eos, lambda s, _: -s / (GPA / 10)), FILE)
    assert "opposite sign, and look like kbar: write `stress_unit: kbar` and `stress_sign: compression`" in finding.text


def test_a_unit_that_was_named_wrongly_is_corrected(eos):
    (finding,) = stress_inconsistencies(changed(eos, lambda s, _: s * GPA), FILE, stress_unit="GPa")
    assert "they are not in GPa. They look like eV/Å³: write `stress_unit: eV/Å³`" in finding.text


def test_virials_in_place_of_stresses_are_recognised(eos):
    (finding,) = stress_inconsistencies(changed(eos, lambda s, v: -v * s), FILE)
    assert "They may be virials in eV, too: call them virial then" in finding.text


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
def test_stresses_of_another_kind_are_recognised(eos, scale):
    (finding,) = stress_inconsistencies(changed(eos, lambda s, _: scale * s), FILE)
    assert finding.severity == "stop"
    assert "energies and stresses do not belong together" in finding.text


def test_stresses_of_other_frames_are_recognised(crystals):
    shuffled = [atoms.info[STRESS] for atoms in crystals[4:] + crystals[:4]]
    odd = [atoms.copy() for atoms in crystals]
    for atoms, stress in zip(odd, shuffled, strict=True):
        atoms.info[STRESS] = stress
    (finding,) = stress_inconsistencies(odd, FILE)
    assert "do not belong together" in finding.text


def test_a_constant_pressure_is_a_warning_with_its_size(eos):
    offset = np.array([0.02, 0.02, 0.02, 0, 0, 0])
    (finding,) = stress_inconsistencies(changed(eos, lambda s, _: s + offset), FILE)
    assert finding.severity == "warn"
    assert re.search(r"by a constant pressure of 3(\.\d*)? GPa .*Pulay stress", finding.text)


def test_nothing_is_said_where_nothing_can_be_compared(eos, rattled):
    assert stress_inconsistencies([], FILE) == []
    wrong = changed(eos, lambda s, _: -s)
    assert stress_inconsistencies(wrong[:2], FILE) == []
    fixed = [labelled(one) for one in rattled(bulk("Cu", cubic=True), 8, stdev=0.03)]
    assert stress_inconsistencies(changed(fixed, lambda s, _: -s), FILE) == []
    others = [labelled(one * (index + 1, 1, 1)) for index, one in enumerate(scan(bulk("Cu"), [0.98, 0.99, 1.0, 1.01]))]
    assert stress_inconsistencies(changed(others, lambda s, _: -s), FILE) == []
    assert stress_inconsistencies([Atoms("H", info={ENERGY: 0.0})] * 5, FILE) == []
    unlabelled = [atoms.copy() for atoms in wrong]
    for atoms in unlabelled:
        del atoms.info[ENERGY]
    assert stress_inconsistencies(unlabelled, FILE) == []


# --- against a labeller -----------------------------------------------------------------------------------------------


def label_all(structures):
    return label(structures, FromCalculator(EMT())).labels


def test_stresses_of_the_labeller_pass_and_others_stop(crystals):
    assert compare(crystals, label_all, file=FILE).findings == ()
    found = compare(changed(crystals, lambda s, _: -s), label_all, file=FILE)
    with pytest.raises(
        ValueError, match=r"train\.xyz: the stresses have the opposite sign .*`stress_sign: compression`"
    ):
        require(found)
    found = compare(changed(crystals, lambda s, _: s / GPA), label_all, file=FILE)
    assert "the stresses look like GPa (root mean square" in found.findings[0].text
    found = compare(changed(crystals, lambda s, _: 1.4 * s), label_all, file=FILE)
    assert "the stresses are not those of this labeller" in found.findings[0].text


def test_a_labeller_without_stresses_is_not_compared(crystals):
    def bare(structures):
        return [replace(one, stress=None) for one in label_all(structures)]

    assert compare(crystals, bare, file=FILE).findings == ()


# --- in check and in a run --------------------------------------------------------------------------------------------


@pytest.fixture
def copper_file(tmp_path, monkeypatch):
    """A function that writes a configuration for frames of copper, labelled by EMT."""
    monkeypatch.setattr("sparring.commands.running.report", lambda folder: None)

    def write(frames, **changes):
        write_structures(tmp_path / "copper.xyz", frames)
        (tmp_path / "copper.yaml").write_text(
            "generations: 1\nsystem: {kind: own, file: copper.xyz}\nlabels: {labeller: {kind: ase, name: emt}}\n"
            "committee: {n_members: 2, potential: {kind: schnet, n_features: 4, n_filters: 4, n_interactions: 1, "
            "n_gaussians: 4, cutoff: 3.0}}\ntraining: {n_epochs: 1}\n"
        )
        return load(tmp_path / "copper.yaml", overrides=changes)

    return write


@pytest.mark.parametrize("generations", [1, 2])
def test_a_run_stops_at_stresses_that_contradict_the_energies(copper_file, eos, tmp_path, generations):
    config = copper_file(changed(eos, lambda s, _: -s), generations=generations)
    with pytest.raises(ValueError, match=r"copper\.xyz: .*opposite sign.*`stress_sign: compression`") as caught:
        run(config, tmp_path / "run")
    if generations == 1:
        assert "`stress_key: null` in the section system; to go on all the same, `check_labels: false`" in str(
            caught.value
        )
    assert [one.severity for one in check(config).findings if "energies change by" in one.text] == (
        ["stop"] if generations == 1 else []
    )
    assert "opposite sign" in check(config).findings[0].text
    assert check(config).findings[0].severity == "stop"


def test_a_run_goes_on_with_the_right_sign_or_if_it_is_told_to(copper_file, eos, crystals, tmp_path, caplog):
    frames = [*eos, *crystals]
    wrong = changed(frames, lambda s, _: -s / GPA)
    changes = {
        "told": {"system.check_labels": False},
        "aside": {"system.stress_key": None},
        "right": {"system.stress_unit": "GPa", "system.stress_sign": "compression"},
    }
    found = {}
    for name, one in changes.items():
        config = copper_file(wrong, **one)
        with caplog.at_level(logging.WARNING):
            run(config, tmp_path / name)
        found[name] = read_labelled(tmp_path / name / "generation-01" / "dataset.extxyz")
    assert "19 of 19 structures have a stress" in caplog.text
    assert not any(STRESS in atoms.info for atoms in found["aside"])
    for atoms, other, given in zip(found["right"], found["told"], frames, strict=True):
        np.testing.assert_allclose(atoms.info[STRESS], given.info[STRESS], atol=1e-12)
        np.testing.assert_allclose(other.info[STRESS], -given.info[STRESS] / GPA, atol=1e-12)


def test_check_says_how_many_crystals_have_a_stress(copper_file, eos, sparring, tmp_path):
    frames = [atoms.copy() for atoms in eos]
    del frames[0].info[STRESS]
    copper_file(frames)
    answer = sparring("check", tmp_path / "copper.yaml")
    assert "6 of 7 crystals have a stress in the file, new labels have one, too" in answer.out
