"""Molecules, crystals and small networks that tests share."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from sparring.committee import Committee, cast
from sparring.dataset import ENERGY, FORCES, Dataset
from sparring.potentials import CoordinateMLP, SchNet


@pytest.fixture
def ammonia():
    return molecule("NH3")


@pytest.fixture
def water():
    return molecule("H2O")


@pytest.fixture
def salt():
    """A crystal so small that atoms see several images of each other, and of themselves."""
    crystal = bulk("NaCl", "rocksalt", a=5.0)
    crystal.rattle(0.1, seed=3)
    return crystal


@pytest.fixture
def rattled():
    """Many copies of a structure, each distorted in its own way."""

    def make(atoms, n_copies, *, stdev=0.1, seed=0):
        copies = [atoms.copy() for _ in range(n_copies)]
        for index, one in enumerate(copies):
            one.rattle(stdev, seed=1000 * seed + index)
        return copies

    return make


@pytest.fixture
def with_random_labels():
    """Labels that mean nothing, for where only the arithmetic matters."""

    def make(atoms, *, seed=0):
        generator = np.random.default_rng(seed)
        for one in atoms:
            one.info[ENERGY] = float(generator.normal())
            one.arrays[FORCES] = generator.normal(size=(len(one), 3))
        return Dataset.from_atoms(atoms)

    return make


@pytest.fixture
def schnet():
    """A small SchNet with weights of its own."""

    def make(seed=0, *, dtype=torch.float64, **changes):
        size = {"n_features": 8, "n_filters": 8, "n_interactions": 2, "n_gaussians": 8, "cutoff": 3.0}
        network = SchNet(**{**size, **changes})
        network.initialise(torch.Generator().manual_seed(seed))
        return cast(network, dtype=dtype)

    return make


@pytest.fixture
def mlp():
    """A small network of coordinates with weights of its own."""

    def make(seed=0, *, dtype=torch.float64, **changes):
        network = CoordinateMLP(**{"n_coordinates": 2, "n_layers": 2, "n_units": 16, **changes})
        network.initialise(torch.Generator().manual_seed(seed))
        return cast(network, dtype=dtype)

    return make


@pytest.fixture
def committee(schnet):
    """Small SchNets that disagree."""

    def make(n_members=3, *, stacked=None, **changes):
        return Committee([schnet(seed, **changes) for seed in range(n_members)], stacked=stacked)

    return make


@pytest.fixture
def particle():
    """The dummy atom of a toy well."""

    def make(x=0.0, y=0.0, z=0.0):
        return Atoms("X", positions=[[x, y, z]])

    return make


@pytest.fixture
def copies():
    """A batch many times over, so that finite differences take one call."""

    def make(structures, n_copies):
        return structures.take(list(range(structures.n_structures)) * n_copies)

    return make


@pytest.fixture
def slope():
    """The gradient of a number by finite differences (five-point stencil); the function takes all points at once."""

    def differentiate(function, x, *, step=1e-3):
        nudges = step * torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
        with torch.no_grad():
            values = function(torch.cat([x + k * nudges for k in (-2, -1, 1, 2)]))
        far_below, below, above, far_above = values.reshape(4, -1)
        return ((8 * (above - below) - (far_above - far_below)) / (12 * step)).reshape(x.shape)

    return differentiate
