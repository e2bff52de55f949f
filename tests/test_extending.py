"""The page about extensions: its package is installed, its examples run, and its configurations train committees."""

import importlib
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from sparring.commands import running
from sparring.config import ConfigError, load
from sparring.inputs.extxyz import write_structures
from sparring.runs.folder import read_metrics
from sparring.validation import registry

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)


FILE = re.compile(r"# my_package/(\w+)\.py\n")
MODULES = {FILE.match(block)[1]: block for block in blocks("python") if FILE.match(block)}
USES = [block for block in blocks("python") if not FILE.match(block)]
YAML = blocks("yaml")
GROUPS = {"potentials", "objectives", "spaces", "proposers", "labellers", "systems", "validations", "selectors"}


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    """The package of the page, as an installer leaves it."""
    information = tmp_path / "site" / "my_package-1.0.dist-info"
    (tmp_path / "site" / "my_package").mkdir(parents=True)
    for name, text in MODULES.items():
        (tmp_path / "site" / "my_package" / f"{name}.py").write_text(text, encoding="utf-8")
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    points = re.sub(r'\[project\.entry-points\."([\w.]+)"\]', r"[\1]", "".join(blocks("toml")))
    points = re.sub(r'"(.*)".*', r"\1", points)
    (information / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    importlib.invalidate_caches()
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


BASE = """
generations: 2
system: {kind: own, file: molecules.xyz}
labels: {labeller: {kind: ase, name: emt}, n_workers: 1}
committee:
  n_members: 2
  potential: {kind: schnet, n_features: 8, n_filters: 8, n_interactions: 1, n_gaussians: 4, cutoff: 3 Å}
training: {n_epochs: 3, learning_rate: 1e-3}
attack: {n_seeds: 4, seeds: random, n_steps: 3}
selection: [{kind: budget, n: 3}]
"""


@pytest.fixture
def small_run(rattled, water, tmp_path):
    """A function that writes the configuration of a small run, with a section of the page in it."""

    def write(text):
        config = yaml.safe_load(BASE)
        for name, section in yaml.safe_load(text).items():
            whole = not isinstance(section, dict) or "kind" in section
            config[name] = section if whole else {**config[name], **section}
        write_structures(tmp_path / "molecules.xyz", rattled(water, 8, stdev=0.05))
        (tmp_path / "small.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
        return tmp_path / "small.yaml"

    return write


def test_every_group_of_entry_points_has_a_section_and_a_row_of_the_table():
    assert set(re.findall(r'entry-points\."sparring\.(\w+)"', TEXT)) == GROUPS
    elsewhere = {"adapters"}  # docs/foreign-potentials.md
    assert set(re.findall(r"^\| .*`sparring\.(\w+)` \|", TEXT, flags=re.MULTILINE)) == GROUPS | elsewhere
    groups = {
        group
        for file in (PAGE.parents[1] / "src" / "sparring").rglob("*.py")
        for group in re.findall(r'GROUP = "sparring\.(\w+)"', file.read_text(encoding="utf-8"))
    }
    assert groups == GROUPS | elsewhere
    assert 'entry-points."sparring.adapters"' in (PAGE.parent / "foreign-potentials.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_runs():
    names = {}
    for block in USES:
        exec(compile(block, str(PAGE), "exec"), names)  # the page is ours
    assert len(names["chosen"].indices) == 1
    assert names["report"].labels[0].method == "springs of 5.0 eV/Å²"
    assert names["careful"].n_lost == 1
    assert [one.method for one in names["labelled"].labels] == ["emt {}", "emt {}"]


@pytest.mark.parametrize("block", YAML, ids=lambda block: block.partition(":")[0])
def test_a_run_with_the_yaml_of_the_page_finishes(block, small_run, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "report", lambda folder: None)
    running.run(load(small_run(block)), tmp_path / "run")
    assert read_metrics(tmp_path / "run" / "generation-02")


def test_the_yaml_of_the_table_is_read(small_run):
    rows = re.findall(r"^\| \[.*\| `(\w+: .*)` \|$", TEXT, flags=re.MULTILINE)
    assert len(rows) == len(GROUPS) - 1
    for row in rows:
        load(small_run(row))
    with pytest.raises(ConfigError, match="unknown adapter 'my_network'"):  # whose package is not on this page
        load(small_run("committee: {kind: foreign, adapter: my_network, models: [a.pt, b.pt]}\ntraining: {kind: none}"))


def test_the_validation_of_the_page_is_a_verb_that_writes_a_result(finished_well, tmp_path, sparring):
    run = shutil.copytree(finished_well, tmp_path / "well")
    assert registry.find("spread").title == "Spread of energies"
    answer = sparring("validate", "spread", run / "generation-01")
    assert answer.exit_code == 0, answer.err
    assert (run / "generation-01" / "validation" / "spread.json").is_file()


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ({"name": "lowst"}, r"unknown selector 'lowst', did you mean 'lowest'\?"),
        ({"name": "lowest"}, r"selector 'lowest' does not accept parameters \{\}"),
    ],
)
def test_a_selector_that_cannot_be_made_is_an_error_before_a_run_begins(selector, message, small_run, tmp_path):
    config = load(small_run(yaml.safe_dump({"selection": [{"kind": "plugin", **selector}]})))
    with pytest.raises(ValueError, match=message):
        running.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_parameters_of_a_selector_name_no_program(small_run):
    with pytest.raises(ConfigError, match="names a program"):
        load(small_run("selection: [{kind: plugin, name: lowest, parameters: {command: rm}}]"))
