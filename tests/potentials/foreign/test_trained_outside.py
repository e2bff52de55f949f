"""Models that were trained outside: one script and one configuration, as the documentation has them."""

import re
from pathlib import Path

import pytest
import torch
from ase.build import molecule

from sparring import read_structures, write_structures

PAGE = Path(__file__).parents[3] / "docs" / "foreign-potentials.md"


@pytest.fixture
def trained_outside(mace_model, rattled, tmp_path, monkeypatch):
    """A folder with three files of MACE models and a file of structures without labels."""
    for seed, name in enumerate("abc"):
        torch.save(mace_model(seed, hidden_irreps=_small("2x0e"), max_ell=1), tmp_path / f"{name}.model")
    write_structures(tmp_path / "structures.xyz", rattled(molecule("H2O"), 3, stdev=0.05))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _small(irreps):
    import importlib

    return importlib.import_module("e3nn.o3").Irreps(irreps)


def block(language, word):
    """The block of a language in the documentation that has a word."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    (found,) = [one for one in blocks if word in one]
    return found


def test_a_script_of_fifteen_lines_attacks_selects_and_writes(trained_outside):
    script = block("python", "c.model")
    assert len(script.splitlines()) <= 15
    exec(compile(script, str(PAGE), "exec"), {})  # the documentation is ours
    assert 0 < len(read_structures(trained_outside / "selected.extxyz")) <= 10


def test_one_configuration_attacks_selects_and_reports(trained_outside, sparring):
    file = trained_outside / "run.yaml"
    text = block("yaml", "kind: none}}").replace("n_seeds: 20", "n_seeds: 3, n_steps: 3")
    file.write_text(text, encoding="utf-8")
    run = sparring("run", file, "--folder", trained_outside / "run", "--trust-pickle")
    assert run.exit_code == 0, run.err
    assert "structures to be labelled" in run.out
    assert "0 of 3 attacks" in run.out or "none of 3 attacks" in run.out
    assert read_structures(trained_outside / "run" / "generation-01" / "selected.extxyz")
    assert "Where the model breaks" in (trained_outside / "run" / "report.html").read_text(encoding="utf-8")
