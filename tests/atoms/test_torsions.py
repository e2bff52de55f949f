"""Which torsions are meant, and what is said where none can be."""

import importlib.util

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from sparring.atoms.bonds import BondGraph
from sparring.atoms.peptides import backbone_torsions
from sparring.atoms.torsions import find
from sparring.systems.alanine_dipeptide import BONDS, PHI, PSI, geometry

needs_rdkit = pytest.mark.skipif(importlib.util.find_spec("rdkit") is None, reason="RDKit is not installed")


def peptide(sequence):
    """A peptide by RDKit with its hydrogens, and what RDKit knows of its backbone."""
    from rdkit import Chem
    from rdkit.Chem.rdDistGeom import EmbedMolecule

    made = Chem.AddHs(Chem.MolFromSequence(sequence))
    assert EmbedMolecule(made, randomSeed=1) == 0
    numbers = [atom.GetAtomicNum() for atom in made.GetAtoms()]
    named = {}
    for atom in made.GetAtoms():
        info = atom.GetPDBResidueInfo()
        if info is not None:
            named[info.GetResidueNumber(), info.GetName().strip()] = atom.GetIdx()
    return Atoms(numbers, positions=made.GetConformer().GetPositions()), named


# --- what is found ----------------------------------------------------------------------------------------------------


def test_phi_and_psi_of_the_dipeptide_are_those_of_its_topology():
    for bonds in (None, BONDS):
        phi, psi = find(geometry(), ["phi", "psi"], bonds)
        assert (phi.atoms, psi.atoms) == (PHI, PSI)
        assert (phi.name, psi.name) == ("phi1", "psi1")


def test_what_turns_is_the_side_of_the_last_atom():
    phi, psi = find(geometry(), [PHI, PSI])
    assert phi.moving == tuple(range(9, 22))
    assert psi.moving == tuple(range(15, 22))
    (back,) = find(geometry(), [PHI[::-1]])
    assert back.moving == (0, 1, 2, 3, 4, 5, 7)


def test_omega_counts_caps():
    assert [(one.name, one.atoms) for one in find(geometry(), ["omega"])] == [
        ("omega0", (0, 4, 6, 8)),
        ("omega1", (8, 14, 16, 18)),
    ]


def test_a_torsion_that_is_named_twice_is_found_once():
    both = find(geometry(), ["phi", PHI, PHI[::-1], "psi1", "psi"])
    assert [one.atoms for one in both] == [PHI, PSI]


@needs_rdkit
@pytest.mark.parametrize("order", ["as built", "shuffled"])
def test_the_backbone_of_a_peptide_is_found_in_the_order_of_its_chain(order):
    # Side chains with amides, acids, rings, a guanidine and an amine: none of them is backbone.
    atoms, named = peptide("ANDKWRG")
    place = np.arange(len(atoms))
    if order == "shuffled":
        place = np.random.default_rng(0).permutation(len(atoms))
        atoms = atoms[np.argsort(place)]
    at = {key: int(place[index]) for key, index in named.items()}
    found = {one.name: one.atoms for one in find(atoms, ["phi", "psi", "omega"])}
    expected = {}
    for i in range(1, 8):
        if i > 1:
            expected[f"phi{i}"] = (at[i - 1, "C"], at[i, "N"], at[i, "CA"], at[i, "C"])
        if i < 7:
            expected[f"psi{i}"] = (at[i, "N"], at[i, "CA"], at[i, "C"], at[i + 1, "N"])
            expected[f"omega{i}"] = (at[i, "CA"], at[i, "C"], at[i + 1, "N"], at[i + 1, "CA"])
    assert found == expected
    assert list(found) == [*(f"phi{i}" for i in range(2, 8)), *(f"psi{i}" for i in range(1, 7)), *list(found)[12:]]


@needs_rdkit
def test_one_residue_can_be_named_and_a_proline_is_a_ring():
    atoms, named = peptide("APG")
    (psi,) = find(atoms, ["psi2"])
    assert psi.atoms == (named[2, "N"], named[2, "CA"], named[2, "C"], named[3, "N"])
    with pytest.raises(ValueError, match=r"torsion phi2 of .*\(N-C\) is in a ring"):
        find(atoms, ["phi"])
    assert [one.name for one in find(atoms, ["phi3"])] == ["phi3"]


def test_a_chain_that_is_closed_has_an_order_all_the_same():
    # cyclo(Gly-Gly): N0 CA1 C2 O3 N4 CA5 C6 O7
    ring = BondGraph.of(8, [(0, 1), (1, 2), (2, 3), (2, 4), (4, 5), (5, 6), (6, 7), (6, 0)])
    found = backbone_torsions([7, 6, 6, 8, 7, 6, 6, 8], ring)
    assert found["phi"] == {1: (6, 0, 1, 2), 2: (2, 4, 5, 6)}
    assert found["omega"] == {1: (1, 2, 4, 5), 2: (5, 6, 0, 1)}


@pytest.mark.parametrize(
    ("atoms", "turning"),
    [
        (geometry(), [{0, 4}, {6, 8}, {8, 10}, {8, 14}, {16, 18}]),  # methyls, phi and psi; amides do not turn
        (molecule("CH3CH2OH"), [{0, 1}, {1, 2}]),
        (molecule("butadiene"), [{1, 2}]),  # the bond in the middle, and no double bond
        (molecule("CH3SiH3"), [{0, 1}]),
        (molecule("isobutane"), [{0, 2}, {0, 6}, {0, 10}]),
        (molecule("CH3CN"), None),  # on a line
        (molecule("C6H6"), None),
        (molecule("H2O"), None),
    ],
    ids=lambda value: str(value.symbols) if isinstance(value, Atoms) else None,
)
def test_rotatable_bonds_are_those_that_can_turn(atoms, turning):
    if turning is None:
        with pytest.raises(ValueError, match="has no rotatable bond; use a Cartesian space for it"):
            find(atoms, ["rotatable"])
        return
    found = find(atoms, ["rotatable"])
    assert sorted(sorted(one.atoms[1:3]) for one in found) == sorted(sorted(bond) for bond in turning)
    assert all(one.name == "-".join(map(str, one.atoms)) for one in found)


@needs_rdkit
def test_a_smarts_gives_one_torsion_for_each_bond_that_it_matches():
    found = find(geometry(), ["[#6]-[#7]-[#6]-[#6]"])
    middles = [frozenset(one.atoms[1:3]) for one in found]
    assert middles == [{6, 8}, {6, 4}, {14, 16}]
    assert [one.atoms for one in found] == [(4, 6, 8, 10), (8, 6, 4, 0), (18, 16, 14, 8)]
    assert found[0].name == "[#6]-[#7]-[#6]-[#6] at 4-6-8-10"


@needs_rdkit
def test_a_smarts_sees_bond_orders_and_charges():
    butadiene = molecule("butadiene")
    (middle,) = find(butadiene, ["C=C-C=C"])
    assert set(butadiene.symbols[list(middle.atoms)]) == {"C"}
    with pytest.raises(ValueError, match="matches nothing in C4H6"):
        find(butadiene, ["C-C=C-C"])
    ethoxide = molecule("CH3CH2OH")
    oxygen = ethoxide.symbols.search("O")[0]
    hydroxyl = min(ethoxide.symbols.search("H"), key=lambda atom: ethoxide.get_distance(oxygen, atom))
    del ethoxide[int(hydroxyl)]
    ethoxide.info["charge"] = -1
    assert find(ethoxide, ["[O-]-C-C-[#1]"])[0].atoms[0] == oxygen


@needs_rdkit
def test_a_smarts_needs_a_charge_that_fits_the_bonds():
    atoms = molecule("CH3CH2OH")
    del atoms[-1]  # a hydrogen
    with pytest.raises(ValueError, match=r"have no orders that fit a charge of 0.*set atoms.info\['charge'\]"):
        find(atoms, ["C-C-O-[H]"])


# --- bad input --------------------------------------------------------------------------------------------------------

ETHANOL = molecule("CH3CH2OH")
CUBE = Atoms("C2OH6", positions=molecule("CH3CH2OH").positions, cell=[9, 9, 9], pbc=True)


@pytest.mark.parametrize(
    ("atoms", "torsions", "message"),
    [
        (geometry(), [(4, 6, 8, 22)], r"torsion \(4, 6, 8, 22\): the atoms of C6H12N2O2 are numbered from 0 to 21"),
        (geometry(), [(-1, 6, 8, 14)], r"torsion \(-1, 6, 8, 14\): the atoms of C6H12N2O2 are numbered from 0 to 21"),
        (geometry(), [(4, 6, 8, 6)], r"a torsion is four different atoms, got \(4, 6, 8, 6\)"),
        (geometry(), [(4, 6, 8)], r"a torsion is four different atoms, got \(4, 6, 8\)"),
        (
            geometry(),
            [(4, 6, 14, 16)],
            r"torsion 4-6-14-16 of C6H12N2O2: 6-14 \(N-C\) are not bonded \(2\.\d\d Å apart\); name four atoms",
        ),
        (
            molecule("C6H6"),
            [(0, 1, 2, 3)],
            "torsion 0-1-2-3 of C6H6: the bond 1-2 .* is in a ring, which cannot turn without breaking; leave it out",
        ),
        (
            geometry(),
            ["phi", (7, 6, 8, 9)],
            r"torsions phi1 and 7-6-8-9 of C6H12N2O2 are about the same bond 6-8 \(N-C\), so they are not independent",
        ),
        (geometry(), [(4, 6, 8, 14), (14, 8, 6, 7)], "about the same bond 8-6"),
        (geometry(), ["chi1"], "'chi1' is neither one of phi, psi, omega, rotatable nor a SMARTS"),
        (geometry(), ["phy"], "'phy' is neither one of phi, psi, omega, rotatable nor a SMARTS, did you mean 'phi'"),
        (geometry(), ["phi2"], "C6H12N2O2 has no phi2, only phi1"),
        (ETHANOL, ["psi"], "C2H6O has no psi: there is no peptide's backbone with it; name four atoms instead"),
        (ETHANOL, ["[N]-C-C-O"], r"SMARTS '\[N\]-C-C-O' matches nothing in C2H6O"),
        (ETHANOL, ["C-C-O"], "SMARTS 'C-C-O' has 3 atoms; a torsion has four"),
        (molecule("C6H6"), ["c:c:c:c"], r"is in a ring.*\(-!@ in a SMARTS matches bonds outside of rings\)"),
        (ETHANOL, [], r"wanted a list of torsions, such as \['phi', \(4, 6, 8, 14\)\], got \[\]"),
        (ETHANOL, "phi", "wanted a list of torsions, .* got 'phi'"),
        (CUBE, ["phi"], "C2H6O has no phi"),
        (bulk("Si", cubic=True), [(0, 1, 2, 3)], "Si8 has no guest: all of its atoms are bonded to a framework"),
    ],
)
def test_a_torsion_that_cannot_turn_is_an_error_that_says_why(atoms, torsions, message):
    if importlib.util.find_spec("rdkit") is None and "SMARTS" in message:
        pytest.skip("RDKit is not installed")
    with pytest.raises(ValueError, match=message):
        find(atoms, torsions)


def test_atoms_on_a_line_have_no_torsion():
    # H-C-C-C of but-2-yne is one, C-C-C-C is not.
    butyne = molecule("2-butyne")
    carbons = sorted(np.flatnonzero(butyne.symbols == "C").tolist(), key=lambda i: butyne.positions[i].sum())
    with pytest.raises(ValueError, match=r"\(C-C-C\) are on a line, so that there is no torsion"):
        find(butyne, [tuple(carbons)])


def test_bonds_that_are_given_count_and_those_of_distances_do_not():
    stretched = geometry()
    stretched.set_distance(6, 8, 2.5, fix=0, indices=list(range(8, 22)))
    with pytest.raises(ValueError, match=r"6-8 \(N-C\) are not bonded \(2\.50 Å apart\)"):
        find(stretched, [PHI])
    assert find(stretched, [PHI], BONDS)[0].moving == tuple(range(9, 22))


def test_torsions_of_a_guest_are_those_of_the_molecule_alone_by_any_name(in_cage):
    hosted, n = in_cage(ETHANOL, shift=(0.3, -0.3, 0.3)), 18
    wanted = ["rotatable", (3, 2, 1, 0), "[#1]-O-C-C"] if importlib.util.find_spec("rdkit") else ["rotatable"]
    for torsions in ([one] for one in wanted):
        alone = find(ETHANOL, torsions)
        shifted = [tuple(n + i for i in one) if isinstance(one, tuple) else one for one in torsions]
        found = find(hosted, shifted)
        assert [one.atoms for one in found] == [tuple(n + i for i in one.atoms) for one in alone]
        assert [one.moving for one in found] == [tuple(n + i for i in one.moving) for one in alone]
    assert [one.atoms for one in find(hosted, ["rotatable"], guest=range(n, n + 9))] == [
        one.atoms for one in find(hosted, ["rotatable"])
    ]


def test_bonds_of_a_framework_do_not_turn_and_bonds_of_a_periodic_structure_cannot_be_given(in_cage):
    hosted = in_cage(ETHANOL, shift=(0.3, -0.3, 0.3))
    with pytest.raises(ValueError, match=r"torsion 6-0-7-1 of .*: 6-0 \(Si-O\) are not bonded"):
        find(hosted, [(6, 0, 7, 1)])
    with pytest.raises(ValueError, match="is periodic, and bonds can be given for molecules only; leave them out"):
        find(hosted, ["rotatable"], [(18, 19)])
