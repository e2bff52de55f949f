"""Runs on crystals whose cells are attacked, from a file to new labels with stresses."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import read, write

import sparring
from sparring.atoms.reference import STRESS
from sparring.config import load

COPPER = """\
system: {{kind: own, file: {file}}}
generations: 2
labels: {{labeller: {{kind: ase, name: emt}}, n_workers: 1}}
committee: {{n_members: 2, potential: {{kind: schnet, n_features: 8, n_filters: 8, n_interactions: 1, cutoff: 3.5 Å}}}}
training: {{n_epochs: 2, second_stage: null}}
attack:
  kind: {kind}
  n_seeds: 4
  seeds: random
  {keys}
"""
SPACES = {
    "adversarial": (
        "n_steps: 3\n  space: {kind: combined, spaces: [{kind: strain, radius: 0.03, scale: 0.2}, {kind: cartesian}]}\n"
        "  objective: log(stress_variance) + boltzmann(20 kcal/mol, pressure=1 GPa)"
    ),
    "random": "space: {kind: strain, which: volume, amplitude: 0.02}",
}


@pytest.fixture
def written(tmp_path, rattled):
    def make(frames, kind):
        write(tmp_path / "start.xyz", frames)
        file = tmp_path / "run.yaml"
        file.write_text(COPPER.format(file="start.xyz", kind=kind, keys=SPACES[kind]), encoding="utf-8")
        return load(file)

    return make


@pytest.mark.parametrize("kind", SPACES)
def test_cells_that_an_attack_has_strained_are_labelled_with_their_stress(written, rattled, tmp_path, kind):
    config = written(rattled(bulk("Cu", cubic=True), 6, stdev=0.05), kind)
    sparring.run(config, tmp_path / "run")
    start, after = (read(tmp_path / f"run/generation-0{number}/dataset.extxyz", ":") for number in (1, 2))
    assert all(atoms.info[STRESS].shape == (6,) for atoms in after)
    new = after[len(start) :]
    assert new
    for atoms in new:
        parent = start[atoms.info["parent"]]
        strain = np.linalg.solve(parent.cell.array, atoms.cell.array) - np.eye(3)
        assert 1e-4 < np.linalg.norm(strain) < 0.05
        np.testing.assert_allclose(strain, strain.T, atol=1e-10)
        np.testing.assert_allclose(atoms.info[STRESS], stress_of_emt(atoms), rtol=1e-6, atol=1e-9)


def test_a_strain_of_molecules_is_refused_before_anything_is_trained(written, rattled):
    with pytest.raises(ValueError, match="no structure has a cell that can be strained"):
        sparring.check(written(rattled(molecule("NH3"), 4), "random"))


def stress_of_emt(atoms):
    copy = atoms.copy()
    copy.calc = EMT()
    return copy.get_stress()
