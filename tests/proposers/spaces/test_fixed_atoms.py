"""Whatever a space moves, fixed atoms stay where they are, to the last bit, and slopes are those of the rest."""

import math

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.constraints import FixAtoms, FixCartesian

from sparring.atoms.structures import Structures
from sparring.proposers.ascent import Ascent, attack
from sparring.proposers.objectives import force_variance
from sparring.proposers.spaces import Cartesian, Combined, Dihedrals, Directions, RandomDisplacement, Uniform


@pytest.mark.parametrize(
    "space", [Cartesian(spread=0.1), Uniform(space=Cartesian(), amplitude=0.1), RandomDisplacement(amplitude=0.1)]
)
def test_nothing_is_drawn_for_fixed_coordinates(space, ammonia, drawn):
    ammonia.set_constraint([FixAtoms([1]), FixCartesian([2], (True, False, False))])
    seeds = Structures.from_atoms([ammonia])
    assert ((drawn(space, seeds) == 0) == seeds.fixed).all()


def test_a_bound_counts_free_coordinates_only(ammonia):
    ammonia.set_constraint(FixAtoms([0]))
    seeds = Structures.from_atoms([ammonia])
    delta = torch.zeros(4, 3, dtype=torch.float64)
    delta[0], delta[1, 0] = 5.0, 0.3
    bounded = Cartesian(radius=0.5).project(seeds, delta)
    assert not bounded[0].any()
    assert bounded[1, 0].item() == 0.3


class Unknowing:
    """A space of another package, which has never heard of fixed atoms: everything is shifted along x."""

    def owner(self, seeds):
        return torch.arange(seeds.n_structures)

    def initial(self, seeds, generator):
        return torch.full((seeds.n_structures,), 0.05, dtype=seeds.positions.dtype)

    def displace(self, seeds, delta):
        shift = torch.zeros_like(seeds.positions)
        shift[:, 0] = delta[seeds.structure_index] * seeds.positions[:, 0].abs()
        return seeds.with_positions(seeds.positions + shift)

    def project(self, seeds, delta):
        return delta


def test_fixed_atoms_stay_in_a_space_that_does_not_know_of_them(ammonia, committee, slope, copies):
    ammonia.rattle(0.05, seed=1)
    ammonia.set_constraint(FixAtoms([1]))
    seeds, members, space = Structures.from_atoms([ammonia]), committee(), Unknowing()
    result = attack(members, seeds, force_variance, seed=0, space=space, n_steps=3)
    assert (result.positions[:, 1] == seeds.positions[1]).all()
    assert (result.positions[-1, 2] != seeds.positions[2]).any()
    climb = Ascent(members, seeds, force_variance, space)
    delta = torch.tensor([0.05], dtype=torch.float64)

    def score(points):
        many = Ascent(members, copies(seeds, len(points)), force_variance, space)
        moved = many.displace(points.flatten())
        return force_variance(members.predict(moved), moved)

    torch.testing.assert_close(climb.observe(delta)[-1], slope(score, delta), rtol=1e-6, atol=0)


# --- torsions -------------------------------------------------------------------------------------------------------

HYDROXYL = (0, 1, 2, 3)  # C-C-O-H of ethanol: beyond the bond C-O there is the hydrogen atom 3


def test_where_the_side_that_turns_is_fixed_the_other_side_turns_and_the_torsion_is_the_same(ethanol):
    free, held = Structures.from_atoms([ethanol]), ethanol.copy()
    held.set_constraint(FixAtoms([3]))
    held = Structures.from_atoms([held])
    space = Dihedrals.of(ethanol, [HYDROXYL])
    delta = torch.tensor([0.7], dtype=torch.float64)
    turned, other = space.displace(free, delta), space.displace(held, delta)
    torch.testing.assert_close(space.angles(turned), space.angles(other))
    assert (other.positions[3] == held.positions[3]).all()
    assert (turned.positions[3] != free.positions[3]).any()
    distances = [torch.pdist(one.positions) for one in (turned, other)]  # the same shape, in another place
    torch.testing.assert_close(*distances)


def test_a_torsion_with_fixed_atoms_on_both_sides_names_itself_and_the_atoms(ethanol, drawn):
    space = Dihedrals.of(ethanol, [HYDROXYL])
    ethanol.set_constraint([FixAtoms([3]), FixCartesian([4], (False, False, True))])
    message = (
        r"torsion 0-1-2-3 of C2H6O cannot turn: atom 4 \(H\) on one side of the bond 1-2 and atom 3 \(H\) on the other"
    )
    with pytest.raises(ValueError, match=message):
        drawn(space, Structures.from_atoms([ethanol]))


def test_atoms_on_the_bond_itself_may_be_fixed(ethanol):
    ethanol.set_constraint(FixAtoms([1, 2]))
    seeds = Structures.from_atoms([ethanol])
    space = Dihedrals.of(ethanol, [HYDROXYL])
    turned = space.displace(seeds, torch.tensor([1.0], dtype=torch.float64))
    change = (space.angles(turned) - space.angles(seeds) + math.pi) % (2 * math.pi) - math.pi
    assert change.item() == pytest.approx(1.0)
    assert (turned.positions[[1, 2]] == seeds.positions[[1, 2]]).all()


def test_seeds_of_one_molecule_may_be_fixed_on_different_sides(ethanol, rattled):
    frames = rattled(ethanol, 3, stdev=0.03)
    frames[0].set_constraint(FixAtoms([3]))
    frames[1].set_constraint(FixAtoms([6]))
    seeds = Structures.from_atoms(frames)
    space = Combined(spaces=(Dihedrals.of(ethanol, [HYDROXYL]), Cartesian()))
    delta = space.initial(seeds, torch.Generator().manual_seed(0))
    moved = space.displace(seeds, 10 * delta)
    assert ((moved.positions == seeds.positions) == seeds.fixed).all()


def test_normal_modes_of_a_fixed_molecule_are_directions_that_do_not_move_what_is_fixed(ammonia, drawn):
    ammonia.set_constraint(FixAtoms([0]))
    seeds = Structures.from_atoms([ammonia])
    space = Directions(directions=np.ones((1, 4, 3)))
    moved = space.displace(seeds, drawn(space, seeds))
    assert (moved.positions[0] == seeds.positions[0]).all()
    assert (moved.positions[1:] != seeds.positions[1:]).all()
    assert molecule("NH3").positions[0].tolist() == moved.positions[0].tolist()
