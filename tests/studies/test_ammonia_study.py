"""The study of ammonia: what strategies share, what is found again, and what a report says of what is not there."""

import dataclasses
import importlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparring.commands import running
from sparring.committee_files import read_committee
from sparring.config import load
from sparring.inputs.extxyz import read_labelled
from sparring.surfaces.landscape import Landscape
from sparring.units import KCAL_PER_MOL
from sparring.validation.records import read_record

HERE = Path(__file__).parent
FIRST = ("committee.safetensors", "dataset.extxyz", "splits.json", "predictions.extxyz", "evaluation.json")


@pytest.fixture(autouse=True)
def no_page(monkeypatch, tiny):
    monkeypatch.setattr(running, "report", tiny.no_page)


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """The whole study, done at one go."""
    study = tiny.study(tmp_path_factory.mktemp("study") / "ammonia")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "report", tiny.no_page)
        outcome = tiny.compute(study)
    assert not outcome.failed
    assert not outcome.waiting
    return study


@pytest.fixture
def copied(tiny, finished, tmp_path):
    """A copy of it that may be changed."""
    shutil.copytree(finished.folder, tmp_path / "ammonia")
    return tiny.study(tmp_path / "ammonia")


# --- strategies -----------------------------------------------------------------------------------------------------


def test_all_strategies_begin_with_the_same_data_and_the_same_committee(finished):
    for name in FIRST:
        contents = {(finished.generation(s, 0, 1) / name).read_bytes() for s in finished.strategies}
        assert len(contents) == 1


def test_each_strategy_asks_for_its_labels_in_its_own_way(finished):
    for strategy, number, n_labels, source in (
        ("adversarial", 2, 3, "attack"),
        ("random-0.3-30", 2, 3, "random"),
        ("dynamics", 3, 4, "dynamics"),
    ):
        data = read_labelled(finished.generation(strategy, 0, number) / "dataset.extxyz")
        assert [atoms.info["source"] for atoms in data[10:]] == [source] * n_labels


def test_the_published_strategies_are_those_of_the_issue(tiny):
    study = tiny.plan.Study(folder=Path("nowhere"))
    asked = {}
    for name in study.strategies:
        config = study.config(name, 4)
        budgets = [step.n for step in config.selection if step.kind == "budget"]
        asked[name] = (config.attack.kind, min([config.attack.n_seeds * 100, *budgets]) * (config.generations - 1))
        if config.attack.kind != "dynamics" and not budgets:
            asked[name] = (config.attack.kind, config.attack.n_seeds * (config.generations - 1))
        assert config.seed == 4
    assert asked == {
        "adversarial": ("adversarial", 60),
        "ace": ("adversarial", 60),
        "paper-attacks": ("adversarial", 60),
        "paper": ("adversarial", 60),
        "random-0.1-30": ("random", 30),
        "random-0.3-30": ("random", 30),
        "random-0.3-60": ("random", 60),
        "random-0.3-100": ("random", 100),
        "dynamics": ("dynamics", 60),
    }
    assert study.config("random-0.1-30", 0).attack.space.amplitude == 0.1
    assert study.config("dynamics", 0).attack.temperature == 500.0


def test_every_committee_has_a_colour_of_its_own(tiny):
    study = tiny.plan.Study(folder=Path("nowhere"))
    committees = [(strategy, number) for strategy in study.strategies for number in study.generations(strategy)]
    colours = {tiny.figures.colour(*committee) for committee in committees}
    assert len(colours) == len(committees)


def test_a_study_of_one_strategy_knows_the_truth_that_is_the_same_for_all(tiny):
    study = tiny.plan.Study(folder=Path("nowhere"), strategies={"random-0.1-30": tiny.plan.STRATEGIES["random-0.1-30"]})
    assert study.truth.config == study.config("adversarial", 0)


def test_attacks_are_ordinary_runs_of_the_example(tiny):
    study = tiny.plan.Study(folder=Path("nowhere"))
    options = {"seed": 3, "labels.store": "labels", "labels.n_workers": 1}
    assert study.config("adversarial", 3) == load(study.base, "schnet", options)
    assert study.config("ace", 3) == load(study.base, None, options)


def test_a_run_that_was_computed_elsewhere_is_adopted_as_it_is(tiny, finished, tmp_path):
    two = {name: tiny.STRATEGIES[name] for name in ("adversarial", "random-0.3-30")}
    whole = tiny.study(tmp_path / "other", leave=("adversarial",), tasks=("run", "barrier"))
    adopted = dataclasses.replace(whole, strategies=two)
    assert not any(job.ready() for job in tiny.plan.jobs(adopted) if "truth" not in job.name)
    shutil.copytree(finished.folder / "adversarial", adopted.folder / "adversarial")
    shutil.copytree(finished.folder / "labels", adopted.folder / "labels")
    before = {file: file.stat().st_mtime_ns for file in (adopted.folder / "adversarial").rglob("*")}
    outcome = tiny.compute(adopted)
    assert not outcome.failed
    assert "random-0.3-30/seed-0/run" in outcome.done
    assert before == {file: file.stat().st_mtime_ns for file in (adopted.folder / "adversarial").rglob("*")}
    ours, theirs = (study.result("random-0.3-30", 0, 2, "barrier").read_text() for study in (adopted, finished))
    assert ours == theirs


def test_a_run_of_other_networks_is_no_beginning(tiny, copied):
    config = load(copied.base, overrides={"seed": 0, "training.n_epochs": 31})
    with pytest.raises(
        ValueError, match=r"cannot start from .*, whose configuration differs:\n  training.n_epochs: 30 -> 31"
    ):
        importlib.import_module("studies.common.runs").start_from(
            copied.run("adversarial", 0), copied.folder / "new", config
        )


# --- resume ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_that_was_killed_again_and_again_is_the_study_that_was_not(tiny, finished, tmp_path):
    folder = tmp_path / "killed"
    # The last digits of a label of xTB depend on what was computed before it.
    shutil.copytree(finished.folder / "labels", folder / "labels")
    # In the middle of a run; between the committee of another and its commit; before a result.
    deaths = ["adversarial/seed-0/generation-01/selection.json", "random-0.3-30/seed-0/generation-02/training.csv",
              "dynamics/seed-0/generation-02/barrier.json"]  # fmt: skip
    command = [sys.executable, str(HERE / "tiny_ammonia.py"), str(folder), *deaths]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    assert ended.stdout.count(f"ended: {-signal.SIGKILL}") == 3, ended.stdout + ended.stderr
    study = tiny.study(folder)
    outcome = tiny.compute(study)
    assert outcome.done
    assert not outcome.failed
    files = [file.relative_to(finished.folder) for file in finished.folder.glob("results/*/seed-*/**/*.json")]
    files += [file.relative_to(finished.folder) for file in finished.folder.glob("*/*/*/committee.safetensors")]
    assert len(files) == 5 * 4 + 7  # results, and committees
    for file in files:
        assert (folder / file).read_bytes() == (finished.folder / file).read_bytes(), file


def test_a_study_that_is_finished_does_nothing(tiny, finished):
    assert tiny.compute(finished) == ((), (), {})


# --- questions ------------------------------------------------------------------------------------------------------


def test_both_ways_to_the_barrier_of_the_labels_agree(tiny, finished):
    file = finished.folder / "results" / "truth" / "barrier.json"
    truth = read_record(file, tiny.tasks.BarrierResult)
    assert truth.path.converged
    assert truth.path.barrier == pytest.approx(truth.relaxed, abs=0.02 * KCAL_PER_MOL)


def test_a_landscape_is_that_of_its_committee_with_the_labels_that_it_knew(tiny, finished):
    found = read_record(finished.result("dynamics", 0, 3, "landscape"), Landscape)
    committee = read_committee(finished.generation("dynamics", 0, 3))
    from sparring.atoms.structures import Structures

    grid = finished.truth.grid
    energy = committee.predict(Structures.from_atoms(grid.structures), differentiable=False).energy.mean(0).numpy()
    np.testing.assert_allclose(found.energy + found.zero, grid.lay_out(energy), rtol=1e-6)
    assert len(found.marks["start"].x) == 10
    assert len(found.marks["earlier"].x) == 4
    assert np.abs(found.marks["start"].y - 1).max() < 0.8  # all on one side of the plane


# --- the report -----------------------------------------------------------------------------------------------------


def test_the_record_says_of_each_committee_what_its_results_say(tiny, finished):
    results = tiny.results.collect(finished)
    assert len(results.committees) == 5
    (row,) = results.of("dynamics", 3)
    assert (row.n_requested, row.n_failed, row.n_structures) == (4, 0, 14)
    saved = json.loads(finished.result("dynamics", 0, 3, "barrier").read_text(encoding="utf-8"))
    heights = saved["path"]["energy"] if saved["path"] else None
    assert row.barrier == (pytest.approx(max(heights) - heights[0]) if heights else None)
    assert row.barrier_relaxed == saved["relaxed"]
    assert [(one.temperature, one.n_copies) for one in row.stable] == [(300.0, 2), (900.0, 2)]
    mapped = read_record(finished.result("dynamics", 0, 3, "landscape"), Landscape)
    low = mapped.truth <= 40 * KCAL_PER_MOL
    expected = np.sqrt(np.mean((mapped.energy - mapped.truth)[low] ** 2))
    assert row.rmse_below["40 kcal/mol"] == pytest.approx(expected)
    assert results.truth_relaxed == pytest.approx(finished.truth.inversion.height)


def test_a_report_says_how_many_seeds_there_are_and_what_is_missing(tiny, copied, tmp_path, monkeypatch):
    monkeypatch.setattr(tiny.report, "figures", lambda study, results, folder: None)
    copied.result("dynamics", 0, 3, "barrier").unlink()
    copied.result("adversarial", 0, 2, "stability-900K").unlink()
    shutil.rmtree(copied.run("random-0.3-30", 0))
    said = tiny.report.report(copied, tmp_path / "out")
    page = (tmp_path / "out" / "ammonia.md").read_text(encoding="utf-8")
    assert "missing: all runs of random-0.3-30\n" in said
    assert "dynamics: 1 of 5 runs have ended" in said
    assert "dynamics, generation 3: barrier of 0 of 5 seeds" in page
    assert "dynamics, generation 2: landscape of 1 of 3 seeds" in page
    assert "adversarial, generation 2: stability of 0 of 3 seeds" in page
    (row,) = [line for line in page.splitlines() if line.startswith("| dynamics 500 K | 3 |")][:1]
    assert row.split("|")[4].strip() == "–"
    assert "(1)" in row
    assert "random" not in page.partition("## Missing")[0].partition("## Barrier")[2]
    assert json.loads((tmp_path / "out" / "ammonia.json").read_text(encoding="utf-8"))["missing"]


def test_a_page_tells_the_error_of_the_barrier_seed_by_seed_and_how_many_are_close(tiny, finished):
    results = tiny.results.collect(finished)
    (row,) = results.of("adversarial", 2)
    errors = {0: 0.2, 1: -0.04, 2: 0.6}
    heights = {seed: results.truth_relaxed + error * KCAL_PER_MOL for seed, error in errors.items()}
    rows = [dataclasses.replace(row, seed=seed, barrier_relaxed=height) for seed, height in heights.items()]
    page = tiny.report.page(dataclasses.replace(results, committees=tuple(rows)), {})
    assert "| 0, 1, 2 | +0.20, -0.04, +0.60 | 0.20 (0.04 to 0.60) | 2 of 3 | 1 of 3 |" in page


def test_a_report_keeps_what_another_machine_has_computed_if_it_is_told_to(tiny, copied, tmp_path, monkeypatch):
    monkeypatch.setattr(tiny.report, "figures", lambda study, results, folder: None)
    record = tmp_path / "out" / "ammonia.json"
    tiny.report.report(copied, record.parent)
    whole = record.read_bytes()
    shutil.rmtree(copied.run("random-0.3-30", 0))
    shutil.rmtree(copied.folder / "results" / "truth")
    copied.result("adversarial", 0, 2, "landscape").unlink()
    tiny.report.report(copied, record.parent, keep=True)
    assert record.read_bytes() == whole
    tiny.report.report(copied, record.parent)
    (row,) = read_record(record, tiny.results.Results).of("adversarial", 2)
    assert not row.rmse_below
    assert "random-0.3-30" not in record.read_text(encoding="utf-8").partition('"missing"')[0]


def test_what_is_kept_of_a_run_is_of_one_training(tiny, finished):
    results = tiny.results.collect(finished)
    second, third = (results.of("dynamics", number)[0] for number in (2, 3))

    def beside(*rows):
        earlier = dataclasses.replace(results, committees=rows)
        return [one for one in tiny.results.collect(finished, earlier).committees if one.strategy == "dynamics"]

    other = [dataclasses.replace(row, energy_mae=7.0) for row in (second, third)]
    assert beside(*other) == [second, third]
    other[1] = dataclasses.replace(other[1], stable=(*third.stable, third.stable[0]))
    assert beside(*other) == other
    assert beside(other[1]) == [second, third]
    seeds = [dataclasses.replace(third, seed=seed) for seed in (3, 1)]
    assert [(row.generation, row.seed) for row in beside(*seeds)] == [(2, 0), (3, 0), (3, 1), (3, 3)]


def test_a_report_of_nothing_says_how_to_begin(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"has no committee yet; compute some: python -m studies.ammonia run"):
        tiny.report.report(tiny.study(tmp_path / "empty"), tmp_path / "out")


def names_in(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_figures_show_what_there_is(tiny, finished):
    figures, results = tiny.figures, tiny.results.collect(finished)
    assert names_in(figures.stable(results))[0] == "adversarial, generation 1 (1)"
    attacks, ends, _ = figures.robustness(results).axes
    assert names_in(attacks) == [f"adversarial, generation {number} (1)" for number in (1, 2)]
    last = ("adversarial, generation 2", "random 0.3 Å, 30", "dynamics 500 K, generation 3")
    assert names_in(ends) == [f"{name} (1)" for name in last]
    n_barriers = sum(row.barrier is not None for row in results.committees)
    assert len(figures.barriers(results).get_yticks()) == n_barriers
    assert len(figures.landscapes(finished, results, 0).axes) == 5 + 1 + 1  # maps, the truth, and the bar of colours


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "–"),
        ([None, float("nan")], "–"),
        ([1.0, None], "1.00 (1)"),
        ([1.0, 2.0, 3.0], "2.00 ± 1.00 (3)"),
        ([-0.001], "0.00 (1)"),
        ([-1.5], "−1.50 (1)"),
    ],
)
def test_a_cell_tells_mean_spread_and_number_of_seeds(values, words):
    assert importlib.import_module("studies.common.tables").summary(values) == words
