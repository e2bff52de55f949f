import numpy as np
import pytest
import torch
from ase import Atoms

from sparring.atoms.composition import composition, lowest_energies
from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.structures import Structures
from sparring.committee import Prediction
from sparring.proposers.ascent import attack
from sparring.proposers.boltzmann import boltzmann
from sparring.proposers.objectives import force_variance, log


@pytest.fixture
def cation(ammonia):
    """Ammonia without an electron: the same formula, another energy."""
    cation = ammonia.copy()
    cation.info |= {"charge": 1, "multiplicity": 2}
    return cation


def labelled(atoms: Atoms, energy: float) -> Atoms:
    atoms = atoms.copy()
    atoms.info[ENERGY] = energy
    atoms.arrays[FORCES] = np.zeros((len(atoms), 3))
    return atoms


def test_a_composition_is_a_formula_and_a_charge(ammonia, cation):
    assert composition(ammonia) == "H3N"
    assert composition(cation) == "H3N+1"


def test_a_molecule_and_its_cation_share_no_lowest_energy(ammonia, cation):
    structures = [labelled(ammonia, -10.0), labelled(ammonia, -12.0), labelled(cation, -3.0)]
    assert lowest_energies(structures) == {"H3N": -12.0, "H3N+1": -3.0}


def test_a_batch_counts_elements_and_charges_and_matches_no_element_beyond_the_last(ammonia, cation, water):
    counts = Structures.from_atoms([ammonia, cation, water]).element_counts(8)
    assert counts[:2, [1, 7, 8]].tolist() == [[3, 1, 0], [3, 1, 1]]
    assert counts[2, 0] > len(water)


def test_charges_stay_with_their_structures(ammonia, cation):
    batch = Structures.from_atoms([ammonia, cation, ammonia])
    assert batch.take([1, 0]).charge.tolist() == [1, 0]
    assert batch.to(dtype=torch.float32).with_positions(batch.positions.float()).charge.tolist() == [0, 1, 0]
    assert Structures.from_atoms([ammonia]).charge is None


def test_a_charge_that_is_no_integer_is_refused(ammonia):
    ammonia.info["charge"] = 0.5
    with pytest.raises(ValueError, match="charge must be an integer"):
        Structures.from_atoms([ammonia])


def test_a_molecule_and_its_cation_have_partition_functions_of_their_own(ammonia, cation):
    both = Dataset.from_atoms([labelled(ammonia, -12.0), labelled(ammonia, -11.9), labelled(cation, -3.0)])
    alone = Dataset.from_atoms([labelled(ammonia, -12.0), labelled(ammonia, -11.9)])
    energy = torch.tensor([[-12.0, -11.9, -3.0]], dtype=torch.float64)
    prediction = Prediction(energy=energy, forces=torch.zeros(1, 12, 3, dtype=torch.float64))
    score = boltzmann(0.1, both)(prediction, both.structures)
    neutral = Prediction(energy=energy[:, :2], forces=prediction.forces[:, :8])
    torch.testing.assert_close(score[:2], boltzmann(0.1, alone)(neutral, alone.structures), rtol=0, atol=0)
    assert score[2] == 0  # the only structure of its composition


def test_the_first_atoms_of_structures_follow_from_their_sizes(ammonia, water):
    assert Structures.from_atoms([ammonia, water, ammonia]).first_atoms.tolist() == [0, 4, 7]


def test_an_attack_weighs_a_molecule_and_its_cation_by_their_own_partition_functions(ammonia, cation, committee):
    dataset = Dataset.from_atoms([labelled(ammonia, -12.0), labelled(cation, -3.0)])
    objective = log(force_variance) + boltzmann(1.0, dataset)
    result = attack(committee(), dataset.structures, objective, n_steps=1, seed=0)
    assert torch.isfinite(result.objective).all()
    apart = result.objective[0, 0] - result.objective[0, 1]  # geometries differ by a random displacement only
    assert float(apart) == pytest.approx(-12.0 - -3.0, abs=0.1)
    assert result.structures.charge.tolist() == [0, 1]
