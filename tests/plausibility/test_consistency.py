"""Energies and forces of a file that contradict each other: sign, unit and order are seen without a labeller."""

import re

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.inputs.extxyz import write_structures
from sparring.plausibility import Comparison, contradictions, inconsistencies, require
from sparring.units import BOHR, HARTREE, KCAL_PER_MOL, KJ_PER_MOL

FILE = "train.xyz"


def labelled(frames):
    for atoms in frames:
        atoms.calc = EMT()
        atoms.info[ENERGY], atoms.arrays[FORCES] = float(atoms.get_potential_energy()), atoms.get_forces()
        atoms.calc = None
    return frames


@pytest.fixture
def sets(rattled):
    """Rattled molecules and crystals by name, two of them farther from each other than a bond vibrates."""
    return {
        "ethanol": labelled(rattled(molecule("CH3CH2OH"), 16, stdev=0.03)),
        "wide": labelled(rattled(molecule("CH3CH2OH"), 24, stdev=0.08)),
        "copper": labelled(rattled(bulk("Cu", cubic=True), 16, stdev=0.05)),
    }


def changed(frames, *, energy=1.0, force=1.0, length=1.0):
    copies = [atoms.copy() for atoms in frames]
    for atoms in copies:
        atoms.info[ENERGY] *= energy
        atoms.arrays[FORCES] = atoms.arrays[FORCES] * force
        atoms.set_cell(atoms.cell.array * length)
        atoms.positions *= length
    return copies


def text_of(frames):
    found = inconsistencies(frames, FILE)
    assert {(one.severity, one.about) for one in found} <= {("stop", "consistency")}
    return "\n".join(one.text for one in found)


NAMES = ["ethanol", "wide", "copper"]


@pytest.mark.parametrize("name", NAMES)
def test_labels_of_one_method_are_consistent(sets, name):
    assert text_of(sets[name]) == ""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("slip", "message"),
    [
        ({"force": -1}, "forces point uphill .* gradients; multiply them by -1, or the energies if these have the opp"),
        ({"energy": 1 / KCAL_PER_MOL}, "They look like kcal/mol with eV/Å"),
        ({"energy": 1 / KJ_PER_MOL}, "They look like kJ/mol with eV/Å"),
        ({"energy": 1 / HARTREE}, "They look like Hartree with eV/Å"),
        ({"force": BOHR / HARTREE}, "They look like eV with Hartree/Bohr"),
        ({"force": 1 / KCAL_PER_MOL}, "They look like eV with kcal/mol/Å"),
        ({"force": 1 / KJ_PER_MOL}, "They look like eV with kJ/mol/Å"),
        ({"length": 1 / BOHR}, "(atoms are far apart|bonds of hydrogen are .* long).*positions (look like|in) Bohr"),
        ({"length": 0.1}, "atoms overlap: .*as of positions in nm; convert them to Å"),
    ],
    ids=str,
)
def test_slips_of_sign_and_unit_are_named(sets, name, slip, message):
    text = text_of(changed(sets[name], **slip))
    assert re.search(message, text), text


def test_a_finding_shows_how_many_pairs_there_were_and_the_clearest_one(sets):
    text = text_of(changed(sets["ethanol"], force=-1))
    assert "pairs of neighbouring frames, cosine -0.9" in text
    assert "Between frames " in text
    assert ", for one, energies change by " in text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", ["energies", "forces", "atoms"])
def test_labels_of_other_frames_do_not_belong_together(sets, name, what):
    frames, others = sets[name], [atoms.copy() for atoms in sets[name]]
    for index, atoms in enumerate(others):
        other = frames[(index + 5) % len(frames)]
        if what == "energies":
            atoms.info[ENERGY] = other.info[ENERGY]
        else:
            atoms.arrays[FORCES] = np.roll(atoms.arrays[FORCES], 1, axis=0) if what == "atoms" else other.arrays[FORCES]
    assert "energies and forces do not belong together: " in text_of(others)


def test_one_absurd_energy_does_not_make_a_file_inconsistent(sets):
    frames = changed(sets["ethanol"])
    frames[3].info[ENERGY] += 300.0
    assert text_of(frames) == ""


def test_noise_about_one_minimum_is_no_contradiction():
    generator = np.random.default_rng(0)
    frames = []
    for _ in range(20):
        atoms = molecule("NH3")
        atoms.positions += generator.normal(scale=2e-4, size=(4, 3))
        atoms.info[ENERGY] = float(generator.normal(scale=1e-3))
        atoms.arrays[FORCES] = generator.normal(scale=0.01, size=(4, 3))
        frames.append(atoms)
    assert text_of(frames) == ""


def test_too_few_similar_frames_say_nothing(sets, rattled):
    assert text_of(changed(sets["ethanol"][:3], force=-1)) == ""
    assert text_of(changed(labelled(rattled(molecule("NH3"), 8, stdev=0.6)), force=-1)) == ""


def test_energies_below_those_of_all_electrons_are_seen_in_a_single_frame():
    water = molecule("H2O")
    water.info[ENERGY] = -76.4 * HARTREE
    assert inconsistencies([water], FILE) == []
    water.info[ENERGY] = -76.4 * HARTREE / KCAL_PER_MOL
    assert "energies are below those of all electrons, as in kcal/mol or kJ/mol read as eV: -4794" in text_of([water])


def test_a_contradiction_stops_and_says_how_to_go_on_all_the_same(sets):
    with pytest.raises(ValueError, match=r"gradients.*\n.*contradict each other.*write `check_labels: false` in the"):
        require(Comparison(contradictions(changed(sets["ethanol"], force=-1), FILE)))


@pytest.mark.parametrize("generations", [1, 2])
def test_a_run_on_gradients_stops_before_it_labels_or_trains(sets, molecules_file, tmp_path, generations, sparring):
    write_structures(tmp_path / "all.xyz", changed(sets["ethanol"], force=-1))
    keys = {"system.energy_key": "REF_energy", "system.forces_key": "REF_forces"}
    config = molecules_file({"system.file": "all.xyz", "generations": generations, **keys})
    answer = sparring("run", config, "--folder", tmp_path / "run")
    assert answer.exit_code == 2
    assert "gradients" in answer.err or "opposite sign" in answer.err
    assert not list((tmp_path / "run").glob("generation-*/manifest.json"))
