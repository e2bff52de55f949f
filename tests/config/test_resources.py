"""Resources files: what they say, and what is told where they are wrong."""

from pathlib import Path

import pytest

from sparring.config import ConfigError
from sparring.config.resources import load_resources

EXAMPLES = Path(__file__).parents[2] / "examples" / "resources"
SLURM = "labels: {executor: {kind: parsl, provider: {kind: slurm, partition: a, cores_per_node: 8%s}}}\n"
WRONG = {
    "labels: {executor: locl}": "r.yaml:1: labels.executor.kind: 'locl' is not known; did you mean local?",
    "labels: {executor: {kind: parsl}}": "r.yaml:1: labels.executor.provider: is missing; add a line `provider: ...`",
    "labels:\n  thread: 3": "r.yaml:2: labels.thread: unknown key; did you mean threads?",
    "label: {threads: 2}": "r.yaml:1: label: unknown key; did you mean labels? accepted: labels, training, budget",
    "labels: {threads: 0}": "labels.threads: must be greater than 0, got 0",
    "labels: {n_workers: 100000}": "labels.n_workers: must be at most 1,024, got 100000",
    "labels: {memory: 3 eV}": "labels.memory: ",
    "budget: 500": "budget: wanted core hours such as '500 core hours', got 500",
    "budget: 500 hours": "budget: wanted core hours such as '500 core hours', got '500 hours'",
    "budget: 0 core hours": "budget: must be greater than 0",
    SLURM % ", walltime: 4": "provider.walltime: wanted a duration such as '90 s', '30 min' or '1 h', got 4",
    SLURM % ", acount: mine": "provider.acount: unknown key; did you mean account?",
    SLURM % ", max_blocks: 100000": "provider.max_blocks: must be at most 10,000, got 100000",
    (SLURM % "").replace(", cores_per_node: 8", ""): "needs cores_per_node, or `exclusive: true` for whole nodes",
    "system: {kind: ammonia}": "this is the configuration of a run; give a resources file (docs/cluster.md)",
}


@pytest.fixture
def written(tmp_path):
    def write(text):
        file = tmp_path / "r.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_the_examples_of_resources_say_what_they_say():
    assert sorted(file.stem for file in EXAMPLES.iterdir()) == ["laptop", "slurm", "workstation"]
    laptop, workstation, slurm = (
        load_resources(EXAMPLES / f"{name}.yaml") for name in ("laptop", "workstation", "slurm")
    )
    assert (laptop.labels.executor.kind, laptop.labels.n_workers, laptop.labels.memory) == ("local", 2, 2e9)
    assert (workstation.labels.threads, workstation.budget, workstation.training.n_workers) == (4, 2000.0, 2)
    provider = slurm.labels.executor.provider
    assert (provider.kind, provider.walltime, provider.max_blocks) == ("slurm", 4 * 3600.0, 4)
    assert provider.worker_init.splitlines()[0] == "module load orca"


def test_resources_that_are_left_out_are_this_machine_without_a_budget(written):
    resources = load_resources(written("labels: {}\n"))
    assert (resources.labels.executor.kind, resources.labels.threads, resources.budget) == ("local", 1, None)
    assert load_resources(written("labels: {executor: {kind: local}}\n")) == resources


@pytest.mark.parametrize(("text", "told"), WRONG.items())
def test_what_is_wrong_with_resources_is_said_with_its_place(written, text, told):
    with pytest.raises(ConfigError) as caught:
        load_resources(written(text))
    assert told in str(caught.value)
    assert "r.yaml" in str(caught.value)
