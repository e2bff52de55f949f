from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from sparring.committee import Committee
from sparring.potentials import ACE, SchNet
from studies.committees import data, plan, report, weak
from studies.committees.__main__ import main
from studies.common.jobs import run_all
from studies.learning_curves.data import labelled


def labels(frames):
    """Springs of all coordinates to the origin."""
    return [labelled(atoms, 0.5 * (atoms.positions**2).sum(), -atoms.positions) for atoms in frames]


@pytest.fixture
def small(monkeypatch, rattled, ammonia):
    """The study with small networks, few structures and labels by springs."""
    networks = {
        "SchNet 64": partial(SchNet, n_features=4, n_filters=4, n_interactions=1, n_gaussians=4, cutoff=3.0),
        "ACE 16": partial(ACE, n_features=2, n_radial=3, cutoff=3.0),
    }
    sets = {name: partial(lambda n: labels(rattled(ammonia, n)), n) for name, n in (("300 K", 16), ("500 K", 5))}
    monkeypatch.setattr(data, "N_TRAIN", 12)
    for module in (plan, report):
        monkeypatch.setattr(module, "SETS", sets)
    for module in (plan, weak):
        monkeypatch.setattr(module, "labels", labels)
        monkeypatch.setattr(module, "N_STEPS", 3)
    for name, value in {
        "NETWORKS": networks,
        "N_LABELS": 12,
        "N_MEMBERS": 2,
        "N_SEEDS": 3,
        "N_ATTACK_STEPS": 1,
    }.items():
        monkeypatch.setattr(plan, name, value)
    monkeypatch.setattr(plan, "WAYS", {name: plan.WAYS[name] for name in ("plain", "prior 1")})
    monkeypatch.setattr(plan, "ARMS", ((plan.BOTH, "plain"), ("ACE 16", "prior 1")))
    monkeypatch.setattr(weak, "N_FEW", 6)
    names = ("plain", "Hessian 0.01", "displaced structures")
    monkeypatch.setattr(weak, "WAYS", {name: replace(weak.WAYS[name], n=6) for name in names})


def test_every_committee_is_trained_once_and_has_a_place_in_the_page(small, tmp_path):
    jobs = [*plan.jobs(tmp_path, [1]), *weak.jobs(tmp_path, [1])]
    assert run_all(jobs, tmp_path / "claims") == 0
    assert all(job.done() for job in jobs)
    page = report.page(list(plan.known(tmp_path)), list(weak.known(tmp_path)))
    for row in ("SchNet 64 + ACE 16, plain", "ACE 16, prior 1", "Hessian 0.01", "displaced structures"):
        assert f"| {row} |" in page
    assert main(["report", "--folder", str(tmp_path), "--output", str(tmp_path / "docs")]) == 0
    assert (tmp_path / "docs" / "committees.md").read_text(encoding="utf-8") == page


def test_a_committee_that_is_right_about_its_error_has_a_ratio_of_one(schnet, ammonia, rattled):
    committee = Committee([schnet(0), schnet(1)])
    frames = labels(rattled(ammonia, 8))
    predicted = committee.predict(data.Dataset.from_atoms(frames).structures)
    mean, sigma = predicted.forces.mean(0).detach().numpy(), predicted.forces.std(0).detach().numpy()
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=mean.shape)
    for index, atoms in enumerate(frames):
        rows = slice(4 * index, 4 * index + 4)
        atoms.arrays["REF_forces"] = (mean + sigma * signs)[rows]
    agreement = plan.Agreement.of(committee, data.Dataset.from_atoms(frames))
    assert agreement.ratio == pytest.approx(1.0)
    assert agreement.rank == pytest.approx(1.0)
    assert agreement.rmse == pytest.approx(agreement.sigma)


def test_a_report_needs_results():
    with pytest.raises(ValueError, match=r"nothing has been computed yet: python -m studies\.committees run"):
        report.write_report([], [], None)
