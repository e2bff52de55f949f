import os

import pytest
import torch

from sparring.support import devices
from sparring.support.devices import require_device, torch_threads, use_threads


@pytest.fixture
def cards(monkeypatch):
    """So many graphics cards, whatever this machine has."""

    def make(count):
        monkeypatch.setattr(torch.version, "cuda", "12.8")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return make


def test_the_cpu_is_always_there():
    assert require_device("cpu") == torch.device("cpu")
    assert require_device(torch.device("cpu")) == torch.device("cpu")


def test_a_pytorch_without_cuda_says_so(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(
        ValueError, match=r"cannot use the device 'cuda': PyTorch .* was installed without CUDA; use cpu"
    ):
        require_device("cuda")


def test_a_machine_without_a_card_says_so(cards):
    cards(0)
    with pytest.raises(ValueError, match="cannot use the device 'cuda:1': CUDA finds no graphics card or no driver"):
        require_device("cuda:1")


def test_a_card_beyond_the_count_is_an_error(cards):
    cards(2)
    with pytest.raises(ValueError, match="cannot use the device 'cuda:7': there are 2 graphics cards, counted from 0"):
        require_device("cuda:7")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mps", "it has no double precision, in which energies are added up; use cpu, or another machine"),
        ("gpu", "there is no such kind; use cpu, cuda, or cuda:1 for the second graphics card"),
        ("", "there is no such kind"),
    ],
)
def test_devices_that_never_work_are_an_error(name, reason):
    with pytest.raises(ValueError, match=f"cannot use the device '{name}': {reason}"):
        require_device(name)


@pytest.fixture
def threads(monkeypatch):
    """PyTorch as if it had chosen four threads, and its number of threads now."""
    now = [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda n: now.__setitem__(0, n))
    return now


def test_threads_are_never_more_than_cores_unless_they_are_asked_for(threads, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3}, raising=False)
    use_threads()
    assert threads == [2]
    use_threads(3)
    assert threads == [3]
    monkeypatch.setattr(devices, "available_cores", lambda: 64)
    use_threads()
    assert threads == [3]  # PyTorch's own choice, or OMP_NUM_THREADS


def test_threads_are_as_before_after_a_run_whatever_happens(threads):

    def fails():
        with torch_threads(1):
            assert threads == [1]
            raise RuntimeError("a run that fails")

    with pytest.raises(RuntimeError, match="a run that fails"):
        fails()
    assert threads == [4]
