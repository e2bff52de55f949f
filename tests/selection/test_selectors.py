import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from sparring.atoms.structures import Structures
from sparring.selection import (
    Budget,
    Candidates,
    Distinct,
    EnergyWindow,
    Selector,
    UncertaintyAbove,
    select,
    threshold_from,
)


def points(x, *, score=None, energy=None, force_variance=None):
    """One atom X each, on a line."""
    return candidates_from([Atoms("X", [[one, 0, 0]]) for one in x], score, energy, force_variance)


def candidates_from(atoms, score=None, energy=None, force_variance=None):
    zeros = np.zeros(len(atoms))
    return Candidates(
        structures=Structures.from_atoms(atoms),
        score=zeros if score is None else np.array(score, dtype=float),
        energy=zeros if energy is None else np.array(energy, dtype=float),
        energy_variance=zeros,
        force_variance=zeros if force_variance is None else np.array(force_variance, dtype=float),
    )


def kept(selector, candidates):
    return selector(candidates).tolist()


@pytest.mark.parametrize(
    "selector",
    [
        UncertaintyAbove(threshold=0.5),
        EnergyWindow(above=0.0, window=1.0),
        Distinct(rmsd=0.1, align=False),
        Budget(n=2),
        Budget(n=2, order="random"),
    ],
)
def test_every_selector_keeps_ascending_indices_of_what_it_is_given(selector):
    generator = np.random.default_rng(0)
    candidates = points(
        generator.normal(size=20), score=generator.normal(size=20), force_variance=generator.uniform(size=20)
    )
    indices = selector(candidates)
    assert isinstance(selector, Selector)
    assert indices.tolist() == sorted(set(indices.tolist()))
    assert set(indices.tolist()) <= set(range(20))
    assert (selector(candidates) == indices).all()


def test_the_threshold_is_the_percentile_of_the_training_set():
    assert threshold_from(np.arange(101.0), percentile=80.0) == 80.0
    assert threshold_from(np.arange(101.0)) == 80.0


@pytest.mark.parametrize("percentile", [-1.0, 101.0])
def test_a_percentile_beyond_its_ends_is_an_error(percentile):
    with pytest.raises(ValueError, match=f"between 0 and 100, got {percentile:g}"):
        threshold_from(np.ones(3), percentile=percentile)


@pytest.mark.parametrize("variances", [[], [1.0, np.nan]])
def test_a_threshold_from_nothing_or_from_nan_is_an_error(variances):
    with pytest.raises(ValueError, match="needs finite variances of the training set"):
        threshold_from(np.array(variances, dtype=float))


def test_the_classifier_keeps_what_reaches_the_threshold():
    # Eq. 8: known only if the variance is below t, so the threshold itself is unknown ground.
    assert kept(UncertaintyAbove(threshold=2.0), points([0, 1, 2], force_variance=[1.9, 2.0, 2.1])) == [1, 2]


def test_the_energy_window_keeps_holes_and_drops_peaks():
    candidates = points([0, 1, 2, 3], energy=[-1000.0, -10.0, -9.0, -8.9])
    assert kept(EnergyWindow(above=-10.0, window=1.0), candidates) == [0, 1, 2]


def test_every_composition_has_its_own_energy_window():
    candidates = candidates_from([molecule("H2O"), molecule("NH3"), molecule("H2O")], energy=[-75.0, -55.0, -73.0])
    assert kept(EnergyWindow(above={"H2O": -76.0, "H3N": -56.0}, window=1.5), candidates) == [0, 1]


def test_a_composition_without_a_known_energy_is_an_error():
    with pytest.raises(ValueError, match="no lowest energy is known for H3N, only for H2O"):
        EnergyWindow(above={"H2O": -76.0}, window=1.0)(candidates_from([molecule("NH3")]))


def test_an_ion_has_a_window_of_its_own():
    # NH3+ lies 10 eV above NH3: measured from the neutral molecule all of it would be dropped.
    candidates = candidates_from([molecule("NH3")] * 3, energy=[-56.0, -46.0, -44.0])._replace(
        charge=np.array([0, 1, 1])
    )
    window = EnergyWindow(above={"H3N": -56.0, "H3N+1": -46.0}, window=1.5)
    assert kept(window, candidates) == [0, 1]
    assert kept(window, candidates.take(np.array([1, 2]))) == [0]
    with pytest.raises(ValueError, match=r"no lowest energy is known for H3N\+1, only for H3N"):
        EnergyWindow(above={"H3N": -56.0}, window=1.5)(candidates)


def test_a_window_of_no_width_is_an_error():
    with pytest.raises(ValueError, match="wider than zero, got 0 eV"):
        EnergyWindow(above=0.0, window=0.0)


def test_of_like_structures_the_highest_score_stays():
    candidates = points([0.0, 0.01, 1.0, 1.01, 5.0], score=[1, 2, 4, 3, 0])
    assert kept(Distinct(rmsd=0.02, align=False), candidates) == [1, 2, 4]


def test_of_equal_scores_the_first_stays():
    assert kept(Distinct(rmsd=0.02, align=False), points([1.0, 0.0, 0.001, 1.001])) == [0, 1]


def test_the_threshold_of_distinct_structures_is_inclusive():
    assert kept(Distinct(rmsd=0.25, align=False), points([0.0, 0.25])) == [0]
    assert kept(Distinct(rmsd=0.24, align=False), points([0.0, 0.25])) == [0, 1]


def test_linkage_decides_about_chains():
    # Neighbours 1 apart: the ends are 2 from each other, on average 1.5 from the pair that merges first.
    chain = points([0.0, 1.0, 2.0], score=[2, 1, 0])
    assert kept(Distinct(rmsd=1.2, align=False, linkage="single"), chain) == [0]
    assert kept(Distinct(rmsd=1.2, align=False), chain) == [0, 2]
    assert kept(Distinct(rmsd=1.5, align=False), chain) == [0]
    assert kept(Distinct(rmsd=1.9, align=False, linkage="complete"), chain) == [0, 2]


def test_a_turned_molecule_is_distinct_only_without_alignment():
    ammonia = molecule("NH3")
    turned = ammonia.copy()
    turned.rotate(50, (1, 1, 0))
    candidates = candidates_from([ammonia, turned])
    assert kept(Distinct(rmsd=0.01), candidates) == [0]
    assert kept(Distinct(rmsd=0.01, align=False), candidates) == [0, 1]


def test_exchanged_atoms_are_distinct_only_without_permutation():
    distorted = molecule("NH3")
    distorted.positions[1] *= 1.3
    exchanged = distorted[[0, 2, 1, 3]]
    renumbered = distorted[[3, 0, 1, 2]]
    candidates = candidates_from([distorted, exchanged, renumbered])
    assert kept(Distinct(rmsd=0.01), candidates) == [0, 1, 2]
    assert kept(Distinct(rmsd=0.01, permute=True), candidates) == [0]


def test_different_molecules_are_always_distinct():
    candidates = candidates_from(
        [molecule("H2O"), molecule("NH3"), molecule("H2O"), molecule("NH3")], score=[0, 0, 1, 1]
    )
    assert kept(Distinct(rmsd=100.0), candidates) == [2, 3]


def test_one_structure_is_distinct():
    assert kept(Distinct(rmsd=0.1), candidates_from([molecule("H2O")])) == [0]


def test_aligned_single_atoms_are_alike_and_end_no_run():
    # As in every data set with isolated atoms for reference energies.
    atoms = [Atoms("H"), molecule("H2O"), Atoms("O"), Atoms("H", [[2.0, 0, 0]])]
    for permute in (False, True):
        assert kept(Distinct(rmsd=0.1, permute=permute), candidates_from(atoms, score=[0, 0, 0, 1])) == [1, 2, 3]


def test_the_particle_of_a_well_is_where_it_is_also_when_structures_are_aligned():
    assert kept(Distinct(rmsd=0.1), points([0.0, 1.0, 1.05])) == [0, 1]


def test_equal_positions_in_another_cell_are_distinct_and_an_atom_through_the_wall_is_not():
    copper = bulk("Cu", cubic=True)
    other, through = copper.copy(), copper.copy()
    other.set_cell(copper.cell * 1.05)
    through.positions[0] += copper.cell[0]
    for align in (False, True):
        assert kept(Distinct(rmsd=0.05, align=align), candidates_from([copper, other, through])) == [0, 1]


@pytest.mark.parametrize(("options", "message"), [({"rmsd": -0.1}, "cannot be negative, got -0.1 Å")])
def test_a_distance_that_is_none_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        Distinct(**options)


def test_a_budget_pays_for_the_highest_scores_and_of_equal_ones_for_the_first():
    assert kept(Budget(n=2), points(range(4), score=[1, 3, 3, 3])) == [1, 2]
    assert kept(Budget(n=9), points(range(4), score=[1, 3, 3, 3])) == [0, 1, 2, 3]


def test_a_random_budget_depends_on_its_seed_and_not_on_scores():
    candidates = points(range(30), score=range(30))
    draws = [kept(Budget(n=5, order="random", seed=seed), candidates) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert draws[0] == kept(Budget(n=5, order="random", seed=0), points(range(30)))


def test_a_budget_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="at least one label, got 0"):
        Budget(n=0)


def test_selectors_work_one_after_the_other_and_count_what_they_drop():
    candidates = points(
        [0.0, 0.001, 1.0, 2.0, 3.0, 4.0],
        score=[1, 2, 3, 4, 5, 6],
        energy=[0, 0, 0, 0, 0, 9],
        force_variance=[5, 5, 0, 5, 5, 5],
    )
    selection = select(
        candidates,
        UncertaintyAbove(threshold=1.0),
        EnergyWindow(above=0.0, window=1.0),
        Distinct(rmsd=0.02, align=False),
        Budget(n=2),
    )
    assert selection.indices.tolist() == [3, 4]
    assert [tuple(step) for step in selection.steps] == [
        ("finite", 6, 6),
        ("uncertainty_above", 6, 5),
        ("energy_window", 5, 4),
        ("distinct", 4, 3),
        ("budget", 3, 2),
    ]
    assert [step.n_in - step.n_out for step in selection.steps] == [0, 1, 1, 1, 1]


def test_when_nothing_is_left_the_rest_of_the_selectors_have_nothing_to_do():
    selection = select(points([0.0, 1.0]), UncertaintyAbove(threshold=1.0), Distinct(rmsd=0.1), Budget(n=3))
    assert selection.indices.tolist() == []
    assert [(step.n_in, step.n_out) for step in selection.steps] == [(2, 2), (2, 0), (0, 0), (0, 0)]


def test_without_selectors_all_are_chosen():
    assert select(points([0.0, 1.0])).indices.tolist() == [0, 1]


def test_a_plain_function_is_a_selector():
    def every_other(candidates):
        return np.arange(0, len(candidates.score), 2)

    selection = select(points(range(5)), every_other)
    assert selection.indices.tolist() == [0, 2, 4]
    assert selection.steps[1].name == "every_other"


@pytest.mark.parametrize("wrong", [[1, 0], [0, 0], [0, 9], [-1, 0]])
def test_a_selector_that_makes_candidates_up_is_an_error(wrong):
    with pytest.raises(ValueError, match="must keep ascending indices below 3"):
        select(points(range(3)), lambda candidates: np.array(wrong))


def test_candidates_that_are_not_finite_are_left_out_and_counted():
    candidates = points([0.0, 1.0, 3.0], score=[0, np.nan, 1])
    selection = select(candidates, Budget(n=3))
    assert selection.indices.tolist() == [0, 2]
    assert selection.steps[0] == ("finite", 3, 2)


def test_scores_that_do_not_belong_to_the_structures_are_an_error():
    with pytest.raises(ValueError, match=r"one value for each of 2 structures, got \(3,\)"):
        select(points([0.0, 1.0])._replace(score=np.zeros(3)))


def test_of_no_candidates_none_are_chosen():
    candidates = points([0.0, 1.0]).take(np.array([], dtype=int))
    selection = select(candidates, UncertaintyAbove(threshold=1.0), Budget(n=3))
    assert selection.indices.tolist() == []
