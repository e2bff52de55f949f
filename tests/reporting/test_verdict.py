"""The first thing that a report says is true, and made of the numbers of the run."""

import csv
import json
import re
import shutil
from dataclasses import replace

import pytest

from sparring.config import dump, load
from sparring.evaluation import Errors
from sparring.reporting import page
from sparring.reporting.overview import overview
from sparring.reporting.page import report
from sparring.reporting.reading import read_run
from sparring.reporting.sheets import comparison
from sparring.reporting.tables import common_notes, common_table, generation_table
from sparring.reporting.verdict import verdict, warnings
from sparring.runs.folder import RunFolder
from sparring.units import KCAL_PER_MOL
from sparring.validation.errors.common_set import CommonErrors


def errors(energy, force, n=8):
    energy, force = energy * KCAL_PER_MOL, force * KCAL_PER_MOL
    return Errors(energy_mae=energy, energy_rmse=energy, force_mae=force, force_rmse=force, n_structures=n)


def common(every, near, far=(), **changes):
    """Errors in kcal/mol, a pair a generation."""
    parts = {"all": every, "near": near, "far": far}
    return CommonErrors(
        **{
            "name": "the test set of generation 3",
            "run_digest": "",
            "file_digest": "",
            "near": 2.5 * KCAL_PER_MOL,
            "n_structures": {"all": 12, "near": 8 if near else 0, "far": 4 if far else 0},
            "n_left_out": 0,
            "n_without_zero": 0,
            "committees": {},
            "errors": {
                str(place + 1): {part: errors(*pairs[place]) for part, pairs in parts.items() if pairs}
                for place in range(len(every))
            },
            **changes,
        }
    )


@pytest.fixture
def run(finished_run):
    return read_run(finished_run)


def text_of(written):
    found = re.sub(r"<[^>]*>", " ", written.read_text(encoding="utf-8").partition("</style>")[2])
    return " ".join(found.split())


def test_a_last_generation_that_is_worse_near_the_minimum_is_said_to_be(run):
    compared = common([(9.0, 20.0), (5.0, 15.0), (4.0, 11.0)], [(0.86, 2.7), (0.14, 0.62), (0.5, 1.43)])
    first, second = verdict(replace(run, common=compared))
    assert first == (
        "On the same 12 structures, mean absolute errors of generations 1 to 3 went from 9.00 to 4.00 kcal/mol and "
        "from 20.00 to 11.00 kcal/mol/Å."
    )
    assert second == (
        "Near the minimum (8 of them) they went from 0.86 to 0.50 kcal/mol and from 2.70 to 1.43 kcal/mol/Å: "
        "generation 3 is worse than generation 2, which had 0.14 kcal/mol and 0.62 kcal/mol/Å."
    )


def test_a_last_generation_that_is_better_near_the_minimum_is_not_called_worse(run):
    compared = common([(9.0, 20.0), (5.0, 15.0)], [(0.86, 2.7), (0.14, 0.62)])
    assert verdict(replace(run, common=compared))[1].endswith("from 2.70 to 0.62 kcal/mol/Å.")


def test_only_what_is_worse_is_named(run):
    compared = common([(9.0, 20.0)] * 3, [(0.5, 6.0), (1.85, 7.2), (1.94, 4.8)])
    assert verdict(replace(run, common=compared))[1].endswith("worse than generation 2, which had 1.85 kcal/mol.")


def test_what_differs_only_in_digits_that_are_not_shown_is_not_worse(run):
    compared = common([(9.0, 20.0)] * 2, [(0.5, 6.0), (0.501, 6.0)])
    assert "worse" not in verdict(replace(run, common=compared))[1]


def test_errors_that_are_not_finite_are_worse_than_any_others(run):
    compared = common([(9.0, 20.0)] * 2, [(0.5, 6.0), (float("nan"), 6.0)])
    assert "from 0.50 to not finite kcal/mol" in verdict(replace(run, common=compared))[1]
    assert "worse" in verdict(replace(run, common=compared))[1]


def test_a_single_generation_is_described_and_not_compared(run):
    (sentence,) = verdict(replace(run, common=common([(9.0, 20.0)], [(0.5, 6.0)])))
    assert sentence == (
        "On 12 structures that no member has trained on, generation 1 has mean absolute errors of 9.00 kcal/mol and "
        "20.00 kcal/mol/Å."
    )


def test_without_a_comparison_no_generation_is_called_better(run):
    sentences = verdict(run)
    assert sentences[0] == (
        "Errors of all generations on one set are not known; test errors below are on different structures."
    )
    assert not re.search("better|worse|went", " ".join(sentences))


def test_a_run_that_has_evaluated_nothing_has_no_verdict(made_up_run):
    folder = made_up_run(n_generations=1)
    for path in (folder / "generation-01").iterdir():
        path.unlink()
    assert verdict(read_run(folder)) == ()


@pytest.mark.parametrize("generations", [1, 2, 3])
def test_there_are_at_most_two_sentences(run, generations):
    compared = common([(9.0, 20.0)] * generations, [(0.5, 6.0)] * generations)
    assert len(verdict(replace(run, common=compared))) <= 2


# --- the page -------------------------------------------------------------------------------------------------------


def test_errors_on_the_same_set_stand_beside_those_on_own_test_sets(run):
    compared = common([(9.0, 20.0), (5.0, 15.0), (4.0, 11.0)], [(0.86, 2.7), (0.14, 0.62), (0.5, 1.43)])
    table = generation_table(replace(run, common=compared))
    assert [heading for heading, _ in table.groups][:4] == ["", "same set", "near minimum", "own test set"]
    assert table.cells()[2][2:6] == ("4.000", "11.000", "0.500", "1.430")


def test_the_table_of_one_set_has_mean_and_root_mean_square_errors_of_each_part(run):
    compared = common([(9.0, 20.0)], [(0.5, 6.0)], [(30.0, 60.0)])
    assert common_table(compared, run.unit).cells() == (
        ("all", "12", "1", "9.000", "9.000", "20.000", "20.000"),
        ("near the minimum", "8", "1", "0.500", "0.500", "6.000", "6.000"),
        ("far above it", "4", "1", "30.000", "30.000", "60.000", "60.000"),
    )


def test_notes_say_what_the_set_is_and_what_is_not_in_it(run):
    compared = common([(9.0, 20.0)], [(0.5, 6.0)], name="mine.xyz", file_digest="x", n_left_out=3, n_without_zero=2)
    notes = " ".join(common_notes(replace(run, common=compared)))
    assert "mine.xyz. No member of any generation has trained on them." in notes
    assert "at most 2.5 kcal/mol per atom above the lowest of their composition" in notes
    assert "3 structures of the file were left out" in notes
    assert "2 structures are the only one of their composition" in notes
    assert "chosen because" not in notes  # only what attacks found was
    assert "off by" not in notes
    shifted = replace(compared, energy_bias={"1": -8.99 * KCAL_PER_MOL})
    notes = " ".join(common_notes(replace(run, common=shifted)))
    assert "Energies of generation 1 are off by −8.99 kcal/mol on average" in notes
    assert "another zero of energy in the file" in notes


def test_a_line_joins_only_errors_on_the_same_structures(run):
    compared = common([(9.0, 20.0), (5.0, 15.0), (4.0, 11.0)], [(0.86, 2.7), (0.14, 0.62), (0.5, 1.43)])
    for ax in comparison(replace(run, common=compared)).figure.axes:
        styles = {line.get_label(): line.get_linestyle() for line in ax.lines}
        assert styles == {"all, 12": "-", "near the minimum, 8": "-", "each on its own test set": "None"}


def test_the_overview_does_not_join_test_errors_of_different_structures(made_up_run):
    run = read_run(made_up_run(system="own"))
    ax = overview(run).axes[2]
    assert ax.get_title(loc="left") == "Forces, each on its own test set"
    assert not ax.lines
    ax = overview(replace(run, common=common([(9.0, 20.0), (5.0, 15.0), (4.0, 11.0)], []))).axes[2]
    assert ax.get_title(loc="left") == "Forces, on the same structures"
    assert ax.lines[0].get_ydata() == pytest.approx([20.0, 15.0, 11.0])


@pytest.fixture
def well(finished_well, tmp_path, unchecked):
    return unchecked(shutil.copytree(finished_well, tmp_path / "well"))


def test_the_report_of_a_run_compares_its_committees(well):
    text = text_of(report(well))
    assert "All generations on one set" in text
    assert "The same structures for every generation: the test set of generation 3." in text
    assert (well / "figures" / "errors_on_one_set.png").is_file()
    assert verdict(read_run(well))[0] in text


def test_a_set_or_a_committee_that_cannot_be_read_is_said(well, tmp_path):
    (well / "generation-02" / "committee.safetensors").write_bytes(b"nonsense")
    assert re.search(r"cannot be compared on one set: .*generation-02/committee\.safetensors", page._compare(well))
    config = load(well / "config.yaml", overrides={"evaluation.file": str(tmp_path / "gone.xyz")})
    (well / "config.yaml").write_text(dump(config), encoding="utf-8")
    assert f"evaluation.file: {tmp_path / 'gone.xyz'} does not exist" in page._compare(well)


def test_failures_are_counted_by_reason_a_long_list_is_cut_and_a_problem_spares_the_rest(made_up_run, monkeypatch):
    def refused(folder):
        raise ValueError("mine.xyz has no energies")

    monkeypatch.setattr(page, "compare_committees", refused)
    folder = made_up_run(n_generations=2)
    first = folder / "generation-01"
    starting = [("start 4", "not_converged", "after 100 cycles")] * 60
    for name, rows in (("starting_failures", starting), ("failures", [*starting, (3, "distance", "too close")])):
        with (first / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            kind = "structure" if rows is starting else "candidate"
            csv.writer(file).writerows([(kind, "reason", "message"), *rows])
    note(folder, ["energies fell in 29 of 30 attacks"])
    text = text_of(report(folder))
    assert "61 labels failed: 60 not converged, 1 distance." in text
    assert "start 4 not converged after 100 cycles" in text
    assert "And 11 more, in failures.csv of their generations." in text
    told = "61 labels failed (60 not converged, 1 distance), 1 of them in generation 1."
    assert told in text[: text.index("Generations")]
    assert "The committees cannot be compared on one set: mine.xyz has no energies" in text
    assert "All generations on one set" not in text
    assert "Generation 1: energies fell in 29 of 30 attacks" in text


def test_the_folder_that_a_failed_label_left_is_read_where_it_is_known(made_up_run):
    folder = made_up_run(n_generations=2)
    assert read_run(folder).generations[0].failures[0].files == ""
    rows = "candidate,reason,message,files\n3,crashed,exit code 1,labels/scratch/ab12\n4,distance,too close,\n"
    (folder / "generation-01" / "failures.csv").write_text(rows, encoding="utf-8")
    assert [failure.files for failure in read_run(folder).generations[0].failures] == ["labels/scratch/ab12", ""]


def test_labels_that_have_stopped_a_run_are_told_with_their_causes_and_a_remedy(made_up_run):
    folder = made_up_run(n_generations=2)
    lines = ("0,crashed,ended its process twice (<SIGSEGV>),", "1,crashed,exit code 1,", "2,timed_out,1 h,")
    rows = "\n".join(["candidate,reason,message,files", *lines, ""])
    (folder / "generation-02" / "failures-open.csv").write_text(rows, encoding="utf-8")
    page = report(folder)
    text = text_of(page)
    assert "Generation 2 is not finished: 3 labels failed, and the run has stopped. Remove the cause and run" in text
    assert re.search(r"2 +crashed +ended its process twice \(&lt;SIGSEGV&gt;\)\s+1 +timed_out +1 h", text)
    assert "<SIGSEGV>" not in page.read_text(encoding="utf-8")
    assert "Stopped by failed labels, with 2 of 2 generations evaluated: see failures" in text
    assert "In progress" not in text


def test_a_run_that_was_stopped_by_its_first_labels_has_no_empty_figures(well_file, tmp_path):
    folder = tmp_path / "run"
    with RunFolder(folder, load(well_file())):
        (folder / "generation-01").mkdir()
        rows = "candidate,reason,message,files\n0,bad_input,no such element,\n"
        (folder / "generation-01" / "failures-open.csv").write_text(rows, encoding="utf-8")
    text = text_of(report(folder))
    assert "Stopped by failed labels, with 0 of 3 generations evaluated" in text
    assert not list((folder / "figures").glob("*.svg"))


def note(folder, lines):
    file = folder / "generation-01" / "metrics.json"
    metrics = json.loads(file.read_text())
    metrics["fit"] = {"best_epoch": [3], "rolled_back": [2], "dropped": [4]}
    file.write_text(json.dumps({**metrics, "warnings": lines}))


def test_what_a_stage_noted_is_shown(made_up_run):
    folder = made_up_run(n_generations=1)
    note(folder, ["energies fell in 29 of 30 attacks"])
    assert warnings(read_run(folder)) == (
        "Generation 1: member 4 diverged twice in training and is not in the committee.",
        "Generation 1: member 2 diverged once in training and went on from its best weights.",
        "Generation 1: energies fell in 29 of 30 attacks",
    )


def test_numbers_of_the_verdict_are_those_of_the_table(run):
    compared = common([(9.0, 20.0), (5.0, 15.0), (4.0, 11.0)], [(0.86, 2.7), (0.14, 0.62), (0.5, 1.43)])
    told = " ".join(verdict(replace(run, common=compared)))
    everywhere, _, last, near, before, newest = common_table(compared, run.unit).cells()
    wanted = (everywhere[3], everywhere[5], last[3], last[5], near[3], before[3], newest[3], newest[5])
    assert all(f"{float(cell):.2f}" in told for cell in wanted)
