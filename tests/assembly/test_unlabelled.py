"""Runs that end with the structures to be labelled."""

import json
import re

import numpy as np
import pytest
from ase.io import read

from sparring import write_committee
from sparring.config import ConfigError, load

ATTACK_ONLY = """
generations: 1
system: {kind: own, file: molecules.xyz}
labels: {labeller: {kind: none}}
committee: {kind: heads, backbone: {adapter: sparring, model: backbone}, n_members: 3, uncertainty: llpr}
dtype: float64
attack:
  n_seeds: 4
  seeds: random
  n_steps: 4
  initial_spread: 0.05 Å
  objective: log(force_variance) + boltzmann(20 kcal/mol)
selection: [{kind: uncertainty_above, percentile: 0}, {kind: energy_window, window: 1000 eV}, {kind: budget, n: 3}]
"""


@pytest.fixture
def attack_only(molecules_file, committee, molecules, tmp_path):
    """Writes a run that attacks and selects, on structures without labels, and its backbone."""

    def make(*changes, structures=None):
        for atoms in molecules:
            atoms.info, atoms.arrays = {}, {k: v for k, v in atoms.arrays.items() if k in ("numbers", "positions")}
        file = molecules_file(structures=molecules if structures is None else structures(molecules))
        write_committee(tmp_path / "backbone", committee(2))
        text = ATTACK_ONLY
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")
        return file

    return make


def test_a_run_without_a_labeller_ends_with_the_structures_to_be_labelled(attack_only, sparring, tmp_path):
    run = sparring("run", attack_only(), "--folder", tmp_path / "run")
    assert run.exit_code == 0, run.err
    folder = tmp_path / "run" / "generation-01"
    selected = read(folder / "selected.extxyz", ":")
    assert f"{len(selected)} structures to be labelled: {folder / 'selected.extxyz'}" in run.out
    assert 0 < len(selected) <= 3
    assert not (tmp_path / "run" / "generation-02").exists()
    assert not (folder / "labelled.extxyz").exists()
    assert all("REF_energy" not in atoms.info for atoms in selected)
    started = read(folder / "dataset.extxyz", ":")
    assert len(started) == 12
    assert all(atoms.info["predicted"] for atoms in started)
    errors = json.loads((folder / "evaluation.json").read_text())["errors"]["test"]
    assert (errors["n_structures"], errors["energy_mae"]) == (0, None)
    page = re.sub(r"\s+", " ", (tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    assert "Of 4 attacks" in page
    assert 'href="generation-01/selected.extxyz"' in page
    for words in ("Learning curves", "own test set", "Explorer", "label method", "Energies of the labels"):
        assert words not in page
    again = sparring("run", attack_only(), "--folder", tmp_path / "run")
    assert again.exit_code == 0
    assert "nothing was left to do" in again.err
    assert "to be labelled" in sparring("status", tmp_path / "run").out


def test_one_structure_is_enough_to_attack(attack_only, sparring, tmp_path):
    run = sparring("run", attack_only(structures=lambda some: some[:1]), "--folder", tmp_path / "run")
    assert run.exit_code == 0, run.err


def test_what_a_check_says_of_such_a_run_is_true(attack_only, sparring):
    check = sparring("check", attack_only())
    assert check.exit_code == 0, check.err
    assert "nothing is labelled or trained: at most 3 structures of attacks are selected" in check.out
    assert "labels by" not in check.out


def test_labels_of_some_structures_only_are_refused(attack_only, sparring, tmp_path):
    def labelled(some):
        some[0].info["REF_energy"], some[0].arrays["REF_forces"] = 0.1, np.zeros((len(some[0]), 3))
        return some

    run = sparring("run", attack_only(structures=labelled), "--folder", tmp_path / "run")
    assert run.exit_code == 2
    assert "1 of 12 structures have labels" in run.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("generations: 1", "generations: 2"), "set `generations: 1`, got 2"),
        (("llpr", "heads"), "there is no labeller; use llpr"),
        (
            (
                "{kind: heads, backbone: {adapter: sparring, model: backbone}, n_members: 3, uncertainty: llpr}",
                "{n_members: 2, potential: {kind: schnet}}",
            ),
            "a network that is trained needs a labeller",
        ),
    ],
)
def test_what_needs_labels_is_refused_without_a_labeller(attack_only, change, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(attack_only(change))


@pytest.mark.parametrize("objective", ["closeness", "closeness + 0.1 * boltzmann(20 kcal/mol)", "mean_energy"])
def test_a_single_model_is_attacked_by_what_needs_no_uncertainty(attack_only, objective):
    single = ATTACK_ONLY[ATTACK_ONLY.index("{kind: heads") : ATTACK_ONLY.index("\ndtype")]
    changes = [
        (single, "{kind: foreign, adapter: chgnet, models: [default]}"),
        ("{kind: uncertainty_above, percentile: 0}, ", ""),
    ]
    variance = "log(force_variance) + boltzmann(20 kcal/mol)"
    assert load(attack_only(*changes, (variance, objective))).committee.n_members == 1
    with pytest.raises(ConfigError, match=r"attack\.objective log\(force_variance\)"):
        load(attack_only(*changes))
