"""SHA-256 of values and of files, by which results are found again and damaged files are recognised."""

import hashlib
import json
from pathlib import Path

__all__ = ["bytes_digest", "digest", "file_digest"]


def digest(facts: object, *, compact: bool = False) -> str:
    """SHA-256 of the canonical JSON of some facts, in hexadecimal digits; the order of keys has no effect.

    Args:
        facts: Numbers, strings, lists, tuples and mappings of these.
        compact: Form of the JSON: without blanks and in UTF-8, and only finite numbers. Existing files are named after
            either form, so that neither can be given up.

    Raises:
        TypeError: If the facts cannot be written as JSON.
        ValueError: If a number is not finite and the form is compact.
    """
    if compact:
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    else:
        text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def bytes_digest(content: bytes) -> str:
    """SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def file_digest(file: Path) -> str:
    """SHA-256 of the content of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
