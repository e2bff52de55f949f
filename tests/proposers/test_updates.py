"""Update rules: from a gradient to a step."""

import pytest
import torch

from sparring.atoms.structures import Structures
from sparring.proposers.ascent import attack
from sparring.proposers.objectives import force_variance, log
from sparring.proposers.spaces import Cartesian
from sparring.proposers.updates import UPDATES, Moments, Update, adam, gradient_ascent
from sparring.training import adam as optimiser


@pytest.fixture
def ammonias(ammonia, rattled):
    return Structures.from_atoms(rattled(ammonia, 3, stdev=0.05))


def gradients(n=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 4, 3, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_adam_of_attacks_is_that_of_training(dtype):
    # The two forms differ in rounding only: training works in place, on the largest tensors of all.
    delta, moments = torch.zeros(4, 3, dtype=dtype), Moments(*torch.zeros(2, 4, 3, dtype=dtype))
    weights, first, second = (torch.zeros(4, 3, dtype=dtype) for _ in range(3))
    for number, gradient in enumerate(gradients(dtype=dtype), 1):
        delta, moments = adam(delta, gradient, moments, n_steps=number, learning_rate=0.01)
        steps = torch.full((4,), float(number), dtype=torch.float64)
        optimiser.update(weights, first, second, -gradient, n_steps=steps, learning_rate=0.01, epsilon=1e-30)
    close = {"rtol": 30 * torch.finfo(dtype).eps, "atol": 30 * torch.finfo(dtype).eps}
    torch.testing.assert_close(delta, weights, **close)
    torch.testing.assert_close(moments, Moments(-first, second), **close)


def test_a_step_of_plain_ascent_is_the_learning_rate_times_the_gradient(committee, ammonias):
    # Eq. 14 as printed.
    members, space, rate = committee(), Cartesian(spread=0.0), 1e-3
    result = attack(
        members, ammonias, force_variance, seed=0, space=space, n_steps=4, learning_rate=rate, update="gradient"
    )
    for here, there in zip(result.positions, result.positions[1:], strict=False):
        moved = ammonias.with_positions(here.clone().requires_grad_())
        (gradient,) = torch.autograd.grad(force_variance(members.predict(moved), moved).sum(), moved.positions)
        torch.testing.assert_close(there - here, rate * gradient, rtol=1e-9, atol=1e-14)


def test_a_short_step_of_plain_ascent_gains_what_its_finite_differences_promise(committee, ammonias):
    members, space, rate = committee(), Cartesian(spread=0.0), 1e-5
    result = attack(
        members, ammonias, log(force_variance), seed=0, space=space, n_steps=1, learning_rate=rate, update="gradient"
    )
    step = (result.positions[1] - result.positions[0]).reshape(3, -1)
    gained = result.objective[1] - result.objective[0]
    torch.testing.assert_close(gained, step.square().sum(1) / rate, rtol=1e-2, atol=0)


@pytest.mark.parametrize("update", UPDATES)
def test_every_rule_climbs_within_the_bound_and_leaves_its_arguments_alone(update, committee, ammonias):
    space = Cartesian(spread=0.0, radius=0.05)
    result = attack(
        committee(), ammonias, log(force_variance), seed=0, space=space, n_steps=8, learning_rate=5e-3, update=update
    )
    assert (result.best().objective > result.objective[0]).all()
    away = (result.positions - ammonias.positions).reshape(9, 3, -1).norm(dim=2)
    assert (away <= 0.05 * (1 + 1e-9)).all()
    (gradient,) = gradients(1)
    arguments = (torch.zeros(4, 3, dtype=torch.float64), gradient, Moments(*torch.ones(2, 4, 3, dtype=torch.float64)))
    before = [arguments[0].clone(), gradient.clone(), *(moment.clone() for moment in arguments[2])]
    UPDATES[update](*arguments, n_steps=1, learning_rate=0.1)
    for old, new in zip(before, [*arguments[:2], *arguments[2]], strict=True):
        assert torch.equal(old, new)


def test_a_rule_of_ones_own_is_a_function(committee, ammonias):
    def sign_ascent(delta, gradient, moments, *, n_steps, learning_rate):
        return delta + learning_rate * gradient.sign(), moments

    assert isinstance(sign_ascent, Update)
    space = Cartesian(spread=0.0)
    result = attack(committee(), ammonias, force_variance, seed=0, space=space, n_steps=2, update=sign_ascent)
    steps = (result.positions[1:] - result.positions[:-1]).abs()
    torch.testing.assert_close(steps, torch.full_like(steps, 0.01), rtol=1e-6, atol=0)
    plain = attack(committee(), ammonias, force_variance, seed=0, space=space, n_steps=2, update=gradient_ascent)
    assert (plain.positions[-1] != result.positions[-1]).any()


def test_an_unknown_rule_is_an_error_that_names_the_known_ones(committee, ammonias):
    with pytest.raises(ValueError, match="unknown update rule 'adagrad'; known: adam, gradient"):
        attack(committee(), ammonias, force_variance, seed=0, update="adagrad")
