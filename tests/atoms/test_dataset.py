import numpy as np
import pytest

from sparring.atoms.dataset import ENERGY, FORCES, Dataset


@pytest.fixture
def labelled(ammonia, water, salt):
    generator = np.random.default_rng(0)
    for index, one in enumerate(atoms := [ammonia, salt, water]):
        one.info.update({ENERGY: -1000.0 - index, "charge": index, "source": "file"})
        one.arrays[FORCES] = generator.normal(size=(len(one), 3))
    return atoms


def assert_same_labels(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert one == other
        assert one.info == other.info
        assert (one.arrays[FORCES] == other.arrays[FORCES]).all()


def test_labels_and_what_is_known_of_a_structure_survive_the_way_in_and_back(labelled):
    assert_same_labels(Dataset.from_atoms(labelled).to_atoms(), labelled)


def test_a_data_set_that_grows_keeps_the_old_in_front(labelled):
    both = Dataset.from_atoms(labelled[:1]) + Dataset.from_atoms(labelled[1:])
    assert len(both) == 3
    assert_same_labels(both.to_atoms(), labelled)


def test_labels_go_with_their_structures(labelled):
    taken = Dataset.from_atoms(labelled).take([2, 0, 2])
    assert_same_labels(taken.to_atoms(), [labelled[2], labelled[0], labelled[2]])


def test_nothing_can_be_taken(labelled):
    nothing = Dataset.from_atoms(labelled).take([])
    assert len(nothing) == 0
    assert nothing.to_atoms() == []


def test_the_caller_keeps_forces_of_his_own(labelled):
    dataset = Dataset.from_atoms(labelled)
    dataset.to_atoms()[0].arrays[FORCES][:] = 0.0
    assert_same_labels(dataset.to_atoms(), labelled)


def test_a_missing_energy_is_an_error(labelled):
    del labelled[1].info[ENERGY]
    with pytest.raises(ValueError, match=r"structure 1 \(ClNa\) has no energy: info\['REF_energy'\] is missing"):
        Dataset.from_atoms(labelled)


def test_a_structure_may_have_an_energy_without_forces(labelled):
    del labelled[2].arrays[FORCES]
    dataset = Dataset.from_atoms(labelled)
    assert dataset.has_forces.tolist() == [True, True, False]
    assert dataset.n_with_forces == 2
    assert (dataset.forces[-3:] == 0).all()
    assert_same_labels(dataset.take([1, 0]).to_atoms(), [labelled[1], labelled[0]])
    assert dataset.take([1, 0]).has_forces is None
    back = (dataset.take([2]) + dataset.take([0])).to_atoms()
    assert [FORCES in one.arrays for one in back] == [False, True]


def test_forces_of_another_shape_are_an_error(labelled):
    labelled[0].arrays[FORCES] = labelled[0].arrays[FORCES][:, :2]
    with pytest.raises(ValueError, match=r"REF_forces must be \(4, 3\), got \(4, 2\)"):
        Dataset.from_atoms(labelled)


@pytest.mark.parametrize("what", [ENERGY, FORCES])
def test_a_label_that_is_not_finite_is_an_error(labelled, what):
    if what == ENERGY:
        labelled[0].info[ENERGY] = float("nan")
    else:
        labelled[0].arrays[FORCES][1, 1] = np.inf
    with pytest.raises(ValueError, match=r"structure 0 \(H3N\) has an energy or forces that are not finite"):
        Dataset.from_atoms(labelled)
