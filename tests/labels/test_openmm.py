import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms, FixCartesian
from scipy.spatial.transform import Rotation

from sparring.labels import Bounds, LabelError, LabelStore, OpenMM, label, langevin_snapshots
from sparring.labels.base import Label
from sparring.labels.openmm import FORCEFIELDS, n_langevin_snapshots, with_geometric_means
from sparring.systems import alanine_dipeptide
from sparring.units import KCAL_PER_MOL, KJ_PER_MOL, kT

openmm = pytest.importorskip("openmm")
app = pytest.importorskip("openmm.app")

GROMACS = Path(os.environ.get("GMXLIB", "/usr/share/gromacs/top"))
WATER = """
<ForceField{rule}>
 <AtomTypes>
  <Type name="O" class="O" element="O" mass="16"/>
  <Type name="H" class="H" element="H" mass="1"/>
 </AtomTypes>
 <Residues><Residue name="HOH">
  <Atom name="O" type="O" charge="-0.8"/><Atom name="H1" type="H" charge="0.4"/><Atom name="H2" type="H" charge="0.4"/>
  <Bond atomName1="O" atomName2="H1"/><Bond atomName1="O" atomName2="H2"/>
 </Residue></Residues>
 <HarmonicBondForce><Bond class1="O" class2="H" length="{length}" k="400000"/></HarmonicBondForce>
 <NonbondedForce coulomb14scale="0.5" lj14scale="0.5">
  <UseAttributeFromResidue name="charge"/>
  <Atom type="O" sigma="0.3" epsilon="0.6"/><Atom type="H" sigma="0.1" epsilon="0.1"/>
 </NonbondedForce>
 {more}
</ForceField>
"""
PDB = """
HETATM    1  O   HOH A   1       0.000   0.000   0.119  1.00  0.00           O
HETATM    2  H1  HOH A   1       0.000   0.763  -0.477  1.00  0.00           H
HETATM    3  H2  HOH A   1       0.000  -0.763  -0.477  1.00  0.00           H
END
"""


@pytest.fixture(scope="module")
def opls():
    return OpenMM.from_forcefield("opls-aa", alanine_dipeptide.topology())


@pytest.fixture
def distorted(rattled):
    """The dipeptide with other torsions and all atoms moved, in 50 ways."""
    start = alanine_dipeptide.geometry()

    def turned(atoms, index):
        angles = np.random.default_rng(index).uniform(-180, 180, size=2)
        atoms.set_dihedral(*alanine_dipeptide.PHI, angles[0], indices=range(8, 22))
        atoms.set_dihedral(*alanine_dipeptide.PSI, angles[1], indices=range(14, 22))
        return atoms

    return [turned(atoms, index) for index, atoms in enumerate(rattled(start, 50, stdev=0.05))]


@pytest.fixture
def water_files(tmp_path):
    """A force field and a topology of water, as files."""

    def make(*, length=0.0957, more="", rule=""):
        (tmp_path / "water.xml").write_text(WATER.format(length=length, more=more, rule=rule))
        (tmp_path / "water.pdb").write_text(PDB)
        return tmp_path / "water.xml", tmp_path / "water.pdb"

    return make


@pytest.fixture
def springs():
    """Atoms on springs, each in a place of its own: a system whose every average is known."""

    def make(n_atoms=20, constant=3.0, mass=12.011):
        system = openmm.System()
        force = openmm.CustomExternalForce(f"{constant / KJ_PER_MOL * 50}*((x-x0)^2+(y-y0)^2+(z-z0)^2)")
        for name in ("x0", "y0", "z0"):
            force.addPerParticleParameter(name)
        places = np.arange(3.0 * n_atoms).reshape(n_atoms, 3)
        for index in range(n_atoms):
            system.addParticle(mass)
            force.addParticle(index, places[index] / 10)
        system.addForce(force)
        return OpenMM(system), Atoms(f"C{n_atoms}", positions=places + 0.1)

    return make


def terms(system) -> Callable[[Atoms], dict[str, tuple[float, np.ndarray]]]:
    """Energies and forces of a system, in kJ/mol and nm, by the kind of term."""
    kinds = {"HarmonicBond": "bonds", "HarmonicAngle": "angles", "RBTorsion": "torsions", "PeriodicTorsion": "torsions"}
    groups = ("nonbonded", "bonds", "angles", "torsions")
    for force in system.getForces():
        force.setForceGroup(groups.index(kinds.get(type(force).__name__.removesuffix("Force"), "nonbonded")))
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)

    def evaluate(atoms):
        context.setPositions(atoms.positions / 10)
        states = {name: context.getState(energy=True, forces=True, groups={i}) for i, name in enumerate(groups)}
        return {
            name: (state.getPotentialEnergy()._value, np.array(state.getForces(asNumpy=True)._value))
            for name, state in states.items()
        }

    return evaluate


# --- OPLS-AA --------------------------------------------------------------------------------------------------------


def test_opls_has_every_term_of_the_dipeptide(opls):
    system = opls.system  # its forces live as long as it does
    forces = {type(force).__name__: force for force in system.getForces()}
    assert forces["HarmonicBondForce"].getNumBonds() == 21
    assert forces["HarmonicAngleForce"].getNumAngles() == 36
    assert forces["RBTorsionForce"].getNumTorsions() == 41
    assert forces["PeriodicTorsionForce"].getNumTorsions() == 4
    nonbonded = forces["NonbondedForce"]
    exceptions = [nonbonded.getExceptionParameters(i) for i in range(nonbonded.getNumExceptions())]
    assert len(exceptions) == 22 * 21 / 2
    excluded = [one for one in exceptions if one[2]._value == one[4]._value == 0]
    assert len(excluded) == 21 + 36
    charges = [nonbonded.getParticleParameters(i)[0]._value for i in range(22)]
    halved = [
        (i, j)
        for i, j, product, *_ in exceptions
        if product._value == pytest.approx(charges[i] * charges[j] / 2, abs=1e-12) and product._value
    ]
    assert len(halved) == 41
    assert sum(charges) == pytest.approx(0, abs=1e-12)


def gromacs_topology() -> str:
    """The dipeptide as a topology file of GROMACS, from the residues of its oplsaa.ff."""
    residue: dict[str, list[list[str]]] = {}
    residues = {"before the first": residue}
    for line in (GROMACS / "oplsaa.ff" / "aminoacids.rtp").read_text().splitlines():
        words = line.partition(";")[0].split()
        if words[:1] == ["["] and words[1] in ("atoms", "bonds", "impropers", "dihedrals"):
            section = residue.setdefault(words[1], [])
        elif words[:1] == ["["]:
            residue = residues.setdefault(words[1], {})
            section = residue.setdefault("settings", [])
        elif words:
            section.append(words)
    # What GROMACS calls NAC is NME in a PDB file; the order of atoms is the same.
    chain = [residues[name] for name in ("ACE", "ALA", "NAC")]
    place = {}
    for number, one in enumerate(chain):
        for name, *_ in one["atoms"]:
            place[number, name] = len(place) + 1

    def index(name, number):
        step = {"-": -1, "+": 1}.get(name[0], 0)
        return place[number + step, name.lstrip("+-")]

    types = [words for one in chain for words in one["atoms"]]
    bonds = [(index(a, n), index(b, n)) for n, one in enumerate(chain) for a, b in one["bonds"]]
    impropers = [
        [*(index(name, n) for name in words[:4]), words[4]] for n, one in enumerate(chain) for words in one["impropers"]
    ]
    near = {i: [b if a == i else a for a, b in bonds if i in (a, b)] for i in place.values()}
    angles = [(i, j, k) for j in near for i, k in combinations(near[j], 2)]
    torsions = [(i, j, k, m) for j, k in bonds for i in near[j] if i != k for m in near[k] if m != j]
    lines = ['#include "oplsaa.ff/forcefield.itp"', "[ moleculetype ]", "dipeptide 3", "[ atoms ]"]
    lines += [f"{i + 1} {words[1]} 1 DIP {words[0]} 1 {words[2]}" for i, words in enumerate(types)]
    for name, rows, function in (
        ("bonds", bonds, 1),
        ("pairs", [(one[0], one[3]) for one in torsions], 1),
        ("angles", angles, 1),
        ("dihedrals", torsions, 3),
    ):
        lines += [f"[ {name} ]", *(f"{' '.join(map(str, row))} {function}" for row in rows)]
    lines += ["[ dihedrals ]", *(f"{' '.join(map(str, row[:4]))} 1 {row[4]}" for row in impropers)]
    return "\n".join([*lines, "[ system ]", "dipeptide", "[ molecules ]", "dipeptide 1", ""])


# OpenMM's reader leaves the files open that it has read.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.skipif(not (GROMACS / "oplsaa.ff").is_dir(), reason="needs oplsaa.ff: apt-get install gromacs-data")
def test_energies_and_forces_are_those_of_the_opls_of_gromacs_term_by_term(opls, distorted, tmp_path):
    (tmp_path / "dipeptide.top").write_text(gromacs_topology())
    read = app.GromacsTopFile(str(tmp_path / "dipeptide.top"), includeDir=str(GROMACS))
    names = [atom.name for atom in read.topology.atoms()]
    assert [name[0] for name in names] == list(alanine_dipeptide.SYMBOLS)
    theirs, ours = terms(read.createSystem(nonbondedMethod=app.NoCutoff)), terms(opls.system)
    energies = []
    for atoms in distorted:
        expected, found = theirs(atoms), ours(atoms)
        for name, (energy, forces) in expected.items():
            assert found[name][0] == pytest.approx(energy, rel=1e-4), name
            np.testing.assert_allclose(found[name][1], forces, atol=1e-4 * np.abs(forces).max(), err_msg=name)
        energies.append(sum(energy for energy, _ in expected.values()))
        assert opls(atoms).energy == pytest.approx(energies[-1] * KJ_PER_MOL, rel=1e-4)
    assert np.ptp(energies) > 1000  # kJ/mol: these geometries were worth comparing


def test_forces_are_the_derivative_of_the_energy(opls, distorted):
    atoms, step = distorted[0], 1e-4
    differences = np.empty((22, 3))
    for i in range(22):
        for axis in range(3):
            energies = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[i, axis] += sign * step
                energies.append(opls(moved).energy)
            differences[i, axis] = -(energies[0] - energies[1]) / (2 * step)
    np.testing.assert_allclose(opls(atoms).forces, differences, rtol=1e-5, atol=1e-4)


def test_a_turn_and_a_shift_turn_the_forces_and_leave_the_energy(opls, distorted):
    atoms, turn = distorted[1], Rotation.random(rng=1).as_matrix()
    moved = Atoms(atoms.numbers, atoms.positions @ turn.T + [3.0, -40.0, 5.0])
    assert opls(moved).energy == pytest.approx(opls(atoms).energy, abs=1e-9)
    np.testing.assert_allclose(opls(moved).forces, opls(atoms).forces @ turn.T, atol=1e-8)


def test_geometric_means_are_those_of_the_formula():
    system = openmm.System()
    force = openmm.NonbondedForce()
    for sigma, epsilon in ((0.2, 0.5), (0.45, 2.0)):
        system.addParticle(12.011)
        force.addParticle(0.0, sigma, epsilon)
    system.addForce(force)
    pair = Atoms("C2", [[0, 0, 0], [3.3, 0, 0]])
    x = (3.0 / 3.3) ** 6  # sqrt(2.0 * 4.5) = 3.0 Å, sqrt(0.5 * 2.0) = 1 kJ/mol
    assert OpenMM(with_geometric_means(system))(pair).energy == pytest.approx(4 * (x * x - x) * KJ_PER_MOL)
    x = (3.25 / 3.3) ** 6
    assert OpenMM(system)(pair).energy == pytest.approx(4 * (x * x - x) * KJ_PER_MOL)


def test_a_force_field_may_say_itself_that_its_means_are_geometric(water_files):
    told = OpenMM.from_forcefield(*water_files(), combination="geometric")
    says = OpenMM.from_forcefield(*water_files(rule=' combining_rule="geometric"'))
    other = OpenMM.from_forcefield(*water_files(rule=' combining_rule="lorentz"'))
    assert told.method == says.method != other.method == OpenMM.from_forcefield(*water_files()).method


def test_geometric_means_need_a_force_without_a_cutoff():
    with pytest.raises(ValueError, match="one NonbondedForce without a cutoff"):
        with_geometric_means(openmm.System())


# --- Amber and others -----------------------------------------------------------------------------------------------


def test_amber_is_another_truth_of_the_same_molecule(opls):
    amber = OpenMM.from_forcefield("amber14-all.xml", alanine_dipeptide.topology())
    geometry = alanine_dipeptide.geometry()
    assert "amber14-all.xml" in amber.method
    assert np.linalg.norm(amber(geometry).forces, axis=1).max() < 3.0
    assert amber(geometry).energy != opls(geometry).energy


def test_a_force_field_and_a_topology_may_be_files(water_files):
    field, topology = water_files()
    water = OpenMM.from_forcefield(field, topology)
    stretched = Atoms("OHH", [[0, 0, 0], [0.957, 0, 0], [0, 1.057, 0]])
    assert water(stretched).energy == pytest.approx(0.5 * 400000 * 0.01**2 * KJ_PER_MOL)
    assert water(stretched).forces[2, 1] == pytest.approx(-400000 * 0.01 * KJ_PER_MOL / 10)


def test_a_serialised_system_is_as_good_as_what_it_was_made_from(opls, tmp_path):
    file = tmp_path / "system.xml"
    file.write_text(openmm.XmlSerializer.serialize(opls.system))
    geometry = alanine_dipeptide.geometry()
    assert OpenMM.from_file(file)(geometry).energy == opls(geometry).energy
    assert OpenMM.from_file(file, alanine_dipeptide.topology())(geometry).energy == opls(geometry).energy


def test_a_system_that_is_changed_later_changes_no_label(opls):
    system = opls.system
    labeller = OpenMM(system)
    before = labeller(alanine_dipeptide.geometry()).energy
    system.removeForce(0)
    assert labeller(alanine_dipeptide.geometry()).energy == before
    assert OpenMM(system).method != labeller.method


def test_the_method_is_a_checksum_of_all_parameters_and_of_the_platform(water_files):
    methods = set()
    for length in (0.0957, 0.09570001):
        methods.add(OpenMM.from_forcefield(*water_files(length=length)).method)
    methods.add(OpenMM.from_forcefield(*water_files(), combination="geometric").method)
    methods.add(OpenMM.from_forcefield(*water_files(), platform="CPU", properties={"Threads": "1"}).method)
    methods.add(OpenMM.from_forcefield(*water_files(), platform="CPU").method)
    assert len(methods) == 5
    again = OpenMM.from_forcefield(*water_files())
    assert again.method in methods
    assert again.version == f"openmm {openmm.__version__}" or again.version.startswith("openmm 8.")


def test_the_method_is_the_same_in_every_process(opls):
    program = (
        "from sparring.labels import OpenMM; from sparring.systems.alanine_dipeptide import topology;"
        "print(OpenMM.from_forcefield('opls-aa', topology()).method)"
    )
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=environment)
        assert answer.stdout.decode().strip() == opls.method


def test_labels_are_the_same_whatever_was_computed_before_and_after_a_pickle(opls, distorted):
    first = [opls(atoms) for atoms in distorted[:5]]
    again = [opls(atoms) for atoms in distorted[4::-1]][::-1]
    travelled = [pickle.loads(pickle.dumps(opls))(atoms) for atoms in distorted[:5]]
    for one, *others in zip(first, again, travelled, strict=True):
        for other in others:
            assert other.energy == one.energy
            np.testing.assert_array_equal(other.forces, one.forces)


def test_labels_go_through_store_and_processes_like_all_others(opls, distorted, tmp_path):
    bounds = Bounds(max_force=None)
    alone = label(distorted[:3], opls, store=tmp_path, bounds=bounds)
    together = label(distorted[:3], opls, n_workers=2, bounds=bounds)
    assert [one.energy for one in alone.labels] == [one.energy for one in together.labels]
    assert len(LabelStore(tmp_path)) == 3
    assert label(distorted[:3], opls, store=tmp_path).n_computed == 0


def test_atoms_in_one_place_have_no_label(opls):
    atoms = alanine_dipeptide.geometry()
    atoms.positions[21] = atoms.positions[1]
    (close,) = label([atoms], opls).labels
    assert close.reason == "distance"
    assert not np.isfinite(opls(atoms).energy)


# --- what it refuses ------------------------------------------------------------------------------------------------


def test_another_molecule_is_refused_in_words(opls, water):
    with pytest.raises(
        LabelError, match="is for C6H12N2O2 with 22 atoms, got H2O with 3; give a topology of this mole"
    ):
        opls(water)
    swapped = alanine_dipeptide.geometry()[[0, 4, 2, 3, 1, *range(5, 22)]]
    with pytest.raises(
        LabelError, match="atom 1 of C6H12N2O2 is C, the topology has H there; give the atoms in the or"
    ):
        opls(swapped)
    periodic = alanine_dipeptide.geometry()
    periodic.set_cell([30, 30, 30])
    periodic.pbc = True
    with pytest.raises(LabelError, match="are for molecules, got C6H12N2O2 with pbc"):
        opls(periodic)


def test_a_charge_that_the_force_field_does_not_give_is_refused(opls):
    atoms = alanine_dipeptide.geometry()
    atoms.info = {"charge": 1}
    with pytest.raises(LabelError, match=r"add up to \+0, C6H12N2O2 has charge \+1; set atoms.info\['charge'\] = 0"):
        opls(atoms)
    atoms.info = {"multiplicity": 3}
    with pytest.raises(LabelError, match="has no spin"):
        opls(atoms)


def test_a_residue_without_a_template_is_named(water_files):
    with pytest.raises(ValueError, match=r"cannot apply opls-aa to the molecule: No template found for residue.*HOH"):
        OpenMM.from_forcefield("opls-aa", water_files()[1])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("opls-a", "unknown force field 'opls-a', did you mean 'opls-aa'"),
        ("amber14-al.xml", "unknown force field 'amber14-al.xml', did you mean 'amber14-all.xml'"),
        ("nowhere/mine.xml", "unknown force field 'nowhere/mine.xml'"),
    ],
)
def test_an_unknown_force_field_gets_the_nearest_name(name, message):
    with pytest.raises(ValueError, match=message):
        OpenMM.from_forcefield(name, alanine_dipeptide.topology())


def test_a_force_field_that_brings_its_own_code_is_refused(water_files, tmp_path):
    marker = tmp_path / "executed"
    for tag in ("Script", "InitializationScript"):
        field, topology = water_files(more=f"<{tag}>open({str(marker)!r}, 'w')</{tag}>")
        with pytest.raises(ValueError, match=f"holds a <{tag}>, Python that OpenMM would execute; build the System"):
            OpenMM.from_forcefield(field, topology)
        field.rename(tmp_path / "inner.xml")
        field.write_text("<ForceField><Include file='inner.xml'/></ForceField>")
        with pytest.raises(ValueError, match=f"inner.xml holds a <{tag}>"):
            OpenMM.from_forcefield(field, topology)
    assert not marker.exists()


def test_files_that_are_missing_or_something_else_are_named(tmp_path, water_files):
    field, topology = water_files()
    with pytest.raises(FileNotFoundError, match=r"there is no topology .*nothing\.pdb; wanted a PDB"):
        OpenMM.from_forcefield(field, tmp_path / "nothing.pdb")
    with pytest.raises(FileNotFoundError, match=r"there is no system .*nothing\.xml"):
        OpenMM.from_file(tmp_path / "nothing.xml")
    with pytest.raises(ValueError, match=r"water\.xml is no serialised OpenMM system"):
        OpenMM.from_file(field)
    with pytest.raises(ValueError, match=r"force field .*water\.pdb is no XML"):
        OpenMM.from_forcefield(topology, topology)
    (tmp_path / "integrator.xml").write_text(openmm.XmlSerializer.serialize(openmm.VerletIntegrator(0.001)))
    with pytest.raises(ValueError, match="holds a VerletIntegrator, wanted a System"):
        OpenMM.from_file(tmp_path / "integrator.xml")


def test_a_system_that_cannot_teach_a_potential_is_refused(springs):
    bound = openmm.System()
    for _ in range(2):
        bound.addParticle(12.011)
    bound.addConstraint(0, 1, 0.15)
    with pytest.raises(ValueError, match="has 1 constraints, whose bonds have no energy"):
        OpenMM(bound)
    for mass, message in ((0.0, "particle 0 of the system has no mass"), (500.0, "a mass of 500, which is that of no")):
        strange = openmm.System()
        strange.addParticle(mass)
        with pytest.raises(ValueError, match=message):
            OpenMM(strange)
    with pytest.raises(ValueError, match="the topology has 22 atoms with an element, the system has 20"):
        OpenMM(springs()[0].system, alanine_dipeptide.topology())
    periodic = openmm.System()
    periodic.addParticle(12.011)
    force = openmm.NonbondedForce()
    force.addParticle(0, 1, 0)
    force.setNonbondedMethod(openmm.NonbondedForce.PME)
    periodic.addForce(force)
    with pytest.raises(ValueError, match="the system is periodic"):
        OpenMM(periodic)


def test_a_platform_that_is_not_there_is_refused_at_once(opls):
    with pytest.raises(ValueError, match="no platform 'Referenc' here, did you mean 'Reference'"):
        OpenMM(opls.system, platform="Referenc")
    with pytest.raises(ValueError, match=r"cannot use platform CPU with \{'Speed': 'high'\}"):
        OpenMM(opls.system, platform="CPU", properties={"Speed": "high"})


def test_without_openmm_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(ModuleNotFoundError, match=r'force fields need OpenMM: pip install "sparring\[openmm\]"'):
        OpenMM.from_forcefield("opls-aa", "anything.pdb")


def test_the_force_fields_of_the_project_are_files_in_the_package():
    assert all(file.is_file() for file in FORCEFIELDS.values())


# --- dynamics -------------------------------------------------------------------------------------------------------


def test_springs_hold_half_kT_in_every_direction(springs):
    labeller, start = springs(n_atoms=10, constant=3.0)
    snapshots = langevin_snapshots(
        labeller, start, temperature=500.0, friction=0.02, timestep=4.0, duration=4e4, every=20.0, seed=5
    )
    energies = np.array([labeller(atoms).energy for atoms in snapshots])
    assert len(energies) == 2000
    blocks = energies.reshape(20, 100).mean(axis=1)
    error = blocks.std(ddof=1) / np.sqrt(len(blocks))
    expected = 10 * 3 / 2 * kT(500.0)
    assert error < 0.02 * expected
    assert abs(energies.mean() - expected) < 4 * error


def test_the_same_seed_gives_the_same_snapshots_and_another_gives_others(opls):
    start = alanine_dipeptide.geometry()
    how = {"duration": 40.0, "every": 20.0}
    first = langevin_snapshots(opls, start, seed=3, **how)
    other = langevin_snapshots(opls, start, seed=4, **how)
    again = langevin_snapshots(pickle.loads(pickle.dumps(opls)), start, seed=3, **how)
    longer = langevin_snapshots(opls, start, seed=3, duration=60.0, every=20.0)
    assert [len(one) for one in (first, other, again, longer)] == [2, 2, 2, 3]
    for one, same, more, different in zip(first, again, longer[:2], other, strict=True):
        np.testing.assert_array_equal(one.positions, same.positions)
        np.testing.assert_array_equal(one.positions, more.positions)
        assert np.abs(one.positions - different.positions).max() > 0.01


def test_snapshots_say_where_they_come_from_and_are_counted(opls):
    start, told = alanine_dipeptide.geometry(), []
    start.info["label"] = "of the start"
    snapshots = langevin_snapshots(
        opls,
        start,
        temperature=400.0,
        duration=6.0,
        every=2.0,
        equilibration=4.0,
        seed=0,
        progress=lambda *now: told.append(now),
    )
    assert [atoms.info["time"] for atoms in snapshots] == [2.0, 4.0, 6.0]
    assert {atoms.info["source"] for atoms in snapshots} == {"langevin"}
    assert all("label" not in atoms.info and atoms.info["charge"] == 0 for atoms in snapshots)
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_fixed_atoms_stay_in_snapshots_to_the_last_bit_and_moments_and_tags_go_along(opls):
    start = alanine_dipeptide.geometry()
    start.set_constraint(FixAtoms([0, 4, 8]))
    start.set_tags(range(22))
    start.set_initial_magnetic_moments([1.0, -1.0] * 11)
    snapshots = langevin_snapshots(opls, start, duration=40.0, every=20.0, seed=3)
    free = np.delete(np.arange(22), [0, 4, 8])
    for one in snapshots:
        assert (one.positions[[0, 4, 8]] == start.positions[[0, 4, 8]]).all()
        assert np.abs(one.positions[free] - start.positions[free]).min() > 0
        assert one.constraints[0].index.tolist() == [0, 4, 8]
        assert one.get_tags().tolist() == list(range(22))
        assert one.get_initial_magnetic_moments().tolist() == [1.0, -1.0] * 11
    assert opls(start).forces[0].any()


def test_atoms_that_are_fixed_along_some_axes_only_are_more_than_these_dynamics_can_do(opls):
    start = alanine_dipeptide.geometry()
    start.set_constraint(FixCartesian([5], (False, False, True)))
    with pytest.raises(
        ValueError, match=r"atom 5 of C6H12N2O2 is fixed along some axes only, .* fix it along all three"
    ):
        langevin_snapshots(opls, start, duration=4.0, every=2.0, seed=3)


@pytest.mark.slow
def test_steps_of_two_femtoseconds_sample_the_energies_of_steps_of_half_a_femtosecond(opls):
    means, errors = [], []
    for timestep in (0.5, 2.0):
        snapshots = langevin_snapshots(
            opls, alanine_dipeptide.geometry(), timestep=timestep, duration=1e6, every=200.0, seed=1
        )
        energies = np.array([opls(atoms).energy for atoms in snapshots])
        blocks = energies[: len(energies) // 50 * 50].reshape(50, -1).mean(axis=1)
        means.append(energies.mean())
        errors.append(blocks.std(ddof=1) / np.sqrt(50))
    assert abs(means[0] - means[1]) < 4 * np.hypot(*errors)
    assert np.hypot(*errors) < 0.3 * KCAL_PER_MOL


def test_steps_that_are_too_long_are_an_error_that_says_so(opls):
    with pytest.raises(ValueError, match=r"broke down between .* fs: .*; take shorter steps than 6 fs"):
        langevin_snapshots(opls, alanine_dipeptide.geometry(), timestep=6.0, duration=6e4, every=600.0, seed=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"every": 3.0}, "every 3 fs is not a whole number of steps of 2 fs"),
        ({"every": 1.0}, "every 1 fs is not a whole number of steps of 2 fs"),
        ({"duration": 10.0}, "a duration of 10 fs has no snapshot if there is one every 2000 fs"),
        ({"timestep": 0.0}, "wanted positive times"),
        ({"temperature": -1.0}, "wanted a positive temperature"),
        ({"equilibration": -1.0}, "an equilibration of at least 0"),
    ],
)
def test_times_that_do_not_fit_are_refused(opls, changes, message):
    with pytest.raises(ValueError, match=message):
        langevin_snapshots(opls, alanine_dipeptide.geometry(), seed=0, **changes)


def test_the_protocol_of_the_paper_is_a_thousand_snapshots():
    assert n_langevin_snapshots(duration=2e6, every=2e3, timestep=2.0) == 1000
    assert n_langevin_snapshots(duration=0.3, every=0.1, timestep=0.1) == 3


def test_dynamics_of_another_molecule_is_refused(opls):
    with pytest.raises(ValueError, match="got H2O with 3"):
        langevin_snapshots(opls, molecule("H2O"), seed=0)


def test_a_label_is_a_label(opls):
    found = opls(alanine_dipeptide.geometry())
    assert isinstance(found, Label)
    assert (found.method, found.version, found.converged) == (opls.method, opls.version, True)
