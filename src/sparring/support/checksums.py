"""Manifests: JSON files that name the SHA-256 of the files beside them, and have one of their own content."""

import errno
import fcntl
import functools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparring.support.digest import bytes_digest, digest, file_digest
from sparring.support.files import write_bytes, write_text

__all__ = [
    "CHANGED",
    "CHECKSUMS",
    "MANIFEST",
    "MISSING",
    "DamagedFileError",
    "file_problem",
    "forget",
    "known_digest",
    "manifest_text",
    "read_manifest",
    "record",
    "recorded",
    "require_unchanged",
    "write_recorded",
]

MANIFEST = "manifest.json"
"""Name of the manifest of a run, and of one of its generations."""
CHECKSUMS = "checksums.json"
"""Name of the manifest of a folder whose files are made from those of a run, and can be made again."""
SEAL = "sha256"
"""Key of the checksum of a manifest itself."""
MISSING, CHANGED = "is missing", "has changed since it was written"
RESTORE = "restore it from a copy"


class DamagedFileError(ValueError):
    """A file that is not what was written."""


def manifest_text(content: Mapping[str, object]) -> str:
    """The text of a manifest, whose last entry is its own checksum."""
    return json.dumps({**content, SEAL: digest(content)}, indent=1, ensure_ascii=False) + "\n"


def read_manifest(file: Path, remedy: str = RESTORE) -> dict[str, Any]:
    """Content of a manifest without its own checksum; empty if it does not exist.

    A manifest of an older version has no checksum of its own, and only lists stages.

    Args:
        file: Path of the manifest.
        remedy: Advice for a damaged manifest, as the end of an error message.

    Raises:
        DamagedFileError: If it cannot be read, or its checksum is not that of its content.
    """
    try:
        text = file.read_bytes().decode()
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError(f"a JSON object is wanted, got {type(content).__name__}")
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{file} cannot be read ({error}); {remedy}") from error
    if SEAL not in content and all(isinstance(value, dict) for value in content.values()):
        return content
    seal = content.pop(SEAL, None)
    if seal != digest(content) or text != manifest_text(content):
        raise DamagedFileError(f"{file} {CHANGED}; {remedy}")
    return content


def recorded(folder: Path) -> Mapping[str, tuple[str, ...]]:
    """SHA-256 that each file of a folder may have, by its name; empty where no manifest of this package lists files.

    A name has several where a program may have ended after a file was recorded and before it was written.
    """
    known: dict[str, tuple[str, ...]] = {}
    for name in (MANIFEST, CHECKSUMS):
        file = folder / name
        try:
            known |= _listed(*_identity(file))
        except OSError:
            continue
    return known


def file_problem(file: Path) -> str:
    """State of a file that is not as its manifest has it, such as "is missing"; empty if it is, or is not listed."""
    digests = recorded(file.parent).get(file.name)
    if digests is None:
        return ""
    try:
        return "" if known_digest(file) in digests else CHANGED
    except FileNotFoundError:
        return MISSING


def require_unchanged(file: Path, remedy: str = RESTORE) -> None:
    """Refuse a file that is not as its manifest has it; one that no manifest lists is not checked.

    Args:
        file: Path of the file.
        remedy: Advice for a damaged file, as the end of an error message.

    Raises:
        DamagedFileError: If it is missing or has changed.
    """
    if problem := file_problem(file):
        raise DamagedFileError(f"{file} {problem}; {remedy}")


def record(folder: Path, digests: Mapping[str, str], *, name: str = CHECKSUMS, **more: object) -> None:
    """Record files that are about to be written; until they are, their present content counts as right, too.

    Args:
        folder: Folder of the files.
        digests: SHA-256 of each file by its name.
        name: Name of the manifest.
        more: Further entries of the manifest.
    """
    with _alone(folder):
        file = folder / name
        try:
            content = read_manifest(file)
        except DamagedFileError:
            content = {}  # all that it listed is made again sooner or later
        files = dict(content.get("files", {}))
        for one, new in digests.items():
            now = known_digest(folder / one) if (folder / one).is_file() else ""
            files[one] = [*(known for known in files.get(one, ()) if known == now != new), new]
        text = manifest_text({**content, "files": files, **more})
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            write_text(file, text)


def forget(folder: Path, names: Iterable[str], *, name: str = CHECKSUMS) -> None:
    """Take files out of the manifest of a folder, so that they are not missed any more.

    Args:
        folder: Folder of the files.
        names: Names of the files.
        name: Name of the manifest.
    """
    with _alone(folder):
        content = read_manifest(folder / name)
        files = {one: digests for one, digests in content.get("files", {}).items() if one not in set(names)}
        write_text(folder / name, manifest_text({**content, "files": files}))


def write_recorded(file: Path, content: bytes) -> None:
    """Record a file in the checksums of its folder, then write it."""
    record(file.parent, {file.name: bytes_digest(content)})
    write_bytes(file, content)


def known_digest(file: Path) -> str:
    """SHA-256 of a file, which is read once as long as its time and size stay the same.

    Raises:
        OSError: If the file cannot be read.
    """
    return _digest(*_identity(file))


def _identity(file: Path) -> tuple[str, int, int, int]:
    status = file.stat()
    return str(file.absolute()), status.st_mtime_ns, status.st_size, status.st_ino


@functools.lru_cache(maxsize=100_000)
def _digest(file: str, changed: int, size: int, inode: int) -> str:
    return file_digest(Path(file))


@functools.lru_cache(maxsize=1000)
def _listed(file: str, changed: int, size: int, inode: int) -> dict[str, tuple[str, ...]]:
    """Files that a manifest lists; none if it is damaged, which others find out, or of another program."""
    try:
        content = read_manifest(Path(file))
    except DamagedFileError:
        return {}
    parts = [one["files"] for one in content.values() if isinstance(one, Mapping) and "files" in one]
    parts += [content["files"]] if "files" in content else []
    known: dict[str, tuple[str, ...]] = {}
    for files in parts:
        if not isinstance(files, Mapping):
            continue
        for name, digests in files.items():
            digests = (digests,) if isinstance(digests, str) else tuple(digests) if isinstance(digests, list) else ()
            if digests and all(isinstance(one, str) and re.fullmatch("[0-9a-f]{64}", one) for one in digests):
                known[name] = digests
    return known


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let no other process record files of a folder meanwhile, where the file system has locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno == errno.EINTR:
                raise
        yield
    finally:
        os.close(descriptor)
