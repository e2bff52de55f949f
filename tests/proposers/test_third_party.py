"""A proposer in a package of its own: one file and an entry point."""

import importlib
import json

import numpy as np
import pytest

from sparring.assembly.planning import plan
from sparring.candidates import Candidates
from sparring.commands import running
from sparring.commands.running import check, run
from sparring.config import ConfigError, load
from sparring.inputs.extxyz import read_labelled, read_structures
from sparring.plots.style import source_style
from sparring.proposers import registry
from sparring.proposers.base import Proposer, predicted, propose
from sparring.reporting import report
from sparring.runs import loop
from sparring.runs.folder import RunFolder, read_metrics

PACKAGE = '''
"""Shakes seeds by one length, several times."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from sparring.proposers.base import predicted


@dataclass(frozen=True, kw_only=True)
class Shaker:
    length: float
    n_per_seed: int = 2
    style: ClassVar = ("#aa4499", "X", "shaken by hand")

    def attackable(self, atoms):
        return atoms.positions[0, 0] < 0.0

    def __call__(self, committee, seeds, seed):
        origin = torch.arange(seeds.n_structures).repeat(self.n_per_seed)
        shaken = seeds.take(origin)
        draw = torch.rand(shaken.n_atoms, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        step = torch.zeros(shaken.n_atoms, 3, dtype=torch.float64)
        step[:, 0] = self.length * draw.to(step)
        return predicted(committee, shaken.with_positions(shaken.positions + step), origin=origin.numpy())
'''
ATTACK = {
    "kind": "plugin",
    "name": "shaker",
    "parameters": {"length": 0.4},
    "n_seeds": 5,
    "seeds": "random",
}


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    """The package as an installer leaves it."""
    place = tmp_path / "site"
    (place / "shaker-1.0.dist-info").mkdir(parents=True)
    (place / "shaker_package.py").write_text(PACKAGE, encoding="utf-8")
    (place / "shaker-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: shaker\nVersion: 1.0\n")
    (place / "shaker-1.0.dist-info" / "entry_points.txt").write_text(
        "[sparring.proposers]\nshaker = shaker_package:Shaker\nattack = shaker_package:Shaker\n"
    )
    monkeypatch.syspath_prepend(place)
    importlib.invalidate_caches()


@pytest.fixture
def config(well_file):
    return load(well_file({"generations": 2, "attack": ATTACK}))


def test_it_is_configured_run_killed_resumed_and_shown_with_its_colour_and_words(config, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with monkeypatch.context() as patch:
        patch.setattr(running, "report", lambda folder: None)
        run(config, whole)

        def stopped(generation, stage, compute):
            if stage == "select":
                raise KeyboardInterrupt
            return folder.cached(generation, stage, compute)

        with RunFolder(broken, config) as folder, pytest.raises(KeyboardInterrupt):
            loop.run(plan(config, broken), stopped)
        run(config, broken)
    for name in ("generation-01/attacks.extxyz", "generation-01/paths.npz", "generation-02/committee.safetensors"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes()
    data = read_labelled(whole / "generation-02" / "dataset.extxyz", allow_dummy=True)
    found = [atoms for atoms in data if atoms.info["generation"] == 2]
    assert {atoms.info["source"] for atoms in found} == {"shaker"}
    candidates = read_structures(whole / "generation-01" / "attacks.extxyz", allow_dummy=True)
    assert len(candidates) == read_metrics(whole / "generation-01")["attack"]["n_seeds"] == 10
    for atoms in candidates:
        parent = data[atoms.info["seed"]]
        assert parent.positions[0, 0] < 0  # the proposer says which structures can be seeds
        assert 0 <= atoms.positions[0, 0] - parent.positions[0, 0] <= 0.4 + 1e-6
    page = report(whole).read_text(encoding="utf-8")
    assert "shaken by hand, generation 1" in page
    assert json.dumps("#aa4499") in page


def test_an_estimate_counts_the_candidates_of_each_seed(well_file):
    assert check(load(well_file({"generations": 2, "attack": ATTACK, "selection": []}))).n_labels == 10


def test_colours_and_words_come_with_the_package_and_others_are_neutral():
    assert source_style("shaker") == ("#aa4499", "X", "shaken by hand")
    assert source_style("attack") == ("#882255", "o", "attack")
    assert source_style("of_nobody").words == "of nobody"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "shakr"}, "unknown proposer 'shakr', did you mean 'shaker'"),
        ({"name": "attack"}, "the name 'attack' is taken"),
        ({"parameters": {"size": 1}}, "proposer 'shaker' does not take the parameters {'size': 1}"),
    ],
)
def test_a_plugin_that_cannot_be_made_is_an_error_before_a_run_begins(changes, message, well_file, tmp_path):
    config = load(well_file({"generations": 2, "attack": {**ATTACK, **changes}}))
    with pytest.raises(ValueError, match=message):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_parameters_name_no_programs(well_file):
    with pytest.raises(ConfigError, match="names a program"):
        well_file({"attack": {**ATTACK, "parameters": {"command": "rm"}}})


def test_what_a_proposer_returns_is_checked(committee, ammonia, rattled):
    from sparring.atoms.structures import Structures

    seeds, members = Structures.from_atoms(rattled(ammonia, 2)), committee()
    good = predicted(members, seeds)
    assert propose(lambda committee, seeds, seed: good, members, seeds, 0) is good
    assert isinstance(registry.plugin("shaker", {"length": 1.0}), Proposer)
    wrong = {
        "returns Candidates, got list": [],
        "2 candidates of 1 seeds need `origin`": good,
        "wanted one value for each": good._replace(score=np.zeros(3), origin=np.array([0, 0])),
        "indices below 1": good._replace(origin=np.array([0, 1])),
    }
    for message, result in wrong.items():
        with pytest.raises(ValueError, match=message):
            propose(lambda committee, seeds, seed, result=result: result, members, seeds.take([0]), 0)
    far = seeds.with_positions(seeds.positions / 0.0)
    assert isinstance(good, Candidates)
    with pytest.raises(ValueError, match="must be finite"):
        propose(lambda committee, seeds, seed: good._replace(structures=far), members, seeds, 0)
