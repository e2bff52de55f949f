"""Pickles are read with the consent of the person who types the command, and of nobody else."""

import os

import pytest
import torch
from torch import nn

from sparring.potentials.foreign.checkpoints import read_checkpoint
from sparring.potentials.foreign.consent import CONSENT, consented


class Program:
    """An object whose pickle makes a folder when it is read."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home where nothing is trusted yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv(CONSENT, raising=False)
    return tmp_path


@pytest.fixture
def module(home):
    torch.save(nn.Linear(2, 1), home / "module.pt")
    return home / "module.pt"


def test_a_pickle_that_is_refused_has_run_nothing(home):
    torch.save({"weights": Program(home / "ran")}, home / "program.pt")
    with pytest.raises(ValueError, match=r"program\.pt is a pickle"):
        read_checkpoint(home / "program.pt")
    assert not (home / "ran").exists()
    read_checkpoint(home / "program.pt", trust_pickle=True)
    assert (home / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 a damaged zip"])
def test_a_file_that_is_no_checkpoint_is_named(home, content):
    (home / "file.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"file\.pt (cannot be read|is a pickle)"):
        read_checkpoint(home / "file.pt")


def test_consent_of_the_environment_is_remembered_for_the_same_content_only(module, monkeypatch):
    monkeypatch.setenv(CONSENT, "1")
    assert isinstance(read_checkpoint(module), nn.Linear)
    monkeypatch.delenv(CONSENT)
    copied = module.with_name("copied.pt")
    copied.write_bytes(module.read_bytes())
    assert isinstance(read_checkpoint(copied), nn.Linear)
    torch.save(nn.Linear(3, 1), module)
    with pytest.raises(ValueError, match=r"module\.pt is a pickle"):
        read_checkpoint(module)


def test_consent_of_a_call_is_not_remembered(module):
    assert isinstance(read_checkpoint(module, trust_pickle=True), nn.Linear)
    with pytest.raises(ValueError, match="is a pickle"):
        read_checkpoint(module)


@pytest.mark.parametrize("value", ["", "0", "true"])
def test_only_one_value_of_the_environment_consents(module, monkeypatch, value):
    monkeypatch.setenv(CONSENT, value)
    with pytest.raises(ValueError, match="is a pickle"):
        read_checkpoint(module)


def test_consent_ends_with_its_block_and_leaves_the_environment_as_it_was(module, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    with consented():
        assert isinstance(read_checkpoint(module), nn.Linear)
    with pytest.raises(ValueError, match="is a pickle"):
        read_checkpoint(module)


@pytest.mark.parametrize("damage", ["[]", "{", ""])
def test_a_damaged_list_trusts_nothing(module, home, damage):
    with consented():
        read_checkpoint(module)
    (home / "state" / "sparring" / "trusted-pickles.json").write_text(damage)
    with pytest.raises(ValueError, match="is a pickle"):
        read_checkpoint(module)
