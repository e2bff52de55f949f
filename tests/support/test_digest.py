"""Digests are the names of results on disk: the same facts have the same digest in every version."""

import pytest
from ase import Atoms

from sparring.committee import Committee
from sparring.dynamics import CloserThan
from sparring.labels import Bounds, LabelStore
from sparring.labels.service import LabelService
from sparring.labels.store import label_key
from sparring.support.digest import digest, file_digest
from sparring.surfaces import torsion_maps
from sparring.surfaces.torsion_plane import TorsionPlane
from sparring.validation.survival.batches import identity


@pytest.fixture
def molecule():
    """A water molecule with everything that digests may depend on."""
    positions = [[0, 0, 0.1], [0.9, 0, 0], [0, 0.95, 0.2]]
    info = {"charge": 0, "spin": "größe"}
    atoms = Atoms("H2O", positions=positions, cell=[5, 6, 7], pbc=[True, False, False], info=info)
    atoms.set_initial_charges([0.1, 0, -0.1])
    return atoms


@pytest.fixture
def labeller():
    class Nothing:
        method, version, depends_on = "größte Methode", "1", ("spin",)

        def __call__(self, atoms):
            raise AssertionError

    return Nothing()


def test_the_order_of_keys_does_not_count():
    assert digest({"a": 1, "b": (1.5, None)}) == digest({"b": [1.5, None], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_both_forms_are_those_of_files_that_exist():
    facts = {"b": [1.5, None], "a": "größe"}
    assert digest(facts) == "663973b03efe5e3334b27149b77bfc347e2f0aeb088dde952cda5031f0938ed1"
    assert digest(facts, compact=True) == "075227f48cfa3873e64bf7e5a6a6dbbd53922fbd1ea3b904325234c288c072c9"


def test_the_compact_form_takes_finite_numbers_only():
    with pytest.raises(ValueError, match="JSON compliant"):
        digest([float("nan")], compact=True)


def test_a_file_has_the_sha256_of_its_content(tmp_path):
    (tmp_path / "empty").touch()
    assert file_digest(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


# Recorded with version 0.1: labels, dynamics and grids of existing folders are found again.


def test_labels_have_the_keys_of_version_0_1(molecule, labeller):
    assert label_key(molecule, labeller) == "f14a199748db21e309db537dc07bf4b59afb889c88ded59749146417a064e82e"


def test_dynamics_have_the_names_of_version_0_1(molecule, committee, monkeypatch):
    about = {"architecture": "schnet", "weights_sha256": "0" * 64, "hyperparameters": {"cutoff": 5.0, "n": None}}
    monkeypatch.setattr(Committee, "state", lambda self: ({}, about | {"domain": 1}))
    settings = {"seed": 1, "ensemble": [300.0, 0.01]}
    found = identity(committee(2), molecule, (CloserThan(0.5),), settings)
    assert found == "1a481d0ae320a73f78dfb036d22d80fa7b43d67a6ade6695c9f104b62919194f"


def test_relaxed_grids_have_the_names_of_version_0_1(molecule, labeller, tmp_path):
    plane = TorsionPlane(names=("phi", "psi"), torsions=((0, 1, 2, 3), (1, 2, 3, 4)))
    service = LabelService(labeller=labeller, store=LabelStore(tmp_path), bounds=Bounds(), n_workers=1)
    assert torsion_maps._digest(molecule, plane, (24, 12), service) == "68cce96431b45b9165ec0e48"
