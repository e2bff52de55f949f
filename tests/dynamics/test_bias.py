"""Biases: their forces, the energy that they conserve, and their strength."""

import pytest
import torch

from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics import HAL, NVE, UDD, Langevin, UncertainForces, init, simulate, step
from sparring.dynamics.bias import bias_of, bias_strength

BIASES = [HAL(tau=0.7), UDD(height=0.3, width=0.05), lambda variance, n_atoms: -variance / n_atoms]
ALL = pytest.mark.parametrize("bias", BIASES, ids=["hal", "udd", "function"])


@pytest.fixture
def molecules(rattled, ammonia, water):
    return Structures.from_atoms([*rattled(ammonia, 2), *rattled(water, 1)])


def biased(committee, bias, structures):
    prediction = committee.predict(structures, differentiable=False)
    return bias_of(bias, prediction, structures.structure_index, structures.counts)


@ALL
def test_bias_forces_are_minus_the_gradient_of_the_bias(committee, molecules, copies, slope, bias):
    members = committee()

    def energy(positions):
        n_copies = len(positions)
        many = copies(molecules, n_copies).with_positions(positions.reshape(-1, 3))
        return biased(members, bias, many).energy.reshape(n_copies, -1).sum(1)

    forces = biased(members, bias, molecules).forces
    assert forces.abs().max() > 1e-4
    torch.testing.assert_close(forces, -slope(energy, molecules.positions.double()), rtol=1e-6, atol=1e-9)


def test_where_members_agree_there_is_no_bias_force(schnet, molecules):
    members = Committee([schnet(0), schnet(0)])
    for bias in (HAL(tau=1.0), UDD(height=1.0, width=0.01)):
        energy, forces, _ = biased(members, bias, molecules)
        assert energy.abs().max() <= 1e-6
        assert forces.abs().max() == 0


def test_the_hill_of_uncertainty_driven_dynamics_is_as_high_and_wide_as_was_asked_for():
    hill, n_atoms = UDD(height=0.4, width=0.1), torch.tensor([3, 3, 3])
    energy = hill(torch.tensor([0.0, 2 * 3 * 0.1**2, 1e3], dtype=torch.float64), n_atoms)
    expected = torch.tensor([0.0, 0.4 * (torch.e**-1 - 1), -0.4], dtype=torch.float64)
    torch.testing.assert_close(energy, expected)


# --- dynamics -------------------------------------------------------------------------------------------------------


@ALL
def test_the_biased_energy_is_conserved_and_the_unbiased_one_is_not(committee, molecules, bias):
    def drift(timestep):
        n_steps = round(20 / timestep)
        given = {"ensemble": NVE(300.0), "seed": 1, "timestep": timestep, "n_steps": n_steps}
        moved = simulate(committee(), molecules, bias=bias, every=n_steps // 10, **given)
        total = moved.energy + moved.kinetic_energy
        return (moved.conserved - moved.conserved[0]).abs().max(), (total - total[0]).abs().max()

    (coarse, total), (fine, _) = drift(0.2), drift(0.1)
    assert fine < 0.3 * coarse  # with the square of the time step, as for any integrator that is right
    assert total > 20 * fine


def pulled(by):
    """Atoms about the origin, each in a parabola that a member pulls along x in its own way."""

    def energies(structures):
        each = structures.positions.square().sum(-1) + by * structures.positions[:, 0]
        return each.new_zeros(structures.n_structures).index_add(0, structures.structure_index, each)

    return energies


def test_a_bias_leads_to_uncertainty_and_is_not_part_of_the_energy(molecules):
    members = Committee([pulled(-1.0), pulled(1.0)])
    given = {"ensemble": Langevin(300.0, 0.01), "timestep": 0.5, "n_steps": 60, "every": 60, "seed": 2}
    given["fixed_centre"] = False
    plain, led = (simulate(members, molecules, bias=bias, **given) for bias in (None, HAL(tau=2.0)))
    assert (led.energy_variance[-1] > 1.5 * plain.energy_variance[-1]).all()
    energy, *_ = members.predict(led.structures, differentiable=False)
    torch.testing.assert_close(led.energy[-1], energy.mean(0), rtol=1e-9, atol=0)


def test_a_biased_step_does_not_wait_for_the_device(committee, molecules, never_asks):
    members = committee()
    given = {"ensemble": Langevin(300.0, 0.01), "criteria": [UncertainForces(5.0)], "bias": HAL(tau=1.0)}
    state = init(members, molecules, seed=0, **given)
    with never_asks():
        state = step(members, state, timestep=0.5, **given)
    assert state.step == 1


def test_how_replicas_are_divided_to_fit_the_memory_changes_nothing(committee, molecules):
    given = {"ensemble": Langevin(300.0, 0.01), "timestep": 0.5, "n_steps": 10, "seed": 2, "bias": HAL(tau=2.0)}
    together, apart = (simulate(committee(), molecules, max_memory=memory, **given) for memory in (None, 1.0))
    torch.testing.assert_close(together.structures.positions, apart.structures.positions, rtol=0, atol=1e-12)


def test_the_strength_makes_the_bias_forces_a_share_of_the_mean_forces(committee, molecules):
    members = committee()
    tau = bias_strength(members, molecules, relative=0.25)
    added = biased(members, HAL(tau=tau), molecules).forces.norm(dim=1).mean()
    mean = members.predict(molecules, differentiable=False).forces.mean(0).norm(dim=1).mean()
    assert float(added / mean) == pytest.approx(0.25, rel=1e-5)
    assert bias_strength(members, molecules, relative=0.25, max_memory=1.0) == pytest.approx(tau)


def test_mistakes_are_named(schnet, committee, molecules):
    single, agreeing = Committee([schnet()]), Committee([schnet(0), schnet(0)])
    with pytest.raises(ValueError, match="uncertainty of a committee, got a single member"):
        simulate(single, molecules, ensemble=NVE(), timestep=0.5, n_steps=1, seed=0, bias=HAL(tau=1.0))
    with pytest.raises(ValueError, match="the members agree on all structures"):
        bias_strength(agreeing, molecules, relative=0.1)
    with pytest.raises(ValueError, match="finite and not negative, got tau = -1"):
        HAL(tau=-1.0)
    with pytest.raises(ValueError, match=r"need height > 0 and width > 0, got 1.0 eV and 0.0 eV"):
        UDD(height=1.0, width=0.0)
    with pytest.raises(ValueError, match=r"must be positive, got 0.0 eV/Å"):
        UncertainForces(0.0)
