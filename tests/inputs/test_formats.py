"""Files of every format come in with the same names; what cannot be read says how to convert it."""

import bz2
import gzip
import lzma
import pickle
import shlex
from contextlib import suppress
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixBondLength
from ase.db import connect

from sparring.inputs.reading import read_atoms, read_file
from sparring.units import BOHR, HARTREE

ORCA = """                                 * O   R   C   A *
Number of atoms                         ...      2
---------------------------------
CARTESIAN COORDINATES (ANGSTROEM)
---------------------------------
  O      0.000000    0.000000    0.000000
  H      0.000000    0.000000    0.970000

 Total Charge           Charge          ....   -1
 Multiplicity           Mult            ....    1
FINAL SINGLE POINT ENERGY       -75.500000000000
------------------
CARTESIAN GRADIENT
------------------

   1   O   :    0.000000000    0.000000000   -0.010000000
   2   H   :    0.000000000    0.000000000    0.010000000

                             ****ORCA TERMINATED NORMALLY****
"""
CP2K = """ CP2K| version string:                                        CP2K version 2024.1
 CELL| Vector a [angstrom]:      10.000     0.000     0.000   |a| =    10.000000
 CELL| Vector b [angstrom]:       0.000    10.000     0.000   |b| =    10.000000
 CELL| Vector c [angstrom]:       0.000     0.000    10.000   |c| =    10.000000
 CELL| Periodicity                                                           XYZ
 DFT| Multiplicity                                                            1
 DFT| Charge                                                                 -1

 MODULE QUICKSTEP: ATOMIC COORDINATES IN ANGSTROM

   Atom Kind Element         X             Y             Z       Z(eff)     Mass
      1    1 O     8      5.000000      5.000000      5.000000   6.0000  15.9994
      2    2 H     1      5.000000      5.000000      5.970000   1.0000   1.0079



 ENERGY| Total FORCE_EVAL ( QS ) energy [a.u.]:              -16.500000000000000

 ATOMIC FORCES in [a.u.]

 # Atom   Kind   Element          X              Y              Z
      1      1      O           0.00000000     0.00000000     0.01000000
      2      2      H           0.00000000     0.00000000    -0.01000000
 SUM OF ATOMIC FORCES           0.00000000     0.00000000     0.00000000     0.00000000
"""
CP2K_NEW = CP2K[: CP2K.index(" ENERGY|")] + (
    " ENERGY| Total FORCE_EVAL ( QS ) energy [hartree]              -16.500000000000000\n\n"
    " FORCES| Atomic forces [hartree/bohr]\n"
    " FORCES|   Atom     x               y               z               |f|\n"
    " FORCES|      1  0.00000000E+00  0.00000000E+00  1.00000000E-02   1.00000000E-02\n"
    " FORCES|      2  0.00000000E+00  0.00000000E+00 -1.00000000E-02   1.00000000E-02\n"
    " FORCES| Sum     0.00000000E+00  0.00000000E+00  0.00000000E+00\n"
)
VASPRUN = (Path(__file__).parents[1] / "data" / "vasprun.xml").read_text(encoding="utf-8")
OUTCAR = """ vasp.6.3.0
 POTCAR:    PAW_PBE Cu 22Jun2005
 POTCAR:    PAW_PBE Cu 22Jun2005
   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS=      8
   ions per type =               1
   ISPIN  =      1    spin polarized calculation?
 k-points in reciprocal lattice and weights: Gamma
   0.00000000  0.00000000  0.00000000       1.000
----------------------------------------- Iteration    1(   1)  ---------------------------------------
 aborting loop because EDIFF is reached
      direct lattice vectors                 reciprocal lattice vectors
     2.500000000  0.000000000  0.000000000     0.400000000  0.000000000  0.000000000
     0.000000000  2.500000000  0.000000000     0.000000000  0.400000000  0.000000000
     0.000000000  0.000000000  2.500000000     0.000000000  0.000000000  0.400000000
 POSITION                                       TOTAL-FORCE (eV/Angst)
 -----------------------------------------------------------------------------------
      0.00000      0.00000      0.00000         0.000000      0.000000      0.000000
 -----------------------------------------------------------------------------------
  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  =        -3.75000000 eV

  energy  without entropy=       -3.25000000  energy(sigma->0) =       -3.50000000
"""


@pytest.fixture
def water():
    atoms = molecule("H2O")
    atoms.set_tags([1, 2, 3])
    atoms.set_initial_magnetic_moments([0.5, 0, 0])
    atoms.set_constraint(FixAtoms([0]))
    forces = np.arange(9.0).reshape(3, 3)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, free_energy=-1.5, forces=forces)
    return atoms


def assert_is_the_same(read, water):
    assert read.info["REF_energy"] == -1.5
    np.testing.assert_allclose(read.arrays["REF_forces"], np.arange(9.0).reshape(3, 3))
    np.testing.assert_allclose(read.positions, water.positions)
    assert read.get_tags().tolist() == [1, 2, 3]
    assert read.get_initial_magnetic_moments().tolist() == [0.5, 0, 0]
    assert [one.index.tolist() for one in read.constraints] == [[0]]
    assert read.calc is None


@pytest.mark.parametrize("name", ["set.traj", "set.xyz", "set.extxyz"])
def test_what_ase_writes_comes_back_with_its_label_constraints_moments_and_tags(tmp_path, water, name):
    ase.io.write(tmp_path / name, [water, water])
    for read in read_atoms(tmp_path / name):
        assert_is_the_same(read, water)


@pytest.mark.parametrize(("ending", "module"), [("gz", gzip), ("bz2", bz2), ("xz", lzma)])
def test_compressed_files_are_read(tmp_path, water, ending, module):
    ase.io.write(tmp_path / "set.xyz", water)
    (tmp_path / f"set.xyz.{ending}").write_bytes(module.compress((tmp_path / "set.xyz").read_bytes()))
    assert_is_the_same(read_atoms(tmp_path / f"set.xyz.{ending}")[0], water)
    (tmp_path / f"job.out.{ending}").write_bytes(module.compress(CP2K.encode()))
    assert read_atoms(tmp_path / f"job.out.{ending}")[0].info["charge"] == -1


def test_a_compressed_outcar_is_read(tmp_path):
    (tmp_path / "OUTCAR.gz").write_bytes(gzip.compress(OUTCAR.encode()))
    reading = read_file(tmp_path / "OUTCAR.gz")
    assert reading.structures[0].info["REF_energy"] == -3.75
    assert not any("EDIFF" in note for note in reading.notes)


def test_a_damaged_compressed_file_says_so(tmp_path, water):
    ase.io.write(tmp_path / "set.xyz", water)
    (tmp_path / "set.xyz.gz").write_bytes(gzip.compress((tmp_path / "set.xyz").read_bytes()))
    (tmp_path / "torn.xyz.gz").write_bytes((tmp_path / "set.xyz.gz").read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"torn\.xyz\.gz: the file is compressed and damaged"):
        read_atoms(tmp_path / "torn.xyz.gz")


def test_charge_and_spin_that_a_database_keeps_beside_a_structure_are_read(tmp_path, water):
    with connect(str(tmp_path / "set.db")) as database:
        database.write(water, total_charge=1, data={"spin": 2})
    (read,) = read_atoms(tmp_path / "set.db")
    assert_is_the_same(read, water)
    assert (read.info["charge"], read.info["multiplicity"]) == (1, 2)


@pytest.mark.parametrize("name", ["job.out", "job.log", "job"])
def test_an_orca_output_comes_with_energy_forces_charge_and_multiplicity(tmp_path, name):
    (tmp_path / name).write_text(ORCA)
    (read,) = read_atoms(tmp_path / name)
    assert read.info == {"charge": -1, "multiplicity": 1, "REF_energy": pytest.approx(-75.5 * HARTREE)}
    np.testing.assert_allclose(read.arrays["REF_forces"][:, 2], np.array([0.01, -0.01]) * HARTREE / BOHR, rtol=1e-8)


@pytest.mark.parametrize("text", [CP2K, CP2K_NEW, CP2K.replace("[a.u.]:  ", "(a.u.):  ")], ids=["2024", "2025", "7.1"])
def test_a_cp2k_output_comes_with_energy_forces_cell_and_charge(tmp_path, text):
    (tmp_path / "cp2k.out").write_text(text)
    (read,) = read_atoms(tmp_path / "cp2k.out")
    assert read.info == {"charge": -1, "multiplicity": 1, "REF_energy": pytest.approx(-16.5 * HARTREE)}
    np.testing.assert_allclose(read.arrays["REF_forces"][:, 2], np.array([0.01, -0.01]) * HARTREE / BOHR)
    assert read.pbc.all()
    assert read.cell.lengths().tolist() == [10, 10, 10]
    assert read.get_distance(0, 1) == pytest.approx(0.97)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CP2K + CP2K[CP2K.index(" ENERGY|") :], "a CP2K output of one calculation is read, this one has 2 energies"),
        (CP2K + " SCF run NOT converged\n", "has not converged; compute it again"),
        (CP2K.replace("COORDINATES", "NOTHING"), "prints no ATOMIC COORDINATES"),
        (CP2K.replace("      2      2      H  ", "      -      2      H  "), "has 1 forces for 2 atoms"),
    ],
)
def test_a_cp2k_output_that_is_not_one_calculation_is_refused(tmp_path, text, message):
    (tmp_path / "cp2k.out").write_text(text)
    with pytest.raises(ValueError, match=rf"cp2k\.out: cannot be read as CP2K output .*{message}"):
        read_atoms(tmp_path / "cp2k.out")


def test_forces_of_cp2k_are_not_taken_for_positions(tmp_path):
    (tmp_path / "water-frc-1.xyz").write_text("1\n i = 0, time = 0.0, E = -17.1\nO 0.01 0.0 0.0\n")
    with pytest.raises(ValueError, match=r"has forces in Hartree/Bohr where positions belong; give the pos-1\.xyz"):
        read_atoms(tmp_path / "water-frc-1.xyz")


def test_the_energy_in_a_trajectory_of_cp2k_is_in_hartree_and_not_taken(tmp_path):
    (tmp_path / "water-pos-1.xyz").write_text("1\n i = 0, time = 0.0, E = -17.1\nO 0.01 0.0 0.0\n")
    with pytest.raises(ValueError, match=r"only E, i, time; .*the unit seems to be Hartree, as CP2K writes E"):
        read_atoms(tmp_path / "water-pos-1.xyz")


def test_the_free_energy_of_a_vasprun_is_its_label(tmp_path):
    (tmp_path / "vasprun.xml").write_text(VASPRUN)
    reading = read_file(tmp_path / "vasprun.xml")
    assert reading.structures[0].info["REF_energy"] == -3.75
    assert "free_energy, the force-consistent one, is taken as the label" in reading.notes[0]


def test_the_free_energy_of_an_outcar_is_its_label(tmp_path):
    (tmp_path / "OUTCAR").write_text(OUTCAR)
    reading = read_file(tmp_path / "OUTCAR")
    assert reading.structures[0].info["REF_energy"] == -3.75
    assert "free_energy, the force-consistent one, is taken as the label" in reading.notes[0]


def test_a_step_of_vasp_that_did_not_converge_is_said(tmp_path):
    (tmp_path / "OUTCAR").write_text(OUTCAR.replace("aborting loop because EDIFF is reached", ""))
    assert "electronic steps did not reach EDIFF (1 of 1 frames)" in read_file(tmp_path / "OUTCAR").notes[0]


@pytest.mark.parametrize("name", ["POSCAR", "set.vasp", "set.cif", "set.xsf", "set.pdb", "set.json"])
def test_geometries_of_other_formats_are_read(tmp_path, name):
    crystal = bulk("Cu", cubic=True)
    ase.io.write(tmp_path / name, crystal)
    (read,) = read_atoms(tmp_path / name)
    assert read.get_chemical_formula() == "Cu4"
    np.testing.assert_allclose(read.cell.lengths(), 3.61, rtol=1e-5)
    assert "REF_energy" not in read.info


def test_a_crystal_with_shared_places_is_not_taken_for_an_ordered_one(tmp_path):
    crystal = bulk("Cu", cubic=True)
    ase.io.write(tmp_path / "alloy.cif", crystal)
    text = (tmp_path / "alloy.cif").read_text().replace("1.0000", "0.5000")
    (tmp_path / "alloy.cif").write_text(text)
    with pytest.raises(ValueError, match="occupied partly or by several elements; give an ordered structure"):
        read_atoms(tmp_path / "alloy.cif")


def test_a_constraint_that_no_file_keeps_is_left_out_and_said(tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint([FixAtoms([1]), FixBondLength(0, 2)])
    ase.io.write(tmp_path / "set.traj", atoms)
    reading = read_file(tmp_path / "set.traj")
    assert [one.index.tolist() for one in reading.structures[0].constraints] == [[1]]
    assert "set.traj: the constraint FixBondLengths is left out" in reading.notes[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dump.lammpstrj", "ITEM: TIMESTEP\n0\n"),
        ("data.npz", "PK"),
        ("train.aselmdb", "x"),
        ("job.out", "nothing that is known\n"),
        ("notes.txt", "hello\n"),
    ],
)
def test_a_format_that_is_not_read_says_how_to_convert_it(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name}: .* (is not read; convert it|cannot be read)"):
        read_atoms(tmp_path / name)


def test_a_command_to_paste_takes_any_name_of_a_file_as_one_word(tmp_path):
    name = "$(touch here)'; rm x.xtl"
    (tmp_path / name).write_text("no structure\n")
    with pytest.raises(ValueError, match="is not read; convert it") as error:
        read_file(tmp_path / name)
    command = str(error.value).partition("elements: ")[2]
    assert shlex.split(command)[-1] == name


def test_a_damaged_file_of_another_format_is_one_line(tmp_path):
    (tmp_path / "set.traj").write_bytes(b"- of UlmASE-Trajectory" + b"\0" * 40)
    with pytest.raises(ValueError, match=r"set\.traj: cannot be read as ASE's trajectories .*; see that it"):
        read_atoms(tmp_path / "set.traj")


def test_a_missing_file_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_atoms(tmp_path / "nowhere.traj")


class Payload:
    """An object that creates a file when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (open, (str(self.file), "w"))


@pytest.mark.parametrize("name", ["set.traj", "set.db", "set.json", "set.pckl", "set.pkl", "set.xyz", "set.bundle"])
def test_a_pickle_of_any_name_is_refused_and_not_run(tmp_path, name):
    (tmp_path / name).write_bytes(b"PickleTrajectory" * name.endswith("traj") + pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(ValueError, match=rf"{name}: (cannot be read|a file of this name is not read|this is no text)"):
        read_atoms(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["set.traj", "set.db", "set.json"])
def test_files_of_ase_are_read_without_unpickling(tmp_path, name, monkeypatch):
    atoms = molecule("NH3")
    atoms.set_constraint(FixAtoms([0]))
    if name.endswith("traj"):
        ase.io.write(tmp_path / name, [atoms])
    else:
        with connect(str(tmp_path / name)) as database:
            database.write(atoms, data={"note": [1, 2]})

    def refuse(*_, **__):
        raise AssertionError("unpickles")

    for function in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, function, refuse)
    (read,) = read_atoms(tmp_path / name)
    assert len(read) == 4


@pytest.mark.parametrize(
    ("text", "phrase"),
    [(ORCA, "SCF NOT CONVERGED AFTER 125 CYCLES"), (ORCA, "This wavefunction IS NOT CONVERGED!")],
)
def test_an_output_that_has_not_converged_is_refused(tmp_path, text, phrase):
    (tmp_path / "job.out").write_text(text + f"\n{phrase}\n")
    with pytest.raises(ValueError, match=r"job\.out: cannot be read as ORCA .*has not converged .*compute it again"):
        read_atoms(tmp_path / "job.out")


def test_an_output_cut_off_anywhere_is_refused_or_has_no_label(tmp_path):
    complete = ORCA.index("FINAL SINGLE POINT ENERGY")
    for end in range(0, complete, 20):
        (tmp_path / "job.out").write_text(ORCA[:end])
        with suppress(ValueError):  # of any other kind it would be an error here
            assert not any("REF_energy" in atoms.info for atoms in read_atoms(tmp_path / "job.out"))


# --- encodings ------------------------------------------------------------------------------------------------------

NAMED = "1\nProperties=species:S:1:pos:R:3 by=Ångström\nH 0 0 0\n"


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path):
    (tmp_path / "set.xyz").write_bytes(b"\xef\xbb\xbf" + NAMED.encode())
    assert read_atoms(tmp_path / "set.xyz")[0].info["by"] == "Ångström"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_says_what_it_is(tmp_path, encoding):
    (tmp_path / "set.xyz").write_bytes(NAMED.encode(encoding))
    message = "this is UTF-16 text; convert it: iconv -f UTF-16"
    with pytest.raises(ValueError, match=message if encoding == "utf-16" else r"set\.xyz: this is no text file"):
        read_atoms(tmp_path / "set.xyz")


def test_latin_1_names_the_byte_and_the_line(tmp_path):
    (tmp_path / "set.xyz").write_bytes(NAMED.encode("latin-1"))
    with pytest.raises(ValueError, match=r"byte 0xc5 in line 2 is not UTF-8 but perhaps Latin-1 \('Å'\); .* iconv -f"):
        read_atoms(tmp_path / "set.xyz")


def test_columns_of_words_can_be_read_and_written_again(tmp_path):
    from sparring.inputs.extxyz import write_structures

    (tmp_path / "set.xyz").write_text("2\nProperties=species:S:1:pos:R:3:name:S:1\nH 0 0 0 HA\nH 0 0 0.74 HB\n")
    (read,) = read_atoms(tmp_path / "set.xyz")
    write_structures(tmp_path / "again.xyz", [read])
    assert read_atoms(tmp_path / "again.xyz")[0].arrays["name"].tolist() == ["HA", "HB"]
    assert isinstance(read, Atoms)
