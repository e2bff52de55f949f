"""How many cores a process takes: those that it was given, not those that the machine has."""

import os

import pytest

from sparring.assembly import labels
from sparring.config import load
from sparring.support.cores import available_cores, cores

QUEUES = [
    ({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "1", "SLURM_CPUS_ON_NODE": "64"}, "SLURM_CPUS_PER_TASK=1"),
    ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "1"}, "SLURM_CPUS_ON_NODE=1"),
    ({"PBS_JOBID": "7", "NCPUS": "1"}, "NCPUS=1"),
    ({"LSB_JOBID": "7", "LSB_DJOB_NUMPROC": "1"}, "LSB_DJOB_NUMPROC=1"),
    ({"SGE_ROOT": "/sge", "NSLOTS": "1"}, "NSLOTS=1"),
]


@pytest.fixture
def many(monkeypatch):
    """A machine with 64 cores, all of which this process may use."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)


@pytest.fixture
def machine(tmp_path):
    """Writes files of a machine's proc and sys below a folder."""

    def make(**files):
        for name, text in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return tmp_path

    return make


def test_a_process_that_is_bound_to_one_core_has_one(many, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5}, raising=False)
    assert cores({}, tmp_path) == (1, "the machine and the affinity of this process")


@pytest.mark.parametrize(("environment", "reason"), QUEUES)
def test_a_job_has_the_cores_that_its_queue_has_granted(environment, reason, many, tmp_path):
    assert cores(environment, tmp_path) == (1, reason)


@pytest.mark.parametrize("value", ["", "0", "many", "-3", "2(x4)"])
def test_what_a_queue_says_and_is_no_number_does_not_count(value, many, tmp_path):
    assert cores({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": value}, tmp_path).n == 64


def test_threads_of_one_process_are_no_limit_on_the_number_of_processes(many, tmp_path):
    assert cores({"OMP_NUM_THREADS": "1"}, tmp_path).n == 64


def test_the_quota_of_a_control_group_or_of_one_that_holds_it_counts(many, machine):
    root = machine(
        **{
            "proc/self/cgroup": "0::/pod/box\n",
            "sys/fs/cgroup/pod/cpu.max": "250000 100000\n",
            "sys/fs/cgroup/pod/box/cpu.max": "max 100000\n",
        }
    )
    found = cores({}, root)
    assert found.n == 2
    assert "quota of 2.5 cores" in found.limited_by


def test_the_quota_of_version_1_counts_also_where_a_container_sees_only_the_top(many, machine):
    root = machine(
        **{
            "proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        }
    )
    assert cores({}, root).n == 1
    machine(**{"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"})
    assert cores({}, root).n == 64


def test_a_run_takes_as_many_workers_as_it_has_cores(molecules_file, monkeypatch, tmp_path):
    config = load(molecules_file({"labels.n_workers": None}))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert available_cores() == 1
    assert labels.label_service_of(config, tmp_path).n_workers == 1
