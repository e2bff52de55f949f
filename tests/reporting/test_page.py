import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from ase.io import read, write

from sparring.reporting.page import report
from sparring.reporting.reading import read_run
from sparring.reporting.sheets import sheets
from sparring.reporting.tables import funnel, generation_table, reference_barrier, stopped

ATTACK = ("attacks.extxyz", "paths.npz", "selected.extxyz")
LABELS = ("labelled.extxyz", "failures.csv")
FIT = ("training.csv", "predictions.extxyz", "metrics.json")
FIGURES = [
    "learning_curves",
    "parity_energy",
    "parity_forces",
    "path_energy",
    "path_uncertainty",
    "labelled_energies",
    "uncertainty_error",
    "label_cost",
]


class Addresses(HTMLParser):
    """Collects every address that a page could load or lead to, and all its text."""

    def __init__(self):
        super().__init__()
        self.addresses, self.tags, self.text = [], set(), ""

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def page(finished_run):
    before = {path: path.read_bytes() for path in finished_run.rglob("*") if path.is_file()}
    written = report(finished_run)
    return written, before


def parse(path):
    parser = Addresses()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def test_the_page_needs_nothing_outside_itself(page):
    parser = parse(page[0])
    assert parser.addresses
    assert all(address.startswith(("data:", "#")) for address in parser.addresses)
    assert not {"iframe", "object", "embed", "base"} & parser.tags
    assert "@import" not in parser.text
    assert not re.search(r"url\((?!#)", parser.text)


def test_the_page_forbids_a_browser_to_load_anything_or_to_run_any_other_script(page):
    text = page[0].read_text(encoding="utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    (script,) = re.findall(r'<script type="module">(.*?)</script>', text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'")


def test_every_figure_is_on_the_page_and_beside_it_as_png_and_svg(page, finished_run):
    written, _ = page
    assert written == finished_run / "report.html"
    names = sorted(path.name for path in (finished_run / "figures").iterdir())
    figures = [f"{name}.{kind}" for name in ("errors_found", "overview", *FIGURES) for kind in ("png", "svg")]
    assert names == sorted(["checksums.json", *figures])
    assert parse(written).addresses.count("data:,") == 1
    assert sum(address.startswith("data:image/svg+xml") for address in parse(written).addresses) == len(FIGURES) + 2


def test_a_report_changes_nothing_that_the_run_has_written(page):
    assert all(path.read_bytes() == content for path, content in page[1].items())


def test_the_same_run_gives_the_same_page(page, finished_run):
    before = {path: path.read_bytes() for path in finished_run.rglob("*") if path.is_file()}
    report(str(finished_run))
    assert {path: path.read_bytes() for path in finished_run.rglob("*") if path.is_file()} == before


def test_what_a_failure_said_is_shown_as_it_was_said(page):
    parser = parse(page[0])
    assert "wanted at least 0.5 Å <at the nitrogen>" in parser.text
    assert "at" not in parser.tags


def test_the_page_holds_the_configuration_and_the_versions(page):
    text = parse(page[0]).text
    assert "kind: ammonia" in text
    assert "2.13.0" in text


def test_the_table_has_a_row_a_generation_and_dashes_for_what_never_happened(finished_run):
    run = read_run(finished_run)
    table = generation_table(run)
    assert [heading for heading, _ in table.groups] == ["", "own test set", "barrier", "attacks", "labels", "seconds"]
    assert sum(span for _, span in table.groups) == len(table.headings)
    first, _, last = (dict(zip(table.headings, row, strict=True)) for row in table.cells())
    assert first["its\nerror"] == "-0.92"
    assert (first["chosen"], first["computed"], first["from\nstore"], first["failed"]) == ("20", "17", "2", "1")
    assert (last["chosen"], last["structures"]) == ("-", "78")
    assert reference_barrier(run) == "6.32 kcal/mol"


def test_wells_have_the_error_over_their_grid_and_no_barrier(made_up_run):
    run = read_run(made_up_run(system="double_well_2d", formulas=("X",), n_generations=1))
    assert [heading for heading, _ in generation_table(run).groups] == ["", "own test set", "landscape", "seconds"]
    assert reference_barrier(run) is None


def test_the_funnel_counts_from_all_attacks_to_the_labels(finished_run):
    run = read_run(finished_run)
    stages = [(stage.name, stage.n_left) for stage in funnel(run.generations[0])]
    assert stages == [
        ("attacks", 30),
        ("candidates", 29),
        ("uncertainty above", 24),
        ("energy window", 22),
        ("budget", 20),
        ("labelled", 19),
    ]
    assert stopped(run.generations[0]) == "Stopped early: 1 by a value that is not finite, 0 by an overlap of atoms."
    assert funnel(run.generations[2]) == ()


@pytest.mark.parametrize(
    ("missing", "figures"),
    [
        (LABELS, FIGURES[:6]),
        ((*ATTACK, *LABELS), [*FIGURES[:3], FIGURES[5]]),
        ((*FIT, *ATTACK, *LABELS), [FIGURES[5]]),
        (("dataset.extxyz", *FIT, *ATTACK, *LABELS), []),
    ],
    ids=["before the labels", "before the attacks", "before the fit", "before the data"],
)
def test_a_run_that_was_stopped_has_a_report_of_what_it_got_to(made_up_run, missing, figures):
    folder = made_up_run(n_generations=2)
    for path in (folder / "generation-02").iterdir():
        path.unlink()
    for name in missing:
        (folder / "generation-01" / name).unlink(missing_ok=True)
    run = read_run(folder)
    assert [sheet.name for sheet in sheets(run)] == figures
    assert len(generation_table(run).rows) == 2


def test_a_run_that_has_only_begun_has_a_page(made_up_run):
    folder = made_up_run(n_generations=1)
    for path in (folder / "generation-01").iterdir():
        path.unlink()
    assert "In progress: 0 of 1 generations evaluated." in parse(report(folder)).text


def test_a_generation_that_has_only_its_data_is_not_called_evaluated(made_up_run):
    folder = made_up_run(n_generations=1)
    for path in (folder / "generation-01").iterdir():
        path.unlink()
    (folder / "generation-01" / "metrics.json").write_text('{"generation": 1, "n_structures": 40}')
    assert "In progress: 0 of 1 generations evaluated." in parse(report(folder)).text


def test_a_run_without_generations_has_a_page(made_up_run):
    folder = made_up_run(n_generations=0)
    assert "No generation has committed anything yet." in parse(report(folder)).text


def test_a_folder_that_is_no_run_gets_no_page(tmp_path):
    with pytest.raises(ValueError, match="not a run folder"):
        report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_page_says_of_which_atoms_the_committee_was_uncertain(made_up_run):
    folder = made_up_run(n_generations=2)
    frames = read(folder / "generation-01" / "labelled.extxyz", ":")
    for atoms in frames:
        atoms.arrays["atom_uncertainty"] = np.arange(4) / 10
    write(folder / "generation-01" / "selected.extxyz", frames, format="extxyz")
    text = parse(report(folder)).text
    assert "σ of the forces on atoms in the 19 structures selected in generation 1, in eV/Å; " in text
    symbol = frames[0].symbols[3]
    assert f"most uncertain atom, counted from 0: {symbol}3 in 19 of 19." in text
