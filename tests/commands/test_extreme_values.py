"""Numbers at the end of their limits: the run begins its first stage in a moment, or ends with a clean error."""

from time import perf_counter

import pytest
import yaml

from sparring.commands.running import run
from sparring.config import load

MOST_SECONDS = 60
"""Far above what a stage of a well takes on a machine that is busy."""
WELL = {
    "generations": 2,
    "threads": 1,
    "system": {"kind": "double_well_2d", "n_points": 200},
    "labels": {"n_workers": 1},
    "committee": {"n_members": 2, "potential": {"kind": "coordinate_mlp", "n_layers": 2, "n_units": 8}},
    "training": {"n_epochs": 2, "batch_size": 10},
    "attack": {"kind": "adversarial", "n_seeds": 4, "n_steps": 3},
}
EXTREMES = {
    "seed": 2**63 - 1,
    "generations": 1000,
    "threads": 1024,
    "labels.n_workers": 1024,
    "labels.time_limit": "1e8 s",
    "labels.memory_limit": "1 B",
    "labels.bounds.max_force": 1e-300,
    "labels.bounds.energy_window": 1e-300,
    "committee.n_members": 100,
    "committee.potential.n_layers": 64,
    "training.n_epochs": 1_000_000,
    "training.batch_size": 1_000_000,
    "training.learning_rate": 10,
    "training.factor": 1e-300,
    "training.splits.fractions": [1 - 2e-12, 1e-12, 1e-12],
    "attack.n_seeds": 100_000,
    "attack.n_steps": 1_000_000,
    "attack.learning_rate": 1e-300,
    "attack.max_memory": "1e-300 B",
    "attack.space": {"kind": "cartesian", "axes": "xy", "initial_spread": 10},
    "attack.objective": "exp(boltzmann(1e-6 eV)) * force_variance",
}


class Begun(Exception):
    """The first stage is done."""


def begun(line):
    raise Begun(line)


def changed(data, key, value):
    first, _, rest = key.partition(".")
    return {**data, first: changed(data.get(first, {}), rest, value) if rest else value}


@pytest.mark.parametrize("key", EXTREMES)
def test_a_run_with_an_extreme_number_begins_or_ends_with_a_clean_error(key, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(changed(WELL, key, EXTREMES[key])), encoding="utf-8")
    config, started = load(path), perf_counter()
    with pytest.raises((Begun, ValueError)) as ended:
        run(config, tmp_path / "run", log=begun)
    assert str(ended.value)
    assert perf_counter() - started < MOST_SECONDS
