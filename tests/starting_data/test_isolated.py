import dataclasses
import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from sparring.assembly.planning import plan
from sparring.assembly.proposing import attackable, choose_seeds
from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.config import load
from sparring.potentials import SchNet
from sparring.runs import loop
from sparring.runs.folder import RunFolder
from sparring.starting_data.base import Starting
from sparring.starting_data.isolated import atomic_energies, hund_multiplicity, is_isolated_atom, split_isolated
from sparring.systems.own.structures import Displacements, NormalModes, assume_state, starting_data
from sparring.training.fitting import fit

BOX = {"cell": [12.0, 12.0, 12.0], "pbc": True}


def atom(symbol, energy=None, **info):
    one = Atoms(symbol, info=info)
    if energy is not None:
        one.info[ENERGY] = energy
    return one


@pytest.mark.parametrize(
    ("atoms", "isolated"),
    [
        (Atoms("H"), True),
        (Atoms("O", **BOX), True),
        (Atoms("O", cell=[5.0, 5.0, 5.0], pbc=True, info={"config_type": "IsolatedAtom"}), True),
        (Atoms("O", cell=[5.0, 5.0, 5.0], pbc=True, info={"config_type": "isolated_atom"}), True),
        (bulk("Cu"), False),
        (Atoms("Cu", cell=[2.5, 2.5, 30.0], pbc=(True, True, False)), False),
        (molecule("H2"), False),
        (Atoms("X"), False),
    ],
)
def test_an_isolated_atom_is_told_from_a_crystal_of_one_atom_and_from_a_toy_particle(atoms, isolated):
    assert is_isolated_atom(atoms) == isolated


def test_an_isolated_atom_without_forces_has_none_to_speak_of(water):
    (_,), (hydrogen,) = split_isolated([water, atom("H", -13.6)])
    assert (hydrogen.arrays[FORCES] == 0).all()


def test_the_lowest_neutral_atom_gives_the_energy_of_its_element():
    atoms = [atom("O", -100.0), atom("O", -102.0, multiplicity=3), atom("O", -300.0, charge=-1), atom("H", -13.6)]
    assert atomic_energies(atoms) == {1: -13.6, 8: -102.0}


@pytest.mark.parametrize(("number", "multiplicity"), [(1, 2), (2, 1), (6, 3), (7, 4), (8, 3), (24, 7)])
def test_an_atom_of_which_no_more_is_known_has_the_multiplicity_of_its_ground_state(number, multiplicity):
    assert hund_multiplicity(number) == multiplicity


def test_the_charge_assumed_of_molecules_is_not_that_of_the_atoms_beside_them(ammonia):
    molecules, oxygen, said = assume_state([ammonia, atom("O"), atom("O", multiplicity=1)], charge=1, multiplicity=2)
    assert (molecules.info["charge"], molecules.info["multiplicity"]) == (1, 2)
    assert (oxygen.info["charge"], oxygen.info["multiplicity"]) == (0, 3)
    assert said.info["multiplicity"] == 1


@pytest.mark.parametrize("enlarge", [NormalModes(4, (100.0, 300.0)), Displacements(4, 0.05)])
def test_isolated_atoms_and_crystals_of_one_atom_are_labelled_but_not_enlarged(enlarge):
    def label_many(structures):
        for one in structures:
            one.calc = EMT()
            one.info[ENERGY], one.arrays[FORCES] = one.get_potential_energy(), one.get_forces()
            one.calc = None
        return list(structures)

    file = [atom("H"), bulk("Cu"), molecule("N2"), atom("N", **{"config_type": "IsolatedAtom"})]
    data = starting_data(file, EMT(), label_many, enlarge=enlarge)
    added = data[2:-2]
    assert {one.get_chemical_formula() for one in added} == {"N2"}
    assert len(added) == 4 + isinstance(enlarge, NormalModes)
    assert [one.get_chemical_formula() for one in data[-2:]] == ["H", "N"]


def test_nothing_but_atoms_cannot_be_enlarged():
    with pytest.raises(ValueError, match="no structure has more than one atom, so nothing can be enlarged"):
        starting_data([bulk("Cu")], EMT(), lambda _: [], enlarge=Displacements(3, 0.1))


@pytest.fixture
def waters(rattled, water):
    """Water with the energies of harmonic bonds, far below those of its atoms."""
    structures = rattled(water, 12, stdev=0.05)
    for one in structures:
        stretch = one.get_distances(0, [1, 2]) - 0.97
        one.info.update({ENERGY: -137.9 + 20.0 * float(stretch @ stretch), "charge": 0, "multiplicity": 1})
        one.arrays[FORCES] = np.zeros((3, 3))
        for hydrogen, longer in zip((1, 2), stretch, strict=True):
            along = one.positions[hydrogen] - one.positions[0]
            pull = 40.0 * longer * along / np.linalg.norm(along)
            one.arrays[FORCES][hydrogen] -= pull
            one.arrays[FORCES][0] += pull
    return structures


def network():
    return SchNet(n_features=8, n_filters=8, n_interactions=1, n_gaussians=4, cutoff=3.0)


def test_elements_share_the_energy_of_a_single_composition_as_their_isolated_atoms_do(waters):
    dataset = Dataset.from_atoms(waters)
    known = dataclasses.replace(dataset, atomic_energies={1: -10.7, 8: -102.5})
    (without, _), (committee, _) = (fit(network(), one, seed=0, n_members=2, n_epochs=2) for one in (dataset, known))
    for member, other in zip(committee.members, without.members, strict=True):
        # Binding is 14 eV of 138, and divided between three atoms; without the atoms it is all that is divided.
        assert member.atomic_energy[8] == pytest.approx(-102.5, abs=8.0)
        assert member.atomic_energy[1] == pytest.approx(-10.7, abs=8.0)
        assert other.atomic_energy[1] < -50
    predicted = committee.predict(dataset.structures, differentiable=False).energy.mean(0)
    assert float((predicted - dataset.energy).abs().max()) < 3.0


def test_a_run_keeps_isolated_atoms_out_of_everything_but_the_references(waters, molecules_file, tmp_path, caplog):
    config = load(molecules_file({"generations": 2, "selection": [{"kind": "distinct", "rmsd": "0.001 Å"}]}))
    atoms = [*waters, atom("O", -102.5, multiplicity=3), atom("H", -10.7, multiplicity=2)]
    choices = dataclasses.replace(plan(config, tmp_path), start=lambda: Starting(atoms))
    with caplog.at_level(logging.INFO), RunFolder(tmp_path / "run", config) as folder:
        loop.run(choices, folder.cached)
        state = folder.cached(2, "data", lambda: pytest.fail("it has been computed before"))
    assert "isolated atoms give the elements their energies, and are not trained on: H -10.7000 eV" in caplog.text
    assert state.dataset.atomic_energies == {1: -10.7, 8: -102.5}
    assert int(state.dataset.structures.counts.min()) == 3
    assert "config_type=IsolatedAtom" in (tmp_path / "run" / "generation-02" / "isolated_atoms.extxyz").read_text()


def test_elements_without_an_isolated_atom_leave_the_others_out_with_a_word(waters, molecules_file, tmp_path, caplog):
    choices = plan(load(molecules_file()), tmp_path)
    state = loop.start(dataclasses.replace(choices, start=lambda: Starting([*waters, atom("O", -102.5)])))
    assert state.dataset.atomic_energies == {}
    assert "isolated atoms are left out, because there is no neutral one of H" in caplog.text


def test_a_file_of_isolated_atoms_alone_is_nothing_to_begin_with(molecules_file, tmp_path):
    choices = plan(load(molecules_file()), tmp_path)
    with pytest.raises(ValueError, match="nothing to begin with: 0 structures are labelled"):
        loop.start(dataclasses.replace(choices, start=lambda: Starting([atom("O", -102.5)])))


def test_an_isolated_atom_in_the_data_is_no_seed(waters, molecules_file):
    single = atom("H", -10.7)
    single.arrays[FORCES] = np.zeros((1, 3))
    dataset = Dataset.from_atoms([single, *waters[:3]])
    config = load(molecules_file())
    seeds = choose_seeds(dataset, "lowest_energy", 4, 0, attackable(config, dataset))
    assert 0 not in seeds
