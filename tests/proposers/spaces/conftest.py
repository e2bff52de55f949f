"""Molecules whose torsions turn."""

import pytest
import torch
from ase.build import molecule

from sparring.atoms.structures import Structures
from sparring.systems import alanine_dipeptide


@pytest.fixture
def dipeptide():
    return alanine_dipeptide.geometry()


@pytest.fixture
def ethanol():
    return molecule("CH3CH2OH")


@pytest.fixture
def butane():
    return molecule("trans-butane")


@pytest.fixture
def dipeptides(dipeptide, rattled):
    """Five geometries of the dipeptide, vibrating and moved about."""
    generator = torch.Generator().manual_seed(1)
    frames = rattled(dipeptide, 5, stdev=0.05)
    for atoms in frames:
        angle, *axis = torch.randn(4, generator=generator).tolist()
        atoms.rotate(100 * angle, axis)
        atoms.translate(axis)
    return Structures.from_atoms(frames)


@pytest.fixture
def drawn():
    """The first delta of a space."""

    def draw(space, seeds, seed=0):
        return space.initial(seeds, torch.Generator().manual_seed(seed))

    return draw
