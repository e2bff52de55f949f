"""A run on crystals: what its files say of stresses."""

import dataclasses

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from sparring.atoms.reference import STRESS
from sparring.atoms.strain import from_voigt
from sparring.atoms.structures import Structures
from sparring.commands import running
from sparring.evaluation import Errors
from sparring.inputs.reading import read_atoms
from sparring.runs.results import Evaluated
from sparring.runs.saved_run import SavedRun
from sparring.runs.stages import evaluation_metrics


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The run folder of two generations on copper and molecules."""
    return tmp_path_factory.mktemp("crystals") / "run"


@pytest.fixture
def generation(molecules_file, rattled, folder, monkeypatch):
    """The first generation of the run, which is made once."""
    if not folder.exists():
        frames = [*rattled(bulk("Cu", cubic=True), 6, stdev=0.05), *rattled(molecule("N2"), 6, stdev=0.05)]
        for atoms in frames:
            atoms.calc = EMT()
            atoms.info["dft_energy"], atoms.arrays["dft_forces"] = atoms.get_potential_energy(), atoms.get_forces()
            atoms.calc = None
        monkeypatch.setattr(running, "report", lambda folder: None)
        running.run(molecules_file({"attack.n_seeds": 8, "attack.seeds": "random"}, structures=frames), folder)
    return SavedRun(folder).generation(1)


def test_every_file_with_predictions_has_the_stress_of_crystals_and_its_variance(generation):
    stages = {
        "predictions": generation.predictions(),
        "attacks": generation.attacks(),
        "selected": generation.selected(),
        "labelled": generation.labelled(),
    }
    for name, frames in stages.items():
        assert [np.shape(atoms.info.get("committee_stress")) for atoms in frames] == [
            (6,) if atoms.pbc.all() else () for atoms in frames
        ], name
        assert all(("stress_variance" in atoms.info) == atoms.pbc.all() for atoms in frames), name
    assert any(atoms.pbc.all() for atoms in stages["selected"])


def test_a_stress_in_a_file_is_that_of_the_committee(generation):
    committee = generation.committee()
    (crystal, *_) = (atoms for atoms in generation.selected() if atoms.pbc.all())
    stress = committee.predict(Structures.from_atoms([crystal]), stress=True).stress.detach()
    np.testing.assert_allclose(
        from_voigt(np.array(crystal.info["committee_stress"])), stress.mean(0)[0], rtol=1e-3, atol=1e-6
    )


def test_selected_structures_are_read_without_labels(generation):
    for atoms in read_atoms(generation.folder / "selected.extxyz", labels="optional"):
        assert STRESS not in atoms.info
        assert "REF_energy" not in atoms.info


def test_errors_of_stresses_are_kept_where_there_are_labels_of_them():
    known = Errors(energy_mae=1.0, energy_rmse=1.0, force_mae=1.0, force_rmse=1.0, n_structures=3)
    errors = {"test": dataclasses.replace(known, stress_mae=0.1, stress_rmse=0.2), "fit": known}
    evaluated = Evaluated([], np.zeros(0), errors, {})
    kept = evaluation_metrics(evaluated)["errors"]
    assert kept["test"]["stress_rmse"] == 0.2
    assert not any("stress" in name for name in kept["fit"])
