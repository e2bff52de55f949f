import math

import pytest
import torch

from sparring.atoms.structures import Structures
from sparring.proposers.spaces import Cartesian, RandomDisplacement


@pytest.fixture
def seeds(ammonia, water, salt):
    return Structures.from_atoms([ammonia, water, salt])


@pytest.mark.parametrize("axes", ["x", "y", "zx"])
@pytest.mark.parametrize("kind", [Cartesian, RandomDisplacement])
def test_atoms_move_only_along_the_axes_that_are_free(seeds, kind, axes, drawn):
    space = kind(spread=0.1, axes=axes) if kind is Cartesian else kind(amplitude=0.1, axes=axes)
    free = torch.tensor([axis in axes for axis in "xyz"])
    for delta in (drawn(space, seeds), torch.ones(seeds.n_atoms, 3, dtype=torch.float64)):
        moved = space.displace(seeds, delta).positions != seeds.positions
        assert (moved == free).all()


def test_the_initial_delta_is_normal_with_the_spread_asked_for(particle, drawn):
    delta = drawn(Cartesian(spread=0.01), Structures.from_atoms([particle()] * 5000))
    assert delta.mean().item() == pytest.approx(0.0, abs=5 * 0.01 / math.sqrt(15000))
    assert delta.std().item() == pytest.approx(0.01, rel=0.05)
    assert (delta.abs() < 0.01).double().mean().item() == pytest.approx(0.683, abs=0.02)


def test_the_random_baseline_is_uniform_up_to_its_amplitude(particle, drawn):
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


def test_without_a_spread_an_attack_starts_at_its_seed(seeds, drawn):
    assert (drawn(Cartesian(spread=0.0), seeds) == 0).all()


def test_only_the_atoms_that_are_named_move_in_every_seed(ammonia, water, drawn):
    seeds = Structures.from_atoms([ammonia, water, ammonia])
    moving = torch.tensor([True, False, True, False, True, False, True, True, False, True, False])
    for space in (Cartesian(spread=0.1, atoms=(2, 0)), RandomDisplacement(amplitude=0.1, atoms=(0, 2))):
        for delta in (drawn(space, seeds), torch.ones(seeds.n_atoms, 3, dtype=torch.float64)):
            moved = space.displace(seeds, delta).positions != seeds.positions
            assert (moved == moving.unsqueeze(1)).all()


def test_which_atoms_move_does_not_change_what_is_drawn_for_them(ammonia, drawn):
    seeds = Structures.from_atoms([ammonia])
    torch.testing.assert_close(drawn(Cartesian(atoms=(1,)), seeds)[1], drawn(Cartesian(), seeds)[1])
    everything = Cartesian(atoms=(0, 1, 2, 3))
    assert (drawn(everything, seeds) == drawn(Cartesian(), seeds)).all()


def test_an_atom_that_a_seed_does_not_have_is_an_error(ammonia, water, drawn):
    seeds = Structures.from_atoms([ammonia, water])
    with pytest.raises(ValueError, match="atom 3 is to be moved, but seed 1 has atoms 0 to 2"):
        drawn(Cartesian(atoms=(0, 3)), seeds)
    with pytest.raises(ValueError, match="atom 3 is to be moved, but seed 1 has atoms 0 to 2"):
        drawn(RandomDisplacement(amplitude=0.1, atoms=(0, 3)), seeds)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"atoms": ()}, "some indices of at least 0, or None for all, got \\(\\)"),
        ({"atoms": (0, -1)}, "some indices of at least 0, or None for all, got \\(0, -1\\)"),
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
