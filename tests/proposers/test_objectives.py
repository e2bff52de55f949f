import math

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.structures import Structures
from sparring.committee import Committee, Prediction
from sparring.expected_error import ExpectedErrors, PowerLaw
from sparring.proposers.boltzmann import Boltzmann, boltzmann, boltzmann_weighted
from sparring.proposers.objectives import (
    Objective,
    closeness,
    energy_variance,
    exp,
    force_variance,
    log,
    mean_energy,
)
from sparring.proposers.spaces import Cartesian, RandomDisplacement
from sparring.proposers.target_error import target_error

KT = 0.867


def labelled(atoms, energies):
    for one, energy in zip(atoms, energies, strict=True):
        one.info[ENERGY] = float(energy)
        one.arrays[FORCES] = 0.0 * one.positions
    return Dataset.from_atoms(atoms)


def expected(factor=3.0, exponent=0.7):
    """Expected errors of that power law."""
    law = PowerLaw(factor=factor, exponent=exponent, ratios=(1.0,), n=1)
    return ExpectedErrors(forces=law, energy=None, elements={}, n_labels=1, n_test=0)


def prediction_of(energies, structures):
    """A committee of two that agrees about energies."""
    energy = torch.tensor(energies, dtype=torch.float64).expand(2, -1)
    return Prediction(energy, torch.zeros(2, structures.n_atoms, 3, dtype=torch.float64))


@pytest.fixture
def reference(ammonia, water, rattled):
    return labelled([*rattled(ammonia, 3), *rattled(water, 2)], [0.3, 0.1, 0.7, -0.2, 0.4])


OBJECTIVES = {
    "force variance": lambda reference: force_variance,
    "energy variance": lambda reference: energy_variance,
    "mean energy": lambda reference: mean_energy,
    "closeness": lambda reference: closeness,
    "closeness within a weight": lambda reference: closeness + 0.1 * boltzmann(KT, reference),
    "product": lambda reference: boltzmann_weighted(force_variance, kT=KT, reference=reference),
    "logarithm": lambda reference: log(force_variance) + boltzmann(KT, reference),
    "product with energies": lambda reference: boltzmann_weighted(energy_variance, kT=KT, reference=reference),
    "sum": lambda reference: force_variance + 0.5 * energy_variance - 0.1 * mean_energy + 3,
    "sum of logarithms": lambda reference: log(force_variance) + 0.5 * log(energy_variance),
    "target error": lambda reference: target_error(0.4, expected()),
}
SPACES = {
    "xyz": Cartesian(),
    "y": Cartesian(axes="y"),
    "xz within a bound": Cartesian(axes="xz", radius=0.5),
    "random": RandomDisplacement(amplitude=0.2),
}


@pytest.mark.parametrize(
    ("name", "where"),
    [*((name, "xyz") for name in OBJECTIVES), *(("product", where) for where in SPACES if where != "xyz")],
)
def test_the_slope_of_an_objective_in_delta_is_that_of_its_formula(
    committee, ammonia, water, rattled, reference, slope, copies, name, where
):
    members, objective, space = committee(), OBJECTIVES[name](reference), SPACES[where]
    seeds = Structures.from_atoms([*rattled(ammonia, 1, seed=7), *rattled(water, 1, seed=7)])
    delta = space.initial(seeds, torch.Generator().manual_seed(0))

    def score(points):
        moved = space.displace(copies(seeds, len(points)), points.flatten(0, 1))
        return objective(members.predict(moved), moved).reshape(len(points), -1).sum(1)

    point = delta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(point.unsqueeze(0)).sum(), point)
    torch.testing.assert_close(gradient, slope(score, delta), rtol=1e-6, atol=1e-9)
    free = torch.tensor([axis in space.axes for axis in "xyz"])
    assert (gradient[:, ~free] == 0).all()
    assert gradient[:, free].abs().max() > 1e-6


@pytest.mark.parametrize("name", ["force variance", "product", "logarithm", "closeness"])
def test_the_slope_of_an_objective_on_a_crystal_is_that_of_its_formula(committee, salt, slope, copies, rattled, name):
    members, objective = committee(), OBJECTIVES[name](labelled(rattled(salt, 2), [0.1, 0.2]))
    seeds, space = Structures.from_atoms([salt]), Cartesian()
    delta = space.initial(seeds, torch.Generator().manual_seed(0))

    def score(points):
        moved = space.displace(copies(seeds, len(points)), points.flatten(0, 1))
        return objective(members.predict(moved), moved)

    point = delta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(point.unsqueeze(0)).sum(), point)
    torch.testing.assert_close(gradient, slope(score, delta), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["force variance", "product", "logarithm"])
@pytest.mark.parametrize("stacked", [True, False])
def test_the_slope_of_an_objective_in_a_strain_of_the_cell_is_that_of_its_formula(
    committee, salt, strain, slope, copies, rattled, name, stacked
):
    members, objective = committee(stacked=stacked), OBJECTIVES[name](labelled(rattled(salt, 2), [0.1, 0.2]))
    seeds = Structures.from_atoms([salt])
    delta = strain.initial(seeds, torch.Generator().manual_seed(0))

    def score(points):
        moved = strain.displace(copies(seeds, len(points)), points.flatten(0, 1))
        return objective(members.predict(moved), moved)

    point = delta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(point.unsqueeze(0)).sum(), point)
    torch.testing.assert_close(gradient, slope(score, delta, step=1e-4), rtol=1e-5, atol=1e-8)
    assert gradient.abs().max() > 1e-6


def test_the_weight_is_that_of_equations_11_and_12(ammonia, rattled):
    energies = torch.tensor([0.3, 0.1, 0.7], dtype=torch.float64)
    reference = labelled(rattled(ammonia, 3), energies)
    structure = reference.structures.take([0])
    probability = exp(boltzmann(KT, reference))(prediction_of([0.5], structure), structure)
    partition = torch.exp(-energies / KT).sum()
    torch.testing.assert_close(probability, torch.exp(torch.tensor([-0.5 / KT]).double()) / partition)


def weights(structures, energies, reference, per):
    return boltzmann(KT, reference, per=per)(prediction_of(energies, structures), structures)


@pytest.mark.parametrize("per", ["atom", "degree_of_freedom"])
def test_for_ammonia_an_energy_counts_as_in_the_paper_whatever_it_is_counted_per(ammonia, rattled, per):
    reference = labelled(rattled(ammonia, 3), [0.3, 0.1, 0.7])
    as_in_paper = weights(reference.structures, [0.2, 0.9, 4.0], reference, "structure")
    assert torch.equal(weights(reference.structures, [0.2, 0.9, 4.0], reference, per), as_in_paper)


@pytest.mark.parametrize("per", ["atom", "degree_of_freedom"])
def test_a_molecule_and_a_hundred_copies_of_it_far_apart_are_as_likely_when_each_is_as_hot(ammonia, per):
    # The force variance is a mean over atoms, the same for both; so must the weight be, or large molecules only relax.
    many = Atoms()
    for index in range(100):
        copy = ammonia.copy()
        copy.positions[:, 0] += 20.0 * index
        many += copy
    reference = labelled([ammonia, many], [0.0, 0.0])
    one, hundred = weights(reference.structures, [1.5, 150.0], reference, per)
    # A hundred molecules have 1,194 degrees of freedom, 594 of them between the molecules.
    share = 1.0 if per == "atom" else 600 / 1194
    assert hundred.item() == pytest.approx(share * one.item())
    paper = weights(reference.structures, [1.5, 150.0], reference, "structure")
    assert paper[1].item() == pytest.approx(100 * paper[0].item())


def test_degrees_of_freedom_are_those_that_change_the_energy(ammonia, water):
    # 3n - 6 of a molecule, 3n - 3 of what is periodic, one of two atoms, and at least one.
    atoms = [water, Atoms("H2", [[0, 0, 0], [0.7, 0, 0]]), Atoms("H"), bulk("NaCl", "rocksalt", a=5.6, cubic=True)]
    reference = labelled(atoms, [0.0, 0.0, 0.0, 0.0])
    found = weights(reference.structures, [KT] * 4, reference, "degree_of_freedom")
    torch.testing.assert_close(-6 / found, torch.tensor([3.0, 1.0, 1.0, 21.0], dtype=torch.float64))


def test_fixed_coordinates_are_no_degrees_of_freedom_and_what_is_held_does_not_turn(water):
    held = water.copy()
    held.set_constraint(FixAtoms([0]))
    reference = labelled([held], [0.0])
    found = weights(reference.structures, [KT], reference, "degree_of_freedom")
    assert (-6 / found).item() == pytest.approx(6.0)  # two free atoms; without the fixed one, water has three


def test_probabilities_add_up_to_one_also_per_degree_of_freedom(reference):
    structures = reference.structures
    probability = weights(structures, reference.energy.tolist(), reference, "degree_of_freedom").exp()
    assert probability[:3].sum().item() == pytest.approx(1.0)
    assert probability[3:].sum().item() == pytest.approx(1.0)


def test_probabilities_of_a_data_set_add_up_to_one_for_each_composition(reference):
    structures = reference.structures
    prediction = prediction_of(reference.energy.tolist(), structures)
    probability = exp(boltzmann(KT, reference))(prediction, structures)
    assert probability[:3].sum().item() == pytest.approx(1.0)
    assert probability[3:].sum().item() == pytest.approx(1.0)


def test_energies_of_a_hundred_thousand_electronvolts_neither_overflow_nor_drown_the_rest(ammonia, rattled):
    atoms, above = rattled(ammonia, 3), torch.tensor([0.0, 0.2, 1.0], dtype=torch.float64)
    near = boltzmann_weighted(force_variance, kT=KT, reference=labelled(atoms, above))
    deep = boltzmann_weighted(force_variance, kT=KT, reference=labelled(atoms, above - 100_000.0))
    structures = Structures.from_atoms(atoms)
    forces = torch.randn(2, structures.n_atoms, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    energy = above.expand(2, -1)
    torch.testing.assert_close(
        deep(Prediction(energy - 100_000.0, forces), structures),
        near(Prediction(energy, forces), structures),
        rtol=1e-9,
        atol=0,
    )


def test_each_composition_is_measured_from_its_own_lowest_energy(ammonia, water):
    weight = Boltzmann.from_dataset(KT, labelled([ammonia, water], [-1500.0, -2000.0]))
    structures = Structures.from_atoms([water, ammonia])
    log_p = weight(prediction_of([-2000.0 + KT, -1500.0], structures), structures)
    torch.testing.assert_close(log_p, torch.tensor([-1.0, 0.0], dtype=torch.float64), rtol=0, atol=1e-10)


def test_a_composition_that_the_data_set_lacks_gets_nan_and_the_others_do_not(ammonia, water, particle):
    objective = boltzmann(KT, labelled([ammonia], [0.0]))
    fluoride = ammonia.copy()
    fluoride.numbers[1] = 9
    structures = Structures.from_atoms([ammonia, water, particle(), fluoride, ammonia[:3]])
    score = objective(prediction_of([0.0] * 5, structures), structures)
    assert torch.isnan(score).tolist() == [False, True, True, True, True]


def test_the_particle_of_a_well_is_a_composition_like_any_other(particle, water):
    objective = boltzmann(KT, labelled([particle()], [0.0]))
    structures = Structures.from_atoms([particle(1.0), water])
    assert torch.isnan(objective(prediction_of([1.0, 0.0], structures), structures)).tolist() == [False, True]


@pytest.mark.parametrize("kT", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_makes_no_sense_is_an_error(ammonia, kT):
    with pytest.raises(ValueError, match="kT must be a positive energy in eV"):
        boltzmann(kT, labelled([ammonia], [0.0]))


def test_product_and_logarithm_order_structures_alike(committee, ammonia, rattled):
    atoms = rattled(ammonia, 50, stdev=0.2)
    reference, structures = labelled(rattled(ammonia, 2), [0.0, 0.1]), Structures.from_atoms(atoms)
    prediction = committee().predict(structures)
    product = boltzmann_weighted(force_variance, kT=0.05, reference=reference)(prediction, structures)
    logarithm = (log(force_variance) + boltzmann(0.05, reference))(prediction, structures)
    assert product.argmax() == logarithm.argmax()
    assert (product.argsort() == logarithm.argsort()).all()
    torch.testing.assert_close(product.log(), logarithm)


def test_members_that_agree_leave_the_logarithm_and_its_slope_finite(schnet, ammonia):
    structures = Structures.from_atoms([ammonia])
    positions = structures.positions.clone().requires_grad_()
    prediction = Committee([schnet(), schnet()]).predict(structures.with_positions(positions))
    score = log(force_variance)(prediction, structures)
    (gradient,) = torch.autograd.grad(score.sum(), positions)
    assert torch.isfinite(score).all()
    assert (gradient == 0).all()


def test_one_member_has_no_disagreement_to_climb(committee, ammonia):
    structures = Structures.from_atoms([ammonia])
    with pytest.raises(ValueError, match="at least two members, got 1"):
        force_variance(committee(1).predict(structures), structures)


def test_objectives_are_written_as_they_are_composed():
    assert repr(log(force_variance) + 0.5 * log(energy_variance)) == "log(force_variance) + 0.5 * log(energy_variance)"
    assert repr((force_variance + energy_variance) * 2) == "(force_variance + energy_variance) * 2"
    assert repr(force_variance - (mean_energy + 1)) == "force_variance - (mean_energy + 1)"
    assert repr(2 + exp(mean_energy)) == "2 + exp(mean_energy)"


def test_algebra_means_what_it_says(committee, ammonia, water):
    structures = Structures.from_atoms([ammonia, water])
    prediction = committee().predict(structures)
    f, e = force_variance(prediction, structures), mean_energy(prediction, structures)
    composed = 2 + (force_variance - 0.5 * mean_energy) * mean_energy
    torch.testing.assert_close(composed(prediction, structures), 2 + (f - 0.5 * e) * e)


def test_a_plain_function_is_an_objective_and_composes(committee, ammonia):
    def heaviest(prediction, structures):
        return structures.atomic_numbers.max().double().expand(structures.n_structures)

    structures = Structures.from_atoms([ammonia])
    prediction = committee().predict(structures)
    total = force_variance + heaviest
    assert isinstance(heaviest, Objective)
    assert isinstance(total, Objective)
    assert repr(total) == "force_variance + heaviest"
    torch.testing.assert_close(total(prediction, structures), force_variance(prediction, structures) + 7)


def test_the_target_is_reached_where_the_expected_error_is_that_of_the_target(committee, ammonia, rattled):
    members = committee()
    structures = Structures.from_atoms(rattled(ammonia, 3))
    prediction = members.predict(structures).detach()
    sigma = force_variance(prediction, structures).detach().sqrt()
    errors = 3 * sigma**0.7
    scores = target_error(float(errors[1]), expected())(prediction, structures)
    assert scores[1] == pytest.approx(0.0, abs=1e-12)
    assert (scores[[0, 2]] < 0).all()
    torch.testing.assert_close(scores, -(errors / errors[1]).log().square())


@pytest.mark.parametrize("error", [0.0, -1.0, math.inf, math.nan])
def test_a_target_that_makes_no_sense_is_an_error(error):
    with pytest.raises(ValueError, match="must be above zero"):
        target_error(error, expected())
