import dataclasses
import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.data import atomic_masses

from sparring.atoms.neighbors import distances
from sparring.atoms.strain import volumes
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics import BondsKept, CloserThan, DistanceWindow, EnergyBelow
from sparring.inputs.extxyz import read_structures, write_structures
from sparring.systems.ammonia import unphysical
from sparring.units import AMU
from sparring.validation.records import read_record, write_record
from sparring.validation.survival import batches as batches_module
from sparring.validation.survival.compute import own_minimum, survival
from sparring.validation.survival.failures import Failure
from sparring.validation.survival.trials import Settings, Survival, SurvivalAtTemperature

LENGTH, STIFFNESS = 0.75, 30.0


@dataclasses.dataclass(frozen=True)
class SmallerThan:
    """Cells that have grown beyond a volume in Å³ end."""

    volume: float

    def __call__(self, structures, observation):
        return volumes(structures.cells) > self.volume


def of_pairs(energy_at):
    """A potential that is a sum over pairs of atoms."""

    def potential(structures):
        owner = structures.structure_index[structures.edges.target]
        energies = torch.zeros(structures.n_structures, dtype=structures.positions.dtype)
        return energies.index_add(0, owner, energy_at(distances(structures)) / 2)

    potential.cutoff = 20.0
    return potential


spring = of_pairs(lambda distance: STIFFNESS / 2 * (distance - LENGTH) ** 2)


@pytest.fixture
def hydrogen():
    return Atoms("H2", positions=[[0.0, 0.0, 0.0], [LENGTH, 0.0, 0.0]])


@pytest.fixture
def tried(hydrogen):
    """Hydrogen on springs, hot, for a short time."""

    def run(committee=None, start=hydrogen, **changes):
        options = {"temperatures": [300.0], "criteria": [], "n_copies": 6, "duration": 10.0, "ensemble": "langevin"}
        return survival(committee or Committee([spring, spring]), start, **{**options, **changes})

    return run


@pytest.fixture
def crystal():
    """Krypton under tension, whose bonds in the cell go on to images."""
    atoms = bulk("Kr", "fcc", a=5.0, cubic=True)
    atoms.rattle(0.02, seed=0)
    return atoms


def by_copy(trial):
    return {failure.copy: (failure.time, failure.reason) for failure in trial.failures}


# --- what becomes of copies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ensemble", ["nose_hoover", "langevin", "nve"])
def test_on_springs_all_copies_are_stable(tried, hydrogen, ensemble):
    frames = []
    criteria = [BondsKept(hydrogen, (0.3, 1.7)), EnergyBelow(-1e-9), CloserThan(0.2)]
    result = tried(temperatures=[100.0, 500.0], criteria=criteria, ensemble=ensemble, write=frames.extend)
    assert [(trial.n_copies, trial.n_stable, trial.fraction) for trial in result.trials] == [(6, 6, 1.0)] * 2
    assert (result.n_copies, result.n_stable, result.fraction) == (12, 12, 1.0)
    assert all(math.isnan(trial.median_failure_time) for trial in result.trials)
    assert not frames


def test_copies_at_constant_pressure_fail_in_cells_of_their_own(committee, crystal, tmp_path):
    # So hot that they expand as a gas.
    settings = {"n_copies": 4, "duration": 400.0, "timestep": 1.0, "ensemble": "npt", "pressure": 0.0}
    given = {**settings, "temperatures": [6000.0], "criteria": [SmallerThan(150.0)], "cell_time_constant": 100.0}
    frames = []
    members = committee(dtype=torch.float64)
    found = survival(members, crystal, **given, write=frames.extend, batches=tmp_path)
    assert found.n_stable == 0
    assert found.settings.ensemble == "npt, 0 bar, time constant 50 fs, of the cell 100 fs"
    ends = [atoms.get_volume() for atoms in frames]
    assert all(150.0 < volume < 160.0 for volume in ends)
    assert len(set(ends)) == 4
    assert {failure.departure.kind for failure in found.failures} <= {"bond", "angle"}
    again = []
    assert survival(members, crystal, **given, write=again.extend, batches=tmp_path) == found
    for one, other in zip(frames, again, strict=True):
        np.testing.assert_array_equal(one.cell.array, other.cell.array)
        np.testing.assert_array_equal(one.positions, other.positions)


@pytest.mark.parametrize("criterion", [CloserThan(0.5), EnergyBelow(4.0), DistanceWindow("H", "H", 0.5, 3.0)])
def test_into_a_hole_all_copies_fall_in_the_time_that_they_need(criterion):
    # A constant pull g brings two atoms of mass m from d0 to d in the time sqrt((d0 - d) m / g).
    pull, apart, end = 8.0, 1.0, 0.5
    start = Atoms("H2", positions=[[0, 0, 0], [0, 0, apart]], info={"charge": 0, "REF_energy": 3.0, "source": "data"})
    frames = []
    result = survival(
        Committee([of_pairs(lambda distance: 8 * distance), of_pairs(lambda distance: 8 * distance + 0.4)]),
        start,
        temperatures=[1e-6],
        criteria=[BondsKept(Atoms("H2", [[0, 0, 0], [0, 0, 0.6]]), (0.1, 5.0)), criterion],
        n_copies=4,
        duration=4.0,
        timestep=0.1,
        ensemble="nve",
        n_at_once=3,
        write=frames.extend,
    )
    (trial,) = result.trials
    assert (trial.n_stable, trial.fraction) == (0, 0.0)
    assert trial.reasons == ((str(criterion), 4),)
    assert [failure.copy for failure in trial.failures] == [0, 1, 2, 3]
    bottom = end - (0.2 / pull if isinstance(criterion, EnergyBelow) else 0.0)  # the members' mean energy is higher
    time = math.sqrt((apart - bottom) * AMU * atomic_masses[1] / pull)
    for failure in trial.failures:
        assert 0 < failure.time - time < 0.11
    assert trial.median_failure_time == trial.failures[0].time
    for copy, atoms in enumerate(frames):
        distance = atoms.get_distance(0, 1)
        assert bottom - 0.05 < distance < bottom
        assert atoms.info["committee_energy"] == pytest.approx(pull * distance + 0.2)
        assert atoms.info["energy_variance"] == pytest.approx(0.4**2 / 2)
        np.testing.assert_allclose(atoms.arrays["committee_forces"][:, 2], [pull, -pull])
        sigma = atoms.arrays["atom_uncertainty"]
        assert np.mean(sigma**2) == pytest.approx(atoms.info["force_variance"], abs=1e-12)
        told = {name: atoms.info[name] for name in ("copy", "temperature", "time", "failed", "charge")}
        expected = {"temperature": 1e-6, "time": trial.failures[copy].time, "failed": str(criterion), "charge": 0}
        assert told == {"copy": copy, **expected}
        assert "REF_energy" not in atoms.info


def test_copies_that_fail_keep_fixed_atoms_and_what_labels_depend_on():
    start = Atoms("H3", positions=[[0, 0, 0], [0, 0, 1.0], [0, 1.4, 0.3]], info={"config_type": "trimer"})
    start.set_constraint(FixAtoms([0]))
    start.set_initial_magnetic_moments([1.0, -1.0, 0.5])
    pulled, frames = of_pairs(lambda distance: 8 * distance), []
    options = {"temperatures": [1e-6], "criteria": [CloserThan(0.4)], "n_copies": 3, "duration": 8.0, "timestep": 0.1}
    result = survival(Committee([pulled, pulled]), start, ensemble="nve", write=frames.extend, **options)
    assert result.n_stable == 0
    for atoms in frames:
        assert (atoms.positions[0] == 0).all()
        assert atoms.constraints[0].index.tolist() == [0]
        assert atoms.get_initial_magnetic_moments().tolist() == [1.0, -1.0, 0.5]
        assert atoms.info["config_type"] == "trimer"


@pytest.mark.parametrize("beyond", [math.nan, -math.inf, -1e200])
def test_a_copy_that_forces_throw_out_of_the_world_is_shown_where_it_last_was_well(beyond, tmp_path):
    blown = of_pairs(lambda distance: torch.where(distance > 1.2, distance.new_tensor(beyond), -2.0) * distance)
    frames = []
    result = survival(
        Committee([blown]),
        Atoms("H2", positions=[[0, 0, 0], [0, 0, 1.0]]),
        temperatures=[1e-6],
        criteria=[],
        n_copies=2,
        duration=5.0,
        ensemble="nve",
        write=frames.extend,
    )
    assert result.trials[0].reasons == (("not finite", 2),)
    assert all(1.15 < atoms.get_distance(0, 1) < 1.25 for atoms in frames)
    write_structures(tmp_path / "frames.extxyz", frames)
    assert [one.info["copy"] for one in read_structures(tmp_path / "frames.extxyz")] == [0, 1]


def test_a_committee_that_knows_no_energy_of_the_start_fails_there(hydrogen):
    frames = []
    lost = of_pairs(lambda distance: distance * torch.nan)
    options = {"temperatures": [300.0], "criteria": [], "n_copies": 3, "duration": 5.0}
    result = survival(Committee([lost]), hydrogen, write=frames.extend, **options)
    assert [failure.time for failure in result.trials[0].failures] == [0.0, 0.0, 0.0]
    for atoms in frames:
        assert atoms == hydrogen
        assert atoms.info.keys() == {"copy", "temperature", "time", "failed"} | {"force_variance", "energy_variance"}
        assert "committee_forces" not in atoms.arrays


def test_copies_that_fail_do_not_change_the_others(tried):
    hot = {"temperatures": [6000.0], "n_copies": 12, "duration": 25.0}
    narrow, wide = DistanceWindow("H", "H", low=0.62), DistanceWindow("H", "H", high=0.95)
    alone = by_copy(tried(criteria=[wide], **hot).trials[0])
    both = by_copy(tried(criteria=[wide, narrow], **hot).trials[0])
    ended = {copy for copy, (_, reason) in both.items() if reason == str(narrow)}
    assert 2 < len(ended) < 12
    assert {copy: end for copy, end in both.items() if copy not in ended} == {
        copy: end for copy, end in alone.items() if copy not in ended
    }
    assert len({time for time, _ in alone.values()}) > 3
    assert all(both[copy][0] < alone.get(copy, (math.inf, ""))[0] for copy in ended)


def test_a_copys_end_belongs_to_its_seed_temperature_and_number(tried):
    hot = {"criteria": [DistanceWindow("H", "H", 0.65, 0.9)], "duration": 12.0}
    (cold, warm) = tried(temperatures=[500.0, 6000.0], **hot).trials
    assert tried(temperatures=[6000.0], **hot).trials == (warm,)
    more = by_copy(tried(temperatures=[6000.0], n_copies=9, n_at_once=4, **hot).trials[0])
    assert {copy: end for copy, end in more.items() if copy < 6} == by_copy(warm)
    assert by_copy(cold) != by_copy(warm)
    assert tried(temperatures=[6000.0], seed=1, **hot).trials != (warm,)


def test_temperatures_draw_random_numbers_of_their_own(tried, hydrogen):
    frames = []
    criteria = [DistanceWindow("H", "H", LENGTH - 1e-9, LENGTH + 1e-9)]  # fails after a step
    tried(temperatures=[300.0, 1200.0], criteria=criteria, duration=1.0, ensemble="nve", write=frames.extend)
    away = np.array([(atoms.positions - hydrogen.positions)[0] for atoms in frames]).reshape(2, 6, 3)
    direction = away / np.linalg.norm(away, axis=-1, keepdims=True)
    assert np.abs((direction[0] * direction[1]).sum(-1)).min() < 0.9


def test_failures_and_their_frames_are_in_order_of_time(tried):
    frames = []
    window = DistanceWindow("H", "H", 0.65, 0.9)
    (trial,) = tried(
        temperatures=[6000.0], criteria=[window], n_copies=9, n_at_once=4, duration=12.0, write=frames.extend
    ).trials
    times = [failure.time for failure in trial.failures]
    assert times == sorted(times)
    assert len(set(times)) > 2
    told = [(atoms.info["copy"], atoms.info["time"]) for atoms in frames]
    assert told == [(failure.copy, failure.time) for failure in trial.failures]


# --- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_stable", "n"), [(0, 100), (1, 7), (63, 100), (83, 100), (100, 100)])
def test_intervals_are_wilsons(n_stable, n):
    z, p = 1.959963984540054, n_stable / n
    centre, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    failures = [Failure(copy=i, time=1.0, reason="") for i in range(n - n_stable)]
    low, high = SurvivalAtTemperature.of(300.0, n, failures).interval
    assert (low, high) == pytest.approx(((centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)), abs=1e-12)
    assert 0 <= low <= p <= high <= 1


def test_survival_is_one_less_the_part_that_has_failed():
    failures = [Failure(copy=i, time=time, reason="") for i, time in enumerate((1.0, 4.0, 4.0))]
    trial = SurvivalAtTemperature.of(300.0, 6, failures)
    times = np.array([0.0, 0.99, 1.0, 3.0, 4.0, 99.0])
    np.testing.assert_allclose(trial.survival(times), np.array([6, 6, 5, 5, 3, 3]) / 6)
    settings = Settings(formula="", duration=99.0, timestep=1.0, ensemble="", criteria=(), seed=0)
    both = Survival.of([trial, SurvivalAtTemperature.of(400.0, 2, [])], settings)
    np.testing.assert_allclose(both.survival(times), np.array([8, 8, 7, 7, 5, 5]) / 8)
    assert both.fraction == 5 / 8


@pytest.mark.parametrize(("n_copies", "median"), [(6, 4.0), (5, 4.0), (7, math.nan), (4, 2.0), (3, 2.0)])
def test_the_median_is_when_half_of_all_copies_had_failed(n_copies, median):
    failures = [Failure(copy=i, time=time, reason="") for i, time in enumerate((1.0, 2.0, 4.0))]
    assert SurvivalAtTemperature.of(300.0, n_copies, failures).median_failure_time == pytest.approx(median, nan_ok=True)


def test_a_result_comes_back_from_its_file(tried, tmp_path):
    result = tried(temperatures=[6000.0], criteria=[DistanceWindow("H", "H", 0.65, 0.9)])
    assert result.trials[0].failures
    write_record(tmp_path / "survival.json", result)
    back = read_record(tmp_path / "survival.json", Survival)
    assert dataclasses.replace(back, trials=()) == dataclasses.replace(result, trials=())
    assert back.trials[0].failures == result.trials[0].failures
    assert result.settings == Settings(
        formula="H2",
        duration=10.0,
        timestep=0.5,
        ensemble="langevin, friction 0.01 1/fs",
        criteria=("H-H outside 0.65 to 0.9 Å",),
        seed=0,
    )


# --- the criteria for ammonia ---------------------------------------------------------------------------------------


def test_ammonia_fails_as_in_the_paper(ammonia):
    window, below = unphysical(-5.0)
    assert (window.low, window.high) == (0.80, 2.55)
    assert below.energy == pytest.approx(-5.001)
    assert unphysical(-5.0, margin=0.0)[1].energy == -5.0
    structures = Committee([spring]).prepare(Structures.from_atoms([ammonia]))
    window.check(structures)


def test_the_minimum_is_the_committees_own_beside_the_start(hydrogen):
    shifted = of_pairs(lambda distance: 15.0 * (distance - 0.8) ** 2 - 7.123456)
    assert own_minimum(Committee([shifted]), hydrogen) == -7.1235


def test_a_start_at_the_minimum_is_not_below_it(hydrogen):
    for lowest in np.random.default_rng(0).uniform(-9.0, 9.0, 6).tolist():
        there = Committee([of_pairs(lambda distance, lowest=lowest: 15.0 * (distance - LENGTH) ** 2 + lowest)])
        assert 0 <= lowest - own_minimum(there, hydrogen) < 1.001e-4
        survival(
            there, hydrogen, temperatures=[1.0], criteria=[EnergyBelow(own_minimum(there, hydrogen))], duration=0.5
        )


@pytest.mark.parametrize(
    "leads_away",
    [
        lambda distance: 0.5 * (distance - 2.0) ** 2,  # there is a minimum, but it is not beside the start
        lambda distance: -distance.sqrt(),  # for ever
        lambda distance: torch.where(distance > 0.76, torch.nan, -2.0) * distance,
    ],
)
def test_where_the_surface_leads_away_from_the_start_its_energy_is_taken(hydrogen, leads_away):
    energy = float(leads_away(torch.tensor(LENGTH).double()))
    assert own_minimum(Committee([of_pairs(leads_away)]), hydrogen) == pytest.approx(energy, abs=1.1e-4)


# --- pieces ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def networks(committee, ammonia):
    """A committee that has a name, under which ammonia falls apart sooner or later."""

    own = committee(2)

    def run(tmp_path=None, members=own, **changes):
        options = {
            "temperatures": [300.0, 3000.0],
            "criteria": [BondsKept(ammonia, (0.9, 1.1))],
            "n_copies": 5,
            "duration": 4.0,
            "n_at_once": 3,
            "batches": tmp_path,
        }
        frames = []
        result = survival(members, ammonia, write=frames.extend, **{**options, **changes})
        return result, frames

    return run


def assert_same(one, other):
    assert repr(one[0]) == repr(other[0])
    assert len(one[1]) == len(other[1])
    for a, b in zip(one[1], other[1], strict=True):
        assert a == b
        assert a.info == b.info
        assert (a.arrays["committee_forces"] == b.arrays["committee_forces"]).all()


@pytest.fixture
def computed(monkeypatch):
    """Which pieces are computed: their temperature and first copy."""
    seen = []
    write = batches_module.write_record

    def noted(file, piece):
        seen.append((piece.temperature, piece.first))
        write(file, piece)

    monkeypatch.setattr(batches_module, "write_record", noted)
    return seen


@pytest.mark.parametrize("n_pieces", [1, 2, 3])
def test_work_that_was_killed_and_goes_on_ends_as_if_nothing_had_happened(networks, computed, tmp_path, n_pieces):
    class Killed(BaseException):
        pass

    def progress_bars(title):
        if len(computed) == n_pieces:
            raise Killed
        return None

    unbroken = networks()
    assert 0 < unbroken[0].n_stable < 10
    with pytest.raises(Killed):
        networks(tmp_path, progress_bars=progress_bars)
    assert len(computed) == n_pieces
    assert_same(networks(tmp_path), unbroken)
    assert computed == [(300.0, 0), (300.0, 3), (3000.0, 0), (3000.0, 3)]
    assert_same(networks(tmp_path), unbroken)
    assert len(computed) == 4
    assert not list(tmp_path.glob(".*"))


def test_more_temperatures_and_copies_only_add_to_what_is_there(networks, computed, tmp_path):
    networks(tmp_path)
    computed.clear()
    networks(tmp_path, temperatures=[3000.0, 600.0, 300.0], n_copies=6)
    assert computed == [(3000.0, 3), (600.0, 0), (600.0, 3), (300.0, 3)]


@pytest.mark.parametrize(
    "change",
    [
        {"duration": 4.5},
        {"timestep": 0.25},
        {"seed": 1},
        {"ensemble": "nve"},
        {"time_constant": 40.0},
        {"criteria": [CloserThan(0.3)]},
    ],
    ids=str,
)
def test_pieces_of_other_settings_are_left_alone(networks, computed, tmp_path, change):
    before = networks(tmp_path, temperatures=[300.0], n_copies=1)
    networks(tmp_path, temperatures=[300.0], n_copies=1, **change)
    assert len(computed) == 2
    assert_same(networks(tmp_path, temperatures=[300.0], n_copies=1), before)
    assert len(computed) == 2


def test_pieces_of_another_committee_or_start_are_left_alone(networks, computed, committee, ammonia, tmp_path):
    once = {"temperatures": [300.0], "n_copies": 1, "criteria": [CloserThan(0.1)]}
    networks(tmp_path, **once)
    networks(tmp_path, committee(3), **once)
    moved = ammonia.copy()
    moved.positions[0, 0] += 1e-6
    survival(committee(2), moved, batches=tmp_path, duration=4.0, **once)
    assert len(computed) == 3


def test_bonds_of_another_geometry_are_another_criterion(networks, computed, ammonia, tmp_path):
    longer = ammonia.copy()
    longer.positions *= 1.05
    networks(tmp_path, temperatures=[300.0], n_copies=1, criteria=[BondsKept(ammonia)])
    networks(tmp_path, temperatures=[300.0], n_copies=1, criteria=[BondsKept(longer)])
    assert len(computed) == 2


def test_a_file_that_holds_no_batch_is_named(networks, tmp_path):
    networks(tmp_path, temperatures=[300.0], n_copies=1)
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text().replace('"first": 0', '"first": 7'))
    with pytest.raises(ValueError, match=r"300K_0000-0000_\w+\.json does not contain the batch of its name; delete it"):
        networks(tmp_path, temperatures=[300.0], n_copies=1)
    file.write_text("{")
    with pytest.raises(ValueError, match=r"300K_0000-0000_\w+\.json does not hold a MDBatch"):
        networks(tmp_path, temperatures=[300.0], n_copies=1)


def always_well(structures, observation):
    return observation.energy > math.inf


def test_pieces_need_a_committee_and_criteria_that_can_be_told_from_others(tried, networks, tmp_path):
    with pytest.raises(ValueError, match="a committee of function cannot be saved"):
        tried(batches=tmp_path)
    short = {"temperatures": [300.0], "n_copies": 1}
    networks(tmp_path, criteria=[always_well], **short)
    with pytest.raises(ValueError, match="has no identity; make it a frozen dataclass"):
        networks(tmp_path, criteria=[lambda structures, observation: observation.energy > math.inf], **short)


# --- wrong use ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperatures": []}, r"at least one temperature, and each once, got \[\]"),
        ({"temperatures": [300.0, 300.0]}, r"each once, got \[300.0, 300.0\]"),
        ({"temperatures": [300.0, -1.0]}, "not negative, got -1.0 K"),
        ({"temperatures": [0.0], "ensemble": "nose_hoover"}, "needs temperatures above 0 K"),
        ({"n_copies": 0}, "at least one copy, and one at once, got 0 and 50"),
        ({"n_at_once": 0}, "got 6 and 0"),
        ({"timestep": 0.0}, "a timestep > 0 and a duration of at least one, got 0.0 fs and 10.0 fs"),
        ({"duration": 0.1}, "got 0.5 fs and 0.1 fs"),
        ({"duration": math.nan}, "got 0.5 fs and nan fs"),
        ({"ensemble": "npH"}, "unknown ensemble 'npH'"),
        ({"ensemble": "npt_cell"}, "periodic in three directions, and replica 0 is not"),
        ({"pressure": 0.0}, "a pressure needs the ensemble npt or npt_cell, got langevin"),
        ({"criteria": [DistanceWindow("C", "H", 0.8)]}, "the structure has no pair of C and H"),
        (
            {"criteria": [DistanceWindow("H", "H", 0.8)]},
            r"the start itself fails \(H-H closer than 0.8 Å\); give another",
        ),
        ({"criteria": [CloserThan(0.1), EnergyBelow(1.0)]}, r"the start itself fails \(energy below 1 eV\)"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_moves(tried, wrong, message):
    def progress_bars(title):
        raise AssertionError("something moves")

    with pytest.raises(ValueError, match=message):
        tried(progress_bars=progress_bars, **wrong)
