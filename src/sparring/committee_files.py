"""A committee on disk: weights as safetensors, everything else as JSON."""

import json
import logging
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from sparring.committee import Committee
from sparring.expected_error import ExpectedErrors
from sparring.support.checksums import MANIFEST, DamagedFileError, read_manifest, require_unchanged
from sparring.support.digest import digest
from sparring.support.files import write_bytes, write_text

__all__ = ["EXPECTED", "FILES", "read_committee", "write_committee"]

logger = logging.getLogger(__name__)

FILES = ("committee.safetensors", "committee.json")
"""Names of the files: weights, and everything else."""
EXPECTED = "expected_errors.json"
"""Name of the file of expected errors, which a run writes beside the committee once labels have shown its errors."""
SEAL = "sha256"
"""Key of the checksum of everything else in the JSON file."""
REMEDY = "restore it from a copy, or train the committee again"


def write_committee(folder: Path | str, committee: Committee, **more: object) -> tuple[str, ...]:
    """Weights as safetensors, everything else as JSON.

    Args:
        folder: Folder, made if it does not exist.
        committee: Committee of a built-in architecture, or of one that an installed package registers.
        more: Further entries of the JSON file.

    Raises:
        ValueError: If the committee could not be read again.
    """
    folder = Path(folder)
    weights, about = committee.state()
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / FILES[0], safetensors.torch.save(weights))
    content = json.loads(json.dumps({**about, **more}))
    sealed = {**content, SEAL: digest(content)}
    write_text(folder / FILES[1], json.dumps(sealed, indent=1, ensure_ascii=False) + "\n")
    return FILES


def read_committee(folder: Path | str) -> Committee:
    """The committee of a folder, with its expected errors if they are known.

    An architecture of another package is found by its name, see :class:`sparring.Architecture`. A committee of an older
    version has no domain, and structures are then not checked.

    Raises:
        ValueError: If there is none, a file has changed since it was written, or the package of its architecture is
            not installed.
    """
    folder = Path(folder)
    weights, about = (folder / name for name in FILES)
    for file in (weights, about):
        if not file.exists():
            raise ValueError(f"{folder} holds no committee: there is no {file.name}; give a generation's folder")
    if (manifest := folder / MANIFEST).exists() and b'"files"' in manifest.read_bytes():  # not of another program
        read_manifest(manifest, REMEDY)
    for file in (weights, about, folder / EXPECTED):
        require_unchanged(file, REMEDY)
    try:
        loaded = safetensors.torch.load(weights.read_bytes())
        committee = Committee.from_state(loaded, _read_about(about))
    except DamagedFileError:
        raise
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"{weights} and {about.name} cannot be read: {error}") from error
    if committee.domain is None:
        logger.warning(
            "%s has no elements and charges of the training data, because an older version wrote it; structures are "
            "not checked",
            about,
        )
    expected = folder / EXPECTED
    if not expected.exists():
        return committee
    return committee.with_expected(ExpectedErrors.from_dict(json.loads(expected.read_text(encoding="utf-8"))))


def _read_about(file: Path) -> dict[str, Any]:
    """The description of a committee; one of an older version has no checksum of its own."""
    about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    seal = about.pop(SEAL, None)
    if seal is not None and seal != digest(about):
        raise DamagedFileError(f"{file} has changed since it was written: its SHA-256 is not the one in it; {REMEDY}")
    return about
