import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from sparring.inputs.extxyz import write_structures
from sparring.reporting.uncertain_atoms import uncertain_atoms_table
from sparring.runs.uncertain_atoms import uncertain_atoms, uncertain_atoms_of_run


def with_sigma(name, *sigma):
    atoms = molecule(name) if isinstance(name, str) else name.copy()
    atoms.arrays["atom_uncertainty"] = np.array(sigma, dtype=float)
    return atoms


@pytest.fixture
def waters():
    """Three molecules of water: O0, H1, H2."""
    return [with_sigma("H2O", 0.1, 0.6, 0.2), with_sigma("H2O", 0.3, 0.9, 0.2), with_sigma("H2O", 0.5, 0.1, 0.4)]


def write_selected(folder, number, frames, name="selected"):
    (folder / f"generation-{number:02d}").mkdir(parents=True, exist_ok=True)
    write_structures(folder / f"generation-{number:02d}" / f"{name}.extxyz", frames)


def test_elements_have_mean_and_largest_and_the_atom_that_is_most_uncertain_most_often_is_named(waters):
    found = uncertain_atoms(waters, 4)
    assert (found.generation, found.n_structures) == (4, 3)
    assert list(found.mean) == ["H", "O"]
    assert found.mean == pytest.approx({"H": 2.4 / 6, "O": 0.9 / 3})
    assert found.largest == {"H": 0.9, "O": 0.5}
    assert (found.most, found.n_most) == ("H1", 2)
    text = uncertain_atoms_table(found).text()
    assert text.startswith(
        "where it is uncertain: σ of the forces on atoms in the 3 structures selected in generation 4"
    )
    assert "most uncertain atom, counted from 0: H1 in 2 of 3" in text
    assert text.count("\n") == 4


def test_no_atom_is_named_where_structures_differ_in_their_atoms_or_each_has_another(waters):
    turned = Atoms("HOH", positions=waters[0].positions[[1, 0, 2]])
    for others in ([with_sigma("NH3", 1, 2, 3, 4)], [with_sigma(turned, 1, 2, 3)]):
        found = uncertain_atoms([*waters, *others], 1)
        assert (found.most, found.n_most) == (None, 0)
        assert "most uncertain" not in uncertain_atoms_table(found).text()
    assert uncertain_atoms(waters[1:], 1).most is None


def test_nothing_is_known_of_single_atoms_of_a_single_member_and_of_older_files(water):
    assert uncertain_atoms([Atoms("X")], 1) is None
    assert uncertain_atoms([with_sigma("H2O", 0, 0, 0)], 1) is None
    assert uncertain_atoms([water], 1) is None
    assert uncertain_atoms([], 1) is None


def test_the_newest_selection_counts_or_else_its_labels(waters, water, tmp_path):
    write_selected(tmp_path, 1, waters)
    assert uncertain_atoms_of_run(tmp_path).generation == 1
    write_selected(tmp_path, 2, waters[:1])
    (tmp_path / "generation-03").mkdir()
    assert uncertain_atoms_of_run(tmp_path).n_structures == 1
    write_selected(tmp_path, 3, [water, water])
    assert uncertain_atoms_of_run(tmp_path) is None
    for atoms in waters:
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = -1.0, np.zeros((3, 3))
    write_selected(tmp_path, 3, waters[:2], "labelled")
    found = uncertain_atoms_of_run(tmp_path)
    assert (found.generation, found.n_structures, found.most) == (3, 2, "H1")
