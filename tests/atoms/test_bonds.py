import pytest
from ase import Atoms
from ase.build import molecule

from sparring.atoms.bonds import BondGraph, find_bonds
from sparring.systems import alanine_dipeptide


def graph_of(atoms):
    return BondGraph.of(len(atoms), [bond[:2] for bond in find_bonds(atoms)])


def slow_in_ring(graph, bond):
    """Whether the number of connected pieces stays the same without the bond."""

    def pieces(bonds):
        label = list(range(graph.n_atoms))
        for _ in range(graph.n_atoms):
            for i, j in bonds:
                label[i] = label[j] = min(label[i], label[j])
        return len(set(label))

    return pieces(graph.bonds) == pieces([other for other in graph.bonds if other != bond])


@pytest.mark.parametrize(
    ("name", "n_bonds"), [("CH3CH2OH", 8), ("C6H6", 12), ("trans-butane", 13), ("C2H2", 3), ("bicyclobutane", 11)]
)
def test_the_bonds_of_molecules_are_those_that_chemists_draw(name, n_bonds):
    assert len(find_bonds(molecule(name))) == n_bonds


def test_the_bonds_of_the_dipeptide_are_those_of_its_topology():
    found = graph_of(alanine_dipeptide.geometry())
    assert found == BondGraph.of(22, alanine_dipeptide.BONDS)


@pytest.mark.parametrize("name", ["CH3CH2OH", "C6H6", "bicyclobutane", "methylenecyclopropane", "C5H8"])
def test_a_bond_is_in_a_ring_if_the_molecule_holds_together_without_it(name):
    graph = graph_of(molecule(name))
    for bond in graph.bonds:
        assert graph.in_ring(*bond) == graph.in_ring(*bond[::-1]) == slow_in_ring(graph, bond)


def test_the_two_sides_of_a_bond_are_the_whole_molecule():
    graph = graph_of(alanine_dipeptide.geometry())
    for first, second in graph.bonds:
        one, other = graph.beyond(second, first), graph.beyond(first, second)
        assert first in one
        assert second in other
        assert not one & other
        assert one | other == set(range(22))


def test_what_is_not_connected_is_on_neither_side():
    two = BondGraph.of(4, [(1, 0), (3, 2)])
    assert two.bonds == ((0, 1), (2, 3))
    assert two.beyond(0, 1) == {1}
    assert two.neighbours == ((1,), (0,), (3,), (2,))
    assert two.bonded(1, 0)
    assert not two.bonded(1, 2)


@pytest.mark.parametrize("pair", [(0, 3), (-1, 0), (1, 1), (0, 1, 2)])
def test_a_bond_that_cannot_be_is_an_error(pair):
    with pytest.raises(ValueError, match="a bond is a pair of different atoms from 0 to 2, got"):
        BondGraph.of(3, [pair])


def test_an_atom_alone_has_no_bonds():
    assert find_bonds(Atoms("He")) == ()
    assert graph_of(Atoms("He")).neighbours == ((),)
