import numpy as np
import pytest
import torch
from ase import Atoms

from sparring.atoms.structures import Structures
from sparring.candidates import Candidates
from sparring.committee import Committee
from sparring.evaluation import last_layer_features
from sparring.potentials.base import N_ELEMENTS
from sparring.potentials.heads.head import Head
from sparring.selection import LCMD, MaxDet, Selector, select


def first_coordinates(structures):
    """Features that tests choose: the coordinates of single atoms."""
    return structures.positions


def points(rows, *, score=None, sigma=None):
    n = len(rows)
    return Candidates(
        structures=Structures.from_atoms([Atoms("X", [row]) for row in rows]),
        score=np.zeros(n) if score is None else np.array(score, dtype=float),
        energy=np.zeros(n),
        energy_variance=np.zeros(n),
        force_variance=np.ones(n) if sigma is None else np.square(np.array(sigma, dtype=float)),
    )


def kept(selector, candidates):
    return selector(candidates).tolist()


ORTHOGONAL = [[1, 0, 0], [0.99, 0, 0], [0, 0.9, 0], [0.05, 0, 0.8], [0, 0.7, 0]]


def test_orthogonal_features_are_kept_before_parallel_ones_that_are_longer():
    candidates = points(ORTHOGONAL)
    assert kept(MaxDet(n=1, features=first_coordinates), candidates) == [0]
    assert kept(MaxDet(n=2, features=first_coordinates), candidates) == [0, 2]
    assert kept(MaxDet(n=3, features=first_coordinates), candidates) == [0, 2, 3]


def test_uncertainty_scales_the_vectors_unless_diversity_counts_alone():
    candidates = points([[1, 0, 0], [0, 0.9, 0], [0, 0, 0.5]], sigma=[1, 1, 4])
    assert kept(MaxDet(n=1, features=first_coordinates), candidates) == [2]
    assert kept(MaxDet(n=1, features=first_coordinates, scaled=False), candidates) == [0]


def test_the_next_candidate_is_the_one_that_makes_the_largest_determinant():
    rows = np.random.default_rng(0).normal(size=(12, 3))
    sigma = np.random.default_rng(1).uniform(0.5, 2, size=12)
    scaled = rows * sigma[:, None]
    chosen = set(kept(MaxDet(n=2, features=first_coordinates), points(rows, sigma=sigma)))
    third = set(kept(MaxDet(n=3, features=first_coordinates), points(rows, sigma=sigma))) - chosen

    def determinant(one):
        vectors = scaled[[*sorted(chosen), one]]
        return np.linalg.det(vectors @ vectors.T)

    assert third == {max(set(range(12)) - chosen, key=determinant)}


def test_once_vectors_depend_on_each_other_the_highest_scores_follow():
    candidates = points([[1, 0, 0], [2, 0, 0], [0.5, 0, 0], [1.5, 0, 0]], score=[-3, -9, -1, -2])
    assert kept(MaxDet(n=3, features=first_coordinates), candidates) == [1, 2, 3]


CLUSTERS = [[0, 0, 0], [0.1, 0, 0], [0, 0.2, 0], [5, 0, 0], [5.3, 0, 0], [5, 0.1, 0], [0, 9, 0]]


def test_each_cluster_has_one_that_is_kept():
    for first in range(7):
        score = np.eye(7)[first]
        found = kept(LCMD(n=3, features=first_coordinates), points(CLUSTERS, score=score))
        assert first in found
        assert sorted({0: 0, 1: 0, 2: 0, 3: 1, 4: 1, 5: 1, 6: 2}[one] for one in found) == [0, 1, 2]


def test_of_the_largest_cluster_the_farthest_is_next():
    # Sizes about the two centres: 4 * 1.0² = 4 at the origin, and 1.8² = 3.24 at (20, 0, 0), whose one is farther away.
    rows = [[1, 0, 0], [-1, 0, 0], [0, 1.01, 0], [0, -1, 0], [20, 1.8, 0]]
    training = Structures.from_atoms([Atoms("X", [[0, 0, 0]]), Atoms("X", [[20, 0, 0]])])
    assert kept(LCMD(n=1, features=first_coordinates, training=training), points(rows)) == [2]


def test_candidates_near_training_structures_are_left_out():
    training = Structures.from_atoms([Atoms("X", [[0, 0, 0]]), Atoms("X", [[5, 0, 0]])])
    candidates = points(CLUSTERS, score=[1, 0, 0, 0, 0, 0, 0])
    assert kept(LCMD(n=1, features=first_coordinates, training=training), candidates) == [6]
    assert kept(LCMD(n=2, features=first_coordinates, training=training), candidates) == [4, 6]


def slow_lcmd(rows, centres, n):
    """The algorithm of the paper in its plainest form."""
    chosen, centres = [], list(centres)
    for _ in range(n):
        squares = np.array([[np.sum((row - centre) ** 2) for centre in centres] for row in rows])
        owner = squares.argmin(1)
        sizes = [sum(squares[k, c] for k in range(len(rows)) if owner[k] == c) for c in range(len(centres))]
        members = [k for k in range(len(rows)) if owner[k] == int(np.argmax(sizes))]
        best = max(members, key=lambda k: squares[k].min())
        chosen.append(best)
        centres.append(rows[best])
    return sorted(chosen)


def test_the_clusters_are_those_of_the_paper():
    generator = np.random.default_rng(3)
    rows, known = generator.normal(size=(30, 3)), generator.normal(size=(4, 3))
    training = Structures.from_atoms([Atoms("X", [row]) for row in known])
    found = kept(LCMD(n=9, features=first_coordinates, training=training), points(rows))
    assert found == slow_lcmd(rows, known, 9)


@pytest.mark.parametrize("selector", [MaxDet(n=5, features=first_coordinates), LCMD(n=5, features=first_coordinates)])
def test_a_selector_of_diversity_keeps_ascending_indices_and_no_more_than_there_are(selector):
    assert isinstance(selector, Selector)
    assert kept(selector, points(CLUSTERS)) == sorted(set(kept(selector, points(CLUSTERS))))
    assert len(kept(selector, points(CLUSTERS))) == 5
    assert kept(selector, points(CLUSTERS[:2])) == [0, 1]
    assert kept(selector, points([[1, 1, 1]] * 7)) == sorted(kept(selector, points([[1, 1, 1]] * 7)))
    assert select(points(CLUSTERS), selector).steps[-1].n_out == 5


@pytest.mark.parametrize("kind", [MaxDet, LCMD])
def test_the_order_of_candidates_does_not_matter(kind):
    rows = np.random.default_rng(2).normal(size=(20, 3))
    order, score = np.random.default_rng(5).permutation(20), np.arange(20.0)
    one = kept(kind(n=6, features=first_coordinates), points(rows, score=score))
    other = kept(kind(n=6, features=first_coordinates), points(rows[order], score=score[order]))
    assert sorted(order[other]) == one


def in_parts(source, **values):
    rows = np.random.default_rng(4).normal(size=(len(source), 3))
    return points(rows, **values)._replace(source=tuple(source))


@pytest.mark.parametrize("kind", [MaxDet, LCMD])
def test_the_parts_of_a_portfolio_have_their_shares_of_a_batch(kind):
    candidates = in_parts("a" * 10 + "b" * 10 + "c" * 2)

    def numbers(n, **shares):
        found = kept(kind(n=n, features=first_coordinates, shares=shares), candidates)
        assert found == sorted(set(found))
        return {part: sum(candidates.source[k] == part for k in found) for part in shares}

    assert numbers(5, a=3.0, b=1.0, c=1.0) == {"a": 3, "b": 1, "c": 1}
    assert numbers(5, a=1.0, b=3.0, c=1.0) == {"a": 1, "b": 3, "c": 1}
    assert numbers(12, a=1.0, b=1.0, c=10.0) == {"a": 5, "b": 5, "c": 2}  # the third has no more
    with pytest.raises(ValueError, match=r"needs one for each part, and has none for \['c'\]"):
        numbers(5, a=1.0, b=1.0)


@pytest.mark.parametrize("kind", [MaxDet, LCMD])
def test_shares_of_all_candidates_change_nothing(kind):
    candidates = in_parts("a" * 20)
    alone = kept(kind(n=6, features=first_coordinates), candidates)
    assert kept(kind(n=6, features=first_coordinates, shares={"a": 0.3, "b": 0.7}), candidates) == alone


def test_candidates_of_one_part_are_unlike_those_of_the_others():
    candidates = points([[1, 0, 0], [0.9, 0, 0], [0, 0.1, 0]])._replace(source=("a", "b", "b"))
    assert kept(MaxDet(n=2, features=first_coordinates, shares={"a": 1.0, "b": 1.0}), candidates) == [0, 2]


def test_an_unconditional_candidate_counts_as_the_most_uncertain_one():
    rows, sigma = [[1, 0, 0], [0, 1, 0], [0, 0, 1.1]], [3, 2, 0.0]
    certain = points(rows, sigma=sigma)
    assert kept(MaxDet(n=2, features=first_coordinates), certain) == [0, 1]
    hole = certain._replace(unconditional=np.array([False, False, True]))
    assert kept(MaxDet(n=2, features=first_coordinates), hole) == [0, 2]
    assert kept(MaxDet(n=1, features=first_coordinates), hole) == [2]


@pytest.mark.parametrize("kind", [MaxDet, LCMD])
def test_a_batch_of_none_is_an_error(kind):
    with pytest.raises(ValueError, match="a batch must have at least one candidate, got n=0"):
        kind(n=0, features=first_coordinates)


# --- features -------------------------------------------------------------------------------------------------------


def test_inner_products_of_features_are_the_mean_of_those_of_the_members(committee, ammonia, water, rattled):
    structures = Structures.from_atoms([*rattled(ammonia, 2), *rattled(water, 1)])
    members = committee()
    features = last_layer_features(members, structures)
    apart = [last_layer_features(Committee([member]), structures) for member in members.members]
    torch.testing.assert_close(features @ features.T, sum(one @ one.T for one in apart) / 3)
    assert features.shape == (3, 3 * 8)
    assert features.dtype == torch.float64


def test_features_do_not_notice_what_is_evaluated_with_them(committee, ammonia, rattled):
    structures = Structures.from_atoms(rattled(ammonia, 300))  # more atoms than are evaluated at a time
    features = last_layer_features(committee(), structures)
    torch.testing.assert_close(features[[7, 299]], last_layer_features(committee(), structures.take([7, 299])))


def test_turned_molecules_have_the_same_features(committee, water):
    turned = water.copy()
    turned.rotate(40, (1, 2, 3))
    features = last_layer_features(committee(), Structures.from_atoms([water, turned]))
    torch.testing.assert_close(features[0], features[1])


def test_members_of_one_backbone_have_its_features_once(schnet, water):
    backbone = schnet()
    weights = torch.eye(8, dtype=torch.float64)
    heads = [Head.of(backbone, weights[k], torch.zeros(N_ELEMENTS, dtype=torch.float64)) for k in range(3)]
    structures = Structures.from_atoms([water])
    torch.testing.assert_close(
        last_layer_features(Committee(heads), structures), last_layer_features(Committee([backbone]), structures)
    )


def test_the_last_layer_of_the_network_of_a_well_is_linear_in_its_features(mlp, particle):
    network = mlp()
    structures = Structures.from_atoms([particle(x) for x in (0.0, 0.7, -1.3)])
    energy, features = network.energy_and_features(structures)
    last = network.layers[-1]
    torch.testing.assert_close(energy, (features @ last.weight.T + last.bias).squeeze(1))
    torch.testing.assert_close(energy, network(structures))


def test_a_potential_without_features_is_an_error(water):
    def without(structures):
        return structures.positions.square().sum(1).new_zeros(structures.n_structures)

    with pytest.raises(ValueError, match="without has no features of atoms, by which max_det and lcmd compare"):
        last_layer_features(Committee([without, without]), Structures.from_atoms([water]))
