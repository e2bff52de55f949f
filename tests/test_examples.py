"""The examples and the README do what they say; what is expensive in them is replaced by something cheap."""

import re
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from sparring.assembly import labels
from sparring.assembly.planning import plan
from sparring.atoms.guests import made_whole, molecules_in
from sparring.commands import running
from sparring.commands.running import check
from sparring.config import load
from sparring.labels import ASECalculator

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
README = ROOT / "README.md"


def presets(file):
    section = file.read_text(encoding="utf-8").partition("\npresets:")[2]
    return [None, *re.findall(r"^  (\w+):", section, flags=re.MULTILINE)]


NEEDS = {"foundation_model": "chgnet", "mace": "mace", "silicon": "chgnet"}
"""Extras of examples whose potentials are of other packages."""


def with_its_package(file, preset):
    marks = [pytest.mark.extra(NEEDS[file.stem])] if file.stem in NEEDS else []
    return pytest.param(file, preset, id=f"{file.stem} {preset or ''}".strip(), marks=marks)


EVERY = [with_its_package(file, preset) for file in EXAMPLES for preset in presets(file)]


@pytest.fixture
def cheap_labels(monkeypatch):
    """EMT in the place of what an example asks for, Lennard-Jones for silica; gives what was asked for."""
    asked = []

    def cheap(**arguments):
        asked.append(arguments)
        return ASECalculator("lj" if arguments.get("parameters") == {"method": "GFN1-xTB"} else "emt")

    monkeypatch.setattr(labels, "PySCF", cheap)
    monkeypatch.setattr(labels, "ASECalculator", cheap)
    return asked


@pytest.mark.parametrize(("file", "preset"), EVERY)
def test_every_example_can_be_planned_without_computing_anything(file, preset, cheap_labels, tmp_path):
    config = load(file, preset)
    planned = plan(config, tmp_path / "run")
    assert planned.n_generations == config.generations
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(("file", "preset"), EVERY)
def test_every_example_can_be_checked(file, preset, cheap_labels):
    config = load(file, preset)
    estimate = check(config)
    assert estimate.n_generations == config.generations
    assert estimate.n_labels > 0
    if file.stem == "foundation_model":
        assert (estimate.n_start, estimate.n_labels) == (0, 4)
        assert estimate.method.startswith("chgnet, sha256")
    if file.stem == "guest_in_host":
        assert (cheap_labels[0]["name"], estimate.n_start, estimate.n_labels) == ("tblite", 2 + 28, 16)
    if file.stem == "own_molecule":
        assert (cheap_labels[0]["name"], estimate.n_start) == ("tblite", 2 + 60 + 2 * 6 * 9 + 24 * 24)
    if file.stem == "alanine_dipeptide":
        assert estimate.n_start == (1000 if preset is None else 100)
        assert estimate.n_labels == 50 * (config.generations - 1)
    if file.stem == "ammonia":
        assert (cheap_labels[0]["method"], estimate.n_start) == ("BP86-D3BJ/def2-SVP", 78 + 24)


def test_the_quick_well_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "report", lambda folder: None)
    quick = load(ROOT / "examples" / "double_well_1d.yaml", "quick", {"training.n_epochs": 3, "attack.n_steps": 3})
    running.run(quick, tmp_path / "run")
    assert (tmp_path / "run" / "generation-03" / "evaluation.json").exists()


@pytest.mark.skipif(not README.exists(), reason="there is no README yet")
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, cheap_labels):
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, str(README), "exec"), {})  # the README is ours


@pytest.mark.extra("chgnet")
def test_short_range_attacks_find_atoms_of_magnesium_oxide_that_merge(sparring, tmp_path):
    folder = tmp_path / "run"
    example = load(ROOT / "examples" / "foundation_model.yaml", "short_range", {"attack.n_seeds": 2})
    running.run(example, folder)
    (line, walls, selected) = running.outcome(folder)
    assert walls.endswith("generation-01/validation/walls.extxyz")
    assert re.match(r"[12] of 2 attacks broke the model \((Mg–O|O–O|Mg–Mg) in", line)
    assert re.match(r"[12] structures? to be labelled: ", selected)
    assert sparring("validate", "holes", folder).exit_code == 0


def test_the_guest_of_the_example_is_ethanol_that_turns_as_it_is():
    frames = read(ROOT / "examples" / "guest_in_host.xyz", ":")
    turned = read(ROOT / "examples" / "guest_in_host_turn.xyz", ":")
    ((*atoms,),) = molecules_in(frames[0])
    assert frames[0][atoms].get_chemical_formula() == "C2H6O"
    distances = [made_whole(one, (tuple(atoms),))[atoms].get_all_distances() for one in (frames[0], *turned)]
    for one in distances[1:]:
        np.testing.assert_allclose(one, distances[0], atol=1e-6)
    assert [one.info["turn"] for one in turned] == list(range(0, 181, 15))
