"""Labels of a file that are not the labeller's: what they are is recognised and said before anything is computed."""

import logging
import re

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.commands.running import check, run
from sparring.config import ConfigError, difference, load
from sparring.inputs.extxyz import read_labelled, write_structures
from sparring.labels import Bounds, FromCalculator, LabelError, label
from sparring.plausibility import compare, disagreements, frames_to_compare, inconsistencies, require
from sparring.systems.own.comparison import read_structures_of
from sparring.units import BOHR, HARTREE, KCAL_PER_MOL, KJ_PER_MOL

FILE = "train.xyz"
RY = HARTREE / 2
UNITS = {
    "Hartree": (HARTREE, HARTREE / BOHR, "Hartree", "Hartree/Bohr"),
    "Hartree and Å": (HARTREE, HARTREE, "Hartree", "Hartree/Å"),
    "Rydberg": (RY, RY / BOHR, "Ry", "Ry/Bohr"),
    "kcal/mol": (KCAL_PER_MOL, KCAL_PER_MOL, "kcal/mol", "kcal/mol/Å"),
    "GROMACS": (KJ_PER_MOL, KJ_PER_MOL / 10, "kJ/mol", "kJ/mol/nm"),
    "kJ/mol": (KJ_PER_MOL, KJ_PER_MOL, "kJ/mol", "kJ/mol/Å"),
    "meV": (1e-3, 1e-3, "meV", "meV/Å"),
    "energies only": (HARTREE, 1.0, "Hartree", None),
    "forces only": (1.0, 1 / BOHR, None, "eV/Bohr"),
    "Hartree and eV": (1.0, HARTREE / BOHR, None, "Hartree/Bohr"),
}


def morse():
    return MorsePotential(epsilon=4.0, r0=1.1, rho0=3.0)


LABELLER = FromCalculator(morse(), method="Morse")


def labelled(atoms, calculator=None):
    one = atoms.copy()
    one.calc = calculator or morse()
    one.info[ENERGY], one.arrays[FORCES] = float(one.get_potential_energy()), one.get_forces()
    one.calc = None
    return one


def changed(structures, *, energy=lambda e, atoms: e, forces=lambda f: f):
    """The frames with other labels."""
    copies = [atoms.copy() for atoms in structures]
    for atoms in copies:
        atoms.info[ENERGY] = float(energy(atoms.info[ENERGY], atoms))
        atoms.arrays[FORCES] = forces(atoms.arrays[FORCES])
    return copies


def label_all(structures):
    return label(structures, LABELLER, bounds=Bounds(max_force=None)).labels


def refuse_all(structures):
    return [LabelError("crashed", "no licence")] * len(structures)


def texts(structures, labeller=label_all, **options):
    return [finding.text for finding in compare(structures, labeller, file=FILE, **options).findings]


@pytest.fixture
def ammonias(rattled):
    return [labelled(one) for one in rattled(molecule("NH3"), 12, stdev=0.05)]


@pytest.fixture
def waters(rattled):
    return [labelled(one) for one in rattled(molecule("H2O"), 6, stdev=0.05)]


# --- with a labeller --------------------------------------------------------------------------------------------------


def test_labels_of_the_labeller_pass_and_cost_three_labels(ammonias):
    comparison = compare(ammonias, label_all, file=FILE)
    assert comparison.findings == ()
    assert comparison.n_compared == len(comparison.frames) == 3


def test_noise_between_versions_of_a_code_passes(ammonias):
    generator = np.random.default_rng(0)
    noisy = changed(
        ammonias,
        energy=lambda e, _: e + 1e-3 * generator.normal(),
        forces=lambda f: f + 2e-3 * generator.normal(size=f.shape),
    )
    assert texts(noisy) == []


@pytest.mark.parametrize("what", UNITS)
def test_units_are_recognised_and_named(what, ammonias):
    energy, force, energy_unit, forces_unit = UNITS[what]
    found = "\n".join(texts(changed(ammonias, energy=lambda e, _: e / energy, forces=lambda f: f / force)))
    for kind, unit, size in (("energies", energy_unit, energy), ("forces", forces_unit, force)):
        pattern = rf"train\.xyz: the {kind} look like {unit}: ratio ([0-9.]+) to .*; write `\w+_unit: {unit}` in the"
        match = re.search(pattern, found)
        assert bool(match) == (unit is not None)
        assert match is None or float(match[1]) == pytest.approx(size, rel=1e-3)


def test_a_unit_is_recognised_although_the_zero_is_another_too(ammonias):
    (text,) = texts(changed(ammonias, energy=lambda e, _: (e + 500) / HARTREE))
    assert re.search(
        r"energies look like Hartree: ratio 27\.\d+ to eV of 2 differences .*their zero is another, too", text
    )


def test_a_unit_that_was_named_wrongly_is_corrected(ammonias):
    (energies,) = [
        text
        for text in texts(changed(ammonias, energy=lambda e, _: HARTREE * e), energy_unit="Hartree")
        if "energies" in text
    ]
    assert "the energies look like eV: ratio 1 to eV" in energies
    assert "write `energy_unit: eV`" in energies


def test_gradients_in_place_of_forces_are_recognised(ammonias):
    (text,) = texts(changed(ammonias, forces=np.negative))
    assert text.startswith("train.xyz: the forces have the opposite sign (cosine -1.000): they look like gradients")


def test_gradients_in_another_unit_are_recognised_as_both(ammonias):
    found = texts(changed(ammonias, forces=lambda f: -f * BOHR / HARTREE))
    assert [("gradients" in text, "Hartree/Bohr" in text) for text in found] == [(True, False), (False, True)]


def test_binding_energies_that_are_positive_are_recognised(ammonias):
    (text,) = texts(changed(ammonias, energy=lambda e, _: -e))
    assert "the energies have the opposite sign (ratio -1" in text


def test_another_zero_of_energy_is_named_with_its_size(ammonias):
    (text,) = texts(changed(ammonias, energy=lambda e, _: e - 6000))
    assert "the energies have another zero: -6000 eV for H3N, while differences between frames agree" in text


def test_half_an_electronvolt_between_energy_and_free_energy_is_another_zero(ammonias):
    (text,) = texts(changed(ammonias, energy=lambda e, _: e + 0.5))
    assert "the energies have another zero: +0.5 eV for H3N" in text


def test_a_zero_for_each_atom_is_seen_in_two_compositions(ammonias, waters):
    (text,) = texts(changed([*ammonias, *waters], energy=lambda e, atoms: e + 2.5 * len(atoms)))
    assert "+7.5 eV for H2O, +10 eV for H3N (+2.5 eV an atom)" in text


def test_atomization_energies_are_another_zero(ammonias, waters):
    atoms = {1: 13.6, 7: 1485.0, 8: 2041.0}
    (text,) = texts(changed([*ammonias, *waters], energy=lambda e, one: e + sum(atoms[n] for n in one.numbers)))
    assert "another zero: +2068.2 eV for H2O, +1525.8 eV for H3N, while" in text


def test_forces_of_another_method_are_seen_by_their_scale(ammonias):
    found = texts(changed(ammonias, energy=lambda e, _: e - 6000, forces=lambda f: 1.1 * f))
    assert "the forces are 1.1 times those of this labeller" in found[0]
    assert "which is no unit: scaled, or another method" in found[0]
    assert "another zero: -6000 eV" in found[1]


def test_labels_of_another_method_are_those_of_another_method(ammonias):
    others = [labelled(one, MorsePotential(epsilon=2.5, r0=1.4, rho0=4.0)) for one in ammonias]
    found = "\n".join(texts(others))
    assert re.search(r"the forces are not those of this labeller \(cosine -?0\.\d+; .*another method", found)
    assert "energies" in found


def test_forces_of_other_atoms_are_not_taken_for_another_unit(ammonias):
    (text,) = texts(changed(ammonias, forces=lambda f: f[[1, 0, 2, 3]]))
    assert "the forces are not those of this labeller" in text


def test_forces_that_constraints_have_set_to_zero_are_recognised(ammonias):
    fixed = np.array([[1.0], [0.0], [0.0], [1.0]])
    (text,) = texts(changed(ammonias, forces=lambda f: f * fixed))
    assert re.search(
        r"the forces on 2 of 4 atoms of frame \d+ \(H3N\) \(1, 2\) are exactly zero, by the labeller", text
    )


def test_energies_alone_are_compared_too(ammonias):
    for one in ammonias:
        del one.arrays[FORCES]
    assert texts(ammonias) == []
    for one in ammonias:
        one.info[ENERGY] /= HARTREE
    (text,) = texts(ammonias)
    assert "the energies look like Hartree" in text


def test_one_frame_tells_a_unit_and_otherwise_says_that_it_is_one(ammonias):
    (text,) = texts(changed(ammonias[:1], energy=lambda e, _: e + 3))
    assert "+3 eV for H3N" in text
    assert "another zero or another method, which 1 frame cannot tell apart" in text
    (text,) = texts(changed(ammonias[:1], energy=lambda e, _: e / HARTREE))
    assert "the energies look like Hartree" in text


def test_a_frame_that_cannot_be_labelled_is_not_compared_and_said(ammonias):
    comparison = compare(ammonias, refuse_all, file=FILE)
    assert comparison.n_compared == 0
    assert {finding.severity for finding in comparison.findings} == {"warn"}
    assert re.match(
        r"train\.xyz, frame \d+ \(H3N\): its label cannot be compared, .*: no licence", comparison.findings[0].text
    )
    require(comparison)


def test_a_stop_is_an_error_that_says_how_to_go_on_all_the_same(ammonias):
    comparison = compare(changed(ammonias, energy=lambda e, _: e + 1), label_all, file=FILE)
    with pytest.raises(
        ValueError, match=r"another zero: \+1 eV .*\n.*write `check_labels: false` in the section system"
    ):
        require(comparison)


def test_the_fewest_atoms_are_labelled_and_no_atom_by_itself(ammonias, waters):
    alone = labelled(Atoms("H", [[0, 0, 0]]))
    structures = [alone, *ammonias, *waters, alone]
    chosen = [structures[index] for index in frames_to_compare(structures)]
    assert [one.get_chemical_formula() for one in chosen] == ["H2O", "H2O", "H3N"]
    assert chosen[0].info[ENERGY] == min(one.info[ENERGY] for one in waters)
    assert frames_to_compare([alone]) == [0]
    assert frames_to_compare([molecule("H2O")]) == []


def test_labels_out_of_bounds_are_not_what_is_compared(ammonias):
    ammonias[3].info[ENERGY] = -1e9
    ammonias[3].arrays[FORCES] = np.full((4, 3), 1e6)
    chosen = frames_to_compare(ammonias)
    assert 3 not in chosen
    assert len(chosen) >= 2


def test_nothing_to_compare_finds_nothing():
    assert disagreements([], FILE) == []


# --- without a labeller -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stdev", [0.01, 0.05, 0.12])
@pytest.mark.parametrize(
    ("atoms", "calculator"),
    [
        (molecule("NH3"), EMT()),
        (molecule("CH3CH2OH"), EMT()),
        (bulk("Cu", cubic=True), EMT()),
        (molecule("H2O"), morse()),
        (molecule("H2O"), MorsePotential(epsilon=4, r0=0.97, rho0=6)),
    ],
    ids=["ammonia", "ethanol", "copper", "water", "stiff water"],
)
def test_energies_and_forces_of_one_surface_belong_together(atoms, calculator, stdev, rattled):
    structures = [labelled(one, calculator) for one in rattled(atoms, 16, stdev=stdev)]
    assert inconsistencies(structures, FILE) == []


def test_frames_that_are_far_from_each_other_say_nothing(rattled):
    far = [labelled(one) for one in rattled(molecule("NH3"), 8, stdev=0.5)]
    assert inconsistencies(changed(far, forces=np.negative), FILE) == []


@pytest.mark.parametrize(
    ("energy", "force", "looks"),
    [
        (1, HARTREE / BOHR, "eV with Hartree/Bohr"),
        (HARTREE, HARTREE / BOHR, "Hartree with Hartree/Bohr, or Ry with Ry/Bohr, or eV with eV/Bohr"),
        (HARTREE, 1, "Hartree with eV/Å"),
        (KJ_PER_MOL, KJ_PER_MOL / 10, "kJ/mol with kJ/mol/nm"),
        (KCAL_PER_MOL, 1, "kcal/mol with eV/Å"),
    ],
)
def test_units_that_do_not_fit_each_other_are_seen_without_any_labeller(energy, force, looks, ammonias):
    odd = changed(ammonias, energy=lambda e, _: e / energy, forces=lambda f: f / force)
    (finding,) = inconsistencies(odd, FILE)
    assert finding.severity == "stop"
    assert f"They look like {looks}" in finding.text


def test_gradients_are_seen_without_any_labeller(ammonias):
    (finding,) = inconsistencies(changed(ammonias, forces=np.negative), FILE)
    assert re.search(r"forces point uphill \(\d+ pairs of neighbouring frames, cosine -.*gradients", finding.text)


def test_forces_of_other_frames_are_seen_without_any_labeller(ammonias):
    shuffled = [one.arrays[FORCES] for one in ammonias[5:] + ammonias[:5]]
    odd = [one.copy() for one in ammonias]
    for one, forces in zip(odd, shuffled, strict=True):
        one.arrays[FORCES] = forces
    (finding,) = inconsistencies(odd, FILE)
    assert re.search(r"energies and forces do not belong together: .* in \d+% of \d+ pairs", finding.text)


def test_a_trajectory_through_the_wall_of_its_cell_is_a_trajectory(rattled):
    crystal = bulk("Cu", cubic=True)
    structures = [labelled(one, EMT()) for one in rattled(crystal, 12, stdev=0.03)]
    for one in structures:
        one.wrap()
    assert inconsistencies(structures, FILE) == []
    assert inconsistencies(changed(structures, forces=np.negative), FILE) != []


# --- in check and in a run --------------------------------------------------------------------------------------------


def write_other_zero(molecules, file):
    """The molecules with EMT's labels in Hartree and Hartree/Bohr."""
    converted = [atoms.copy() for atoms in molecules]
    for atoms in converted:
        if "dft_energy" in atoms.info:
            atoms.info["dft_energy"] /= HARTREE
            atoms.arrays["dft_forces"] *= BOHR / HARTREE
    write_structures(file, converted)


def test_check_says_what_is_wrong_and_exits_with_2(molecules, molecules_file, sparring, tmp_path):
    config = molecules_file()
    write_other_zero(molecules, tmp_path / "molecules.xyz")
    answer = sparring("check", config)
    assert answer.exit_code == 2
    assert "3 labels of the file are computed once more, to compare them" in answer.out
    assert re.search(r"wrong: \S*molecules\.xyz: the forces look like Hartree/Bohr: ratio 51\.42 to eV/Å", answer.err)
    assert "a run would stop here" in answer.err


def test_a_run_stops_before_anything_else_is_labelled(molecules, molecules_file, tmp_path):
    config = molecules_file()
    write_other_zero(molecules, tmp_path / "molecules.xyz")
    with pytest.raises(ValueError, match=r"the forces look like Hartree/Bohr"):
        run(config, tmp_path / "run")
    assert len(list((tmp_path / "run" / "labels").glob("*.json"))) == 3
    assert not list((tmp_path / "run").glob("generation-*/manifest.json"))


def test_a_run_converts_units_that_are_named_and_then_agrees(molecules, molecules_file, tmp_path, monkeypatch):
    monkeypatch.setattr("sparring.commands.running.report", lambda folder: None)
    config = load(molecules_file())
    plain = read_structures_of(config.system)
    write_other_zero(molecules, tmp_path / "molecules.xyz")
    units = {"system.energy_unit": "Hartree", "system.forces_unit": "Hartree/Bohr"}
    named = load(tmp_path / "molecules.yaml", overrides=units)
    for one, other in zip(read_structures_of(named.system), plain, strict=True):
        assert one.info.get(ENERGY, 0.0) == pytest.approx(other.info.get(ENERGY, 0.0), abs=1e-9)
        if FORCES in other.arrays:
            np.testing.assert_allclose(one.arrays[FORCES], other.arrays[FORCES], atol=1e-9)
    assert not [one for one in check(named).findings if one.severity == "stop"]
    run(named, tmp_path / "run")
    assert read_labelled(tmp_path / "run" / "generation-01" / "dataset.extxyz")


def test_a_run_mixes_labels_only_when_it_is_told_to(molecules, molecules_file, tmp_path, monkeypatch):
    monkeypatch.setattr("sparring.commands.running.report", lambda folder: None)
    config = load(molecules_file(), overrides={"system.check_labels": False})
    write_other_zero(molecules, tmp_path / "molecules.xyz")
    assert check(config).n_compared == 0
    run(config, tmp_path / "run")
    again = load(tmp_path / "molecules.yaml")
    assert difference(config, again) == []


def test_nothing_is_compared_where_no_label_is_mixed(molecules, molecules_file, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("sparring.commands.running.report", lambda folder: None)
    write_other_zero(molecules[::2], tmp_path / "all.xyz")
    config = load(molecules_file(), overrides={"system.file": "all.xyz", "generations": 1})
    with caplog.at_level(logging.WARNING):
        run(config, tmp_path / "run")
    assert not list((tmp_path / "run" / "labels").glob("*.json"))
    assert {one.severity for one in check(config).findings} == {"warn"}


@pytest.mark.parametrize(("key", "unit"), [("energy_unit", "hartrees"), ("forces_unit", "eV"), ("energy_unit", "Å")])
def test_a_unit_that_is_none_is_refused(key, unit, molecules_file):
    with pytest.raises(ConfigError, match=rf"override: system\.{key}: "):
        load(molecules_file(), overrides={f"system.{key}": unit})


def test_check_counts_hessians_and_relaxations_and_says_how_long_it_takes(molecules_file, sparring):
    answer = sparring("check", molecules_file({"system.enlarge": {"kind": "normal_modes", "n_structures": 9}}))
    assert "144 of 159 labels to begin with are displaced structures of Hessians" in answer.out
    assert "9 relaxations on top: each of 10 to 40 labels as a rule, 300 at most, one after the other" in answer.out
    assert re.search(r"all labels take .*, at [0-9.e-]+ s each with 1 worker on \d+ cores? \(limited by", answer.out)
    assert "training is not counted, and one that is interrupted begins anew" in answer.out


def test_check_says_when_workers_or_threads_outnumber_the_cores(molecules_file, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    found = [one.text for one in check(load(molecules_file({"labels.n_workers": 2}))).findings]
    assert (
        "labels.n_workers: 2 processes on 1 cores (limited by SLURM_CPUS_PER_TASK=1) wait for one another"
        in "\n".join(found)
    )


def test_check_tries_every_element_of_a_file(molecules, molecules_file):
    file = molecules_file(structures=[*molecules, molecule("CH3Cl")])
    found = [one.text for one in check(load(file)).findings]
    assert [text for text in found if re.search(r"molecules\.xyz, frame 12 \(CH3Cl\) cannot be labelled: .*Cl", text)]


def test_check_says_that_labels_which_agree_do(molecules_file, sparring):
    answer = sparring("check", molecules_file())
    assert answer.exit_code == 0
    assert "to compare them: nothing against mixing them was found" in answer.out
