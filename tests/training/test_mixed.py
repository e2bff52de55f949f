import pytest
import torch

from sparring.committee import Committee
from sparring.potentials import ACE, PaiNN, SchNet
from sparring.training.fitting import fit
from sparring.training.jobs import drawn_splits
from sparring.training.mixed import fit_mixed

ARCHITECTURES = [
    SchNet(n_features=4, n_filters=4, n_interactions=1, n_gaussians=4, cutoff=3.0),
    PaiNN(n_features=3, n_interactions=1, cutoff=3.0),
]
FEW = {"n_epochs": 2, "batch_size": 5}


@pytest.fixture
def data(ammonia, rattled, with_random_labels):
    return with_random_labels(rattled(ammonia, 15))


def test_members_are_dealt_out_and_each_is_that_of_a_fit_with_its_own_splits(data):
    done = []
    committee, report = fit_mixed(
        ARCHITECTURES, data, n_members=5, seed=3, progress=lambda k, n: done.append((k, n)), **FEW
    )
    assert [type(member) for member in committee.members] == [SchNet] * 3 + [PaiNN] * 2
    assert report.train_loss.shape == report.learning_rate.shape == (2, 5)
    assert report.best_epoch.shape == (5,)
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert committee.domain is not None
    assert committee.domain.elements == (1, 7)
    splits = drawn_splits(data, 5, 3)
    again, _ = fit_mixed(ARCHITECTURES, data, splits=splits, seed=3, **FEW)
    assert again.state()[1] == committee.state()[1]
    assert splits.of_members(slice(3, 5)).train == splits.train[3:]


@pytest.mark.parametrize(
    "options", [{"bootstrap": True}, {"prior_scale": 0.5}, {"bootstrap": True, "prior_scale": 1.0}]
)
def test_options_of_fit_hold_for_members_of_all_architectures(data, options):
    plain, other = (fit_mixed(ARCHITECTURES, data, n_members=4, seed=1, **FEW, **o)[0] for o in ({}, options))
    again = Committee.from_state(*other.state())
    one, two, without = (c.predict(data.structures, differentiable=False).forces for c in (other, again, plain))
    assert (one == two).all()
    assert one.shape == (4, data.structures.n_atoms, 3)
    assert ((one - without).abs().amax((1, 2)) > 1e-6).all()


def test_a_committee_of_two_architectures_of_one_kind_is_not_mixed_up(data):
    sizes = [ACE(n_features=2, cutoff=3.0), ACE(n_features=3, cutoff=3.0)]
    committee, _ = fit_mixed(sizes, data, n_members=4, seed=1, dtype=torch.float64, **FEW)
    apart = Committee(committee.members, stacked=False).predict(data.structures)
    torch.testing.assert_close(committee.predict(data.structures).forces, apart.forces, rtol=1e-9, atol=1e-9)


def test_there_must_be_a_member_for_each_architecture(data):
    message = "each architecture needs a member, got 2 architectures for 1 members; raise n_members"
    with pytest.raises(ValueError, match=message):
        fit_mixed(ARCHITECTURES, data, n_members=1, seed=1, **FEW)
    with pytest.raises(ValueError, match="each architecture needs a member, got 0 architectures"):
        fit_mixed([], data, n_members=2, seed=1, **FEW)


def test_bootstrap_samples_make_members_of_one_split_differ(data):
    shared = drawn_splits(data, 1, 0)
    splits = type(shared)(test=shared.test, train=shared.train * 2, validation=shared.validation * 2)
    start = fit(ARCHITECTURES[0], data, seed=0, n_members=2, **FEW)[0].members[:1]
    members = fit(start[0], data, splits=splits, start_from=start, bootstrap=True, seed=0, **FEW)[0].members
    assert any((a != b).any() for a, b in zip(members[0].parameters(), members[1].parameters(), strict=True))
