"""MACE and CHGNet as backbones of heads."""

import pytest
import torch
from ase.build import bulk
from ase.calculators.morse import MorsePotential

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.committee_files import read_committee, write_committee
from sparring.evaluation import evaluate
from sparring.potentials.foreign.loading import load_potential
from sparring.potentials.heads.backbone import sum_features
from sparring.testing import check_symmetries
from sparring.training.heads import fit_heads
from sparring.training.llpr import llpr


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.extra(name)) for name in ("mace", "chgnet")])
def backbone(request):
    model = request.getfixturevalue(f"{request.param}_model")
    model = model() if request.param == "mace" else model
    return load_potential(request.param, model, dtype=torch.float64)


@pytest.fixture
def crystal(backbone):
    crystal = bulk("NaCl" if "Na" in backbone.elements else "HCl", "rocksalt", a=4.6)
    crystal.rattle(0.1, seed=1)
    return crystal


def test_features_come_with_the_energy_and_do_not_turn(backbone, crystal):
    structures = with_edges(Structures.from_atoms([crystal]), backbone.cutoff)
    energy, features = backbone.energy_and_features(structures)
    torch.testing.assert_close(energy, backbone(structures))
    assert len(features) == 2

    def square(structures):
        return sum_features(backbone.energy_and_features(structures)[1].square(), structures).sum(1)

    square.cutoff = backbone.cutoff
    check_symmetries(square, [crystal])


def test_the_gradient_of_the_force_variance_is_that_of_finite_differences(backbone, crystal, variance_slope, tmp_path):
    known = [crystal.copy() for _ in range(2)]
    for index, one in enumerate(known):
        one.rattle(0.05, seed=10 + index)
    committee = llpr(backbone, known, n_members=4)
    structures = committee.prepare(Structures.from_atoms([crystal]))
    looped = Committee(committee.members, stacked=False)
    together, apart = (one.predict(structures, stress=True) for one in (committee, looped))
    for got, wanted in zip(together, apart, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-8)
    gradient, wanted = variance_slope(committee, Structures.from_atoms([crystal]), step=1e-5)
    assert gradient.norm() > 1e-6
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))
    write_committee(tmp_path, committee)
    again = read_committee(tmp_path).predict(structures, stress=True)
    for got, wanted in zip(again, together, strict=True):
        assert torch.equal(got, wanted)


def test_heads_learn_what_the_backbone_does_not_know(backbone, crystal):
    """Labels are the backbone's energies and those of springs between neighbours."""
    frames = [crystal.copy() for _ in range(12)]
    for index, one in enumerate(frames):
        one.rattle(0.1, seed=20 + index)
        one.calc = MorsePotential(r0=2.3, epsilon=0.5, rcut1=2.8, rcut2=3.2)
    known = Committee([backbone]).predict(Structures.from_atoms(frames), differentiable=False)
    forces = known.forces[0].cpu().numpy().reshape(len(frames), -1, 3)
    for one, energy, force in zip(frames, known.energy[0], forces, strict=True):
        one.info[ENERGY], one.arrays[FORCES] = (
            float(energy) + one.get_potential_energy(),
            force + one.get_forces(),
        )
        one.calc = None
    dataset, unseen = (Dataset.from_atoms(some) for some in (frames[:8], frames[8:]))
    heads = fit_heads(backbone, dataset, n_members=3, seed=0)
    before, after = (evaluate(one, unseen).force_mae for one in (Committee([backbone]), heads))
    assert after < 0.8 * before
