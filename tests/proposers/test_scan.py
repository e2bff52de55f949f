"""Scans: bonds and angles at values far from their own."""

import math

import numpy as np
import pytest
import torch
from ase.build import molecule

from sparring.atoms.internal_coordinates import bonds_and_angles, values
from sparring.atoms.structures import Structures
from sparring.proposers.scan import n_scanned, scan


def changed(candidates, index, seed_atoms):
    """The coordinates of a candidate as multiples of those of its seed."""
    atoms = candidates.structures.take([index]).to_atoms()[0]
    known = bonds_and_angles(seed_atoms)
    now, before = (values(torch.as_tensor(one.positions), known) for one in (atoms, seed_atoms))
    return (now / before).numpy()


def test_there_is_a_candidate_for_every_group_and_value_between_the_fractions(committee):
    ethane = molecule("CH3OH")
    seeds = Structures.from_atoms([ethane])
    found = scan(committee(), seeds, seed=1, n_values=4, fractions=(0.8, 1.2))
    groups = {one.group for one in bonds_and_angles(ethane)}
    assert len(found.score) == n_scanned(ethane, 4) == 4 * len(groups)
    bonds = [number for number, one in enumerate(bonds_and_angles(ethane)) if one.kind == "bond"]
    n_bonds = len({bonds_and_angles(ethane)[k].group for k in bonds})
    factors = [changed(found, k, ethane)[bonds] for k in range(4 * n_bonds)]
    for place, factor in enumerate(factors):
        moved = np.flatnonzero(np.abs(factor - 1) > 1e-6)
        assert len(moved) == 1  # one bond at a time
        low = 0.8 + 0.1 * (place % 4)
        assert low <= factor[moved[0]] <= low + 0.1


def test_seeds_and_equivalent_bonds_are_drawn_at_random(committee, rattled):
    seeds = Structures.from_atoms(rattled(molecule("CH4"), 5, stdev=0.01))
    found, again, other = (scan(committee(), seeds, seed=seed, n_values=8) for seed in (1, 1, 2))
    assert len(set(found.origin.tolist())) > 2
    assert torch.equal(found.structures.positions, again.structures.positions)
    assert not torch.equal(found.structures.positions, other.structures.positions)


def test_angles_end_at_180_degrees(committee):
    straight = molecule("CO2")
    found = scan(committee(), Structures.from_atoms([straight]), seed=0, n_values=10, fractions=(0.5, 1.5))
    assert len(found.score) < n_scanned(straight, 10)
    assert np.isfinite(found.score).all()


def test_a_reference_has_the_bonds_where_those_of_the_seeds_are_broken(committee, water):
    broken = water.copy()
    broken.positions[1] += 2 * (broken.positions[1] - broken.positions[0])
    seeds = Structures.from_atoms([broken])
    assert len(scan(committee(), seeds, seed=0, n_values=3).score) == 3  # the bond that is left
    assert len(scan(committee(), seeds, seed=0, n_values=3, fractions=(0.8, 1.2), references=[water]).score) == 6


def test_mistakes_are_named(committee, water):
    seeds = Structures.from_atoms([water])
    with pytest.raises(ValueError, match=r"need 0 < low < high and n_values > 0, got 1\.2, 0\.8 and 6"):
        scan(committee(), seeds, seed=0, fractions=(1.2, 0.8))
    with pytest.raises(ValueError, match="no bond and no angle that can be changed"):
        scan(committee(), Structures.from_atoms([molecule("CH4")[:1]]), seed=0)
    assert math.isfinite(n_scanned(water, 1))
