import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from sparring.atoms.strain import from_voigt, volumes
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics.calculator import CommitteeCalculator
from sparring.uncertainty import atom_variance, energy_variance, force_variance, stress_variance


@pytest.mark.parametrize("name", ["ammonia", "salt"])
def test_properties_are_what_the_committee_predicts(committee, request, name):
    atoms, members = request.getfixturevalue(name), committee(4)
    structures = Structures.from_atoms([atoms])
    energy, forces, _ = members.predict(structures, differentiable=False)
    calculator = CommitteeCalculator(members)
    expected = {
        "energy": energy.mean(),
        "forces": forces.mean(0),
        "energy_comm": energy[:, 0],
        "forces_comm": forces,
        "energy_var": energy_variance(energy)[0],
        "forces_var": force_variance(forces, structures.structure_index, 1)[0],
        "energy_uncertainty": energy_variance(energy)[0].sqrt(),
        "forces_uncertainty": force_variance(forces, structures.structure_index, 1)[0].sqrt(),
        "atom_uncertainty": atom_variance(forces).sqrt(),
    }
    for key, value in expected.items():
        found = calculator.get_property(key, atoms)
        assert np.shape(found) == tuple(value.shape), key
        np.testing.assert_allclose(found, value.numpy(), rtol=1e-12, err_msg=key)
        assert key in calculator.implemented_properties


@pytest.mark.parametrize("name", ["ammonia", "salt"])
def test_forces_are_those_that_ase_finds_by_finite_differences(committee, request, name):
    atoms = request.getfixturevalue(name)
    atoms.calc = CommitteeCalculator(committee())
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-4), atol=1e-6)


def test_a_molecule_that_moves_is_looked_at_again(committee, ammonia):
    ammonia.calc = CommitteeCalculator(committee())
    before = ammonia.get_potential_energy()
    ammonia.positions[0, 2] += 0.3
    assert ammonia.get_potential_energy() != before


def test_ase_can_relax_a_molecule_with_it(committee, water):
    water.calc = CommitteeCalculator(committee())
    before = water.get_potential_energy()
    BFGS(water, logfile=None).run(fmax=0.5 * np.abs(water.get_forces()).max(), steps=20)
    assert water.get_potential_energy() < before


def test_one_member_gives_energies_but_no_uncertainty(committee, ammonia):
    ammonia.calc = CommitteeCalculator(committee(1))
    assert np.isfinite(ammonia.get_potential_energy())
    for name in ("forces_var", "atom_uncertainty"):
        with pytest.raises(PropertyNotImplementedError, match=name):
            ammonia.calc.get_property(name, ammonia)


def test_single_precision_inside_is_double_outside(committee, ammonia):
    ammonia.calc = CommitteeCalculator(committee(dtype=torch.float32))
    assert ammonia.get_forces().dtype == np.float64
    assert ammonia.calc.results["forces_comm"].dtype == np.float64


def test_the_stress_is_that_of_energies_of_strained_cells(committee, rattled):
    members = committee(cutoff=4.0)
    crystal = rattled(bulk("NaCl", "rocksalt", a=5.3), 1)[0]
    crystal.calc = CommitteeCalculator(members)
    np.testing.assert_allclose(crystal.get_stress(), calculate_numerical_stress(crystal, eps=1e-5), atol=1e-7)
    stress, results = crystal.get_stress(), crystal.calc.results
    np.testing.assert_allclose(results["stress_comm"].mean(0), stress)
    variance = stress_variance(torch.as_tensor(from_voigt(results["stress_comm"])).unsqueeze(1)).item()
    assert results["stress_uncertainty"] == pytest.approx(variance**0.5)


def test_a_cell_relaxes_to_the_volume_of_least_energy():
    def of_volume(structures):
        return (volumes(structures.cells) - 40.0).square() / 40 + 0 * structures.positions.sum()

    crystal = bulk("NaCl", "rocksalt", a=5.3)
    crystal.calc = CommitteeCalculator(Committee([of_volume, of_volume]))
    BFGS(FrechetCellFilter(crystal), logfile=None).run(fmax=1e-4, steps=60)
    assert crystal.get_volume() == pytest.approx(40.0, abs=0.01)


def test_a_molecule_has_no_stress(committee, ammonia):
    ammonia.calc = CommitteeCalculator(committee())
    with pytest.raises(PropertyNotImplementedError):
        ammonia.get_stress()
    assert not any("stress" in name for name in ammonia.calc.results)
