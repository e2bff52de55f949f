"""The benchmarks measure what they say; the times themselves are nobody's promise here."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.inputs.extxyz import write_structures
from sparring.potentials.stacking import cast
from sparring.proposers.ascent import attack
from sparring.proposers.spaces import Cartesian

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """Scripts of one folder import each other, as they do when they are run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def members():
    import cases

    return [cast(member, dtype=torch.float64) for member in cases.networks(3, cases.TINY)]


@pytest.mark.parametrize("system", ["ammonia", "silicon 8"])
def test_the_plain_loop_and_the_stacked_attack_climb_the_same_path(members, system):
    import cases
    import references

    seeds = cases.batch(system, 2)
    result = attack(Committee(members), seeds, cases.OBJECTIVE, seed=0, n_steps=5)
    deltas = Cartesian().initial(seeds, torch.Generator().manual_seed(0))
    for index in range(2):
        plain = Committee(members, stacked=False).members
        delta = deltas[seeds.structure_index == index]
        path = references.plain_attack(plain, seeds.take([index]), delta, n_steps=6, tick=lambda: None)
        of_seed = result.positions[:, seeds.structure_index == index]
        np.testing.assert_allclose(path.objective, result.objective[:, index], rtol=0, atol=1e-4)
        torch.testing.assert_close(torch.stack(path.positions), of_seed, rtol=0, atol=1e-4)
        assert path.objective[-1] > path.objective[0]


def test_the_plain_training_learns():
    import cases
    import references

    plain = cases.networks(2, cases.TINY)
    dataset = cases.labelled("ammonia", 4)
    losses = references.plain_training(plain, dataset, n_steps=20, tick=lambda: None, learning_rate=1e-2)
    assert losses[-1] < losses[0]


def test_the_floor_of_a_small_network_has_the_operations_that_one_counts_by_hand():
    import cases
    import references

    size = cases.Size(n_features=6, n_filters=4, n_interactions=2, n_gaussians=3)
    layers = references.products(size, n_atoms=5, n_edges=20)
    moving = 2 * (20 * 3 * 3 + 20 * 3 * 4 + 5 * 4 * 6 + 5 * 6 * 6) + 5 * 6 * 4 + 5 * 6 * 3
    resting = 5 * 6 * 4
    for task, n_moving, n_resting in (("forces", 2, 1), ("dynamics", 2, 1), ("attack", 4, 1), ("training", 6, 3)):
        by_hand = 2 * 7 * (n_moving * moving + n_resting * resting)
        assert references.flop(layers, task, n_members=7) == by_hand
        done = references.Floor(layers, task, n_members=7).calls
        assert sum(2 * left.numel() * right.shape[-1] for left, right, _ in done) == by_hand


def test_a_seed_alone_takes_no_fewer_products_than_its_share():
    import cases
    import references

    one, thirty = (references.flop(references.products(cases.PAPER, 4 * n, 12 * n), "attack", 5) for n in (1, 30))
    assert thirty == 30 * one


@pytest.mark.parametrize("power", [0.5, 1.0, 2.3])
def test_the_fit_finds_the_power_of_a_power_law(power):
    import timing

    sizes = [1, 3, 10, 30]
    assert timing.exponent(sizes, [7.0 * size**power for size in sizes]) == pytest.approx(power)


def test_a_power_is_fitted_from_the_size_on_where_work_is_a_quarter_of_the_time():
    import scaling

    assert scaling.where_work_dominates([10, 10, 11, 20, 40, 400], [0.1, 3, 2, 5, 20, 200]) == 1
    assert scaling.where_work_dominates([10, 10, 11, 12, 13], [0.1, 0.1, 0.1, 0.1, 0.1]) == 2


def test_the_first_step_of_a_run_does_not_count_and_parts_of_a_step_add_up(monkeypatch):
    import timing

    now = [0.0]
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def run(n_steps, tick):
        for part in range(2):
            for step in range(n_steps):
                now[0] += 100.0 if part == step == 0 else 1.0
                tick()

    assert timing.step_seconds(timing.Way(run, 3), 4) == 2 * 3 * 1.0


def test_a_table_of_every_task_is_printed_and_written(tmp_path, capsys):
    import plots
    import scaling
    import speed

    speed.main(
        ["--quick", "--repeats", "1", "--members", "2", "--tasks", *speed.TASKS, "--output", f"{tmp_path}/speed.json"]
    )
    table = capsys.readouterr().out
    for column in ("sparring", "autograd", "loop", "floor", "loop/sparring", "sparring/floor", "promised", "MB"):
        assert column in table
    rows = json.loads((tmp_path / "speed.json").read_text())["rows"]
    assert {row["task"] for row in rows} == set(speed.TASKS)
    assert len(table.splitlines()) == 2 + len(rows)
    for row in rows:
        assert row["seconds"].keys() >= {"sparring", "loop", "floor"}
        assert ("autograd" in row["seconds"]) == (row["task"] in {"attack", "forces"})
        assert row["sparring_over_floor"] == pytest.approx(row["seconds"]["sparring"] / row["seconds"]["floor"])
        assert min(row["seconds"].values()) > 0

    scaling.main(["--quick", "--repeats", "1", "--curves", "seeds", "--output", f"{tmp_path}/scaling.json"])
    assert "grows with the power" in capsys.readouterr().out
    drawn = {file.name for file in plots.draw(tmp_path)}
    assert drawn == {"speed.svg", "scaling.svg"}


def test_the_table_of_attacks_alone_has_its_columns(tmp_path, capsys):
    import attack as script

    script.main(["--quick", "--repeats", "1", "--seeds", "1", "2", "--output", f"{tmp_path}/attack.json"])
    header, *_, torsions = capsys.readouterr().out.splitlines()[1:]
    assert header.split("  ")[-1].strip() == "ratio"
    assert torsions.startswith("alanine dipeptide, (phi, psi), 2 seeds at once: ")
    written = json.loads((tmp_path / "attack.json").read_text())
    assert [row["n_seeds"] for row in written["rows"]] == [1, 2]
    assert min(written["torsions"][name] for name in ("cartesian_ms", "dihedrals_ms")) > 0


def test_the_case_of_the_torsions_turns_them_and_nothing_else():
    import cases

    (atoms,), seeds = cases.copies(cases.TORSIONS, 1), cases.batch(cases.TORSIONS, 2)
    space = cases.space(cases.TORSIONS)
    assert (len(atoms), len(space.owner(seeds))) == (22, 2 * 2)
    assert cases.space("ammonia") == Cartesian()


def test_the_peak_memory_of_a_committee_holds_at_least_its_weights():
    import cases
    import memory

    case = cases.Case("forces", "ammonia", 1)
    n_weights = sum(weight.numel() for weight in cases.networks(1)[0].parameters())
    peak = memory.peak_bytes(case, "sparring", n_members=2)
    assert 2 * 4 * n_weights < peak < 100 * n_weights


def test_all_promised_cases_have_a_system():
    import cases

    for case in cases.CASES:
        assert len(cases.copies(case.system, 1)[0]) > 0
    assert len(cases.alanine_dipeptide()) == 22
    with pytest.raises(ValueError, match="cells have 4 or"):
        cases.silicon(7)
    assert isinstance(cases.batch("silicon 1000", 1), Structures)


def test_architectures_are_compared_on_the_same_labels(
    tmp_path, capsys, molecules_file, rattled, ammonia, with_random_labels
):
    import architectures

    files = []
    for seed, name in enumerate(("data", "test")):
        files.append(str(tmp_path / f"{name}.extxyz"))
        write_structures(Path(files[-1]), with_random_labels(rattled(ammonia, 10, seed=seed)).to_atoms())
    output = tmp_path / "rows.json"
    architectures.main([str(molecules_file()), *files, "--epochs", "1", "--output", str(output)])
    rows = json.loads(output.read_text())
    assert [row["architecture"] for row in rows] == ["schnet", "painn", "ace"]
    assert all(set(row["errors"]) == {"held back", "test"} for row in rows)
    assert np.isfinite([row["errors"]["test"] for row in rows]).all()
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_networks_are_timed_beside_schnet(capsys):
    import networks

    networks.main(["--quick", "--repeats", "1"])
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == len(networks.ATTACKS)
    assert all("schnet: 1.00" in row and "ace, plain:" in row for row in rows)
