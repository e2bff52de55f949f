import json
import sys

import ase.io
import numpy as np
import pytest

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.inputs.extxyz import write_structures
from sparring.validation.diversity import compute as module

pytest.importorskip("dscribe", reason="needs the extra `maps`: DScribe and umap-learn")


@pytest.fixture(autouse=True)
def flat(monkeypatch):
    """Instead of a map, which takes seconds to compile in every process, any two numbers."""
    monkeypatch.setattr(
        module, "umap_embedding", lambda vectors, *, seed, n_neighbors: (vectors[:, :2] + seed, n_neighbors)
    )


@pytest.fixture
def files(ammonia, rattled, tmp_path):
    """A run of one generation that labelled something, and a file."""
    frames = rattled(ammonia, 14)
    for index, one in enumerate(frames):
        one.info |= {ENERGY: -10.0 + 0.1 * index, "source": "normal_mode", "generation": 1, "parent": -1}
        one.arrays[FORCES] = np.zeros((4, 3))
    found = frames[6:10]
    for one in found:
        one.info |= {"source": "attack", "generation": 2}
    others = frames[10:]
    for one in others:
        del one.info["source"], one.info["generation"]
    folder = tmp_path / "run" / "generation-01"
    folder.mkdir(parents=True)
    write_structures(folder / "dataset.extxyz", frames[:6])
    write_structures(folder / "labelled.extxyz", found)
    write_structures(tmp_path / "others.xyz", others)
    return tmp_path / "run", tmp_path / "others.xyz"


def test_a_run_and_a_file_share_one_map_with_its_structures_in_the_same_order(sparring, files):
    run, others = files
    answer = sparring("validate", "diversity", run, others, "--seed", 3)
    assert answer.exit_code == 0, answer.err
    result = json.loads((run / "validation" / "diversity.json").read_text(encoding="utf-8"))
    frames = ase.io.read(run / "validation" / "diversity.extxyz", index=":")
    assert len(frames) == len(result["map"]) == 14
    np.testing.assert_allclose([one.info[ENERGY] + 10.0 for one in frames], result["energy"], atol=1e-12)
    assert (
        [one.info["source"] for one in frames]
        == result["source"]
        == 6 * ["normal_mode"] + 4 * ["attack"] + 4 * ["file"]
    )
    assert [one.info["runs"] for one in frames] == result["runs"] == 10 * [["run"]] + 4 * [["others"]]
    assert [one.info["generation"] for one in frames] == result["generation"] == 6 * [1] + 4 * [2] + 4 * [0]
    assert result["seed"] == 3
    for ending in ("png", "svg"):
        assert (run / "validation" / f"diversity.{ending}").stat().st_size > 5000
    rows = answer.out.rstrip().split("\n")[3:]
    names = ["others", "run: normal mode, start", "run: attack, generation 1"]
    assert [row[:26].rstrip() for row in rows[:-1]] == names
    assert rows[-1] == f"results: {run / 'validation' / 'diversity.json'}, .extxyz, .png and .svg"


@pytest.mark.usefixtures("undrawn")
def test_results_of_a_file_go_beside_it_or_where_they_are_wanted(sparring, files, tmp_path):
    _, others = files
    assert sparring("validate", "diversity", others).exit_code == 0
    assert (tmp_path / "validation" / "diversity.json").is_file()
    assert sparring("validate", "diversity", others, "--output", tmp_path / "deep" / "er").exit_code == 0
    assert (tmp_path / "deep" / "er" / "diversity.json").is_file()


@pytest.mark.usefixtures("undrawn")
def test_a_ground_state_can_be_given(sparring, files, ammonia, tmp_path):
    _, others = files
    ammonia.info[ENERGY] = -12.0
    write_structures(tmp_path / "ground.xyz", [ammonia])
    sparring("validate", "diversity", others, "--reference", tmp_path / "ground.xyz")
    result = json.loads((tmp_path / "validation" / "diversity.json").read_text(encoding="utf-8"))
    np.testing.assert_allclose(result["energy"], [3.0, 3.1, 3.2, 3.3])
    assert min(result["rmsd"]) > 0.01


def test_what_diversity_cannot_use_is_said_in_one_line(sparring, files, water, tmp_path, monkeypatch):
    run, others = files
    write_structures(tmp_path / "ground.xyz", [water])
    (tmp_path / "empty").mkdir()
    wrong = {
        "has no generation-*/dataset.extxyz": [tmp_path / "empty"],
        "nothing.xyz": [tmp_path / "nothing.xyz"],
        "there is no 'energy'": [others, "--energy-key", "energy"],
        "reference H2O is of none of these compositions": [run, "--reference", tmp_path / "ground.xyz"],
    }
    for message, arguments in wrong.items():
        answer = sparring("validate", "diversity", *arguments)
        assert (answer.exit_code, answer.err.count("\n")) == (2, 1), answer.err
        assert message in answer.err
    monkeypatch.setitem(sys.modules, "dscribe.descriptors", None)
    answer = sparring("validate", "diversity", run)
    assert answer.err == 'sparring: SOAP vectors need DScribe: pip install "sparring[maps]"\n'
    assert not (run / "validation").exists()
