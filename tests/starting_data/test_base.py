"""What a run begins with, and an account of what it could not begin with."""

import csv
import dataclasses
import re
from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT

from sparring.assembly.planning import plan, train
from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.commands import checking, running
from sparring.config import load
from sparring.inputs.extxyz import read_structures
from sparring.labels import Label, LabelError, LabellingError
from sparring.labels.service import LabelService
from sparring.runs import loop
from sparring.runs.folder import RunFolder, read_metrics
from sparring.starting_data.base import StartFailure, Starting, described, in_words
from sparring.systems import ammonia as ammonia_system


@pytest.fixture
def labelled(rattled):
    """Molecules with labels of EMT, under the names that the small configuration has."""

    def make(*names, n=5):
        structures = [one for name in names for one in rattled(molecule(name), n, stdev=0.05)]
        for one in structures:
            one.calc = EMT()
            one.info["dft_energy"], one.arrays["dft_forces"] = one.get_potential_energy(), one.get_forces()
            one.calc = None
        return structures

    return make


def rows(folder):
    with (folder / "failures.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_frames_beyond_the_bounds_are_counted_in_file_metrics_status_and_report(
    labelled, molecules_file, tmp_path, sparring, caplog
):
    frames = labelled("N2", "H2O", n=6)
    frames[3].arrays["dft_forces"][0, 0] = 1e6
    frames[5].info["dft_energy"] = 1e9
    frames[8].positions[1] = frames[8].positions[0] + 0.1
    frames.append(molecule("CH3Cl"))  # which EMT cannot label
    file = molecules_file(structures=frames)
    folder = tmp_path / "run"
    assert sparring("run", file, "--folder", folder).exit_code == 0

    first = folder / "generation-01"
    expected = [("frame 3", "force"), ("frame 5", "energy"), ("frame 8", "distance"), ("frame 12", "bad_input")]
    found = [(row["candidate"], row["reason"]) for row in rows(first)]
    assert found[:4] == expected
    assert rows(first)[0]["message"].startswith(f"{tmp_path / 'molecules.xyz'}, frame 3 (counting from 0), N2: ")
    reasons = {"force": 1, "energy": 1, "distance": 1, "bad_input": 1}
    assert read_metrics(first)["start"] == {"n_labelled": 9, "n_failed": 4, "reasons": reasons}
    line = "data: 9 of 13 labelled, 4 failed: force 1, energy 1, distance 1, bad_input 1"
    assert f"generation 1: {line} (see failures.csv)" in sparring("status", folder).out
    assert line in (folder / "report.html").read_text(encoding="utf-8")
    trained = {tuple(one.positions.ravel()) for one in read_structures(first / "dataset.extxyz")}
    assert not trained & {tuple(frames[i].positions.ravel()) for i in (3, 5, 8)}
    assert "3 of 13 frames are not trained on (force 1, energy 1, distance 1)" in caplog.text
    # Once more: everything is read back, nothing is done.
    assert sparring("run", file, "--folder", folder).exit_code == 0
    assert [(row["candidate"], row["reason"]) for row in rows(first)][:4] == expected


def test_the_check_tells_of_frames_that_will_not_be_trained_on(labelled, molecules_file, caplog):
    frames = labelled("N2")
    frames[1].arrays["dft_forces"][0] = 1e3
    frames.append(frames[2].copy())
    running.check(load(molecules_file(structures=frames)))
    assert "1 of 6 frames are not trained on (force 1)" in caplog.text
    assert "frame 1 (counting from 0), N2: the force of 1732 eV/Å on atom 0 (N)" in caplog.text
    assert "1 of 5 frames have the geometry of another one (frames 2 and 5)" in caplog.text


@pytest.mark.parametrize(
    "verb", [running.check, lambda config: plan(config, config.system.file.parent / "run").start()]
)
def test_two_charges_of_one_molecule_are_refused_before_anything_is_computed(
    labelled, molecules_file, monkeypatch, verb
):
    frames = labelled("NH3")
    frames[1].info["charge"] = frames[4].info["charge"] = 1
    monkeypatch.setattr(EMT, "calculate", lambda *_: pytest.fail("nothing is to be computed"))
    monkeypatch.setattr(checking, "labeller", lambda config: pytest.fail("nothing is to be computed"))
    message = (
        r"H3N is there with charge \+0, multiplicity 1 \(frames 0, 2, 3\) and with charge \+1, multiplicity 2 \(fra"
    )
    with pytest.raises(ValueError, match=message):
        verb(load(molecules_file(structures=frames)))


def test_a_committee_has_checkpoints_in_its_folder_and_never_in_the_current_one(
    labelled, molecules_file, tmp_path, monkeypatch
):
    frames = labelled("N2", n=6)
    for one in frames:
        one.info[ENERGY], one.arrays[FORCES] = one.info["dft_energy"], one.arrays["dft_forces"]
    config, here = load(molecules_file(structures=frames)), tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    without = train(config, Dataset.from_atoms(frames))
    assert not list(here.iterdir())
    with_folder = train(config, Dataset.from_atoms(frames), folder=tmp_path / "committee")
    assert list((tmp_path / "committee" / "checkpoints").iterdir())
    assert not list(here.iterdir())
    np.testing.assert_array_equal(with_folder.report.train_loss, without.report.train_loss)


def test_a_committee_that_is_fitted_to_a_file_leaves_out_what_a_run_would(labelled, molecules_file, caplog):
    frames = labelled("N2", n=8)
    for one in frames:
        one.info[ENERGY], one.arrays[FORCES] = one.info["dft_energy"], one.arrays["dft_forces"]
    frames[6].arrays[FORCES][1] = 1e3
    atom = Atoms("N", info={ENERGY: -3.0, "multiplicity": 4})
    fitted = train(load(molecules_file(structures=frames)), Dataset.from_atoms([*frames, atom]))
    assert "the data, frame 6 (counting from 0), N2: the force of 1732 eV/Å on atom 1 (N)" in caplog.text
    assert "isolated atoms give the elements their energies, and are not trained on: N -3.0000 eV" in caplog.text
    assert fitted.committee.n_members == 2


@pytest.fixture
def failing_now_and_then(monkeypatch):
    """A labeller that refuses every third structure, but not those of a Hessian."""
    label, counts = LabelService.label, Counter()

    def some(self, structures, lowest_energies=None):
        report = label(self, structures, lowest_energies)
        results = list(report.labels)
        for index, atoms in enumerate(structures):
            if atoms.info.get("source") != "minimum":
                counts["asked"] += 1
                if counts["asked"] % 3 == 0:
                    results[index] = LabelError("not_converged", f"structure {index}: the SCF did not converge")
        return dataclasses.replace(report, labels=tuple(results))

    monkeypatch.setattr(LabelService, "label", some)


def test_failed_starting_labels_of_a_built_in_molecule_are_counted(failing_now_and_then, tmp_path, monkeypatch):
    # The geometry of GFN2 or DFT is not needed to count.
    monkeypatch.setattr(ammonia_system, "starting_geometry", lambda seed=0: molecule("NH3"))
    file = tmp_path / "ammonia.yaml"
    file.write_text(
        "generations: 1\nsystem: {kind: ammonia, n_structures: 10}\n"
        "labels: {labeller: {kind: ase, name: emt}, n_workers: 1}\n"
    )
    state = loop.start(plan(load(file), tmp_path / "run"))
    assert len(state.dataset) == 7
    assert [(one.structure, one.error.reason) for one in state.failures] == 3 * [("normal_mode", "not_converged")]


def test_where_nothing_has_a_label_the_error_counts_the_reasons(molecules_file, tmp_path):
    file = molecules_file(structures=[molecule("CH3Cl"), molecule("HCl")])
    with pytest.raises(
        LabellingError, match=r"2 of 2 labels failed for reasons that are not the .*\n +2  bad_input .*Cl"
    ):
        running.run(file, tmp_path / "run")
    assert not (tmp_path / "run" / "generation-01" / "manifest.json").exists()


def test_where_too_few_have_a_label_the_error_says_what_became_of_the_others(molecules_file, tmp_path):
    file = molecules_file(structures=[molecule("N2"), molecule("H2O"), molecule("HCl")])
    with pytest.raises(
        ValueError, match=r"a data set of 2 cannot be divided .*\(1 failed \(bad_input 1\); the first: .*Cl"
    ):
        running.run(file, tmp_path / "run")


def test_a_structure_that_cannot_be_enlarged_is_counted_and_the_others_are(labelled, molecules_file, tmp_path):
    frames = [*labelled("N2", "H2O", n=1), molecule("HCl")]
    enlarge = {"system.enlarge": {"kind": "normal_modes", "n_structures": 9, "temperatures": ["100 K", "200 K"]}}
    state = loop.start(plan(load(molecules_file(enlarge, structures=frames)), tmp_path / "run"))
    sources = Counter((one.get_chemical_formula(), one.info["source"]) for one in state.dataset.to_atoms())
    assert sources == {
        ("N2", "file"): 1,
        ("H2O", "file"): 1,
        **{(name, source): n for name in ("N2", "H2O") for source, n in (("minimum", 1), ("normal_mode", 3))},
    }
    assert [one.structure for one in state.failures] == ["frame 2", "frame 2"]
    assert "is not enlarged" in state.failures[1].error.message


def test_failures_of_the_start_survive_on_disk_beside_those_of_the_labels(labelled, molecules_file, tmp_path):
    frames = labelled("N2", n=8)
    for index, one in enumerate(frames):
        one.info.update({ENERGY: one.info["dft_energy"], "source": "file", "frame": index})
        one.arrays[FORCES] = one.arrays["dft_forces"]
    failures = (StartFailure("frame 8", LabelError("crashed", 'a comma, a "quote" and\na line')),)
    config = load(molecules_file(structures=frames))
    choices = dataclasses.replace(plan(config, tmp_path), start=lambda: Starting(frames, failures))
    refused = dataclasses.replace(choices, label=refuse_all(choices.label))
    with RunFolder(tmp_path / "run", config) as folder:
        loop.run(refused, folder.cached)
        state, labels = (folder.cached(1, stage, lambda: pytest.fail("computed before")) for stage in ("data", "label"))
    assert [(one.structure, one.error.reason, one.error.message) for one in state.failures] == [
        ("frame 8", "crashed", failures[0].error.message)
    ]
    assert {error.reason for _, error in labels.failures} == {"not_converged"}
    found = rows(tmp_path / "run" / "generation-01")
    assert [row["candidate"] for row in found] == ["frame 8", *(str(one) for one, _ in labels.failures)]


def refuse_all(label):
    def refuse(structures, lowest):
        report = label(structures, lowest)
        nothing = LabelError("not_converged", "no")
        return dataclasses.replace(
            report, labels=tuple(nothing if isinstance(one, Label) else one for one in report.labels)
        )

    return refuse


def test_duplicates_of_a_file_are_on_one_side_of_the_split(labelled, molecules_file, tmp_path):
    frames = labelled("NH3", n=10)
    again = [one.copy() for one in frames]
    for one in again:
        one.rotate(30, "x")
        one.info["dft_energy"] += 1e-5
        turn = one.positions, one.arrays["dft_forces"]
        one.arrays["dft_forces"] = turn[1] @ np.array([[1, 0, 0], [0, 0.75**0.5, 0.5], [0, -0.5, 0.75**0.5]])
    state = loop.start(plan(load(molecules_file(structures=[*frames, *again])), tmp_path / "run"))
    assert {i % 10 for i in state.splits.test} == {i % 10 for i in state.splits.test if i < 10}
    for learnt, validation in zip(state.splits.train, state.splits.validation, strict=True):
        assert not {i % 10 for i in learnt} & {i % 10 for i in validation}


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"source": "file", "frame": 3}, "frame 3"),
        ({"source": "normal_mode", "frame": 3}, "normal_mode of frame 3"),
        ({"source": "langevin"}, "langevin"),
        ({}, "no source"),
    ],
)
def test_a_structure_is_told_by_where_it_comes_from(info, words):
    assert described(info) == words


def test_failures_in_words_name_the_first():
    failures = [
        StartFailure("frame 1", LabelError("force", "too large")),
        StartFailure("frame 2", LabelError("force", "x")),
    ]
    assert re.fullmatch(r"2 failed \(force 2\); the first: too large", in_words(failures))
