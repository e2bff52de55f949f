import errno
import os
from pathlib import Path

import pytest

from sparring.support.files import sync_folder, write_bytes, write_text


def test_a_file_is_written_in_utf_8_and_over_what_was_there(tmp_path):
    file = tmp_path / "a.txt"
    write_text(file, "old")
    write_text(file, "0.5 Å\n")
    assert file.read_bytes() == "0.5 Å\n".encode()
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(stage, tmp_path, monkeypatch):
    file = tmp_path / "a.bin"
    write_bytes(file, b"old")

    def disk_full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[stage], disk_full)
    with pytest.raises(OSError, match="no space left"):
        write_bytes(file, b"new")
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_the_new_content_is_on_disk_before_it_gets_the_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: calls.append("flushed") or fsync(file))
    monkeypatch.setattr(Path, "replace", lambda self, target: calls.append("renamed") or replace(self, target))
    write_bytes(tmp_path / "a.bin", b"new")
    assert calls == ["flushed", "renamed", "flushed"]  # the file, its new name, the folder


@pytest.mark.parametrize("refused", ["fsync", "open"])
def test_a_file_system_that_cannot_flush_folders_is_no_reason_to_fail(refused, tmp_path, monkeypatch):
    function, folder = getattr(os, refused), tmp_path.stat()

    def refuse(target, *arguments):
        if os.path.samestat(os.stat(target), folder):
            raise OSError(errno.EINVAL, "Invalid argument")
        return function(target, *arguments)

    monkeypatch.setattr(os, refused, refuse)
    sync_folder(tmp_path)
    monkeypatch.undo()
    sync_folder(tmp_path)


def test_a_disk_that_is_full_is_reported_with_the_name_of_the_file_and_not_a_temporary_one(tmp_path, monkeypatch):
    def disk_full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path / 'a.json'}'$"):
        write_text(tmp_path / "a.json", "{}")
    assert not list(tmp_path.iterdir())
