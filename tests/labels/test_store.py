import json
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from sparring.labels import Label, LabelStore, label_key


@pytest.fixture
def store(tmp_path):
    return LabelStore(tmp_path / "labels")


@pytest.fixture
def harmonic(toys):
    return toys.Harmonic()


@pytest.fixture
def ammonia():
    return molecule("NH3")


def h2(number):
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.7 + number / 100]])
    forces = np.full((2, 3), 1 / (3 + number))
    label = Label(energy=number / 7, forces=forces, method="toy", version="1", converged=True, wall_time=1.0)
    return atoms, label


def test_a_label_comes_back_to_the_last_bit(store, ammonia, harmonic):
    rng = np.random.default_rng(0)
    ammonia.positions += rng.normal(size=(4, 3)) / 3
    key = store.key(ammonia, harmonic)
    given = harmonic(ammonia)
    store.put(key, ammonia, given)
    found = LabelStore(store.folder).get(key)
    assert found.energy == given.energy
    assert found.forces.dtype == np.float64
    np.testing.assert_array_equal(found.forces, given.forces)
    assert (found.method, found.version, found.converged) == (given.method, given.version, True)
    assert found.stress is None
    assert len(store) == 1
    assert key in store
    assert [path.name for path in store.folder.iterdir()] == [f"{key}.json"]


def test_what_is_not_there_is_none(store, ammonia, harmonic):
    assert store.get(store.key(ammonia, harmonic)) is None
    assert len(store) == 0


def test_a_failure_is_kept_as_it_was_and_the_record_is_strict_json(store, ammonia):
    forces = np.full((4, 3), np.nan)
    forces[0, 0] = -np.inf
    stress = np.array([1.0, 2.0, 3.0, 0.1, 0.2, np.nan])
    failed = Label(
        energy=np.nan, forces=forces, stress=stress, method="toy", version="1", converged=False, wall_time=0.5
    )
    key = label_key(ammonia, failed)
    store.put(key, ammonia, failed)
    found = store.get(key)
    assert not found.converged
    assert np.isnan(found.energy)
    np.testing.assert_array_equal(found.forces, forces)
    np.testing.assert_array_equal(found.stress, stress)
    json.loads((store.folder / f"{key}.json").read_text(), parse_constant=pytest.fail)


def test_noise_below_the_resolution_and_the_sign_of_zero_do_not_change_the_key(ammonia, harmonic):
    key = label_key(ammonia, harmonic)
    noisy = ammonia.copy()
    noisy.positions = np.round(ammonia.positions, 10) + 1e-12
    noisy.positions[np.abs(noisy.positions) < 1e-11] = -0.0
    rounded = ammonia.copy()
    rounded.positions = np.round(ammonia.positions, 10)
    assert label_key(noisy, harmonic) == label_key(rounded, harmonic)
    minus = ammonia.copy()
    minus.positions[minus.positions == 0] = -0.0
    minus.cell[:] = -0.0
    assert label_key(minus, harmonic) == key


def test_everything_that_a_label_depends_on_is_in_the_key(ammonia, toys):
    variants = {"as it is": (ammonia, toys.Harmonic())}
    for name, change in {
        "position": lambda atoms: atoms.translate([1e-9, 0, 0]),
        "element": lambda atoms: atoms.set_atomic_numbers([15, 1, 1, 1]),
        "cell": lambda atoms: atoms.set_cell([9, 9, 9]),
        "pbc": lambda atoms: atoms.set_pbc(True),
        "charge": lambda atoms: atoms.info.update(charge=2),
        "multiplicity": lambda atoms: atoms.info.update(multiplicity=3),
        "magnetic moments": lambda atoms: atoms.set_initial_magnetic_moments([1, 0, 0, 0]),
        "order": lambda atoms: atoms.set_positions(atoms.positions[::-1]),
    }.items():
        changed = ammonia.copy()
        change(changed)
        variants[name] = (changed, toys.Harmonic())
    variants["method"] = (ammonia, toys.Harmonic(method="harmonic k=2"))
    newer = toys.Harmonic()
    newer.version = "toy 2"
    variants["version"] = (ammonia, newer)
    keys = {name: label_key(*variant) for name, variant in variants.items()}
    assert len(set(keys.values())) == len(keys)


def test_what_no_label_depends_on_is_not_in_the_key(ammonia, harmonic):
    decorated = ammonia.copy()
    decorated.info.update(charge=0, multiplicity=1, source="attack", generation=3)
    decorated.set_tags([1, 2, 3, 4])
    decorated.set_initial_magnetic_moments(np.zeros(4))
    decorated.set_velocities(np.ones((4, 3)))
    assert label_key(decorated, harmonic) == label_key(ammonia, harmonic)


def test_another_process_finds_the_same_key(ammonia):
    program = (
        "import numpy as np; from ase.build import molecule; from sparring.labels import Label, label_key\n"
        "label = Label(energy=0.0, forces=np.ones((4, 3)), method='Å', version='1', converged=True, wall_time=1.0)\n"
        "print(label_key(molecule('NH3'), label))"
    )
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    label = Label(energy=1.0, forces=np.zeros((4, 3)), method="Å", version="1", converged=True, wall_time=0.0)
    assert printed.strip() == label_key(ammonia, label)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_positions_that_are_not_finite_are_refused(ammonia, harmonic, value):
    ammonia.positions[2, 1] = value
    with pytest.raises(ValueError, match=r"H3N: the positions must be finite .* got row 2 ="):
        label_key(ammonia, harmonic)


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"key": "abc"}', "truncated", "digit", "binary"])
def test_a_damaged_record_is_an_error_that_names_the_file_and_the_remedy(store, ammonia, harmonic, damage):
    key = store.key(ammonia, harmonic)
    store.put(key, ammonia, harmonic(ammonia))
    path = store.folder / f"{key}.json"
    text = path.read_text()
    if damage == "truncated":
        path.write_text(text[: len(text) // 2])
    elif damage == "digit":
        energy = repr(store.get(key).energy)
        path.write_text(text.replace(energy, energy[:-1] + str((int(energy[-1]) + 1) % 10)))
    elif damage == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    else:
        path.write_text(damage)
    with pytest.raises(ValueError, match=rf"label record .*{key}\.json .*; delete this file") as error:
        store.get(key)
    assert str(path) in str(error.value)


def test_a_record_under_a_wrong_name_is_damaged(store, ammonia, harmonic):
    key = store.key(ammonia, harmonic)
    store.put(key, ammonia, harmonic(ammonia))
    other = "0" * 64
    (store.folder / f"{key}.json").rename(store.folder / f"{other}.json")
    with pytest.raises(ValueError, match="does not agree with its own checksum"):
        store.get(other)


def test_a_label_cannot_be_kept_under_a_foreign_key(store, ammonia, harmonic):
    with pytest.raises(ValueError, match="does not belong to key"):
        store.put("0" * 64, ammonia, harmonic(ammonia))
    assert len(store) == 0


def test_a_record_is_immutable(store, ammonia, harmonic):
    key = store.key(ammonia, harmonic)
    store.put(key, ammonia, harmonic(ammonia))
    path = store.folder / f"{key}.json"
    before = path.stat()
    store.put(key, ammonia, harmonic(ammonia))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino


def test_many_writers_at_once_leave_whole_records_and_nothing_else(store):
    program = (
        "import sys; import numpy as np; from ase import Atoms\n"
        "from sparring.labels import Label, LabelStore, label_key\n"
        "store = LabelStore(sys.argv[1])\n"
        "for i in range(40):\n"
        "    atoms = Atoms('H2', positions=[[0, 0, 0], [0, 0, 0.7 + i / 100]])\n"
        "    label = Label(energy=i / 7, forces=np.full((2, 3), 1 / (3 + i)), method='toy', version='1',\n"
        "                  converged=True, wall_time=1.0)\n"
        "    store.put(label_key(atoms, label), atoms, label)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(store.folder)]) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(store) == 40
    assert len(list(store.folder.iterdir())) == 40
    for number in range(40):
        atoms, label = h2(number)
        assert store.get(label_key(atoms, label)).energy == label.energy


def operations_of_a_label(store, atoms, labeller):
    """Calls of the operating system that one label takes, in their order."""
    calls = []

    def note(frame, event, function):
        if event == "c_call" and function.__module__ in ("posix", "_io", "io"):
            calls.append(function.__name__)

    sys.setprofile(note)
    try:
        assert store.obtain(atoms, labeller)[1]
    finally:
        sys.setprofile(None)
    return calls


def test_a_label_takes_the_same_operations_in_an_empty_store_and_in_one_of_20000(store, harmonic, ammonia):
    store.obtain(h2(0)[0], harmonic)  # the first label of a process fills caches
    first = operations_of_a_label(store, ammonia, harmonic)
    for number in range(20_000):
        (store.folder / f"{number:064x}.json").touch()
    ammonia.rattle(0.1, seed=1)
    assert operations_of_a_label(store, ammonia, harmonic) == first
    assert "fsync" in first
    assert not {"listdir", "scandir"} & set(first)
    assert len(first) < 100


@pytest.mark.slow
def test_10000_labels_go_through_a_store_with_the_same_operations_from_the_first_to_the_last(store, harmonic):
    store.obtain(Atoms("He"), harmonic)  # the first label of a process fills caches
    operations = []
    for number in range(10_000):
        atoms, _ = h2(number)
        if number % 2000 in (0, 1999):
            operations.append(operations_of_a_label(store, atoms, harmonic))
        else:
            store.obtain(atoms, harmonic)
    assert all(one == operations[0] for one in operations)
    assert len(store) == 10_001
