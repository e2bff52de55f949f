"""Members that were trained with different zeros of energy."""

import logging

import torch

from sparring import align_energies
from sparring.atoms.structures import Structures
from sparring.committee import Committee


def shifted(potential, shifts):
    """The same potential with an energy added for each atom of an element."""

    def energies(structures):
        table = torch.zeros(100, dtype=torch.float64)
        for number, shift in shifts.items():
            table[number] = shift
        return potential(structures).index_add(0, structures.structure_index, table[structures.atomic_numbers])

    energies.cutoff = potential.cutoff
    return energies


def test_a_zero_of_energy_is_no_uncertainty_and_the_warning_shows_the_shift(schnet, ammonia, water, rattled, caplog):
    frames = [*rattled(ammonia, 4), *rattled(water, 4)]
    one = schnet(0)
    members = [one, shifted(one, {1: -13.0, 7: -1480.0, 8: -2040.0})]
    batch = Structures.from_atoms(frames)
    before = Committee(members).predict(batch, differentiable=False)
    with caplog.at_level(logging.WARNING):
        aligned = Committee(align_energies(members, frames)).predict(batch, differentiable=False)
    assert "member 0 (SchNet) has another zero of energy" in caplog.text
    assert "member 1 (function)" in caplog.text
    assert before.energy.var(0).min() > 1e5
    torch.testing.assert_close(aligned.energy[0], aligned.energy[1], rtol=0, atol=1e-6)
    torch.testing.assert_close(aligned.forces, before.forces)


def test_members_that_agree_about_their_zero_are_left_as_they_are(schnet, ammonia, rattled, caplog):
    one = schnet(0)
    members = [one, shifted(one, {1: 0.01})]
    with caplog.at_level(logging.WARNING):
        assert align_energies(members, rattled(ammonia, 3)) == members
    assert not caplog.text
