"""What every space promises, to the attacks and to whoever takes its gradients."""

import math

import numpy as np
import pytest
import torch
from ase.constraints import FixAtoms, FixCartesian

from sparring.atoms.structures import Structures
from sparring.proposers.ascent import Ascent, attack
from sparring.proposers.objectives import force_variance
from sparring.proposers.spaces import (
    Cartesian,
    CollectiveVariables,
    Combined,
    Dihedrals,
    Directions,
    RandomDisplacement,
    Rigid,
    Space,
    Uniform,
)

MIXED, ALIKE, TURNING, HOSTED, FLEXIBLE = "mixed", "alike", "turning", "hosted", "flexible"


def breathe_and_shear(positions, delta):
    """A map of one seed: it grows, and leans over with its height."""
    centre = positions.mean(0)
    slide = torch.stack(
        [delta[1] * positions[:, 2], torch.zeros_like(positions[:, 0]), torch.zeros_like(positions[:, 0])], 1
    )
    return positions + delta[0] * (positions - centre) + slide


def torsions(molecules, **arguments):
    """All torsions about single bonds between heavy atoms."""
    return Dihedrals.of(molecules, ["[!#1]~[!#1]-!@[!#1]~*"], **arguments)


def motions(hosted, **arguments):
    """Rigid motions of the guests of a host."""
    return Rigid.of(hosted, spread=0.1, rotation_spread=0.2, **arguments)


DIRECTIONS = np.random.default_rng(0).normal(size=(3, 4, 3))
MIDDLE = (0.2, -0.2, 0.2)
"""A place in a cage where ethanol touches nothing."""
SPACES = {
    "cartesian": (MIXED, lambda _: Cartesian(spread=0.1)),
    "one axis": (MIXED, lambda _: Cartesian(spread=0.1, axes="y")),
    "some atoms": (MIXED, lambda _: Cartesian(spread=0.1, atoms=(1, 0))),
    "bounded": (MIXED, lambda _: Cartesian(spread=0.1, radius=0.15)),
    "bounded in every coordinate": (MIXED, lambda _: Cartesian(spread=0.1, radius=0.15, norm=math.inf)),
    "bounded in the sum": (MIXED, lambda _: Cartesian(spread=0.1, radius=0.15, norm=1.0)),
    "random": (MIXED, lambda _: RandomDisplacement(amplitude=0.3)),
    "random, some atoms": (MIXED, lambda _: RandomDisplacement(amplitude=0.3, atoms=(1,))),
    "directions": (ALIKE, lambda _: Directions(directions=DIRECTIONS, spread=0.1)),
    "bounded directions": (ALIKE, lambda _: Directions(directions=DIRECTIONS, spread=0.1, radius=0.1)),
    "own function": (MIXED, lambda _: CollectiveVariables(function=breathe_and_shear, n_variables=2, spread=0.1)),
    "dihedrals": (TURNING, lambda molecules: torsions(molecules, spread=0.5)),
    "bounded dihedrals": (TURNING, lambda molecules: torsions(molecules, spread=0.5, radius=0.3)),
    "dihedrals bounded in the square": (
        TURNING,
        lambda molecules: torsions(molecules, spread=0.5, radius=0.3, norm=2.0),
    ),
    "random dihedrals": (TURNING, lambda molecules: Uniform(space=torsions(molecules), amplitude=math.pi)),
    "dihedrals and then atoms": (
        TURNING,
        lambda molecules: Combined(
            spaces=(torsions(molecules, spread=0.5), Cartesian(spread=0.05, radius=0.1)), scales=(1.0, 0.1)
        ),
    ),
    "random dihedrals and then atoms": (
        TURNING,
        lambda molecules: Combined(
            spaces=(Uniform(space=torsions(molecules), amplitude=1.0), RandomDisplacement(amplitude=0.1))
        ),
    ),
    "rigid": (HOSTED, motions),
    "translation": (HOSTED, lambda hosted: motions(hosted, which="translation")),
    "rotation": (HOSTED, lambda hosted: motions(hosted, which="rotation")),
    "bounded rigid": (HOSTED, lambda hosted: motions(hosted, max_translation=0.1, max_rotation=0.2)),
    "random rotation": (HOSTED, lambda hosted: Uniform(space=motions(hosted, which="rotation"), amplitude=math.pi)),
    "torsions of guests": (FLEXIBLE, lambda hosted: Dihedrals.of(hosted, ["rotatable"], spread=0.5)),
    "rigid, torsions and then atoms": (
        FLEXIBLE,
        lambda hosted: Combined(
            spaces=(motions(hosted), Dihedrals.of(hosted, ["rotatable"], spread=0.5), Cartesian(spread=0.02)),
        ),
    ),
    "rigid and then atoms": (
        HOSTED,
        lambda hosted: Combined(spaces=(motions(hosted), Cartesian(spread=0.02, radius=0.1)), scales=(1.0, 0.1)),
    ),
}


@pytest.fixture(params=SPACES.values(), ids=SPACES)
def case(request, ammonia, water, salt, ethanol, butane, rattled, in_cage):
    """A space and seeds that it displaces: two molecules and a crystal, ammonias, ethanol and butane, or guests."""
    which, make = request.param
    frames = {
        MIXED: [ammonia, water, salt],
        ALIKE: rattled(ammonia, 4),
        TURNING: [*rattled(ethanol, 1, stdev=0.03), *rattled(butane, 1, stdev=0.03), ethanol],
        HOSTED: [*rattled(in_cage(water), 1, stdev=0.03), *rattled(in_cage(ammonia), 2, stdev=0.03)],
        FLEXIBLE: rattled(in_cage(ethanol, shift=MIDDLE), 3, stdev=0.03),
    }[which]
    known = {HOSTED: [in_cage(water), in_cage(ammonia)], FLEXIBLE: [in_cage(ethanol, shift=MIDDLE)]}
    return make(known.get(which, [ethanol, butane])), Structures.from_atoms(frames)


@pytest.fixture
def space(case):
    return case[0]


@pytest.fixture
def seeds(case):
    return case[1]


def test_is_a_space(space):
    assert isinstance(space, Space)


def test_rows_come_seed_by_seed_and_no_seed_has_none(space, seeds, drawn):
    owner = space.owner(seeds)
    assert len(owner) == len(drawn(space, seeds))
    assert owner.unique_consecutive().tolist() == list(range(seeds.n_structures))


def test_starts_from_a_delta_that_it_allows(space, seeds, drawn):
    delta = drawn(space, seeds)
    torch.testing.assert_close(space.project(seeds, delta), delta)


def test_draws_the_same_delta_from_the_same_seed_and_another_from_another(space, seeds, drawn):
    assert (drawn(space, seeds) == drawn(space, seeds)).all()
    assert (drawn(space, seeds) != drawn(space, seeds, seed=1)).any()


def test_projects_a_second_time_without_effect(space, seeds, drawn):
    once = space.project(seeds, 10 * drawn(space, seeds))
    torch.testing.assert_close(space.project(seeds, once), once)


def test_keeps_rows_of_different_seeds_apart(space, seeds, drawn):
    owner, delta = space.owner(seeds), 2 * drawn(space, seeds)
    for index in range(seeds.n_structures):
        alone = seeds.take([index])
        rows = delta[owner == index]
        assert (space.owner(alone) == 0).all()
        torch.testing.assert_close(space.project(seeds, delta)[owner == index], space.project(alone, rows))
        moved = space.displace(seeds, delta).take([index]).positions
        torch.testing.assert_close(moved, space.displace(alone, rows).positions)


def test_leaves_seeds_where_they_are_without_a_delta(space, seeds, drawn):
    still = space.displace(seeds, torch.zeros_like(drawn(space, seeds)))
    assert (still.positions == seeds.positions).all()


def test_moves_what_a_delta_says(space, seeds, drawn):
    moved = space.displace(seeds, drawn(space, seeds)).positions != seeds.positions
    of_seed = torch.zeros(seeds.n_structures).index_add(0, seeds.structure_index, moved.any(1).float())
    assert (of_seed > 0).all()


def test_computes_in_the_precision_of_the_seeds(space, seeds, drawn):
    single = seeds.to(dtype=torch.float32)
    delta = drawn(space, single)
    assert delta.dtype == torch.float32
    torch.testing.assert_close(delta.double(), drawn(space, seeds), rtol=1e-5, atol=1e-6)
    moved = space.displace(single, delta).positions
    assert moved.dtype == torch.float32
    torch.testing.assert_close(moved.double(), space.displace(seeds, delta.double()).positions, rtol=1e-5, atol=1e-5)


def test_the_slope_of_the_disagreement_in_delta_is_that_of_its_formula(space, seeds, drawn, committee, slope, copies):
    members = committee()
    delta = 0.5 * drawn(space, seeds)

    def score(points):
        moved = space.displace(copies(seeds, len(points)), points.flatten(0, 1))
        return force_variance(members.predict(moved), moved).reshape(len(points), -1).sum(1)

    point = delta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(point.unsqueeze(0)).sum(), point)
    largest = gradient.abs().max().item()
    torch.testing.assert_close(gradient, slope(score, delta, step=3e-4), rtol=1e-6, atol=1e-6 * largest)
    assert largest > 1e-6


def test_an_attack_in_chunks_goes_the_same_ways_as_in_one(space, seeds, committee):
    members = committee()
    whole = attack(members, seeds, force_variance, seed=0, space=space, n_steps=3, max_memory=None)
    chunked = attack(members, seeds, force_variance, seed=0, space=space, n_steps=3, max_memory=1.0)
    assert (whole.best_step == chunked.best_step).all()
    torch.testing.assert_close(whole.positions, chunked.positions, rtol=0, atol=1e-8)
    torch.testing.assert_close(whole.objective, chunked.objective, rtol=1e-8, atol=1e-12)


def test_an_attack_climbs(space, seeds, committee):
    result = attack(committee(), seeds, force_variance, seed=0, space=space, n_steps=5)
    assert (result.best().objective >= result.objective[0]).all()
    assert (result.best().objective > result.objective[0]).any()


def test_a_step_asks_nothing_of_the_device(space, seeds, committee, never_asks, drawn):
    if bool(seeds.pbc.any(1)[0]):
        pytest.skip("neighbours of crystals are looked for by the host")
    if seeds.periodic:
        seeds = Structures.from_atoms(seeds.to_atoms()[:2])
    members = committee()
    climb = Ascent(members, seeds, force_variance, space, min_distance=0.0)
    state, *_ = climb.step(climb.start(drawn(space, seeds)), 0)
    with never_asks():
        state, *_ = climb.step(state, 1)
    assert (state.status == 0).all()


# --- where atoms are fixed ------------------------------------------------------------------------------------------


@pytest.fixture(params=SPACES.values(), ids=SPACES)
def held(request, ammonia, water, salt, ethanol, butane, rattled, in_cage):
    """A space and seeds with fixed atoms: whole atoms, single coordinates, atoms of a crystal, ends of chains."""
    which, make = request.param
    frames = {
        MIXED: [ammonia, water, salt],
        ALIKE: rattled(ammonia, 4),
        TURNING: [*rattled(ethanol, 1, stdev=0.03), *rattled(butane, 1, stdev=0.03), ethanol.copy()],
        HOSTED: [*rattled(in_cage(water), 1, stdev=0.03), *rattled(in_cage(ammonia), 2, stdev=0.03)],
        FLEXIBLE: rattled(in_cage(ethanol, shift=MIDDLE), 3, stdev=0.03),
    }[which]
    known = {HOSTED: [in_cage(water), in_cage(ammonia)], FLEXIBLE: [in_cage(ethanol, shift=MIDDLE)]}
    space = make(known.get(which, [ethanol, butane]))
    if which == TURNING:
        frames[0].set_constraint(FixAtoms([6, 7]))  # of ethanol's methyl group
        frames[1].set_constraint(FixAtoms([0]))
        frames[2].set_constraint(FixAtoms([3]))  # the hydrogen of the hydroxyl group
    else:
        frames[0].set_constraint([FixAtoms([0]), FixCartesian([2], (False, True, False))])
        frames[-1].set_constraint(FixCartesian([0, 1], (True, True, False)))
    return space, Structures.from_atoms(frames)


def test_an_attack_leaves_fixed_coordinates_alone_on_its_whole_path_and_moves_others(held, committee):
    space, seeds = held
    result = attack(committee(), seeds, force_variance, seed=0, space=space, n_steps=4, learning_rate=0.03)
    assert (result.positions[:, seeds.fixed] == seeds.positions[seeds.fixed]).all()
    assert (result.positions[-1] != seeds.positions).any()
    assert (result.structures.fixed == seeds.fixed).all()
    assert (result.candidates().structures.take([0]).fixed == seeds.take([0]).fixed).all()


def test_the_slope_that_an_attack_climbs_is_that_of_what_may_move(held, committee, slope, copies, drawn):
    space, seeds = held
    members = committee()
    delta = 0.5 * drawn(space, seeds)

    def score(points):
        moved = space.displace(copies(seeds, len(points)), points.flatten(0, 1))
        return force_variance(members.predict(moved), moved).reshape(len(points), -1).sum(1)

    climb = Ascent(members, seeds, force_variance, space)
    *_, gradient = climb.observe(delta)
    largest = gradient.abs().max().item()
    torch.testing.assert_close(gradient, slope(score, delta, step=3e-4), rtol=1e-6, atol=1e-6 * largest)
    assert largest > 1e-6
    if gradient.shape == seeds.positions.shape:
        assert not gradient[seeds.fixed].any()
