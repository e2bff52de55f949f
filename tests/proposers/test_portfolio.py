"""Portfolios: several proposers at once, each with a share of the labels, and what each of them yields."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from sparring.atoms.structures import Structures, joined
from sparring.candidates import Candidates
from sparring.commands.running import check, run
from sparring.config import load
from sparring.inputs.extxyz import read_labelled, read_structures
from sparring.proposers.ascent import attack
from sparring.proposers.base import predicted, propose
from sparring.proposers.objectives import force_variance
from sparring.proposers.portfolio import Portfolio
from sparring.reporting import report
from sparring.reporting.reading import read_run
from sparring.reporting.yields import yield_table
from sparring.runs.generation import Generation
from sparring.runs.stages import CODECS
from sparring.runs.yields import yields, yields_of_run
from sparring.selection import Budget, Distinct, select
from sparring.units import KCAL


def shaken(length, n_per_seed=1):
    """Candidates that are displaced at random."""

    def displace(committee, seeds, seed):
        origin = np.repeat(np.arange(seeds.n_structures), n_per_seed)
        start = seeds.take(origin)
        steps = torch.randn(start.positions.shape, generator=torch.Generator().manual_seed(seed % 2**31))
        return predicted(committee, start.with_positions(start.positions + length * steps), origin=origin)

    return displace


def climbed(committee, seeds, seed):
    return attack(committee, seeds, force_variance, seed=seed, n_steps=3).candidates()


@pytest.fixture
def seeds(rattled, ammonia, water):
    return Structures.from_atoms([*rattled(ammonia, 2, stdev=0.02), *rattled(water, 1, stdev=0.02)])


PROPOSERS = {"attack": climbed, "near": shaken(0.01, 2), "far": shaken(0.1)}
SHARES = {"attack": 0.6, "near": 0.2, "far": 0.2}
SEEDS = {"attack": range(3), "near": range(1, 3), "far": range(3)}


def portfolio(*names):
    """Some of these proposers, in this order."""
    some = [{name: named[name] for name in names} for named in (PROPOSERS, SHARES, SEEDS)]
    return Portfolio(proposers=some[0], shares=some[1], seeds=some[2])


# --- candidates -----------------------------------------------------------------------------------------------------


def test_a_portfolio_is_a_proposer_whose_candidates_know_their_part_and_seed(committee, seeds):
    found = propose(portfolio("attack", "near", "far"), committee(), seeds, 5)
    assert found.source == ("attack",) * 3 + ("near",) * 4 + ("far",) * 3
    assert found.origin.tolist() == [0, 1, 2, 1, 1, 2, 2, 0, 1, 2]
    numbers = [tuple(atoms.numbers) for atoms in seeds.to_atoms()]
    assert [tuple(atoms.numbers) for atoms in found.structures.to_atoms()] == [numbers[k] for k in found.origin]


def test_the_candidates_of_a_part_do_not_depend_on_the_other_parts_or_their_order(committee, seeds):
    members = committee()
    whole = portfolio("attack", "near", "far")(members, seeds, 5)
    for name in PROPOSERS:
        alone = portfolio(name)(members, seeds, 5)
        rows = np.flatnonzero(np.array(whole.source) == name)
        assert torch.equal(alone.structures.positions, whole.take(rows).structures.positions)
        assert alone.score.tolist() == whole.score[rows].tolist()
    turned = portfolio("far", "near", "attack")(members, seeds, 5)
    assert turned.source[:3] == ("far",) * 3
    assert turned.score[-3:].tolist() == whole.score[:3].tolist()


def test_paths_of_all_parts_end_at_their_candidates(committee, seeds):
    found = portfolio("attack", "near", "far")(committee(), seeds, 5)
    paths = found.paths
    assert paths.objective.shape == (4, 10)
    at = paths.best_step.tolist()
    values = paths.force_variance[at, range(10)].numpy()
    np.testing.assert_allclose(values, found.force_variance, rtol=1e-6)
    rows = torch.tensor(at)[found.structures.structure_index]
    there = paths.positions[rows, range(found.structures.n_atoms)]
    torch.testing.assert_close(there, found.structures.positions.double())
    assert torch.isnan(paths.energy[1:, 3:]).all()
    assert portfolio("far")(committee(), seeds, 5).paths is None


def test_charges_of_ions_stay_with_their_candidates(committee, seeds):
    def ions(committee, seeds, seed):
        return predicted(committee, seeds)._replace(charge=np.arange(seeds.n_structures))

    both = Portfolio(proposers={"near": shaken(0.01), "ions": ions}, shares={"near": 1.0, "ions": 1.0})
    assert both(committee(), seeds, 5).charge.tolist() == [0, 0, 0, 0, 1, 2]


def test_joined_batches_are_the_batch_of_all_structures(rattled, ammonia, water, salt):
    from ase.constraints import FixAtoms

    held = water.copy()
    held.set_constraint(FixAtoms([0]))
    held.info["charge"] = 1
    groups = [rattled(ammonia, 2), [held], [salt]]
    both, expected = (
        joined([Structures.from_atoms(some) for some in groups]),
        Structures.from_atoms([one for some in groups for one in some]),
    )
    for name in ("positions", "atomic_numbers", "structure_index", "cells", "pbc", "fixed", "charge"):
        assert torch.equal(getattr(both, name), getattr(expected, name)), name
    assert both.periodic == expected.periodic
    with pytest.raises(ValueError, match="no batches to join"):
        joined([])


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="at least one proposer"):
        Portfolio(proposers={}, shares={})
    with pytest.raises(ValueError, match=r"the share of 'attack' must be positive, got 0\.0"):
        Portfolio(proposers={"attack": climbed}, shares={"attack": 0.0})
    with pytest.raises(ValueError, match=r"proposers are called \['attack'\]; got values for \['scan'\]"):
        Portfolio(proposers={"attack": climbed}, shares={"scan": 1.0})


# --- selection ------------------------------------------------------------------------------------------------------


def scored(seeds, scores, source):
    numbers = np.array(scores, dtype=float)
    return Candidates(seeds.take([0] * len(scores)), numbers, numbers, numbers, numbers, source=tuple(source))


def test_a_budget_with_shares_takes_the_best_of_each_part(seeds):
    scores = [9, 8, 7, 6, 1, 2, 3, 0.1]
    candidates = scored(seeds, scores, "aaaabbbc")
    shares = {"a": 0.5, "b": 0.25, "c": 0.25}
    assert Budget(n=4, shares=shares)(candidates).tolist() == [0, 1, 6, 7]
    assert Budget(n=8, shares=shares)(candidates).tolist() == list(range(8))
    assert Budget(n=4)(candidates).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"needs one for each part, and has none for \['c'\]"):
        Budget(n=4, shares={"a": 1.0, "b": 1.0})(candidates)


def test_a_random_draw_from_a_part_does_not_depend_on_the_others(seeds):
    two = scored(seeds, [1] * 20, "a" * 10 + "b" * 10)
    three = scored(seeds, [1] * 30, "a" * 10 + "b" * 10 + "c" * 10)
    few = Budget(n=6, order="random", seed=3, shares={"a": 1.0, "b": 1.0})(two)
    more = Budget(n=9, order="random", seed=3, shares={"a": 1.0, "b": 1.0, "c": 1.0})(three)
    assert more[more < 20].tolist() == few.tolist()


def test_like_geometries_of_different_parts_are_compared_by_their_rank(seeds):
    candidates = scored(seeds, [100, 200, 1, 3, 2], "aabbb")  # all of one geometry
    np.testing.assert_allclose(candidates.comparable_score(), [0.5, 1.0, 1 / 3, 1.0, 2 / 3])
    assert Distinct(rmsd=0.1)(candidates.take(np.array([0, 3, 4]))).tolist() == [0]
    assert Distinct(rmsd=0.1)(candidates.take(np.array([0, 1, 2]))).tolist() == [1]
    selection = select(candidates, Distinct(rmsd=0.1), Budget(n=1, shares={"a": 1.0, "b": 1.0}))
    assert selection.indices.tolist() == [1]


def test_the_example_of_the_documentation_divides_its_labels(committee, rattled, water):
    text = (Path(__file__).parents[2] / "docs" / "proposers.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    names = {"committee": committee(), "seeds": Structures.from_atoms(rattled(water, 8, stdev=0.02))}
    exec(compile(example, "proposers.md", "exec"), names)  # the documentation is ours
    source = names["candidates"].source
    assert [source[k] for k in names["chosen"].indices] == ["attack"] * 6 + ["scan"] * 4


# --- a run ----------------------------------------------------------------------------------------------------------

PROPOSE = [
    {"kind": "adversarial", "share": 2, "n_seeds": 4, "n_steps": 2, "initial_spread": "0.05 Å"},
    {"kind": "scan", "n_seeds": 3, "n_values": 2, "fractions": [0.9, 1.1]},
    {"kind": "dynamics", "n_seeds": 2, "duration": "5 fs", "every": 2, "stop": {"quiet": "5 fs"}},
    {
        "kind": "biased_dynamics",
        "n_seeds": 2,
        "duration": "5 fs",
        "every": 2,
        "bias": {"kind": "hal", "burn_in": "2 fs"},
    },
]


@pytest.fixture
def config(molecules_file):
    def make(**changes):
        return load(
            molecules_file(), overrides={"propose": PROPOSE, "selection": [{"kind": "budget", "n": 10}], **changes}
        )

    return make


def test_a_run_divides_its_labels_and_counts_what_each_proposer_yields(config, tmp_path, sparring):
    folder = tmp_path / "run"
    assert check(config()).n_labels == 10
    run(config(), folder)
    first = Generation(folder / "generation-01")
    found = {one.source: one for one in yields(first)}
    assert list(found) == ["attack", "scan", "dynamics", "biased_dynamics"]
    assert {source: one.n_chosen for source, one in found.items()} == dict(zip(found, (4, 2, 2, 2), strict=True))
    assert found["attack"].n_candidates == 4
    data = [one for one in read_labelled(folder / "generation-02" / "dataset.extxyz") if one.info["generation"] == 2]
    for source, one in found.items():
        own = [atoms for atoms in first.labelled() if atoms.info["source"] == source]
        assert len(own) == one.n_chosen - one.n_refused == sum(atoms.info["source"] == source for atoms in data)
        errors = [np.abs(atoms.arrays["committee_forces"] - atoms.arrays["REF_forces"]).mean() for atoms in own]
        assert one.force_error == pytest.approx(np.mean(errors))
    attacked = CODECS["attack"].read(first.folder)
    frames = read_structures(first.folder / "attacks.extxyz")
    assert attacked.candidates.source == tuple(atoms.info["source"] for atoms in frames)
    assert attacked.candidates.unconditional.tolist() == [
        name.endswith("dynamics") for name in attacked.candidates.source
    ]
    shown = sparring("status", folder)
    assert shown.exit_code == 0
    assert yield_table(yields_of_run(folder), KCAL).text() in shown.out
    assert (folder / "figures" / "yields.svg").exists()
    assert "Yield of each proposer" in report(folder).read_text(encoding="utf-8")
    assert len(read_run(folder).yields) == 4


def test_a_run_of_one_proposer_has_no_table_of_yields(molecules_file, tmp_path):
    run(load(molecules_file()), tmp_path / "run")
    assert yields_of_run(tmp_path / "run") == ()
