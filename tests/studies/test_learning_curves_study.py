import dataclasses
from functools import partial

import pytest

from sparring.potentials import ACE, SchNet
from studies.common.jobs import run_all
from studies.learning_curves import data, plan, report
from studies.learning_curves.__main__ import main


@pytest.fixture
def small(monkeypatch, rattled, ammonia, with_random_labels):
    """The study with one molecule, two small networks and few steps."""
    frames = with_random_labels(rattled(ammonia, 30)).to_atoms()
    networks = {
        "ACE 16": partial(ACE, n_features=2, n_radial=3, cutoff=3.0),
        "SchNet 128": partial(SchNet, n_features=4, n_filters=4, n_interactions=1, n_gaussians=4, cutoff=3.0),
    }
    monkeypatch.setattr(data, "N_TRAIN", 20)
    for module in (plan, report):
        monkeypatch.setattr(module, "MOLECULES", {"ammonia": lambda: frames})
        for name, value in {"SIZES": (10,), "TABLE_SIZE": 10, "TABLE": ()}.items():
            monkeypatch.setattr(module, name, value)
    for name, value in {"NETWORKS": networks, "N_STEPS": 6, "N_SEEDS": 2, "N_ATTACK_STEPS": 1}.items():
        monkeypatch.setattr(plan, name, value)


def test_every_committee_is_trained_once_and_has_a_place_in_the_page(small, tmp_path):
    jobs = plan.jobs(tmp_path, [1, 2])
    assert run_all(jobs, tmp_path / "claims") == 0
    assert all(job.done() for job in jobs)
    found = list(plan.known(tmp_path))
    assert {(one.network, one.n, one.seed) for one in found} == {
        (network, 10, seed) for network in ("ACE 16", "SchNet 128") for seed in (1, 2)
    }
    assert "learning_curves.svg" in report.write_report(found, tmp_path / "docs")
    page = (tmp_path / "docs" / "learning_curves.md").read_text(encoding="utf-8")
    mean = sum(one.force_mae for one in found if one.network == "ACE 16") / 2
    assert f"{1000 * mean:.1f} ±" in page
    assert main(["report", "--folder", str(tmp_path), "--output", str(tmp_path / "again")]) == 0


def test_members_validate_on_different_fifths_and_test_structures_are_elsewhere():
    splits = plan.members_of(50, seed=3)
    assert len(set(splits.validation)) == plan.N_MEMBERS
    assert all(len(one) == 10 for one in splits.validation)
    assert splits.test == ()


def test_a_report_needs_results():
    with pytest.raises(ValueError, match=r"nothing has been computed yet: python -m studies\.learning_curves run"):
        report.write_report([], None)


def test_the_same_committee_has_the_same_errors(small, tmp_path):
    file = tmp_path / "labels.extxyz"
    data.write(file, plan.MOLECULES["ammonia"])
    one, again = (plan.measured(file, "ammonia", "ACE 16", "two stages", 10, 1) for _ in range(2))
    same = {"training_seconds": 0.0, "step_seconds": 0.0}
    assert dataclasses.replace(one, **same) == dataclasses.replace(again, **same)
