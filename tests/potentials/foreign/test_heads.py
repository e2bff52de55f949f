"""MACE and CHGNet as backbones of heads."""

import pytest
import torch
from ase.build import bulk

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.committee_files import read_committee, write_committee
from sparring.potentials.foreign.loading import load_potential
from sparring.potentials.heads.backbone import sum_features
from sparring.testing import check_symmetries
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
    together, apart = (one.predict(structures) for one in (committee, Committee(committee.members, stacked=False)))
    for got, wanted in zip(together, apart, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-8)
    gradient, wanted = variance_slope(committee, Structures.from_atoms([crystal]), step=1e-5)
    assert gradient.norm() > 1e-6
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))
    write_committee(tmp_path, committee)
    again = read_committee(tmp_path).predict(structures)
    for got, wanted in zip(again, together, strict=True):
        assert torch.equal(got, wanted)
