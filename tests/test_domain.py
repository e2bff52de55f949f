import json
import logging

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.committee_files import read_committee, write_committee
from sparring.domain import TrainingDomain
from sparring.dynamics import NVE, Langevin, init, simulate, step
from sparring.dynamics.calculator import CommitteeCalculator
from sparring.dynamics.trajectories import md
from sparring.evaluation import evaluate, predict_structures
from sparring.potentials import CoordinateMLP, SchNet
from sparring.proposers.ascent import attack
from sparring.proposers.dynamics import take_snapshots
from sparring.proposers.objectives import force_variance
from sparring.surfaces.evaluators import committee_surface
from sparring.surfaces.grids import grid
from sparring.surfaces.landscape import landscape
from sparring.training.fitting import fit
from sparring.training.splits import Splits
from sparring.validation.survival.compute import own_minimum, survival

SMALL = {"n_features": 4, "n_filters": 4, "n_interactions": 1, "n_gaussians": 4, "cutoff": 3.0}
NO_CARBON = (
    r"structure 0 \(CH4\) has C, on which the committee was not trained: its data have H, O; train one on labels with C"
)


def stated(atoms, **info):
    """A copy that gives its charge or multiplicity."""
    copy = atoms.copy()
    copy.info.update(info)
    return copy


@pytest.fixture
def fitted(with_random_labels):
    """A committee that was fitted to structures, in no time and badly."""

    def make(atoms, *, splits=None):
        if splits is None:  # trained on all, validated on the first once more
            n, atoms = len(atoms), [*atoms, atoms[0].copy()]
            splits = Splits(test=(), train=(tuple(range(n)),) * 2, validation=((n,),) * 2)
        return fit(SchNet(**SMALL), with_random_labels(atoms), seed=0, splits=splits, n_epochs=1)[0]

    return make


@pytest.fixture
def trained(schnet, with_random_labels):
    """A committee that believes to have been trained on structures."""

    def make(atoms, *, network=None):
        members = [network or schnet(seed, **SMALL) for seed in range(2)]
        return Committee(members, domain=TrainingDomain.of(with_random_labels(atoms)))

    return make


@pytest.fixture
def of_water(trained, water, rattled):
    return trained(rattled(water, 4))


@pytest.fixture
def methane():
    return molecule("CH4")


def answers(committee, atoms):
    """The energy that ASE gets."""
    one = atoms.copy()
    one.calc = CommitteeCalculator(committee)
    return one.get_potential_energy()


# --- domains ---------------------------------------------------------------------------------------------------------


def test_a_committee_knows_elements_charges_and_multiplicities_of_its_data(fitted):
    ammonium = stated(molecule("NH3"), charge=1, multiplicity=2)
    oxygen = stated(molecule("O2"), multiplicity=3)
    domain = fitted([molecule("H2O"), ammonium, oxygen, molecule("OH")]).domain
    assert domain.elements == (1, 7, 8)
    assert domain.states == {"H2O": ((0, 1),), "H3N": ((1, 2),), "O2": ((0, 3),), "HO": ((0, 2),)}
    assert domain.software["torch"].startswith(torch.__version__.partition("+")[0])
    assert str(domain) == "H, N, O; charge 0, +1; multiplicity 1, 2, 3"


def test_an_element_that_no_member_was_trained_on_is_not_known_and_one_that_some_miss_is_told(fitted, water, caplog):
    structures = [water, water, molecule("HCl"), molecule("CH4")]
    splits = Splits(test=(3,), train=((0, 1), (0, 2)), validation=((2,), (1,)))
    domain = fitted(structures, splits=splits).domain
    assert domain.elements == (1, 8, 17)
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 2 members train on no structure with C, which occurs in 1 of 4: what they predict for it is random; "
        "add structures with it, or leave these out",
        "1 of 2 members train on no structure with Cl, which occurs in 1 of 4: what they predict for it is random; "
        "add structures with it, or leave these out",
    ]


def test_the_domain_goes_with_the_committee_to_other_precisions_and_through_files(of_water, tmp_path):
    write_committee(str(tmp_path / "new" / "folder"), of_water)
    again = read_committee(str(tmp_path / "new" / "folder"))
    assert again.domain == of_water.domain is not None
    assert of_water.to(dtype=torch.float64).domain == of_water.domain


def test_an_old_committee_says_that_it_is_not_checked_and_answers(committee, methane, tmp_path, caplog):
    write_committee(tmp_path, committee())
    assert "domain" not in json.loads((tmp_path / "committee.json").read_text())
    caplog.set_level(logging.WARNING)
    old = read_committee(tmp_path)
    assert "committee.json has no elements and charges of the training data" in caplog.text
    assert np.isfinite(answers(old, methane))


def test_a_domain_that_is_damaged_is_an_error_that_names_the_file(of_water, tmp_path):
    write_committee(tmp_path, of_water)
    file = tmp_path / "committee.json"
    content = json.loads(file.read_text())
    del content["sha256"]  # as of a committee of an older version
    for domain in ({}, {"elements": ["Xx"], "states": {}}, {"elements": ["H"], "states": {"H2": [[0]]}}):
        file.write_text(json.dumps({**content, "domain": domain}))
        with pytest.raises(ValueError, match=r"committee.json cannot be read: (the domain|elements are symbols)"):
            read_committee(tmp_path)


def test_a_committee_in_other_units_is_an_error(of_water):
    weights, about = of_water.state()
    with pytest.raises(ValueError, match=r"in units of \{'energy': 'Hartree', .*this version reads .*eV"):
        Committee.from_state(weights, {**about, "units": {"energy": "Hartree", "length": "Å"}})


def test_the_method_of_the_labels_stands_behind_charges():
    domain = TrainingDomain(
        elements=(7, 1), states={"H3N": ((0, 1),)}, method="BP86-D3BJ/def2-SVP", method_version="pyscf 2.14"
    )
    assert str(domain) == "H, N; charge 0; BP86-D3BJ/def2-SVP (pyscf 2.14)"
    assert TrainingDomain.from_json(json.loads(json.dumps(domain.to_json()))) == TrainingDomain(
        elements=(1, 7), states=domain.states, method=domain.method, method_version="pyscf 2.14"
    )


# --- what it refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CH4", NO_CARBON),
        ("HCl", r"structure 0 \(HCl\) has Cl, .*data have H, O; .*\(in Python, committee.without_domain\(\) evaluates"),
        ("CH3Cl", r"\(CH3Cl\) has C, Cl, on which"),
    ],
)
def test_molecules_with_other_elements_are_refused(of_water, name, message):
    with pytest.raises(ValueError, match=message):
        answers(of_water, molecule(name))


def test_every_way_of_asking_refuses_what_is_not_known(of_water, methane, with_random_labels, tmp_path):
    batch = Structures.from_atoms([methane])
    once = {"timestep": 0.5, "n_steps": 1, "seed": 0}
    asked = [
        lambda: of_water.predict(batch),
        lambda: attack(of_water, batch, force_variance, seed=0, n_steps=1),
        lambda: simulate(of_water, batch, ensemble=NVE(300.0), **once),
        lambda: init(of_water, batch, ensemble=NVE(300.0), seed=0),
        lambda: take_snapshots(of_water, batch, ensemble=NVE(300.0), seed=0, duration=1.0, timestep=0.5, every=1),
        lambda: md(of_water, [methane], tmp_path / "md.xyz", temperatures=[300.0], duration=1.0, timestep=0.5),
        lambda: predict_structures(of_water, batch),
        lambda: evaluate(of_water, with_random_labels([methane])),
        lambda: survival(of_water, methane, temperatures=[300.0], criteria=[], n_copies=1, duration=1.0),
        lambda: own_minimum(of_water, methane),
        lambda: committee_surface(of_water)([methane]),
        lambda: answers(of_water, methane),
    ]
    for ask in asked:
        with pytest.raises(ValueError, match=NO_CARBON):
            ask()
    assert not (tmp_path / "md.xyz").exists()


def test_the_structure_is_named_by_its_place_in_the_whole_batch(of_water, water, methane):
    with pytest.raises(ValueError, match=r"structure 2 \(CH4\) has C"):
        predict_structures(of_water, Structures.from_atoms([water, water, methane]), n_at_once=1)


def test_a_committee_of_one_metal_refuses_its_alloys(trained, rattled):
    copper = trained(rattled(bulk("Cu", cubic=True), 3, stdev=0.01))
    alloy = bulk("Cu", cubic=True)
    alloy.symbols[0] = "Au"
    assert np.isfinite(answers(copper, bulk("Cu")))
    with pytest.raises(ValueError, match=r"\(AuCu3\) has Au, .*data have Cu; "):
        answers(copper, alloy)


def test_numbers_that_no_element_has_and_dummies_are_refused_by_what_knows_atoms(of_water):
    for number, name in ((0, "X"), (110, "Ds"), (150, "element 150")):
        with pytest.raises(ValueError, match=f"has {name}, on which the committee was not trained: its data have H, O"):
            answers(of_water, Atoms(numbers=[1, number], positions=[[0, 0, 0], [1, 0, 0]]))


def test_a_committee_of_a_well_knows_its_particle_and_nothing_else(trained, particle, water):
    network = CoordinateMLP(n_coordinates=2, n_layers=1, n_units=4)
    well = trained([particle(0.1 * i) for i in range(4)], network=network)
    assert str(well.domain) == "X; charge 0"
    assert np.isfinite(answers(well, particle(0.5)))
    with pytest.raises(ValueError, match="has H, O, on which the committee was not trained: its data have X"):
        answers(well, water)


def test_a_charge_that_was_not_trained_on_is_refused_and_named(of_water, water, with_random_labels, tmp_path):
    cation = stated(water, charge=1)
    message = (
        r"structure 0 \(H2O\) has charge \+1, .*: its data have charge 0 of H2O .*labels with charge \+1 \(in Python"
    )
    sheared = water.copy()
    sheared.set_initial_charges([1.0, 0.0, 0.0])
    for ask in (
        lambda: answers(of_water, cation),
        lambda: answers(of_water, sheared),
        lambda: evaluate(of_water, with_random_labels([cation])),
        lambda: md(of_water, [cation], tmp_path / "md.xyz", temperatures=[300.0], duration=1.0, timestep=0.5),
        lambda: survival(of_water, cation, temperatures=[300.0], criteria=[], n_copies=1, duration=1.0),
        lambda: committee_surface(of_water)([cation]),
    ):
        with pytest.raises(ValueError, match=message):
            ask()
    partial = water.copy()
    partial.set_initial_charges([-0.8, 0.4, 0.4])
    for known in (water, stated(water, charge=0), stated(water, charge=0.0, multiplicity=1), partial):
        assert np.isfinite(answers(of_water, known))


def test_where_charges_differ_each_composition_has_its_own(trained, water):
    ammonium, hydronium = molecule("NH3"), molecule("H2O")
    mixed = trained([water, water, stated(ammonium, charge=1, multiplicity=2), stated(ammonium, charge=1)])
    assert np.isfinite(answers(mixed, stated(ammonium, charge=1)))
    assert np.isfinite(answers(mixed, ammonium))  # says nothing, and there is only one
    with pytest.raises(ValueError, match=r"\(H2O\) has charge \+1, .*its data have charge 0 of H2O"):
        answers(mixed, stated(hydronium, charge=1))
    with pytest.raises(ValueError, match=r"\(H3N\) has charge 0, .*its data have charge \+1 of H3N"):
        answers(mixed, stated(ammonium, charge=0))
    with pytest.raises(ValueError, match=r"\(HO\) has charge -1, .*its data have charge 0, \+1 \("):
        answers(mixed, stated(molecule("OH"), charge=-1))


def test_a_spin_that_was_not_trained_on_is_refused(trained, of_water, water):
    triplet = trained([stated(molecule("O2"), multiplicity=3)] * 3)
    assert np.isfinite(answers(triplet, stated(molecule("O2"), multiplicity=3)))
    with pytest.raises(ValueError, match=r"\(O2\) has multiplicity 1, .*its data have multiplicity 3 of O2"):
        answers(triplet, stated(molecule("O2"), multiplicity=1))
    with pytest.raises(ValueError, match=r"multiplicity 3, .*multiplicity 1 of H2O \(structures without one count"):
        answers(of_water, stated(water, multiplicity=3))
    assert np.isfinite(answers(of_water, stated(molecule("OH"), multiplicity=2)))  # the lowest that it can have
    with pytest.raises(ValueError, match=r"\(HO\) has multiplicity 4, .*its data have multiplicity 1, 2 \("):
        answers(of_water, stated(molecule("OH"), multiplicity=4))


def test_the_spin_of_a_crystal_without_one_is_not_known_and_not_compared(trained, rattled):
    iron = trained(rattled(bulk("Fe", cubic=True), 3, stdev=0.01))
    assert np.isfinite(answers(iron, stated(bulk("Fe", cubic=True), multiplicity=5)))


@pytest.mark.parametrize("charge", [0.5, "one", [1, 2]])
def test_a_charge_that_is_no_integer_is_an_error(of_water, trained, water, charge):
    with pytest.raises(ValueError, match=r"structure 0 \(H2O\): charge must be an integer, got atoms.info\['charge'\]"):
        answers(of_water, stated(water, charge=charge))
    with pytest.raises(ValueError, match=r"structure 0 \(H2O\): charge must be an integer"):
        trained([stated(water, charge=charge)] * 3)


# --- what is let through --------------------------------------------------------------------------------------------


def test_without_its_domain_a_committee_answers_about_everything_as_before(of_water, water, methane):
    asked = of_water.without_domain()
    assert asked.domain is None
    assert of_water.domain is not None
    assert asked.without_domain() is asked
    assert asked.members is of_water.members
    assert np.isfinite(answers(asked, methane))
    assert answers(asked, water) == answers(of_water, water)


def test_members_from_elsewhere_are_checked_if_they_say_what_they_know(water, methane):
    def spring(structures):
        squares = structures.positions.square().sum(1)
        return squares.new_zeros(structures.n_structures).index_add(0, structures.structure_index, squares)

    assert np.isfinite(answers(Committee([spring, spring]), methane))

    def about(elements):
        def potential(structures):
            return spring(structures)

        potential.elements = elements
        return potential

    members = Committee([about(["H", "O", "C"]), about([1, 8]), spring])
    assert members.domain == TrainingDomain(elements=(1, 8))
    assert np.isfinite(answers(members, stated(water, charge=1)))
    with pytest.raises(ValueError, match=NO_CARBON):
        answers(members, methane)
    assert np.isfinite(answers(members.without_domain().to(dtype=torch.float64), methane))
    with pytest.raises(ValueError, match="elements are symbols or atomic numbers, got 'Wa'"):
        Committee([about(["Wa"])])


def test_no_step_asks_anew_what_is_known(of_water, water, never_asks, monkeypatch):
    batch, asked = Structures.from_atoms([water, water]), []
    require = TrainingDomain.require
    monkeypatch.setattr(TrainingDomain, "require", lambda self, what: (asked.append(what), require(self, what))[1])
    attack(of_water, batch, force_variance, seed=0, n_steps=5)
    assert len(asked) == 1
    state = init(of_water, batch, ensemble=Langevin(300.0, 0.01), seed=0)
    assert len(asked) == 2
    with never_asks():
        state = step(of_water, state, ensemble=Langevin(300.0, 0.01), timestep=0.5)
    assert state.step == 1


def test_a_landscape_of_another_molecule_is_refused(of_water, methane):
    line = grid([stated(methane, height=0.1 * number) for number in range(3)], "height")
    with pytest.raises(ValueError, match=NO_CARBON):
        landscape(of_water, line)
