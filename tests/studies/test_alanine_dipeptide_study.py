"""The study of alanine dipeptide: labels are counted alike for all strategies, and the page says what the files say."""

import importlib
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparring.config import load
from sparring.config.objectives import boltzmann_kT
from sparring.inputs.extxyz import read_labelled
from sparring.runs.folder import read_metrics
from sparring.surfaces.landscape import Landscapes
from sparring.units import KCAL_PER_MOL
from sparring.validation.free_energy.histograms import FreeEnergies
from sparring.validation.records import read_record

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    """The whole study, done at one go."""
    study = small.study(tmp_path_factory.mktemp("study") / "dipeptide")
    with pytest.MonkeyPatch.context() as patch:
        small.small_things(patch)
        outcome = small.compute(study)
    assert not outcome.failed, outcome.failed
    assert not outcome.waiting
    return study


@pytest.fixture(scope="module")
def reported(small, finished, tmp_path_factory):
    """Its page, and the words that announce it."""
    output = tmp_path_factory.mktemp("report")
    return output, small.report.report(finished, output)


def test_strategies_ask_for_the_same_number_of_labels(small):
    study = small.plan.Study(folder=Path("nowhere"))
    n_labels = {}
    shared = study.config("adversarial", 3).system.sampling
    for name, strategy in study.strategies.items():
        config = study.config(name, 3)
        assert config.seed == 3
        assert config.system.sampling.every == shared.every
        longer = config.system.sampling.duration - shared.duration
        asked = min([config.attack.n_seeds, *(step.n for step in config.selection if step.kind == "budget")])
        n_labels[name] = round(longer / shared.every) + asked * (config.generations - 1)
        assert strategy.generations == config.generations
    assert n_labels.pop("random-50") == 50
    assert set(n_labels.values()) == {200}
    others = {"random-200", "dynamics-200", "paper-attacks", "boltzmann", "combined"}
    assert set(n_labels) == {"adversarial", *others, "atoms", "atoms-random-200", "atoms-dynamics-200"}


def test_strategies_are_what_they_are_called(small):
    study = small.plan.Study(folder=Path("nowhere"))
    configs = {name: study.config(name, 0) for name in study.strategies}
    attacks = {name: config.attack for name, config in configs.items()}
    assert attacks["adversarial"].space.torsions == ("phi", "psi")
    assert attacks["random-200"].kind == "random"
    assert attacks["random-200"].space.amplitude == pytest.approx(np.pi)
    assert [part.kind for part in attacks["combined"].space.spaces] == ["dihedrals", "cartesian"]
    assert attacks["combined"].objective == attacks["adversarial"].objective
    assert [part.kind for part in attacks["atoms-random-200"].space.spaces] == ["dihedrals", "cartesian"]
    assert attacks["atoms"].objective == attacks["adversarial"].objective
    trained_alike = ("atoms", "atoms-random-200", "atoms-dynamics-200")
    assert len({configs[name].training for name in trained_alike}) == 1
    for name in ("paper-attacks", "boltzmann"):
        paper = load(small.plan.EXAMPLE).attack
        assert (attacks[name].space, attacks[name].n_seeds) == (paper.space, paper.n_seeds)
    assert attacks["paper-attacks"].objective == "force_variance"
    assert boltzmann_kT(attacks["boltzmann"].objective) == pytest.approx(20 * KCAL_PER_MOL)
    without = attacks["boltzmann"].model_copy(update={"objective": attacks["paper-attacks"].objective})
    assert without == attacks["paper-attacks"]


def test_only_our_own_attacks_choose_what_is_labelled(small):
    study = small.plan.Study(folder=Path("nowhere"))
    choosing = {name for name in study.strategies if study.config(name, 0).selection}
    attacking_nothing = {"dynamics-200", "atoms-dynamics-200"}  # they have one generation
    assert choosing == {"adversarial", "combined", "atoms", *attacking_nothing}


def test_the_longer_dynamics_goes_on_where_the_start_of_the_others_ends(finished):
    start = read_labelled(finished.generation("adversarial", 0, 1) / "dataset.extxyz")
    longer = read_labelled(finished.generation("dynamics-200", 0, 1) / "dataset.extxyz")
    assert (len(start), len(longer)) == (10, 16)
    for one, other in zip(start, longer, strict=False):
        np.testing.assert_array_equal(one.positions, other.positions)


def test_the_others_share_data_and_committee_of_the_first_generation(finished):
    for name in ("dataset.extxyz", "committee.safetensors", "evaluation.json"):
        mine, theirs = (finished.generation(one, 0, 1) / name for one in ("adversarial", "random-200"))
        assert mine.read_bytes() == theirs.read_bytes()


def test_a_study_that_is_finished_does_nothing(small, finished):
    assert small.compute(finished) == ((), (), {})


def test_rows_say_what_metrics_and_maps_say(small, finished):
    results = small.results.collect(finished)
    assert results.keys == [*(("adversarial", n) for n in (1, 2, 3)), ("random-200", 2), ("dynamics-200", 1)]
    (row,) = results.of("adversarial", 3)
    assert row.n_requested == 6
    metrics = read_metrics(finished.generation("adversarial", 0, 3))
    assert row.coverage == metrics["system"]["coverage"]
    # The grid of each generation is the rigid grid of the study.
    for key, error in row.grids["rigid"].rmse_below.items():
        assert error == pytest.approx(metrics["system"]["grid_rmse_below"][key], rel=1e-6)
    assert row.grids["rigid"].force_variance == pytest.approx(
        metrics["system"]["grid_force_variance_below"]["50 kcal/mol"], rel=1e-6
    )
    grid = maps(finished, "rigid")["generation 3"]
    low = grid.truth <= grid.truth.min() + 50 * KCAL_PER_MOL
    assert row.grids["rigid"].largest_error == abs(grid.energy - grid.truth)[low].max()
    squares = [np.mean(values[low] ** 2) for values in (grid.force_error, grid.force_sigma)]
    assert row.grids["rigid"].force_ratio == pytest.approx(np.sqrt(squares[0] / squares[1]))
    (relaxed,) = {one.truth.tobytes() for one in maps(finished, "relaxed").values()}
    assert relaxed != next(iter(maps(finished, "rigid").values())).truth.tobytes()
    (random,) = results.of("random-200", 2)
    (longer,) = results.of("dynamics-200", 1)
    assert (random.n_requested, longer.n_requested) == (6, 6)


def test_labels_of_a_run_with_its_own_first_committee_are_counted_once(small, finished, tmp_path):
    study = small.study(tmp_path / "both", names=("adversarial", "atoms"))
    for name in study.strategies:
        shutil.copytree(finished.folder / "adversarial", study.folder / name)
    results = small.results.collect(study)
    asked = {name: [results.of(name, number)[0].n_requested for number in (1, 2, 3)] for name in study.strategies}
    assert asked == {"adversarial": [0, 3, 6], "atoms": [0, 3, 6]}


def test_free_energies_are_asked_of_all_seeds_and_drawn_of_one(small, finished, tmp_path):
    study = small.study(finished.folder, seeds=(0, 1, 2))
    wanted = [job.name for job in small.plan.jobs(study) if "free-energy" in job.name]
    assert wanted == [f"dynamics-200/seed-{seed}/free-energy" for seed in (0, 1, 2)]
    results = small.results.collect(finished)
    assert "dynamics-200: free energy of 1 of 3 seeds" in results.missing
    (row,) = results.free_energies
    two = replace(results, free_energies=(replace(row, seed=1), row, replace(row, strategy="combined")))
    folder = importlib.import_module("studies.common.figures").FigureFolder(tmp_path)
    small.figures.figures(finished, two, folder)
    (caption,) = [words for name, words in folder.captions.items() if "free_energy" in name]
    assert caption.endswith("of seed 0.")


def maps(study, which):
    return read_record(study.maps("adversarial", 0, which), Landscapes).committees


def test_relaxed_truth_is_never_above_the_rigid_one(finished):
    rigid, relaxed = (maps(finished, which)["generation 1"] for which in ("rigid", "relaxed"))
    assert (relaxed.truth + relaxed.zero <= rigid.truth + rigid.zero + 1e-9).all()


def test_the_page_has_tables_and_figures_of_all_and_says_what_is_missing(finished, reported):
    output, said = reported
    page = (output / "alanine_dipeptide.md").read_text(encoding="utf-8")
    for name in ("errors", "energies", "rigid", "relaxed", "attacks", "free_energy_dynamics-200"):
        (file,) = output.glob(f"alanine_dipeptide_{name}.*")
        assert f"({file.name})" in page
    assert "adversarial: 1 of 3 runs have ended" in said
    assert "- dynamics-200: relaxed grid of 1 of 3 seeds" in page
    found = read_record(finished.free_energy("dynamics-200", 0), FreeEnergies)
    (line,) = [line for line in page.splitlines() if line.startswith("| longer dynamics, 200 | 0 | 1 |")]
    assert line.endswith(f"| {found.n_failed} |")
    record = json.loads((output / "alanine_dipeptide.json").read_text(encoding="utf-8"))
    assert len(record["committees"]) == 5


def test_ratios_are_those_of_the_rows(small, finished, reported):
    output, _ = reported
    results = small.results.collect(finished)
    (first,), (last,) = (results.of("adversarial", number) for number in (1, 3))
    ratio = first.grids["rigid"].rmse_below["50 kcal/mol"] / last.grids["rigid"].rmse_below["50 kcal/mol"]
    page = (output / "alanine_dipeptide.md").read_text(encoding="utf-8")
    assert f"RMSE below 50 kcal/mol, generation 1 over 3: {ratio:.2f} (1)" in page
    (random,) = results.of("random-200", 2)
    over = random.grids["rigid"].rmse_below["50 kcal/mol"] / last.grids["rigid"].rmse_below["50 kcal/mol"]
    assert f"RMSE below 50 kcal/mol, random-200 over attacks, 6 labels each: {over:.2f} (1)" in page


def test_committees_are_held_against_attacks_that_cost_as_many_labels(small, finished):
    results = small.results.collect(finished)
    (row,) = results.of("random-200", 2)
    page = {}
    for n_requested in (3, 4, 6):
        other = replace(results, committees=(*results.committees[:3], replace(row, n_requested=n_requested)))
        page[n_requested] = small.report.page(finished, other, {})
    attacks = {number: results.of("adversarial", number)[0].grids["rigid"] for number in (2, 3)}
    for n_requested, generation in ((3, 2), (6, 3)):
        over = row.grids["rigid"].rmse_below["50 kcal/mol"] / attacks[generation].rmse_below["50 kcal/mol"]
        assert f"random-200 over attacks, {n_requested} labels each: {over:.2f} (1)" in page[n_requested]
    assert "random-200 over attacks" not in page[4]


def lines_of_errors(small, study, results, quantity=0):
    """Labels along the solid lines and at the marks of a panel, by the names of strategies."""
    lines = small.figures.errors(study, results).axes[quantity].get_lines()
    marks = {line.get_label(): line for line in lines if line.get_linestyle() == "None"}
    solid = {line.get_color(): list(line.get_xdata()) for line in lines if line.get_linestyle() == "-"}
    return {name: (list(line.get_xdata()), solid.get(line.get_color())) for name, line in marks.items()}


def test_a_strategy_of_one_round_has_marks_and_no_line(small, finished):
    drawn = lines_of_errors(small, finished, small.results.collect(finished))
    assert drawn["random torsions, 200 (1)"] == ([6.0], None)
    assert drawn["longer dynamics, 200 (1)"] == ([6.0], None)
    assert drawn["attacks on (φ, ψ) (1)"] == ([0.0, 3.0, 6.0], [0.0, 3.0, 6.0])


def test_a_line_of_several_rounds_begins_at_the_first_committee_of_the_same_seeds(small, finished):
    results = small.results.collect(finished)
    own = [row for row in results.committees if row.strategy == "adversarial"]
    later = [replace(row, strategy="boltzmann") for row in own if row.generation > 1]
    another = [replace(row, seed=1, grids={}, n_requested=100) for row in own]
    both = replace(results, committees=(*own, *another, *later))
    study = small.study(finished.folder, names=("adversarial", "boltzmann"))
    drawn = lines_of_errors(small, study, both, quantity=-1)
    assert drawn["paper's, with Boltzmann weight (1)"] == ([0.0, 3.0, 6.0], [0.0, 3.0, 6.0])


def test_a_report_keeps_what_another_machine_has_computed_if_it_is_told_to(
    small, finished, reported, tmp_path, monkeypatch
):
    monkeypatch.setattr(small.report, "figures", lambda study, results, folder: None)
    record = tmp_path / "alanine_dipeptide.json"
    shutil.copyfile(reported[0] / record.name, record)
    part = small.study(tmp_path / "part", names=("adversarial", "random-200", "dynamics-200"))
    shutil.copytree(finished.folder / "adversarial", part.folder / "adversarial")
    small.report.report(part, tmp_path, keep=True)
    assert (
        json.loads(record.read_text())["committees"]
        == json.loads((reported[0] / record.name).read_text())["committees"]
    )
    page = (tmp_path / "alanine_dipeptide.md").read_text(encoding="utf-8")
    assert "| longer dynamics, 200 | 0 | 1 |" in page  # its free energy
    assert "dynamics-200: 1 of 3 runs have ended" in page
    small.report.report(part, tmp_path)
    assert not json.loads(record.read_text())["free_energies"]


def test_a_report_of_nothing_says_how_to_begin(small, tmp_path):
    with pytest.raises(ValueError, match=r"has no committee yet; compute some: python -m studies.alanine"):
        small.report.report(small.study(tmp_path / "empty"), tmp_path / "out")


def test_a_study_that_was_killed_goes_on_to_the_same_end(small, finished, tmp_path, monkeypatch):
    small.small_things(monkeypatch)
    folder = tmp_path / "killed"
    shutil.copytree(finished.folder / "labels", folder / "labels")
    command = [sys.executable, str(HERE / "tiny_alanine_dipeptide.py"), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    waited = time.monotonic()
    while not (folder / "adversarial/seed-0/generation-02/committee.json").exists() and time.monotonic() - waited < 60:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    study = small.study(folder, names=("adversarial",), free_energies=())
    outcome = small.compute(study)
    assert outcome.done
    assert not outcome.failed
    for which in ("rigid", "relaxed"):
        ours, theirs = (one.maps("adversarial", 0, which) for one in (study, finished))
        assert ours.read_bytes() == theirs.read_bytes()
