"""Validations: those of the package, and one that another package brings in a single file."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sparring.reporting import page
from sparring.validation import registry
from sparring.validation.base import Validation

FILE = Path(__file__).with_name("third_party_validation.py")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A function that installs a package with one entry point, as far as Python's metadata can see."""

    def install(point):
        site = tmp_path / "site"
        shutil.copytree(FILE.parent, site, ignore=lambda _, names: {name for name in names if name != FILE.name})
        information = site / "spread_of_energies-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: spread-of-energies\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{point}\n")
        monkeypatch.syspath_prepend(site)

    yield install
    sys.modules.pop(FILE.stem, None)


@pytest.fixture
def run(finished_well, tmp_path):
    return Path(shutil.copytree(finished_well, tmp_path / "well"))


def test_a_validation_of_another_package_has_a_verb_and_stands_in_the_report(sparring, package, run, monkeypatch):
    package("spread = third_party_validation:validation")
    answer = sparring("validate", "--help")
    assert "Spread of the energies between the members" in answer.out
    monkeypatch.setattr(page, "_sheets", lambda run: ())  # figures of the run take longest
    written = page.report(run).read_text(encoding="utf-8")
    assert f"sparring validate spread {run / 'generation-01'}" in written

    answer = sparring("validate", "spread", run / "generation-02")
    assert answer.exit_code == 0, answer.err
    heading, row, files = answer.out.rstrip().split("\n")
    assert heading.split() == ["n", "mean", "σ_E", "(eV)"]
    assert files == f"results: {run / 'generation-02' / 'validation' / 'spread.json'}, .png and .svg"
    written = page.report(run).read_text(encoding="utf-8")
    assert "<h2>Spread of energies</h2>" in written
    assert f"<td>generation 2</td><td>{row.split()[1]}</td><td>{row.split()[2]}</td>" in written
    assert (run / "figures" / "spread.svg").is_file()
    assert f"sparring validate spread {run / 'generation-02'}" not in written


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        (
            "spread = no_such_module:validation",
            r"the validation 'spread' .* cannot be loaded",
        ),
        ("spread = third_party_validation:spread", "must name a Validation, got function"),
    ],
)
def test_a_package_that_cannot_be_used_spares_the_other_verbs_and_sections(sparring, package, run, point, reason):
    package(point)
    with pytest.raises(ValueError, match=reason):
        registry.find("spread")
    answer = sparring("validate", "--help")
    assert answer.exit_code == 0
    assert "barrier" in answer.out
    answer = sparring("validate", "spread")
    assert answer.exit_code == 2
    assert answer.err.startswith("sparring: the ")


def test_an_unknown_verb_is_refused(sparring):
    answer = sparring("validate", "bariers")
    assert answer.exit_code == 2
    assert "No such command 'bariers'" in answer.err


def test_all_validations_of_the_package_are_values_and_load_nothing_heavy():
    assert all(isinstance(registry.find(name), Validation) for name in registry.BUILT_IN)
    assert all(registry.find(name).name == name for name in registry.BUILT_IN)
    program = """
import sys
from sparring.validation import registry
for name in registry.BUILT_IN:
    registry.find(name)
heavy = {"torch", "ase", "numpy", "matplotlib", "scipy", "jinja2"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_every_function_of_a_validation_exists(name):
    """They are imported when they are called first, so a wrong name would be noticed late."""
    validation = registry.find(name)
    for function in (validation.compute, validation.read, validation.table, validation.figures, validation.notes):
        if hasattr(function, "resolve"):
            assert callable(function.resolve())
