"""Molecules, crystals and small networks that tests share."""

import importlib
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from ase import Atoms, spacegroup
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from torch.utils._python_dispatch import TorchDispatchMode

from sparring import cli
from sparring.atoms import verlet
from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.neighbors import with_edges
from sparring.commands import running
from sparring.committee import Committee
from sparring.config import dump, load
from sparring.inputs.extxyz import write_structures
from sparring.potentials import CoordinateMLP, SchNet
from sparring.potentials.foreign.packages import EXTRAS
from sparring.potentials.stacking import cast

EXAMPLES = Path(__file__).parents[1] / "examples"
NEEDED_BY = {"mace_model": "mace", "chgnet_model": "chgnet"}
"""Extras that fixtures need."""
OF_E3NN = (".*torch.jit:DeprecationWarning", "The TorchScript type system:UserWarning")
WARNINGS = {
    "mace": (*OF_E3NN, ".*TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD:UserWarning", ".*dtype of model:UserWarning"),
    "sevennet": (*OF_E3NN, "No tensor product accelerator:UserWarning"),
    "torchani": ("The extensions. :UserWarning",),
}
"""Warnings of packages of other potentials, when they are imported and when modules of e3nn are built."""


def pytest_itemcollected(item):
    """Skip tests of potentials whose package is not installed; `make test-foreign` selects their marker."""
    for fixture in NEEDED_BY.keys() & set(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.extra(NEEDED_BY[fixture]))
    for name in {mark.args[0] for mark in item.iter_markers("extra")}:
        for warning in WARNINGS.get(name, ()):
            item.add_marker(pytest.mark.filterwarnings(f"ignore:{warning}"))
        if find_spec(EXTRAS[name].module) is None:
            item.add_marker(pytest.mark.skip(reason=f"the extra {name} is not installed"))


@pytest.fixture
def ammonia():
    return molecule("NH3")


@pytest.fixture
def water():
    return molecule("H2O")


@pytest.fixture
def salt():
    """A crystal so small that atoms see several images of each other, and of themselves."""
    crystal = bulk("NaCl", "rocksalt", a=5.0)
    crystal.rattle(0.1, seed=3)
    return crystal


@pytest.fixture
def sodalite():
    """A silica framework of 18 atoms with a cage about the corners of its cell (Richardson et al. 1988)."""
    return spacegroup.crystal(
        ["Si", "O"],
        [(0.25, 0.5, 0.0), (0.1471, 0.1471, 0.5)],
        spacegroup=229,
        cellpar=[8.83] * 3 + [90] * 3,
        primitive_cell=True,
    )


@pytest.fixture
def in_cage(sodalite):
    """A molecule, turned, in the cage of sodalite; its atoms are the last ones, and lie across faces of the cell."""

    def make(guest, *, angle=40.0, shift=(1.1, -1.0, 1.5), wrap=True):
        guest = guest.copy()
        guest.translate(shift - guest.get_center_of_mass())
        guest.rotate(angle, (1, 2, 3), center=shift)
        hosted = sodalite + guest
        if wrap:
            hosted.wrap()
        return hosted

    return make


@pytest.fixture
def rattled():
    """Many copies of a structure, each distorted in its own way."""

    def make(atoms, n_copies, *, stdev=0.1, seed=0):
        copies = [atoms.copy() for _ in range(n_copies)]
        for index, one in enumerate(copies):
            one.rattle(stdev, seed=1000 * seed + index)
        return copies

    return make


@pytest.fixture
def with_random_labels():
    """Labels that mean nothing, for where only the arithmetic matters."""

    def make(atoms, *, seed=0):
        generator = np.random.default_rng(seed)
        for one in atoms:
            one.info[ENERGY] = float(generator.normal())
            one.arrays[FORCES] = generator.normal(size=(len(one), 3))
        return Dataset.from_atoms(atoms)

    return make


@pytest.fixture
def schnet():
    """A small SchNet with weights of its own."""

    def make(seed=0, *, dtype=torch.float64, **changes):
        size = {"n_features": 8, "n_filters": 8, "n_interactions": 2, "n_gaussians": 8, "cutoff": 3.0}
        network = SchNet(**{**size, **changes})
        network.initialise(torch.Generator().manual_seed(seed))
        return cast(network, dtype=dtype)

    return make


@pytest.fixture
def mlp():
    """A small network of coordinates with weights of its own."""

    def make(seed=0, *, dtype=torch.float64, **changes):
        network = CoordinateMLP(**{"n_coordinates": 2, "n_layers": 2, "n_units": 16, **changes})
        network.initialise(torch.Generator().manual_seed(seed))
        return cast(network, dtype=dtype)

    return make


@pytest.fixture
def committee(schnet):
    """Small SchNets that disagree."""

    def make(n_members=3, *, stacked=None, **changes):
        return Committee([schnet(seed, **changes) for seed in range(n_members)], stacked=stacked)

    return make


@pytest.fixture
def particle():
    """The dummy atom of a toy well."""

    def make(x=0.0, y=0.0, z=0.0):
        return Atoms("X", positions=[[x, y, z]])

    return make


@pytest.fixture
def copies():
    """A batch many times over, so that finite differences take one call."""

    def make(structures, n_copies):
        return structures.take(list(range(structures.n_structures)) * n_copies)

    return make


@pytest.fixture
def slope():
    """The gradient of a number by finite differences (five-point stencil); the function takes all points at once."""

    def differentiate(function, x, *, step=1e-3):
        nudges = step * torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
        with torch.no_grad():
            values = function(torch.cat([x + k * nudges for k in (-2, -1, 1, 2)]))
        far_below, below, above, far_above = values.reshape(4, -1)
        return ((8 * (above - below) - (far_above - far_below)) / (12 * step)).reshape(x.shape)

    return differentiate


# --- whole runs -----------------------------------------------------------------------------------------------------

SMALL_WELL = {
    "generations": 3,
    "committee.n_members": 2,
    "committee.potential.n_layers": 2,
    "committee.potential.n_units": 16,
    "training.n_epochs": 5,
    "attack.n_seeds": 6,
    "attack.n_steps": 5,
    "attack.initial_spread": 0.3,
    "attack.learning_rate": 0.05,
    "selection": [{"kind": "distinct", "rmsd": 0.001, "align": False}, {"kind": "budget", "n": 4}],
}


@pytest.fixture
def well_file(tmp_path):
    """Writes the configuration of a well so small that a generation takes a fraction of a second."""

    def make(changes=None, *, name="well.yaml"):
        changes = changes or {}
        replaced = {*changes, *(["attack"] if "propose" in changes else [])}
        small = {key: value for key, value in SMALL_WELL.items() if key.partition(".")[0] not in replaced}
        config = load(EXAMPLES / "double_well_1d.yaml", overrides={**small, **changes})
        file = tmp_path / name
        file.write_text(dump(config), encoding="utf-8")
        return file

    return make


@pytest.fixture(scope="session")
def finished_well(tmp_path_factory):
    """The run folder of a small well, finished but for the report. Copy it before anything is changed in it."""
    folder = tmp_path_factory.mktemp("finished") / "well"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "report", lambda folder: None)
        running.run(load(EXAMPLES / "double_well_1d.yaml", overrides=SMALL_WELL), folder)
    return folder


@pytest.fixture
def unchecked():
    """Makes a run folder that may be changed: one as an older version would have left it, without any checksum."""

    def strip(folder):
        for file in [folder / "manifest.json", *folder.rglob("checksums.json")]:
            file.unlink(missing_ok=True)
        for file in folder.glob("generation-*/manifest.json"):
            stages = [name for name in json.loads(file.read_text(encoding="utf-8")) if name != "sha256"]
            file.write_text(json.dumps({name: {"files": {}} for name in stages}), encoding="utf-8")
        return folder

    return strip


SMALL_MOLECULES = """
generations: 2
system: {{kind: own, file: {file}, energy_key: dft_energy, forces_key: dft_forces}}
labels: {{labeller: {{kind: ase, name: emt}}, n_workers: 1}}
committee:
  n_members: 2
  potential: {{kind: schnet, n_features: 8, n_filters: 8, n_interactions: 1, n_gaussians: 4, cutoff: 3 Å}}
training: {{n_epochs: 3, learning_rate: 1e-3}}
attack: {{n_seeds: 4, seeds: random, n_steps: 3, initial_spread: 0.05 Å}}
selection: [{{kind: budget, n: 3}}]
"""


@pytest.fixture
def molecules(rattled):
    """Molecules of three sizes; every other one is labelled by EMT under names of its own, the others not at all."""
    structures = [one for name in ("N2", "H2O", "NH3") for one in rattled(molecule(name), 4, stdev=0.05)]
    for one in structures[::2]:
        one.calc = EMT()
        one.info["dft_energy"] = one.get_potential_energy()
        one.arrays["dft_forces"] = one.get_forces()
        one.calc = None
    return structures


@pytest.fixture
def molecules_file(molecules, tmp_path):
    """Writes the configuration of a small run on these molecules, or on others, beside their file."""

    def make(changes=None, *, structures=molecules, name="molecules"):
        write_structures(tmp_path / f"{name}.xyz", structures)
        file = tmp_path / f"{name}.yaml"
        file.write_text(SMALL_MOLECULES.format(file=f"{name}.xyz"), encoding="utf-8")
        if changes:
            file.write_text(dump(load(file, overrides=changes)), encoding="utf-8")
        return file

    return make


class Answer(NamedTuple):
    """What a command gave back and said."""

    exit_code: int
    out: str
    err: str


@pytest.fixture
def sparring(capsys, monkeypatch):
    """The command line in this process: exit code, what is for pipes, and what is for people."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sparring", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Answer(end.value.code or 0, *capsys.readouterr())

    return call


ASKS_THE_DEVICE = ("_local_scalar_dense", "nonzero", "repeat_interleave", "masked_select", "_unique2", "is_nonzero")


class NeverAsks(TorchDispatchMode):
    """Refuses operations whose result, or the shape of it, the host would have to wait for."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function.name().partition("::")[2].partition(".")[0]
        by_mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in arguments[1])
        assert name not in ASKS_THE_DEVICE, f"{name} makes the host wait"
        assert not by_mask, "indexing by a mask makes the host wait"
        return function(*arguments, **(keywords or {}))


@pytest.fixture
def never_asks(monkeypatch):
    """A context in which code that would make a graphics card wait for the host fails."""

    def refused(self, *arguments, **keywords):
        raise AssertionError("a copy to the host")

    @contextmanager
    def progress_bars():
        with monkeypatch.context() as patch, NeverAsks():
            for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__"):
                patch.setattr(torch.Tensor, name, refused)
            yield

    return progress_bars


class Strain:
    """A user's own space: six strains of the cell of a crystal, whose atoms follow. It hands on the seeds' edges."""

    def owner(self, seeds):
        return torch.arange(seeds.n_structures)

    def initial(self, seeds, generator):
        return 0.01 * torch.randn(seeds.n_structures, 3, 3, generator=generator, dtype=seeds.positions.dtype)

    def project(self, seeds, delta):
        return delta.clamp(-0.1, 0.1)

    def displace(self, seeds, delta):
        stretch = torch.eye(3, dtype=delta.dtype) + (delta + delta.transpose(1, 2)) / 2
        return replace(
            seeds,
            positions=torch.einsum("ai,aij->aj", seeds.positions, stretch[seeds.structure_index]),
            cells=seeds.cells @ stretch,
        )


@pytest.fixture
def strain():
    return Strain()


@pytest.fixture(scope="session")
def processes():
    """Runs the command line in processes forked from one that has imported everything; gives the exit code.

    The packages of others that tests bring are installed there.
    """
    here = Path(__file__).parent
    packages = [str(here / "third_party"), *(str(one) for one in sorted(here.glob("*/third_party")))]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([*packages, *filter(None, sys.path)]),
    }
    program = [sys.executable, str(here / "killed_runs.py")]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server:

        def call(*arguments, output, **more):
            job = {"arguments": [str(one) for one in arguments], "output": str(output), **more}
            server.stdin.write(json.dumps(job) + "\n")
            server.stdin.flush()
            return int(server.stdout.readline())

        yield call
        server.stdin.close()


@pytest.fixture(scope="session")
def chains():
    """The toy molecule with two torsions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module("chains")


@pytest.fixture
def searches(monkeypatch):
    """Number of structures in each search for neighbours by a list of neighbours."""
    calls = []

    def counted(structures, cutoff):
        calls.append(structures.n_structures)
        return with_edges(structures, cutoff)

    monkeypatch.setattr(verlet, "with_edges", counted)
    return calls
