"""A committee on disk: weights as safetensors, everything else as JSON."""

import json
import logging
from pathlib import Path

import safetensors
import safetensors.torch

from sparring.committee import Committee
from sparring.support.files import write_bytes, write_text

__all__ = ["FILES", "read_committee", "write_committee"]

logger = logging.getLogger(__name__)

FILES = ("committee.safetensors", "committee.json")
"""Names of the files: weights, and everything else."""


def write_committee(folder: Path | str, committee: Committee, **more: object) -> tuple[str, ...]:
    """Weights as safetensors, everything else as JSON.

    Args:
        folder: Where to; made if it is not there.
        committee: A committee of an architecture that ships with Sparring.
        more: Further entries of the JSON file.

    Raises:
        ValueError: If the committee could not be read again.
    """
    folder = Path(folder)
    weights, about = committee.state()
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / FILES[0], safetensors.torch.save(weights))
    write_text(folder / FILES[1], json.dumps({**about, **more}, indent=1, ensure_ascii=False) + "\n")
    return FILES


def read_committee(folder: Path | str) -> Committee:
    """The committee of a folder.

    One that an older version wrote does not say what it was trained on. It is not checked then what it is asked about.

    Raises:
        ValueError: If there is none, or its weights are damaged.
    """
    folder = Path(folder)
    weights, about = (folder / name for name in FILES)
    for file in (weights, about):
        if not file.exists():
            raise ValueError(f"{folder} holds no committee: there is no {file.name}; give a generation's folder")
    try:
        loaded = safetensors.torch.load(weights.read_bytes())
        committee = Committee.from_state(loaded, json.loads(about.read_text(encoding="utf-8")))
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"{weights} and {about.name} cannot be read: {error}") from error
    if committee.domain is None:
        logger.warning(
            "%s does not say on which elements and charges the committee was trained, as an older version wrote it; "
            "structures are not checked",
            about,
        )
    return committee
