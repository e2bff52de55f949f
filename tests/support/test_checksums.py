"""Manifests name the files beside them by their SHA-256, and protect themselves."""

import json
import multiprocessing
import os

import pytest

from sparring.support.checksums import (
    CHECKSUMS,
    MANIFEST,
    DamagedFileError,
    file_problem,
    forget,
    manifest_text,
    read_manifest,
    record,
    recorded,
    require_unchanged,
    write_recorded,
)
from sparring.support.digest import bytes_digest

CONTENT = {"data": {"files": {"a.txt": "0" * 64}, "seconds": 0.1, "words": "5 Å"}, "number": 12}


def test_every_flipped_bit_of_a_manifest_is_found(tmp_path):
    file, text = tmp_path / MANIFEST, manifest_text(CONTENT).encode()
    for place in range(len(text)):
        for bit in (0, 5):
            content = bytearray(text)
            content[place] ^= 1 << bit
            file.write_bytes(bytes(content))
            with pytest.raises(DamagedFileError, match=r"manifest\.json (cannot be read|has changed)"):
                assert read_manifest(file) == "damaged"


def test_every_truncation_of_a_manifest_is_found(tmp_path):
    file, text = tmp_path / MANIFEST, manifest_text(CONTENT).encode()
    for length in range(len(text)):
        file.write_bytes(text[:length])
        with pytest.raises(DamagedFileError, match=r"manifest\.json (cannot be read|has changed)"):
            read_manifest(file)


def test_a_manifest_reads_back_and_that_of_an_older_version_has_no_checksum_of_its_own(tmp_path):
    file = tmp_path / MANIFEST
    assert read_manifest(file) == {}
    file.write_text(manifest_text(CONTENT), encoding="utf-8")
    assert read_manifest(file) == CONTENT
    older = {"data": CONTENT["data"]}
    file.write_text(json.dumps(older))
    assert read_manifest(file) == older


def test_a_recorded_file_is_checked_and_others_are_not(tmp_path):
    write_recorded(tmp_path / "a.txt", b"right")
    (tmp_path / "b.txt").write_bytes(b"anything")
    require_unchanged(tmp_path / "a.txt")
    require_unchanged(tmp_path / "b.txt")
    (tmp_path / "a.txt").write_bytes(b"wrong")
    with pytest.raises(DamagedFileError, match=r"a\.txt has changed since it was written; restore it from a copy"):
        require_unchanged(tmp_path / "a.txt")
    (tmp_path / "a.txt").unlink()
    with pytest.raises(DamagedFileError, match=r"a\.txt is missing; ask for it"):
        require_unchanged(tmp_path / "a.txt", "ask for it")
    forget(tmp_path, ["a.txt"])
    require_unchanged(tmp_path / "a.txt")


def test_a_file_that_was_recorded_and_not_yet_written_is_right_as_it_was(tmp_path):
    file = tmp_path / "a.txt"
    for content in (b"1", b"2", b"3"):
        record(tmp_path, {"a.txt": bytes_digest(content)})
        assert file_problem(file) == ("" if file.exists() else "is missing")
        file.write_bytes(content)
        assert file_problem(file) == ""
    file.write_bytes(b"1")
    assert file_problem(file) == "has changed since it was written"


@pytest.mark.parametrize("text", ["{", "[]", '{"files": 3}', '{"files": {"a.txt": "no digest"}}', '{"icons": [{}]}'])
def test_a_manifest_of_another_program_is_none_of_ours(text, tmp_path):
    (tmp_path / MANIFEST).write_text(text)
    (tmp_path / "a.txt").write_text("anything")
    assert recorded(tmp_path) == {}
    require_unchanged(tmp_path / "a.txt")


def _record_many(folder, number):
    for index in range(20):
        write_recorded(folder / f"{number}-{index}.txt", f"{number} {index}".encode())


def test_processes_that_record_files_of_one_folder_at_once_lose_none(tmp_path):
    processes = [multiprocessing.get_context("fork").Process(target=_record_many, args=(tmp_path, n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(recorded(tmp_path)) == 60
    assert not [name for name in os.listdir(tmp_path) if name != CHECKSUMS and file_problem(tmp_path / name)]
