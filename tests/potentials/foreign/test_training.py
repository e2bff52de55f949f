"""MACE and CHGNet are trained by `fit`: from scratch, and further from given weights."""

from dataclasses import replace

import pytest
import torch
from ase.build import molecule

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.neighbors import with_edges
from sparring.committee import digest
from sparring.committee_files import read_committee, write_committee
from sparring.evaluation import evaluate
from sparring.potentials.foreign.chgnet import CHGNetPotential
from sparring.potentials.foreign.loading import load_potential
from sparring.potentials.foreign.mace_from_scratch import MACE, mean_neighbors
from sparring.potentials.stacking import stack
from sparring.training.fitting import fit
from sparring.training.jobs import initial_references, jobs_of, members_of, packed
from sparring.training.loss import Loss

SMALL = {"n_channels": 4, "max_L": 1, "n_interactions": 2, "correlation": 2, "n_radial": 4, "max_ell": 1, "cutoff": 3.0}


@pytest.fixture
def labelled(rattled):
    """Ammonia and water with the energies and forces of Morse springs, and a large energy for each atom."""
    from ase.calculators.morse import MorsePotential

    found = []
    for name, zero in (("NH3", -1000.0), ("H2O", -1500.0)):
        for one in rattled(molecule(name), 10, stdev=0.06):
            one.calc = MorsePotential(epsilon=1.0, r0=1.1, rho0=3.0, rcut1=8.0, rcut2=9.0)
            one.info[ENERGY] = float(one.get_potential_energy()) + zero
            one.arrays[FORCES] = one.get_forces()
            one.calc = None
            found.append(one)
    return Dataset.from_atoms(found)


def gradient_by_both(module, dataset, seed=0):
    """The gradient of a minibatch in the weights along a direction, by autograd and by finite differences."""
    jobs = jobs_of([dataset], [0], None, 1)
    members = members_of(jobs)
    module = module.double()
    loss = Loss(module, packed(jobs, module, None, torch.float64, "cpu"), 0.1, 1.0, initial_references(jobs, members))
    weights = torch.cat([one.detach().flatten() for one in module.parameters()]).unsqueeze(0)
    chosen, generator = torch.tensor([[0, 10, 3]]), torch.Generator().manual_seed(seed)
    direction = torch.randn(weights.shape, generator=generator, dtype=torch.float64) * weights.abs().clamp(min=1e-2)
    _, gradient = loss.gradient(weights, chosen)
    step = 1e-5
    plus, minus = (loss.gradient(weights + s * direction, chosen)[0] for s in (step, -step))
    return float((gradient * direction).sum()), float((plus - minus) / (2 * step))


@pytest.mark.extra("mace")
def test_mace_is_made_for_the_data_and_its_draws_are_the_generators(labelled):
    made = MACE(**SMALL).for_data(labelled)
    assert made.elements == ("H", "N", "O")
    assert float(made.mean_neighbors) == pytest.approx(mean_neighbors(labelled.structures, 3.0))
    assert float(made.mean_neighbors) == pytest.approx(2.57, abs=0.01)  # 4 x 3 of ammonia, 3 x 2 of water, 7 atoms
    assert float(made.model.scale_shift.scale) == pytest.approx(float(labelled.forces.square().mean().sqrt()))
    before = torch.get_rng_state()
    weights = []
    for seed in (0, 0, 1):
        made.initialise(torch.Generator().manual_seed(seed))
        weights.append(torch.cat([one.detach().flatten() for one in made.parameters()]).clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(ValueError, match=r"no weights \(asked for energies of H, N, O\); train it by sparring\.fit"):
        MACE(**SMALL)(labelled.structures)


@pytest.mark.extra("mace")
def test_mace_from_scratch_learns_is_saved_and_has_the_same_bits_for_the_same_seed(labelled, tmp_path):
    recipe = {"n_members": 2, "n_epochs": 6, "batch_size": 4, "learning_rate": 0.02, "ema_decay": 0.9}
    committee, report = fit(MACE(**SMALL), labelled, seed=0, **recipe)
    assert (report.validation_loss.min(0) < 0.8 * report.validation_loss[0]).all()
    assert evaluate(committee, labelled).energy_mae < 5.0  # of -1500 eV
    again, _ = fit(MACE(**SMALL), labelled, seed=0, **recipe)
    assert digest(stack(again.members)) == digest(stack(committee.members))
    write_committee(tmp_path, committee)
    before, after = (one.predict(labelled.structures).energy for one in (committee, read_committee(tmp_path)))
    torch.testing.assert_close(after, before)
    # Trained further, from its own weights and constants.
    tuned, _ = fit(
        committee.members[0],
        labelled,
        seed=1,
        n_members=2,
        start_from=committee.members,
        n_epochs=1,
        learning_rate=1e-9,
    )
    assert tuned.members[1].mean_neighbors == committee.members[1].mean_neighbors
    torch.testing.assert_close(
        tuned.predict(labelled.structures).forces, committee.predict(labelled.structures).forces, atol=1e-4, rtol=1e-4
    )


@pytest.mark.extra("mace")
def test_the_gradient_of_a_minibatch_in_the_weights_of_mace_follows_finite_differences(labelled):
    got, expected = gradient_by_both(MACE(**SMALL).for_data(labelled), labelled)
    assert got == pytest.approx(expected, rel=1e-6)


def test_energies_of_free_atoms_are_added_in_double_precision(mace_model):
    potential = load_potential("mace", mace_model(), dtype=torch.float32)
    structures = with_edges(single_precision(molecule("NH3")), potential.cutoff)
    small = potential(structures)
    energies = torch.zeros(100, dtype=torch.float64)
    energies[[1, 7]] = 2.0**20  # a float32, whose neighbours are 0.125 eV away
    shift = energies - potential.get_reference_energies()
    potential.set_reference_energies(energies)
    torch.testing.assert_close(potential(structures) - small, shift[[7, 1, 1, 1]].sum().reshape(1), rtol=0, atol=1e-6)


def single_precision(atoms):
    from sparring.atoms.structures import Structures

    structures = Structures.from_atoms([atoms])
    return replace(structures, positions=structures.positions.float(), cells=structures.cells.float())


def test_chgnet_is_trained_further_and_its_energies_of_elements_are_fitted_not_trained(labelled, chgnet_model):
    potential = CHGNetPotential.from_module(chgnet_model)
    assert "model.composition_model.fc.weight" in potential.state_dict()
    assert "model.composition_model.fc.weight" not in dict(potential.named_parameters())
    some = labelled.take([0, 1, 2, 3, 10, 11, 12, 13])
    recipe = {"n_members": 2, "batch_size": 2, "learning_rate": 1e-3, "ema_decay": None}
    tuned, report = fit(potential, some, seed=0, start_from=[potential], n_epochs=3, **recipe)
    assert (report.train_loss[-1] < 0.8 * report.train_loss[0]).all()
    assert evaluate(tuned, some).energy_mae < 1.0


def test_the_gradient_of_a_minibatch_in_the_weights_of_chgnet_follows_finite_differences(labelled, chgnet_model):
    got, expected = gradient_by_both(CHGNetPotential.from_module(chgnet_model), labelled)
    assert got == pytest.approx(expected, rel=1e-5)


def test_new_weights_of_chgnet_are_those_of_the_generator(chgnet_model):
    potential = CHGNetPotential.from_module(chgnet_model)
    trained = potential.state_dict()["model.atom_embedding.embedding.weight"].clone()
    weights = []
    for seed in (0, 0, 1):
        potential.initialise(torch.Generator().manual_seed(seed))
        weights.append(potential.state_dict()["model.atom_embedding.embedding.weight"].clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], trained)
