import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.labels.base import Bounds
from sparring.starting_data.screening import require_one_state, screen
from sparring.systems.own.structures import Displacements, NormalModes, starting_data

OFF = Bounds(min_distance=None, max_force=None, energy_window=None)


@pytest.fixture
def frames(rattled, water):
    """Water as a file has it: frames that differ, with believable labels."""
    structures = rattled(water, 6)
    for index, one in enumerate(structures):
        one.info.update({ENERGY: -137.9 + 0.1 * index, "source": "file", "frame": index})
        one.arrays[FORCES] = np.full((3, 3), 0.1 * index)
    return structures


def refused(frames, bounds, caplog=None):
    """Frames that are left out: their number, the reason, and the message."""
    failures = []
    kept = screen(frames, bounds, lambda atoms, error: failures.append((atoms, error)), file="water.xyz")
    assert len(kept) + len(failures) == len(frames)
    return [(atoms.info["frame"], error.reason, error.message) for atoms, error in failures]


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_a_force_of_the_file_beyond_the_bound_is_a_failure_that_names_frame_and_atom(frames, caplog):
    frames[3].arrays[FORCES][1, 2] = 1e3
    ((frame, reason, message),) = refused(frames, Bounds())
    assert (frame, reason) == (3, "force")
    assert message == (
        "water.xyz, frame 3 (counting from 0), H2O: the force of 1000 eV/Å on atom 1 (H) is above the bound of "
        "100 eV/Å; raise max_force to allow it"
    )
    assert "water.xyz: 1 of 6 frames are not trained on (force 1); labels.bounds decide" in caplog.text
    assert not refused(frames, Bounds(max_force=2e3))


def test_overlapping_atoms_of_the_file_are_a_failure(frames):
    frames[2].positions[1] = frames[2].positions[0] + (0.1, 0.0, 0.0)
    ((frame, reason, message),) = refused(frames, Bounds())
    assert (frame, reason) == (2, "distance")
    assert "atoms 0 (O) and 1 (H) are 0.1 Å apart" in message


@pytest.mark.parametrize("energy", [1e9, -1e9, 1e5, -1e5])
@pytest.mark.parametrize("bounds", [Bounds(), OFF], ids=["bounds", "bounds off"])
def test_an_absurd_energy_is_a_failure_whatever_the_bounds_and_spoils_no_other(frames, energy, bounds):
    frames[0].info[ENERGY] = energy
    ((frame, reason, _),) = refused(frames, bounds)
    assert (frame, reason) == (0, "energy")


@pytest.mark.parametrize(("factor", "unit"), [(1 / 27.2114, "Hartree"), (23.0605, "kcal/mol"), (1000, "meV")])
def test_one_energy_in_another_unit_is_a_failure_that_names_the_unit(frames, factor, unit):
    frames[2].info[ENERGY] *= factor
    ((frame, reason, message),) = refused(frames, Bounds())
    assert (frame, reason) == (2, "energy")
    assert f"eV from the median of its composition, which is absurd (in {unit} it would fit)" in message


def test_an_absurd_energy_does_not_become_the_zero_of_the_window(frames):
    frames[5].info[ENERGY] = -1e9
    assert [one[0] for one in refused(frames, Bounds(energy_window=1.0))] == [5]


def test_an_absurd_force_is_a_failure_with_bounds_off(frames):
    frames[4].arrays[FORCES][0] = 1e6
    ((frame, reason, message),) = refused(frames, OFF)
    assert (frame, reason) == (4, "force")
    assert "a force of 1.732e+06 eV/Å is absurd; look at its unit" in message


def test_energies_of_all_electrons_are_not_absurd(frames):
    for one in frames:
        one.info[ENERGY] -= 2000.0
    gold = Atoms("Au2", positions=[[0, 0, 0], [0, 0, 2.5]], info={ENERGY: -2 * 535_000.0, "frame": 6})
    gold.arrays[FORCES] = np.zeros((2, 3))
    assert not refused([*frames, gold], Bounds())


def test_the_energy_window_is_above_the_lowest_of_the_same_composition_and_charge(frames, ammonia):
    for index, (charge, energy) in enumerate([(0, -1.0), (0, -0.2), (1, 12.0), (1, 12.7), (0, 13.0)]):
        one = ammonia.copy()
        one.rattle(0.05, seed=index)
        one.info.update({ENERGY: energy, "charge": charge, "frame": 6 + index})
        one.arrays[FORCES] = np.zeros((4, 3))
        frames.append(one)
    assert [one[:2] for one in refused(frames, Bounds(energy_window=1.0))] == [(10, "energy")]


def test_frames_without_a_label_are_left_to_the_labeller(water):
    water.info["frame"] = 0
    assert not refused([water], Bounds())


def test_a_charge_that_cannot_be_is_an_error_that_names_the_frame(frames):
    frames[1].info["multiplicity"] = 2
    with pytest.raises(
        ValueError, match=r"water\.xyz, frame 1 \(counting from 0\): H2O with charge 0 has 10 electrons"
    ):
        refused(frames, Bounds())


@pytest.mark.parametrize("enlarge", [NormalModes(3, (100.0, 200.0)), Displacements(3, 0.01)])
def test_a_frame_that_is_refused_is_not_enlarged(frames, enlarge):
    frames[0].arrays[FORCES][0] = 1e3
    asked, failures = [], []

    def label_many(structures):
        asked.extend(one.info["frame"] for one in structures)
        return []

    starting_data(frames[:1], EMT(), label_many, enlarge=enlarge, failed=lambda *both: failures.append(both))
    assert not asked
    assert [error.reason for _, error in failures] == ["force"]


# --- duplicates -----------------------------------------------------------------------------------------------------


def test_frames_that_are_there_twice_are_noticed_by_number(frames, caplog):
    again = frames[1].copy()
    again.info["frame"] = 6
    again.rotate(50.0, "z")
    again.arrays[FORCES] = frames[1].arrays[FORCES]  # of the same lengths
    assert not refused([*frames, again], Bounds())
    assert "water.xyz: 1 of 7 frames have the geometry of another one (frames 1 and 6)" in caplog.text


@pytest.mark.parametrize("what", ["energy", "forces"])
def test_one_geometry_with_two_labels_is_an_error_that_names_both_frames(frames, what):
    again = frames[2].copy()
    again.info["frame"] = 6
    if what == "energy":
        again.info[ENERGY] += 0.5
    else:
        again.arrays[FORCES] = 2 * frames[2].arrays[FORCES]
    with pytest.raises(
        ValueError, match=rf"water\.xyz: the same geometry has different labels in frames 2 and 6 \({what[:5]}"
    ):
        refused([*frames, again], Bounds())


def test_one_geometry_in_two_charges_is_no_contradiction(frames):
    again = frames[2].copy()
    again.info.update({"frame": 6, "charge": 1, ENERGY: -125.0})
    assert not refused([*frames, again], Bounds())


# --- charges --------------------------------------------------------------------------------------------------------


def states(*atoms, **info):
    return require_one_state(list(atoms), potential="schnet", file="train.xyz", **info)


def charged(name, charge, multiplicity=None):
    atoms = molecule(name) if name != "NH4" else Atoms("NH4", np.random.default_rng(0).normal(size=(5, 3)))
    atoms.info.update({"charge": charge} | ({} if multiplicity is None else {"multiplicity": multiplicity}))
    return atoms


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (
            [("NH3", 0), ("NH3", 1), ("NH3", 0), ("NH3", 1)],
            r"train\.xyz: H3N is there with charge \+0, multiplicity 1 \(frames 0, 2\) and with charge \+1, "
            r"multiplicity 2 \(frames 1, 3\); the potential 'schnet' depends on neither charge nor multiplicity",
        ),
        ([("O2", 0, 3), ("O2", 0)], r"O2 is there with charge \+0, multiplicity 1 \(frames 1\) and .* multiplicity 3"),
        ([("H2O", 0), ("NH3", -1), ("NH3", 1), ("NH3", 0)], r"with charge -1.*with charge \+0.*with charge \+1"),
    ],
)
def test_one_composition_in_several_states_is_an_error_with_frames_and_charges(frames, message):
    with pytest.raises(ValueError, match=message):
        states(*(charged(*one) for one in frames))


def test_the_lowest_multiplicity_may_be_said_or_not():
    states(charged("NH3", 0), charged("NH3", 0, 1), charged("O2", 0, 1))


def test_different_molecules_may_have_different_charges_and_it_is_said(caplog):
    states(charged("NH3", 0), charged("NH4", 1))
    assert "train.xyz: molecules differ in charge (H3N +0, H4N +1); the potential 'schnet' depends on the formula" in (
        caplog.text
    )


def test_an_isolated_atom_is_not_compared_with_others_of_its_kind():
    states(Atoms("O", info={"multiplicity": 3}), Atoms("O", info={"multiplicity": 1}))
