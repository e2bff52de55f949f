import pickle
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from sparring.labels import Bounds, Label, LabelError, Labeller, check, electronic_state
from sparring.labels.base import composition
from sparring.labels.results import compute

H2 = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]])


def a_label(energy=-1.0, force=0.1, converged=True):
    forces = np.array([[0.0, 0.0, force], [0.0, 0.0, -force]])
    return Label(energy=energy, forces=forces, method="toy", version="1", converged=converged, wall_time=0.0)


def test_a_good_label_passes():
    check(a_label(), H2, Bounds())


def test_a_label_that_has_not_converged_is_an_error():
    with pytest.raises(LabelError, match="toy did not converge") as error:
        check(a_label(converged=False), H2, Bounds())
    assert error.value.reason == "not_converged"


@pytest.mark.parametrize(("energy", "force"), [(np.nan, 0.1), (np.inf, 0.1), (-1.0, np.nan), (-1.0, -np.inf)])
def test_a_label_that_is_not_finite_is_an_error(energy, force):
    with pytest.raises(LabelError, match="not finite") as error:
        check(a_label(energy, force), H2, Bounds())
    assert error.value.reason == "not_finite"


def test_a_force_out_of_bounds_is_an_error_that_names_the_atom_and_the_remedy():
    check(a_label(force=99.9), H2, Bounds())
    with pytest.raises(LabelError, match=r"101 eV/Å on atom 0 \(H\) is above .* 100 eV/Å; raise max_force") as error:
        check(a_label(force=101.0), H2, Bounds())
    assert error.value.reason == "force"


def test_an_energy_above_the_window_is_an_error():
    bounds = Bounds(energy_window=2.0)
    check(a_label(energy=0.9), H2, bounds, lowest_energy=-1.0)
    check(a_label(energy=727.0), H2, bounds)
    with pytest.raises(LabelError, match=r"728 eV above the lowest known .* raise energy_window") as error:
        check(a_label(energy=727.0), H2, bounds, lowest_energy=-1.0)
    assert error.value.reason == "energy"


@pytest.mark.parametrize("gap", [0.3, 0.0])
def test_atoms_too_close_are_an_error_that_names_both(gap):
    close = Atoms("NH", positions=[[0, 0, 0], [0, 0, gap]])
    with pytest.raises(LabelError, match=rf"atoms 0 \(N\) and 1 \(H\) are {gap:g} Å apart") as error:
        check(a_label(), close, Bounds())
    assert error.value.reason == "distance"
    check(a_label(), close, Bounds(min_distance=None))


def test_periodic_images_count_as_neighbours():
    squeezed = bulk("Cu", cubic=False)
    squeezed.set_cell(squeezed.cell * 0.1, scale_atoms=True)
    label = Label(energy=0.0, forces=np.zeros((1, 3)), method="toy", version="1", converged=True, wall_time=0.0)
    with pytest.raises(LabelError, match="apart"):
        check(label, squeezed, Bounds())


def test_a_single_dummy_atom_is_close_to_nothing():
    label = Label(energy=0.0, forces=np.zeros((1, 3)), method="toy", version="1", converged=True, wall_time=0.0)
    check(label, Atoms("X"), Bounds())


def test_negative_bounds_are_refused():
    with pytest.raises(ValueError, match="max_force must not be negative, got -1"):
        Bounds(max_force=-1.0)


def test_a_label_error_survives_the_way_from_a_worker_process():
    error = pickle.loads(pickle.dumps(LabelError("force", "too steep")))
    assert (error.reason, str(error)) == ("force", "too steep")


@pytest.mark.parametrize(
    ("name", "info", "expected"),
    [
        ("H2O", {}, (0, 1)),
        ("NH2", {}, (0, 2)),
        ("O2", {"multiplicity": 3}, (0, 3)),
        ("H2O", {"charge": 1}, (1, 2)),
        ("H2O", {"charge": np.int64(-1), "multiplicity": 2.0}, (-1, 2)),
    ],
)
def test_the_multiplicity_is_the_lowest_unless_it_is_given(name, info, expected):
    atoms = molecule(name)
    atoms.info.update(info)
    assert electronic_state(atoms) == expected


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"multiplicity": 2}, "H2O with charge 0 has 10 electrons, which cannot have multiplicity 2.*lowest is 1"),
        ({"charge": 1, "multiplicity": 1}, "has 9 electrons, which cannot have multiplicity 1.*lowest is 2"),
        ({"multiplicity": 0}, "cannot have multiplicity 0"),
        ({"multiplicity": 13}, "cannot have multiplicity 13"),
        ({"charge": 11}, "has only 10 electrons to lose, got charge 11"),
        ({"charge": 0.5}, "charge must be an integer, got .* 0.5"),
        ({"charge": "one"}, "charge must be an integer, got .* 'one'"),
        ({"charge": np.nan}, "charge must be an integer"),
    ],
)
def test_a_state_that_the_electrons_cannot_have_is_refused(info, message):
    atoms = molecule("H2O")
    atoms.info.update(info)
    with pytest.raises(ValueError, match=message):
        electronic_state(atoms)


def test_energies_of_ions_are_not_compared_with_those_of_molecules():
    atoms = molecule("NH3")
    assert composition(atoms) == "H3N"
    atoms.info["charge"] = 1
    assert composition(atoms) == "H3N+1"


def test_a_plain_function_with_two_attributes_is_a_labeller():
    def flat(atoms):
        return Label(energy=0.0, forces=np.zeros((1, 3)), method="flat", version="1", converged=True, wall_time=0.0)

    flat.method, flat.version = "flat", "1"
    assert isinstance(flat, Labeller)
    with pytest.raises(LabelError, match=r"flat gave forces of shape \(1, 3\), wanted \(2, 3\) in eV/Å") as error:
        compute(flat, H2)
    assert error.value.reason == "bad_result"


def test_importing_the_labels_loads_no_quantum_chemistry_and_no_torch():
    program = "import sys, sparring.labels; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "ase" in loaded
    assert not {"pyscf", "tblite", "torch"} & set(loaded)
