"""A labeller from a package of its own: one file and an entry point, and it labels runs as built-in ones do."""

import sys
from pathlib import Path

import numpy as np
import pytest

from sparring import LabelError, label
from sparring.inputs.extxyz import read_labelled, write_structures
from sparring.labels import ASECalculator, plugin

HERE = Path(__file__).parent
PACKAGE = HERE / "third_party"
SMALL = """
generations: 2
system: {kind: own, file: molecules.xyz}
labels: {labeller: {kind: plugin, name: springs, parameters: {constant: 5.0}}, n_workers: 1}
committee:
  n_members: 2
  potential: {kind: schnet, n_features: 8, n_filters: 8, n_interactions: 1, n_gaussians: 4, cutoff: 3 Å}
training: {n_epochs: 3, learning_rate: 1e-3}
attack: {n_seeds: 4, seeds: random, n_steps: 3}
selection: [{kind: budget, n: 3}]
"""


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """The package, found by its metadata as pip would have left them."""
    monkeypatch.syspath_prepend(str(PACKAGE))
    yield
    sys.modules.pop("spring_labels", None)


@pytest.fixture
def config(tmp_path, rattled, water):
    write_structures(tmp_path / "molecules.xyz", rattled(water, 8))
    file = tmp_path / "springs.yaml"
    file.write_text(SMALL, encoding="utf-8")
    return file


@pytest.fixture
def run(config, processes):
    """`sparring run` in a process that may kill itself; gives the exit code."""

    def call(folder, death=None):
        return processes("run", config, "--folder", folder, output=f"{folder}.txt", death=death)

    return call


def test_a_run_with_its_labels_is_killed_resumed_and_equals_one_that_was_not(run, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(broken, death={"file": "generation-02/dataset.extxyz"}) == -9
    assert run(broken) == run(whole) == 0
    for name in ("dataset.extxyz", "committee.safetensors"):
        assert (broken / "generation-02" / name).read_bytes() == (whole / "generation-02" / name).read_bytes()
    springs = plugin("springs", {"constant": 5.0})
    for atoms in read_labelled(whole / "generation-02" / "dataset.extxyz"):
        assert atoms.info["REF_energy"] == pytest.approx(springs(atoms).energy)
        np.testing.assert_allclose(atoms.arrays["REF_forces"], springs(atoms).forces, atol=1e-7)


def test_its_forces_are_the_derivatives_of_its_energies_also_in_a_worker(water, rattled):
    springs = plugin("springs")
    structures = rattled(water, 3)
    report = label(structures, springs, n_workers=2)
    for atoms, found in zip(structures, report.labels, strict=True):
        step, numerical = 1e-5, np.zeros((3, 3))
        for index in np.ndindex(3, 3):
            energies = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[index] += sign * step
                energies.append(springs(moved).energy)
            numerical[index] = -(energies[0] - energies[1]) / (2 * step)
        np.testing.assert_allclose(found.forces, numerical, atol=1e-6)


def test_a_structure_that_it_cannot_label_is_counted_and_spares_the_others(water):
    broken = water.copy()
    broken.positions[0] += 5.0
    report = label([water, broken], plugin("springs"))
    assert isinstance(report.failures[0], LabelError)
    assert (len(report.failures), report.failures[0].reason) == (1, "not_converged")


def test_a_calculator_of_ase_may_stand_in_the_place_of_a_labeller(water):
    labels = [label([water], one).labels[0] for one in (plugin("lattice"), ASECalculator("emt"))]
    assert labels[0].energy == labels[1].energy
    assert labels[0].version == "spring-labels 1.0"


def test_a_check_finds_a_name_that_no_package_registers(config, sparring):
    config.write_text(SMALL.replace("name: springs", "name: spring"), encoding="utf-8")
    answer = sparring("check", config)
    assert answer.exit_code == 2
    assert "unknown labeller 'spring', did you mean 'springs'?" in answer.err
