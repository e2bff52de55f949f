import math

import pytest
import torch

from sparring.atoms.structures import Structures
from sparring.proposers.ascent import attack
from sparring.proposers.objectives import force_variance
from sparring.proposers.spaces import Cartesian, Combined, Dihedrals, RandomDisplacement, Uniform


@pytest.fixture
def seeds(ethanol, butane, rattled):
    return Structures.from_atoms([*rattled(ethanol, 1), *rattled(butane, 1), *rattled(ethanol, 1, seed=1)])


@pytest.fixture
def torsions(ethanol, butane):
    return Dihedrals.of([ethanol, butane], ["*~[#6]-[#6]~*"], spread=0.3)


def test_a_combination_displaces_in_one_space_after_the_other(seeds, torsions):
    atoms = Cartesian()
    space = Combined(spaces=(torsions, atoms), scales=(2.0, 0.5))
    owner = space.owner(seeds)
    assert owner.tolist() == sorted(owner.tolist())
    angles, shifts = torch.linspace(-1, 1, 5).double(), torch.linspace(-0.1, 0.1, 3 * seeds.n_atoms).double()
    shifts = shifts.reshape(-1, 3)
    # Of each seed: the torsions first, then the coordinates of its atoms.
    rows = [
        torch.cat([angles[torsions.owner(seeds) == i] / 2, shifts[seeds.structure_index == i].flatten() / 0.5])
        for i in range(3)
    ]
    by_hand = atoms.displace(torsions.displace(seeds, angles), shifts)
    torch.testing.assert_close(space.displace(seeds, torch.cat(rows)).positions, by_hand.positions)


def test_the_order_of_spaces_matters_where_torsions_turn_what_was_moved(seeds, torsions, drawn):
    one = Combined(spaces=(torsions, Cartesian(spread=0.1)))
    other = Combined(spaces=(Cartesian(spread=0.1), torsions))
    away = one.displace(seeds, drawn(one, seeds)).positions - other.displace(seeds, drawn(other, seeds)).positions
    assert away.abs().max() > 1e-3


def test_every_part_has_its_own_spread_and_bound_in_its_own_units(seeds, torsions, drawn):
    parts = (Uniform(space=torsions, amplitude=math.pi), Cartesian(spread=0.01, radius=0.02, norm=math.inf))
    space = Combined(spaces=parts, scales=(1.0, 0.01))
    delta = space.project(seeds, 1e3 * drawn(space, seeds))
    assert delta.abs().max() == pytest.approx(math.pi)
    still = torch.where(delta.abs() == delta.abs().max(), 0.0, delta)
    assert still.abs().max() == pytest.approx(2.0)  # 0.02 Å in units of the scale


@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_the_first_step_of_an_attack_is_as_long_as_the_scale_says(seeds, torsions, committee, scale):
    still = Dihedrals(molecules=torsions.molecules, spread=0.0)
    turned, moved = (
        attack(committee(), seeds, force_variance, seed=0, space=space, n_steps=1, learning_rate=0.02).positions[1]
        for space in (Combined(spaces=(one,), scales=(scale,)) for one in (still, Cartesian(spread=0.0)))
    )
    angles = (
        torch.remainder(torsions.angles(seeds.with_positions(turned)) - torsions.angles(seeds) + 1, 2 * math.pi) - 1
    )
    torch.testing.assert_close(angles.abs(), torch.full_like(angles, 0.02 * scale))
    assert (moved - seeds.positions).abs().max().item() == pytest.approx(0.02 * scale)


def test_random_displacements_of_torsions_and_atoms_are_the_baseline(seeds, torsions, drawn):
    space = Combined(spaces=(Uniform(space=torsions, amplitude=math.pi), RandomDisplacement(amplitude=0.1)))
    delta = drawn(space, seeds)
    assert (delta.abs() > 0.1).sum() > 2
    assert space.displace(seeds, delta).n_atoms == seeds.n_atoms


def test_a_combination_of_one_space_is_that_space(seeds, drawn):
    alone, combined = Cartesian(spread=0.1), Combined(spaces=(Cartesian(spread=0.1),))
    torch.testing.assert_close(
        combined.displace(seeds, drawn(combined, seeds)).positions, alone.displace(seeds, drawn(alone, seeds)).positions
    )


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, 1.0, 1.0)])
def test_every_part_needs_a_scale(scales):
    with pytest.raises(ValueError, match="wanted a positive scale for each of 2 spaces"):
        Combined(spaces=(Cartesian(), Cartesian()), scales=scales)
    with pytest.raises(ValueError, match="got no space to combine"):
        Combined(spaces=())
