"""Torsions, endpoints, a grid and criteria of one's own molecule: what the YAML says is what runs and reports have."""

import json
from functools import partial

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read

from sparring.assembly import labels, planning
from sparring.commands import running
from sparring.config import ConfigError, difference, dump, load
from sparring.inputs.extxyz import write_structures
from sparring.labels import workers
from sparring.reporting.reading import read_run
from sparring.reporting.tables import generation_table
from sparring.reporting.validations import validations
from sparring.surfaces.torsion_maps import evaluation
from sparring.validation.landscape import compute as landscape

SMALL = """
generations: 2
system: {{kind: own, file: molecule.xyz, {keys}}}
labels: {{labeller: {{kind: {labeller}}}, n_workers: 1, time_limit: null, bounds: {{energy_window: null}}}}
committee:
  n_members: 2
  potential: {{kind: schnet, n_features: 8, n_filters: 8, n_interactions: 1, n_gaussians: 4, cutoff: 3 Å}}
training: {{n_epochs: 3, learning_rate: 1e-3}}
attack: {{n_seeds: 4, seeds: random, n_steps: 3, initial_spread: 0.05 Å}}
selection: [{{kind: budget, n: 3}}]
"""
ETHANOL = molecule("CH3CH2OH")
TORSIONS = "torsions: [[0, 1, 2, 3], [1, 0, 4, 5]]"


@pytest.fixture
def written(tmp_path, rattled):
    """Writes a configuration of one's own molecule beside its structures."""

    def make(keys, *, structures=None, labeller="ase, name: emt"):
        frames = [ETHANOL, *rattled(ETHANOL, 5, stdev=0.03)] if structures is None else structures
        write_structures(tmp_path / "molecule.xyz", frames)
        file = tmp_path / "own.yaml"
        file.write_text(SMALL.format(keys=keys, labeller=labeller), encoding="utf-8")
        return file

    return make


def tried(file):
    """The message of what is wrong before anything is computed."""
    system = load(file).system.build()
    with pytest.raises(ValueError, match=r"^system\.") as caught:
        system.check(system.structures())
    return str(caught.value)


def with_torsions():
    """Four atoms each of the two torsions of ethanol that turn: about C-C and C-O."""
    oxygen = ETHANOL.symbols.indices()["O"][0]
    carbons = ETHANOL.symbols.indices()["C"].tolist()
    first = min(carbons, key=lambda atom: ETHANOL.get_distance(atom, oxygen))
    second = next(atom for atom in carbons if atom != first)
    hydrogens = ETHANOL.symbols.indices()["H"]
    hydroxyl = min(hydrogens, key=lambda atom: ETHANOL.get_distance(atom, oxygen))
    methyl = min(hydrogens, key=lambda atom: ETHANOL.get_distance(atom, second))
    return [[int(methyl), second, first, int(oxygen)], [second, first, int(oxygen), int(hydroxyl)]]


# --- torsions -------------------------------------------------------------------------------------------------------


def test_torsions_are_those_of_four_atoms_and_have_names_that_a_comment_line_can_hold(written):
    system = load(written(f"torsions: {with_torsions()}")).system.build()
    plane, reference = system.torsions([])
    assert plane.torsions == tuple(map(tuple, with_torsions()))
    assert all("-" in name and " " not in name for name in plane.names)
    np.testing.assert_allclose(reference.positions, ETHANOL.positions, atol=1e-6)


def test_a_smarts_is_a_torsion_about_each_bond_that_it_matches(written):
    pytest.importorskip("rdkit")
    system = load(written("torsions: ['[H]-C-C-O', 'C-C-O-[H]']")).system.build()
    plane, _ = system.torsions([])
    middle = [set(torsion[1:3]) for torsion in plane.torsions]
    assert middle == [set(torsion[1:3]) for torsion in with_torsions()]


@pytest.mark.parametrize(
    ("torsions", "message"),
    [
        ("[phi, psi]", "system.torsions: C2H6O has no phi"),
        (f"[{with_torsions()[0]}]", "maps are drawn over two torsions, got 1"),
        ("[[0, 1, 2, 99], [0, 1, 2, 3]]", "the atoms of C2H6O are numbered from 0 to 8"),
    ],
)
def test_torsions_that_the_molecule_has_not_are_named_before_anything_is_computed(written, torsions, message):
    file = written(f"torsions: {torsions}")
    assert message in tried(file)
    with pytest.raises(ValueError, match=r"system\.torsions"):
        running.run(file, file.parent / "run")
    assert not (file.parent / "run").exists()


def test_torsions_are_those_of_one_molecule(written):
    file = written(f"torsions: {with_torsions()}", structures=[ETHANOL, molecule("CH3OCH3")])
    assert "give the molecules runs of their own" in tried(file)


# --- endpoints and grids --------------------------------------------------------------------------------------------


def test_endpoints_are_found_beside_the_configuration_and_have_the_charge_of_the_section(written, tmp_path):
    other = ETHANOL.copy()
    other.rattle(0.2, seed=1)
    write_structures(tmp_path / "a.xyz", [ETHANOL])
    write_structures(tmp_path / "b.xyz", [other])
    file = written("endpoints: [a.xyz, b.xyz], charge: 1")
    system = load(file).system.build()
    start, end = system.endpoints([])
    assert (start.info["charge"], end.info["charge"]) == (1, 1)
    np.testing.assert_allclose(end.positions, other.positions, atol=1e-6)
    assert load(file).system.files() == (tmp_path / "molecule.xyz", tmp_path / "a.xyz", tmp_path / "b.xyz")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (ETHANOL[::-1], "have their atoms in the same order"),
        (molecule("H2O"), "have the same atoms"),
        (ETHANOL, "are the same geometry"),
    ],
)
def test_endpoints_between_which_there_is_no_path_are_named_with_their_files(written, tmp_path, end, message):
    write_structures(tmp_path / "a.xyz", [ETHANOL])
    write_structures(tmp_path / "b.xyz", [end])
    found = tried(written("endpoints: [a.xyz, b.xyz]"))
    assert found.startswith(f"system.endpoints: {tmp_path / 'a.xyz'} and {tmp_path / 'b.xyz'}")
    assert message in found


def test_endpoints_of_another_composition_than_the_data_are_refused(written, tmp_path):
    water = molecule("H2O")
    other = water.copy()
    other.positions[1] += 0.5
    write_structures(tmp_path / "a.xyz", [water])
    write_structures(tmp_path / "b.xyz", [other])
    assert "give geometries of the same composition" in tried(written("endpoints: [a.xyz, b.xyz]"))


def test_an_endpoint_that_is_not_there_or_is_several_says_so(written, tmp_path):
    write_structures(tmp_path / "a.xyz", [ETHANOL, ETHANOL])
    assert "has 2 structures; give each endpoint in a file of its own" in tried(written("endpoints: [a.xyz, a.xyz]"))
    assert "cannot be read" in tried(written("endpoints: [gone.xyz, gone.xyz]"))
    with pytest.raises(ConfigError, match=r"system\.endpoints: wanted two files"):
        load(written("endpoints: [a.xyz]"))


def test_the_variables_of_a_grid_are_those_that_vary_unless_they_are_named(written, tmp_path):
    frames = []
    for length in (1.3, 1.4, 1.5):
        atoms = ETHANOL.copy()
        atoms.info |= {"length": length, "constant": 1.0, "REF_energy": -length}
        frames.append(atoms)
    write_structures(tmp_path / "grid.xyz", frames)
    found = load(written("grid: grid.xyz")).system.build().grid.make([], ())
    assert (found.x.name, found.y, found.x.values.tolist()) == ("length", None, [1.3, 1.4, 1.5])
    named = load(written("grid: {file: grid.xyz, x: length, x_unit: Å}")).system.build().grid.make([], ())
    assert named.x.unit == "Å"
    assert "only length, constant" in tried(written("grid: {file: grid.xyz, x: width}"))
    for number, atoms in enumerate(frames):
        atoms.info |= {"second": float(number), "third": float(-number)}
    write_structures(tmp_path / "grid.xyz", frames)
    assert "write `grid: {file: grid.xyz, x: NAME, y: NAME}`" in tried(written("grid: grid.xyz"))


def test_torsions_and_a_grid_are_not_both_the_landscape(written):
    with pytest.raises(ConfigError, match="`torsions` and `grid` are both grids of the landscape"):
        load(written(f"{TORSIONS}, grid: grid.xyz"))


# --- what is unphysical ---------------------------------------------------------------------------------------------

UNPHYSICAL = """unphysical: [{kind: distance, between: [H, H], low: 0.8 Å, high: 3 Å}, {kind: distance, between: [0, 1],
  high: 2 Å}, {kind: bonds, low: 0.5, high: 2}, {kind: closest_distance, distance: 0.4 Å}, {kind: energy_below,
  margin: 0.5 eV}]"""


def test_criteria_of_the_configuration_end_trajectories(written):
    system = load(written(UNPHYSICAL)).system.build()
    assert list(map(str, system.unphysical(lambda: -2.0, ETHANOL))) == [
        "H-H outside 0.8 to 3 Å",
        "0-1 outside 0 to 2 Å",
        "a bond outside 0.5 to 2 of its length",
        "atoms closer than 0.4 Å",
        "energy below -2.5 eV",
    ]


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        ("{kind: distance, between: [H], low: 1 Å}", r"unphysical\[0\]\.between: wanted two elements such as \[H, H\]"),
        ("{kind: distance, between: [H, Xy], low: 1 Å}", "unknown element 'Xy'"),
        ("{kind: distance, between: [H, H], low: 2 Å, high: 1 Å}", "a window needs 0 <= low < high"),
        ("{kind: distance, between: [H, H], low: 2 eV}", "measures energy, wanted length"),
        ("{kind: bond}", "'bond' is not known; did you mean bonds"),
    ],
)
def test_a_wrong_criterion_is_named_with_its_key(written, criterion, message):
    with pytest.raises(ConfigError, match=message):
        load(written(f"unphysical: [{criterion}]"))


# --- runs -----------------------------------------------------------------------------------------------------------


def test_what_is_compared_may_be_changed_during_a_run(written, tmp_path):
    plain, more = load(written("charge: 0")), load(written(f"charge: 0, {TORSIONS}, {UNPHYSICAL}"))
    assert difference(plain, more) == []
    again = tmp_path / "again.yaml"
    again.write_text(dump(more), encoding="utf-8")
    assert load(again) == more


def test_a_run_has_maps_and_barriers_in_its_metrics_its_tables_and_its_report(
    written, tmp_path, chains, monkeypatch, sparring
):
    monkeypatch.setattr(labels, "plugin", lambda name, parameters: chains.Chain())
    # Thousands of labels of a path: each way through a worker costs more than the label.
    monkeypatch.setattr(workers, "is_own_code", lambda labeller: True)
    monkeypatch.setattr(running, "report", lambda folder: None)
    monkeypatch.setattr(planning, "evaluation", partial(evaluation, points=(4, 4)))
    monkeypatch.setattr(landscape, "TORSION_POINTS", (4, 4))
    write_structures(tmp_path / "a.xyz", [chains.turned(3.0, 0.3)])
    write_structures(tmp_path / "b.xyz", [chains.turned(3.0, 2.0)])
    structures = [chains.turned(*angles) for angles in np.random.default_rng(0).uniform(2.5, 3.5, (8, 2))]
    keys = f"torsions: {[list(torsion) for torsion in chains.PLANE.torsions]}, endpoints: [a.xyz, b.xyz], {UNPHYSICAL}"
    keys = keys.replace("[H, H]", "[C, C]").replace("high: 3 Å", "high: 9 Å")
    file = written(keys, structures=structures, labeller="plugin, name: chain")
    run = tmp_path / "run"
    running.run(file, run)
    metrics = json.loads((run / "generation-02" / "metrics.json").read_text(encoding="utf-8"))["system"]
    # Psi goes over the top of its own term, 2 * HEIGHTS[1], while phi stays where it is.
    assert metrics["barrier_reference"] == pytest.approx(2 * chains.HEIGHTS[1], rel=0.02)
    assert {"grid_rmse_below", "grid_force_variance_below", "coverage", "barrier", "barrier_error"} <= set(metrics)
    shown = read_run(run)
    headings = generation_table(shown).headings
    assert "bins\ncovered" in headings
    assert shown.generations[0].torsions.names == ("C0-C1-C2-C3", "C1-C2-C3-C4")
    sections = {section.name: section for section in validations(shown).sections}
    assert sections["landscape"].figures
    assert sections["landscape_relaxed"].missing
    assert sections["free_energy"].missing
    answer = sparring("status", run)
    assert all(word in answer.out for word in ("truth", "bins"))
    inputs = json.loads((run / "inputs.json").read_text(encoding="utf-8"))
    assert {str(tmp_path / name) for name in ("molecule.xyz", "a.xyz", "b.xyz")} == set(inputs)
    quick = ("--copies", 1, "--time", "1 fs", "--temperature", "10K")
    answer = sparring("validate", "survival", run / "generation-01", tmp_path / "a.xyz", *quick)
    assert answer.exit_code == 0, answer.err
    assert answer.out.startswith("C5 fails if: C-C outside 0.8 to 9 Å; 0-1 outside 0 to 2 Å; a bond outside 0.5 to 2")
    relaxed = sparring("validate", "landscape", run, "--grid", "relaxed", "--points", "2x2", "--no-label")
    assert relaxed.exit_code == 0, relaxed.err
    assert len(read(run / "validation" / "landscape_relaxed.extxyz", ":")) == 4
