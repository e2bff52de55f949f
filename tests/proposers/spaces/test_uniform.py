import math

import pytest
import torch

from sparring.atoms.structures import Structures
from sparring.proposers.spaces import Cartesian, RandomDisplacement, Uniform


def test_random_displacements_are_the_cartesian_space_drawn_uniformly(ammonia, drawn):
    seeds = Structures.from_atoms([ammonia] * 3)
    uniform = Uniform(space=Cartesian(), amplitude=0.3)
    assert (drawn(uniform, seeds) == drawn(RandomDisplacement(amplitude=0.3), seeds)).all()


def test_the_bound_of_the_space_holds_too(ammonia, drawn):
    seeds = Structures.from_atoms([ammonia] * 10)
    space = Uniform(space=Cartesian(radius=0.2), amplitude=0.3)
    norms = drawn(space, seeds).reshape(10, 12).norm(dim=1)
    assert norms.max().item() == pytest.approx(0.2)
    assert space.project(seeds, torch.full((40, 3), 9.0, dtype=torch.float64)).abs().max() <= 0.3


@pytest.mark.parametrize("amplitude", [0.0, -1.0, math.nan])
def test_an_amplitude_that_is_none_is_an_error(amplitude):
    with pytest.raises(ValueError, match="the amplitude must be positive, got"):
        Uniform(space=Cartesian(), amplitude=amplitude)
