import math

import pytest
import torch

from sparring.spaces import Cartesian, RandomDisplacement, Space
from sparring.structures import Structures

SPACES = {
    "cartesian": Cartesian(spread=0.1),
    "one axis": Cartesian(spread=0.1, axes="y"),
    "bounded": Cartesian(spread=0.1, radius=0.15),
    "bounded in every coordinate": Cartesian(spread=0.1, radius=0.15, norm=math.inf),
    "bounded in the sum": Cartesian(spread=0.1, radius=0.15, norm=1.0),
    "random": RandomDisplacement(amplitude=0.3),
}


@pytest.fixture
def seeds(ammonia, water, salt):
    return Structures.from_atoms([ammonia, water, salt])


def drawn(space, seeds, seed=0):
    return space.initial(seeds, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
class TestEverySpace:
    def test_is_a_space(self, space):
        assert isinstance(space, Space)

    def test_starts_from_a_delta_that_it_allows(self, space, seeds):
        delta = drawn(space, seeds)
        torch.testing.assert_close(space.project(seeds, delta), delta)

    def test_draws_the_same_delta_from_the_same_seed_and_another_from_another(self, space, seeds):
        assert (drawn(space, seeds) == drawn(space, seeds)).all()
        assert (drawn(space, seeds) != drawn(space, seeds, seed=1)).any()

    def test_projects_a_second_time_without_effect(self, space, seeds):
        once = space.project(seeds, 10 * drawn(space, seeds))
        torch.testing.assert_close(space.project(seeds, once), once)

    def test_keeps_rows_of_different_seeds_apart(self, space, seeds):
        owner, delta = space.owner(seeds), 2 * drawn(space, seeds)
        for index in range(seeds.n_structures):
            alone = seeds.take([index])
            rows = delta[owner == index]
            torch.testing.assert_close(space.project(seeds, delta)[owner == index], space.project(alone, rows))
            moved = space.displace(seeds, delta).take([index]).positions
            torch.testing.assert_close(moved, space.displace(alone, rows).positions)

    def test_leaves_seeds_where_they_are_without_a_delta(self, space, seeds):
        still = space.displace(seeds, torch.zeros_like(drawn(space, seeds)))
        assert (still.positions == seeds.positions).all()

    def test_can_be_differentiated(self, space, seeds):
        delta = drawn(space, seeds).requires_grad_()
        (gradient,) = torch.autograd.grad(space.displace(seeds, delta).positions.sum(), delta)
        assert gradient.abs().max() == 1.0


@pytest.mark.parametrize("axes", ["x", "y", "zx"])
@pytest.mark.parametrize("kind", [Cartesian, RandomDisplacement])
def test_atoms_move_only_along_the_axes_that_are_free(seeds, kind, axes):
    space = kind(spread=0.1, axes=axes) if kind is Cartesian else kind(amplitude=0.1, axes=axes)
    free = torch.tensor([axis in axes for axis in "xyz"])
    for delta in (drawn(space, seeds), torch.ones(seeds.n_atoms, 3, dtype=torch.float64)):
        moved = space.displace(seeds, delta).positions != seeds.positions
        assert (moved == free).all()


def test_the_initial_delta_is_normal_with_the_spread_asked_for(particle):
    delta = drawn(Cartesian(spread=0.01), Structures.from_atoms([particle()] * 5000))
    assert delta.mean().item() == pytest.approx(0.0, abs=5 * 0.01 / math.sqrt(15000))
    assert delta.std().item() == pytest.approx(0.01, rel=0.05)
    assert (delta.abs() < 0.01).double().mean().item() == pytest.approx(0.683, abs=0.02)


def test_the_random_baseline_is_uniform_up_to_its_amplitude(particle):
    delta = drawn(RandomDisplacement(amplitude=0.3), Structures.from_atoms([particle()] * 5000))
    assert 0.29 < delta.abs().max().item() <= 0.3
    assert delta.std().item() == pytest.approx(0.3 / math.sqrt(3), rel=0.03)


@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0, 4.0, math.inf])
def test_delta_stays_within_its_bound_and_is_left_alone_inside(seeds, norm):
    space = Cartesian(radius=0.2, norm=norm)
    for scale, outside in ((1.0, True), (1e-3, False)):
        delta = scale * torch.randn(seeds.n_atoms, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        projected = space.project(seeds, delta)
        for index in range(seeds.n_structures):
            row = projected[seeds.structure_index == index].flatten()
            assert torch.linalg.vector_norm(row, ord=norm).item() <= 0.2 * (1 + 1e-12)
        assert ((projected != delta).any()).item() is outside


def test_what_leaves_a_sphere_comes_back_to_its_nearest_point(particle):
    seeds = Structures.from_atoms([particle()])
    projected = Cartesian(radius=0.5).project(seeds, torch.tensor([[3.0, 4.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(projected, torch.tensor([[0.3, 0.4, 0.0]], dtype=torch.float64))


def test_without_a_spread_an_attack_starts_at_its_seed(seeds):
    assert (drawn(Cartesian(spread=0.0), seeds) == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"axes": "xw"}, "axes must be some of 'xyz', got 'xw'"),
        ({"axes": ""}, "axes must be some of 'xyz', got ''"),
        ({"spread": -0.1}, "must not be negative, got -0.1 Å"),
        ({"radius": 0.0}, "must be positive, got 0.0 Å"),
        ({"norm": 0.5}, "a p of at least 1, got 0.5"),
        ({"norm": math.nan}, "a p of at least 1, got nan"),
    ],
)
def test_a_space_that_makes_no_sense_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        Cartesian(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"amplitude": 0.0}, "must be positive, got 0.0 Å"),
        ({"amplitude": 0.1, "axes": "w"}, "axes must be some of 'xyz', got 'w'"),
    ],
)
def test_a_baseline_that_makes_no_sense_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandomDisplacement(**arguments)
