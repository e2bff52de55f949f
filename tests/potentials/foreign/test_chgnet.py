"""CHGNet behind the adapter, with the weights of its package."""

import contextlib
import io

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.committee_files import read_committee, write_committee
from sparring.potentials.foreign.chgnet import CHGNetPotential
from sparring.potentials.foreign.loading import load_potential
from sparring.testing import check_batches, check_symmetries


@pytest.fixture
def oxide():
    """Two atoms in a skewed cell, much smaller than the cutoff."""
    oxide = bulk("MgO", "rocksalt", a=4.2)
    oxide.rattle(0.1, seed=1)
    return oxide


@pytest.fixture
def supercell():
    supercell = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    supercell.rattle(0.1, seed=2)
    return supercell


@pytest.fixture
def perturbed(chgnet_model):
    """CHGNet with its weights, and a copy with slightly other ones, in double precision."""
    first = load_potential("chgnet", chgnet_model, dtype=torch.float64)
    second = load_potential("chgnet", chgnet_model, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for weight in second.parameters():
        weight.data += 0.01 * weight.data.std(correction=0) * torch.randn(weight.shape, generator=generator).double()
    return [first, second]


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True:UserWarning")
def test_energies_and_forces_are_those_of_chgnet_for_crystals_of_two_sizes(chgnet_model, oxide, supercell):
    from chgnet.model import CHGNetCalculator

    pair = molecule("O2")
    pair.set_cell([10, 10, 10])
    pair.center()
    pair.pbc = True
    frames = [oxide, supercell, pair]
    structures = Structures.from_atoms(frames)
    prediction = Committee([load_potential("chgnet", chgnet_model)]).predict(structures, differentiable=False)
    with contextlib.redirect_stdout(io.StringIO()):
        calculator = CHGNetCalculator(chgnet_model, use_device="cpu")
    for index, atoms in enumerate(frames):
        atoms.calc = calculator
        assert prediction.energy[0, index] == pytest.approx(atoms.get_potential_energy(), abs=1e-4)
        forces = prediction.forces[0][structures.structure_index == index].numpy()
        np.testing.assert_allclose(forces, atoms.get_forces(), atol=2e-4)


def test_energies_do_not_depend_on_the_batch_nor_on_motions_and_the_order_of_atoms(perturbed, oxide, supercell, water):
    frames = [oxide, supercell, water]
    check_batches(perturbed[0], frames)
    check_symmetries(perturbed[0], frames)


def test_the_gradient_of_the_force_variance_is_that_of_finite_differences(perturbed, oxide, variance_slope):
    gradient, wanted = variance_slope(Committee(perturbed), Structures.from_atoms([oxide]), step=1e-5)
    assert gradient.norm() > 1e-6
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


def test_the_readout_of_the_features_gives_the_energies_of_the_network(perturbed, water):
    potential = perturbed[0]
    structures = Structures.from_atoms([water])
    features = potential.features(structures)
    reference = potential.model.composition_model.fc.weight[0, structures.atomic_numbers - 1].sum()
    torch.testing.assert_close(potential.model.mlp(features).sum() + reference, potential(structures)[0])


def test_a_saved_committee_predicts_the_same_bits(perturbed, oxide, tmp_path):
    committee = Committee(perturbed)
    write_committee(tmp_path, committee)
    structures = Structures.from_atoms([oxide])
    for before, after in zip(
        committee.predict(structures, stress=True),
        read_committee(tmp_path).predict(structures, stress=True),
        strict=True,
    ):
        torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_the_hole_of_two_oxygen_atoms_is_seen(chgnet_model):
    committee = Committee([load_potential("chgnet", "default")])
    pairs = [Atoms("O2", positions=[[0, 0, 0], [0, 0, d]], cell=[10, 10, 10], pbc=True) for d in (0.7, 0.3)]
    energy = committee.predict(Structures.from_atoms(pairs), differentiable=False).energy[0]
    assert energy[0] > 10
    assert energy[1] < 0


def test_an_isolated_atom_has_an_energy_and_an_untrained_element_is_refused(chgnet_model):
    committee = Committee([load_potential("chgnet", chgnet_model)])
    prediction = committee.predict(Structures.from_atoms([molecule("O")]), differentiable=False)
    assert torch.isfinite(prediction.energy).all()
    assert not prediction.forces.any()
    with pytest.raises(ValueError, match="has Po, on which the committee was not trained"):
        committee.predict(Structures.from_atoms([Atoms("Po")]))


def test_a_state_dictionary_is_read_without_trust_and_a_pickled_module_with_it(chgnet_model, water, tmp_path):
    wanted = CHGNetPotential.from_module(chgnet_model)(Structures.from_atoms([water], dtype=torch.float32))
    plain, module = tmp_path / "weights.pt", tmp_path / "module.pt"
    torch.save(chgnet_model.state_dict(), plain)
    torch.save(chgnet_model, module)
    with pytest.raises(ValueError, match="is a pickle"):
        load_potential("chgnet", module)
    for file, trust in ((plain, False), (module, True)):
        read = load_potential("chgnet", file, trust_pickle=trust)
        torch.testing.assert_close(read(Structures.from_atoms([water], dtype=torch.float32)), wanted.detach())
