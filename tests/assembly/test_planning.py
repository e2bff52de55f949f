import os

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from sparring.assembly import planning, proposer_kinds
from sparring.assembly.labels import label_service_of, labeller
from sparring.assembly.planning import (
    fit_arguments,
    plan,
    selectors,
)
from sparring.assembly.proposing import attack_arguments, choose_seeds, objective, proposer, space_of
from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.structures import Structures
from sparring.committee import Prediction
from sparring.config import load
from sparring.dynamics import Langevin, NoseHooverChain
from sparring.expected_error import ExpectedErrors, PowerLaw
from sparring.inputs.extxyz import write_structures
from sparring.labels import PySCF
from sparring.plots.style import SOURCES
from sparring.potentials import CoordinateMLP, SchNet
from sparring.proposers import objectives
from sparring.proposers.boltzmann import boltzmann_weighted
from sparring.proposers.spaces import Cartesian, RandomDisplacement
from sparring.selection import LCMD, Budget, Distinct, EnergyWindow, MaxDet, UncertaintyAbove
from sparring.starting_data.relaxation import RelaxationError
from sparring.support.progress import no_progress_bars
from sparring.systems import alanine_dipeptide, ammonia, wells
from sparring.systems.ammonia import inversion


@pytest.fixture
def config(tmp_path):
    def make(text):
        file = tmp_path / "run.yaml"
        file.write_text(text, encoding="utf-8")
        return load(file)

    return make


@pytest.fixture
def energies():
    """Waters with given energies, in eV."""

    def make(*values, names=None):
        structures = [molecule(name) for name in names or ["H2O"] * len(values)]
        for one, energy in zip(structures, values, strict=True):
            one.info[ENERGY] = energy
            one.arrays[FORCES] = np.zeros((len(one), 3))
        return Dataset.from_atoms(structures)

    return make


WELL = "system: {kind: double_well_2d}\n"
AMMONIA = "system: {kind: ammonia}\n"
DIPEPTIDE = "system: {kind: alanine_dipeptide}\n"


# --- labels ---------------------------------------------------------------------------------------------------------


def test_a_well_labels_its_own_points(config, particle):
    truth = labeller(config(WELL))
    assert truth.method == "double_well_2d"
    assert truth(particle(0.5, 1.0)).energy == pytest.approx(10 / 16 - 10 / 4 + 1 + 4)


def test_quantum_chemistry_is_that_of_the_configuration(config):
    found = labeller(config(AMMONIA + "labels: {labeller: {kind: pyscf, method: HF/STO-3G, grid_level: 2}}\n"))
    assert isinstance(found, PySCF)
    assert "HF/STO-3G" in found.method


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{kind: pyscf, method: BP87/def2-SVP}", "BP87|bp87"),
        ("{kind: pyscf, method: BP86/def3-SVP}", "def3-svp|def3-SVP"),
        ("{kind: ase, name: emtt}", "emt"),
        ("{kind: ase, name: emt, parameters: {asap: true}}", "asap"),
        ("{kind: plugin, name: no_such_code}", "no_such_code"),
    ],
)
def test_a_method_that_nobody_knows_is_an_error_before_anything_is_computed(section, message, config, tmp_path):
    chosen = config(AMMONIA + f"labels: {{labeller: {section}}}\n")
    with pytest.raises(ValueError, match=message):
        plan(chosen, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_force_field_is_that_of_the_configuration_and_the_molecule_that_of_the_system(config, tmp_path):
    geometry = alanine_dipeptide.geometry()
    opls = labeller(config(DIPEPTIDE))
    amber = labeller(config(DIPEPTIDE + "labels: {labeller: {kind: openmm, forcefield: amber14-all.xml}}\n"))
    assert "opls-aa" in opls.method
    assert "amber14-all.xml" in amber.method
    (tmp_path / "system.xml").write_text(pytest.importorskip("openmm").XmlSerializer.serialize(amber.system))
    serialised = labeller(config(DIPEPTIDE + "labels: {labeller: {kind: openmm, system: system.xml}}\n"))
    assert serialised(geometry).energy == amber(geometry).energy != opls(geometry).energy


def test_a_run_of_alanine_dipeptide_begins_with_labelled_snapshots_of_its_force_field(config, tmp_path):
    short = config("system: {kind: alanine_dipeptide, sampling: {duration: 12 fs, every: 4 fs, temperature: 500 K}}\n")
    structures = plan(short, tmp_path / "run").start().atoms
    assert [one.info["time"] for one in structures] == [4.0, 8.0, 12.0]
    assert {(one.info["source"], one.info["temperature"]) for one in structures} == {("langevin", 500.0)}
    truth = labeller(short)
    for one in structures:
        assert one.info[ENERGY] == truth(one).energy
    again = plan(short, tmp_path / "again").start().atoms
    np.testing.assert_array_equal([one.positions for one in again], [one.positions for one in structures])
    assert len(list((tmp_path / "run" / "labels").glob("*.json"))) == 3


def test_a_molecule_of_ones_own_is_enlarged_by_dynamics_of_its_force_field(config, tmp_path):
    app = pytest.importorskip("openmm.app")
    geometry = alanine_dipeptide.geometry()
    with (tmp_path / "mine.pdb").open("w") as file:
        app.PDBFile.writeFile(alanine_dipeptide.topology(), geometry.positions, file)
    write_structures(tmp_path / "mine.xyz", [geometry])
    text = """
system: {kind: own, file: mine.xyz, enlarge: {kind: langevin, duration: 8 fs, every: 4 fs}}
labels:
  labeller: {kind: openmm, forcefield: amber14-all.xml, topology: mine.pdb}
"""
    structures = plan(config(text), tmp_path / "run").start().atoms
    assert [one.info["source"] for one in structures] == ["file", "langevin", "langevin"]


def test_labels_are_kept_in_the_run_folder_unless_the_configuration_names_another(config, tmp_path):
    inside = label_service_of(config(WELL), tmp_path / "run")
    assert inside.store.folder == tmp_path / "run" / "labels"
    store = tmp_path / "store"
    assert label_service_of(config(WELL + f"labels: {{store: {store}}}\n"), tmp_path / "run").store.folder == store


def test_a_formula_is_not_worth_a_process_and_a_calculation_is_worth_all_cores(config, tmp_path):
    emt = "labels: {labeller: {kind: ase, name: emt}}\n"
    assert label_service_of(config(WELL), tmp_path).n_workers == 1
    assert label_service_of(config(AMMONIA + emt), tmp_path).n_workers == os.cpu_count()
    assert label_service_of(config(DIPEPTIDE), tmp_path).n_workers == 1
    assert label_service_of(config(DIPEPTIDE + "labels: {n_workers: 2}\n"), tmp_path).n_workers == 2
    some = "labels: {labeller: {kind: ase, name: emt}, n_workers: 3}\n"
    assert label_service_of(config(AMMONIA + some), tmp_path).n_workers == 3


def test_structures_without_a_label_are_left_out_of_the_start_with_a_word(config, tmp_path, caplog):
    emt = config(AMMONIA + "labels: {labeller: {kind: ase, name: emt}, n_workers: 1}\n")
    found = label_service_of(emt, tmp_path).label_many([molecule("N2"), molecule("CH3Cl"), molecule("H2O")])
    assert [one.get_chemical_formula() for one in found] == ["N2", "H2O"]
    assert "left out: structure 1 (CH3Cl)" in caplog.text
    assert label_service_of(emt, tmp_path).label_many([]) == []


# --- networks, training, attacks ------------------------------------------------------------------------------------


def test_a_section_becomes_the_network_that_it_describes(config):
    network = planning.architecture(
        config(WELL + "committee: {potential: {kind: coordinate_mlp, n_units: 7}}").committee.potential
    )
    assert isinstance(network, CoordinateMLP)
    small = "committee: {potential: {kind: schnet, n_features: 4, cutoff: 3 Å}}"
    network = planning.architecture(config(AMMONIA + small).committee.potential)
    assert isinstance(network, SchNet)
    assert network.cutoff == 3.0


def test_training_gets_all_its_numbers(config):
    arguments = fit_arguments(config(AMMONIA + "dtype: float64\ntraining: {n_epochs: 3, learning_rate: 1e-2}\n"))
    assert arguments["dtype"] is torch.float64
    assert (arguments["n_epochs"], arguments["learning_rate"], arguments["energy_weight"]) == (3, 1e-2, 0.1)
    assert "splits" not in arguments


def test_an_attack_gets_its_space_and_its_bound(config):
    text = "attack: {n_steps: 7, axes: xy, initial_spread: 0.2 Å, bound: {norm: 2, radius: 0.5 Å}}\n"
    space, arguments = attack_arguments(config(AMMONIA + text).attack)
    assert space == Cartesian(spread=0.2, axes="xy", norm=2.0, radius=0.5)
    assert (arguments["n_steps"], arguments["min_distance"], arguments["max_memory"]) == (7, 0.5, 4e9)


def test_random_displacements_have_the_amplitude_of_their_section(config):
    space = space_of(config(AMMONIA + "attack: {kind: random, amplitude: 0.4 Å}\n").attack.space)
    assert space == RandomDisplacement(amplitude=0.4, axes="xyz")


class Asked(Exception):
    """Stands for dynamics, with all that it was asked for."""


def test_dynamics_gets_all_that_its_section_says(config, committee, monkeypatch):
    def ask(committee, seeds, **how):
        raise Asked(how)

    def asked(rest, seed):
        text = "attack: {kind: dynamics, temperature: 700 K, duration: 1 ps, timestep: 1 fs, every: 7, "
        seeds = Structures.from_atoms([molecule("NH3")])
        with pytest.raises(Asked) as caught:
            proposer(config(AMMONIA + text + rest + "}\n"), None)(committee(), seeds, seed)
        return caught.value.args[0]

    monkeypatch.setattr(proposer_kinds, "take_snapshots", ask)
    first = asked("min_distance: 1 Å, ensemble: langevin, friction: 5 1/ps", 3)
    second = asked("time_constant: 20 fs, max_memory: null", 4)
    assert (first["ensemble"], second["ensemble"]) == (Langevin(700.0, 0.005), NoseHooverChain(700.0, 20.0))
    assert (first["duration"], first["timestep"], first["every"], first["min_distance"]) == (1000.0, 1.0, 7, 1.0)
    assert (first["seed"], second["seed"], first["max_memory"], second["max_memory"]) == (3, 4, 4e9, None)
    assert first["axes"] == "xyz"


@pytest.mark.parametrize(
    ("kind", "source"), [("adversarial", "attack"), ("random", "random"), ("dynamics", "dynamics")]
)
def test_data_say_how_they_were_found(kind, source, config, tmp_path):
    assert plan(config(WELL + f"attack: {{kind: {kind}}}\n"), tmp_path).source == source
    assert source in SOURCES  # figures know it
    assert "langevin" in SOURCES


def evaluated(term):
    """The value of an objective on two waters of which members disagree."""
    structures = Structures.from_atoms([molecule("H2O")] * 2)
    generator = torch.Generator().manual_seed(0)
    energy = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    forces = torch.randn(3, 6, 3, generator=generator, dtype=torch.float64)
    return term(Prediction(energy, forces), structures).tolist()


@pytest.mark.parametrize("uncertainty", ["force_variance", "energy_variance"])
def test_the_objective_is_that_of_its_equation(uncertainty, config, energies):
    data, variance = energies(-1.0, -0.5, 0.5), getattr(objectives, uncertainty)

    def made(rest):
        return objective(config(AMMONIA + f"attack: {{objective: {{uncertainty: {uncertainty}, {rest}}}}}\n"), data)

    weighted = boltzmann_weighted(variance, kT=0.7, reference=data)
    assert evaluated(made("kT: null")) == evaluated(variance)
    assert evaluated(made("kT: 0.7 eV")) == pytest.approx(evaluated(weighted))
    assert evaluated(made("kT: null, logarithm: true")) == pytest.approx(np.log(evaluated(variance)))
    assert evaluated(made("kT: 0.7 eV, logarithm: true")) == pytest.approx(np.log(evaluated(weighted)))


def test_energies_count_as_in_the_paper_for_its_systems_and_per_degree_of_freedom_for_molecules_of_ones_own(
    config, energies
):
    data, own = energies(-1.0, -0.5, 0.5), "system: {kind: own, file: some.xyz}\n"

    def made(text, per):
        weighted = boltzmann_weighted(objectives.force_variance, kT=0.7, reference=data, per=per)
        rest = "" if "per" in text else "attack: {objective: {kT: 0.7 eV}}\n"
        return evaluated(objective(config(text + rest), data)) == evaluated(weighted)

    assert made(AMMONIA, "structure")
    assert made("system: {kind: alanine_dipeptide}\n", "structure")
    assert made(own, "degree_of_freedom")
    assert made(own + "attack: {objective: {kT: 0.7 eV, per: structure}}\n", "structure")
    assert made(AMMONIA + "attack: {objective: {kT: 0.7 eV, per: atom}}\n", "atom")


def test_the_boltzmann_weight_needs_data_and_says_so(config):
    with pytest.raises(ValueError, match="boltzmann in the objective needs labelled structures"):
        objective(config(AMMONIA), None)
    assert evaluated(objective(config(AMMONIA + "attack: {objective: {kT: null}}\n"), None))


# --- what is attacked -----------------------------------------------------------------------------------------------


def test_the_ground_state_is_attacked_as_often_as_wanted(energies):
    assert choose_seeds(energies(0.0, -1.0, 2.0), "lowest_energy", 4, seed=0) == [1, 1, 1, 1]


def test_every_composition_has_a_ground_state(energies):
    data = energies(-5.0, -1.0, -9.0, -2.0, names=["H2O", "NH3", "H2O", "NH3"])
    assert choose_seeds(data, "lowest_energy", 5, seed=0) == [2, 3, 2, 3, 2]


def test_random_seeds_are_all_different_until_there_are_no_more(energies):
    data = energies(*np.zeros(7))
    assert sorted(choose_seeds(data, "random", None, seed=0)) == list(range(7))
    some = choose_seeds(data, "random", 10, seed=0)
    assert sorted(some[:7]) == list(range(7))
    assert some[7:] == some[:3]
    assert choose_seeds(data, "random", 5, seed=0) == some[:5]
    assert choose_seeds(data, "random", 7, seed=1) != some[:7]


def test_what_may_not_be_attacked_is_no_seed_and_the_others_are_in_their_order(energies):
    data, allowed = energies(3.0, -1.0, 2.0, 0.0), np.array([True, False, True, True])
    assert choose_seeds(data, "lowest_energy", 2, seed=0, allowed=allowed) == [3, 3]
    everything = choose_seeds(data, "random", None, seed=0)
    some = choose_seeds(data, "random", 3, seed=0, allowed=allowed)
    assert some == [index for index in everything if index != 1]
    with pytest.raises(ValueError, match="none of 4 structures can be attacked: all have broken bonds"):
        choose_seeds(data, "random", 3, seed=0, allowed=~np.ones(4, dtype=bool))


# --- what is chosen -------------------------------------------------------------------------------------------------


def test_selection_steps_come_in_the_order_of_the_configuration(config, committee, ammonia, with_random_labels):
    text = """
selection:
  - {kind: distinct, rmsd: 0.02 Å, align: false}
  - {kind: uncertainty_above, percentile: 50}
  - {kind: energy_window, window: 2 eV}
  - {kind: budget, n: 3, order: random}
  - {kind: max_det, n: 2, scaled: false}
  - {kind: lcmd, n: 1}
  - {kind: lcmd, n: 1, with_data: false}
"""
    data = with_random_labels([ammonia])
    known = (np.array([1.0, 2.0, 3.0]), {"H3N": -5.0}, 7, committee(), data)
    chosen = selectors(config(AMMONIA + text), no_progress_bars, *known)
    assert [type(one) for one in chosen] == [Distinct, UncertaintyAbove, EnergyWindow, Budget, MaxDet, LCMD, LCMD]
    assert chosen[1].threshold == 2.0
    assert (chosen[2].window, chosen[2].above) == (2.0, {"H3N": -5.0})
    assert (chosen[3].n, chosen[3].seed) == (3, 7)
    assert (chosen[4].n, chosen[4].scaled) == (2, False)
    assert chosen[4].features(data.structures).shape == (1, 24)
    assert [one.training for one in chosen[5:]] == [data.structures, None]
    assert [one.shares for one in chosen[3:]] == [None] * 4
    parts = "propose: [{kind: scan, share: 3}, {kind: adversarial}]\n"
    divided = selectors(config(AMMONIA + text + parts), no_progress_bars, *known)
    assert [one.shares for one in divided[3:]] == [{"scan": 3.0, "attack": 1.0}] * 4


# --- what is special to a system ------------------------------------------------------------------------------------


def test_the_grid_error_of_a_well_is_that_of_the_mean_energy(mlp):
    members = planning.Committee([mlp(seed, n_coordinates=1) for seed in range(3)])
    well = wells.DoubleWell1D()
    grid = wells.grid_structures(well)
    mean = members.predict(grid, differentiable=False).energy.mean(0).numpy()
    missed = mean - well.energies(grid.positions.numpy())
    assert wells.grid_error(members, well)["grid_rmse"] == pytest.approx(np.sqrt(np.mean(missed**2)))


def test_a_committee_that_has_no_barrier_is_reported_and_is_no_error(committee, config, tmp_path, monkeypatch, caplog):
    minimum, planar = molecule("NH3"), molecule("NH3")
    minimum.calc = SinglePointCalculator(minimum, energy=-1.0)
    planar.calc = SinglePointCalculator(planar, energy=-0.75)
    reference = ammonia.Barrier(minimum=minimum, planar=planar)

    def relaxed(calculator, start=None):
        if start is None:
            return reference
        raise RelaxationError("no way up")

    monkeypatch.setattr(ammonia, "inversion_barrier", relaxed)
    label_service = label_service_of(config(AMMONIA + "labels: {labeller: {kind: ase, name: emt}}\n"), tmp_path)
    assert inversion(committee(), label_service) == {"barrier": None, "barrier_reference": 0.25, "barrier_error": None}
    assert "no way up" in caplog.text


def test_candidates_are_labelled_from_the_expected_error_on_that_is_asked_for(config, energies, committee, caplog):
    section = config(WELL + "selection: [{kind: uncertainty_above, force_error: 0.3 eV/Å}]\n")
    law = PowerLaw(factor=2.0, exponent=0.5, ratios=(1.0,), n=9)
    expected = ExpectedErrors(forces=law, energy=None, elements={}, n_labels=9, n_test=0)
    given = (section, no_progress_bars, np.array([1.0]), {}, 0, committee(), energies(0.0))
    (step,) = selectors(*given, expected)
    assert 2 * step.threshold**0.25 == pytest.approx(0.3)
    (step,) = selectors(*given, None)
    assert step.threshold == 0
    assert "too few errors are known to say which candidates err by 0.3 eV/Å" in caplog.text
