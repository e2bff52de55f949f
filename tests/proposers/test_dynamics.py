"""Snapshots of dynamics: where they lie, what is seen of them, and what becomes of copies that fail."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from sparring.assembly.planning import plan
from sparring.assembly.proposing import proposer
from sparring.atoms.structures import Structures
from sparring.candidates import Status
from sparring.commands.running import check, run
from sparring.config import load
from sparring.dynamics import NPT, CloserThan, Langevin, NoseHooverChain, simulate
from sparring.inputs.extxyz import read_labelled
from sparring.proposers.dynamics import n_snapshots, take_snapshots
from sparring.reporting import figures
from sparring.reporting.data import Paths
from sparring.runs import loop
from sparring.runs.folder import read_metrics
from sparring.runs.loop import lowest_energies
from sparring.runs.stages import CODECS
from sparring.selection import Budget, UncertaintyAbove, select

SHORT = {"duration": 6.0, "timestep": 0.5, "every": 4}
DYNAMICS = {"kind": "dynamics", "n_seeds": 3, "duration": "6 fs", "every": 4}


@pytest.fixture
def seeds(rattled, ammonia):
    return Structures.from_atoms(rattled(ammonia, 3, stdev=0.02))


@pytest.fixture
def taken(committee, seeds):
    def take(**changes):
        options = {"ensemble": NoseHooverChain(500.0, 50.0), "seed": 1, "min_distance": 0.5, **SHORT, **changes}
        return take_snapshots(committee(), seeds, **options)

    return take


def per_row(result, n_seeds=3):
    """Positions of snapshots, a row for each point in time."""
    return result.structures.positions.reshape(-1, 4 * n_seeds, 3)


@pytest.mark.parametrize("isotropic", [True, False])
def test_snapshots_at_constant_pressure_have_the_cells_of_their_time(committee, isotropic):
    crystals = Structures.from_atoms([bulk("Si"), bulk("Si", cubic=True)])
    ensemble = NPT(500.0, 0.01, isotropic, 20.0, 30.0)
    result = take_snapshots(committee(), crystals, ensemble=ensemble, seed=1, **SHORT)
    moved = simulate(
        committee(), crystals, ensemble=ensemble, timestep=0.5, n_steps=12, every=4, seed=1, keep_frames=True
    )
    assert (result.structures.cells == moved.cells[1:].flatten(0, 1)).all()
    assert (result.structures.positions == moved.positions[1:].flatten(0, 1)).all()
    assert (result.structures.cells[-1] != crystals.cells[1]).any()
    energies = committee().predict(result.structures).energy.mean(0)
    torch.testing.assert_close(energies, result.energy)


# --- where they lie -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ensemble", [NoseHooverChain(500.0, 50.0), Langevin(500.0, 0.01)])
def test_snapshots_lie_on_the_trajectories_of_dynamics(taken, committee, seeds, ensemble):
    result = taken(ensemble=ensemble)
    moved = simulate(committee(), seeds, ensemble=ensemble, timestep=0.5, n_steps=12, every=1, seed=1, keep_frames=True)
    torch.testing.assert_close(per_row(result), moved.positions[[4, 8, 12]], rtol=0, atol=0)
    for name in ("energy", "energy_variance", "force_variance"):
        expected = getattr(moved, name)[[4, 8, 12]].reshape(-1)
        torch.testing.assert_close(getattr(result, name), expected, rtol=0, atol=0)


def test_what_is_seen_of_a_snapshot_is_what_the_committee_says_of_its_geometry(taken, committee):
    result = taken()
    candidates = result.candidates()
    energy, forces, _ = committee().predict(result.structures, differentiable=False)
    np.testing.assert_allclose(candidates.energy, energy.mean(0), rtol=1e-9)
    np.testing.assert_allclose(candidates.energy_variance, energy.var(0), rtol=1e-6)
    by_structure = forces.var(0).reshape(-1, 12).mean(-1)
    np.testing.assert_allclose(candidates.force_variance, by_structure, rtol=1e-6)
    np.testing.assert_array_equal(candidates.score, candidates.force_variance)


def test_the_same_seed_gives_the_same_snapshots_and_another_gives_others(taken):
    first, again, other = taken(seed=5), taken(seed=5), taken(seed=6)
    assert torch.equal(first.structures.positions, again.structures.positions)
    assert torch.equal(first.force_variance, again.force_variance)
    assert (first.structures.positions - other.structures.positions).abs().min(1).values.max() > 1e-4


def test_how_copies_are_divided_to_fit_the_memory_changes_nothing(taken):
    together, apart = taken(max_memory=None), taken(max_memory=1.0)
    torch.testing.assert_close(together.structures.positions, apart.structures.positions, rtol=0, atol=1e-12)


def test_every_snapshot_knows_the_seed_whose_copy_left_it(taken, seeds):
    result = taken(duration=2.0, every=2)
    assert result.origin.tolist() == [0, 1, 2] * 2
    assert result.candidates().origins(3) == (0, 1, 2) * 2
    start = seeds.take([0, 1, 2] * 2).positions
    assert (result.structures.positions - start).norm(dim=1).max() < 0.2  # 2 fs take nothing further
    with pytest.raises(ValueError, match=r"`origin` needs 6 indices below 2, got \[0, 1, 2"):
        result.candidates().origins(2)


def test_a_particle_of_a_well_moves_along_the_axes_that_the_well_has(mlp, particle):
    from sparring.committee import Committee

    seeds = Structures.from_atoms([particle(-1.0), particle(1.0)])
    members = Committee([mlp(seed, n_coordinates=1) for seed in range(2)])
    options = {"ensemble": Langevin(5000.0, 0.01), "seed": 0, "min_distance": 0.0, **SHORT}
    free, bound = (take_snapshots(members, seeds, axes=axes, **options) for axes in ("xyz", "x"))
    assert torch.equal(bound.structures.positions[:, 0], free.structures.positions[:, 0])
    assert bound.structures.positions[:, 1:].abs().max() == 0
    assert free.structures.positions[:, 1:].abs().min() > 0


# --- copies that fail -----------------------------------------------------------------------------------------------


def test_what_a_copy_left_before_two_atoms_ran_into_each_other_counts_and_the_rest_does_not(taken, committee, seeds):
    hot, close = NoseHooverChain(40_000.0, 50.0), 0.8
    result = taken(ensemble=hot, min_distance=close, duration=40.0)
    moved = simulate(
        committee(), seeds, ensemble=hot, timestep=0.5, n_steps=80, every=4, seed=1, criteria=[CloserThan(close)]
    )
    alive = torch.isfinite(moved.energy[1:]).reshape(-1)
    assert 0 < alive.sum() < len(alive)
    assert torch.equal(result.status == Status.FINISHED, alive)
    assert result.count(Status.OVERLAP) == (~alive).sum()
    assert torch.equal(torch.isfinite(result.force_variance), alive)
    assert torch.isfinite(result.structures.positions).all()  # files hold them all
    selection = select(result.candidates())
    assert selection.indices.tolist() == torch.nonzero(alive).flatten().tolist()
    pairs = result.structures.positions.reshape(-1, 4, 3)[alive]
    assert torch.stack([torch.pdist(one).min() for one in pairs]).min() >= close


def test_numbers_that_are_not_finite_are_no_snapshots(taken):
    result = taken(timestep=500.0, duration=6000.0)
    assert result.count(Status.NOT_FINITE) + result.count(Status.OVERLAP) > 0
    assert torch.isfinite(result.structures.positions).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"duration": 1.0}, "1 fs are over before the first snapshot, which is after 4 steps of 0.5 fs"),
        ({"timestep": 0.0}, "timestep > 0"),
        ({"every": 0}, "every >= 1"),
        ({"axes": "w"}, "some of 'xyz', got 'w'"),
    ],
)
def test_arguments_that_make_no_sense_are_errors(changes, message, taken):
    with pytest.raises(ValueError, match=message):
        taken(**changes)


def test_the_start_is_no_snapshot_and_the_end_is_one():
    assert n_snapshots(duration=5000.0, timestep=0.5, every=100) == 100
    assert n_snapshots(duration=0.3, timestep=0.1, every=1) == 3  # though 0.3 / 0.1 is below 3


# --- a run ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def config(molecules_file):
    def make(changes=None):
        selection = [{"kind": "uncertainty_above", "percentile": 0}, {"kind": "budget", "n": 4, "order": "random"}]
        file = molecules_file()
        kept = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("attack:")]
        file.write_text("\n".join(kept), encoding="utf-8")
        return load(file, overrides={"attack": DYNAMICS, "selection": selection, **(changes or {})})

    return make


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr("sparring.commands.running.report", lambda folder: None)


def test_a_run_samples_selects_labels_and_learns(config, tmp_path):
    run(config({"generations": 3}), tmp_path / "run")
    data = read_labelled(tmp_path / "run" / "generation-03" / "dataset.extxyz")
    for generation in (1, 2):
        added = [atoms for atoms in data if atoms.info["generation"] == generation + 1]
        assert 1 <= len(added) <= 4
        folder = tmp_path / "run" / f"generation-{generation:02d}"
        attacked = CODECS["attack"].read(folder)
        assert len(attacked.seeds) == 9
        assert attacked.seeds[:3] == attacked.seeds[3:6] == attacked.seeds[6:]
        assert read_metrics(folder)["attack"]["n_seeds"] == 9
        for atoms in added:
            assert atoms.info["source"] == "dynamics"
            assert atoms.info["parent"] in attacked.seeds
            parent = data[atoms.info["parent"]]
            assert list(parent.numbers) == list(atoms.numbers)
            assert 1e-6 < np.abs(parent.positions - atoms.positions).max() < 1.0


def test_a_run_that_is_gone_on_with_is_the_run_that_was_not_interrupted(config, tmp_path):
    chosen = config()

    def stop(generation, stage, compute):
        if stage == "select":
            raise KeyboardInterrupt
        return compute()

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(chosen, whole)
    from sparring.runs.folder import RunFolder

    with RunFolder(broken, chosen) as folder, pytest.raises(KeyboardInterrupt):
        loop.run(plan(chosen, broken), lambda *what: stop(*what[:2], lambda: folder.cached(*what)))
    assert (broken / "generation-01" / "paths.npz").exists()
    assert not (broken / "generation-01" / "selection.json").exists()
    run(chosen, broken)
    for name in ("attacks.extxyz", "selected.extxyz"):
        one, other = (folder / "generation-01" / name for folder in (whole, broken))
        assert one.read_text() == other.read_text()
    one, other = (folder / "generation-02" / "committee.safetensors" for folder in (whole, broken))
    assert one.read_bytes() == other.read_bytes()


def test_snapshots_pass_the_same_selection_as_attacks(config, committee, seeds):
    chosen = config({"selection": [{"kind": "budget", "n": 2, "order": "random"}]})
    candidates = proposer(chosen, None)(committee(), seeds, 3)
    median = float(np.median(candidates.force_variance))
    selection = select(candidates, UncertaintyAbove(threshold=median), Budget(n=2, order="random", seed=1))
    assert [step.n_out for step in selection.steps] == [9, 5, 2]


def test_a_check_counts_the_labels_of_all_snapshots_that_the_budget_pays_for(config):
    assert check(config({"selection": []})).n_labels == 9
    assert check(config()).n_labels == 4


def test_snapshots_of_one_composition_never_are_children_of_another(config, tmp_path):
    run(config({"attack": {**DYNAMICS, "n_seeds": 3, "seeds": "lowest_energy"}}), tmp_path / "run")
    data = read_labelled(tmp_path / "run" / "generation-02" / "dataset.extxyz")
    assert len(lowest_energies(data)) == 3
    for atoms in data[12:]:
        assert data[atoms.info["parent"]].get_chemical_formula() == atoms.get_chemical_formula()


def test_the_command_line_takes_snapshots_too(sparring, config, molecules_file, tmp_path, monkeypatch):
    from sparring.config import dump
    from sparring.inputs.extxyz import read_structures, write_structures

    chosen = config()
    run(chosen, tmp_path / "run")
    (tmp_path / "dynamics.yaml").write_text(dump(chosen), encoding="utf-8")
    data = read_labelled(tmp_path / "run" / "generation-01" / "dataset.extxyz")
    write_structures(tmp_path / "seeds.xyz", data[:2])
    output = tmp_path / "out.xyz"
    answer = sparring("attack", tmp_path / "run" / "generation-01", tmp_path / "seeds.xyz", "--config",
                      tmp_path / "dynamics.yaml", "--output", output)  # fmt: skip
    assert answer.exit_code == 0, answer.err
    assert answer.out.startswith("6 snapshots (6 finished, 0 not finite, 0 overlap)")
    assert [atoms.info["seed"] for atoms in read_structures(output)] == [0, 1] * 3


def test_a_figure_has_room_for_snapshots_that_were_never_left(seeds):
    paths = Paths(
        energy=np.array([[0.1, np.nan, 0.3]]),
        force_sigma=np.array([[0.1, np.nan, 0.2]]),
        best_step=np.zeros(3, dtype=int),
        status=np.array([0, 2, 0]),
    )
    ax = figures.note_paths_outside(figures.path_uncertainty(paths))
    assert not [text for text in ax.texts if "leave the frame" in text.get_text()]
