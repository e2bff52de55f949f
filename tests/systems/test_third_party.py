"""A system from a package of its own: one file and an entry point, and it has all that built-in systems have."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sparring.config import ConfigError, difference, dump, load
from sparring.reporting.overview import overview
from sparring.reporting.reading import read_run
from sparring.reporting.tables import generation_table
from sparring.runs.folder import read_metrics
from sparring.runs.manifests import read_run_manifest, write_run_manifest
from sparring.systems.registry import plugin

HERE = Path(__file__).parent
PACKAGE = HERE / "third_party"
SMALL = """
generations: 2
system: {kind: plugin, name: dimer, parameters: {element: N, n_structures: 10}}
labels: {labeller: {kind: ase, name: emt}, n_workers: 1}
committee:
  n_members: 2
  potential: {kind: schnet, n_features: 8, n_filters: 8, n_interactions: 1, n_gaussians: 4, cutoff: 3 Å}
training: {n_epochs: 3, learning_rate: 1e-3}
attack: {n_seeds: 4, seeds: random, n_steps: 3, initial_spread: 0.05 Å}
selection: [{kind: budget, n: 3}]
"""


@pytest.fixture
def installed(monkeypatch):
    """The package, found by its metadata as pip would have left them."""
    monkeypatch.syspath_prepend(str(PACKAGE))


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "dimer.yaml"
    file.write_text(SMALL, encoding="utf-8")
    return file


@pytest.fixture
def run(config, processes):
    """`sparring run` in a process that may kill itself; gives the exit code."""

    def call(folder, death=None):
        return processes("run", config, "--folder", folder, output=f"{folder}.txt", death=death)

    return call


@pytest.mark.usefixtures("installed")
def test_a_system_of_another_package_is_run_killed_resumed_and_shown(run, tmp_path, sparring):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(broken, death={"file": "generation-01/paths.npz"}) == -9
    assert run(broken) == run(whole) == 0
    for name in ("dataset.extxyz", "committee.safetensors"):
        assert (broken / "generation-02" / name).read_bytes() == (whole / "generation-02" / name).read_bytes()
    errors = [read_metrics(broken / f"generation-0{number}")["system"]["stretched_error"] for number in (1, 2)]
    status = sparring("status", broken)
    assert status.exit_code == 0, status.err
    assert "stretched" in status.out
    shown = read_run(broken)
    table = generation_table(shown)
    column = [row[table.headings.index("stretched\n(kcal/mol)")] for row in table.cells()]
    assert column == [f"{error / shown.unit.size:+.2f}" for error in errors]
    assert "Stretched bond" in [ax.get_title("left") for ax in overview(shown).axes]


@pytest.mark.usefixtures("installed")
def test_its_section_is_checked_dumped_and_compared_like_any_other(config, tmp_path, sparring):
    answer = sparring("check", config)
    assert answer.exit_code == 0, answer.err
    assert "about 10 labels to begin with" in answer.out
    again = tmp_path / "again.yaml"
    again.write_text(dump(load(config)), encoding="utf-8")
    assert load(again) == load(config)
    other = load(config, overrides={"system.parameters": {"element": "O"}})
    assert difference(load(config), other)


def test_a_run_is_still_reported_where_the_package_is_not_installed(finished_well, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished_well, folder)
    manifest = read_run_manifest(folder)
    config = manifest.config.replace("kind: double_well_1d", "kind: plugin\n  name: gone")
    write_run_manifest(folder, replace(manifest, config=config))
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    assert read_run(folder).kind == "plugin"
    assert generation_table(read_run(folder)).rows


def test_an_unknown_system_is_named_with_its_nearest(installed):
    with pytest.raises(ValueError, match=r"unknown system 'dimmer', did you mean 'dimer'\?"):
        plugin("dimmer")


def test_parameters_that_are_programs_are_refused(config):
    config.write_text(SMALL.replace("element: N", "command: touch x"), encoding="utf-8")
    with pytest.raises(ConfigError, match="command"):
        load(config)
