"""Labels without a run: which structures are asked for, and what comes of the labels."""

import re

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT

import sparring as sp
from sparring.committee_files import write_committee
from sparring.domain import TrainingDomain
from sparring.inputs.extxyz import read_labelled, read_structures, write_structures
from sparring.labels import LabelStore, label_key


def labelled(atoms):
    answer = atoms.copy()
    answer.calc = EMT()
    answer.info["REF_energy"], answer.arrays["REF_forces"] = answer.get_potential_energy(), answer.get_forces()
    answer.calc = None
    return answer


@pytest.fixture
def pool(rattled, tmp_path):
    """Twenty structures of two molecules; every fifth one has a label."""
    structures = [one for name in ("NH3", "H2O") for one in rattled(molecule(name), 10, stdev=0.05)]
    structures[::5] = map(labelled, structures[::5])
    write_structures(tmp_path / "pool.xyz", structures)
    return structures


@pytest.fixture
def models(committee, pool, tmp_path):
    """The folder of a generation with a committee, trained on the first labelled structure."""
    folder = tmp_path / "runs" / "x" / "generation-02"
    write_committee(folder, committee(2).with_domain(TrainingDomain(elements=(1, 7, 8))))
    write_structures(folder / "dataset.extxyz", [labelled(pool[1])])
    return folder


@pytest.fixture
def asked(sparring, models, tmp_path):
    """The file of four structures that were asked for."""
    answer = sparring("ask", models, "--data", tmp_path / "pool.xyz", "-n", 4, "-o", tmp_path / "to_label.xyz")
    assert answer.exit_code == 0
    return tmp_path / "to_label.xyz"


def places(structures, among):
    """Number of each structure in a list, by its geometry."""
    return [
        next(i for i, other in enumerate(among) if other.positions.tolist() == one.positions.tolist())
        for one in structures
    ]


# --- ask --------------------------------------------------------------------------------------------------------------


def test_structures_that_are_asked_for_are_uncertain_new_and_carry_a_key(asked, pool, models, sparring, tmp_path):
    chosen = read_structures(asked)
    numbers = places(chosen, pool)
    assert len(set(numbers)) == 4
    assert not set(numbers) & {0, 1, 5, 10, 15}  # labelled, or in the data of the committee
    for atoms, number in zip(chosen, numbers, strict=True):
        assert atoms.info["frame"] == number
        assert atoms.info["key"] == label_key(atoms, sp.Offline())
        assert (atoms.info["charge"], atoms.info["multiplicity"]) == (0, 1)
        assert atoms.info["force_variance"] > 0
        assert "REF_energy" not in atoms.info


def test_the_newest_committee_of_a_run_and_known_structures_count(pool, models, sparring, asked, tmp_path):
    known = [labelled(one) for one in pool if one.positions.tolist() not in [a.positions.tolist() for a in pool[2:4]]]
    write_structures(tmp_path / "known.xyz", known)
    answer = sparring(
        *("ask", models.parent, "--data", tmp_path / "pool.xyz", "-n", 9, "-o", tmp_path / "more.xyz"),
        *("--known", tmp_path / "known.xyz"),
    )
    assert f"2 of 20 structures to be labelled: {tmp_path / 'more.xyz'}" in answer.out
    assert sorted(places(read_structures(tmp_path / "more.xyz"), pool)) == [2, 3]


def test_structures_whose_atoms_are_too_close_for_any_label_are_not_asked_for(committee, rattled):
    close = molecule("H2O")
    close.positions[1] = close.positions[0] + [0.3, 0.0, 0.0]
    good = rattled(molecule("H2O"), 2, stdev=0.05)
    assert places(sp.ask(committee(2), [close, *good], 3), [close, *good]) == [1, 2]


def test_several_committees_are_one(committee, rattled):
    structures = rattled(molecule("NH3"), 12, stdev=0.1)
    both = sp.ask(committee(4), structures, 3)
    assert len(both) == 3
    assert [one.positions.tolist() for one in both] != [
        one.positions.tolist() for one in sp.ask(committee(2), structures, 3)
    ]


def test_where_potentials_have_no_features_the_most_uncertain_ones_that_differ_are_chosen(rattled):
    def member(stiffness):
        def energies(structures):
            squares = stiffness * structures.positions.square().sum(1)
            return squares.new_zeros(structures.n_structures).index_add(0, structures.structure_index, squares)

        return energies

    structures = rattled(molecule("H2O"), 5, stdev=0.3)
    twin = structures[0].copy()
    twin.positions[0, 0] += 1e-3
    committee = sp.Committee([member(1.0), member(1.5)])
    chosen = sp.ask(committee, [*structures, twin], 6)
    assert len(places(chosen, [*structures, twin])) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pool: [labelled(one) for one in pool], "the labels of all 20 structures are known"),
        (lambda pool: [molecule("CH4")], "C"),
    ],
)
def test_nothing_is_asked_where_all_is_known_or_an_element_is_not(change, message, pool, models, sparring, tmp_path):
    write_structures(tmp_path / "pool.xyz", change(pool))
    answer = sparring("ask", models, "--data", tmp_path / "pool.xyz", "-n", 4, "-o", tmp_path / "to_label.xyz")
    assert answer.exit_code == 2
    assert message in answer.err
    assert not (tmp_path / "to_label.xyz").exists()


def test_a_single_model_cannot_be_asked(committee, pool):
    with pytest.raises(ValueError, match="a single model has no uncertainty to choose by; give at least two"):
        sp.ask(committee(1), pool, 2)


# --- tell -------------------------------------------------------------------------------------------------------------


def test_labels_become_a_data_file_in_the_order_of_the_question(asked, sparring, tmp_path):
    answers = [labelled(atoms) for atoms in read_structures(asked)]
    for atoms in answers[:2]:
        del atoms.info["key"]
    (tmp_path / "results").mkdir()
    write_structures(tmp_path / "results" / "a.xyz", answers[3:0:-1])
    write_structures(tmp_path / "b.xyz", answers[:1])
    answer = sparring("tell", asked, tmp_path / "results", tmp_path / "b.xyz", "-o", tmp_path / "labelled.xyz")
    assert answer.exit_code == 0
    assert "4 labelled, 0 failed, 0 missing" in answer.out
    for found, wanted in zip(read_labelled(tmp_path / "labelled.xyz"), answers, strict=True):
        assert found.info["REF_energy"] == wanted.info["REF_energy"]
        assert found.arrays["REF_forces"].tolist() == wanted.arrays["REF_forces"].tolist()
        assert "key" not in found.info
        assert len(found.info["label"]) == 64


def test_missing_labels_have_an_exit_code_of_their_own_unless_they_are_accepted(asked, sparring, tmp_path):
    answers = [labelled(atoms) for atoms in read_structures(asked)]
    answers[1].info["converged"] = False
    write_structures(tmp_path / "some.xyz", answers[:3])
    command = ("tell", asked, tmp_path / "some.xyz", "-o", tmp_path / "labelled.xyz")
    answer = sparring(*command)
    assert answer.exit_code == 3
    assert "2 labelled, 1 failed, 1 missing" in answer.out
    assert re.search(r"failed: structure 1 \(\w+\): \S*some\.xyz, frame 1 .*converged=F", answer.err)
    assert len(read_labelled(tmp_path / "labelled.xyz")) == 2
    assert sparring(*command, "--accept-missing").exit_code == 0


def test_a_label_of_another_geometry_is_refused_and_nothing_is_written(asked, sparring, tmp_path):
    answers = [labelled(atoms) for atoms in read_structures(asked)]
    answers[2].positions[0, 0] += 0.1
    write_structures(tmp_path / "results.xyz", answers)
    answer = sparring("tell", asked, tmp_path / "results.xyz", "-o", tmp_path / "labelled.xyz")
    assert answer.exit_code == 2
    assert re.search(r"sparring: \S*results\.xyz, frame 2 .*not a geometry that was asked for", answer.err)
    assert not (tmp_path / "labelled.xyz").exists()


def test_labels_can_be_added_to_a_store_under_the_key_of_their_method(asked, sparring, tmp_path):
    answers = [labelled(atoms) for atoms in read_structures(asked)]
    write_structures(tmp_path / "results.xyz", answers)
    emt = sp.ASECalculator("emt")
    sparring(
        *("tell", asked, tmp_path / "results.xyz", "-o", tmp_path / "labelled.xyz"),
        *("--store", tmp_path / "store", "--method", emt.method, "--version", emt.version),
    )
    report = sp.label(read_structures(asked), emt, store=tmp_path / "store")
    assert (report.n_reused, report.n_computed) == (4, 0)
    assert len(LabelStore(tmp_path / "store")) == 4


def test_energies_are_brought_to_the_zero_of_known_labels_by_structures_that_have_both(
    pool, models, sparring, tmp_path
):
    write_structures(tmp_path / "known.xyz", [labelled(one) for one in (pool[0], pool[5], pool[10])])
    align = ("--align", tmp_path / "known.xyz")
    sparring("ask", models, "--data", tmp_path / "pool.xyz", "-n", 3, "-o", tmp_path / "to_label.xyz", *align)
    asked = read_structures(tmp_path / "to_label.xyz")
    assert len(asked) == 3 + 3
    answers = [labelled(atoms) for atoms in asked]
    energies = {one.info["key"]: one.info["REF_energy"] for one in answers}
    for atoms in answers:
        atoms.info["REF_energy"] -= 100.0 * np.square(atoms.numbers).sum()
    write_structures(tmp_path / "results.xyz", answers)
    answer = sparring("tell", tmp_path / "to_label.xyz", tmp_path / "results.xyz", "-o", tmp_path / "out.xyz", *align)
    assert re.search(
        r"energies are brought to the zero of the data by H .* eV for each atom \(3 structures", answer.err
    )
    found = read_labelled(tmp_path / "out.xyz")
    assert len(found) == 3
    for atoms in found:
        assert atoms.info["REF_energy"] == pytest.approx(energies[atoms.info["label"]], abs=1e-6)
