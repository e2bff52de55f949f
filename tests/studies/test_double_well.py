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

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """Scripts of one folder import each other, as they do when they are run."""
    monkeypatch.syspath_prepend(str(STUDIES))


@pytest.fixture
def small():
    """A protocol of which a whole loop takes a second."""
    from double_well_protocol import Protocol

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
    """Two loops about to be attacked: protocol, courses, weights."""
    from double_well_loops import begin, learn

    courses = [begin(small, number, "adversarial") for number in (0, 1)]
    return small, courses, learn(small, courses)


def dataset_of(protocol, course):
    return Dataset.from_atoms(DoubleWell2D().starting_data(seed=course, n_points=1600)[: 40 + 7 * course])


def weights_of(committee):
    return torch.stack([torch.cat([p.flatten() for p in member.parameters()]) for member in committee.members])


def test_networks_of_several_loops_learn_side_by_side_what_fit_teaches_each_committee(small):
    from double_well_networks import Lesson, train

    choices = {"n_epochs": 12, "batch_size": 10, "learning_rate": 3e-3, "energy_weight": 0.7, "dtype": torch.float64}
    lessons, wanted = [], []
    for course in range(3):  # training sets of three sizes, with different numbers of minibatches
        dataset = dataset_of(small, course)
        splits = Splits.draw(len(dataset), n_members=2, seed=course, shared=True)
        for member in range(2):
            sets = (list(ids[member]) for ids in (splits.train, splits.validation))
            labels = [
                (dataset.structures.positions[ids, :2], dataset.energy[ids], dataset.forces[ids, :2]) for ids in sets
            ]
            lessons.append(Lesson(course, member, *labels))
        committee, _ = fit(small.network, dataset, splits=splits, seed=course, patience=None, **choices)
        wanted.append(weights_of(committee))
    learnt = train(small.network, lessons, force_weight=1.0, **choices)
    torch.testing.assert_close(learnt, torch.cat(wanted), rtol=0, atol=1e-9)


def test_a_network_that_diverges_keeps_its_best_weights_and_one_that_never_was_finite_is_an_error(small):
    from double_well_networks import Lesson, train

    dataset = dataset_of(small, 0)
    labels = dataset.structures.positions[:, :2], dataset.energy, dataset.forces[:, :2]
    choices = {"n_epochs": 30, "batch_size": 40, "energy_weight": 1.0, "force_weight": 1.0}
    learnt = train(small.network, [Lesson(0, 0, labels, labels)], learning_rate=1e3, **choices)
    assert torch.isfinite(learnt).all()
    nothing = (*labels[:2], labels[2] * torch.nan)
    with pytest.raises(RuntimeError, match="never had a finite loss; lower learning_rate"):
        train(small.network, [Lesson(0, 0, labels, nothing)], learning_rate=1e-3, **choices)


def test_a_crew_says_of_each_course_what_its_own_committee_says(trained):
    from double_well_networks import layers_of
    from double_well_search import crew, together

    protocol, courses, weights = trained
    structures, places = together([courses[0].points[:9], courses[1].points[:5]])
    together_said = crew(protocol, weights).predict(structures)
    network = protocol.network
    for row, place in enumerate(places):
        layers = layers_of(weights[row], network)
        names = [name for name, _ in network.named_parameters()]
        values = [v for pair in zip(layers.weights, [b.squeeze(1) for b in layers.biases], strict=True) for v in pair]
        alone = Committee(unstack(network, dict(zip(names, values, strict=True))))
        of_course = structures.take(range(place.start, place.stop))
        said = alone.predict(of_course)
        np.testing.assert_allclose(together_said.energy[:, place].detach(), said.energy.detach(), rtol=0, atol=1e-5)
        np.testing.assert_allclose(together_said.forces[:, place].detach(), said.forces.detach(), rtol=0, atol=1e-5)


def test_loops_do_not_notice_one_another(small):
    from double_well_loops import run_loops

    alone = run_loops(small, [1], ["random", "md", "adversarial"])
    among = run_loops(small, [0, 1, 2], ["adversarial", "random", "md"])
    for one in alone:
        (same,) = (course for course in among if course[:2] == one[:2])
        assert [g["n_labels"] for g in same.record] == [g["n_labels"] for g in one.record]
        np.testing.assert_allclose(same.points, one.points, rtol=0, atol=1e-4)
        np.testing.assert_allclose([g["rmse"] for g in same.record], [g["rmse"] for g in one.record], rtol=1e-3)


def test_strategies_of_a_loop_begin_with_the_same_points_and_the_same_committee(small):
    from double_well_loops import run_loops

    courses = run_loops(replace(small, n_generations=2), [4, 5], ["adversarial", "random", "md"])
    for number in (4, 5):
        mine = [course for course in courses if course.number == number]
        assert len({course.record[0]["rmse"] for course in mine}) == 1
        assert len({course.record[1]["rmse"] for course in mine}) == 3
        for course in mine:
            np.testing.assert_array_equal(course.points[:59], mine[0].points[:59])
            assert (DoubleWell2D().energies(course.points[:59]) < -2).all()
            assert course.splits.test[:12] == mine[0].splits.test[:12]


def test_what_a_strategy_finds_is_uncertain_distinct_and_within_the_budget(trained):
    from double_well_loops import extend
    from double_well_search import STRATEGIES, crew, structures_of

    protocol, courses, weights = trained
    team = crew(protocol, weights)
    for find in STRATEGIES.values():
        for course, found, row in zip(
            courses, find(protocol, team, courses, [1e-6, 1e-6]), weights.unsqueeze(1), strict=True
        ):
            later = extend(protocol, course, {"rmse": 1.0}, float(np.nanmedian(found.force_variance)), found)
            new = later.points[len(course.points) :]
            assert 0 < len(new) <= protocol.budget
            assert later.record[0]["n_labels" if "n_labels" in later.record[0] else "rmse"] == 1.0
            structures = structures_of(new)
            forces = crew(protocol, row).predict(structures, differentiable=False).forces
            variance = force_variance(forces, structures.structure_index, len(new)).numpy()
            assert (variance >= 0.999 * later.record[0]["threshold"]).all()
            distance = np.linalg.norm(new[:, None] - new[None], axis=-1)[~np.eye(len(new), dtype=bool)]
            assert distance.min(initial=1.0) > 1e-3
            assert (new[:, 2] == 0).all()
            assert later.splits.test[: len(course.splits.test)] == course.splits.test


def test_random_points_are_training_points_displaced_by_no_more_than_the_amplitude(trained):
    from double_well_search import by_chance, crew

    protocol, courses, weights = trained
    for course, found in zip(courses, by_chance(protocol, crew(protocol, weights), courses, [0.0, 0.0]), strict=True):
        delta = found.points - course.train
        assert 0.8 < np.abs(delta[:, :2]).max() <= protocol.amplitude


def test_dynamics_ends_where_the_committee_knows_no_more(trained):
    from double_well_search import by_dynamics, crew, survey

    protocol, courses, weights = trained
    team = crew(protocol, weights)
    thresholds = [float(np.median(known)) for known in survey(team, [course.train for course in courses])]
    for found, threshold in zip(by_dynamics(protocol, team, courses, thresholds), thresholds, strict=True):
        seen = found.force_variance[np.isfinite(found.force_variance)]
        assert len(seen) > 5
        assert (seen >= threshold).all()
    (found, _) = by_dynamics(protocol, team, courses, [np.inf, 0.0])
    assert np.isnan(found.force_variance).all()


def test_a_study_that_was_killed_goes_on_where_it_was(small, tmp_path, capsys, monkeypatch):
    import double_well

    def run(folder):
        double_well.run(small, folder, n_loops=2, group=1, strategies=["random", "md"])
        return [json.loads(file.read_text())["loops"] for file in sorted(folder.glob("*/random+md-*.json"))]

    unbroken = run(tmp_path / "unbroken")
    capsys.readouterr()
    learn, calls = double_well.run_loops.__globals__["learn"], []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == small.n_generations + 2:  # in the second generation of the second group
            raise KeyboardInterrupt
        return learn(*arguments)

    monkeypatch.setitem(double_well.run_loops.__globals__, "learn", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken")
    assert "generation 1: md" in capsys.readouterr().out
    assert run(tmp_path / "broken") == unbroken
    assert len(calls) == 2 * small.n_generations + 1
    said = capsys.readouterr().out
    assert "random+md-000-000.json: done before" in said
    assert "generation 1" not in said
    (grids,) = (tmp_path / "broken").glob("*/random+md-001-001.npz")
    assert len(np.load(grids, allow_pickle=False).files) == 2 * 2 * small.n_generations
    assert not list((tmp_path / "broken").glob("*/*.part"))


@pytest.mark.parametrize("well", ["1d", "2d"])
def test_the_report_has_medians_of_all_loops_and_the_figures(small, well, tmp_path):
    from double_well import run
    from double_well_page import report
    from double_well_report import studies

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
    errors = [one["generations"][-1]["rmse"] for one in record["loops"] if one["strategy"] == "random"]
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
        assert (tmp_path / "out" / f"double_well_{study.name}_{name}.png").stat().st_size > 10_000


def test_a_report_keeps_the_loops_of_another_machine_if_it_is_told_to(small, tmp_path):
    from double_well import run
    from double_well_page import report

    quick, ways = replace(small, n_epochs=2, n_generations=2), ["adversarial", "random"]
    for machine, first, n_loops in (("one", 0, 2), ("two", 1, 2)):
        run(quick, tmp_path / machine, n_loops=n_loops, first_loop=first, group=1, strategies=ways)
    run(replace(quick, well="1d"), tmp_path / "one", n_loops=1, group=1, strategies=ways)
    out = tmp_path / "out"

    def recorded():
        studies = json.loads((out / "double_well.json").read_text())
        return {name: [(loop["strategy"], loop["loop"]) for loop in one["loops"]] for name, one in studies.items()}

    list(report(tmp_path / "one", out))
    (two_d, one_d), before = recorded(), recorded()
    drawn = (out / f"double_well_{one_d}_loop.svg").read_bytes()
    list(report(tmp_path / "two", out, keep=True))
    assert recorded() == {two_d: [(way, number) for way in ways for number in (0, 1, 2)], one_d: before[one_d]}
    assert "3 adversarial and 3 random loops" in (out / "double_well.md").read_text()
    assert (out / f"double_well_{one_d}_loop.svg").read_bytes() == drawn
    list(report(tmp_path / "two", out))
    assert recorded() == {two_d: [(way, number) for way in ways for number in (1, 2)]}


def test_the_error_by_labels_is_that_of_the_newest_committee():
    from double_well_figures import by_labels

    counts, errors = by_labels(np.array([[3, 5], [3, 6]]), np.array([[9.0, 1.0], [8.0, 2.0]]))
    np.testing.assert_array_equal(counts, [3, 4, 5, 6])
    np.testing.assert_array_equal(errors, [[9, 9, 1, np.nan], [8, 8, 8, 2]])


def test_an_empty_folder_says_how_to_fill_it(tmp_path):
    from double_well_report import studies

    with pytest.raises(ValueError, match="holds no finished loops; compute some"):
        studies(tmp_path)


def test_the_script_says_what_it_can_do():
    command = [sys.executable, str(STUDIES / "double_well.py"), "run", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--loops" in said
    assert "--n-units" in said
