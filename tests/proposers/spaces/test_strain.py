import numpy as np
import pytest
import torch
from ase.build import bulk, fcc111, molecule
from ase.constraints import FixAtoms

from sparring.assembly.spaces import space_of
from sparring.atoms.strain import volumes
from sparring.atoms.structures import Structures
from sparring.config.spaces import RandomStrain
from sparring.config.spaces import Strain as Section
from sparring.proposers.ascent import Ascent, attack
from sparring.proposers.boltzmann import boltzmann
from sparring.proposers.formulas import objective_of
from sparring.proposers.objectives import closeness, energy_variance, force_variance, log, mean_energy, stress_variance
from sparring.proposers.random import random_displacements
from sparring.proposers.spaces import Cartesian, Combined, Strain
from sparring.units import GPA

STEP = 1e-5


@pytest.fixture
def crystals(salt, rattled):
    """A small cell, a left-handed and skewed one, and one with several atoms."""
    skewed = bulk("NaCl", "rocksalt", a=5.3)
    skewed.set_cell(
        skewed.cell.array[[1, 0, 2]] @ [[1.0, 0.2, 0.0], [0.0, 1.0, 0.1], [0.0, 0.0, 0.9]], scale_atoms=True
    )
    cubic = bulk("NaCl", "rocksalt", a=5.5, cubic=True)
    return [salt, rattled(skewed, 1)[0], rattled(cubic, 1)[0]]


@pytest.fixture
def slab(rattled):
    return rattled(fcc111("Al", (2, 1, 2), vacuum=4.0), 1)[0]


SPACES = {
    "all": Strain(spread=0.03),
    "volume": Strain(which="volume", spread=0.03),
    "in plane": Strain(which="in_plane", spread=0.03),
    "strain and then atoms": Combined(spaces=(Strain(spread=0.03), Cartesian(spread=0.05)), scales=(0.1, 1.0)),
    "atoms and then strain": Combined(spaces=(Cartesian(spread=0.05), Strain(spread=0.03))),
}
OBJECTIVES = {
    "forces": lambda data: log(force_variance),
    "stress": lambda data: log(stress_variance),
    "energy": lambda data: energy_variance + mean_energy,
    "closeness": lambda data: closeness,
    "weight": lambda data: log(force_variance) + boltzmann(0.5, data, per="degree_of_freedom", pressure=5 * GPA),
}


@pytest.mark.parametrize("which", OBJECTIVES)
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_the_slope_of_an_objective_in_a_strain_is_that_of_its_formula(
    committee, crystals, with_random_labels, drawn, space, which
):
    data = with_random_labels(crystals)
    members = committee(cutoff=4.0)
    seeds = data.structures
    ascent = Ascent(members, seeds, OBJECTIVES[which](data), space)
    delta = drawn(space, seeds)
    gradient, owner = ascent.observe(delta).gradient, space.owner(seeds)
    directions = torch.randn(2, *delta.shape, generator=torch.Generator().manual_seed(3)).double()
    for direction in directions:
        above, below = (ascent.observe(delta + s * STEP * direction).observation.objective for s in (1, -1))
        along = (gradient * direction).reshape(len(owner), -1).sum(1)
        found = torch.zeros(3).double().index_add(0, owner, along)
        torch.testing.assert_close(found, (above - below) / (2 * STEP), rtol=2e-5, atol=1e-7)


def test_atoms_keep_their_fractional_coordinates_and_the_norm_is_that_of_the_matrix(crystals, drawn):
    seeds, space = Structures.from_atoms(crystals), Strain(spread=1.0, radius=0.2)
    delta = drawn(space, seeds)
    moved = space.displace(seeds, delta)
    for before, after, one in zip(crystals, moved.to_atoms(), delta, strict=True):
        np.testing.assert_allclose(after.get_scaled_positions(wrap=False), before.get_scaled_positions(wrap=False))
        strain = np.linalg.solve(before.cell.array, after.cell.array) - np.eye(3)
        np.testing.assert_allclose(strain, strain.T, atol=1e-12)
        assert np.linalg.norm(strain) == pytest.approx(float(one.norm()))
        assert np.linalg.norm(strain) == pytest.approx(0.2)  # drawn far beyond the bound


def test_only_the_volume_changes_by_a_number_for_each_crystal(crystals, drawn):
    seeds, space = Structures.from_atoms(crystals), Strain(which="volume", spread=0.05)
    delta = drawn(space, seeds)
    assert delta.shape == (3, 1)
    moved = space.displace(seeds, delta)
    scale = 1 + delta / 3**0.5
    torch.testing.assert_close(moved.cells, seeds.cells * scale.unsqueeze(-1))


@pytest.mark.parametrize("which", ["all", "volume", "in_plane"])
def test_vacuum_is_never_strained(slab, which, drawn):
    wire = slab.copy()
    wire.pbc = (True, False, False)
    seeds, space = Structures.from_atoms([slab, wire]), Strain(which=which, spread=0.05)
    moved = space.displace(seeds, drawn(space, seeds))
    before, after = seeds.positions.reshape(2, -1, 3), moved.positions.reshape(2, -1, 3)
    torch.testing.assert_close(after[..., 2], before[..., 2])
    torch.testing.assert_close(moved.cells[:, 2], seeds.cells[:, 2])
    assert not torch.allclose(moved.cells[0, :2], seeds.cells[0, :2])
    along = seeds.cells[1, 0] / seeds.cells[1, 0].norm()
    across = before[1] - (before[1] @ along).unsqueeze(1) * along
    torch.testing.assert_close(after[1] - (after[1] @ along).unsqueeze(1) * along, across)


def test_in_the_plane_the_third_vector_of_a_slab_that_repeats_stays(slab, drawn):
    slab.pbc = True
    seeds, space = Structures.from_atoms([slab]), Strain(which="in_plane", spread=0.05)
    moved = space.displace(seeds, drawn(space, seeds))
    torch.testing.assert_close(moved.cells[0, 2], seeds.cells[0, 2])
    assert not torch.allclose(moved.cells[0, 0], seeds.cells[0, 0])


@pytest.mark.parametrize("formula", ["log(stress_variance)", "log(force_variance)"])
def test_an_attack_strains_cells_towards_disagreement(committee, crystals, formula):
    members, seeds = committee(), Structures.from_atoms(crystals)
    space = Combined(spaces=(Strain(spread=0.001), Cartesian(spread=0.001)), scales=(0.2, 1.0))
    result = attack(members, seeds, objective_of(formula), seed=0, space=space, n_steps=12)
    assert (result.best().objective > result.objective[0] + 0.1).all()
    assert result.cells is not None
    assert not torch.allclose(result.structures.cells, seeds.cells)
    again = members.predict(result.structures, stress=True)
    expected = objective_of(formula)(again, result.structures)
    torch.testing.assert_close(result.best().objective, expected.double(), rtol=1e-6, atol=1e-6)


def test_attacks_on_cells_are_the_same_together_and_apart(committee, crystals):
    members, seeds = committee(), Structures.from_atoms(crystals)
    one, other = (
        attack(members, seeds, log(force_variance), seed=0, space=Strain(), n_steps=3, max_memory=limit)
        for limit in (None, 1.0)
    )
    torch.testing.assert_close(one.structures.cells, other.structures.cells, rtol=1e-9, atol=1e-9)


def test_a_pressure_favours_small_cells(crystals, with_random_labels, committee):
    data = with_random_labels([crystals[0]] * 2)
    wide = Structures.from_atoms([crystals[0]])
    prediction = committee().predict(wide)
    free, pressed = (boltzmann(0.1, data, pressure=p)(prediction, wide) for p in (0.0, 1.0))
    torch.testing.assert_close(free, boltzmann(0.1, data)(prediction, wide))
    torch.testing.assert_close(pressed, free)  # the data have the same volume
    smaller = Strain(which="volume").displace(wide, torch.full((1, 1), -0.05).double())
    difference = boltzmann(0.1, data, pressure=1.0)(prediction, smaller) - free
    torch.testing.assert_close(difference, (volumes(wide.cells) - volumes(smaller.cells)) / 0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"which": "shear"}, "strains are one of all, volume, in_plane, got which='shear'"),
        ({"radius": 1.5}, "a strain is at most 0.9"),
        ({"spread": -0.1}, "the initial spread must not be negative"),
    ],
)
def test_a_strain_out_of_range_is_an_error(arguments, message, monkeypatch):
    import jaxtyping

    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        Strain(**arguments)


def test_what_has_no_cell_or_fixed_atoms_cannot_be_strained(crystals, drawn):
    with pytest.raises(ValueError, match="seed 1 is not periodic, so that it has no cell to strain"):
        drawn(Strain(), Structures.from_atoms([crystals[0], molecule("NH3")]))
    crystals[0].set_constraint(FixAtoms([0]))
    with pytest.raises(ValueError, match="seed 0 has fixed atoms, which would not follow"):
        drawn(Strain(), Structures.from_atoms([crystals[0]]))


def test_the_sections_of_a_configuration_become_the_space(committee, crystals):
    made = space_of(Section(kind="strain", which="volume", initial_spread=0.02, radius=0.3))
    assert made == Strain(which="volume", spread=0.02, radius=0.3)
    seeds = Structures.from_atoms(crystals)
    drawn = random_displacements(committee(), seeds, space=space_of(RandomStrain(kind="strain")), seed=1)
    change = (drawn.structures.cells - seeds.cells).abs().amax((1, 2))
    assert (change > 0).all()
    assert (change < 0.03 * 6 * 5).all()
