from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.io import read

from sparring.atoms.guests import Guests
from sparring.atoms.reference import FORCES_MASK
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.committee_files import read_committee, write_committee
from sparring.proposers.ascent import attack
from sparring.proposers.environments import cut
from sparring.proposers.objectives import force_variance, free_force_variance, log
from sparring.proposers.regions import Region, atom_variances, in_region, most_uncertain


@pytest.fixture
def crystal():
    """Salt in a cell of 64 atoms, rattled."""
    made = bulk("NaCl", "rocksalt", a=5.6, cubic=True) * 2
    made.rattle(0.1, seed=4)
    return made


def attacked(committee, seeds, seed):
    return attack(committee, seeds, log(free_force_variance), seed=seed, n_steps=3, learning_rate=0.02).candidates()


def moved(candidates, seeds):
    return (candidates.structures.positions - seeds.positions).abs().amax(1) > 1e-6


@pytest.mark.parametrize("radius", [0.0, 3.2])
def test_only_atoms_of_the_region_move(committee, crystal, radius):
    seeds, members = Structures.from_atoms([crystal, crystal[:40]]), committee()
    candidates = in_region(attacked, Region(radius=radius, centres=(5, 7)))(members, seeds, 0)
    expected = []
    for atoms in (crystal, crystal[:40]):
        expected.append((atoms.get_all_distances(mic=True)[[5, 7]] <= radius).any(0))
    np.testing.assert_array_equal(moved(candidates, seeds).numpy(), np.concatenate(expected))
    assert candidates.structures.fixed is None  # as the seeds


def test_guests_are_centres(committee, in_cage, water, ammonia):
    frames = [in_cage(water), in_cage(ammonia)]
    seeds, guests = Structures.from_atoms(frames), Guests.of(frames)
    alone = Region(radius=0.0, centres=guests).atoms(committee(), seeds)
    assert torch.nonzero(alone).flatten().tolist() == [18, 19, 20, *range(21 + 18, 21 + 22)]
    wider = Region(radius=3.2, centres=guests).atoms(committee(), seeds)
    assert (wider >= alone).all()
    assert alone.sum() < wider.sum() < len(wider)
    with pytest.raises(ValueError, match="all atoms of H2O belong to molecules, and nothing extends through the cell"):
        Region(centres=Guests.of(water)).atoms(committee(), Structures.from_atoms([water]))


def test_without_centres_the_most_uncertain_atoms_are_attacked(committee, crystal, ammonia):
    ammonia.rattle(0.1, seed=1)  # equivalent atoms are as uncertain as each other, but for the last bits
    seeds, members = Structures.from_atoms([ammonia, crystal]), committee()
    variance = atom_variances(members, seeds)
    candidates = in_region(attacked, Region(radius=0.0, most_uncertain=2))(members, seeds, 0)
    of_each = [variance[:4], variance[4:]]
    expected = torch.cat([torch.isin(torch.arange(len(v)), v.topk(2).indices) for v in of_each])
    assert torch.equal(moved(candidates, seeds), expected)
    assert most_uncertain(variance, seeds, 100).shape == (4 + 64,)


def test_atoms_that_the_file_fixes_are_neither_centres_nor_moved(committee, crystal):
    seeds, members = Structures.from_atoms([crystal]), committee()
    top = int(atom_variances(members, seeds).argmax())
    fixed = torch.zeros(64, 3, dtype=torch.bool)
    fixed[top] = True
    held = replace(seeds, fixed=fixed)
    candidates = in_region(attacked, Region(radius=3.2))(members, held, 0)
    assert not moved(candidates, seeds)[top]
    assert torch.equal(candidates.structures.fixed, fixed)


def test_predictions_in_chunks_are_those_of_all(committee, crystal, rattled):
    seeds, members = Structures.from_atoms(rattled(crystal, 3)), committee()
    torch.testing.assert_close(atom_variances(members, seeds, max_memory=1e4), atom_variances(members, seeds))


def test_the_disagreement_of_free_atoms_is_their_mean(committee, ammonia):
    seeds, members = Structures.from_atoms([ammonia, ammonia]), committee()
    prediction = members.predict(seeds)
    assert torch.equal(free_force_variance(prediction, seeds), force_variance(prediction, seeds))
    fixed = torch.zeros(8, 3, dtype=torch.bool)
    fixed[1:4] = True
    fixed[5, 0] = True  # an atom that moves along two axes is free
    found = free_force_variance(prediction, replace(seeds, fixed=fixed))
    of_atoms = atom_variances(members, seeds)
    torch.testing.assert_close(found, torch.stack([of_atoms[0], of_atoms[4:].mean()]))
    nothing_free = replace(seeds, fixed=torch.ones(8, 3, dtype=torch.bool))
    assert (free_force_variance(prediction, nothing_free) == 0).all()


def test_the_slope_of_the_disagreement_of_free_atoms_is_that_of_its_formula(committee, ammonia, slope, copies):
    members, fixed = committee(), torch.zeros(4, 3, dtype=torch.bool)
    fixed[2:] = True
    start = replace(Structures.from_atoms([ammonia]), fixed=fixed)

    def score(structures):
        return free_force_variance(members.predict(structures), structures)

    positions = start.positions.clone().requires_grad_()
    (found,) = torch.autograd.grad(score(start.with_positions(positions)).sum(), positions)
    for atom in range(4):
        for axis in range(3):
            nudge = torch.zeros(4, 3).double()
            nudge[atom, axis] = 1e-4
            above, below = (score(start.with_positions(start.positions + s * nudge)).item() for s in (1, -1))
            assert found[atom, axis].item() == pytest.approx((above - below) / 2e-4, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"radius": -1.0}, "the radius of a region is a distance from 0 Å on, got -1.0"),
        ({"centres": ()}, r"centres of a region are some indices of at least 0, got \(\)"),
        ({"most_uncertain": 0}, "a region needs at least one centre"),
    ],
)
def test_a_region_without_atoms_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        Region(**arguments)


def test_a_centre_that_a_seed_does_not_have_is_an_error(committee, ammonia):
    with pytest.raises(ValueError, match="atom 4 is to be a centre, but seed 0 has 0 to 3"):
        in_region(attacked, Region(centres=(4,)))(committee(), Structures.from_atoms([ammonia]), 0)


def test_environments_are_those_of_the_most_uncertain_atoms(committee, crystal):
    members = committee()
    large = crystal * 2
    large.rattle(0.05, seed=1)
    found = cut(members, [large], n=3, core=3.0, shell=1.0)
    sigma = atom_variances(members, Structures.from_atoms([large])).sqrt().numpy()
    assert found[0].info["cut_from"] == sigma.argmax()
    centres = [one.info["cut_from"] for one in found]
    assert large.get_distances(centres[0], centres[1:], mic=True).min() > 3.0
    for one in found:
        assert sigma[one.info["cut_from"]] == pytest.approx(one.info["atom_uncertainty_before"])
    assert all(len(one) < len(large) for one in found)


def test_environments_go_from_a_file_to_a_file_and_can_be_attacked(sparring, schnet, crystal, tmp_path):
    write_committee(tmp_path / "committee", Committee([schnet(seed) for seed in range(2)]))
    large = crystal * 2
    large.write(tmp_path / "large.extxyz")
    answer = sparring(
        "cut", tmp_path / "committee", tmp_path / "large.extxyz", "--output", tmp_path / "cut.extxyz", "--shell", "2 Å"
    )
    assert answer.exit_code == 0, answer.err
    assert answer.out.startswith("1 environments of ")
    (environment,) = read(tmp_path / "cut.extxyz", ":")
    assert 0 < environment.arrays[FORCES_MASK].sum() < len(environment)
    core = environment.arrays[FORCES_MASK].astype(bool)
    seeds = Structures.from_atoms([environment])
    result = attacked(read_committee(tmp_path / "committee"), seeds, 0)
    np.testing.assert_array_equal(moved(result, seeds).numpy(), core)


def test_no_environments_are_an_error(committee, crystal):
    with pytest.raises(ValueError, match="wanted at least one environment of each structure, got n=0"):
        cut(committee(), [crystal], n=0)
