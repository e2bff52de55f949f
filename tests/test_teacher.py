"""A potential as labeller."""

import multiprocessing.reduction

import numpy as np
import pytest
import torch

from sparring import PotentialLabeller, label, write_committee
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.config import ConfigError, load
from sparring.domain import TrainingDomain
from sparring.labels import LabelError
from sparring.labels.launch import recipe


@pytest.fixture
def ammonias(committee):
    """A committee that knows nitrogen and hydrogen."""
    return committee(2, stacked=None).with_domain(TrainingDomain.of_elements(["H", "N"]))


def test_a_label_is_the_mean_energy_and_its_slope(ammonias, ammonia):
    ammonia.rattle(0.1, seed=1)
    made = PotentialLabeller(ammonias)(ammonia)
    energies = ammonias.without_domain().predict(Structures.from_atoms([ammonia]), differentiable=False).energy
    assert made.energy == pytest.approx(float(energies.mean()))
    step = 1e-4
    for atom, axis in ((0, 0), (2, 1)):
        moved = [ammonia.copy() for _ in range(2)]
        for one, sign in zip(moved, (1, -1), strict=True):
            one.positions[atom, axis] += sign * step
        above, below = (PotentialLabeller(ammonias)(one).energy for one in moved)
        assert made.forces[atom, axis] == pytest.approx(-(above - below) / (2 * step), rel=1e-5, abs=1e-7)


def test_a_label_of_a_crystal_has_the_slope_of_the_energy_in_a_strain(ammonias, ammonia):
    ammonia.set_cell([[4.0, 0.3, 0.0], [0.0, 4.2, 0.0], [0.1, 0.0, 3.8]])
    assert PotentialLabeller(ammonias)(ammonia).stress is None
    ammonia.pbc = True
    found, step = PotentialLabeller(ammonias)(ammonia).stress, 1e-4
    for index, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        ends = []
        for sign in (1, -1):
            strain, moved = np.zeros((3, 3)), ammonia.copy()
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            moved.set_cell(ammonia.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            ends.append(PotentialLabeller(ammonias)(moved).energy)
        slope = (ends[0] - ends[1]) / (2 * step) / ammonia.get_volume()
        assert found[index] == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_other_weights_have_another_name_and_the_same_weights_elsewhere_the_same(ammonias, schnet, tmp_path):
    labeller = PotentialLabeller(ammonias)
    write_committee(tmp_path / "a", ammonias)
    write_committee(tmp_path / "b", ammonias)
    saved = [PotentialLabeller.from_model("sparring", tmp_path / name) for name in "ab"]
    assert {one.method for one in saved} == {labeller.method}
    assert labeller.version.startswith("sparring")
    other = PotentialLabeller(Committee([schnet(0), schnet(7)]))
    assert other.method != labeller.method


def test_an_element_that_the_model_does_not_know_has_no_label(ammonias, water):
    with pytest.raises(LabelError, match="O, on which the committee was not trained") as caught:
        PotentialLabeller(ammonias)(water)
    assert not caught.value.is_geometry


def test_a_worker_gets_the_name_of_the_model_and_loads_it_there(ammonias, ammonia, tmp_path):
    write_committee(tmp_path / "teacher", ammonias)
    labeller = PotentialLabeller.from_model("sparring", tmp_path / "teacher")
    sent = recipe(labeller).content
    assert str(tmp_path / "teacher").encode() in sent
    assert len(sent) < 1000
    again = multiprocessing.reduction.ForkingPickler.loads(sent)
    assert (again.method, again.version) == (labeller.method, labeller.version)
    np.testing.assert_array_equal(again(ammonia).forces, labeller(ammonia).forces)


def test_labels_of_a_worker_process_are_those_of_this_one_and_are_kept(ammonias, ammonia, tmp_path):
    write_committee(tmp_path / "teacher", ammonias.to(dtype=torch.float32))
    labeller = PotentialLabeller.from_model("sparring", tmp_path / "teacher")
    (made,) = label([ammonia], labeller, store=tmp_path / "labels").labels
    assert made.energy == labeller(ammonia).energy
    assert label([ammonia], labeller, store=tmp_path / "labels").n_reused == 1


def test_a_configuration_names_the_teacher_relative_to_itself(molecules_file, committee, tmp_path):
    write_committee(tmp_path / "teacher", committee(2))
    file = molecules_file({"labels.labeller": {"kind": "potential", "adapter": "sparring", "model": "teacher"}})
    text = file.read_text().replace(str(tmp_path / "teacher"), "teacher")
    file.write_text(text, encoding="utf-8")
    assert load(file).labels.labeller.model == str(tmp_path / "teacher")
    file.write_text(text.replace("adapter: sparring", ""), encoding="utf-8")
    with pytest.raises(ConfigError, match="adapter"):
        load(file)
