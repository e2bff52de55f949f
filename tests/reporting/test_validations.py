"""What the page makes of results that `sparring validate` has left in a run folder; these here are made up."""

import json
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import typer
from ase import Atoms

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.cli.validate import app
from sparring.evaluation import StructurePredictions
from sparring.inputs.extxyz import write_structures
from sparring.reporting import page as pages
from sparring.reporting.reading import read_run
from sparring.reporting.validations import validations
from sparring.support.tables import Column, Table
from sparring.surfaces.grids import Variable
from sparring.surfaces.landscape import Landscape, Landscapes
from sparring.surfaces.minimum_energy_path import MinimumEnergyPath
from sparring.units import KCAL_PER_MOL
from sparring.validation.barrier.compute import Barriers
from sparring.validation.bond_scan.scans import BondScan, CoordinateScan, Flag
from sparring.validation.diversity.compute import Diversity, gather
from sparring.validation.errors.compute import error_report
from sparring.validation.records import keep, write_record
from sparring.validation.survival.failures import Failure
from sparring.validation.survival.trials import Settings, Survival, SurvivalAtTemperature

KCAL = KCAL_PER_MOL


def path(height, n_members=3):
    """A symmetric path whose middle image is so many kcal/mol high; members are 0.1 kcal/mol apart."""
    place = np.linspace(0.0, np.pi, 11)
    heights = height + 0.1 * np.arange(n_members) - 0.05 * (n_members - 1)
    members = KCAL * np.outer(heights, np.sin(place) ** 2)
    return MinimumEnergyPath(
        method="made up",
        coordinate=place,
        energy=members.mean(axis=0),
        slope=KCAL * height * np.sin(2 * place),
        energy_sigma=members.std(axis=0),
        member_energy=members,
        moved=np.zeros(2),
        climb=False,
        converged=True,
        n_steps=3,
        fmax=0.01,
    )


def trials(n_stable):
    settings = Settings(
        formula="H3N", duration=5000.0, timestep=0.5, ensemble="made up", criteria=("it fails",), seed=0
    )
    failures = [Failure(copy=number, time=100.0 + number, reason="too short") for number in range(20 - n_stable)]
    return Survival.of(
        [SurvivalAtTemperature.of(500.0, 20, failures), SurvivalAtTemperature.of(1000.0, 20, failures)], settings
    )


def scan(hole):
    """A scan of one bond, which falls by 1 eV at its short end or does not."""
    values, energy = np.array([0.7, 1.0, 1.3]), np.array([-1.0 if hole else 1.0, 0.0, 1.0])
    flags = (Flag(point=0, kind="below", amount=1.0),) if hole else ()
    one = CoordinateScan(
        kind="bond",
        name="N0-H1",
        atoms=(0, 1),
        n_equivalent=3,
        start=1.0,
        values=values,
        energy=energy,
        energy_sigma=0.1 * np.ones(3),
        label=np.full(3, np.nan),
        flags=flags,
    )
    return BondScan(
        formula="H3N", tolerance=0.2, n_sigma=3.0, start_energy=0.0, scans=(one,), skipped=(), method="", refused=0
    )


def surface(error, n=5):
    """A bowl of 80 kcal/mol, and a committee that is wrong by the same everywhere."""
    x = np.linspace(-1.0, 1.0, n)
    truth = 40 * KCAL * (x[:, None] ** 2 + x**2)
    return Landscape(
        x=Variable(name="R/R0", unit="", values=x),
        y=Variable(name="Z/Z0", unit="", values=x),
        zero=-1538.0,
        mask=np.ones((n, n), dtype=bool),
        energy=truth + error * KCAL,
        energy_sigma=np.full((n, n), 0.01),
        force_sigma=np.full((n, n), 0.1) + truth,
        truth=truth,
        truth_method="made up",
        failures=(),
        marks={},
    )


def errors(noise):
    generator = np.random.default_rng(0)
    frames = [Atoms("H3N", positions=generator.normal(size=(4, 3))) for _ in range(40)]
    for place, atoms in enumerate(frames):
        atoms.info[ENERGY] = KCAL * 1.5 * place
        atoms.arrays[FORCES] = np.zeros((4, 3))
    dataset = Dataset.from_atoms(frames)
    sigma = noise * generator.lognormal(0, 1, 40)
    predicted = StructurePredictions(
        energy=dataset.energy.numpy() + noise,
        forces=tuple(one * generator.normal(size=(4, 3)) for one in sigma),
        energy_variance=sigma**2,
        force_variance=sigma**2,
        atom_variance=tuple(np.full(4, one**2) for one in sigma),
    )
    return error_report(predicted, dataset, n_members=5, positive="worst", data="made up")


def diversity_of(folder):
    frames = gather([folder])
    write_structures(folder / "validation" / "diversity.extxyz", frames)
    n, generator = len(frames), np.random.default_rng(0)
    return Diversity(
        map=generator.normal(size=(n, 2)),
        energy=generator.uniform(size=n),
        rmsd=generator.uniform(size=n),
        novelty=np.where([one.info["generation"] > 1 for one in frames], 3.0, np.nan),
        spacing=np.where([one.info["generation"] > 1 for one in frames], 1.5, np.nan),
        source=tuple(one.info["source"] for one in frames),
        generation=np.array([one.info["generation"] for one in frames]),
        runs=tuple(("run",) for _ in frames),
        n_neighbors=15,
        seed=0,
    )


def with_room(folder):
    """A run with room for results, whose labels were found by attacks."""
    with (folder / "config.yaml").open("a") as config:
        config.write("attack:\n  kind: adversarial\n")
    for place in (folder, *folder.glob("generation-*")):
        (place / "validation").mkdir()
    return folder


@pytest.fixture
def run_folder(made_up_run):
    return with_room(made_up_run())


@pytest.fixture(scope="module")
def measured(finished_run, tmp_path_factory):
    """A run with all results, for those who only look at it."""
    folder = tmp_path_factory.mktemp("measured") / "run"
    ignored = shutil.ignore_patterns("report.html", "figures")
    run_folder = with_room(Path(shutil.copytree(finished_run, folder, ignore=ignored)))
    names = ("generation 1", "generation 2", "generation 3")
    committees = dict(zip(names, (path(5.3), path(6.2), path(6.35)), strict=True))
    write_record(
        run_folder / "validation/barrier.json", Barriers(committees=committees, truth=path(6.3, 1), failures={})
    )
    maps = dict(zip(names, (surface(4.0), surface(2.0), surface(1.0)), strict=True))
    write_record(run_folder / "validation/landscape.json", Landscapes(committees=maps))
    write_record(run_folder / "validation/diversity.json", diversity_of(run_folder))
    for number, n_stable in ((1, 0), (2, 10), (3, 17)):
        place = run_folder / f"generation-0{number}/validation"
        write_record(place / "survival.json", trials(n_stable))
        write_record(place / "bonds.json", scan(hole=number == 3))
        write_record(place / "errors.json", errors(0.1 / number))
    return run_folder


@pytest.fixture(scope="module")
def known(measured):
    return {one.name: one for one in validations(read_run(measured)).sections}


@pytest.fixture
def measured_run(measured, tmp_path, unchecked):
    """A copy of one's own, which may be changed."""
    return unchecked(Path(shutil.copytree(measured, tmp_path / "measured", ignore=shutil.ignore_patterns("figures"))))


def sections(folder):
    return {one.name: one for one in validations(read_run(folder)).sections}


def rows(table):
    """Cells of a table by row and heading; of a heading that stands twice the first."""
    return {row[0]: dict(reversed([*zip(table.headings[1:], row[1:], strict=True)])) for row in table.cells()}


class Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.text, self.ids = "", []

    def handle_starttag(self, tag, attributes):
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_data(self, data):
        self.text += data


def parsed(folder):
    parser = Text()
    parser.feed(pages.report(folder).read_text(encoding="utf-8"))
    return parser


@pytest.fixture
def without_figures_of_the_run(monkeypatch):
    """These take longest, and are tested elsewhere."""
    monkeypatch.setattr(pages, "_sheets", lambda run: ())


def test_a_run_with_all_results_has_a_section_and_a_figure_of_each(measured_run, without_figures_of_the_run):
    page = parsed(measured_run)
    for name in ("bonds", "barrier", "survival", "landscape", "errors", "diversity"):
        assert f"{name}-section" in page.ids
        assert name in page.ids
        assert (measured_run / "figures" / f"{name}.svg").exists()
    assert "Not measured yet" not in page.text


def test_the_same_results_give_the_same_page(run_folder, without_figures_of_the_run):
    result = Landscapes(committees={"generation 1": surface(1.0)})
    write_record(run_folder / "validation/landscape.json", result)
    first = pages.report(run_folder).read_bytes()
    assert pages.report(run_folder).read_bytes() == first


def test_barriers_stand_beside_the_label_methods_and_the_papers(known):
    table = rows(known["barrier"].table)
    assert table["generation 1"]["barrier\n(kcal/mol)"] == "5.30"
    assert table["generation 1"]["error"] == "-1.00"
    assert table["generation 1"]["members"] == "5.20 to 5.40"
    assert table["label method"]["barrier\n(kcal/mol)"] == "6.30"
    assert [table[f"generation {n}"]["paper's\nerror"] for n in (1, 2, 3)] == ["about −1", "within ±0.25", "-"]


def test_stable_shares_stand_beside_the_papers(known):
    section = known["survival"]
    table = rows(section.table)
    assert [table[f"generation {n}"]["all"].splitlines()[0] for n in (1, 2, 3)] == ["0 %", "50 %", "85 %"]
    assert [table[f"generation {n}"]["paper"] for n in (1, 2, 3)] == ["0 %", "-", "83 %"]
    assert table["generation 2"]["500 K"] == "50 %\n[30, 70]"  # Wilson's interval of 10 in 20
    assert any("63 %" in note for note in section.notes)
    assert any("20 copies at each temperature for 5 ps" in note for note in section.notes)
    ((heading, failures),) = section.more_tables
    assert heading == "Failures, generation 3"
    assert [row[:4] for row in failures.cells()[:2]] == [
        ("500", "0", "0.100", "too short"),
        ("1000", "0", "0.100", "too short"),
    ]


def test_holes_along_bonds_are_counted_and_those_of_the_newest_committee_named(known):
    section = known["bonds"]
    assert [row["with holes"] for row in rows(section.table).values()] == ["0", "0", "1"]
    ((heading, flags),) = section.more_tables
    assert heading == "Flags, generation 3"
    assert flags.cells()[0][:4] == ("bond N0-H1", "3", "0.70 Å (start 1.00)", "energy below the start by")
    assert section.figures[0].title.endswith("generation 3")


def test_landscapes_give_errors_below_caps(known):
    table = rows(known["landscape"].table)
    assert table["generation 1"]["≤ 5"] == "4.00"
    assert table["generation 3"]["≤ 80"] == "1.00"
    assert table["points"]["≤ 80"] == "25"


def test_errors_are_given_by_generation_and_the_newest_is_drawn(known):
    section = known["errors"]
    assert section.figures[0].title.endswith("generation 3")
    assert [row[0] for row in section.table.rows] == ["generation 1", "generation 2", "generation 3"]
    energy = [float(row[2]) for row in section.table.cells()]
    assert energy == pytest.approx([0.1 / KCAL, 0.05 / KCAL, 0.1 / 3 / KCAL], abs=0.01)
    assert sum(span for _, span in section.table.groups) == len(section.table.headings)
    assert {len(row) for row in section.table.rows} == {len(section.table.headings)}


def test_diversity_is_given_by_group_with_how_new_it_is(known):
    table = rows(known["diversity"].table)
    assert table["attack, generation 1"]["in\nspacings"] == "2.0 ×"
    assert table["normal mode, start"]["novelty"] == "-"


def test_what_the_paper_says_is_only_said_of_its_own_systems(measured_run):
    config = measured_run / "config.yaml"
    config.write_text(config.read_text().replace("kind: ammonia", "kind: own"))
    found = sections(measured_run)
    assert not any("paper" in note.lower() for section in found.values() for note in section.notes)
    assert not any("paper" in heading for name in ("barrier", "survival") for heading in found[name].table.headings)


def test_the_papers_later_generations_are_no_measure_for_random_displacements(measured_run):
    config = measured_run / "config.yaml"
    config.write_text(config.read_text().replace("kind: adversarial", "kind: random"))
    table = rows(sections(measured_run)["barrier"].table)
    assert [table[f"generation {n}"]["paper's\nerror"] for n in (1, 2)] == ["about −1", "-"]


# --- what is missing ------------------------------------------------------------------------------------------------


def commands(folder):
    return [command for section in validations(read_run(folder)).sections for command in section.missing]


def test_the_page_tells_the_command_that_makes_what_is_missing(run_folder, without_figures_of_the_run):
    page = parsed(run_folder)
    assert f"sparring validate barrier {run_folder} --config {run_folder}/config.yaml" in page.text
    assert f"sparring validate landscape {run_folder}" in page.text
    assert f"sparring validate diversity {run_folder}" in page.text
    for number in (1, 2, 3):
        assert f"sparring validate survival {run_folder}/generation-0{number}" in page.text
        assert f"sparring validate errors {run_folder}/generation-0{number}" in page.text
    assert "barrier-section" not in page.ids


def test_the_commands_that_the_page_names_exist(run_folder):
    verbs = typer.main.get_group(app).list_commands(None)
    for command in commands(run_folder):
        program, group, verb, *_ = shlex.split(command)
        assert (program, group) == ("sparring", "validate")
        assert verb in verbs


def test_a_folder_with_a_space_in_its_name_is_quoted(run_folder):
    spaced = run_folder.rename(run_folder.with_name("my run"))
    assert f"sparring validate diversity '{spaced}'" in commands(spaced)


def test_only_the_generations_without_a_result_are_asked_for(run_folder):
    write_record(run_folder / "generation-02/validation/survival.json", trials(10))
    section = sections(run_folder)["survival"]
    assert [shlex.split(command)[-1][-2:] for command in section.missing] == ["01", "03"]
    assert len(section.table.rows) == 1


def test_wells_are_not_asked_for_what_only_molecules_have(made_up_run):
    found = sections(made_up_run(system="double_well_2d", formulas=("X",)))
    assert sorted(found) == ["errors", "landscape"]


def test_a_run_that_has_trained_nothing_is_asked_for_nothing(made_up_run):
    folder = made_up_run(n_generations=1)
    for name in ("training.csv", "metrics.json"):
        (folder / "generation-01" / name).unlink()
    assert sections(folder) == {}


def test_results_of_single_generations_are_put_together(run_folder):
    for number, height in ((1, 5.0), (3, 6.0)):
        result = Barriers(committees={f"generation {number}": path(height)}, truth=None, failures={})
        write_record(run_folder / f"generation-0{number}/validation/barrier.json", result)
    section = sections(run_folder)["barrier"]
    assert [row[0] for row in section.table.rows] == ["generation 1", "generation 3"]
    assert len(section.missing) == 1  # generation 2
    assert any("--config" in note for note in section.notes)  # nobody asked for the true path yet


def test_a_run_that_has_gone_on_is_asked_for_its_newer_committees(measured_run):
    file = measured_run / "validation/landscape.json"
    content = json.loads(file.read_text())
    del content["committees"]["generation 3"]
    file.write_text(json.dumps(content))
    found = sections(measured_run)
    assert found["landscape"].missing == (f"sparring validate landscape {measured_run}",)
    assert found["barrier"].missing == ()


def test_a_result_of_the_whole_run_goes_before_one_of_a_generation(measured_run):
    other = Barriers(committees={"generation 2": path(9.9)}, truth=None, failures={})
    write_record(measured_run / "generation-02/validation/barrier.json", other)
    assert rows(sections(measured_run)["barrier"].table)["generation 2"]["barrier\n(kcal/mol)"] == "6.20"


def test_generation_10_stands_behind_generation_2(run_folder):
    committees = {f"generation {n}": path(6.0) for n in (10, 2)}
    write_record(run_folder / "validation/barrier.json", Barriers(committees=committees, truth=None, failures={}))
    assert [row[0] for row in sections(run_folder)["barrier"].table.rows] == ["generation 2", "generation 10"]


def test_a_committee_without_a_path_is_named(run_folder):
    result = Barriers(committees={"generation 2": path(6.0)}, truth=None, failures={"generation 1": "it fell apart"})
    write_record(run_folder / "validation/barrier.json", result)
    assert "generation 1 has no path: it fell apart" in sections(run_folder)["barrier"].notes


def test_landscapes_on_different_grids_get_figures_of_their_own(run_folder):
    maps = {"generation 1": surface(2.0), "generation 2": surface(1.0, n=7)}
    write_record(run_folder / "validation/landscape.json", Landscapes(committees=maps))
    assert [sheet.name for sheet in sections(run_folder)["landscape"].figures] == ["landscape", "landscape_2"]


# --- what is broken -------------------------------------------------------------------------------------------------

FILES = (
    "validation/barrier.json",
    "validation/landscape.json",
    "validation/diversity.json",
    "generation-02/validation/survival.json",
    "generation-02/validation/errors.json",
)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"committees": 3}', "null", "\x00"])
@pytest.mark.parametrize("name", FILES)
def test_a_broken_result_is_a_line_on_the_page_and_no_crash(run_folder, name, content):
    (run_folder / name).write_text(content)
    problems = [problem for section in sections(run_folder).values() for problem in section.problems]
    assert len(problems) == 1
    assert name in problems[0]
    assert "cannot be read" in problems[0]


def test_a_table_without_a_row_is_not_shown(measured_run, monkeypatch):
    monkeypatch.setattr(
        "sparring.validation.barrier.table.barrier_table", lambda *_, **__: Table(columns=(Column(title="a"),), rows=())
    )
    sections = {section.name: section for section in validations(read_run(measured_run)).sections}
    assert sections["barrier"].table is None
    assert sections["survival"].table.rows


@pytest.mark.parametrize("key", ["energy", "truth", "marks"])
def test_a_result_of_another_version_is_a_line_on_the_page(measured_run, key):
    file = measured_run / "validation/landscape.json"
    content = json.loads(file.read_text())
    for one in content["committees"].values():
        del one[key]
    file.write_text(json.dumps(content))
    section = sections(measured_run)["landscape"]
    assert "validation/landscape.json" in section.problems[0]
    assert key in section.problems[0]
    assert section.figures == ()


def test_what_cannot_be_drawn_is_a_line_on_the_page(run_folder, without_figures_of_the_run, caplog):
    file = run_folder / "validation/landscape.json"
    write_record(file, Landscapes(committees={"generation 1": surface(1.0)}))
    write_record(run_folder / "generation-01/validation/survival.json", trials(10))
    content = json.loads(file.read_text())
    values = content["committees"]["generation 1"]["x"]["values"]
    del values[2:]
    keep(file, json.dumps(content).encode())
    page = parsed(run_folder)
    assert "cannot be shown" in page.text
    assert "survival" in page.ids
    assert "landscape" in caplog.text.lower()


def test_a_map_comes_with_its_structures(measured_run):
    mapped = validations(read_run(measured_run)).embedded
    assert len(mapped.frames) == len(mapped.diversity.rmsd) == 78


def test_a_map_without_its_structures_leaves_the_explorer_as_it_is_without(measured_run):
    (measured_run / "validation/diversity.extxyz").unlink()
    known = validations(read_run(measured_run))
    assert known.embedded is None
    assert "no similarity map" in known.sections[-1].problems[0]
    assert known.sections[-1].figures


def test_a_map_of_other_structures_is_not_used(measured_run):
    write_structures(measured_run / "validation/diversity.extxyz", gather([measured_run])[:-3])
    known = validations(read_run(measured_run))
    assert known.embedded is None
    assert "75 structures" in known.sections[-1].problems[0]
