import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, graphene, molecule

from sparring.atoms.guests import Guests, closest_images, fragments, molecules_in
from sparring.atoms.structures import Structures


def test_the_guest_is_what_is_not_bonded_to_the_framework(in_cage, water):
    hosted = in_cage(water)
    assert molecules_in(hosted) == ((18, 19, 20),)
    host, guest = fragments(hosted)
    assert (host.endless, guest.endless) == (True, False)
    assert len(host.atoms) == 18


def test_molecules_across_faces_of_the_cell_are_whole_again(in_cage, water):
    across, whole = in_cage(water), in_cage(water, wrap=False)
    for shifts in (fragments(across)[1].shifts, closest_images(across, [18, 19, 20])):
        together = across.positions[18:] + shifts @ across.cell.array
        np.testing.assert_allclose(together - together[0], whole.positions[18:] - whole.positions[18], atol=1e-12)


def test_a_molecule_longer_than_half_the_cell_is_joined_along_its_bonds():
    chain = molecule("trans-butane")
    chain.set_cell([6.0, 6.0, 6.0])
    chain.pbc = True
    before = chain.get_all_distances()
    assert before.max() > 3.0
    chain.wrap()
    together = chain.positions + closest_images(chain, range(len(chain))) @ chain.cell.array
    np.testing.assert_allclose(Atoms(chain.symbols, together).get_all_distances(), before, atol=1e-12)


def test_several_guests_are_several_molecules_in_the_order_of_their_first_atoms(in_cage, water):
    two = in_cage(water, wrap=False) * (1, 1, 2)
    assert molecules_in(two) == ((18, 19, 20), (39, 40, 41))


def test_layers_chains_and_crystals_are_frameworks_and_adsorbates_above_them_are_guests(water):
    for host in (bulk("Cu"), graphene(size=(3, 3, 1), vacuum=6.0), fcc111("Cu", (2, 2, 2), vacuum=6.0)):
        host.pbc = (True, True, host.pbc[2] or len(host) == 1)
        with pytest.raises(ValueError, match="has no guest: all of its atoms are bonded to a framework"):
            molecules_in(host)
    layer, above = graphene(size=(3, 3, 1), vacuum=6.0), water.copy()
    above.translate(layer.positions.mean(0) + np.array([0.0, 0.0, 3.2]))
    assert molecules_in(layer + above) == ((18, 19, 20),)
    wire = Atoms("C", cell=[1.4, 10, 10], pbc=(True, False, False))  # an atom that is bonded to its own images
    with pytest.raises(ValueError, match="C has no guest"):
        molecules_in(wire)


def test_all_molecules_of_a_molecular_crystal_and_of_a_box_count(water):
    box = water.copy()
    box.set_cell([5.0, 5.0, 5.0])
    box.pbc = True
    assert molecules_in(box) == ((0, 1, 2),)
    assert molecules_in(box * (2, 1, 1)) == ((0, 1, 2), (3, 4, 5))


def test_atoms_may_be_named_instead(in_cage, water):
    assert molecules_in(in_cage(water), [20, 3, 18]) == ((3, 18, 20),)
    for named, got in (([21], "got 21"), ([-1], "got -1"), ([], "got none")):
        with pytest.raises(ValueError, match=f"the atoms of a guest in H2O13Si6 are some of 0 to 20, {got}"):
            molecules_in(in_cage(water), named)


def test_a_guest_that_touches_the_wall_in_a_seed_is_still_the_guest_of_its_reference(in_cage, water):
    hosted, touching = in_cage(water), in_cage(water)
    touching.positions[18:] += (
        0.6
        * touching.get_distances(19, range(18), mic=True, vector=True)[
            touching.get_distances(19, range(18), mic=True).argmin()
        ]
    )
    with pytest.raises(ValueError, match="has no guest"):
        molecules_in(touching)
    guests = Guests.of([hosted])
    assert guests.molecules(Structures.from_atoms([touching, hosted])) == [((18, 19, 20),)] * 2


def test_guests_of_no_structure_are_an_error():
    with pytest.raises(ValueError, match="got no structure; guests are those of at least one"):
        Guests.of([])
