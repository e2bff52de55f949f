"""Labels that somebody computes elsewhere: what goes out, what is taken back, and what is refused."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import write as ase_write
from scipy.spatial.transform import Rotation

from sparring.exchange.answers import read_answers
from sparring.exchange.convergence import has_converged
from sparring.exchange.folder import OfflineFolder, n_awaited
from sparring.inputs.extxyz import read_structures, write_structures
from sparring.labels import AnswerError, Label, LabelsMissing, LabelStore, Offline, label, label_key
from sparring.units import HARTREE


@pytest.fixture
def asked(rattled):
    """Six structures of two molecules."""
    return [one for name in ("NH3", "H2O") for one in rattled(molecule(name), 3, stdev=0.05)]


@pytest.fixture
def there(tmp_path):
    """The folder that structures wait in."""
    return tmp_path / "offline"


@pytest.fixture
def labelling(tmp_path):
    """Labels of structures from the folder, as a run asks for them; `label` without a labeller that computes."""

    def call(structures, *, labeller=None, **choices):
        labeller = labeller or Offline()
        files = OfflineFolder(labeller=labeller, place=lambda: tmp_path, root=tmp_path, **choices)
        return label(structures, labeller, store=LabelStore(tmp_path / "labels"), workers=files)

    return call


def computed(atoms):
    """The structure with a label by EMT, under the names of Sparring."""
    labelled = atoms.copy()
    labelled.calc = EMT()
    labelled.info["REF_energy"] = labelled.get_potential_energy()
    labelled.arrays["REF_forces"] = labelled.get_forces()
    labelled.calc = None
    return labelled


def without_key(atoms):
    bare = atoms.copy()
    del bare.info["key"]
    return bare


def outgoing(there):
    return read_structures(there / "to_label.extxyz")


def ask(labelling, structures, **choices):
    """The message of a call that finds no labels."""
    with pytest.raises(LabelsMissing) as caught:
        labelling(structures, **choices)
    return caught.value


# --- what goes out ----------------------------------------------------------------------------------------------------


def test_structures_go_out_with_all_that_their_label_depends_on_and_nothing_else(labelling, there, asked):
    ion = molecule("NH3")
    ion.info = {"charge": 1, "spin_order": "up", "source": "attack", "expected_force_error": 0.5, "parent": 3}
    ion.set_tags([1, 0, 0, 0])
    ion.arrays["REF_forces"] = np.ones((4, 3))
    labeller = Offline("PBE", "code 1", ("spin_order",))
    ask(labelling, [ion], labeller=labeller)
    (out,) = outgoing(there)
    assert out.info == {
        "key": label_key(ion, labeller),
        "charge": 1,
        "multiplicity": 2,
        "spin_order": "up",
        "source": "attack",
        "expected_force_error": 0.5,
    }
    assert sorted(out.arrays) == ["numbers", "positions"]
    assert out.positions.tolist() == ion.positions.tolist()


def test_two_sentences_say_what_is_awaited_and_what_to_do(labelling, there, asked):
    missing = ask(labelling, asked, labeller=Offline("PBE/def2-SVP"))
    assert (missing.n_missing, missing.n_read, missing.file) == (6, 0, there / "to_label.extxyz")
    text = (
        r"6 labels are awaited: the structures are in \S*to_label\.extxyz\. Put their energies and forces by "
        r"PBE/def2-SVP into the same folder, as extended XYZ or as outputs of ORCA, VASP, CP2K, Quantum ESPRESSO, "
        r"Gaussian or FHI-aims, in any order and also a part of them, and give the same command again\."
    )
    assert re.fullmatch(text, str(missing))
    assert n_awaited(there.parent) == 6


def test_the_key_is_that_of_a_labeller_with_the_same_method_and_version(asked):
    online = Label(energy=0.0, forces=np.zeros((4, 3)), method="m", version="v", converged=True, wall_time=1.0)
    assert label_key(asked[0], Offline("m", "v")) == label_key(asked[0], online)
    assert label_key(asked[0], Offline("m", "w")) != label_key(asked[0], online)


# --- what comes back --------------------------------------------------------------------------------------------------


def test_labels_come_back_in_any_order_in_parts_and_to_the_last_bit(labelling, there, asked):
    ask(labelling, asked)
    answers = [computed(atoms) for atoms in outgoing(there)]
    write_structures(there / "second.extxyz", answers[4:2:-1])
    missing = ask(labelling, asked)
    assert (missing.n_read, missing.n_missing) == (2, 4)
    assert str(missing).startswith("2 labels were read, and 4 labels are awaited")
    assert len(outgoing(there)) == 4
    (there / "job").mkdir()
    write_structures(there / "job" / "rest.xyz", [answers[i] for i in (5, 0, 2, 1)])
    report = labelling(asked)
    assert (report.n_computed, report.n_reused) == (4, 2)
    for found, answer in zip(report.labels, answers, strict=True):
        assert found.energy == answer.info["REF_energy"]
        assert found.forces.tolist() == answer.arrays["REF_forces"].tolist()
        assert (found.method, found.version, found.converged) == ("offline", "offline", True)
    assert not (there / "to_label.extxyz").exists()
    assert n_awaited(there.parent) == 0


def test_labels_that_are_there_are_not_asked_for_again(labelling, there, asked):
    ask(labelling, asked)
    write_structures(there / "all.xyz", [computed(atoms) for atoms in outgoing(there)])
    labelling(asked)
    (there / "all.xyz").unlink()
    assert labelling([asked[3], *asked]).n_reused == 7


def test_a_label_without_a_key_is_found_by_its_geometry_and_its_forces_are_turned_back(labelling, there, asked):
    ask(labelling, asked)
    answers = []
    for seed, atoms in enumerate(outgoing(there)):
        order = np.random.default_rng(seed).permutation(len(atoms))
        moved = without_key(atoms)[order]
        moved.positions = moved.positions @ Rotation.random(random_state=seed).as_matrix() + [1.0, 2.0, 3.0]
        answers.append(computed(moved))
    ase_write(there / "all.xyz", answers[::-1])  # ASE writes eight decimals
    for found, atoms in zip(labelling(asked).labels, asked, strict=True):
        wanted = computed(atoms)
        assert found.energy == pytest.approx(wanted.info["REF_energy"], abs=1e-6)
        np.testing.assert_allclose(found.forces, wanted.arrays["REF_forces"], atol=1e-5)


def test_one_label_serves_structures_that_are_the_same_but_turned(labelling, there):
    first = molecule("H2O")
    second = first.copy()
    second.rotate(40, "x")
    ask(labelling, [first, second])
    write_structures(there / "one.xyz", [computed(without_key(outgoing(there)[0]))])
    report = labelling([first, second])
    np.testing.assert_allclose(report.labels[1].forces, computed(second).arrays["REF_forces"], atol=1e-8)


def test_names_of_labels_can_be_those_of_the_file(labelling, there, asked):
    from sparring.exchange.answers import Names

    ask(labelling, asked[:1])
    answer = computed(outgoing(there)[0])
    answer.info["dft"], answer.arrays["f"] = answer.info.pop("REF_energy"), answer.arrays.pop("REF_forces")
    write_structures(there / "one.xyz", [answer])
    with pytest.raises(AnswerError, match=r"one\.xyz, frame 0 .*there is no 'REF_energy'.*labels\.labeller"):
        labelling(asked[:1])
    report = labelling(asked[:1], names=Names(energy_key="dft", forces_key="f"))
    assert report.labels[0].energy == answer.info["dft"]


def test_the_stress_of_a_crystal_comes_back_and_that_of_a_molecule_in_a_box_does_not(labelling, there):
    crystal, water = bulk("Cu", a=3.7), molecule("H2O")
    ask(labelling, [crystal, water])
    answers = [computed(atoms) for atoms in outgoing(there)]
    answers[1].cell, answers[1].pbc = [9, 9, 9], True
    for answer in answers:
        answer.info["REF_stress"] = np.arange(6.0)
    write_structures(there / "all.xyz", answers)
    stresses = [one.stress for one in labelling([crystal, water]).labels]
    assert stresses[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert stresses[1] is None


def test_a_file_that_only_repeats_the_structures_is_no_answer(labelling, there, asked):
    ask(labelling, asked)
    write_structures(there / "part of to_label.extxyz", outgoing(there)[:3])
    (there / "orca.xyz").write_text("1\nCoordinates from ORCA-job\nO 0 0 0\n")
    (there / "slurm-17.out").write_text("a job of somebody\n")
    assert ask(labelling, asked).n_missing == 6


# --- what is refused --------------------------------------------------------------------------------------------------


def test_another_geometry_is_refused_with_file_frame_distance_and_remedy(labelling, there, asked):
    ask(labelling, asked)
    answers = [computed(atoms) for atoms in outgoing(there)]
    answers[1].positions[0, 0] += 0.2
    write_structures(there / "results.xyz", answers)
    text = (
        r"results\.xyz, frame 1 \(counting from 0\): this is not a geometry that was asked for: atoms or lattice "
        r"vectors are up to 0\.1\d* Å from those of its key \(\w{12}\.\.\., structure 1 of those asked for, "
        r"counting from 0\), and 0\.001 Å are allowed; compute energy and forces of the written geometry, without "
        r"relaxing it, or remove"
    )
    with pytest.raises(AnswerError, match=text):
        labelling(asked)
    write_structures(there / "results.xyz", [without_key(answers[1])])
    with pytest.raises(AnswerError, match=r"are up to 0\.1\d* Å from those of the nearest structure \(\w{12}"):
        labelling(asked)
    assert labelling(asked[1:2], tolerance=0.3).labels[0].energy == answers[1].info["REF_energy"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda atoms: atoms.info.update(charge=1, multiplicity=2), "its charge is 1, and that of the .* is 0"),
        (lambda atoms: atoms.info.update(multiplicity=3), "its multiplicity is 3, and that of the .* is 1"),
        (lambda atoms: atoms.info.update(key="0" * 64), "its key 000000000000... is none of those"),
        (lambda atoms: atoms.arrays.pop("REF_forces"), "an energy and no forces, and a label needs both"),
        (lambda atoms: atoms.set_chemical_symbols("PHHH"), "it has the atoms H3P, and its key is that of H3N"),
        (lambda atoms: atoms.info.update(REF_energy=math.inf), "must be one finite number"),
    ],
)
def test_what_cannot_be_the_label_of_a_structure_is_refused_by_file_and_frame(labelling, there, asked, change, message):
    ask(labelling, asked)
    answers = [computed(atoms) for atoms in outgoing(there)]
    change(answers[2])
    (there / "results.xyz").write_text("")
    text = "".join(_frame(one) for one in answers)
    (there / "results.xyz").write_text(text)
    with pytest.raises(AnswerError, match=rf"results\.xyz, frame 2 \(counting from 0\): .*{message}"):
        labelling(asked)
    assert len(LabelStore(there.parent / "labels")) == 0


def _frame(atoms):
    from sparring.inputs.extxyz import frame_text

    return frame_text(atoms, "frame")


def test_a_frame_of_atoms_that_were_not_asked_for_is_refused(labelling, there, asked):
    ask(labelling, asked)
    write_structures(there / "other.xyz", [computed(molecule("CH4"))])
    with pytest.raises(AnswerError, match=r"other\.xyz, frame 0 .*no structure with the atoms CH4 was asked for"):
        labelling(asked)


def test_labels_of_one_structure_that_disagree_are_refused_and_those_that_agree_are_not(labelling, there, asked):
    ask(labelling, asked[:1])
    answer = computed(outgoing(there)[0])
    write_structures(there / "a.xyz", [answer])
    again = without_key(answer)
    again.info["REF_energy"] += 1e-6
    write_structures(there / "b.xyz", [again])
    assert labelling(asked[:1]).labels[0].energy == answer.info["REF_energy"]
    again.info["REF_energy"] += 0.5
    write_structures(there / "b.xyz", [again])
    text = r"b\.xyz, frame 0 .*: \S*a\.xyz, frame 0 .* is a label of the same structure, .* differ by 0\.5 eV .*remove"
    with pytest.raises(AnswerError, match=text):
        labelling([asked[0], asked[1]])


def test_a_label_that_differs_from_the_one_that_was_read_before_is_refused(labelling, there, asked):
    ask(labelling, asked)
    answer = computed(outgoing(there)[0])
    write_structures(there / "a.xyz", [answer])
    ask(labelling, asked)
    answer.info["REF_energy"] += 1.0
    write_structures(there / "a.xyz", [answer])
    with pytest.raises(AnswerError, match=r"a\.xyz, frame 0 .*the label store is a label of the same .* 1 eV"):
        labelling(asked)


def test_structures_that_differ_in_charge_alone_need_a_key_or_a_charge(labelling, there):
    neutral, ion = molecule("NH3"), molecule("NH3")
    ion.info["charge"] = 1
    ask(labelling, [neutral, ion])
    answers = [computed(atoms) for atoms in outgoing(there)]
    bare = without_key(answers[0])
    bare.info = {"REF_energy": bare.info["REF_energy"]}
    write_structures(there / "one.xyz", [bare])
    with pytest.raises(AnswerError, match=r"several structures with this geometry .* differ in charge, multiplicity"):
        labelling([neutral, ion])
    bare.info |= {"charge": 1, "multiplicity": 2}
    write_structures(there / "one.xyz", [bare])
    assert ask(labelling, [neutral, ion]).n_read == 1


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_frame_that_is_marked_as_not_converged_is_a_failed_label_until_a_label_is_there(labelling, there, asked):
    ask(labelling, asked)
    answers = [computed(atoms) for atoms in outgoing(there)]
    answers[0] = outgoing(there)[0]
    answers[0].info["converged"] = False
    answers[4].info["converged"] = False  # with the energy of the last cycle
    write_structures(there / "results.xyz", answers)
    report = labelling(asked)
    assert [error.reason for error in report.failures] == ["not_converged"] * 2
    assert re.search(r"structure 0 \(H3N\): .*results\.xyz, frame 0 .*: it is marked as", str(report.failures[0]))
    write_structures(there / "better.xyz", [computed(asked[0])])
    assert [error.reason for error in labelling(asked).failures] == ["not_converged"]


def test_what_was_asked_for_and_has_not_come_is_missing_where_that_is_accepted(labelling, there, asked):
    assert ask(labelling, asked, accept_missing=True).n_missing == 6  # nobody knew of them before
    write_structures(there / "results.xyz", [computed(atoms) for atoms in outgoing(there)[:4]])
    report = labelling(asked, accept_missing=True)
    assert [error.reason for error in report.failures] == ["missing", "missing"]
    assert "asked for in to_label.extxyz and has not come (--accept-missing)" in str(report.failures[0])
    assert not report.failures[0].is_geometry


def test_bounds_hold_as_for_all_labels(labelling, there, asked):
    ask(labelling, asked[:2])
    answers = [computed(atoms) for atoms in outgoing(there)]
    answers[1].arrays["REF_forces"][0, 0] = 200.0
    write_structures(there / "results.xyz", answers)
    assert [error.reason for error in labelling(asked[:2]).failures] == ["force"]


# --- outputs of programs ----------------------------------------------------------------------------------------------

ORCA = """                                 * O   R   C   A *
                         Program Version 5.0.4 -  RELEASE  -
Number of atoms                         ...      {n}
---------------------------------
CARTESIAN COORDINATES (ANGSTROEM)
---------------------------------
{rows}

 Total Charge           Charge          ....    {charge}
 Multiplicity           Mult            ....    1
FINAL SINGLE POINT ENERGY      {energy}
------------------
CARTESIAN GRADIENT
------------------

{gradient}

                             ****ORCA TERMINATED NORMALLY****
"""
BOHR = 0.529177210903


def orca(atoms, *, charge=0):
    """An output of ORCA with the label of EMT and the digits of ORCA."""
    labelled = computed(atoms)
    rows = "\n".join(
        f"  {symbol:2s} {x:12.6f} {y:12.6f} {z:12.6f}"
        for symbol, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)
    )
    slopes = -labelled.arrays["REF_forces"] / HARTREE * BOHR
    gradient = "\n".join(
        f"   {i + 1}   {symbol}   : {x:14.9f} {y:14.9f} {z:14.9f}"
        for i, (symbol, (x, y, z)) in enumerate(zip(atoms.symbols, slopes, strict=True))
    )
    energy = f"{labelled.info['REF_energy'] / HARTREE:.12f}"
    return ORCA.format(n=len(atoms), rows=rows, gradient=gradient, energy=energy, charge=charge)


def test_outputs_of_orca_are_read_from_their_folders_whatever_lies_beside_them(labelling, there, asked):
    ask(labelling, asked)
    for number, atoms in enumerate(outgoing(there)):
        job = there / f"job-{number}"
        job.mkdir()
        atoms.rotate(30 * number, "z")
        (job / "orca.out").write_text(orca(atoms))
        (job / "orca.inp").write_text("! BP86 EnGrad\n")
        (job / "orca.xyz").write_text(
            f"{len(atoms)}\nCoordinates from ORCA-job orca E -1.0\n" + "H 0 0 0\n" * len(atoms)
        )
        (job / "orca.gbw").write_bytes(b"\x00\x01\x02")
    for found, atoms in zip(labelling(asked).labels, asked, strict=True):
        wanted = computed(atoms)
        assert found.energy == pytest.approx(wanted.info["REF_energy"], abs=1e-4)
        np.testing.assert_allclose(found.forces, wanted.arrays["REF_forces"], atol=2e-3)


def test_an_output_that_has_not_converged_is_a_failed_label_by_the_key_in_the_name_of_its_folder(
    labelling, there, asked
):
    ask(labelling, asked[:2])
    out = outgoing(there)
    failed = there / out[0].info["key"][:16]
    failed.mkdir()
    (failed / "orca.out").write_text(orca(out[0])[:300] + "\nSCF NOT CONVERGED AFTER 125 CYCLES\n")
    (there / "good.out").write_text(orca(out[1]))
    report = labelling(asked[:2])
    assert [error.reason for error in report.failures] == ["not_converged"]
    assert "orca.out: its self-consistent cycle has not converged" in str(report.failures[0])


def test_an_output_that_has_not_converged_and_has_no_key_is_left_aside_and_said(labelling, there, asked, caplog):
    ask(labelling, asked[:1])
    text = orca(outgoing(there)[0]) + "\nSCF NOT CONVERGED AFTER 125 CYCLES\n"
    (there / "job.out").write_text(text)
    assert ask(labelling, asked[:1]).n_missing == 1
    assert re.search(r"job\.out: left aside: its self-consistent cycle has not converged, and no key", caplog.text)


def test_an_output_that_is_still_being_written_counts_as_missing_and_is_said(labelling, there, asked, caplog):
    ask(labelling, asked[:2])
    out = outgoing(there)
    (there / "done.out").write_text(orca(out[0]))
    (there / "running.out").write_text(orca(out[1])[:200])
    assert ask(labelling, asked[:2]).n_missing == 1
    assert re.search(r"left aside, its calculation may not have ended: \S*running\.out: cannot be read", caplog.text)


def test_an_output_of_another_charge_is_refused(labelling, there, asked):
    ask(labelling, asked[:1])
    (there / "ion.out").write_text(orca(outgoing(there)[0], charge=2))
    with pytest.raises(AnswerError, match=r"ion\.out: its charge is 2, and that of the structure .* is 0"):
        labelling(asked[:1])


def test_a_trajectory_of_ase_keeps_all_digits(labelling, there, asked):
    ask(labelling, asked)
    answers = outgoing(there)
    for atoms in answers:
        atoms.calc = EMT()
        atoms.get_forces()
    ase_write(there / "all.traj", answers[::-1])
    for found, atoms in zip(labelling(asked).labels, asked, strict=True):
        assert found.forces.tolist() == computed(atoms).arrays["REF_forces"].tolist()


VASPRUN = (Path(__file__).parents[1] / "data" / "vasprun.xml").read_text(encoding="utf-8")


def test_a_vasprun_is_the_free_energy_of_its_cell_unless_the_cycle_ended_at_its_limit(labelling, there):
    copper = Atoms("Cu", cell=[2.5, 2.5, 2.5], pbc=True, positions=[[0.3, 0.2, 0.1]])
    ask(labelling, [copper])
    (there / "vasprun.xml").write_text(VASPRUN.replace(">60<", ">2<"))
    assert [error.reason for error in labelling([copper]).failures] == ["not_converged"]
    (there / "vasprun.xml").write_text(VASPRUN)
    assert labelling([copper]).labels[0].energy == -3.75


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("gaussian-out", " Convergence failure -- run terminated."),
        ("espresso-out", "     convergence NOT achieved after 100 iterations: stopping"),
        ("aims-output", " ** Self-consistency cycle not yet converged\n  Self-consistency cycle not converged"),
        ("cp2k", " *** WARNING: SCF run NOT converged ***"),
        ("vasp-out", "POSITION    TOTAL-FORCE (eV/Angst)"),
        ("orca-output", "SCF CONVERGENCE FAILURE"),
    ],
)
def test_words_of_programs_about_convergence_are_known(kind, text):
    assert not has_converged(text, kind)
    assert has_converged("all is well", kind)


def test_a_file_that_is_named_by_itself_must_be_readable(tmp_path):
    (tmp_path / "notes.txt").write_text("to do\n")
    with pytest.raises(AnswerError, match=r"notes\.txt: .* is not read; convert it to extended XYZ"):
        read_answers([tmp_path / "notes.txt"], [])


# --- another zero -----------------------------------------------------------------------------------------------------


def shifted(atoms):
    """A label with another energy for each atom of an element."""
    answer = computed(atoms)
    offsets = {1: 13.6, 7: 1485.0, 8: 2041.0}
    answer.info["REF_energy"] -= sum(offsets[number] for number in atoms.numbers.tolist())
    return answer


def test_energies_of_another_zero_are_aligned_by_composition_only_when_that_is_asked(labelling, there, asked, rattled):
    known = [computed(one) for name in ("NH3", "H2O", "H2") for one in rattled(molecule(name), 2, seed=9)]
    choices = {"known": lambda: known}
    assert ask(labelling, asked, **choices).n_missing == 9  # with three whose labels are known
    write_structures(there / "part.xyz", [shifted(atoms) for atoms in outgoing(there)[2:]])
    assert ask(labelling, asked, **choices).n_missing == 2
    write_structures(there / "rest.xyz", [shifted(atoms) for atoms in outgoing(there)])
    for found, atoms in zip(labelling(asked, **choices).labels, asked, strict=True):
        assert found.energy == pytest.approx(computed(atoms).info["REF_energy"], abs=1e-6)
    (there.parent / "labels").rename(there.parent / "aligned")
    assert labelling(asked[:1]).labels[0].energy == shifted(asked[0]).info["REF_energy"]


def test_a_composition_that_the_known_labels_do_not_determine_is_refused(labelling, there, rattled):
    known = [computed(one) for one in rattled(molecule("H2O"), 3, seed=9)]
    choices = {"known": lambda: known}
    peroxide = molecule("H2O2")
    ask(labelling, [peroxide], **choices)
    write_structures(there / "all.xyz", [shifted(atoms) for atoms in outgoing(there)])
    with pytest.raises(AnswerError, match="the zero of energy of H2O2 is not determined by the structures that have"):
        labelling([peroxide], **choices)
