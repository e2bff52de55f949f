"""The study of the double well: many loops at once must be what one loop alone would be."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.potentials.stacking import unstack
from sparring.systems.wells import DoubleWell2D
from sparring.training.fitting import fit
from sparring.training.splits import Splits
from sparring.uncertainty import force_variance

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small():
    """A protocol of which a whole loop takes a second."""
    from studies.double_well.protocol import Protocol

    return Protocol(
        n_members=3,
        n_units=8,
        n_layers=2,
        n_generations=3,
        n_epochs=15,
        attack_steps=10,
        attack_rate=0.05,
        dynamics_steps=20,
        budget=6,
    )


@pytest.fixture
def trained(small):
    """Two loops about to be attacked: protocol, loops, weights."""
    from studies.double_well.loops import start_loop, train_committees

    loops = [start_loop(small, number, "adversarial") for number in (0, 1)]
    return small, loops, train_committees(small, loops)


def dataset_of(protocol, loop):
    return Dataset.from_atoms(DoubleWell2D().starting_data(seed=loop, n_points=1600)[: 40 + 7 * loop])


def weights_of(committee):
    return torch.stack([torch.cat([p.flatten() for p in member.parameters()]) for member in committee.members])


def test_networks_trained_side_by_side_have_the_weights_that_fit_gives_each_committee(small):
    from studies.double_well.training import TrainingJob, train

    choices = {"n_epochs": 12, "batch_size": 10, "learning_rate": 3e-3, "energy_weight": 0.7, "dtype": torch.float64}
    jobs, wanted = [], []
    for loop in range(3):  # training sets of three sizes, with different numbers of minibatches
        dataset = dataset_of(small, loop)
        splits = Splits.draw(len(dataset), n_members=2, seed=loop, shared=True)
        for member in range(2):
            sets = (list(ids[member]) for ids in (splits.train, splits.validation))
            labels = [
                (dataset.structures.positions[ids, :2], dataset.energy[ids], dataset.forces[ids, :2]) for ids in sets
            ]
            jobs.append(TrainingJob(loop, member, *labels))
        committee, _ = fit(small.network, dataset, splits=splits, seed=loop, patience=None, **choices)
        wanted.append(weights_of(committee))
    learnt = train(small.network, jobs, force_weight=1.0, **choices)
    torch.testing.assert_close(learnt, torch.cat(wanted), rtol=0, atol=1e-9)


def test_a_network_that_diverges_keeps_its_best_weights_and_one_that_never_was_finite_is_an_error(small):
    from studies.double_well.training import TrainingJob, train

    dataset = dataset_of(small, 0)
    labels = dataset.structures.positions[:, :2], dataset.energy, dataset.forces[:, :2]
    choices = {"n_epochs": 30, "batch_size": 40, "energy_weight": 1.0, "force_weight": 1.0}
    learnt = train(small.network, [TrainingJob(0, 0, labels, labels)], learning_rate=1e3, **choices)
    assert torch.isfinite(learnt).all()
    nothing = (*labels[:2], labels[2] * torch.nan)
    with pytest.raises(RuntimeError, match="never had a finite loss; lower learning_rate"):
        train(small.network, [TrainingJob(0, 0, labels, nothing)], learning_rate=1e-3, **choices)


def test_a_stacked_committee_predicts_for_each_loop_what_its_own_committee_predicts(trained):
    from studies.double_well.proposers import stack_points, stacked_committee
    from studies.double_well.training import layers_of

    protocol, loops, weights = trained
    structures, places = stack_points([loops[0].points[:9], loops[1].points[:5]])
    stacked = stacked_committee(protocol, weights).predict(structures)
    network = protocol.network
    for row, place in enumerate(places):
        layers = layers_of(weights[row], network)
        names = [name for name, _ in network.named_parameters()]
        values = [v for pair in zip(layers.weights, [b.squeeze(1) for b in layers.biases], strict=True) for v in pair]
        alone = Committee(unstack(network, dict(zip(names, values, strict=True))))
        of_loop = structures.take(range(place.start, place.stop))
        single = alone.predict(of_loop)
        np.testing.assert_allclose(stacked.energy[:, place].detach(), single.energy.detach(), rtol=0, atol=1e-5)
        np.testing.assert_allclose(stacked.forces[:, place].detach(), single.forces.detach(), rtol=0, atol=1e-5)


def test_loops_do_not_notice_one_another(small):
    from studies.double_well.loops import run_loops

    alone = run_loops(small, [1], ["random", "md", "adversarial"])
    among = run_loops(small, [0, 1, 2], ["adversarial", "random", "md"])
    for one in alone:
        (same,) = (loop for loop in among if loop[:2] == one[:2])
        assert [g["n_labels"] for g in same.record] == [g["n_labels"] for g in one.record]
        np.testing.assert_allclose(same.points, one.points, rtol=0, atol=1e-4)
        np.testing.assert_allclose([g["rmse"] for g in same.record], [g["rmse"] for g in one.record], rtol=1e-3)


def test_strategies_of_a_loop_begin_with_the_same_points_and_the_same_committee(small):
    from studies.double_well.loops import run_loops

    loops = run_loops(replace(small, n_generations=2), [4, 5], ["adversarial", "random", "md"])
    for number in (4, 5):
        mine = [loop for loop in loops if loop.number == number]
        assert len({loop.record[0]["rmse"] for loop in mine}) == 1
        assert len({loop.record[1]["rmse"] for loop in mine}) == 3
        for loop in mine:
            np.testing.assert_array_equal(loop.points[:59], mine[0].points[:59])
            assert (DoubleWell2D().energies(loop.points[:59]) < -2).all()
            assert loop.splits.test[:12] == mine[0].splits.test[:12]


def test_points_of_each_strategy_are_uncertain_distinct_and_within_the_budget(trained):
    from studies.double_well.loops import add_labels
    from studies.double_well.proposers import STRATEGIES, stacked_committee, structures_of

    protocol, loops, weights = trained
    committee = stacked_committee(protocol, weights)
    for find in STRATEGIES.values():
        for loop, found, row in zip(
            loops, find(protocol, committee, loops, [1e-6, 1e-6]), weights.unsqueeze(1), strict=True
        ):
            later = add_labels(protocol, loop, {"rmse": 1.0}, float(np.nanmedian(found.force_variance)), found)
            new = later.points[len(loop.points) :]
            assert 0 < len(new) <= protocol.budget
            assert later.record[0]["n_labels" if "n_labels" in later.record[0] else "rmse"] == 1.0
            structures = structures_of(new)
            forces = stacked_committee(protocol, row).predict(structures, differentiable=False).forces
            variance = force_variance(forces, structures.structure_index, len(new)).numpy()
            assert (variance >= 0.999 * later.record[0]["threshold"]).all()
            distance = np.linalg.norm(new[:, None] - new[None], axis=-1)[~np.eye(len(new), dtype=bool)]
            assert distance.min(initial=1.0) > 1e-3
            assert (new[:, 2] == 0).all()
            assert later.splits.test[: len(loop.splits.test)] == loop.splits.test


def test_random_points_are_training_points_displaced_by_no_more_than_the_amplitude(trained):
    from studies.double_well.proposers import random_displacements, stacked_committee

    protocol, loops, weights = trained
    for loop, found in zip(
        loops, random_displacements(protocol, stacked_committee(protocol, weights), loops, [0.0, 0.0]), strict=True
    ):
        delta = found.points - loop.train
        assert 0.8 < np.abs(delta[:, :2]).max() <= protocol.amplitude


def test_dynamics_ends_at_the_first_uncertain_snapshot(trained):
    from studies.double_well.proposers import dynamics, force_variances, stacked_committee

    protocol, loops, weights = trained
    committee = stacked_committee(protocol, weights)
    thresholds = [float(np.median(known)) for known in force_variances(committee, [loop.train for loop in loops])]
    for found, threshold in zip(dynamics(protocol, committee, loops, thresholds), thresholds, strict=True):
        seen = found.force_variance[np.isfinite(found.force_variance)]
        assert len(seen) > 5
        assert (seen >= threshold).all()
    (found, _) = dynamics(protocol, committee, loops, [np.inf, 0.0])
    assert np.isnan(found.force_variance).all()


def test_a_study_that_was_killed_goes_on_where_it_was(small, tmp_path, capsys, monkeypatch):
    from studies.double_well import groups

    def run(folder):
        groups.run(small, folder, n_loops=2, group=1, strategies=["random", "md"])
        return [json.loads(file.read_text())["loops"] for file in sorted(folder.glob("*/random+md-*.json"))]

    unbroken = run(tmp_path / "unbroken")
    capsys.readouterr()
    train_committees, calls = groups.run_loops.__globals__["train_committees"], []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == small.n_generations + 2:  # in the second generation of the second group
            raise KeyboardInterrupt
        return train_committees(*arguments)

    monkeypatch.setitem(groups.run_loops.__globals__, "train_committees", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken")
    assert "generation 1: md" in capsys.readouterr().out
    assert run(tmp_path / "broken") == unbroken
    assert len(calls) == 2 * small.n_generations + 1
    said = capsys.readouterr().out
    assert "random+md-000-000.json: already done" in said
    assert "generation 1" not in said
    (grids,) = (tmp_path / "broken").glob("*/random+md-001-001.npz")
    assert len(np.load(grids, allow_pickle=False).files) == 2 * 2 * small.n_generations
    assert not list((tmp_path / "broken").glob("*/*.part"))


@pytest.mark.parametrize("well", ["1d", "2d"])
def test_the_report_has_medians_of_all_loops_and_the_figures(small, well, tmp_path):
    from studies.double_well.groups import run
    from studies.double_well.page import report
    from studies.double_well.results import studies

    run(
        replace(small, well=well, n_epochs=5),
        tmp_path / "runs",
        n_loops=3,
        group=2,
        strategies=["adversarial", "random"],
    )
    written = list(report(tmp_path / "runs", tmp_path / "out"))
    assert all(Path(file).exists() for file in written)
    page = (tmp_path / "out" / "double_well.md").read_text()
    (study,) = studies(tmp_path / "runs")
    record = json.loads((tmp_path / "out" / "double_well.json").read_text())[study.name]
    errors = [loop["generations"][-1]["rmse"] for loop in study.loops("random")]
    np.testing.assert_allclose(record["last_generation"]["random"]["rmse"], errors, atol=1e-4)
    assert len(errors) == 3
    strategies = record["summary"]["strategies"]
    quartiles = strategies["random"]["quartiles_by_generation"]["RMSE on the grid"][-1]
    np.testing.assert_allclose(quartiles[1], np.median(errors), atol=1e-3)
    ours = strategies["adversarial"]["quartiles_by_generation"]["RMSE on the grid"][-1][1]
    compared = record["summary"]["compared_with_adversarial"]["random"]["RMSE on the grid"]
    np.testing.assert_allclose(compared, quartiles[1] / ours, rtol=1e-2)
    assert "| random | 3 |" in page
    assert f"--n-units {small.n_units}" in page
    for name in ("curves", "loop"):
        (file,) = (tmp_path / "out").glob(f"double_well_{study.name}_{name}.*")
        assert file.stat().st_size > 10_000
        assert f"({file.name})" in page
    from studies.double_well.page import page as page_of

    assert page_of({study.name: record}, tmp_path / "out") == page  # the record has every number of the page


def test_curves_are_drawn_from_the_record_alone():
    from studies.double_well.figures import curves

    quartiles = [[1.0, 2.0, 3.0], [0.5, 1.0, 4.0]]
    curve = {"x": [1, 2], "quartiles": quartiles}
    names = ("error", "labels", "energy", "error_by_labels")
    record = {
        "summary": {"strategies": {"random": {"n_loops": 7}}},
        "curves": {"random": dict.fromkeys(names, curve)},
    }
    figure = curves(record)
    for ax in figure.axes:
        (line,) = ax.get_lines()
        np.testing.assert_array_equal(line.get_ydata(), [2.0, 1.0])
    assert figure.axes[0].get_legend().get_title().get_text() == "7 loops each"


def test_quartiles_of_a_curve_end_where_fewer_than_half_of_the_loops_have_a_value():
    from studies.double_well.results import curve

    values = np.array([[1.0, 1.0, np.nan], [3.0, np.nan, np.nan], [5.0, np.nan, 7.0]])
    assert curve(np.arange(3), values) == {"x": [0], "quartiles": [[2.0, 3.0, 4.0]]}


def test_the_committed_page_is_made_from_the_committed_record():
    from studies.double_well.page import page

    results = ROOT / "docs" / "results"
    records = json.loads((results / "double_well.json").read_text(encoding="utf-8"))
    assert page(records, results) == (results / "double_well.md").read_text(encoding="utf-8")


def test_a_report_can_keep_studies_of_another_machine_and_those_with_more_loops(small, tmp_path):
    from studies.double_well.groups import run
    from studies.double_well.page import report

    quick, ways = replace(small, n_epochs=2, n_generations=2), ["adversarial", "random"]
    for machine, first, n_loops in (("one", 0, 2), ("two", 1, 3)):
        run(quick, tmp_path / machine, n_loops=n_loops, first_loop=first, group=1, strategies=ways)
    run(replace(quick, well="1d"), tmp_path / "one", n_loops=1, group=1, strategies=ways)
    out = tmp_path / "out"

    def recorded():
        studies = json.loads((out / "double_well.json").read_text())
        return {name: one["last_generation"]["random"]["loop"] for name, one in studies.items()}

    list(report(tmp_path / "one", out))
    two_d, one_d = recorded()
    assert recorded() == {two_d: [0, 1], one_d: [0]}
    (figure,) = out.glob(f"double_well_{one_d}_loop.*")
    drawn = figure.read_bytes()
    list(report(tmp_path / "two", out, keep=True))
    assert recorded() == {two_d: [1, 2, 3], one_d: [0]}
    page = (out / "double_well.md").read_text()
    assert "3 adversarial and 3 random loops" in page
    assert f"({figure.name})" in page
    assert figure.read_bytes() == drawn
    list(report(tmp_path / "one", out, keep=True))
    assert recorded() == {two_d: [1, 2, 3], one_d: [0]}
    list(report(tmp_path / "one", out))
    assert recorded() == {two_d: [0, 1], one_d: [0]}


def test_the_error_by_labels_is_that_of_the_newest_committee():
    from studies.double_well.results import by_labels

    counts, errors = by_labels(np.array([[3, 5], [3, 6]]), np.array([[9.0, 1.0], [8.0, 2.0]]))
    np.testing.assert_array_equal(counts, [3, 4, 5, 6])
    np.testing.assert_array_equal(errors, [[9, 9, 1, np.nan], [8, 8, 8, 2]])


def test_an_empty_folder_says_how_to_fill_it(tmp_path):
    from studies.double_well.results import studies

    with pytest.raises(ValueError, match="has no finished loops; compute some: python -m"):
        studies(tmp_path)


def test_the_script_says_what_it_can_do():
    command = [sys.executable, "-m", "studies.double_well", "run", "--help"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--loops" in said
    assert "--n-units" in said
