"""A resources file as executors: one for all that ask, closed at the end, with the options of its batch system."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from ase import Atoms

from sparring.assembly import resources as module
from sparring.assembly.labels import label_service_of, limits_of, n_workers
from sparring.assembly.resources import machine, using_resources
from sparring.config import load
from sparring.config.resources import Resources
from sparring.labels.executors import parsl as parsl_module
from sparring.labels.executors.restartable import RestartableExecutor

BLOCKS = {"walltime": "2 h", "max_blocks": 3, "scheduler_options": "#X", "worker_init": "module load orca"}
PROVIDERS = {
    "slurm": {"partition": "a", "account": "b", "qos": "c", "cores_per_node": 8, "memory_per_node": "64 GB"},
    "pbs": {"queue": "a", "account": "b", "select_options": "mem=8gb", "cores_per_node": 8},
    "lsf": {"queue": "a", "project": "b", "cores_per_node": 8},
    "grid_engine": {"queue": "a"},
}


def parsl(kind, **labels):
    provider = {"kind": kind, **BLOCKS, **PROVIDERS[kind]}
    return Resources.model_validate({"labels": {"executor": {"kind": "parsl", "provider": provider}, **labels}})


@pytest.fixture
def emt(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("system: {kind: ammonia}\nlabels: {labeller: {kind: ase, name: emt}, n_workers: 3}\n")
    return load(file)


@pytest.fixture
def started(monkeypatch):
    """Arguments of all executors that are started, in place of Parsl."""
    calls = []

    def start(kind, options, **how):
        calls.append((kind, options, how))
        return ThreadPoolExecutor(1)

    monkeypatch.setattr(module, "ParslExecutor", start)
    return calls


def test_resources_take_the_place_of_workers_and_memory_of_the_configuration(emt, tmp_path):
    assert (n_workers(emt), limits_of(emt).memory) == (3, None)
    local = Resources.model_validate({"labels": {"n_workers": 2, "threads": 4, "memory": "2 GB"}})
    with using_resources(local):
        service = label_service_of(emt, tmp_path)
        assert (service.n_workers, service.threads, service.limits.memory) == (2, 4, 2e9)
        assert service.executor is None
    assert (n_workers(emt), limits_of(emt).memory) == (3, None)


@pytest.mark.parametrize("kind", PROVIDERS)
def test_the_provider_of_a_batch_system_gets_what_the_file_says(kind, emt, started, tmp_path, monkeypatch):
    pytest.importorskip("parsl")
    with using_resources(parsl(kind, threads=4, memory="6 GiB", n_workers=5)):
        label_service_of(emt, tmp_path).executor.submit(int).result()
    ((name, options, how),) = started
    assert (how["threads"], how["memory"], how["n_workers"], how["folder"]) == (4, 6 * 2**30, 5, tmp_path / "parsl")
    # A label of the default time limit, an hour, that begins in the first of two hours ends in the second.
    assert how["drain_period"] == 3600
    provider = parsl_module._provider(name, dict(options), tmp_path / "bin", "marker")
    assert (provider.walltime, provider.max_blocks) == ("02:00:00", 3)
    assert f"export PATH={tmp_path / 'bin'}:$PATH\nmodule load orca" in provider.worker_init
    assert "#X" in provider.scheduler_options
    for key, value in PROVIDERS[kind].items():
        if key not in ("cores_per_node", "memory_per_node"):
            assert value == getattr(provider, key)
    if kind == "slurm":
        assert (provider.mem_per_node, provider.cores_per_node) == (59, 8)
    if kind == "pbs":
        assert provider.cpus_per_node == 8


def test_blocks_that_are_shorter_than_a_label_are_noted(started, emt, tmp_path, caplog):
    pytest.importorskip("parsl")
    resources = parsl("lsf").model_dump(mode="json")
    resources["labels"]["executor"]["provider"]["walltime"] = "30 min"
    with using_resources(Resources.model_validate(resources)):
        label_service_of(emt, tmp_path).executor.submit(int).result()
    assert "a block lives for 00:30:00 and a label may take longer" in caplog.text
    assert started[0][2]["drain_period"] is None


def test_all_that_label_share_one_executor_which_is_closed_at_the_end(started, emt, tmp_path):
    pytest.importorskip("parsl")
    with using_resources(parsl("slurm")):
        first, second = label_service_of(emt, tmp_path), label_service_of(emt, tmp_path)
        assert first.executor is second.executor is first.without_bounds().executor
        assert isinstance(first.executor, RestartableExecutor)
        assert not started
        assert len(first.label_many([Atoms("H2", positions=[[0, 0, 0], [0, 0, z]]) for z in (0.7, 0.8)])) == 2
        assert len(started) == 1
        inner = first.executor._executor
    with pytest.raises(RuntimeError, match="after shutdown"):
        inner.submit(int)
    assert machine().resources == Resources()


def test_members_go_through_an_executor_only_where_more_than_one_is_trained_at_once(tmp_path):
    assert machine().executor_of_members(tmp_path, None) is None
    with using_resources(Resources.model_validate({"training": {"n_workers": 2}})):
        executor = machine().executor_of_members(tmp_path, None)
        assert executor.submit(int).result() == 0


def test_a_file_of_resources_that_needs_parsl_says_so_before_anything_is_computed(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "parsl", None)
    with (
        pytest.raises(ModuleNotFoundError, match=r"pip install 'sparring\[cluster\]'"),
        using_resources(parsl("slurm")),
    ):
        pytest.fail("the block must not begin")
