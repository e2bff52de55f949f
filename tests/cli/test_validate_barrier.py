import re

import ase.io
import numpy as np
import pytest
import torch
import yaml
from ase.build import molecule
from scipy.optimize import minimize_scalar

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.committee import Committee
from sparring.committee_files import write_committee
from sparring.inputs.extxyz import write_structures
from sparring.potentials import CoordinateMLP
from sparring.surfaces.minimum_energy_path import MinimumEnergyPath
from sparring.systems.ammonia import inversion_endpoints, planar_geometry
from sparring.validation.barrier import compute as module
from sparring.validation.barrier.compute import Barriers, barriers
from sparring.validation.records import read_record

WALL, STEEP, WIDTH = 2.0, 8.0, 0.5
HUMPS = (4.0, 5.0)


def double_well(hump):
    """A network of five units, set by hand: two walls, and between them a hump."""
    network = CoordinateMLP(n_coordinates=1, n_layers=1, n_units=5).double()
    first, _, last = network.layers
    slopes = STEEP * np.array([1.0, -1.0, 1.0, 1.0, 1.0])
    places = np.array([1.0, -1.0, -WIDTH, 0.0, WIDTH])
    heights = np.array([WALL, WALL, hump, -2 * hump, hump])
    with torch.no_grad():
        first.weight[:] = torch.as_tensor(slopes)[:, None]
        first.bias[:] = torch.as_tensor(-slopes * places)
        last.weight[:] = torch.as_tensor(heights)
        last.bias[:] = -hump
    return network


def closed_form_barrier(humps=HUMPS):
    def energy(x):
        walls = np.logaddexp(0, STEEP * (x - 1)) + np.logaddexp(0, -STEEP * (x + 1))
        hump = sum(k * np.logaddexp(0, STEEP * (x - at)) for k, at in ((1, -WIDTH), (-2, 0), (1, WIDTH)))
        return WALL * walls + np.mean(humps) * hump

    return energy(0) - minimize_scalar(energy, bounds=(0.4, 1.5), options={"xatol": 1e-9}).fun


@pytest.fixture
def make_committee(tmp_path):
    def make(name, humps=HUMPS):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        write_committee(folder, Committee([double_well(hump) for hump in humps]))
        return folder

    return make


@pytest.fixture
def ends(particle, tmp_path):
    for name, x in (("start", -0.9), ("end", 1.0)):
        write_structures(tmp_path / f"{name}.xyz", [particle(x)])
    return tmp_path / "start.xyz", tmp_path / "end.xyz"


def row(out, name):
    (line,) = (line for line in out.splitlines() if line.startswith(name + " "))
    return line.removeprefix(name).split()


def test_the_barrier_of_a_committee_is_printed_beside_the_true_one_and_kept(
    sparring, make_committee, ends, well_file, tmp_path
):
    committee = make_committee("committee")
    answer = sparring("validate", "barrier", committee, *ends, "--config", well_file(), "--climb")
    assert answer.exit_code == 0, answer.err
    height, spread, low, _, high, *_, error, converged = map(_number, row(answer.out, "committee"))
    assert height == pytest.approx(closed_form_barrier(), abs=1e-3)
    members = [closed_form_barrier([hump]) for hump in HUMPS]
    assert (low, high) == pytest.approx(members, abs=0.02)  # their minima are elsewhere than the mean's
    assert spread == pytest.approx(np.std(members, ddof=1), abs=0.02)
    assert error == pytest.approx(height - (0.056 + 6.527), abs=2e-3)
    assert converged == "yes"
    assert "labels by double_well_1d" in answer.out
    assert "energies in eV above the start" in answer.out

    folder = committee / "validation"
    found = read_record(folder / "barrier.json", Barriers)
    assert found.committees["committee"].barrier == pytest.approx(height, abs=5.1e-4)
    assert found.truth.method == "double_well_1d"
    frames = ase.io.read(folder / "barrier.extxyz", ":")
    assert [(one.info["surface"], one.info["image"]) for one in frames] == [
        (surface, image) for surface in ("committee", "labels") for image in range(11)
    ]
    assert frames[5].get_potential_energy() - frames[0].get_potential_energy() == pytest.approx(height, abs=1e-3)
    assert all((folder / f"barrier.{ending}").stat().st_size > 1000 for ending in ("png", "svg"))


def _number(text):
    try:
        return float(text)
    except ValueError:
        return text


def test_a_run_has_a_row_for_each_of_its_generations_and_one_failure_spares_the_others(
    sparring, make_committee, ends, tmp_path
):
    for number, humps in ((1, (-1.0, -1.0)), (2, (3.0, 5.0)), (3, HUMPS)):
        make_committee(f"run/generation-0{number}", humps)
    answer = sparring("validate", "barrier", tmp_path / "run", *ends, "--output", tmp_path / "out")
    assert answer.exit_code == 0
    assert "generation 1 has no path: both ends of the path relax to the same minimum" in answer.err
    assert "generation 3: energies in eV" in answer.out
    heights = [float(row(answer.out, f"generation {number}")[0]) for number in (2, 3)]
    assert heights == pytest.approx([closed_form_barrier(h) for h in ((3.0, 5.0), HUMPS)], abs=1e-3)
    found = read_record(tmp_path / "out" / "barrier.json", Barriers)
    assert list(found.committees) == ["generation 2", "generation 3"]
    assert list(found.failures) == ["generation 1"]
    assert found.truth is None


def test_a_committee_without_a_path_is_said_in_one_line(sparring, make_committee, ends):
    answer = sparring("validate", "barrier", make_committee("one_well", (-1.0, -1.0)), *ends)
    assert answer.exit_code == 2
    assert answer.err.startswith("sparring: both ends of the path relax to the same minimum of X")


def test_a_path_that_has_not_converged_is_marked(sparring, make_committee, particle, tmp_path):
    write_structures(tmp_path / "a.xyz", [particle(-0.9)])
    write_structures(tmp_path / "b.xyz", [particle(0.9)])
    few = ["--images", 8, "--climb", "--steps", 8, "--fmax", "1 meV/Å"]
    answer = sparring("validate", "barrier", make_committee("one"), tmp_path / "a.xyz", tmp_path / "b.xyz", *few)
    assert answer.exit_code == 0, answer.err
    assert re.search(r"  no: [\d.]+ eV/Å after 8 steps\n", answer.out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "is no generation of a run whose system has endpoints; give two files, START.xyz and END.xyz"),
        (["start.xyz"], "a path has two endpoints, got only start.xyz; give END.xyz too"),
        (["start.xyz", "both.xyz"], "both.xyz holds 2 structures; an endpoint of a path is a file with one structure"),
        (["start.xyz", "start.xyz"], "start and end are the same geometry"),
        (["start.xyz", "end.xyz", "--images", "2"], "a path needs at least 3 images, its two ends among them, got 2"),
        (["start.xyz", "end.xyz", "--fmax", "1 eV"], "measures energy, wanted force"),
    ],
)
def test_what_is_no_path_is_said_in_one_line(
    sparring, make_committee, ends, particle, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    write_structures("both.xyz", [particle(-1), particle(1)])
    answer = sparring("validate", "barrier", make_committee("committee"), *arguments)
    assert answer.exit_code == 2
    assert answer.err.startswith("sparring: ")
    assert message in answer.err
    assert answer.err.count("\n") == 1


def test_a_run_on_ammonia_knows_its_ends(committee, tmp_path, monkeypatch):
    run = tmp_path / "run"
    folder = run / "generation-02"
    folder.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump({"system": {"kind": "ammonia"}}))
    write_committee(folder, committee(2))
    ground = planar_geometry(1.0)
    ground.positions[0, 2] = 0.4
    data = [molecule("NH3"), ground]
    for energy, one in zip((-1.0, -2.0), data, strict=True):
        one.info[ENERGY], one.arrays[FORCES] = energy, np.zeros((4, 3))
    write_structures(folder / "dataset.extxyz", data)
    seen = []

    def neb(start, end, surface, **options):
        seen.append((start, end, options["n_images"]))
        three = np.array([0.0, 1.0, 2.0])
        path = MinimumEnergyPath(
            method=options["method"],
            coordinate=three,
            energy=three,
            slope=three,
            energy_sigma=three,
            member_energy=np.stack([three, three]),
            moved=np.zeros(2),
            climb=False,
            converged=True,
            n_steps=0,
            fmax=0.0,
        )
        return path, [start, start.copy(), end]

    monkeypatch.setattr(module, "neb", neb)
    found, _ = barriers(folder, n_images=7)
    assert list(found.committees) == ["generation 2"]
    assert found.committees["generation 2"].method == "committee of 2"
    (start, end, n_images), expected = seen[0], inversion_endpoints(ground)
    assert n_images == 7
    assert (start.positions == expected[0].positions).all()
    assert (end.positions == expected[1].positions).all()
