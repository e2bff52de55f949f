"""Landscapes over (φ, ψ) of a run on alanine dipeptide: whose torsions, which grid, and what is computed only once."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sparring.assembly.labels import label_service_of
from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.committee_files import read_committee, write_committee
from sparring.config import dump, load, template_files
from sparring.inputs.extxyz import write_structures
from sparring.labels import LabelStore
from sparring.surfaces import torsion_maps
from sparring.surfaces.landscape import landscape
from sparring.surfaces.torsion_maps import evaluation, metrics, torsion_grid
from sparring.surfaces.torsion_plane import wrapped
from sparring.systems import alanine_dipeptide
from sparring.units import KCAL_PER_MOL
from sparring.validation.landscape.compute import landscapes, system_grid

pytest.importorskip("openmm")

FOUR, SIX = (4, 4), (2, 3)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    file = tmp_path_factory.mktemp("config") / "alanine_dipeptide.yaml"
    file.write_text(next(iter(template_files("alanine_dipeptide").values())), encoding="utf-8")
    return load(file)


@pytest.fixture
def label_service(config, tmp_path):
    return label_service_of(config, tmp_path)


@pytest.fixture
def dipeptides(rattled):
    """Some structures with labels; the first is the minimum."""
    frames = [alanine_dipeptide.geometry(), *rattled(alanine_dipeptide.geometry(), 5, stdev=0.05)]
    for number, one in enumerate(frames):
        one.info |= {ENERGY: -1.0 + 0.1 * number, "generation": 1 if number < 4 else 2}
        one.arrays[FORCES] = np.zeros((22, 3))
    return frames


@pytest.fixture
def run(tmp_path, config, committee, dipeptides):
    """A run of two generations, whose committees have learnt nothing."""
    folder = tmp_path / "run"
    for number, n in ((1, 4), (2, 6)):
        part = folder / f"generation-0{number}"
        part.mkdir(parents=True)
        write_structures(part / "dataset.extxyz", dipeptides[:n])
        write_committee(part, committee(2, cutoff=3.0 + number))
    write_structures(folder / "generation-01" / "labelled.extxyz", dipeptides[4:])
    (folder / "config.yaml").write_text(dump(config), encoding="utf-8")
    return folder


def test_the_plane_of_the_dipeptide_is_that_of_its_minimum():
    phi, psi = np.degrees(alanine_dipeptide.torsion_plane().values([alanine_dipeptide.geometry()])[0])
    assert (phi, psi) == (pytest.approx(-79.4, abs=0.1), pytest.approx(61.9, abs=0.1))


def test_other_systems_have_no_torsions(well_file):
    assert load(well_file()).system.build().torsions is None
    with pytest.raises(ValueError, match=r"a rigid and a relaxed grid \(--grid\) are those over two torsions"):
        system_grid(load(well_file()), [], which="relaxed")


def test_the_rigid_grid_is_the_minimum_with_only_its_torsions_turned(config):
    grid = system_grid(config, [], FOUR)
    reference = alanine_dipeptide.geometry()
    lengths = [reference.get_distance(*bond) for bond in alanine_dipeptide.BONDS]
    for atoms in grid.structures:
        np.testing.assert_allclose([atoms.get_distance(*bond) for bond in alanine_dipeptide.BONDS], lengths, atol=1e-9)
        wanted = [atoms.info["phi"], atoms.info["psi"]]
        np.testing.assert_allclose(
            wrapped(alanine_dipeptide.torsion_plane().values([atoms])[0] - wanted), 0.0, atol=1e-9
        )
    assert system_grid(config, []).index.shape == (24, 24)


def test_a_relaxed_grid_is_relaxed_once_and_kept_beside_the_labels(label_service, monkeypatch):
    rigid = torsion_grid(alanine_dipeptide.torsion_plane(), alanine_dipeptide.geometry(), label_service, points=SIX)
    relaxed = torsion_grid(
        alanine_dipeptide.torsion_plane(), alanine_dipeptide.geometry(), label_service, which="relaxed", points=SIX
    )
    (file,) = (label_service.store.folder / "relaxed-grids").iterdir()
    below = [
        label_service.labeller(one).energy <= label_service.labeller(other).energy
        for one, other in zip(relaxed.structures, rigid.structures, strict=True)
    ]
    assert all(below)
    wanted = np.array([[atoms.info["phi"], atoms.info["psi"]] for atoms in relaxed.structures])
    np.testing.assert_allclose(
        wrapped(alanine_dipeptide.torsion_plane().values(relaxed.structures) - wanted), 0.0, atol=1e-7
    )
    monkeypatch.setattr(torsion_maps, "relaxed_grid", None)
    again = torsion_grid(
        alanine_dipeptide.torsion_plane(), alanine_dipeptide.geometry(), label_service, which="relaxed", points=SIX
    )
    for one, other in zip(again.structures, relaxed.structures, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
    assert file.exists()
    with pytest.raises(TypeError):
        torsion_grid(
            alanine_dipeptide.torsion_plane(),
            alanine_dipeptide.geometry(),
            label_service,
            which="relaxed",
            points=(3, 4),
        )


def test_another_force_field_has_a_relaxed_grid_of_its_own(label_service, monkeypatch, config, tmp_path):
    torsion_grid(
        alanine_dipeptide.torsion_plane(), alanine_dipeptide.geometry(), label_service, which="relaxed", points=(2, 2)
    )
    amber = load(_written(config, tmp_path), overrides={"labels.labeller.forcefield": "amber14-all.xml"})
    other = replace(label_service_of(amber, tmp_path), store=LabelStore(label_service.store.folder))
    torsion_grid(alanine_dipeptide.torsion_plane(), alanine_dipeptide.geometry(), other, which="relaxed", points=(2, 2))
    assert len(list((label_service.store.folder / "relaxed-grids").iterdir())) == 2


def _written(config, folder):
    (folder / "config.yaml").write_text(dump(config), encoding="utf-8")
    return folder / "config.yaml"


def test_without_a_labeller_there_is_no_relaxed_grid():
    with pytest.raises(ValueError, match="a relaxed grid needs the labeller"):
        torsion_grid(
            alanine_dipeptide.torsion_plane(), alanine_dipeptide.geometry(), None, which="relaxed", points=FOUR
        )


def test_all_generations_of_a_run_share_a_grid_and_show_the_torsions_of_their_data(run, dipeptides):
    found = landscapes(run, points=FOUR)
    assert list(found.landscapes.committees) == ["generation 1", "generation 2"]
    first, second = found.landscapes.committees.values()
    assert (found.truth.n_computed, found.truth.failures) == (16, ())
    assert np.isfinite(found.truth.energy).all()  # also where atoms are on top of each other
    expected = alanine_dipeptide.torsion_plane().values(dipeptides)
    np.testing.assert_allclose(np.column_stack([first.marks["start"].x, first.marks["start"].y]), expected[:4])
    np.testing.assert_allclose(np.column_stack([first.marks["next"].x, first.marks["next"].y]), expected[4:], atol=1e-7)
    assert set(second.marks) == {"start", "earlier"}
    assert landscapes(run, points=FOUR).truth.n_reused == 16


def test_a_relaxed_survey_is_about_the_same_plane_and_lower(run):
    rigid, relaxed = (landscapes(run, points=(2, 4), which=which) for which in ("rigid", "relaxed"))
    assert (relaxed.truth.energy <= rigid.truth.energy + 1e-9).all()
    np.testing.assert_array_equal(relaxed.grid.x.values, rigid.grid.x.values)
    assert "start" in relaxed.landscapes.committees["generation 2"].marks


# --- what is asked of each generation -------------------------------------------------------------------------------


def test_each_generation_is_asked_for_errors_uncertainty_and_coverage(run, label_service, dipeptides):
    evaluate = evaluation(alanine_dipeptide.torsion_plane(), alanine_dipeptide.geometry(), label_service, points=FOUR)
    committee = read_committee(run / "generation-01")
    found = json.loads(json.dumps(evaluate(committee, Dataset.from_atoms(dipeptides))))
    grid = torsion_grid(alanine_dipeptide.torsion_plane(), alanine_dipeptide.geometry(), None, points=FOUR)
    truth = np.array([label_service.labeller(atoms).energy for atoms in grid.structures]).reshape(FOUR)
    mapped = landscape(committee, grid)
    predicted = mapped.energy + mapped.zero
    for cap in (20, 50, 100, 300):
        low = truth <= truth.min() + cap * KCAL_PER_MOL
        expected = np.sqrt(np.mean((predicted - truth)[low] ** 2))
        assert found["grid_rmse_below"][f"{cap} kcal/mol"] == pytest.approx(expected)
    low = truth <= truth.min() + 50 * KCAL_PER_MOL
    variance = found["grid_force_variance_below"]["50 kcal/mol"]
    assert variance == pytest.approx(np.mean(mapped.force_sigma[low] ** 2))
    places = {
        tuple(place)
        for place in ((alanine_dipeptide.torsion_plane().values(dipeptides) + np.pi) // (2 * np.pi / 24)).tolist()
    }
    assert found["coverage"] == pytest.approx(len(places) / 576)


def test_labels_of_the_grid_are_computed_once_for_all_generations(run, label_service, dipeptides):
    evaluate = evaluation(alanine_dipeptide.torsion_plane(), alanine_dipeptide.geometry(), label_service, points=FOUR)
    for number in (1, 2):
        evaluate(read_committee(run / f"generation-0{number}"), Dataset.from_atoms(dipeptides))
        assert len(label_service.store) == 16


def test_a_grid_without_truth_has_no_errors(run, dipeptides):
    mapped = landscape(
        read_committee(run / "generation-01"),
        torsion_grid(alanine_dipeptide.torsion_plane(), alanine_dipeptide.geometry(), None, points=FOUR),
    )
    found = metrics(mapped, alanine_dipeptide.torsion_plane(), dipeptides)
    assert set(found["grid_rmse_below"].values()) == {None}
    assert found["grid_force_variance_below"] == {"50 kcal/mol": None}
