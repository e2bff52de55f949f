"""Fixed atoms: ASE's constraints as a mask, into batches and files and back."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc100, molecule
from ase.constraints import (
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedLine,
    FixedPlane,
    FixScaled,
    Hookean,
)
from ase.io import read
from ase.md.verlet import VelocityVerlet

from sparring.atoms.constraints import constraints_of, fixed_coordinates
from sparring.atoms.structures import Structures
from sparring.dynamics.calculator import CommitteeCalculator
from sparring.inputs.extxyz import read_structures, write_structures
from sparring.systems.own.structures import read_own


@pytest.fixture
def slab():
    """Two layers of copper, the lower one fixed, and a hydrogen atom that moves up and down only."""
    atoms = fcc100("Cu", (1, 1, 2), vacuum=4.0)
    add_adsorbate(atoms, "H", 1.2, "hollow")
    atoms.set_constraint([FixAtoms(mask=atoms.get_tags() == 2), FixCartesian(2, mask=(True, True, False))])
    return atoms


FIXED = [[True, True, True], [False, False, False], [True, True, False]]


def test_fixed_atoms_survive_the_way_into_a_batch_and_back(slab, water):
    batch = Structures.from_atoms([water, slab]).take([1, 0, 1]).to(dtype=torch.float32)
    assert batch.fixed.tolist() == [*FIXED, *[[False] * 3] * 3, *FIXED]
    first, free, _ = batch.with_positions(batch.positions + 1).to_atoms()
    assert fixed_coordinates(first).tolist() == FIXED
    assert [type(one) for one in first.constraints] == [FixAtoms, FixCartesian]
    assert not free.constraints


def test_a_batch_without_fixed_atoms_has_no_mask(water):
    water.set_constraint(FixAtoms(mask=[False] * 3))
    assert Structures.from_atoms([water]).fixed is None


def test_free_positions_move_and_fixed_ones_stay_to_the_last_bit(slab):
    batch = Structures.from_atoms([slab])
    moved = batch.with_free_positions(batch.positions + 0.1).positions
    assert ((moved == batch.positions) == batch.fixed).all()


@pytest.mark.parametrize(
    ("constraint", "mask"),
    [
        (FixedPlane(1, (0, 0, 2)), (False, False, True)),
        (FixedLine(1, (0, 1, 0)), (True, False, True)),
        (FixScaled(1, (False, False, True)), (False, False, True)),
        (FixScaled(1, (True, True, True)), (True, True, True)),
        (FixCartesian([0, 1], (True, False, True)), (True, False, True)),
    ],
    ids=repr,
)
def test_constraints_that_hold_cartesian_coordinates_are_known_whatever_their_name(constraint, mask):
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]], cell=[[3, 0, 0], [-1.5, 2.6, 0], [0, 0, 9]], pbc=True)
    atoms.set_constraint(constraint)
    fixed = fixed_coordinates(atoms)
    assert tuple(fixed[1]) == mask
    again = atoms.copy()
    again.set_constraint(constraints_of(fixed))
    assert (fixed_coordinates(again) == fixed).all()


@pytest.mark.parametrize(
    "constraint",
    [
        FixBondLengths([[0, 1]]),
        FixCom(),
        Hookean(0, 1, 5.0, rt=1.2),
        FixedPlane(1, (0, 1, 1)),
        FixedLine(1, (1, 1, 0)),
        FixScaled(1, (False, True, False)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_other_constraints_are_refused_with_their_name_and_never_lost(constraint, water, tmp_path):
    water.set_cell([[5, 1, 0], [0, 5, 0], [0, 0, 5]])
    water.set_constraint(constraint)
    message = f"has the constraint {type(constraint).__name__}, which cannot be kept when atoms move; FixAtoms and"
    with pytest.raises(ValueError, match=f"structure 0 .*{message}"):
        Structures.from_atoms([water])
    with pytest.raises(ValueError, match=f"frame 0 .*{message}"):
        write_structures(tmp_path / "water.xyz", [water])


def test_the_calculator_of_a_committee_leaves_constraints_to_ase(committee, water):
    water.set_constraint(FixBondLengths([[0, 1], [0, 2]]))
    water.calc = CommitteeCalculator(committee())
    before = water.get_distance(0, 1)
    VelocityVerlet(water, 1.0).run(3)
    assert water.get_distance(0, 1) == pytest.approx(before, abs=1e-6)
    assert water.get_distance(1, 2) != before


def test_fixed_atoms_are_written_as_move_mask_and_read_by_ase(slab, tmp_path):
    whole = slab.copy()
    whole.set_constraint(slab.constraints[0])
    file = tmp_path / "slab.xyz"
    write_structures(file, [slab, whole, bulk("Cu")])
    assert [text.count("move_mask:L:3") for text in file.read_text().splitlines() if "Properties" in text] == [1, 0, 0]
    assert file.read_text().count("move_mask:L:1") == 1
    for frames in (read(file, ":"), read_structures(file)):
        masks = [fixed_coordinates(one) for one in frames]
        assert masks[0].tolist() == FIXED
        assert masks[1].tolist() == [FIXED[0], FIXED[1], FIXED[1]]
        assert masks[2] is None
    write_structures(tmp_path / "again.xyz", read_structures(file))
    assert (tmp_path / "again.xyz").read_bytes() == file.read_bytes()


MASKED = """4
Properties=species:S:1:pos:R:3:move_mask:L:1:tags:I:1 pbc="F F F"
C -0.75 0.0 0.0 F 1
N  0.75 0.0 0.0 F 1
H -1.25 0.9 0.0 T 0
H  1.25 -0.8 0.0 T 0
"""


def test_a_move_mask_of_a_file_fixes_where_it_is_false(tmp_path):
    (tmp_path / "start.xyz").write_text(MASKED)
    (atoms,) = read_own(tmp_path / "start.xyz")
    assert fixed_coordinates(atoms).all(axis=1).tolist() == [True, True, False, False]
    assert atoms.get_tags().tolist() == [1, 1, 0, 0]


def test_a_fixed_structure_is_fitted_as_any(slab, with_random_labels, schnet, rattled):
    from sparring.training.minibatches import PackedDataset

    frames = [*rattled(slab, 2), *rattled(molecule("H2O"), 2)]
    for one in frames[:2]:
        one.set_constraint(slab.constraints)
    data = PackedDataset.of(with_random_labels(frames), cutoff=3.0, dtype=torch.float64, device="cpu")
    batch = data.gather(torch.tensor([[0, 2], [1, 3]]))
    assert np.isfinite(batch.forces.numpy()).all()
    assert batch.weight[0].count_nonzero() == 6  # all atoms count, fixed ones too: their forces are true
