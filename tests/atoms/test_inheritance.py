"""Whatever a label depends on goes from a structure to its descendants, and into the name of the label."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io import read

from sparring.atoms.dataset import Dataset
from sparring.atoms.inheritance import bare_copy, inherit, own_columns
from sparring.commands.running import run
from sparring.config import load
from sparring.inputs.extxyz import read_structures, write_structures
from sparring.labels import FromCalculator, LabelStore, StoredCalculator, label, label_key
from sparring.labels import ase as labels_ase
from sparring.labels.base import depends_on, label_input
from sparring.labels.workers import Workers
from sparring.starting_data.displacements import uniform_displacements
from sparring.starting_data.relaxation import relax
from sparring.surfaces.evaluators import label_surface
from sparring.surfaces.minimum_energy_path import neb
from sparring.surfaces.path_endpoints import relaxed_ends

MOMENTS = [2.0, -2.0, 0.0]


@pytest.fixture
def parent(water):
    """An antiferromagnet of a water molecule, with everything that a label may depend on, and with results."""
    water.info.update(charge=1, multiplicity=2, config_type="bulk", field=[0.0, 0.0, 0.1], REF_energy=-1.0, my_key=7)
    water.set_initial_magnetic_moments(MOMENTS)
    water.set_initial_charges([1.0, 0.0, 0.0])
    water.set_tags([3, 1, 2])
    water.set_constraint(FixAtoms([0]))
    water.set_array("ghost", np.array([0, 1, 0]))
    water.set_array("REF_forces", np.ones((3, 3)))
    water.set_array("magmoms", np.array([1.9, -1.9, 0.0]))
    return water


# --- inherit --------------------------------------------------------------------------------------------------------


def test_a_descendant_has_what_its_label_depends_on_and_no_result(parent):
    child = inherit(Atoms(parent.numbers, parent.positions + 0.1), parent, extra=("field", "ghost", "not there"))
    assert child.info == {"charge": 1, "multiplicity": 2, "config_type": "bulk", "field": [0.0, 0.0, 0.1]}
    assert child.get_initial_magnetic_moments().tolist() == MOMENTS
    assert child.get_initial_charges().tolist() == [1.0, 0.0, 0.0]
    assert child.get_tags().tolist() == [3, 1, 2]
    assert child.arrays["ghost"].tolist() == [0, 1, 0]
    assert child.constraints[0].index.tolist() == [0]
    assert not {"REF_forces", "magmoms"} & set(child.arrays)


def test_parent_and_child_share_nothing_that_could_change(parent):
    child = inherit(Atoms(parent.numbers, parent.positions), parent, extra=("field",))
    child.info["field"][0] = 5.0
    child.arrays["tags"][0] = 9
    child.constraints[0].index[0] = 2
    assert (parent.info["field"][0], parent.get_tags()[0], parent.constraints[0].index[0]) == (0.0, 3, 0)


def test_atoms_in_another_order_inherit_nothing(parent):
    with pytest.raises(ValueError, match="H2O cannot inherit from OH2: the atoms differ"):
        inherit(parent[[1, 2, 0]], parent)


def test_a_structure_that_is_moved_loses_results_and_keeps_the_rest(parent):
    parent.info.update(stress=np.zeros(6), dipole=[0, 0, 1.0], energy=-3.0)
    (moved,) = uniform_displacements(parent, 1, amplitude=0.1, seed=0)
    for one in (moved, bare_copy(parent)):
        assert not {"energy", "stress", "dipole", "REF_energy"} & set(one.info)
        assert not {"magmoms", "REF_forces"} & set(one.arrays)
        assert one.get_initial_magnetic_moments().tolist() == MOMENTS
        assert one.info["config_type"] == "bulk"


def test_columns_of_a_user_are_told_from_results_and_from_words_of_the_format(parent):
    parent.info.update(Z=3, stress=np.zeros(6))
    info, arrays = own_columns(parent)
    assert set(info) == {"charge", "multiplicity", "config_type", "field", "my_key"}
    assert set(arrays) == {"initial_magmoms", "initial_charges", "tags", "ghost"}


def test_a_data_set_keeps_columns_that_only_some_structures_have(parent, ammonia):
    ammonia.info.update(REF_energy=1.0)
    ammonia.set_array("REF_forces", np.zeros((4, 3)))
    dataset = Dataset.from_atoms([ammonia, parent])
    again = dataset + dataset.take([1])
    first, second, third = again.to_atoms()
    assert set(first.arrays) == {"numbers", "positions", "REF_forces"}
    for one in (second, third):
        assert one.arrays["ghost"].tolist() == [0, 1, 0]
        assert one.get_initial_magnetic_moments().tolist() == MOMENTS
        assert one.constraints[0].index.tolist() == [0]
    second.arrays["ghost"][0] = 7
    assert again.to_atoms()[1].arrays["ghost"][0] == 0


# --- labels ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def fielded(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return FromCalculator(importlib.import_module("fielded").Fielded(), method="fielded", version="1")


def test_a_labeller_gets_what_it_names_and_nothing_else(parent, fielded):
    given = label_input(parent, depends_on(fielded))
    assert set(given.info) == {"charge", "multiplicity", "field"}
    assert set(given.arrays) == {"numbers", "positions", "initial_magmoms", "initial_charges", "tags"}
    assert not given.constraints


def test_what_a_labeller_names_counts_in_the_key_and_what_it_does_not_name_does_not(parent, fielded):
    unnamed = FromCalculator(importlib.import_module("fielded").Fielded(), method="fielded", version="1", depends_on=())
    other, plain = parent.copy(), parent.copy()
    other.info["field"] = [0.0, 0.0, 0.2]
    retagged = parent.copy()
    retagged.set_tags([3, 1, 1])
    keys = {label_key(one, fielded) for one in (parent, other, retagged)}
    assert len(keys) == 3
    assert len({label_key(one, unnamed) for one in (parent, other, retagged)}) == 1
    plain.info.pop("field")
    plain.arrays.pop("tags")
    assert label_key(plain, fielded) == label_key(plain, unnamed) == label_key(parent, unnamed)


def test_keys_of_structures_without_such_things_are_what_they_were(ammonia):
    known = "7a9aecd5ee9b"
    harmonic = FromCalculator(EMT(), method="EMT", version="1")
    assert label_key(ammonia, harmonic).startswith(known)


def test_a_dependence_that_is_no_number_or_word_is_an_error(parent, fielded):
    parent.info["field"] = object()
    with pytest.raises(ValueError, match="the label depends on 'field', which must be made of finite numbers, words"):
        label_key(parent, fielded)


def test_names_that_are_no_tuple_are_an_error():
    class Wrong:
        depends_on = "tags"

    with pytest.raises(ValueError, match=r"depends_on of a labeller must be a tuple of names .* got 'tags'"):
        depends_on(Wrong())


def test_a_stored_label_is_computed_again_when_what_it_depends_on_changes(parent, fielded, tmp_path):
    parent.info.update(charge=0, multiplicity=1)
    parent.calc = StoredCalculator(fielded, LabelStore(tmp_path))
    before = parent.get_potential_energy()
    parent.info["field"] = [0.0, 0.0, 1.1]
    assert parent.get_potential_energy() == pytest.approx(before - 1.0)
    assert len(LabelStore(tmp_path)) == 2


@pytest.mark.parametrize("name", ["siesta", "dftb", "onetep", "demon", "crystal"])
def test_tags_belong_to_the_key_of_calculators_that_tell_species_apart_by_them(name):
    assert "tags" in labels_ase.calculator_depends_on(name)


@pytest.mark.parametrize("name", ["emt", "tblite", "vasp", "espresso", "gpaw"])
def test_tags_do_not_belong_to_the_key_of_others(name):
    assert not labels_ase.calculator_depends_on(name)


# --- everywhere -----------------------------------------------------------------------------------------------------


class LabelService:
    def __init__(self, workers):
        self.workers = workers

    def label(self, structures):
        return label(structures, self.workers.labeller, workers=self.workers)


def test_images_of_a_path_are_labelled_as_their_ends_are(ammonia, fielded):
    ammonia.info["field"] = [0.0, 0.1]
    ammonia.set_initial_magnetic_moments([1.0, -1.0, 0.0, 0.0])
    ammonia.set_tags([1, 2, 3, 0])
    end = ammonia.copy()
    end.positions[:, 2] *= -1
    with Workers(fielded) as workers:
        surface = label_surface(LabelService(workers))
        _, images = neb(ammonia, end, surface, n_images=3, fmax=5.0, max_steps=30, depends_on=fielded.depends_on)
    for image in images:
        free = image.copy()
        free.calc = EMT()
        assert image.get_potential_energy() == pytest.approx(free.get_potential_energy() - 160.1)
        assert image.get_initial_magnetic_moments().tolist() == [1.0, -1.0, 0.0, 0.0]


def test_a_path_between_ends_whose_fixed_atoms_are_elsewhere_is_refused(water):
    end = water.copy()
    end.positions[[0, 2]] += 0.3
    for one in (water, end):
        one.set_constraint(FixAtoms([0]))
    with pytest.raises(
        ValueError, match=r"atom 0 \(O\) is fixed, but stands at \[.*\] at the start and at \[.*\] at the end"
    ):
        relaxed_ends(water, end, EMT(), fmax=0.1, max_steps=3)


def test_a_relaxation_keeps_moments_and_tags(parent):
    relaxed = relax(parent, EMT(), fmax=1.0)
    assert relaxed.get_initial_magnetic_moments().tolist() == MOMENTS
    assert relaxed.get_tags().tolist() == [3, 1, 2]


# --- whole runs -----------------------------------------------------------------------------------------------------

CONFIG = """
generations: {generations}
system: {{kind: own, file: start.xyz, enlarge: {{kind: {enlarge}}}}}
labels: {{labeller: {{kind: plugin, name: fielded}}, n_workers: 1, bounds: {{max_force: null}}}}
committee:
  n_members: 2
  potential: {{kind: schnet, n_features: 8, n_filters: 8, n_interactions: 1, n_gaussians: 4, cutoff: 3 Å}}
training: {{n_epochs: 2, learning_rate: 1e-3}}
attack: {attack}
selection: [{{kind: budget, n: 3}}]
"""
ADVERSARIAL = "{n_seeds: 4, seeds: random, n_steps: 3, space: {kind: cartesian, initial_spread: 0.05 Å}}"
DYNAMICS = "{kind: dynamics, n_seeds: 4, seeds: random, duration: 10 fs, every: 10, temperature: 300 K}"
ENLARGE = {
    "normal modes": "normal_modes, n_structures: 4, temperatures: [200 K, 300 K]",
    "displacements": "displacements, n_structures: 6, amplitude: 0.05 Å",
}


@pytest.fixture
def slab():
    """A small piece of a surface as people have it: moments up and down, fixed atoms, tags and columns of their own."""
    atoms = Atoms("Cu2OH", positions=[[0, 0, 0], [2.4, 0, 0], [1.2, 1.3, 0.2], [1.3, 1.9, 1.0]])
    atoms.set_initial_magnetic_moments([1.5, -1.5, 0.0, 0.0])
    atoms.set_tags([2, 2, 1, 0])
    atoms.set_constraint(FixAtoms([0, 1]))
    atoms.info.update(config_type="slab", field=[0.0, 0.0, 0.25], my_key="mine")
    atoms.set_array("my_column", np.array([0.1, 0.2, 0.3, 0.4]))
    return atoms


@pytest.fixture
def folder(slab, fielded, tmp_path, monkeypatch):
    """Runs a small configuration whose labels depend on all of it."""
    monkeypatch.setattr("sparring.commands.running.report", lambda folder: None)
    monkeypatch.setattr("sparring.assembly.labels.plugin", lambda name, parameters=None: fielded)
    other = slab.copy()
    other.rattle(0.02, seed=3)
    other.positions[:2] = slab.positions[:2]
    del other.arrays["my_column"]
    write_structures(tmp_path / "start.xyz", [slab, other])

    def make(name="run", *, generations=2, enlarge="displacements", attack=ADVERSARIAL):
        text = CONFIG.format(generations=generations, enlarge=ENLARGE[enlarge], attack=attack)
        (tmp_path / "run.yaml").write_text(text)
        run(load(tmp_path / "run.yaml"), tmp_path / name)
        return tmp_path / name

    return make


@pytest.mark.parametrize(("enlarge", "attack"), [("normal modes", ADVERSARIAL), ("displacements", DYNAMICS)])
def test_all_data_of_a_run_are_points_of_one_surface(folder, slab, enlarge, attack):
    frames = read(folder(enlarge=enlarge, attack=attack) / "generation-02" / "dataset.extxyz", ":")
    sources = {one.info["source"] for one in frames}
    assert sources >= {"file", "attack" if attack == ADVERSARIAL else "dynamics"}
    for one in frames:
        free = one.copy()
        free.set_constraint()
        free.calc = EMT()
        shift = 0.25 + 10 * 5 + 100
        assert one.info["REF_energy"] == pytest.approx(free.get_potential_energy() - shift)
        np.testing.assert_allclose(one.arrays["REF_forces"], free.get_forces(), atol=1e-9)
        assert (one.positions[:2] == slab.positions[:2]).all()
        assert one.constraints[0].index.tolist() == [0, 1]
        assert one.get_initial_magnetic_moments().tolist() == [1.5, -1.5, 0.0, 0.0]
        assert one.get_tags().tolist() == [2, 2, 1, 0]
        assert one.info["config_type"] == "slab"


def test_columns_of_a_user_stay_with_his_structures_and_are_not_handed_on(folder):
    frames = read(folder() / "generation-02" / "dataset.extxyz", ":")
    assert [one.info.get("my_key") for one in frames if one.info["source"] == "file"] == ["mine", "mine"]
    assert [one.arrays.get("my_column", np.zeros(1)).tolist() for one in frames][:2] == [[0.1, 0.2, 0.3, 0.4], [0.0]]
    others = [one for one in frames if one.info["source"] != "file"]
    assert others
    assert not any("my_key" in one.info or "my_column" in one.arrays for one in others)


def test_a_run_with_fixed_atoms_that_is_gone_on_with_is_the_run_that_was_not_interrupted(folder):
    whole = folder("whole", generations=3)
    folder("parts", generations=1)
    parts = folder("parts", generations=3)
    for generation in ("generation-02", "generation-03"):
        one, other = ((place / generation / "dataset.extxyz").read_bytes() for place in (whole, parts))
        assert one == other
    for name in ("attacks.extxyz", "selected.extxyz", "labelled.extxyz"):
        for one in read_structures(whole / "generation-01" / name):
            assert one.get_initial_magnetic_moments().tolist() == [1.5, -1.5, 0.0, 0.0]
            assert one.info["field"].tolist() == [0.0, 0.0, 0.25]
            assert one.constraints[0].index.tolist() == [0, 1]


def test_the_verbs_attack_and_md_hand_on_what_labels_depend_on(folder, sparring, slab, tmp_path):
    committee = folder(generations=1) / "generation-01"
    start = tmp_path / "start.xyz"
    attacks, trajectories = tmp_path / "attacks.xyz", tmp_path / "md.xyz"
    config = tmp_path / "no_weight.yaml"
    config.write_text((tmp_path / "run.yaml").read_text().replace("n_seeds: 4", "n_seeds: 4, objective: {kT: null}"))
    answer = sparring("attack", committee, start, "--config", config, "--output", attacks)
    assert answer.exit_code == 0, answer.err
    answer = sparring("md", committee, start, "--output", trajectories, "--temperature", "300K", "--time", "5 fs")
    assert answer.exit_code == 0, answer.err
    for file in (attacks, trajectories):
        for one in read_structures(file):
            assert one.get_initial_magnetic_moments().tolist() == [1.5, -1.5, 0.0, 0.0]
            assert one.get_tags().tolist() == [2, 2, 1, 0]
            assert (one.positions[:2] == slab.positions[:2]).all()
            assert one.constraints[0].index.tolist() == [0, 1]
    assert all(one.info["field"].tolist() == [0.0, 0.0, 0.25] for one in read_structures(attacks))


def test_a_run_without_any_of_this_writes_what_it_always_did(molecules_file, tmp_path, monkeypatch):
    monkeypatch.setattr("sparring.commands.running.report", lambda folder: None)
    run(load(molecules_file()), tmp_path / "run")
    text = (tmp_path / "run" / "generation-02" / "dataset.extxyz").read_text()
    headers = [line for line in text.splitlines() if "Properties=" in line]
    assert {line.split("Properties=")[1].split()[0] for line in headers} == {"species:S:1:pos:R:3:REF_forces:R:3"}
