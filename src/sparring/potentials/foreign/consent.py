"""Consent to unpickle checkpoints: by the person who types a command, never by a file."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparring.support.files import write_text

__all__ = ["CONSENT", "consented", "is_trusted"]

CONSENT = "SPARRING_TRUST_PICKLE"
"""Environment variable with which a user consents: 1 for all checkpoints that the process and its workers read."""

logger = logging.getLogger(__name__)


@contextmanager
def consented() -> Iterator[None]:
    """Consent to unpickle all checkpoints that this process and those that it starts read meanwhile."""
    before = os.environ.get(CONSENT)
    os.environ[CONSENT] = "1"
    try:
        yield
    finally:
        os.environ.pop(CONSENT, None)
        if before is not None:
            os.environ[CONSENT] = before


def is_trusted(content: bytes, file: Path) -> bool:
    """True if the user consents to unpickle this content, or has done so before.

    Consent is remembered by the SHA-256 of the content in the user's own folder, so that a run is resumed without
    giving it again, and a file that has changed needs it again. A run folder could not keep it: it may come from a
    stranger, too.

    Args:
        content: Content of the file.
        file: Path of the file, for whoever reads the list.
    """
    key = hashlib.sha256(content).hexdigest()
    known = _remembered()
    if os.environ.get(CONSENT) != "1":
        return key in known
    if key not in known:
        _remember({**known, key: str(file.resolve())})
    return True


def _list() -> Path:
    folder = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(folder) / "sparring" / "trusted-pickles.json"


def _remembered() -> dict[str, str]:
    try:
        known = json.loads(_list().read_text(encoding="utf-8"))
    except (OSError, RuntimeError, ValueError):  # none yet, no home, or not JSON: nothing is trusted
        return {}
    return known if isinstance(known, dict) else {}


def _remember(known: dict[str, str]) -> None:
    try:
        _list().parent.mkdir(parents=True, exist_ok=True)
        write_text(_list(), json.dumps(known, indent=1) + "\n")
    except (OSError, RuntimeError) as error:
        logger.warning("consent to unpickle cannot be remembered (%s); the next command needs it again", error)
