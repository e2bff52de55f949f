"""A run whose names are hostile: it writes into its own folder only, and nothing that is a pickle."""

import pickle
import pickletools
import re
import zipfile

import numpy as np
import pytest
from ase.build import molecule

from sparring.commands.running import run
from sparring.config import load
from sparring.inputs.extxyz import write_structures
from sparring.reporting import report

NAMES = (
    "../../outside",
    "/outside",
    "a/b",
    "CON",
    ".hidden",
    "x" * 300,
    "<script>alert(1)</script>",
    "[bold]",
    "$(touch outside)",
)

CONFIG = """
generations: 2
threads: 1
system: {kind: own, file: "hostile [b] $x.xyz", check_labels: false, enlarge: {kind: displacements, n_structures: 8}}
labels: {labeller: {kind: ase, name: emt}, n_workers: 1, bounds: {max_force: 1000, energy_window: 100}}
committee:
  n_members: 2
  potential: {kind: schnet, n_features: 4, n_filters: 4, n_interactions: 1, n_gaussians: 4, cutoff: 3}
training: {n_epochs: 2, batch_size: 4}
attack: {kind: random, n_seeds: 3, space: {kind: cartesian, amplitude: 0.05}}
selection: [{kind: budget, n: 2}]
"""


def magic(content):
    """True for a pickle, and for an array of NumPy that holds one."""
    if content[:6] == b"\x93NUMPY":
        return b"'descr': '|O'" in content[:200]
    if content[:1] == b"\x80" and content[1:2] in b"\x02\x03\x04\x05":
        return True
    try:
        list(pickletools.genops(content))
    except (ValueError, IndexError, UnicodeDecodeError):
        return False
    return True


def is_pickle(file):
    content = file.read_bytes()
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return any(magic(archive.read(name)) or name.endswith(".pkl") for name in archive.namelist())
    return bool(content) and magic(content)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of the input, and the run in it."""
    folder = tmp_path_factory.mktemp("trust")
    frames = [molecule("H2O") for _ in NAMES]
    for place, (atoms, name) in enumerate(zip(frames, NAMES, strict=True)):
        atoms.positions += 0.01 * np.random.default_rng(place).normal(size=(3, 3))
        atoms.info |= {"source": name, "label": name, "config_type": name, "file": name, "parent": place}
    write_structures(folder / "hostile [b] $x.xyz", frames)
    (folder / "run.yaml").write_text(CONFIG, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        (folder / "here").mkdir()
        patch.chdir(folder / "here")
        run(load(folder / "run.yaml"), folder / "run [b] $x")
        report(folder / "run [b] $x")
    return folder


def test_a_run_writes_into_its_own_folder_and_nowhere_else(finished):
    assert sorted(path.name for path in finished.iterdir()) == ["here", "hostile [b] $x.xyz", "run [b] $x", "run.yaml"]
    assert not list((finished / "here").iterdir())
    names = [path.name for path in (finished / "run [b] $x").rglob("*")]
    assert len(names) > 30
    assert not [name for name in names if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name)]


def test_no_file_of_a_finished_run_is_a_pickle(finished):
    files = [path for path in (finished / "run [b] $x").rglob("*") if path.is_file()]
    assert not [path for path in files if is_pickle(path)]
    assert {".json", ".extxyz", ".yaml", ".safetensors"} <= {path.suffix for path in files}


def test_no_text_of_a_finished_run_has_a_tag_of_its_data(finished):
    for path in (finished / "run [b] $x").rglob("*"):
        if path.suffix in (".html", ".svg", ".md", ".csv"):
            assert "<script>alert" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_is_recognised(protocol, tmp_path):
    for name, content in {"plain": pickle.dumps({"a": [1]}, protocol), "text": b"a: 1\n"}.items():
        (tmp_path / name).write_bytes(content)
    np.savez(tmp_path / "objects.npz", np.array([{}], dtype=object))
    with zipfile.ZipFile(tmp_path / "torch.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")
    assert is_pickle(tmp_path / "plain")
    assert is_pickle(tmp_path / "torch.pt")
    assert is_pickle(tmp_path / "objects.npz")
    assert not is_pickle(tmp_path / "text")
