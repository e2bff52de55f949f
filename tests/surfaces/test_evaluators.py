import numpy as np
import pytest
from ase.calculators.emt import EMT

from sparring.dynamics.calculator import CommitteeCalculator
from sparring.labels import Bounds, LabelError, LabelReport, label
from sparring.surfaces.evaluators import Labelling, SurfaceCalculator, committee_surface, label_surface


class Bench:
    def label(self, structures) -> LabelReport:
        return label(structures, EMT(), bounds=Bounds(min_distance=0.5))


def test_a_committees_surface_is_its_mean_structure_by_structure(committee, water, ammonia, salt):
    members = committee()
    structures = [water, ammonia, salt]
    points = committee_surface(members)(structures)
    for atoms, point in zip(structures, points, strict=True):
        atoms.calc = CommitteeCalculator(members)
        assert point.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
        np.testing.assert_allclose(point.forces, atoms.get_forces(), atol=1e-10)
        np.testing.assert_allclose(point.member_energy, atoms.calc.results["energy_comm"], atol=1e-10)


def test_the_labels_surface_has_one_member_itself(water, ammonia):
    points = label_surface(Bench())([water, ammonia])
    for atoms, point in zip([water, ammonia], points, strict=True):
        assert point.energy == EMT().get_potential_energy(atoms)
        assert point.member_energy.tolist() == [point.energy]


def test_a_structure_without_a_label_is_an_error_in_its_place(water, ammonia):
    water.positions[1] = water.positions[2] + 0.1
    found, failed = label_surface(Bench())([ammonia, water])
    assert found.energy == EMT().get_potential_energy(ammonia)
    assert isinstance(failed, LabelError)
    assert str(failed).startswith("atoms 1 (H) and 2 (H) are ")
    assert failed.reason == "distance"


def test_a_surface_serves_ase_step_by_step(committee, water):
    water.calc = SurfaceCalculator(committee_surface(committee()))
    expected = CommitteeCalculator(committee())
    assert water.get_potential_energy() == pytest.approx(expected.get_potential_energy(water), abs=1e-10)
    np.testing.assert_allclose(water.get_forces(), expected.get_forces(water), atol=1e-10)


def test_for_ase_a_label_that_fails_is_raised(water):
    water.positions[1] = water.positions[2] + 0.1
    water.calc = SurfaceCalculator(label_surface(Bench()))
    with pytest.raises(LabelError, match=r"^atoms 1 \(H\) and 2 \(H\) are"):
        water.get_potential_energy()


def test_whatever_labels_many_structures_will_do():
    assert isinstance(Bench(), Labelling)
