"""ANI models behind the adapter: with random weights, so that nothing is downloaded."""

import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.units import Hartree

from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.committee_files import read_committee, write_committee
from sparring.potentials.foreign.loading import load_potential, load_potentials
from sparring.testing import check_batches, check_symmetries
from sparring.units import HARTREE

pytestmark = pytest.mark.extra("torchani")


@pytest.fixture
def ani():
    """An ANI model with random weights and repulsion, in double precision."""

    def make(seed=0, **changes):
        from torchani.arch import simple_ani

        settings = {"symbols": ("H", "C", "N", "O"), "lot": "wb97x-631gd", "strategy": "pyaev", **changes}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return simple_ani(**settings).double()

    return make


@pytest.fixture
def ice():
    """A molecule in a skewed cell."""
    ice = molecule("CH3OH", cell=[[4.5, 0, 0], [0.5, 4.4, 0], [0, 0.7, 4.3]], pbc=True)
    ice.rattle(0.05, seed=1)
    return ice


@pytest.mark.parametrize("ensemble_size", [1, 2])
def test_energies_and_forces_are_those_of_its_calculator_for_molecules_and_crystals(ani, ammonia, ice, ensemble_size):
    model = ani(ensemble_size=ensemble_size)
    frames = [ammonia, ice, molecule("CH4")]
    structures = Structures.from_atoms(frames)
    prediction = Committee([load_potential("torchani", model)]).predict(structures, differentiable=False)
    for index, atoms in enumerate(frames):
        atoms.calc = model.ase()
        assert prediction.energy[0, index] == pytest.approx(atoms.get_potential_energy() / Hartree * HARTREE, abs=1e-5)
        forces = torch.as_tensor(atoms.get_forces())
        torch.testing.assert_close(prediction.forces[0][structures.structure_index == index], forces, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["molecule", "crystal"])
def test_the_gradient_of_the_force_variance_is_that_of_finite_differences(ani, ammonia, ice, variance_slope, kind):
    committee = Committee(load_potentials("torchani", [ani(0), ani(1)]))
    structures = Structures.from_atoms([ammonia if kind == "molecule" else ice])
    gradient, wanted = variance_slope(committee, structures, step=2e-4)
    assert gradient.norm() > 1e-6
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


def test_energies_do_not_depend_on_the_batch_nor_on_motions_and_the_order_of_atoms(ani, ammonia, ice):
    potential = load_potential("torchani", ani())
    frames = [ammonia, ice, Atoms("O")]
    check_batches(potential, frames)
    check_symmetries(potential, frames)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_committee_predicts_the_same_bits(ani, ammonia, tmp_path, dtype):
    committee = Committee(load_potentials("torchani", [ani(0), ani(1)], dtype=dtype))
    write_committee(tmp_path, committee)
    structures = Structures.from_atoms([ammonia])
    for before, after in zip(
        committee.predict(structures, stress=True),
        read_committee(tmp_path).predict(structures, stress=True),
        strict=True,
    ):
        torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_the_last_layers_of_the_features_give_the_energies(ani, ammonia):
    potential = load_potential("torchani", ani(repulsion=False))
    energy, features = potential.energy_and_features(Structures.from_atoms([ammonia]))
    networks = potential.model.potentials["nnp"].neural_networks.atomics
    weights = torch.cat([network.final_layer.weight[0] for network in networks.values()])
    reference = potential.get_reference_energies()[ammonia.numbers].sum()
    torch.testing.assert_close(energy[0], HARTREE * (features @ weights).sum() + reference)


def test_published_models_are_read_from_where_torchani_keeps_them_and_never_downloaded(tmp_path, monkeypatch, water):
    from sparring.potentials.foreign.torchani_settings import named_model

    monkeypatch.setenv("TORCHANI_DATA_DIR", str(tmp_path))
    with pytest.raises(ValueError, match=r"weights of ANI2x are not on this computer .*torchani\.models\.ANI2x\(\)"):
        load_potential("torchani", "ANI2x")
    (tmp_path / "StateDicts").mkdir()
    torch.save(named_model("ANI2x").state_dict(), tmp_path / "StateDicts" / "ani2x_state_dict.pt")
    structures = Structures.from_atoms([water], dtype=torch.float32)
    mean, *networks = (
        load_potential("torchani", name)(structures) for name in ("ANI2x", *(f"ANI2x/{index}" for index in range(8)))
    )
    torch.testing.assert_close(torch.stack(networks).mean(0), mean)
    with pytest.raises(ValueError, match="networks ANI2x/0 to ANI2x/7, got ANI2x/8"):
        load_potential("torchani", "ANI2x/8")


def test_what_the_adapter_cannot_write_is_named(ani):
    with pytest.raises(ValueError, match="TwoBodyDispersionD3 is not supported"):
        load_potential("torchani", ani(dispersion=True, lot="b973c-def2mtzvp"))
    with pytest.raises(ValueError, match="SingleNN is not supported"):
        load_potential("torchani", ani(container="SingleNN"))
    with pytest.raises(ValueError, match="Linear is no ANI model: it has no potentials"):
        load_potential("torchani", torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="repulsion that never ends"):
        load_potential("torchani", ani(repulsion_cutoff=False))
