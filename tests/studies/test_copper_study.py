"""The study of copper, with small networks and few structures."""

from dataclasses import replace

import numpy as np
import pytest

from sparring.config import load
from studies.common.jobs import run_all
from studies.copper import data, plan, report
from studies.copper.__main__ import main


@pytest.fixture
def small(monkeypatch):
    """The study with tiny networks, two strategies and short dynamics."""
    for name, value in {"N_FRAMES": 4, "EQUILIBRATION": 2, "EVERY": 1}.items():
        monkeypatch.setattr(data, name, value)
    for module in (plan, report):
        monkeypatch.setattr(module, "N_LABELS", 4)
    tiny = {"committee.n_members": 2, "committee.potential.n_features": 2, "committee.potential.cutoff": 3.0}
    tiny |= {"training.n_epochs": 1, "training.second_stage": None}
    tiny |= {f"evaluation.{key}": None for key in ("survival", "elastic", "equation_of_state")}
    monkeypatch.setattr(plan, "BASE", {**plan.BASE, **tiny})
    strategies = {}
    for name in (plan.START, "random"):
        changes = dict(plan.STRATEGIES[name].changes)
        fewer = {"n_seeds": 4} if name == "random" else {"n_seeds": 4, "n_steps": 1}
        strategies[name] = replace(plan.STRATEGIES[name], changes={**changes, "attack": {**changes["attack"], **fewer}})
    for module in (plan, report):
        monkeypatch.setattr(module, "STRATEGIES", strategies)
    # A committee that has hardly been trained has no minimum.
    monkeypatch.setattr(plan, "lattice", lambda committee: ((1.1, 0.7, 0.5), (1.0, 0.7, 0.5), 0.01))


def test_every_run_is_tested_once_and_has_a_row_in_the_page(small, tmp_path):
    jobs = plan.jobs(tmp_path, [0], list(plan.STRATEGIES))
    assert run_all(jobs, tmp_path / "claims") == 0
    assert all(job.done() for job in jobs)
    outcomes = list(plan.known(tmp_path))
    assert [(one.strategy, one.generation) for one in outcomes] == [
        (name, number) for name in plan.STRATEGIES for number in (1, 2, 3)
    ]
    first, other = (outcomes[index].force_rmse for index in (0, 3))
    assert first == other  # all strategies start from one committee
    assert [sum(one.n_labels) for one in outcomes[:3]] == [0, 2, 4]
    assert report.elastic_error(outcomes[0]) == pytest.approx(0.1 / np.sqrt(3))
    assert main(["report", "--folder", str(tmp_path), "--output", str(tmp_path / "docs")]) == 0
    page = (tmp_path / "docs" / "copper.md").read_text(encoding="utf-8")
    assert "| the start | 0 |" in page
    assert "| random displacements and strain | " in page


@pytest.mark.parametrize("strategy", plan.STRATEGIES)
def test_every_strategy_is_the_example_but_for_its_way_to_find_structures(strategy, tmp_path):
    config, example = plan.config_of(tmp_path, strategy, 7), load(plan.EXAMPLE)
    assert (config.seed, config.generations) == (7, 3)
    assert (config.committee, config.training, config.system) == (example.committee, example.training, example.system)
    assert config.selection[-1].n == plan.N_LABELS // plan.N_ROUNDS


def test_the_liquid_is_molten_and_the_surfaces_are_others_than_those_of_the_start(monkeypatch):
    monkeypatch.setattr(data, "N_FRAMES", 2)
    for atoms in data.SETS["liquid"]():
        distances = np.sort(atoms.get_all_distances(mic=True), axis=1)[:, 1:13]
        assert distances.std() > 0.3  # the twelve neighbours of a crystal are at one distance
    assert {len(atoms) for atoms in data.SETS["surfaces"]()} == {17}
    assert all(atoms.pbc.tolist() == [True, True, False] for atoms in data.SETS["surfaces"]())
