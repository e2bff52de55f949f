"""SevenNet behind the adapter: random weights of a small model, and the weights of its package."""

import warnings
from contextlib import contextmanager

import pytest
import torch
from ase.build import bulk, molecule

from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.committee_files import read_committee, write_committee
from sparring.potentials.foreign import sevennet
from sparring.potentials.foreign.checkpoints import copied_checkpoint
from sparring.potentials.foreign.loading import load_potential, load_potentials
from sparring.potentials.foreign.sevennet import SevenNetPotential
from sparring.testing import check_batches, check_symmetries

pytestmark = pytest.mark.extra("sevennet")


@pytest.fixture
def small():
    """A small SevenNet with random weights, with its configuration."""

    def make(seed=0, **changes):
        from sevenn._const import DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG
        from sevenn.model_build import build_E3_equivariant_model
        from sevenn.util import chemical_species_preprocess

        config = {
            **DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG,
            **chemical_species_preprocess(["H", "N", "Na", "Cl"]),
            "channel": 4,
            "lmax": 1,
            "num_convolution_layer": 2,
            "weight_nn_hidden_neurons": [8],
            "cutoff": 4.0,
            "shift": [-1.0, -2.0, -3.0, -4.0],
            "scale": 1.5,
            "conv_denominator": 3.0,
            "cutoff_function": {"cutoff_function_name": "poly_cut", "poly_cut_p_value": 6},
            "version": "0.13.0",
            **changes,
        }
        with torch.random.fork_rng(), warnings.catch_warnings():
            torch.manual_seed(seed)
            model = build_E3_equivariant_model(config)
        model.config = config
        return model

    return make


@pytest.fixture
def crystal():
    crystal = bulk("NaCl", "rocksalt", a=5.0)
    crystal.rattle(0.1, seed=3)
    return crystal


def test_the_weights_in_the_package_give_the_energies_and_forces_of_its_calculator(crystal):
    from sevenn.calculator import SevenNetCalculator

    potential = load_potential("sevennet", "default")
    structures = Structures.from_atoms([crystal], dtype=torch.float32)
    prediction = Committee([potential]).predict(structures, differentiable=False)
    crystal.calc = SevenNetCalculator("7net-0", device="cpu")
    assert prediction.energy[0, 0] == pytest.approx(crystal.get_potential_energy(), abs=1e-5)
    torch.testing.assert_close(
        prediction.forces[0], torch.as_tensor(crystal.get_forces()), atol=1e-5, rtol=0, check_dtype=False
    )


def test_the_gradient_of_the_force_variance_is_that_of_finite_differences(small, crystal, variance_slope):
    committee = Committee(load_potentials("sevennet", [small(seed) for seed in range(2)], dtype=torch.float64))
    gradient, wanted = variance_slope(committee, Structures.from_atoms([crystal]))
    assert gradient.norm() > 1e-6
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


def test_energies_do_not_depend_on_the_batch_nor_on_motions_and_the_order_of_atoms(small, crystal, ammonia):
    potential = load_potential("sevennet", small(), dtype=torch.float64)
    frames = [crystal, ammonia, molecule("N")]
    check_batches(potential, frames)
    check_symmetries(potential, frames)


def test_the_model_of_a_checkpoint_is_that_of_the_bytes_that_were_checked(small, tmp_path, monkeypatch):
    """Another model is written to the file right after it has been read."""
    file, models = tmp_path / "checkpoint.pth", [small(0), small(1)]

    def write(model):
        torch.save({"config": model.config, "model_state_dict": model.state_dict(), "epoch": 3}, file)

    @contextmanager
    def overwritten(*arguments, **keywords):
        with copied_checkpoint(*arguments, **keywords) as read:
            write(models[1])
            yield read

    write(models[0])
    monkeypatch.setattr(sevennet, "copied_checkpoint", overwritten)
    first, second = (SevenNetPotential.from_file(file, trust_pickle=True).model for _ in range(2))
    for read, wanted in ((first, models[0]), (second, models[1])):
        torch.testing.assert_close(
            dict(read.named_parameters()),
            dict(SevenNetPotential.from_module(wanted).model.named_parameters()),
            rtol=0,
            atol=0,
        )


def test_a_saved_committee_predicts_the_same_bits(small, crystal, tmp_path):
    models = [small(0, conv_denominator=2.9), small(1, shift=[-1.1, -2.0, -3.0, -4.0])]
    committee = Committee(load_potentials("sevennet", models))
    write_committee(tmp_path, committee)
    structures = Structures.from_atoms([crystal])
    for before, after in zip(
        committee.predict(structures, stress=True),
        read_committee(tmp_path).predict(structures, stress=True),
        strict=True,
    ):
        torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_the_last_layers_of_the_features_give_the_energies(small, ammonia):
    potential = load_potential("sevennet", small(), dtype=torch.float64)
    energy, features = potential.energy_and_features(Structures.from_atoms([ammonia]))
    layers = potential.model
    atomic = layers.reduce_hidden_to_energy.linear(features).squeeze(1)
    reference = potential.get_reference_energies()[ammonia.numbers]
    torch.testing.assert_close(energy[0], (1.5 * atomic + reference).sum())


def test_reference_energies_are_those_of_the_elements_and_can_be_set(small, ammonia):
    potential = load_potential("sevennet", small(), dtype=torch.float64)
    structures = Structures.from_atoms([ammonia])
    before, energies = potential(structures), potential.get_reference_energies()
    assert len(energies[energies != 0]) == 4
    potential.set_reference_energies(torch.zeros_like(energies))
    torch.testing.assert_close(potential(structures)[0], before[0] - energies[ammonia.numbers].sum())


def test_modules_without_a_configuration_and_unknown_heads_are_refused(small):
    bare = small()
    del bare.config
    with pytest.raises(ValueError, match=r"does not know its configuration.*model, model\.config ="):
        load_potential("sevennet", bare)
    with pytest.raises(ValueError, match=r"no data set 'PBE'; it has a single one; leave head out"):
        load_potential("sevennet", small(), head="PBE")
    with pytest.raises(ValueError, match="Linear is no SevenNet: it has no edge_embedding"):
        load_potential("sevennet", torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match=r"several data sets, PBE, R2SCAN; choose one by head"):
        load_potential("sevennet", "7net-mf-0")
