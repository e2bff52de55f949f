"""Torsions turn, and nothing else does."""

import itertools
import math

import numpy as np
import pytest
import torch
from ase.build import molecule

from sparring.atoms.bonds import BondGraph, find_bonds
from sparring.atoms.geometry import angle, dihedral, rmsd_matrix
from sparring.atoms.structures import Structures
from sparring.atoms.torsions import find
from sparring.proposers.ascent import attack
from sparring.proposers.objectives import force_variance
from sparring.proposers.spaces import Dihedrals, Uniform
from sparring.systems.alanine_dipeptide import BONDS, PHI, PSI

GRAPH = BondGraph.of(22, BONDS)
ANGLES = [(i, j, k) for j in range(22) for i, k in itertools.combinations(GRAPH.neighbours[j], 2)]


def wrapped(angles):
    return torch.remainder(angles + math.pi, 2 * math.pi) - math.pi


def some_delta(n, seed=0, scale=2.0):
    return scale * torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shapes(structures):
    """Bond lengths and angles."""
    positions = structures.positions.reshape(structures.n_structures, -1, 3)
    first, second = torch.tensor(BONDS).T
    lengths = (positions[:, first] - positions[:, second]).norm(dim=-1)
    return lengths, torch.stack([angle(positions, *three) for three in ANGLES], dim=-1)


def same_shape(one, other):
    pairs = zip(one.to_atoms(), other.to_atoms(), strict=True)
    return max(rmsd_matrix(np.stack([a.positions, b.positions]))[0, 1] for a, b in pairs)


def test_every_torsion_changes_by_exactly_its_delta(dipeptides, dipeptide):
    space = Dihedrals.of(dipeptide, ["phi", "psi", "omega"])
    before, delta = space.angles(dipeptides), some_delta(20, scale=4.0)
    after = space.angles(space.displace(dipeptides, delta))
    assert wrapped(after - before - delta).abs().max() < 1e-10
    positions = dipeptides.positions.reshape(5, 22, 3)
    for column, torsion in enumerate((PHI, PSI, (0, 4, 6, 8), (8, 14, 16, 18))):
        torch.testing.assert_close(before.reshape(5, 4)[:, column], dihedral(positions, *torsion))


def test_bond_lengths_angles_and_all_other_torsions_stay(dipeptides, dipeptide):
    space = Dihedrals.of(dipeptide, ["phi", "psi"])
    turned = space.displace(dipeptides, some_delta(10))
    for before, after in zip(shapes(dipeptides), shapes(turned), strict=True):
        assert (after - before).abs().max() < 1e-10
    others = Dihedrals.of(dipeptide, ["omega", (1, 0, 4, 5), (6, 8, 10, 11), (14, 16, 18, 19)])
    assert wrapped(others.angles(turned) - others.angles(dipeptides)).abs().max() < 1e-10


def test_in_single_precision_shapes_stay_to_a_few_digits_of_it(dipeptides, dipeptide):
    space, single = Dihedrals.of(dipeptide, ["phi", "psi"]), dipeptides.to(dtype=torch.float32)
    turned = space.displace(single, some_delta(10).float())
    for before, after in zip(shapes(dipeptides), shapes(turned.to(dtype=torch.float64)), strict=True):
        assert ((after - before) / before).abs().max() < 1e-5


def test_what_is_behind_the_axis_does_not_move(dipeptides, dipeptide):
    moved = Dihedrals.of(dipeptide, ["psi"]).displace(dipeptides, some_delta(5)).positions != dipeptides.positions
    assert (moved.any(1).reshape(5, 22) == torch.arange(22).ge(15)).all()


def test_the_order_of_torsions_and_their_direction_do_not_change_the_shape(dipeptides, dipeptide):
    torsions = [PHI, PSI, (0, 4, 6, 8), (5, 4, 0, 1), (6, 8, 10, 11)]
    delta = some_delta(25).reshape(5, 5)
    reference = Dihedrals.of(dipeptide, torsions).displace(dipeptides, delta.flatten())
    for order, back in (([1, 0, 2, 3, 4], False), ([4, 2, 3, 1, 0], False), ([3, 1, 4, 0, 2], True)):
        chosen = [torsions[i][::-1] if back else torsions[i] for i in order]
        turned = Dihedrals.of(dipeptide, chosen).displace(dipeptides, delta[:, order].flatten())
        assert same_shape(turned, reference) < 1e-10
        torch.testing.assert_close(shapes(turned)[0], shapes(reference)[0])


def test_torsions_that_move_each_others_axis_are_turned_in_the_order_in_which_they_are_named(dipeptides, dipeptide):
    # Each of these turns the side on which the other's axis is.
    space = Dihedrals.of(dipeptide, [PHI, PSI[::-1]])
    delta = some_delta(10).reshape(5, 2)
    by_hand = Dihedrals.of(dipeptide, [PHI]).displace(dipeptides, delta[:, 0].clone())
    by_hand = Dihedrals.of(dipeptide, [PSI[::-1]]).displace(by_hand, delta[:, 1].clone())
    torch.testing.assert_close(space.displace(dipeptides, delta.flatten()).positions, by_hand.positions)
    assert wrapped(space.angles(by_hand) - space.angles(dipeptides) - delta.flatten()).abs().max() < 1e-10


def test_a_full_turn_leads_back(dipeptides, dipeptide):
    space = Dihedrals.of(dipeptide, ["phi", "psi"])
    around = space.displace(dipeptides, torch.full((10,), 2 * math.pi, dtype=torch.float64))
    torch.testing.assert_close(around.positions, dipeptides.positions, rtol=0, atol=1e-13)


def test_torsions_are_those_that_ase_turns(dipeptide):
    seeds = Structures.from_atoms([dipeptide])
    space = Dihedrals.of(dipeptide, ["phi"])
    turned = space.displace(seeds, torch.tensor([0.7], dtype=torch.float64)).to_atoms()[0]
    (torsion,) = space.molecules[0].torsions
    mask = np.isin(np.arange(22), torsion.moving)
    expected = dipeptide.copy()
    expected.set_dihedral(*PHI, expected.get_dihedral(*PHI) + math.degrees(0.7), mask=mask)
    np.testing.assert_allclose(turned.positions, expected.positions, atol=1e-10)


def test_a_batch_may_hold_several_molecules_with_torsions_of_their_own(dipeptide, ethanol, butane, drawn):
    space = Dihedrals.of([ethanol, dipeptide, butane], ["*~[#6]-!@[#6;X4]~*"])
    assert [len(molecule.torsions) for molecule in space.molecules] == [1, 3, 3]
    frames = [butane, dipeptide, ethanol, dipeptide, butane]
    seeds = Structures.from_atoms(frames)
    assert space.owner(seeds).tolist() == [0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 4, 4, 4]
    delta = drawn(Uniform(space=space, amplitude=math.pi), seeds)
    turned = space.displace(seeds, delta)
    assert wrapped(space.angles(turned) - space.angles(seeds) - delta).abs().max() < 1e-10
    for index, atoms in enumerate(frames):
        alone = Dihedrals.of(atoms, ["*~[#6]-!@[#6;X4]~*"])
        apart = alone.displace(Structures.from_atoms([atoms]), delta[space.owner(seeds) == index])
        torch.testing.assert_close(apart.positions, turned.take([index]).positions)


def test_random_torsions_are_uniform_all_around(dipeptide, drawn):
    seeds = Structures.from_atoms([dipeptide] * 2000)
    space = Uniform(space=Dihedrals.of(dipeptide, ["phi", "psi"]), amplitude=math.pi)
    delta = drawn(space, seeds)
    assert delta.shape == (4000,)
    assert delta.abs().max() <= math.pi
    counts = torch.histc(delta, 8, -math.pi, math.pi)
    assert (counts - 500).abs().max() < 5 * math.sqrt(500)


def test_an_attack_keeps_the_shape_and_its_bound(committee, dipeptides, dipeptide):
    space = Dihedrals.of(dipeptide, ["phi", "psi"], spread=0.1, radius=0.2)
    result = attack(
        committee(), dipeptides, force_variance, seed=0, space=space, n_steps=10, learning_rate=0.05, min_distance=0.1
    )
    assert (result.best().objective > result.objective[0]).all()
    for before, after in zip(shapes(dipeptides), shapes(result.structures), strict=True):
        assert (after - before).abs().max() < 1e-10
    for positions in result.positions:
        moved = wrapped(space.angles(dipeptides.with_positions(positions)) - space.angles(dipeptides))
        assert moved.abs().max() < 0.2 * (1 + 1e-9)
    assert moved.abs().max() > 0.19


def test_the_same_molecule_makes_the_same_space(dipeptide):
    one, other = (Dihedrals.of(dipeptide, ["phi"]) for _ in range(2))
    assert one == other
    assert one != Dihedrals.of(dipeptide, ["psi"])


def test_positions_may_be_differentiated_too(dipeptides, dipeptide):
    space, delta = Dihedrals.of(dipeptide, ["phi", "psi"]), some_delta(2).requires_grad_()
    seed = dipeptides.take([0])
    positions = seed.positions.clone().requires_grad_()

    def some_of(positions, delta):
        return space.displace(seed.with_positions(positions), delta).positions[[9, 15, 21]]

    assert torch.autograd.gradcheck(some_of, (positions, delta))
    assert torch.autograd.gradgradcheck(lambda delta: some_of(seed.positions, delta), (delta,))


# --- bad input --------------------------------------------------------------------------------------------------------


def test_what_has_lost_a_bond_is_told_from_what_has_not(dipeptide):
    broken = dipeptide.copy()
    broken.set_distance(14, 16, 2.4, fix=0, indices=list(range(16, 22)))
    space = Dihedrals.of(dipeptide, ["phi"])
    assert space.intact(Structures.from_atoms([dipeptide, broken, dipeptide])).tolist() == [True, False, True]


def test_a_seed_with_a_broken_bond_is_an_error_that_names_it(dipeptide, drawn):
    broken = dipeptide.copy()
    broken.set_distance(14, 16, 2.4, fix=0, indices=list(range(16, 22)))
    seeds = Structures.from_atoms([dipeptide, dipeptide, broken])
    message = r"seed 2 \(C6H12N2O2\): the bond 14-16 \(C-N\) is 1\.\d\d times .* it is broken.*leave this structure out"
    with pytest.raises(ValueError, match=message):
        drawn(Dihedrals.of(dipeptide, ["phi"]), seeds)


def test_a_clash_of_a_seed_is_no_bond(dipeptide, drawn):
    space = Dihedrals.of(dipeptide, ["phi", "psi"])
    angles = torch.arange(12, dtype=torch.float64) * math.pi / 6
    everywhere = Structures.from_atoms([dipeptide] * 144)
    turned = space.displace(everywhere, torch.cartesian_prod(angles, angles).flatten()).to_atoms()
    clash = max(turned, key=lambda atoms: len(find_bonds(atoms)))
    with pytest.raises(ValueError, match="is in a ring"):
        find(clash, [PHI, PSI])
    assert drawn(space, Structures.from_atoms([clash])).shape == (2,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda atoms: atoms[:-1],
            r"seed 1 \(C6H11N2O2\) is no molecule whose torsions are known \(those are of C6H12N2O2",
        ),
        (
            lambda atoms: atoms[::-1],
            r"seed 1 \(C6H12N2O2\) is no molecule .* with the atoms in one order\); leave it out",
        ),
        (lambda atoms: molecule("H2O"), r"seed 1 \(H2O\) is no molecule .*or give Dihedrals.of that molecule too"),
    ],
)
def test_a_seed_with_other_atoms_is_an_error_that_names_it(dipeptide, change, message, drawn):
    seeds = Structures.from_atoms([dipeptide, change(dipeptide)])
    with pytest.raises(ValueError, match=message):
        drawn(Dihedrals.of(dipeptide, ["phi"]), seeds)


def test_a_periodic_seed_is_an_error(dipeptide, drawn):
    boxed = dipeptide.copy()
    boxed.cell, boxed.pbc = [20, 20, 20], True
    with pytest.raises(ValueError, match=r"seed 1 \(C6H12N2O2, periodic\) is no molecule"):
        drawn(Dihedrals.of(dipeptide, ["phi"]), Structures.from_atoms([dipeptide, boxed]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spread": -1.0}, "must not be negative, got -1.0 rad"),
        ({"radius": 0.0}, "must be positive, got 0.0 rad"),
        ({"norm": 0.5}, "a p of at least 1, got 0.5"),
    ],
)
def test_sizes_that_make_no_sense_are_an_error(dipeptide, arguments, message):
    with pytest.raises(ValueError, match=message):
        Dihedrals.of(dipeptide, ["phi"], **arguments)


def test_molecules_that_cannot_be_told_apart_are_an_error(dipeptide, ethanol):
    with pytest.raises(ValueError, match="two molecules have the same atoms in the same order"):
        Dihedrals.of([dipeptide, dipeptide], ["phi"])
    with pytest.raises(ValueError, match="got no molecule"):
        Dihedrals.of([], ["phi"])
    with pytest.raises(ValueError, match="bonds can be given for one molecule only, got 2"):
        Dihedrals.of([dipeptide, ethanol], ["phi"], bonds=BONDS)
