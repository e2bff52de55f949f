"""Properties of crystals, which a run computes with its first and its last committee, and verbs that do the same."""

import numpy as np
import pytest
from ase.build import bulk

from sparring.commands import running
from sparring.commands.running import run
from sparring.commands.testing import planned_tests
from sparring.config import ConfigError, difference, load
from sparring.inputs.extxyz import write_structures
from sparring.reporting import page
from sparring.units import GPA
from sparring.validation.crystals import results
from sparring.validation.crystals.structures import crystals_of
from sparring.validation.equation_of_state.compute import EquationOfState
from sparring.validation.records import read_record

COPPER = """
generations: 3
system: {{kind: own, file: copper.xyz}}
labels: {{labeller: {{kind: ase, name: emt}}, n_workers: 1, bounds: {{energy_window: null}}}}
committee:
  n_members: 2
  potential: {{kind: schnet, n_features: 8, n_filters: 8, n_interactions: 1, n_gaussians: 4, cutoff: 3 Å}}
training: {{n_epochs: 2, learning_rate: 1e-3}}
attack: {{n_seeds: 2, seeds: random, n_steps: 2, initial_spread: 0.02 Å}}
selection: [{{kind: budget, n: 1}}]
evaluation: {evaluation}
"""
STATES = "{equation_of_state: {volume_range: 0.06, points: 7}}"


def written(folder, evaluation):
    file = folder / "copper.yaml"
    file.write_text(COPPER.format(evaluation=evaluation), encoding="utf-8")
    return file


def states(folder, number):
    return read_record(
        folder / f"generation-{number:02d}" / "validation" / "equation_of_state.json", tuple[EquationOfState, ...]
    )


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """A folder with a run on rattled copper, and the lines that it has logged."""
    folder = tmp_path_factory.mktemp("copper")
    frames = [bulk("Cu", a=3.6) * (2, 1, 1) for _ in range(7)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.02, seed=seed)
    write_structures(folder / "copper.xyz", frames)
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "report", lambda folder: (folder / "report.html").write_text("", encoding="utf-8"))
        run(written(folder, STATES), folder / "run", log=lines.append)
    return folder, lines


@pytest.fixture
def copper_run(first_run, monkeypatch):
    """The same folder, with a finished run."""
    monkeypatch.setattr(running, "report", lambda folder: (folder / "report.html").write_text("", encoding="utf-8"))
    run(written(first_run[0], STATES), first_run[0] / "run")
    return first_run[0]


def test_the_first_and_the_last_committee_have_equations_of_state_beside_that_of_the_labels(first_run):
    folder, lines = first_run
    found = [states(folder / "run", number) for number in (1, 3)]
    for (one,) in found:
        assert one.about.formula == "Cu"
        assert one.about.n_atoms == 1  # the smallest cell of the rattled one
        assert one.about.n_labels == 7
        assert one.label.bulk_modulus / GPA == pytest.approx(134, abs=3)
    np.testing.assert_array_equal(found[0][0].volumes, found[1][0].volumes)
    assert not (folder / "run" / "generation-02" / "validation" / "equation_of_state.json").exists()
    assert [line for line in lines if "equation of state" in line] == [
        "generation-01: equation of state done",
        "generation-03: equation of state done",
    ]


def test_a_finished_run_computes_nothing_again_and_other_options_do(copper_run, monkeypatch):
    before, lines = states(copper_run / "run", 1), []
    run(written(copper_run, STATES), copper_run / "run", log=lines.append)
    assert lines[-1] == "the run is finished: nothing was left to do"
    assert not any("equation of state" in line for line in lines)
    run(written(copper_run, "{equation_of_state: {volume_range: 0.05}}"), copper_run / "run", log=lines.append)
    (after,) = states(copper_run / "run", 3)
    assert len(after.volumes) == 11
    assert after.volumes[0] > before[0].volumes[0]


def test_an_interrupted_computation_goes_on_with_the_labels_that_it_has(copper_run, monkeypatch):
    folder = copper_run / "run"
    before = states(folder, 3)
    for number in (1, 3):
        (folder / f"generation-{number:02d}" / "validation" / "equation_of_state.json").unlink()
    stored = sorted(path.name for path in (folder / "labels").rglob("*.json"))
    run(written(copper_run, STATES), folder)
    assert sorted(path.name for path in (folder / "labels").rglob("*.json")) == stored
    (one,), (other,) = states(folder, 3), before
    np.testing.assert_array_equal(one.energy, other.energy)
    np.testing.assert_array_equal(one.label_energy, other.label_energy)


def test_a_test_that_is_not_possible_is_logged(copper_run, monkeypatch):
    lines = []
    monkeypatch.setattr(results, "crystals_of", lambda folder, file: [bulk("NaCl", "rocksalt", a=5.6)])
    run(written(copper_run, "{vacancy: {}}"), copper_run / "run", log=lines.append)
    assert any(line.startswith("generation-01: no vacancies: NaCl is a compound") for line in lines)


def test_the_verb_computes_the_same_and_its_section_stands_in_the_report(copper_run, sparring, monkeypatch):
    folder = copper_run / "run"
    before = (folder / "generation-03" / "validation" / "equation_of_state.json").read_bytes()
    options = ("--volume-range", "0.06", "--points", "7")
    answer = sparring("validate", "equation-of-state", folder / "generation-03", *options)
    assert answer.exit_code == 0, answer.err
    assert "generation-03  Cu" in answer.out
    assert "Labels by emt" in answer.err
    assert (folder / "generation-03" / "validation" / "equation_of_state.json").read_bytes() == before
    assert (folder / "generation-03" / "validation" / "equation_of_state.png").is_file()
    monkeypatch.setattr(page, "_sheets", lambda run: ())  # figures of the run take longest
    report = page.report(folder).read_text(encoding="utf-8")
    assert "<h2>Equation of state</h2>" in report
    assert (folder / "figures" / "equation_of_state.svg").is_file()
    assert "sparring validate elastic" in report
    assert "sparring validate equation-of-state" not in report


@pytest.mark.parametrize("verb", ["equation-of-state", "elastic", "phonons", "vacancy"])
def test_a_file_without_a_crystal_is_refused_by_each_verb(copper_run, sparring, verb):
    slab = bulk("Cu", cubic=True)
    slab.center(vacuum=8, axis=2)
    write_structures(copper_run / "slab.xyz", [slab])
    answer = sparring("validate", verb, copper_run / "run" / "generation-01", copper_run / "slab.xyz")
    assert answer.exit_code == 2
    assert "Cu4 is a slab or a molecule in a box, with an empty layer; give a bulk structure" in answer.err


def test_crystals_are_the_smallest_cells_of_lowest_energy_of_each_formula(tmp_path):
    folder = tmp_path / "generation-01"
    folder.mkdir()
    low, high = bulk("Cu", cubic=True), bulk("Cu", a=3.7)
    salt, slab = bulk("NaCl", "rocksalt", a=5.6) * (2, 2, 2), bulk("Cu", cubic=True)
    low.rattle(0.01, seed=0)
    slab.center(vacuum=8, axis=2)
    for frame, energy in ((low, -4.0), (high, -0.5), (salt, 1.0), (slab, -9.0)):
        frame.info["REF_energy"], frame.arrays["REF_forces"] = energy, np.zeros((len(frame), 3))
    write_structures(folder / "dataset.extxyz", [low, high, salt, slab])
    copper, found = crystals_of(folder)
    assert (len(copper), len(found)) == (1, 2)
    assert copper.cell.volume == pytest.approx(low.cell.volume / 4)
    assert found.symbols.formula.format("hill") == "ClNa"
    write_structures(folder / "dataset.extxyz", [slab])
    with pytest.raises(ValueError, match="has no crystal: no structure is periodic in three directions and without v"):
        crystals_of(folder)
    (folder / "dataset.extxyz").unlink()
    with pytest.raises(ValueError, match=r"is not a generation of a run: it has no dataset\.extxyz; give CRYSTALS"):
        crystals_of(folder)


def test_tests_may_be_changed_at_any_time_and_are_announced(copper_run):
    before, after = (load(written(copper_run, one)) for one in ("{}", "{elastic: {labels: 30}, phonons: {}}"))
    assert difference(before, after) == []
    assert after.evaluation.phonons.length == 10.0
    assert list(planned_tests(after)) == [
        "at the end elastic constants by the first and the last committee, at most 30 labels for each crystal "
        "(evaluation.elastic)",
        "at the end phonons by the first and the last committee, at most 100 labels for each crystal "
        "(evaluation.phonons)",
    ]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("{equation_of_state: {points: 4}}", r"evaluation\.equation_of_state\.points.* at least 5, got 4"),
        ("{equation_of_state: {volume_range: 0.5}}", r"evaluation\.equation_of_state\.volume_range.* at most 0\.49"),
        ("{elastic: {strain: 0.2}}", r"evaluation\.elastic\.strain.* at most 0\.09, got 0\.2"),
        ("{phonons: {length: 0.5 Å}}", r"evaluation\.phonons\.length.* at least 1 Å"),
        ("{vacancy: {lenght: 8 Å}}", "did you mean length"),
        ("{elastic: {labels: -1}}", "labels"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, wrong, message):
    write_structures(tmp_path / "copper.xyz", [bulk("Cu")])
    with pytest.raises(ConfigError, match=message):
        load(written(tmp_path, wrong))


def test_a_particle_has_no_crystal(tmp_path):
    write_structures(tmp_path / "copper.xyz", [bulk("Cu")])
    with pytest.raises(ConfigError, match="single particle, which has no crystal"):
        load(written(tmp_path, "{elastic: {}}"), overrides={"system": {"kind": "double_well_1d"}})
