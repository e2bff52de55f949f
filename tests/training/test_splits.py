import itertools

import numpy as np
import pytest

from sparring.training.splits import Splits

GENERATIONS = (78, 98, 99, 138, 300)


@pytest.fixture(params=[False, True], ids=["per member", "shared"])
def shared(request):
    return request.param


def grown(shared):
    """The splits of every generation of a run."""
    splits = Splits.draw(GENERATIONS[0], n_members=3, seed=0, shared=shared)
    history = [splits]
    for generation, n_structures in enumerate(GENERATIONS[1:], start=1):
        history.append(history[-1].extend(n_structures, seed=generation, shared=shared))
    return history


def test_a_data_set_is_dealt_out_60_20_20(shared):
    splits = Splits.draw(78, n_members=5, seed=0, shared=shared)
    assert splits.n_members == 5
    assert splits.n_structures == 78
    assert len(splits.test) == 16
    assert {len(ids) for ids in splits.train} == {46}
    assert {len(ids) for ids in splits.validation} == {16}


def test_every_structure_has_one_place_with_every_member_in_every_generation(shared):
    for splits, n_structures in zip(grown(shared), GENERATIONS, strict=True):
        assert splits.n_structures == n_structures
        for train, validation in zip(splits.train, splits.validation, strict=True):
            assert sorted((*splits.test, *train, *validation)) == list(range(n_structures))


def test_a_structure_keeps_its_place_so_that_no_test_point_is_ever_learnt(shared):
    history = grown(shared)
    for before, after in itertools.pairwise(history):
        assert set(before.test) <= set(after.test)
        for member in range(3):
            assert set(before.train[member]) <= set(after.train[member])
            assert set(before.validation[member]) <= set(after.validation[member])
    ever_learnt = {index for splits in history for ids in (*splits.train, *splits.validation) for index in ids}
    assert not ever_learnt & set(history[-1].test)


def test_proportions_hold_as_the_data_set_grows(shared):
    for splits, n_structures in zip(grown(shared), GENERATIONS, strict=True):
        assert len(splits.test) == pytest.approx(0.2 * n_structures, abs=1)
        assert len(splits.validation[0]) == pytest.approx(0.2 * n_structures, abs=1)


def test_a_bootstrap_sample_is_as_large_as_the_training_set_and_has_two_thirds_of_it():
    splits = Splits.draw(400, n_members=3, seed=0, shared=True)
    sampled = splits.bootstrapped(5)
    assert (sampled.test, sampled.validation) == (splits.test, splits.validation)
    for drawn, ids in zip(sampled.train, splits.train, strict=True):
        assert len(drawn) == len(ids)
        assert set(drawn) <= set(ids)
        assert len(set(drawn)) == pytest.approx((1 - 1 / np.e) * len(ids), rel=0.1)
    assert len(set(sampled.train)) == 3
    assert splits.bootstrapped(5) == sampled
    assert splits.bootstrapped(6) != sampled


def test_members_divide_what_is_not_test_each_in_its_own_way_or_all_alike():
    own, alike = (Splits.draw(78, n_members=3, seed=0, shared=shared) for shared in (False, True))
    assert own.test == alike.test
    assert len(set(own.train)) == 3
    assert len(set(alike.train)) == len(set(alike.validation)) == 1


def test_what_is_not_test_is_for_fitting(shared):
    splits = Splits.draw(20, n_members=2, seed=0, shared=shared)
    assert set(splits.fit) == set(range(20)) - set(splits.test)


def test_the_same_seed_deals_the_same_hands_and_another_seed_others(shared):
    one, same, other = (Splits.draw(78, n_members=3, seed=seed, shared=shared) for seed in (0, 0, 1))
    assert one == same
    assert one.test != other.test


def test_other_proportions_can_be_asked_for():
    splits = Splits.draw(100, n_members=2, seed=0, fractions=(0.8, 0.1, 0.1))
    assert (len(splits.test), len(splits.train[0]), len(splits.validation[0])) == (10, 80, 10)


def test_three_structures_are_just_enough():
    splits = Splits.draw(3, n_members=2, seed=0)
    assert (len(splits.test), len(splits.train[0]), len(splits.validation[0])) == (1, 1, 1)


def test_a_data_set_of_one_point_is_an_error():
    with pytest.raises(
        ValueError, match="a data set of 1 cannot be divided into training, validation and test; label at"
    ):
        Splits.draw(1, n_members=5, seed=0)


@pytest.mark.parametrize("fractions", [(0.6, 0.2, 0.3), (0.8, 0.2, 0.0), (1.2, -0.1, -0.1)])
def test_fractions_that_are_no_parts_of_one_are_an_error(fractions):
    with pytest.raises(ValueError, match="fractions must be three positive parts of 1, got"):
        Splits.draw(78, n_members=2, seed=0, fractions=fractions)


def test_fractions_that_leave_nothing_to_learn_from_are_an_error():
    with pytest.raises(ValueError, match="leave nothing to train on in a data set of 3"):
        Splits.draw(3, n_members=2, seed=0, fractions=(0.01, 0.5, 0.49))


def test_a_committee_of_nobody_is_an_error():
    with pytest.raises(ValueError, match="at least one member, got n_members=0"):
        Splits.draw(78, n_members=0, seed=0)


# --- duplicates -----------------------------------------------------------------------------------------------------


def sides(splits, groups):
    """For each group, the places that its structures have: test, or training and validation of each member."""
    places = [["fit"] * splits.n_members for _ in groups]
    for index in splits.test:
        places[index] = ["test"] * splits.n_members
    for member, ids in enumerate(splits.validation):
        for index in ids:
            places[index][member] = "validation"
    return {
        group: {tuple(places[i]) for i in range(splits.n_structures) if groups[i] == group} for group in set(groups)
    }


@pytest.mark.parametrize(
    "groups",
    [
        [i % 20 for i in range(40)],  # every frame twice
        [*range(30), 3, 3, 3, 7, 9, 9],
        [*range(10), *[10] * 13],
        [0, 0, 1, 1, 2, 2],
        [0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 4, 5, 5, 5, 5],
    ],
    ids=["twice", "some", "one many times", "three pairs", "uneven"],
)
def test_duplicates_are_all_learnt_all_validated_or_all_tested(groups, shared):
    for seed in range(5):
        splits = Splits.draw(len(groups), n_members=4, seed=seed, shared=shared, groups=groups)
        assert all(len(places) == 1 for places in sides(splits, groups).values())
        assert len({len(ids) for ids in splits.train}) == len({len(ids) for ids in splits.validation}) == 1
        assert splits.test
        assert splits.train[0]
        assert splits.validation[0]


def test_half_of_a_file_that_has_every_frame_twice_is_dealt_out_60_20_20():
    splits = Splits.draw(40, n_members=3, seed=0, groups=[i % 20 for i in range(40)])
    assert (len(splits.test), len(splits.train[0]), len(splits.validation[0])) == (8, 24, 8)


def test_a_data_set_without_duplicates_is_dealt_out_as_before_duplicates_were_looked_for():
    splits = Splits.draw(12, n_members=2, seed=0, groups=np.arange(12)).extend(20, seed=1, groups=np.arange(20))
    assert splits == Splits(
        test=(2, 10, 15, 19),
        train=((0, 1, 5, 6, 7, 8, 9, 11, 12, 13, 17, 18), (0, 1, 3, 4, 5, 6, 8, 11, 13, 16, 17, 18)),
        validation=((3, 4, 14, 16), (7, 9, 12, 14)),
    )


def test_a_later_duplicate_follows_the_structure_that_has_a_place(shared):
    splits = Splits.draw(30, n_members=3, seed=0, shared=shared)
    tested, learnt = splits.test[0], splits.fit[0]
    groups = [*range(30), tested, learnt, *range(32, 60)]
    grown = splits.extend(60, seed=1, shared=shared, groups=groups)
    assert 30 in grown.test
    assert 31 in grown.fit
    assert len({len(ids) for ids in grown.train}) == len({len(ids) for ids in grown.validation}) == 1


def test_a_file_of_two_different_frames_is_not_enough_however_often_they_are_there():
    with pytest.raises(ValueError, match="a data set of 8 of which 2 differ cannot be divided"):
        Splits.draw(8, n_members=2, seed=0, groups=[0, 1] * 4)
