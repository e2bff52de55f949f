import copy
import json
import pickle
from pathlib import Path

import jaxtyping
import pytest
import torch
from safetensors.torch import load, save

from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.domain import TrainingDomain
from sparring.dynamics.calculator import CommitteeCalculator
from sparring.potentials import PaiNN, SchNet
from sparring.potentials.base import potentials_of
from sparring.potentials.stacking import cast
from sparring.uncertainty import energy_variance, force_variance


@pytest.fixture
def batches(ammonia, water, salt, rattled, particle):
    molecules = [*rattled(ammonia, 2), *rattled(water, 2)]
    return {
        "molecules": Structures.from_atoms(molecules),
        "molecules and crystals": Structures.from_atoms([*molecules, *rattled(salt, 2)]),
        "particles": Structures.from_atoms([particle(0.3, 0.7), particle(-1.0, 0.2)]),
    }


@pytest.fixture
def members(schnet, mlp):
    def make(kind, dtype):
        return [(mlp if kind == "particles" else schnet)(seed, dtype=dtype) for seed in range(4)]

    return make


def looked_at_twice(committee, structures):
    """Energies, forces, and what needs second derivatives: the slope of σ_F²."""
    positions = structures.positions.to(committee.dtype).requires_grad_()
    prediction = committee.predict(structures.to(dtype=committee.dtype).with_positions(positions))
    variance = force_variance(prediction.forces, structures.structure_index, structures.n_structures)
    (gradient,) = torch.autograd.grad(variance.sum(), positions)
    return prediction.energy.detach(), prediction.forces.detach(), gradient


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("kind", ["molecules", "molecules and crystals", "particles"])
def test_a_stacked_committee_says_what_its_members_say_one_after_another(batches, members, kind, dtype, tolerance):
    looped = looked_at_twice(Committee(members(kind, dtype), stacked=False), batches[kind])
    for analytic in (True, False):
        committee = Committee(members(kind, dtype), stacked=True, analytic=analytic)
        for fast, slow in zip(looked_at_twice(committee, batches[kind]), looped, strict=True):
            torch.testing.assert_close(fast, slow, rtol=tolerance, atol=tolerance)


def test_members_of_one_architecture_are_stacked_and_others_looped(schnet, mlp, ammonia):
    def spring(structures):
        squares = structures.positions.square().sum(1)
        return squares.new_zeros(structures.n_structures).index_add(0, structures.structure_index, squares)

    structures = Structures.from_atoms([ammonia])
    for others in ([spring], [mlp()], [schnet(n_features=4)]):
        committee = Committee([schnet(), *others])
        assert committee.predict(structures).energy.shape == (2, 1)
        with pytest.raises(ValueError, match="only modules of one architecture and size can be stacked"):
            Committee([schnet(), *others], stacked=True)
    forces = Committee([spring, spring]).predict(structures).forces
    torch.testing.assert_close(forces, (-2 * structures.positions).expand(2, -1, -1))


@pytest.mark.parametrize("kind", ["molecules", "molecules and crystals", "particles"])
def test_every_members_forces_are_minus_the_slope_of_its_energy(batches, members, slope, copies, kind):
    committee, structures = Committee(members(kind, torch.float64)[:2]), batches[kind]

    def energy(points):
        moved = copies(structures, len(points)).with_positions(points.flatten(0, 1))
        return committee.predict(moved).energy.reshape(committee.n_members, len(points), -1).sum(2)

    forces = committee.predict(structures).forces
    for member in range(committee.n_members):
        gradient = slope(lambda points, m=member: energy(points)[m], structures.positions)
        torch.testing.assert_close(forces[member], -gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["molecules", "molecules and crystals", "particles"])
def test_the_slope_of_the_disagreement_about_forces_is_that_of_its_formula(batches, members, slope, copies, kind):
    committee, structures = Committee(members(kind, torch.float64)), batches[kind]

    def variance(points):
        moved = copies(structures, len(points)).with_positions(points.flatten(0, 1))
        forces = committee.predict(moved).forces
        return force_variance(forces, moved.structure_index, moved.n_structures).reshape(len(points), -1).sum(1)

    _, _, gradient = looked_at_twice(committee, structures)
    torch.testing.assert_close(gradient, slope(variance, structures.positions), rtol=1e-6, atol=1e-9)
    assert gradient.abs().max() > 1e-5


def test_members_that_agree_have_no_disagreement_to_climb(schnet, ammonia):
    structures = Structures.from_atoms([ammonia])
    committee = Committee([schnet(), schnet()])
    _, _, gradient = looked_at_twice(committee, structures)
    prediction = committee.predict(structures)
    assert energy_variance(prediction.energy).item() == 0
    assert force_variance(prediction.forces, structures.structure_index, 1).item() == 0
    assert torch.isfinite(gradient).all()


def test_without_its_graph_a_prediction_is_the_same(committee, ammonia):
    structures = Structures.from_atoms([ammonia])
    with_graph, without = (committee().predict(structures, differentiable=flag) for flag in (True, False))
    assert with_graph.forces.requires_grad
    assert not without.energy.requires_grad
    assert not without.forces.requires_grad
    assert (with_graph.energy == without.energy).all()
    assert (with_graph.forces == without.forces).all()


def test_forces_are_there_even_where_gradients_are_switched_off(committee, ammonia):
    structures = Structures.from_atoms([ammonia])
    with torch.no_grad():
        forces = committee().predict(structures, differentiable=False).forces
    assert (forces == committee().predict(structures).forces).all()


def test_what_happens_to_a_network_later_does_not_change_the_committee(schnet, ammonia):
    networks, structures = [schnet(0), schnet(1)], Structures.from_atoms([ammonia])
    for stacked in (True, False):
        committee = Committee(networks, stacked=stacked)
        before = committee.predict(structures).energy
        with torch.no_grad():
            networks[0].embedding.weight.mul_(2.0)
        assert (committee.predict(structures).energy == before).all()


def test_a_committee_sees_as_far_as_its_farthest_sighted_member(schnet, mlp):
    assert Committee([schnet(cutoff=3.0), schnet(cutoff=4.0), mlp()]).cutoff == 4.0
    assert Committee([mlp()]).cutoff is None


def test_precision_can_be_changed_and_energies_of_atoms_stay_exact(schnet, ammonia):
    networks = [schnet(0), schnet(1)]
    for network in networks:
        network.set_reference_energies(torch.full((100,), -12345.678901234567, dtype=torch.float64))
    double, structures = Committee(networks), Structures.from_atoms([ammonia])
    single = double.to(dtype=torch.float32)
    assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
    energy, forces, _ = single.predict(structures)
    assert forces.dtype == torch.float32
    torch.testing.assert_close(energy, double.predict(structures).energy, rtol=0, atol=1e-5)
    assert (single.to(dtype=torch.float64).members[0].atomic_energy == networks[0].atomic_energy).all()


def test_a_committee_of_nobody_is_an_error():
    with pytest.raises(ValueError, match="at least one member, got none"):
        Committee([])


@pytest.mark.parametrize("kind", ["molecules", "particles"])
def test_a_committee_survives_the_way_through_a_file(batches, members, kind):
    committee = Committee(members(kind, torch.float32))
    weights, about = committee.state()
    again = Committee.from_state(load(save(weights)), about)
    before, after = committee.predict(batches[kind]), again.predict(batches[kind])
    assert (before.energy == after.energy).all()
    assert (before.forces == after.forces).all()
    assert again.dtype == committee.dtype


@pytest.mark.parametrize("where", [0.3, 0.6, 0.999])
def test_one_flipped_bit_in_the_weights_is_an_error(committee, where):
    weights, about = committee().state()
    data = bytearray(save(weights))
    header = 8 + int.from_bytes(data[:8], "little")
    data[header + int(where * (len(data) - header))] ^= 0b100
    with pytest.raises(ValueError, match="weights are damaged: their SHA-256"):
        Committee.from_state(load(bytes(data)), about)


def test_an_architecture_from_elsewhere_is_an_error(committee):
    weights, about = committee().state()
    with pytest.raises(
        ValueError,
        match=r"of the architecture 'gap', which this installation does not have: .*; built in are \['ace', "
        r"'coordinate_mlp', 'painn', 'schnet'\]; install the package that registers 'gap' under 'sparring.potentials'",
    ):
        Committee.from_state(weights, {**about, "architecture": "gap"})


def test_a_committee_that_cannot_be_rebuilt_cannot_be_saved(schnet):
    def zero(structures):
        return structures.cells.sum((1, 2))

    with pytest.raises(ValueError, match="a committee of function cannot be saved: all members must be of a sparring"):
        Committee([zero]).state()
    with pytest.raises(ValueError, match="a committee of SchNet, function cannot be saved"):
        Committee([schnet(), zero]).state()


@pytest.mark.parametrize("analytic", [True, False])
def test_members_of_each_architecture_are_evaluated_in_one_pass_and_read_back(
    schnet, ammonia, rattled, analytic, monkeypatch
):
    painns = [PaiNN(n_features=4, n_interactions=1, cutoff=3.0) for _ in range(2)]
    for index, network in enumerate(painns):
        network.initialise(torch.Generator().manual_seed(index))
    members = [schnet(0), schnet(1), schnet(2, n_features=4), *(cast(one, dtype=torch.float64) for one in painns)]
    structures = Structures.from_atoms(rattled(ammonia, 3))
    committee = Committee(members, analytic=analytic)
    assert not committee.stacked
    wanted = looked_at_twice(Committee(members, stacked=False), structures)
    monkeypatch.delattr("sparring.potentials.evaluation.looped_energies")
    for one, other in zip(looked_at_twice(committee, structures), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    weights, about = committee.state()
    again = Committee.from_state(load(save(weights)), json.loads(json.dumps(about)))
    assert [type(member) for member in again.members] == [SchNet, SchNet, SchNet, PaiNN, PaiNN]
    assert (again.predict(structures).forces == Committee(members).predict(structures).forces).all()
    assert again.to(dtype=torch.float32).predict(structures).energy.shape == (5, 3)
    with pytest.raises(ValueError, match="weights are damaged"):
        Committee.from_state({**weights, "1.embedding.weight": weights["1.embedding.weight"] + 1}, about)


def test_weights_that_meant_other_energies_are_refused(schnet):
    weights, about = Committee([schnet(0), schnet(1)]).state()
    before = {name: value for name, value in about.items() if name != "revision"}
    with pytest.raises(ValueError, match="another revision of 'schnet' than 2; train it again"):
        Committee.from_state(weights, before)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            ["file"],
            r"potentials: functions of structures .*; member 0 is str 'file'; read .* by sparring.read_committee",
        ),
        (
            [Path("runs/x")],
            r"member 0 is PosixPath 'runs/x'; read a saved committee by sparring.read_committee\(folder\)",
        ),
        ("runs/x", r"needs a list of potentials, got str 'runs/x'; read a saved committee by sparring.read_committee"),
        ([SchNet], r"member 0 is the class SchNet; make one: SchNet\(...\)"),
        ([None], "member 0 is NoneType"),
        ([len, {"weights": 1}], "member 1 is dict"),
        (SchNet(n_features=4, n_filters=4, n_interactions=1, n_gaussians=4), "got SchNet; put it into a list"),
        (len, "a list of potentials, got .*; put it into a list"),
        (5, "a list of potentials, got int$"),
        (iter([]), "at least one member, got none"),
    ],
)
def test_members_that_are_no_potentials_are_an_error_at_once(members, message):
    with pytest.raises(ValueError, match=message):
        potentials_of(members)


def test_a_committee_of_files_is_an_error_at_once_for_people_too(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is where people work
    with pytest.raises(ValueError, match=r"member 0 is str 'file'; read .* by sparring.read_committee\(folder\)"):
        Committee(["file"])


class Mine(SchNet):
    """An architecture of somebody else's."""

    kind = "mine"


class Heir(SchNet):
    """One that has inherited the name of another, and means other energies."""

    def forward(self, structures):
        return 2 * super().forward(structures)


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        (Mine, "mine", "unknown potential 'mine'.*; register the class under the entry-point group"),
        (
            Heir,
            "schnet",
            r"'schnet' is the kind of sparring\.potentials\.schnet\.SchNet; give the class a `kind` of its",
        ),
    ],
)
def test_a_committee_that_could_not_be_read_again_is_not_saved(kind, name, reason):
    size = {"n_features": 4, "n_filters": 4, "n_interactions": 1, "n_gaussians": 4}
    members = Committee([kind(**size), kind(**size)], analytic=False)
    head = rf"a committee of {kind.__name__} \(kind '{name}'\) cannot be saved, because it could not be read again: "
    with pytest.raises(ValueError, match=head + reason):
        members.state()


def springs(structures):
    """A potential that is a plain function."""
    squares = structures.positions.square().sum(1)
    return squares.new_zeros(structures.n_structures).index_add(0, structures.structure_index, squares)


@pytest.mark.parametrize("again", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy, copy.copy])
@pytest.mark.parametrize("how", [{}, {"analytic": False}, {"stacked": False}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_committee_goes_through_a_pickle_and_answers_to_the_last_bit(schnet, ammonia, water, again, how, dtype):
    domain = TrainingDomain(elements=(1, 7, 8), states={"H3N": ((0, 1),)})
    members = Committee([schnet(seed, dtype=dtype) for seed in range(3)], domain=domain, **how)
    structures = Structures.from_atoms([ammonia, water])
    before = members.predict(structures)
    other = again(members)
    after = other.predict(structures)
    assert torch.equal(before.energy, after.energy)
    assert torch.equal(before.forces, after.forces)
    assert (other.stacked, other.analytic, other.dtype) == (members.stacked, members.analytic, dtype)
    assert other.domain == domain
    assert pickle.loads(pickle.dumps(members.without_domain())).domain is None


def test_committees_of_functions_of_strangers_and_in_calculators_are_pickled_too(schnet, ammonia):
    structures = Structures.from_atoms([ammonia])
    stranger = Mine(n_features=4, n_filters=4, n_interactions=1, n_gaussians=4)
    for members in ([springs, springs], [schnet(), springs], [stranger, stranger]):
        committee = Committee(members)
        again = pickle.loads(pickle.dumps(committee))
        assert torch.equal(again.predict(structures).forces, committee.predict(structures).forces)
    calculator = CommitteeCalculator(Committee([schnet(0), schnet(1)]))
    ammonia.calc = pickle.loads(pickle.dumps(calculator))
    forces = ammonia.get_forces()
    ammonia.calc = calculator
    assert (ammonia.get_forces() == forces).all()
