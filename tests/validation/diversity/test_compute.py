import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.inputs.extxyz import write_structures
from sparring.units import KCAL, KCAL_PER_MOL
from sparring.validation.diversity import compute as module
from sparring.validation.diversity.compute import Diversity, diversity, gather
from sparring.validation.diversity.embedding import distance_to_nearest, nearest, soap, umap_embedding
from sparring.validation.diversity.table import diversity_table
from sparring.validation.records import read_record, write_record

pytestmark = pytest.mark.skipif(
    find_spec("dscribe") is None or find_spec("umap") is None, reason="needs the extra `maps`: DScribe and umap-learn"
)


def labelled(atoms, energy=0.0, **info):
    one = atoms.copy()
    one.info |= {ENERGY: energy, **info}
    one.arrays[FORCES] = np.zeros((len(one), 3))
    return one


def turned(atoms, seed=0):
    """Moved, rotated, and its like atoms exchanged."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(atoms))
    one = atoms[order]
    one.rotate(float(generator.uniform(20, 300)), generator.normal(size=3))
    one.translate(generator.normal(size=3))
    return one


@pytest.fixture
def chiral():
    return molecule("CH3CHO", positions=np.random.default_rng(0).normal(size=(7, 3)))


@pytest.fixture
def flat(monkeypatch):
    """Instead of a map, which takes seconds to compile in every process, any two numbers."""
    monkeypatch.setattr(module, "umap_embedding", lambda vectors, *, seed, n_neighbors: (vectors[:, :2], n_neighbors))


# --- SOAP -----------------------------------------------------------------------------------------------------------


def test_soap_is_blind_to_rotation_translation_reflection_and_exchange(chiral):
    mirrored = chiral.copy()
    mirrored.positions[:, 0] *= -1
    stretched = chiral.copy()
    stretched.positions *= 1.02
    vectors = soap([chiral, turned(chiral), mirrored, stretched])
    scale = np.abs(vectors).max()
    np.testing.assert_allclose(vectors[1:3], vectors[[0, 0]], atol=1e-9 * scale)
    assert np.abs(vectors[3] - vectors[0]).max() > 1e-3 * scale


def test_soap_has_the_papers_five_radial_functions_and_seven_degrees(ammonia):
    assert soap([ammonia]).shape == (1, (2 * 5) * (2 * 5 + 1) // 2 * (6 + 1))


def test_sites_are_averaged_before_magnetic_quantum_numbers_are_summed():
    # The neighbourhoods of the two atoms of N2 are each other's inversion, so that odd degrees cancel in their mean.
    by_degree = soap([molecule("N2")]).reshape(7, 5 * (5 + 1) // 2)
    assert np.abs(by_degree[1::2]).max() < 1e-9 * np.abs(by_degree).max()
    assert np.abs(by_degree[2]).max() > 1e-2 * np.abs(by_degree).max()


def test_soap_of_a_crystal_does_not_depend_on_how_its_cell_is_drawn(salt):
    shifted = salt.copy()
    shifted.translate([1.3, 0.4, 2.2])
    shifted.wrap()
    alone = salt.copy()
    alone.pbc = False
    vectors = soap([salt, shifted, salt * (1, 1, 2), alone])
    np.testing.assert_allclose(vectors[1:3], vectors[[0, 0]], rtol=0, atol=1e-9 * np.abs(vectors).max())
    assert np.abs(vectors[3] - vectors[0]).max() > 0.1 * np.abs(vectors).max()


def test_a_slab_without_a_third_lattice_vector_can_be_described():
    slab = fcc111("Cu", (2, 2, 2), a=3.6)
    assert not slab.cell[2].any()
    tall = slab.copy()
    tall.cell[2] = [0.0, 0.0, 30.0]
    first, second = soap([slab, tall])
    np.testing.assert_allclose(first, second, rtol=1e-9)


# --- neighbours and the map -----------------------------------------------------------------------------------------


def test_nearest_neighbours_are_those_of_a_tree():
    vectors = np.random.default_rng(0).normal(size=(1100, 3))  # more than are compared at once
    expected, indices = KDTree(vectors).query(vectors, k=4)
    who, how_far = nearest(vectors, 4)
    np.testing.assert_array_equal(who, indices)
    np.testing.assert_allclose(how_far, expected, atol=1e-12)
    np.testing.assert_allclose(
        distance_to_nearest(vectors[100:], vectors[:100]), KDTree(vectors[:100]).query(vectors[100:])[0]
    )


def test_a_structure_is_its_own_nearest_neighbour_also_among_its_copies():
    who, how_far = nearest(np.zeros((3, 2)), 2)
    assert who[:, 0].tolist() == [0, 1, 2]
    assert not how_far.any()


@pytest.fixture(scope="session")
def maps():
    """Two kinds of ammonia, 15 and 10, and copies of the first: mapped once, because UMAP compiles for seconds."""
    pyramid = molecule("NH3")
    stretched = pyramid.copy()
    stretched.positions[1:] *= 1.35
    structures = [one for kind, n in ((pyramid, 15), (stretched, 10)) for one in [kind.copy() for _ in range(n)]]
    for index, one in enumerate(structures):
        one.rattle(0.02, seed=index)
    structures += [structures[0].copy(), turned(structures[0])]
    vectors = soap(structures)
    return {
        "places": umap_embedding(vectors, seed=3),
        "again": umap_embedding(vectors, seed=3),
        "others": umap_embedding(vectors, seed=4),
        "few": umap_embedding(vectors[[0, 1, 2, 3, 0]], seed=3),
        "many": diversity([labelled(one, float(index)) for index, one in enumerate(structures)], seed=3),
    }


def test_the_same_seed_gives_the_same_map_to_the_bit(maps):
    np.testing.assert_array_equal(maps["places"][0], maps["again"][0])
    np.testing.assert_array_equal(maps["places"][0], maps["many"].map)
    assert not np.array_equal(maps["places"][0], maps["others"][0])


@pytest.mark.parametrize("which", ["places", "others"])
def test_kinds_that_differ_are_islands_of_their_own(maps, which):
    mapped, n_neighbors = maps[which]
    first, second = mapped[:15], mapped[15:25]
    assert n_neighbors == 15
    assert cdist(first, second).min() > 2 * max(
        KDTree(kind).query(kind, k=2)[0][:, 1].max() for kind in (first, second)
    )


def test_equal_structures_share_a_place_also_after_a_rotation(maps):
    mapped, _ = maps["places"]
    np.testing.assert_array_equal(mapped[25:], mapped[[0, 0]])
    assert len(np.unique(mapped, axis=0)) == 25


def test_few_structures_are_mapped_over_fewer_neighbours(maps):
    mapped, n_neighbors = maps["few"]
    assert n_neighbors == 3
    assert np.isfinite(mapped).all()


def test_what_cannot_be_mapped_is_said(ammonia, rattled):
    vectors = soap([*rattled(ammonia, 3), ammonia, turned(ammonia)])
    with pytest.raises(ValueError, match=r"at least 4 different structures, got 3 \(of 4\)"):
        umap_embedding(vectors[[0, 1, 3, 4]], seed=0)
    with pytest.raises(ValueError, match="needs n_neighbors >= 2, the structure itself included, got 1"):
        umap_embedding(vectors, seed=0, n_neighbors=1)


# --- RMSD and energy ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("flat")
def test_a_moved_and_renumbered_copy_of_the_ground_state_has_rmsd_zero(ammonia):
    inverted = ammonia.copy()
    inverted.positions[:, 2] *= -1
    result = diversity([labelled(one, 0.1 * i) for i, one in enumerate((ammonia, turned(ammonia), inverted))], seed=0)
    np.testing.assert_allclose(result.rmsd, 0.0, atol=1e-7)


@pytest.mark.usefixtures("flat")
def test_the_rmsd_of_a_stretched_bond_is_half_of_the_stretch():
    bonds = (1.1, 1.3, 1.8)
    structures = [labelled(Atoms("N2", [[0, 0, 0], [0, bond, 0]]), bond) for bond in bonds]
    np.testing.assert_allclose(diversity(structures, seed=0).rmsd, [0.0, 0.1, 0.35], atol=1e-12)
    given = Atoms("N2", [[0, 0, 0], [1.2, 0, 0]])
    np.testing.assert_allclose(diversity(structures, seed=0, reference=given).rmsd, [0.05, 0.05, 0.3], atol=1e-12)


@pytest.mark.usefixtures("flat")
def test_exchanged_atoms_and_mirror_images_count_as_asked_for(chiral):
    mirrored = chiral.copy()
    mirrored.positions[:, 0] *= -1
    structures = [labelled(chiral, 0.0), labelled(turned(chiral), 1.0), labelled(turned(mirrored), 1.0)]
    np.testing.assert_allclose(diversity(structures, seed=0).rmsd[1], 0.0, atol=1e-7)
    assert diversity(structures, seed=0).rmsd[2] > 0.1
    assert diversity(structures, seed=0, permute=False).rmsd[1] > 0.1
    np.testing.assert_allclose(diversity(structures, seed=0, reflect=True).rmsd, 0.0, atol=1e-7)


@pytest.mark.usefixtures("flat")
def test_the_rmsd_of_a_crystal_is_that_of_its_displacements(salt):
    crystal = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    displacements = np.random.default_rng(0).normal(scale=0.1, size=(8, 3))
    displacements -= displacements.mean(axis=0)
    moved, strained = crystal.copy(), crystal.copy()
    moved.positions += displacements + np.array([0.4, -2.8, 11.0])  # half of the cell in y
    moved.wrap()
    strained.set_cell(1.03 * crystal.cell, scale_atoms=True)
    structures = [labelled(one, energy) for energy, one in enumerate((crystal, moved, strained))]
    expected = [0.0, np.sqrt((displacements**2).sum(axis=1).mean()), 0.0]
    np.testing.assert_allclose(diversity(structures, seed=0).rmsd, expected, atol=1e-12)


@pytest.mark.usefixtures("flat")
def test_energies_are_above_the_lowest_label_of_the_composition_references_included(ammonia, water):
    structures = [labelled(ammonia, -5.0), labelled(water, -2.0), labelled(ammonia, -4.0), labelled(water, -1.5)]
    np.testing.assert_allclose(diversity(structures, seed=0).energy, [0.0, 0.0, 1.0, 0.5])
    lower = diversity(structures, seed=0, reference=[labelled(water, -3.0), ammonia])
    np.testing.assert_allclose(lower.energy, [0.0, 1.0, 1.0, 1.5])


@pytest.mark.parametrize(
    ("structures", "options", "message"),
    [
        ([molecule("H2O")], {}, r"structure 0 \(OH2\) has no info\['REF_energy'\]; label it"),
        ([labelled(Atoms("X"))], {}, "structure 0 has the dummy atom X of a toy well"),
        (
            [labelled(molecule("H2O"))],
            {"reference": molecule("NH3")},
            "reference H3N is of none .* wanted one each of H2O",
        ),
        ([labelled(molecule("H2O"))], {"reference": 2 * [molecule("H2O")]}, "reference H2O is the second of its"),
    ],
)
def test_structures_that_do_not_fit_are_named(structures, options, message):
    with pytest.raises(ValueError, match=message):
        diversity(structures, seed=0, **options)


# --- novelty --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("flat")
def test_novelty_is_the_distance_to_the_training_set_before(ammonia, rattled):
    generation = np.array([2, 1, 1, 3, 1, 2, 0])
    structures = [labelled(one, 0.0, generation=int(g)) for one, g in zip(rattled(ammonia, 7), generation, strict=True)]
    result = diversity(structures, seed=0)
    apart = cdist(*2 * [soap(structures)])
    known = {2: [1, 2, 4], 3: [0, 1, 2, 4, 5]}
    expected = [apart[row, known[g]].min() if g > 1 else np.nan for row, g in enumerate(generation)]
    np.testing.assert_allclose(result.novelty, expected)
    inside = {g: np.median([sorted(apart[row, rows])[1] for row in rows]) for g, rows in known.items()}
    np.testing.assert_allclose(result.spacing, [inside.get(g, np.nan) for g in generation])


@pytest.mark.usefixtures("flat")
def test_structures_are_new_to_their_own_run_only(ammonia, rattled):
    first, second, third, fourth = rattled(ammonia, 4)
    structures = [
        labelled(first, generation=1, runs=["a", "b"]),
        labelled(second, generation=2, runs=["a"]),
        labelled(second, generation=3, runs=["b"]),
        labelled(third, generation=3, runs=["a"]),
        labelled(fourth, generation=2, runs=["c"]),
    ]
    apart = cdist(*2 * [soap(structures)])
    expected = [np.nan, apart[0, 1], apart[0, 2], min(apart[0, 3], apart[1, 3]), np.nan]
    np.testing.assert_allclose(diversity(structures, seed=0).novelty, expected)


@pytest.mark.usefixtures("flat")
def test_groups_are_named_by_source_generation_and_run_and_the_table_has_a_row_each(ammonia, rattled):
    facts = [("attack", 3), ("normal_mode", 1), ("attack", 2), ("normal_mode", 1), ("random", 2)]
    kinds = zip(rattled(ammonia, 5), facts, strict=True)
    structures = [
        labelled(
            one, KCAL_PER_MOL * i, source=source, generation=generation, runs=["a", "b"] if generation == 1 else ["a"]
        )
        for i, (one, (source, generation)) in enumerate(kinds)
    ]
    structures += [labelled(turned(ammonia), KCAL_PER_MOL, runs=["others"])]
    result = diversity(structures, seed=0)
    assert {name: rows.tolist() for name, rows in result.groups().items()} == {
        "others": [5],
        "a + b: normal mode, start": [1, 3],
        "a: attack, generation 1": [2],
        "a: random, generation 1": [4],
        "a: attack, generation 2": [0],
    }
    rows = diversity_table(result, KCAL).cells()
    assert [row[0] for row in rows] == list(result.groups())
    assert rows[1][1:3] == ("2", "2.00 (3.00)")
    assert rows[1][-2:] == ("-", "-")
    assert rows[2][-2:] == (f"{result.novelty[2]:.3g}", f"{result.novelty[2] / result.spacing[2]:.1f} ×")


def test_a_result_survives_its_file(maps, tmp_path):
    write_record(tmp_path / "diversity.json", maps["many"])
    back = read_record(tmp_path / "diversity.json", Diversity)
    np.testing.assert_array_equal(back.map, maps["many"].map)
    np.testing.assert_array_equal(back.novelty, maps["many"].novelty)
    assert (back.source, back.runs, back.n_neighbors, back.seed) == (("file",) * 27, ((),) * 27, 15, 3)


# --- where structures come from -------------------------------------------------------------------------------------


@pytest.fixture
def run_folder(ammonia, rattled, tmp_path):
    """A run of two generations that was killed after its second had labelled something."""

    def make(name, seed):
        start = [labelled(one, source="normal_mode", generation=1) for one in rattled(ammonia, 3)]
        found = [labelled(one, source="attack", generation=2) for one in rattled(ammonia, 2, seed=seed)]
        fresh = [labelled(one, source="attack") for one in rattled(ammonia, 2, seed=seed + 1)]
        folders = [tmp_path / name / f"generation-0{number}" for number in (1, 2)]
        for folder in folders:
            folder.mkdir(parents=True)
        write_structures(folders[0] / "dataset.extxyz", start)
        write_structures(folders[0] / "labelled.extxyz", found)
        write_structures(folders[1] / "dataset.extxyz", [*start, *found])
        write_structures(folders[1] / "labelled.extxyz", fresh)
        return tmp_path / name

    return make


def facts(structures):
    return [(one.info["source"], one.info["generation"], tuple(one.info["runs"])) for one in structures]


def test_a_run_gives_what_it_started_with_and_all_that_it_labelled(run_folder):
    found = gather([run_folder("a", 1)])
    start, first, second = (("normal_mode", 1, ("a",)), ("attack", 2, ("a",)), ("attack", 3, ("a",)))
    assert facts(found) == [start] * 3 + [first] * 2 + [second] * 2
    assert facts(gather([run_folder("b", 1) / "generation-01"])) == [("normal_mode", 1, ("generation-01",))] * 3


def test_what_runs_share_is_there_once(run_folder):
    found = gather([run_folder("a", 1), run_folder("b", 3)])
    assert [one for one in facts(found) if one[1] == 1] == [("normal_mode", 1, ("a", "b"))] * 3
    assert len(found) == 3 + 2 * 4


def test_files_may_have_names_of_their_own_and_equal_file_names_are_told_apart(ammonia, rattled, tmp_path):
    for name, seed in (("one", 0), ("two", 1)):
        (tmp_path / name).mkdir()
        frames = rattled(ammonia, 2, seed=seed)
        for index, one in enumerate(frames):
            one.info["dft_energy"] = float(index)
            one.arrays["dft_forces"] = np.zeros((4, 3))
        write_structures(tmp_path / name / "data.xyz", frames)
    paths = [tmp_path / name / "data.xyz" for name in ("one", "two")]
    found = gather(paths, energy_key="dft_energy", forces_key="dft_forces")
    assert facts(found) == [("file", 0, (str(path),)) for path in paths for _ in range(2)]
    assert [one.info[ENERGY] for one in found] == [0.0, 1.0, 0.0, 1.0]


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"has no generation-\*/dataset\.extxyz; give the folder of a `sparring run`"):
        gather([tmp_path])


# --- packages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "act"),
    [
        ("dscribe.descriptors", lambda: soap([molecule("H2O")])),
        ("umap", lambda: umap_embedding(np.random.default_rng(0).normal(size=(5, 3)), seed=0)),
    ],
)
def test_a_missing_package_is_named_with_the_remedy(monkeypatch, missing, act):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "sparring\[maps\]"'):
        act()


def test_packages_are_loaded_only_where_they_are_needed():
    packages = "{'umap', 'dscribe', 'numba', 'sklearn'}"
    program = f"import sys, sparring.validation.diversity.embedding; assert not {packages} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
