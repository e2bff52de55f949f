"""MACE behind the adapter: with random weights, so that nothing is downloaded."""

import os

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.committee_files import read_committee, write_committee
from sparring.potentials.foreign.loading import load_potential, load_potentials
from sparring.potentials.foreign.packages import SAFE_LOADING, unchanged_settings
from sparring.proposers.ascent import attack
from sparring.proposers.objectives import force_variance
from sparring.testing import check_potential


@pytest.fixture
def crystal():
    """A skewed cell smaller than the cutoff, with two elements."""
    crystal = bulk("NaCl", "rocksalt", a=5.0)
    crystal.rattle(0.1, seed=3)
    return crystal


def test_energies_and_forces_are_those_of_mace_for_molecules_and_crystals(mace_model, ammonia, water, crystal):
    from mace.calculators import MACECalculator

    model = mace_model()
    frames = [ammonia, water, crystal]
    structures = Structures.from_atoms(frames)
    prediction = Committee([load_potential("mace", model)]).predict(structures, differentiable=False)
    for index, atoms in enumerate(frames):
        atoms.calc = MACECalculator(models=[model], device="cpu", default_dtype="float64")
        assert prediction.energy[0, index] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        forces = prediction.forces[0][structures.structure_index == index].numpy()
        np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-9)


def test_it_is_all_that_a_potential_must_be(mace_model, ammonia, crystal):
    check_potential(load_potential("mace", mace_model()), [ammonia, crystal])


@pytest.mark.parametrize("kind", ["molecule", "crystal"])
def test_the_gradient_of_the_force_variance_is_that_of_finite_differences(
    mace_model, ammonia, crystal, variance_slope, kind
):
    committee = Committee(load_potentials("mace", [mace_model(seed) for seed in range(2)]))
    structures = Structures.from_atoms([ammonia if kind == "molecule" else crystal])
    gradient, wanted = variance_slope(committee, structures)
    assert gradient.norm() > 1e-6
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


def test_energies_follow_a_strain_of_the_cell(mace_model, crystal, strain):
    potential = load_potential("mace", mace_model())
    seeds = with_edges(Structures.from_atoms([crystal]), 4.2)
    delta = torch.zeros(1, 3, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(potential(strain.displace(seeds, delta)).sum(), delta)
    step = torch.zeros(1, 3, 3, dtype=torch.float64)
    step[0, 0, 1] = 1e-4
    above, below = (float(potential(strain.displace(seeds, sign * step)).detach()) for sign in (1, -1))
    assert float(gradient[0, 0, 1]) == pytest.approx((above - below) / 2e-4, rel=1e-5, abs=1e-8)


def test_edges_beyond_the_cutoff_of_the_model_change_nothing(mace_model, crystal):
    potential = load_potential("mace", mace_model(r_max=3.0))
    near, far = (potential(with_edges(Structures.from_atoms([crystal]), cutoff)) for cutoff in (3.0, 6.0))
    torch.testing.assert_close(near, far, rtol=0, atol=1e-12)


def test_features_of_atoms_are_those_that_the_readouts_read(mace_model, ammonia):
    features = load_potential("mace", mace_model()).features(Structures.from_atoms([ammonia]))
    assert features.shape == (4, 4 * 4 + 4)


def test_an_attack_climbs_the_uncertainty_of_models_from_files(mace_model, ammonia, tmp_path):
    files = []
    for seed in range(2):
        files.append(tmp_path / f"{seed}.model")
        torch.save(mace_model(seed), files[-1])
    with pytest.raises(ValueError, match=r"is a pickle, not a state dictionary.*give --trust-pickle"):
        load_potentials("mace", files)
    committee = Committee(load_potentials("mace", files, trust_pickle=True, dtype=torch.float64))
    seeds = Structures.from_atoms([ammonia])
    result = attack(committee, seeds, force_variance, seed=0, n_steps=5, learning_rate=0.01)
    assert result.force_variance[-1] > 1.1 * result.force_variance[0]


def test_an_import_of_mace_does_not_switch_off_safe_loading(monkeypatch):
    monkeypatch.delenv(SAFE_LOADING, raising=False)
    with unchanged_settings():
        os.environ[SAFE_LOADING] = "1"  # as mace/__init__.py does
    assert SAFE_LOADING not in os.environ


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_committee_is_read_without_its_checkpoints_and_predicts_the_same_bits(
    mace_model, ammonia, crystal, tmp_path, dtype
):
    models = [mace_model(0, avg_num_neighbors=3.1), mace_model(1, avg_num_neighbors=2.9)]
    committee = Committee(load_potentials("mace", models, dtype=dtype))
    write_committee(tmp_path, committee)
    structures = Structures.from_atoms([ammonia, crystal])
    again = read_committee(tmp_path)
    for before, after in zip(
        committee.predict(structures, stress=True), again.predict(structures, stress=True), strict=True
    ):
        torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert again.domain == committee.domain


def test_models_that_differ_are_refused_with_the_number_of_the_model(mace_model):
    with pytest.raises(ValueError, match=r"same cutoff in Å: model 1 \(ScaleShiftMACE\) has 3.0, model 0 4.0"):
        load_potentials("mace", [mace_model(), mace_model(r_max=3.0)])
    others = mace_model(atomic_numbers=[1, 7])
    with pytest.raises(ValueError, match=r"same elements: model 1 \(ScaleShiftMACE\) has \['H', 'N'\], model 0 \['Cl'"):
        load_potentials("mace", [mace_model(), others])


def test_elements_that_the_model_does_not_know_are_refused(mace_model):
    potential = load_potential("mace", mace_model())
    methane = Structures.from_atoms([molecule("CH4")])
    with pytest.raises(ValueError, match="has C, on which the committee was not trained"):
        Committee([potential]).predict(methane)
    with pytest.raises(ValueError, match=r"no parameters for atomic numbers \[6\]"):
        potential(methane)


def test_a_model_with_several_heads_needs_the_name_of_one(mace_model, ammonia):
    heads = {"heads": ["dft", "cc"], "atomic_energies": -np.arange(10.0).reshape(2, 5)}
    heads |= {"atomic_inter_scale": [1.0, 1.0], "atomic_inter_shift": [0.0, 0.0]}
    model = mace_model(**heads)
    for head, message in ((None, "several heads, dft, cc; choose one"), ("mp2", "no head 'mp2'; it has dft, cc")):
        with pytest.raises(ValueError, match=message):
            load_potential("mace", model, head=head)
    structures = Structures.from_atoms([ammonia])
    first, second = (load_potential("mace", model, head=head)(structures) for head in ("dft", "cc"))
    assert float(first.detach()) != pytest.approx(float(second.detach()))


def test_weights_alone_and_other_modules_are_no_mace_model(mace_model, tmp_path):
    file = tmp_path / "weights.pt"
    torch.save(mace_model().state_dict(), file)
    with pytest.raises(ValueError, match="weights without the hyperparameters"):
        load_potential("mace", file)
    with pytest.raises(ValueError, match="Linear is no MACE model with energies: it has no atomic_numbers"):
        load_potential("mace", torch.nn.Linear(1, 1))
