"""The answers at the top of a report are true, made of the numbers of the run, and honest about what is not known."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from sparring.config.sections import Stop
from sparring.evaluation import Errors
from sparring.reporting.answers import answers, answers_of
from sparring.reporting.answers.facts import facts_of
from sparring.reporting.expectations import new_label_sheets
from sparring.reporting.page import report
from sparring.runs.expectations import NewLabels
from sparring.validation.bond_scan.scans import BondScan, CoordinateScan, Flag
from sparring.validation.errors.common_set import CommonErrors
from sparring.validation.records import write_record
from sparring.validation.survival.failures import Contact, Departure, Failure
from sparring.validation.survival.trials import Settings, Survival, SurvivalAtTemperature


def survival(n_copies=20, failures=(), temperatures=(300.0,)):
    settings = Settings(formula="H3N", duration=30_000.0, timestep=0.5, ensemble="nve", criteria=("x",), seed=0)
    trials = [SurvivalAtTemperature.of(one, n_copies, failures) for one in temperatures]
    return Survival.of(trials, settings)


def fell(copy, time, name, kind="angle", contact=None):
    departure = Departure(kind=kind, name=name, atoms=(0, 1), value=2.0, start=1.0, spread=0.1)
    met = None if contact is None else Contact(name=contact, atoms=(1, 2), distance=0.5)
    return Failure(copy=copy, time=time, reason="a bond of the start", departure=departure, contact=met)


def scan(name, kind="bond", *, flags=(), n_equivalent=1):
    values, zeros = np.array([0.7, 1.0, 1.4]), np.zeros(3)
    return CoordinateScan(
        kind=kind,
        name=name,
        atoms=(0, 1),
        n_equivalent=n_equivalent,
        start=1.0,
        values=values,
        energy=zeros,
        energy_sigma=zeros,
        label=zeros,
        flags=flags,
    )


def scans(*some):
    return BondScan(
        formula="H3N", tolerance=0.2, n_sigma=3.0, start_energy=0.0, scans=some, skipped=(), method="", refused=0
    )


WHOLE = scans(scan("N0-H1", n_equivalent=3), scan("H1-N0-H2", "angle", n_equivalent=3))
HOLE = Flag(point=0, kind="below", amount=5.0)


def labels(generation, errors, *, found=None, refused=0, sigma=0.1, factor=3.0, sources=(), by_test=False):
    errors = np.array(errors, dtype=float)
    return NewLabels(
        generation=generation,
        source=tuple(sources) or ("attack",) * len(errors),
        sigma=np.full(len(errors), sigma),
        error=errors,
        expected=np.full(len(errors), 0.1),
        factor=factor,
        confidence=0.9,
        n_bounding=20,
        by_test=by_test,
        n_refused=refused,
        stop_confidence=0.9,
        error_found=max(errors) if found is None else found,
    )


@pytest.fixture
def facts(finished_run):
    """Facts of a run of three generations whose labels are as expected."""
    known = facts_of(finished_run)
    rounds = (labels(1, [0.2] * 20, by_test=True), labels(2, [0.18] * 20))
    return replace(known, rounds=rounds, failed_labels={}, n_failed_in_newest=0, common=None)


def told(facts, **changes):
    return {one.question.split()[0]: one for one in answers_of(replace(facts, **changes))}


def test_four_questions_are_answered_in_two_sentences_each(facts):
    found = answers_of(replace(facts, survival=survival(), bonds=WHOLE))
    assert [one.question for one in found] == [
        "Is it stable?",
        "Where did it fail?",
        "How far can σ be believed?",
        "Should I go on?",
    ]
    assert all(one.text.count(". ") <= 1 for one in found)


# --- is it stable? ----------------------------------------------------------------------------------------------------


def test_copies_that_are_whole_and_scans_without_holes_are_good(facts):
    stable = told(facts, survival=survival(), bonds=WHOLE)["Is"]
    assert stable.state == "good"
    assert stable.text == (
        "With generation 3, 20 of 20 copies are whole after 30 ps at 300 K (95 % interval 84 to 100 %). No hole in 3 "
        "bonds and 3 angles."
    )


def test_few_copies_show_little(facts):
    stable = told(facts, survival=survival(3), bonds=WHOLE)["Is"]
    assert stable.state == "unknown"
    assert "interval 44 to 100 %" in stable.text


@pytest.mark.parametrize(
    "changes",
    [
        {"survival": survival(20, [fell(0, 100.0, "H1-N0-H2")]), "bonds": WHOLE},
        {"survival": survival(), "bonds": scans(scan("N0-H1", flags=(HOLE,)))},
        {"survival": None, "bonds": scans(scan("N0-H1", flags=(HOLE,)))},
    ],
)
def test_a_failure_or_a_hole_is_something_to_look_at(facts, changes):
    assert told(facts, **changes)["Is"].state == "look"
    assert told(facts, **changes)["Where"].state == "look"


def test_what_is_not_tested_is_said_with_the_command_that_tests_it(facts):
    stable = told(facts, survival=None, bonds=WHOLE)["Is"]
    assert stable.state == "unknown"
    assert stable.text == "Generation 3 is not tested in dynamics; no hole in 3 bonds and 3 angles. To test it:"
    assert stable.command == f"sparring validate survival {facts.folder / 'generation-03'}"
    assert "bonds and angles are not scanned" in told(facts, survival=None, bonds=None)["Is"].text


def test_an_error_against_a_label_is_no_hole(facts):
    error = scans(scan("N0-H1", flags=(Flag(point=0, kind="error", amount=0.5),)))
    assert told(facts, survival=survival(), bonds=error)["Is"].state == "good"


def test_several_temperatures_are_a_range(facts):
    many = survival(10, temperatures=(500.0, 700.0))
    assert "20 of 20 copies are whole after 30 ps at 500 to 700 K" in told(facts, survival=many)["Is"].text


# --- where did it fail? -----------------------------------------------------------------------------------------------


def test_the_bond_angle_or_contact_that_went_most_often_is_named_with_the_earliest_time(facts):
    failures = [fell(0, 400.0, "N0-H1", "bond"), fell(1, 900.0, "H1-N0-H2"), fell(2, 700.0, "H1-N0-H2")]
    where = told(facts, survival=survival(20, failures), bonds=WHOLE)["Where"]
    assert where.text == "3 copies failed in dynamics, most often angle H1-N0-H2 in 2 of them, first after 0.7 ps."
    met = [fell(copy, 100.0 + copy, f"N0-H{copy}", contact="H1-H2") for copy in range(3)]
    assert "always contact H1-H2, first after 0.1 ps" in told(facts, survival=survival(20, met))["Where"].text


def test_holes_are_named_where_they_are(facts):
    bad = [scan(f"N0-H{number}", flags=(HOLE,)) for number in range(1, 4)]
    where = told(facts, survival=None, bonds=scans(*bad))["Where"]
    assert where.text == "Scans have holes at bond N0-H1 (0.70 Å), bond N0-H2 (0.70 Å) and 1 more scan."


def test_failed_labels_are_counted_and_only_new_ones_are_looked_at(facts):
    known = {"survival": survival(), "bonds": WHOLE, "failed_labels": {"force": 2, "distance": 1}}
    where = told(facts, **known, n_failed_in_newest=2)["Where"]
    assert where.state == "look"
    assert where.text == "3 labels failed (2 force, 1 distance), 2 of them in generation 2."
    where = told(facts, **known, n_failed_in_newest=0)["Where"]
    assert where.state == "good"
    assert where.text.endswith("3 labels failed (2 force, 1 distance), none of them in generation 2.")


def test_nowhere_is_only_where_it_was_tested(facts):
    where = told(facts, survival=survival(), bonds=WHOLE)["Where"]
    assert where.state == "good"
    assert where.text == "Nowhere that was tested: 20 copies in dynamics, 3 bonds, 3 angles, 40 new labels."
    assert told(facts, survival=None, bonds=WHOLE)["Where"].state == "unknown"
    assert told(facts, survival=None, bonds=None, rounds=())["Where"].text == "Nothing is tested yet."


# --- how far can σ be believed? ---------------------------------------------------------------------------------------


def test_bounds_that_hold_as_often_as_they_promise_are_good(facts):
    sigma = told(facts, rounds=(labels(1, [0.2] * 20), labels(2, [0.2] * 18 + [0.9] * 2)))["How"]
    assert sigma.state == "good"
    assert sigma.text == (
        "On 20 new labels of generation 2 forces err by 2.0 times σ_F (median). The 90 % bounds that the labels of "
        "generation 1 set, 3.0 times the expected error, held for 18 of 20."
    )


def test_bounds_that_failed_are_looked_at_and_those_of_test_structures_are_called_so(facts):
    sigma = told(facts, rounds=(labels(1, [0.2] * 8 + [0.9] * 12, by_test=True),))["How"]
    assert sigma.state == "look"
    assert "bounds that test structures set, 3.0 times the expected error, held for 8 of 20." in sigma.text


def test_a_proposer_for_which_bounds_fail_is_not_hidden_by_the_others(facts):
    mixed = labels(2, [0.2] * 25 + [0.9] * 5, sources=["attack"] * 25 + ["scan"] * 5)
    sigma = told(facts, rounds=(mixed,))["How"]
    assert "(attack 25 of 25, scan 0 of 5)" in sigma.text
    assert sigma.state == "look"


def test_without_new_labels_or_bounds_sigma_is_not_tested(facts):
    assert told(facts, rounds=())["How"].state == "unknown"
    assert told(facts, rounds=())["How"].text.startswith("No new label tests it. On")
    old = replace(labels(2, [0.2] * 20), expected=np.full(20, math.nan))
    sigma = told(facts, rounds=(old,))["How"]
    assert sigma.state == "unknown"
    assert sigma.text.endswith("No bounds were known before these labels.")


# --- should I go on? --------------------------------------------------------------------------------------------------

TARGET = Stop(force_error=0.19)


def test_a_target_that_is_met_is_said_with_its_numbers(facts):
    on = told(facts, stop=TARGET, survival=survival(), bonds=WHOLE)["Should"]
    assert on.state == "good"
    assert on.text == (
        "The target is met in generation 2: the next structure found errs by less than 0.18 eV/Å with 90 % confidence, "
        "and 0.19 eV/Å were asked for."
    )


def test_a_target_says_nothing_about_dynamics_that_fails(facts):
    on = told(facts, stop=TARGET, survival=survival(20, [fell(0, 1.0, "N0-H1", "bond")]))["Should"]
    assert on.state == "look"
    assert on.text.endswith("But it is not stable, see above.")


def test_a_target_that_is_not_met_is_looked_at_and_more_generations_are_named_only_while_errors_fall(facts):
    stop = Stop(force_error=0.05)
    steady = told(facts, stop=stop, rounds=(labels(1, [0.2] * 20), labels(2, [0.2] * 20)))["Should"]
    assert steady.state == "look"
    assert "not met: error found in generations 1 and 2: 0.20 and 0.20 eV/Å (with" in steady.text
    assert steady.text.endswith("Errors did not clearly fall in the last round.")
    assert not steady.command
    falling = told(facts, stop=stop, rounds=(labels(1, [0.4] * 20), labels(2, [0.2] * 20)))["Should"]
    assert "Errors still fell in the last round" in falling.text
    assert falling.command == "generations: 5"


def test_a_run_that_is_not_finished_goes_on(facts):
    on = told(facts, stop=Stop(force_error=0.05), n_planned=7)["Should"]
    assert on.state == "unknown"
    assert on.text.endswith("The run goes on, to generation 7 at most.")


def test_a_run_without_a_target_that_is_not_finished_goes_on_too(facts):
    on = told(facts, n_planned=7)["Should"]
    assert on.text.endswith("The run goes on, to generation 7 at most; no target is set:")


def test_without_a_target_errors_are_listed_and_a_target_is_shown(facts):
    errors = {
        n: Errors(energy_mae=1.0, energy_rmse=1.0, force_mae=error / 2, force_rmse=error, n_structures=9)
        for n, error in ((1, 0.3), (3, 0.1))
    }
    common = CommonErrors(
        name="",
        run_digest="",
        file_digest="",
        near=0.1,
        n_structures={"all": 9},
        n_left_out=0,
        n_without_zero=0,
        committees={},
        errors={str(n): {"all": one} for n, one in errors.items()},
    )
    on = told(facts, common=common)["Should"]
    assert on.state == "unknown"
    assert "0.20 and 0.18 eV/Å (with 90 % confidence the next structure errs less)" in on.text
    assert "On 9 test structures forces err by 0.30 eV/Å with generation 1 and 0.10 eV/Å with generation 3" in on.text
    assert on.command == "stop: {force_error: 0.1 eV/Å}"


def test_rounds_without_a_bound_say_why(facts):
    few = told(facts, rounds=(labels(1, [0.2] * 5, found=math.inf),))["Should"]
    assert "generation 1: no bound (5 labels, a confidence of 90 % takes 9)" in few.text
    assert "whether errors fall is not known after one round" in few.text
    judged = told(facts, rounds=(labels(1, [0.2] * 5, found=math.inf),), stop=TARGET)["Should"]
    assert judged.state == "unknown"
    assert judged.text.startswith(
        "The target of 0.19 eV/Å cannot be judged in generation 1: 5 labels, a confidence of 90 %"
    )
    refused = told(facts, rounds=(labels(1, [0.2] * 15, found=math.inf, refused=5),))["Should"]
    assert "(5 of 20 labels were refused)" in refused.text


def test_runs_without_new_labels_promise_nothing(facts):
    assert told(facts, rounds=())["Should"].state == "unknown"
    assert "no structure passed the selection" in told(facts, rounds=(), ended_early=True)["Should"].text
    assert "No new label is known yet" in told(facts, rounds=(), n_planned=9)["Should"].text
    alone = told(facts, rounds=(), has_labels=False)["Should"]
    assert alone.text == "Nothing is labelled in this run, nor selected for it."


# --- folders, page and figure -----------------------------------------------------------------------------------------


def test_answers_are_read_from_the_folder(made_up_run):
    folder = made_up_run(n_generations=3)
    validation = folder / "generation-03" / "validation"
    validation.mkdir()
    write_record(validation / "survival.json", survival(20, [fell(0, 400.0, "N0-H1", "bond")]))
    write_record(validation / "bonds.json", WHOLE)
    stable, where, sigma, on = answers(folder)
    assert stable.text.startswith("With generation 3, 19 of 20 copies are whole")
    assert where.text.startswith("1 copy failed in dynamics: bond N0-H1 after 0.4 ps; 2 labels failed (2 dist")
    assert sigma.text.startswith("On 19 new labels of generation 2 forces err by")
    assert on.text.startswith("Error found in generations 1 and 2:")


def test_a_record_that_cannot_be_read_is_no_test(made_up_run):
    folder = made_up_run(n_generations=2)
    validation = folder / "generation-02" / "validation"
    validation.mkdir()
    (validation / "survival.json").write_text("{", encoding="utf-8")
    assert "is not tested in dynamics" in answers(folder)[0].text


def test_before_there_is_a_committee_there_is_no_answer(made_up_run):
    folder = made_up_run(n_generations=1)
    (folder / "generation-01" / "metrics.json").write_text(json.dumps({"generation": 1}), encoding="utf-8")
    assert answers(folder) == ()


def test_a_particle_is_not_asked_for_its_stability(made_up_run):
    folder = made_up_run(n_generations=2, system="double_well_2d", formulas=("X",))
    assert [one.question.split()[0] for one in answers(folder)] == ["Where", "How", "Should"]


def test_the_page_begins_with_the_answers_and_says_nothing_twice(made_up_run, monkeypatch):
    folder = made_up_run(n_generations=3)
    page = report(folder).read_text(encoding="utf-8")
    first = page[page.index("<main>") : page.index('<section id="generations">')]
    places = [first.index(one.question) for one in answers(folder)]
    assert places == sorted(places)
    assert max(places) < first.index('id="errors_found"') < first.index('class="verdict"')
    for one in answers(folder):
        assert f"</b>{one.word}</span>" in first
        assert first.count(one.question) == 1
    assert first.count("times σ_F") == 1
    assert first.count("labels failed") == 1
    assert (folder / "figures" / "errors_found.png").is_file()


@pytest.mark.parametrize("n_rounds", [1, 2, 5])
@pytest.mark.parametrize("sources", [(), ("attack", "scan")])
def test_figures_have_the_target_the_bound_and_each_round(n_rounds, sources):
    rounds = [
        labels(number, np.linspace(0.1, 0.5, 10) / number, sources=sources * (5 if sources else 0))
        for number in range(1, n_rounds + 1)
    ]
    expected, found = new_label_sheets(rounds, range(1, n_rounds + 2), Stop(force_error=0.2))
    (left,), (right,) = expected.figure.axes, found.figure.axes
    names = [text.get_text() for text in left.get_legend().get_texts()]
    assert f"90 % bound, generation {n_rounds}" in names
    assert ("scan" in names) == bool(sources)
    assert sum(name.startswith("generation") for name in names) == min(3, n_rounds)
    assert any(text.get_text() == "target 0.2" for text in right.texts)
    assert list(right.get_xticks()) == list(range(1, n_rounds + 1))
    assert "90 % confidence" in found.caption
    for sheet in (expected, found):
        sheet.figure.draw_without_rendering()


def test_rounds_of_older_versions_and_without_bounds_are_drawn_as_far_as_they_are_known():
    old = replace(labels(1, [0.2] * 5, found=math.inf), expected=np.full(5, math.nan))
    refused = replace(labels(2, [], found=math.inf, refused=4), expected=np.empty(0))
    (sheet,) = new_label_sheets([old, refused], [1, 2])
    assert [line.get_marker() for line in sheet.figure.axes[0].lines].count("^") == 2
    assert new_label_sheets([], [1]) == ()


def test_a_run_that_a_target_has_ended_is_not_called_in_progress(made_up_run):
    folder = made_up_run(n_generations=3)
    config = (folder / "config.yaml").read_text(encoding="utf-8").replace("generations: 3", "generations: 9")
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    assert "In progress: 3 of 9 generations evaluated." in report(folder).read_text(encoding="utf-8")
    (folder / "config.yaml").write_text(f"{config}stop: {{force_error: 50 eV/Å, confidence: 0.5}}\n", encoding="utf-8")
    folder.joinpath("generation-03").rename(folder / "left")
    page = report(folder).read_text(encoding="utf-8")
    assert "In progress" not in page
    assert "The target is met in generation 1" in page


def test_failed_labels_of_starting_structures_count_but_not_as_new(made_up_run):
    folder = made_up_run(n_generations=2)
    first = folder / "generation-01"
    starting = [("start 4", "not_converged", "after 100 cycles")] * 2
    for name, rows in (("starting_failures", starting), ("failures", starting)):
        with (first / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("candidate", "reason", "message"), *rows])
    assert answers(folder)[1].text == "2 labels failed (2 not converged), none of them in generation 1."
