"""Strain and stress: against finite differences of energies, for every way of evaluating a committee."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk, fcc111
from ase.calculators.lj import LennardJones

from sparring.atoms.neighbors import distances
from sparring.atoms.strain import from_voigt, strained, stress_of, to_voigt, volumes
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.potentials import ACE, PaiNN, SchNet
from sparring.potentials.heads.head import Head
from sparring.potentials.nested import described
from sparring.potentials.prior import WithPrior
from sparring.potentials.stacking import cast
from sparring.uncertainty import force_variance, stress_variance, sum_over_atoms

STEP = 1e-5


def network(kind, seed, cutoff=3.5):
    sizes = {
        "schnet": {"n_filters": 6},
        "painn": {"repulsion": True},
        "ace": {"energy_scale": 0.01, "repulsion": True},
    }[kind]
    made = {"schnet": SchNet, "painn": PaiNN, "ace": ACE}[kind](n_features=8, n_interactions=2, cutoff=cutoff, **sizes)
    made.initialise(torch.Generator().manual_seed(seed))
    return cast(made, dtype=torch.float64)


def committee_of(kind):
    match kind.split():
        case ["heads"]:
            backbone, generator = network("painn", 0), torch.Generator().manual_seed(1)
            weights = torch.randn(3, 8, generator=generator).double()
            return Committee([Head.of(backbone, weight, torch.zeros(100).double()) for weight in weights])
        case ["mixed"]:
            return Committee([network("schnet", 0), network("schnet", 1), network("painn", 0)])
        case ["prior"]:
            members = []
            for seed in range(3):
                member = WithPrior(network=described(network("ace", seed)), spread=1.0)
                member.initialise(torch.Generator().manual_seed(seed))
                members.append(cast(member, dtype=torch.float64))
            return Committee(members)
        case [name, how]:
            members = [network(name, seed) for seed in range(3)]
            options = {"analytic": {}, "vmap": {"analytic": False}, "looped": {"stacked": False}}[how]
            return Committee(members, **options)


WAYS = [f"{name} {how}" for name in ("schnet", "painn", "ace") for how in ("analytic", "vmap", "looped")]


@pytest.fixture
def crystals(rattled):
    """A skewed cell, a left-handed one, one smaller than twice the cutoff, and a slab, all off their minima."""
    skewed = bulk("Cu", cubic=True)
    skewed.set_cell(skewed.cell.array @ [[1.0, 0.1, 0.0], [0.0, 0.95, 0.1], [-0.1, 0.0, 1.05]], scale_atoms=True)
    left = bulk("NaCl", "rocksalt", a=5.6)
    left.set_cell(left.cell.array[[1, 0, 2]])
    slab = fcc111("Cu", (2, 1, 2), vacuum=4.0)
    return Structures.from_atoms([rattled(one, 1)[0] for one in (skewed, left, bulk("Si"), slab)])


def symmetric(n, *, seed=0):
    matrix = torch.randn(n, 3, 3, generator=torch.Generator().manual_seed(seed)).double()
    return (matrix + matrix.mT) / 2


@pytest.mark.parametrize("kind", [*WAYS, "heads", "mixed", "prior"])
def test_stress_is_the_slope_of_the_energy_in_a_strain(crystals, kind):
    committee = committee_of(kind)
    found = committee.predict(crystals, stress=True)
    without_graph = committee.predict(crystals, differentiable=False, stress=True)
    torch.testing.assert_close(without_graph.stress, found.stress, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(without_graph.forces, found.forces, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.stress, found.stress.mT)
    for seed in range(3):
        direction = symmetric(crystals.n_structures, seed=seed)
        above, below = (committee.predict(strained(crystals, s * STEP * direction)).energy for s in (1, -1))
        expected = (above - below) / (2 * STEP) / volumes(crystals.cells)
        along = (found.stress * direction).sum((-2, -1))
        torch.testing.assert_close(along, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", [*WAYS, "heads", "mixed", "prior"])
def test_slopes_of_disagreement_in_a_strain_are_those_of_its_formula(crystals, kind):
    committee, n = committee_of(kind), crystals.n_structures

    def disagreement(strain):
        moved = strained(crystals, strain)
        found = committee.predict(moved, stress=True)
        of_forces = force_variance(found.forces, moved.structure_index, n)
        return of_forces + 100 * stress_variance(found.stress)

    strain = torch.zeros(n, 3, 3).double().requires_grad_()
    (slope,) = torch.autograd.grad(disagreement(strain).sum(), strain)
    direction = symmetric(n)
    above, below = (disagreement(s * STEP * direction).detach() for s in (1, -1))
    torch.testing.assert_close((slope * direction).sum((-2, -1)), (above - below) / (2 * STEP), rtol=1e-5, atol=1e-9)


def lennard_jones(structures):
    """The potential of ASE's LennardJones(sigma=2.3, rc=5), without its shift at the cutoff."""
    power = (2.3 / distances(structures)) ** 6
    owner = structures.structure_index[structures.edges.target]
    return sum_over_atoms(2 * (power.square() - power), owner, structures.n_structures)


lennard_jones.cutoff = 5.0


def test_stress_has_the_sign_the_unit_and_the_order_of_ase():
    copper = bulk("Cu", cubic=True, a=3.4)
    copper.rattle(0.1, seed=3)
    copper.set_cell(copper.cell.array @ [[1.02, 0.03, 0.01], [0.0, 0.98, 0.02], [0.0, 0.0, 1.0]], scale_atoms=True)
    copper.calc = LennardJones(sigma=2.3, epsilon=1.0, rc=5.0, ro=5.0)
    found = Committee([lennard_jones] * 2).predict(Structures.from_atoms([copper]), stress=True)
    np.testing.assert_allclose(to_voigt(found.stress[0, 0].detach().numpy()), copper.get_stress(), rtol=1e-8)
    assert copper.get_stress()[:3].max() < 0  # compressed: energies fall as the cell grows


@pytest.mark.parametrize("kind", ["schnet analytic", "ace analytic"])
def test_repeating_a_cell_changes_nothing_that_is_counted_per_atom(crystals, kind):
    committee = committee_of(kind)
    for atoms in crystals.to_atoms():
        require_the_same(committee, atoms, [2 if periodic else 1 for periodic in atoms.pbc])


@pytest.mark.parametrize("kind", ["schnet", "painn", "ace"])
def test_a_cell_much_smaller_than_the_cutoff_is_right(kind, rattled):
    committee = Committee([network(kind, seed, cutoff=5.0) for seed in range(3)])
    for crystal in ("Si", "Cu"):
        cell = rattled(bulk(crystal) * 2, 1)[0]
        heights = 1 / np.linalg.norm(np.linalg.inv(cell.cell.array), axis=0)
        assert heights.max() < 2 * 5.0  # several images of an atom are neighbours
        require_the_same(committee, cell, [3, 3, 3])


def require_the_same(committee, atoms, repeats):
    """What is counted per atom is the same in a cell and in a larger one of the same crystal."""
    one, many = (Structures.from_atoms([some]) for some in (atoms, atoms * repeats))
    small, large = (committee.predict(batch, stress=True) for batch in (one, many))
    copies = many.n_atoms // one.n_atoms
    torch.testing.assert_close(large.energy, copies * small.energy, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(large.stress, small.stress, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(large.forces, small.forces.repeat(1, copies, 1), rtol=1e-10, atol=1e-10)
    mine, theirs = small.summary(one.structure_index), large.summary(many.structure_index)
    torch.testing.assert_close(theirs.force_variance, mine.force_variance, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(theirs.stress_variance, mine.stress_variance, rtol=1e-10, atol=1e-10)


def test_a_molecule_beside_crystals_has_no_stress_and_its_slopes_are_finite(ammonia, rattled):
    batch = Structures.from_atoms([*rattled(ammonia, 1), *rattled(bulk("Si"), 1)])
    cells = batch.cells.clone().requires_grad_()
    found = committee_of("ace analytic").predict(replace(batch, cells=cells), stress=True)
    assert (found.stress[:, 0] == 0).all()
    assert (found.stress[:, 1] != 0).any()
    (slope,) = torch.autograd.grad(found.stress.square().sum(), cells)
    assert torch.isfinite(slope).all()


def test_members_may_be_functions_of_cells(crystals):
    def by_volume(structures):
        return 3 * volumes(structures.cells) + 0 * structures.positions.sum()

    found = Committee([by_volume, by_volume]).predict(crystals, stress=True)
    torch.testing.assert_close(found.stress, (3 * torch.eye(3).double()).expand_as(found.stress))


def test_stress_turns_with_the_crystal(crystals):
    turn = torch.linalg.qr(symmetric(1)[0]).Q
    turned = replace(crystals, positions=crystals.positions @ turn, cells=crystals.cells @ turn)
    committee = committee_of("painn analytic")
    one, other = (committee.predict(some, stress=True).stress for some in (crystals, turned))
    torch.testing.assert_close(turn.mT @ one @ turn, other, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(stress_variance(one), stress_variance(other), rtol=1e-8, atol=1e-15)


def test_components_go_to_a_matrix_and_back_in_the_order_of_ase():
    components = np.arange(6.0)
    matrix = from_voigt(components)
    assert (matrix == matrix.T).all()
    assert (matrix[1, 2], matrix[0, 2], matrix[0, 1]) == (3.0, 4.0, 5.0)
    np.testing.assert_array_equal(to_voigt(matrix), components)


def test_the_stress_of_springs_between_images_is_that_on_paper():
    # A chain along x with period a: E = (a - 1)^2, so that dE/dε = 2 (a - 1) a in a box of 2 Å by 2 Å.
    cell = torch.diag(torch.tensor([1.5, 2.0, 2.0])).double().unsqueeze(0)
    wire = Structures.from_atoms([bulk("Cu", "sc", a=1.0)])
    wire = replace(wire, cells=cell.requires_grad_(), positions=wire.positions.requires_grad_())
    energy = (wire.cells[:, 0, 0] - 1).square() + 0 * wire.positions.sum()
    stress = stress_of(wire, *torch.autograd.grad(energy.sum(), [wire.positions, wire.cells]))
    expected = torch.zeros(1, 3, 3).double()
    expected[0, 0, 0] = 2 * 0.5 * 1.5 / 6.0
    torch.testing.assert_close(stress, expected)
