from dataclasses import replace

import pytest
from ase.build import molecule

from sparring.config import load
from studies.committees.data import labels
from studies.common.jobs import run_all
from studies.survival import data, plan, report
from studies.survival.__main__ import main


@pytest.fixture
def small(monkeypatch, rattled):
    """The study on ethanol with small networks, and displaced structures instead of dynamics."""
    ethanol = replace(
        data.MOLECULES["ethanol"],
        snapshots=lambda temperature, n, seed: labels(rattled(molecule("CH3CH2OH"), n, seed=seed)),
    )
    for module in (data, plan, report):
        monkeypatch.setattr(module, "MOLECULES", {"ethanol": ethanol})
    monkeypatch.setattr(data, "N", {data.START: 12, data.HOT: 8, data.TEST: 4})
    monkeypatch.setattr(data, "POINTS", 3)
    for name, value in {"N_COPIES": 2, "DURATION": 4.0, "TEMPERATURES": (300.0,)}.items():
        monkeypatch.setattr(plan, name, value)
    monkeypatch.setattr(report, "TEMPERATURES", (300.0,))
    tiny = {"committee.n_members": 2, "committee.potential.n_features": 2, "training.n_epochs": 1}
    tiny["training.second_stage"] = None
    others = {key: value for key, value in plan.BASE.items() if not key.startswith("training")}
    monkeypatch.setattr(plan, "BASE", {**others, **tiny})
    attack = {"kind": "adversarial", "n_seeds": 2, "seeds": "random", "n_steps": 2, "objective": "force_variance"}
    strategies = {
        "attacks": replace(plan.STRATEGIES["attacks"], changes={"attack": attack, "generations": 2}),
        "hot-dynamics": replace(plan.STRATEGIES["hot-dynamics"], n_hot=5),
    }
    for module in (plan, report):
        monkeypatch.setattr(module, "STRATEGIES", strategies)


@pytest.mark.slow
def test_every_run_is_tested_once_and_has_a_row_in_the_page(small, tmp_path):
    jobs = plan.jobs(tmp_path, [0], ["ethanol"], list(plan.STRATEGIES))
    assert run_all(jobs, tmp_path / "claims") == 0
    assert all(job.done() for job in jobs)
    attacks, hot = plan.known(tmp_path)
    assert (attacks.strategy, attacks.n_labels[0]) == ("attacks", 2)
    assert (hot.strategy, hot.n_labels) == ("hot-dynamics", (5, 0))
    assert set(attacks.survivors) == {"300"}
    assert 0 <= attacks.survivors["300"] <= 2
    assert main(["report", "--folder", str(tmp_path), "--output", str(tmp_path / "docs")]) == 0
    page = (tmp_path / "docs" / "survival.md").read_text(encoding="utf-8")
    assert "| attacks on atoms (Eq. 13) | 2 |" in page
    assert "| dynamics at 500 K under the labels | 5 |" in page


@pytest.mark.parametrize("strategy", plan.STRATEGIES)
def test_every_strategy_is_a_configuration_of_the_example(strategy, tmp_path, rattled):
    (tmp_path / "data").mkdir()
    for part in (data.START, data.HOT):
        data.write_structures(tmp_path / "data" / f"ethanol-{part}.extxyz", labels(rattled(molecule("CH3CH2OH"), 3)))
    config = plan.config_of(tmp_path, "ethanol", strategy, 7)
    assert config.seed == 7
    example = load(plan.EXAMPLE)
    if strategy == "portfolio":
        assert [one.n_seeds for one in config.propose] == [2 * one.n_seeds for one in example.propose]
        assert [one.objective for one in config.propose[:1]] == [one.objective for one in example.propose[:1]]
    assert config.committee == load(plan.EXAMPLE, None, {"committee.n_members": 4}).committee
