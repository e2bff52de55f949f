"""Heads that share a backbone: one pass for all, and one copy of its weights."""

import copy
import pickle

import pytest
import torch

from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.committee_files import read_committee, write_committee
from sparring.potentials import PaiNN
from sparring.potentials.heads.head import Head
from sparring.potentials.stacking import cast
from sparring.uncertainty import energy_variance, force_variance


@pytest.fixture
def painn():
    def make(seed=0):
        network = PaiNN(n_features=8, n_interactions=2, n_radial=5, cutoff=3.0)
        network.initialise(torch.Generator().manual_seed(seed))
        return cast(network, dtype=torch.float64)

    return make


def heads_of(backbone, n_members, *, seed=1):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(n_members, 8, generator=generator).double()
    energies = torch.randn(n_members, 100, generator=generator).double()
    return [Head.of(backbone, *row) for row in zip(weights, energies, strict=True)]


def slope_of(committee, structures):
    positions = structures.positions.clone().requires_grad_()
    energy, forces, _ = committee.predict(structures.with_positions(positions))
    index, n = structures.structure_index, structures.n_structures
    score = force_variance(forces, index, n) + 0.1 * energy_variance(energy) + energy.mean(0)
    return torch.autograd.grad(score.sum(), positions)[0]


@pytest.mark.parametrize("crystal", [False, True])
@pytest.mark.parametrize("n_members", [2, 4, 12])
def test_one_pass_over_the_backbone_equals_one_member_after_another(painn, ammonia, water, salt, n_members, crystal):
    members = heads_of(painn(), n_members)
    together, apart = Committee(members), Committee(members, stacked=False)
    assert (together.stacked, apart.stacked) == (True, False)
    structures = together.prepare(Structures.from_atoms([salt] if crystal else [ammonia, water]))
    for differentiable in (True, False):
        predictions = (one.predict(structures, differentiable=differentiable, stress=True) for one in (together, apart))
        pairs = zip(*predictions, strict=True)
        for got, wanted in pairs:
            assert got.requires_grad == differentiable
            torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(slope_of(together, structures), slope_of(apart, structures), rtol=1e-8, atol=1e-8)


def test_the_uncertainty_of_atoms_is_the_same_in_one_pass_and_one_member_after_another(painn, ammonia, water):
    members = heads_of(painn(), 4)
    together, apart = Committee(members), Committee(members, stacked=False)
    structures = together.prepare(Structures.from_atoms([ammonia, water]))
    one, other = (
        each.predict(structures, differentiable=False).summary(structures.structure_index) for each in (together, apart)
    )
    torch.testing.assert_close(one.atom_variance, other.atom_variance, rtol=1e-9, atol=1e-9)
    means = torch.stack([part.mean() for part in one.atom_variance.split([4, 3])])
    torch.testing.assert_close(means, one.force_variance)


def test_heads_that_are_all_the_same_agree_exactly_and_have_a_finite_gradient(painn, water):
    head = heads_of(painn(), 1)[0]
    structures = Structures.from_atoms([water])
    committee = Committee([head, head, head])
    assert energy_variance(committee.predict(structures).energy) == 0
    torch.testing.assert_close(
        slope_of(committee, structures), slope_of(Committee([head, head], stacked=False), structures)
    )


def test_the_backbone_is_held_and_saved_once_however_the_committee_travels(painn, water, tmp_path):
    committee = Committee(heads_of(painn(), 4))
    write_committee(tmp_path, committee)
    weights, about = committee.state()
    assert weights["weight"].shape == (4, 8)
    assert weights["backbone.embedding.weight"].shape == (100, 8)
    assert about["architecture"] == "heads"
    structures = Structures.from_atoms([water])
    before = committee.predict(structures, differentiable=False, stress=True)
    travelled = (read_committee(tmp_path), pickle.loads(pickle.dumps(committee)), copy.deepcopy(committee))
    for other in (*travelled, committee.to(device="cpu")):
        assert other.stacked
        assert len({id(member.backbone) for member in other.members}) == 1
        for got, wanted in zip(other.predict(structures, differentiable=False, stress=True), before, strict=True):
            assert torch.equal(got, wanted)
    single = committee.to(dtype=torch.float32)
    assert (single.dtype, single.members[0].weight.dtype) == (torch.float32, torch.float64)
    assert len({id(member.backbone) for member in single.members}) == 1
    torch.testing.assert_close(single.predict(structures).energy, before.energy, rtol=1e-5, atol=1e-5)


def test_heads_of_several_backbones_are_saved_and_read_back(painn, water, tmp_path):
    committee = Committee([*heads_of(painn(0), 1), *heads_of(painn(1), 1)])
    structures = Structures.from_atoms([water])
    write_committee(tmp_path, committee)
    before, after = (one.predict(structures).forces for one in (committee, read_committee(tmp_path)))
    assert torch.equal(before, after)
    assert not torch.equal(before[0], before[1])


class OnlyFeatures(torch.nn.Module):
    """A module of one's own, with features and no energy beside them."""

    cutoff = 3.0

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, structures):
        return self.network(structures)

    def features(self, structures):
        return self.network.features(structures)[0]


def test_a_module_of_ones_own_needs_no_more_than_features(painn, water):
    structures = Structures.from_atoms([water])
    own, ours = (Committee(heads_of(one, 3)) for one in (OnlyFeatures(painn()), painn()))
    for got, wanted in zip(own.predict(structures, stress=True), ours.predict(structures, stress=True), strict=True):
        torch.testing.assert_close(got, wanted)
    with pytest.raises(ValueError, match="cannot be saved"):
        own.state()


def test_features_that_are_not_one_row_for_each_atom_are_refused(painn, water):
    class Both(OnlyFeatures):
        def features(self, structures):
            return self.network.features(structures)

    with pytest.raises(ValueError, match="must have a row for each of 3 atoms, got tuple"):
        Committee(heads_of(Both(painn()), 2)).predict(Structures.from_atoms([water]))


def test_a_head_is_a_backbone_of_further_heads(painn, water, tmp_path):
    (first,) = heads_of(painn(), 1)
    weights = [member.weight for member in heads_of(painn(), 3, seed=2)]
    committee = Committee([Head.of(first, weight, torch.zeros(100)) for weight in weights])
    summed = Committee([Head.of(first.backbone, first.weight + weight, first.atomic_energy) for weight in weights])
    structures = Structures.from_atoms([water])
    for got, wanted in zip(
        committee.predict(structures, stress=True), summed.predict(structures, stress=True), strict=True
    ):
        torch.testing.assert_close(got, wanted)
    write_committee(tmp_path, committee)
    assert torch.equal(read_committee(tmp_path).predict(structures).forces, committee.predict(structures).forces)


class Springs(torch.nn.Module):
    """A module of one's own whose constants are in buffers, with or without a weight."""

    cutoff = None

    def __init__(self, *, weight):
        super().__init__()
        self.register_buffer("constants", torch.tensor([1.0, 0.3]))
        self.weight = torch.nn.Parameter(torch.ones(2)) if weight else None

    def forward(self, structures):
        return self.energy_and_features(structures)[0]

    def energy_and_features(self, structures):
        square = structures.positions.square().sum(1)
        features = torch.stack([square, square.square()], 1)
        atoms = features @ (self.constants if self.weight is None else self.constants * self.weight)
        return atoms.new_zeros(structures.n_structures).index_add(0, structures.structure_index, atoms), features


def test_a_backbone_needs_no_weights_and_is_cast_as_a_committee_of_itself_is(water):
    structures = Structures.from_atoms([water])
    plain = Committee([Springs(weight=True)]).to(dtype=torch.float64)
    for weight in (True, False):
        backbone = Springs(weight=weight) if weight else Springs(weight=weight).double()
        heads = [Head.of(backbone, torch.zeros(2), torch.zeros(100))] * 2
        moved = Committee(heads).to(dtype=torch.float64)
        assert moved.members[0].backbone.constants.dtype == torch.float64
        got, wanted = (one.predict(structures, differentiable=False) for one in (moved, plain))
        for own, other in zip(got[:2], wanted[:2], strict=True):
            torch.testing.assert_close(own[0], other[0])
