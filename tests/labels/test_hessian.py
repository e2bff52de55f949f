import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from sparring.atoms.reference import HESSIAN_DIRECTION, HESSIAN_PRODUCT, HESSIAN_STEP
from sparring.commands import running
from sparring.config import load
from sparring.labels import hessian_vector_labels
from sparring.runs.generation import Generation


def emt(frames):
    """Structures with labels by EMT."""
    made = []
    for atoms in frames:
        labelled = atoms.copy()
        labelled.calc = EMT()
        labelled.info["REF_energy"] = labelled.get_potential_energy()
        labelled.arrays["REF_forces"] = labelled.get_forces(apply_constraint=False)
        labelled.calc = None
        made.append(labelled)
    return made


def test_products_are_those_of_the_hessian(ammonia, rattled):
    (atoms,) = emt(rattled(ammonia, 1))
    given = np.random.default_rng(0).normal(size=(4, 3))
    (labelled,) = hessian_vector_labels([atoms], emt, step=1e-4, directions=[given])
    columns = []
    for coordinate in range(12):
        ahead, behind = atoms.copy(), atoms.copy()
        ahead.positions.flat[coordinate] += 1e-4
        behind.positions.flat[coordinate] -= 1e-4
        one, other = emt([ahead, behind])
        columns.append((other.arrays["REF_forces"] - one.arrays["REF_forces"]).ravel() / 2e-4)
    unit = given / np.linalg.norm(given)
    np.testing.assert_allclose(labelled.arrays[HESSIAN_DIRECTION], unit, atol=1e-12)
    np.testing.assert_allclose(labelled.arrays[HESSIAN_PRODUCT].ravel(), np.array(columns) @ unit.ravel(), atol=0.02)
    assert labelled.info[HESSIAN_STEP] == 1e-4
    assert HESSIAN_PRODUCT not in atoms.arrays


def test_a_random_direction_depends_on_the_geometry_alone(ammonia, rattled):
    frames = emt(rattled(ammonia, 2))
    one, other = hessian_vector_labels(frames, emt)
    (again,) = hessian_vector_labels(frames[1:], emt)
    assert (again.arrays[HESSIAN_DIRECTION] == other.arrays[HESSIAN_DIRECTION]).all()
    assert (one.arrays[HESSIAN_DIRECTION] != other.arrays[HESSIAN_DIRECTION]).all()
    assert np.linalg.norm(one.arrays[HESSIAN_DIRECTION]) == pytest.approx(1.0)


def test_structures_that_cannot_have_one_stay_as_they_are_and_fixed_atoms_do_not_move(ammonia, rattled, caplog):
    frames = emt(rattled(ammonia, 3))
    del frames[0].arrays["REF_forces"]
    frames[1].set_constraint(FixAtoms([0]))

    def some(displaced):
        assert [len(atoms.constraints) for atoms in displaced] == [1, 0]
        return emt(displaced[:1])

    plain, fixed, failed = hessian_vector_labels(frames, some)
    assert plain is frames[0]
    assert failed is frames[2]
    assert (fixed.arrays[HESSIAN_DIRECTION][0] == 0).all()
    assert "1 of 2 Hessian-vector labels failed; their structures go without" in caplog.text
    (same,) = hessian_vector_labels([fixed], emt)
    assert same is fixed


def test_arguments_that_make_no_sense_are_an_error(ammonia):
    frames = emt([ammonia])
    with pytest.raises(ValueError, match=r"must be a positive length in Å, got 0"):
        hessian_vector_labels(frames, emt, step=0.0)
    with pytest.raises(ValueError, match="need a direction for each of 1 structures, got 0"):
        hessian_vector_labels(frames, emt, directions=[])
    with pytest.raises(ValueError, match="the direction of structure 0 moves no atom; give another one"):
        hessian_vector_labels(frames, emt, directions=[np.zeros((4, 3))])


def test_a_run_buys_stores_and_keeps_hessian_labels_and_trains_members_of_two_kinds_with_priors(
    molecules_file, tmp_path, monkeypatch
):
    monkeypatch.setattr(running, "report", lambda folder: None)
    file = molecules_file()
    text = file.read_text(encoding="utf-8").replace(
        "n_workers: 1", f"n_workers: 1, store: {tmp_path}/labels, hessian: {{step: 0.02 Å}}"
    )
    network = "potential: {kind: schnet,"
    text = text.replace(
        network, "prior: {scale: 0.5}\n  potentials:\n  - {kind: ace, n_features: 2}\n  - {kind: schnet,"
    )
    text = text.replace("n_epochs: 3,", "n_epochs: 1, taylor: {}, bootstrap: true,")
    file.write_text(text, encoding="utf-8")
    folder = tmp_path / "run"
    committee = running.run(load(file), folder)
    assert [member.network.kind for member in committee.members] == ["ace", "schnet"]
    second = Generation(folder / "generation-02").dataset()
    arrays_and_info = zip(second.arrays, second.info, strict=True)
    with_product = [info for arrays, info in arrays_and_info if HESSIAN_PRODUCT in arrays]
    assert {str(info["source"]) for info in with_product} == {"file", "attack"}
    assert {info[HESSIAN_STEP] for info in with_product} == {0.02}
    known = set((tmp_path / "labels").iterdir())
    running.run(load(file), tmp_path / "again")
    assert set((tmp_path / "labels").iterdir()) == known
