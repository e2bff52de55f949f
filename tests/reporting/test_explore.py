import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from sparring.inputs.extxyz import write_structures
from sparring.reporting import explore
from sparring.reporting.data import Origin, Run
from sparring.reporting.explore import explorer
from sparring.reporting.reading import read_run
from sparring.systems.registry import read_system
from sparring.units import KCAL_PER_MOL
from sparring.validation.base import Embedded
from sparring.validation.diversity.compute import Diversity


def values(found, name):
    return np.array(next(one["values"] for one in found["quantities"] if one["name"] == name), dtype=float)


def names(found):
    return [one["name"] for one in found["quantities"]]


def positions(one):
    return np.reshape(one["positions"], (-1, 3))


def frames_of(folder):
    """All labels of a made-up run, read without the report."""
    frames = list(read(folder / "generation-01" / "dataset.extxyz", ":"))
    for path in sorted(folder.glob("generation-*/labelled.extxyz")):
        frames += read(path, ":")
    return frames


def run_of(frames, newest=()):
    """A run that holds nothing but these structures."""
    for number, one in enumerate(frames):
        one.info = {"REF_energy": float(number), "source": "file", **one.info}
    lowest: dict[str, float] = {}
    for one in frames:
        formula = one.get_chemical_formula()
        lowest[formula] = min(lowest.get(formula, np.inf), one.info["REF_energy"])
    return Run(
        folder=Path("run"),
        name="run",
        system=read_system({"kind": "double_well_1d"}),
        strategy="",
        config="",
        n_planned=1,
        versions={},
        start=None,
        generations=(),
        lowest=lowest,
        origins=(Origin(generation=0, file="dataset.extxyz", frames=tuple(frames)),),
        newest=tuple(newest),
        newest_generation=1 if newest else None,
    )


@pytest.fixture
def molecules():
    """The same lopsided molecule, turned, shifted and a little shaken."""
    generator = np.random.default_rng(0)
    first = generator.normal(size=(5, 3))
    turns = Rotation.random(6, rng=1).as_matrix()
    return [
        Atoms("CHFClBr", positions=(first + 0.02 * generator.normal(size=(5, 3))) @ turn + generator.normal(size=3))
        for turn in turns
    ]


def test_every_labelled_structure_is_there_once_in_the_order_of_the_data(finished_run):
    found = explorer(read_run(finished_run))
    frames = frames_of(finished_run)
    assert found["total"] == len(found["structures"]) == len(frames) == 78
    energy = np.array([one.info["REF_energy"] for one in frames])
    assert np.allclose(values(found, "energy"), (energy - energy.min()) / KCAL_PER_MOL, rtol=1e-4)
    assert [one["number"] for one in found["structures"]] == list(range(78))


def test_where_a_structure_came_from_leads_back_to_it(finished_run):
    frames = frames_of(finished_run)
    for one, original in zip(explorer(read_run(finished_run))["structures"], frames, strict=True):
        own = read(finished_run / one["file"], one["frame"])
        assert np.array_equal(own.positions, original.positions)


def test_uncertainties_before_labelling_are_those_of_the_committee_that_chose(finished_run):
    found = explorer(read_run(finished_run))
    sigma = values(found, "sigma_before")
    assert np.isnan(sigma[:40]).all()  # nobody chose what the run started with
    expected = [np.sqrt(one.info["force_variance"]) for one in frames_of(finished_run)[40:]]
    assert np.allclose(sigma[40:], expected, rtol=1e-4)


def test_uncertainties_now_are_those_of_the_newest_committee(finished_run):
    found = explorer(read_run(finished_run))
    predicted = read(finished_run / "generation-03" / "predictions.extxyz", ":")
    assert np.allclose(
        values(found, "sigma_now"), [np.sqrt(one.info["force_variance"]) for one in predicted], rtol=1e-4
    )
    errors = [np.sqrt(np.mean((o.arrays["committee_forces"] - o.arrays["REF_forces"]) ** 2)) for o in predicted]
    assert np.allclose(values(found, "error_now"), errors, rtol=1e-4)
    assert found["committee"] == 3
    assert sum(one["split"] == "test" for one in found["structures"]) == 16


def with_atoms(folder, seed=1):
    """The files of a run with the uncertainty of each atom; gives the frames of the newest predictions."""
    generator = np.random.default_rng(seed)
    for name in ("labelled", "predictions"):
        for path in sorted(folder.glob(f"generation-*/{name}.extxyz")):
            frames = read(path, ":")
            for one in frames:
                one.arrays["atom_uncertainty"] = generator.lognormal(size=len(one))
            write(path, frames, format="extxyz")
    return frames


def test_atoms_have_their_uncertainty_and_the_error_of_their_force_by_the_newest_committee_and_before(made_up_run):
    folder = made_up_run()
    newest = with_atoms(folder)
    found = explorer(read_run(folder))
    assert [one["name"] for one in found["atomQuantities"]] == [
        "sigma_now",
        "error_now",
        "sigma_before",
        "error_before",
    ]
    assert found["atomQuantities"][0]["label"] == "uncertainty of committee 3"
    assert len(newest) == len(found["structures"])
    for atoms, one in zip(newest, found["structures"], strict=True):
        np.testing.assert_allclose(one["atoms"]["sigma_now"], atoms.arrays["atom_uncertainty"], rtol=5e-3)
        difference = atoms.arrays["committee_forces"] - atoms.arrays["REF_forces"]
        np.testing.assert_allclose(one["atoms"]["error_now"], np.sqrt((difference**2).mean(1)), rtol=5e-3)
        assert ("sigma_before" in one["atoms"]) == (one["parentNumber"] is not None or "labelled" in one["file"])
    json.dumps(found, allow_nan=False)


def test_a_run_without_the_uncertainty_of_atoms_shows_the_errors_of_their_forces(finished_run):
    found = explorer(read_run(finished_run))
    assert [one["name"] for one in found["atomQuantities"]] == ["error_now", "error_before"]
    assert all(set(one["atoms"]) <= {"error_now", "error_before"} for one in found["structures"])


def test_single_atoms_are_not_compared_with_each_other():
    well = [Atoms("X", positions=[[place, 0, 0]]) for place in range(3)]
    for one in well:
        one.arrays["atom_uncertainty"] = np.ones(1)
    assert explorer(run_of(well))["atomQuantities"] == []


def test_what_the_last_generation_labelled_is_there_before_anyone_has_learnt_from_it(made_up_run):
    folder = made_up_run()
    for path in (folder / "generation-03").iterdir():
        path.unlink()
    found = explorer(read_run(folder))
    assert found["total"] == 78
    assert np.isnan(values(found, "sigma_now")[-19:]).all()
    assert np.isfinite(values(found, "sigma_before")[-19:]).all()


def test_parents_are_structures_of_the_data_that_the_attack_began_with(made_up_run):
    folder = made_up_run()
    path = folder / "generation-02" / "labelled.extxyz"
    frames = read(path, ":")
    frames[3].info["parent"] = 45
    write(path, frames, format="extxyz")
    structures = explorer(read_run(folder))["structures"]
    assert structures[40 + 19 + 3]["parent"] == 45
    assert structures[45]["group"] == 1
    assert structures[0]["parentNumber"] is None


def test_geometries_are_laid_onto_each_other_without_a_change_of_shape(molecules):
    structures = explorer(run_of(molecules))["structures"]
    for one, original in zip(structures, molecules, strict=True):
        assert np.allclose(pdist(positions(one)), pdist(original.positions), atol=2e-3)
        assert np.abs(positions(one) - positions(structures[0])).max() < 0.15


def test_a_mirror_image_stays_one(molecules):
    mirrored = molecules[0].copy()
    mirrored.positions[:, 0] *= -1
    first, second = explorer(run_of([molecules[0], mirrored]))["structures"]

    def handedness(one):
        a, b, c = positions(one)[1:4] - positions(one)[0]
        return np.sign(a @ np.cross(b, c))

    assert handedness(first) == -handedness(second)
    assert handedness(first) == np.sign(np.linalg.det(molecules[0].positions[1:4] - molecules[0].positions[0]))


def test_the_first_atom_of_a_pyramid_is_above_it(ammonia):
    (one,) = explorer(run_of([ammonia]))["structures"]
    assert positions(one)[0, 2] > 0.1 > positions(one)[1:, 2].max()


@pytest.mark.parametrize("formula", ["H", "N2"])
def test_small_molecules_have_a_place_too(formula):
    atoms = Atoms(formula, positions=[[0.0, 0.0, 1.1 * place] for place in range(len(Atoms(formula)))])
    (one,) = explorer(run_of([atoms]))["structures"]
    assert np.allclose(pdist(positions(one)), pdist(atoms.positions))


def test_crystals_keep_their_cell_about_the_middle(salt):
    (one,) = explorer(run_of([salt]))["structures"]
    assert np.allclose(np.reshape(one["cell"], (3, 3)), salt.cell.array, atol=1e-3)
    assert np.allclose(positions(one) + salt.cell.array.sum(axis=0) / 2, salt.positions, atol=1e-3)


def test_wells_are_mapped_by_their_coordinates(made_up_run):
    found = explorer(read_run(made_up_run(system="double_well_2d", formulas=("X",), n_generations=1)))
    assert found["axes"] == ("x", "y")
    assert np.allclose(values(found, "x"), [one["positions"][0] for one in found["structures"]], atol=1e-3)


def test_energy_and_uncertainty_are_the_map_where_there_is_no_other(finished_run):
    assert explorer(read_run(finished_run))["axes"] == ("energy", "sigma_now")


def test_data_alone_can_be_explored(made_up_run):
    folder = made_up_run(n_generations=1)
    for name in ("training.csv", "predictions.extxyz", "metrics.json"):
        (folder / "generation-01" / name).unlink()
    found = explorer(read_run(folder))
    assert names(found) == ["energy", "labelled_in"]
    assert found["axes"] == ("energy", "labelled_in")


def test_a_run_without_labels_has_nothing_to_explore(made_up_run):
    assert explorer(read_run(made_up_run(n_generations=0))) is None


def test_a_map_finds_its_structures_in_whatever_order_it_has_them(made_up_run):
    run = read_run(made_up_run())
    frames = [atoms for origin in run.origins for atoms in origin.frames]
    order = np.random.default_rng(0).permutation(len(frames))[:-5]  # of five it knows nothing
    rows = np.arange(len(order), dtype=float)
    likeness = Diversity(
        map=np.column_stack([rows, -rows]),
        energy=rows,
        rmsd=rows,
        novelty=np.full(len(rows), np.nan),
        spacing=rows,
        source=("file",) * len(rows),
        generation=np.ones(len(rows), dtype=int),
        runs=((),) * len(rows),
        n_neighbors=15,
        seed=0,
    )
    found = explorer(run, Embedded(diversity=likeness, frames=[frames[place] for place in order]))
    assert found["axes"] == ("umap1", "umap2")
    assert np.allclose(values(found, "umap1")[order], rows)
    assert np.allclose(values(found, "umap2")[order], -rows)
    assert np.isnan(values(found, "rmsd")).sum() == 5
    assert "novelty" not in names(found)  # nothing is known of it


def test_more_atoms_than_a_page_can_carry_are_thinned_evenly_and_counted(finished_run):
    run = read_run(finished_run)
    found = explorer(run, max_atoms=4 * 26)
    assert found["total"] == 78
    assert [one["number"] for one in found["structures"]] == np.linspace(0, 77, 26).astype(int).tolist()
    assert all(len(one["values"]) == 26 for one in found["quantities"])


def test_the_parent_of_a_thinned_set_may_be_missing_but_keeps_its_number(made_up_run):
    folder = made_up_run()
    path = folder / "generation-02" / "labelled.extxyz"
    frames = read(path, ":")
    for one in frames:
        one.info["parent"] = 1
    write(path, frames, format="extxyz")
    last = explorer(read_run(folder), max_atoms=4 * 26)["structures"][-1]
    assert (last["parent"], last["parentNumber"]) == (None, 1)


def test_what_the_page_carries_is_json_without_nan(finished_run):
    text = json.dumps(explorer(read_run(finished_run)), allow_nan=False)
    assert json.loads(text)["total"] == 78


def test_only_what_spans_much_is_logarithmic(finished_run):
    found = explorer(read_run(finished_run))
    logarithmic = {one["name"]: one["logarithmic"] for one in found["quantities"]}
    assert not logarithmic["energy"]
    sigma = values(found, "sigma_before")
    assert logarithmic["sigma_before"] == (np.nanmax(sigma) > 20 * np.nanmin(sigma))


def test_members_that_agree_exactly_have_no_logarithm(made_up_run):
    folder = made_up_run(n_generations=1)
    path = folder / "generation-01" / "predictions.extxyz"
    frames = read(path, ":")
    for one in frames:
        one.info["force_variance"] = 0.0
    write(path, frames, format="extxyz")
    found = explorer(read_run(folder))
    assert [one["logarithmic"] for one in found["quantities"] if one["name"] == "sigma_now"] == [False]


def test_the_scripts_can_stand_in_a_page_and_call_nobody():
    code = explore.scripts()
    assert "</script" not in code.lower()
    assert "<!--" not in code
    addresses = [word for word in code.replace('"', " ").split() if "://" in word]
    assert addresses == ["http://www.w3.org/2000/svg"]  # a name, not an address
    assert not [word for word in ("fetch(", "XMLHttpRequest", "import ", "eval(", "innerHTML") if word in code]
    assert "url(" not in explore.style()


def test_structures_with_the_same_atoms_elsewhere_do_not_disturb_each_other(tmp_path, made_up_run):
    """Two labels of one geometry, say of two methods, keep what belongs to each."""
    folder = made_up_run(n_generations=1)
    path = folder / "generation-01" / "dataset.extxyz"
    frames = read(path, ":")
    twin = frames[0].copy()
    twin.info["REF_energy"] += 1.0
    twin.arrays["REF_forces"] = frames[0].arrays["REF_forces"]
    write_structures(path, [*frames, twin])
    found = explorer(read_run(folder))
    assert np.isfinite(values(found, "sigma_now")[0])
    assert np.isnan(values(found, "sigma_now")[-1])  # the committee was not asked about this label
