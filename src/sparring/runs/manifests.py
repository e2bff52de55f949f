"""Manifests of a run: that of a generation lists its committed stages, that of the run what all of them belong to.

Each stage has the link of the stage before it, and the first one that of the run: a digest of what may never change.
Folders that were exchanged, or that belong to another run, break the chain.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sparring.support.checksums import MANIFEST, DamagedFileError, known_digest, manifest_text, read_manifest
from sparring.support.digest import bytes_digest, digest
from sparring.support.files import write_text

__all__ = [
    "CHANGES",
    "CONFIG",
    "INPUTS",
    "STAGES",
    "TITLES",
    "VERSIONS",
    "RunFolderError",
    "RunManifest",
    "Stages",
    "heads_of",
    "is_run_manifest",
    "links_of",
    "metrics_of",
    "read_run_manifest",
    "read_stages",
    "write_run_manifest",
    "write_stages",
]

TITLES = {
    "data": "data",
    "fit": "training",
    "evaluate": "evaluation",
    "attack": "attack",
    "select": "selection",
    "label": "labelling",
}
"""Stages of a generation in their order, with their names in messages."""
STAGES = tuple(TITLES)
CONFIG, VERSIONS, INPUTS, CHANGES = "config.yaml", "versions.json", "inputs.json", "changes.txt"
Stages = dict[str, dict[str, Any]]
"""Committed stages: the SHA-256 of their files, their link, metrics, seconds and versions."""
ELSEWHERE = (
    "restore it from a copy, or start in another --folder with labels.store set to the labels of this one, so that "
    "none is computed again"
)


class RunFolderError(RuntimeError):
    """A run folder that cannot be used as it is: in use, of another configuration, or damaged."""


@dataclass(frozen=True, kw_only=True)
class RunManifest:
    """The run that its generations belong to.

    Attributes:
        identity: Digest of what may never change: the configuration without what may, and the files that it names.
        config: Text of ``config.yaml``.
        inputs: SHA-256 of the files that the configuration names, by their path.
        versions: Versions of Python and of packages that computed the newest stage.
        changes: Changes of the configuration since the run was started.
        heads: Links of the last stages of the generations, by the names of their folders.
        files: SHA-256 that ``config.yaml`` and the like may have, by their names.
        derived: Folders with checksums of files that can be made again, as the run has left them.
    """

    identity: str
    config: str
    inputs: Mapping[str, str]
    versions: Mapping[str, str]
    changes: tuple[str, ...] = ()
    heads: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, list[str]] = field(default_factory=dict)
    derived: tuple[str, ...] = ()

    def texts(self) -> dict[str, str]:
        """The files that repeat entries of the manifest for people, by their names."""
        texts = {
            CONFIG: self.config,
            INPUTS: json.dumps(dict(self.inputs), indent=1) + "\n",
            VERSIONS: json.dumps(dict(self.versions), indent=1) + "\n",
        }
        return texts | ({CHANGES: "".join(f"{line}\n" for line in self.changes)} if self.changes else {})

    def with_head(self, name: str, link: str) -> "RunManifest":
        """The manifest after a stage of a generation; generations after it are not there any more."""
        heads = {one: head for one, head in self.heads.items() if _number(one) < _number(name)}
        return replace(self, heads={**heads, name: link})


def read_run_manifest(folder: Path) -> RunManifest | None:
    """The manifest of a run; None for one of an older version, or before it has begun.

    Raises:
        RunFolderError: If it is damaged.
    """
    file = folder / MANIFEST
    if not is_run_manifest(folder):
        return None
    try:
        content = read_manifest(file, ELSEWHERE)
        return RunManifest(**{**content, "changes": tuple(content["changes"]), "derived": tuple(content["derived"])})
    except DamagedFileError as error:
        raise RunFolderError(str(error)) from error
    except (TypeError, KeyError) as error:
        raise RunFolderError(f"{file} is not the manifest of a run ({error}); {ELSEWHERE}") from error


def is_run_manifest(folder: Path) -> bool:
    """True if a folder has the manifest of a run, damaged or not."""
    try:
        return '"identity"' in (folder / MANIFEST).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def write_run_manifest(folder: Path, manifest: RunManifest) -> RunManifest:
    """Write the manifest of a run, then the files that repeat its entries, where they differ; returns it as written.

    Until a file is written, what it is now counts as right, too: the process may end in between.
    """
    texts = manifest.texts()
    files: dict[str, list[str]] = {}
    for name, text in texts.items():
        new, known = bytes_digest(text.encode()), manifest.files.get(name, [])
        now = known_digest(folder / name) if (folder / name).is_file() else ""
        files[name] = [*(one for one in known if one == now != new), new]
    manifest = replace(manifest, files=files)
    content = {name: getattr(manifest, name) for name in RunManifest.__dataclass_fields__}
    _write(folder / MANIFEST, manifest_text(json.loads(json.dumps(content))))
    for name, text in texts.items():
        _write(folder / name, text)
    return manifest


def read_stages(folder: Path, remedy: str) -> Stages:
    """Committed stages of a generation, by its folder; none before the first one.

    Args:
        folder: Folder of the generation.
        remedy: Advice for a damaged manifest, as the end of an error message.

    Raises:
        RunFolderError: If the manifest is damaged.
    """
    file = folder / MANIFEST
    try:
        stages = read_manifest(file, remedy)
    except DamagedFileError as error:
        raise RunFolderError(str(error)) from error
    sound = all(isinstance(entry, dict) and isinstance(entry.get("files"), dict) for entry in stages.values())
    if not sound or tuple(stages) != STAGES[: len(stages)]:
        raise RunFolderError(f"{file} cannot be read (its stages are {', '.join(map(repr, stages))}); {remedy}")
    return stages


def write_stages(folder: Path, stages: Stages) -> None:
    """Write the committed stages of a generation."""
    write_text(folder / MANIFEST, manifest_text(json.loads(json.dumps(stages))))


def links_of(stages: Stages, before: str) -> list[str]:
    """Links of stages: digests of the results of each and of all before it, without the time and versions it took.

    Args:
        stages: Committed stages of a generation; one of an older version has the link that it would have now.
        before: Link of the last stage before these.
    """
    links = []
    for entry in stages.values():
        before = digest({"files": entry["files"], "after": entry.get("after", before)})
        links.append(before)
    return links


def heads_of(generations: Mapping[str, Stages], identity: str) -> dict[str, str]:
    """Links of the last stages of generations by their names; none for one without committed stages.

    Args:
        generations: Committed stages of all generations, in their order.
        identity: Link of the run.
    """
    heads = {}
    for name, stages in generations.items():
        if stages:
            identity = heads[name] = links_of(stages, identity)[-1]
    return heads


def metrics_of(number: int, stages: Stages) -> dict[str, Any] | None:
    """Numbers of the stages of a generation; None if an older version committed one of them, which did not keep them.

    Args:
        number: Number of the generation.
        stages: Its committed stages.
    """
    if not stages or any("metrics" not in entry for entry in stages.values()):
        return None
    metrics = {name: value for entry in stages.values() for name, value in entry["metrics"].items()}
    return {"generation": number, **metrics, "seconds": {stage: entry["seconds"] for stage, entry in stages.items()}}


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def _write(file: Path, text: str) -> None:
    """Write a file unless it has this content."""
    if not file.is_file() or file.read_bytes() != text.encode():
        write_text(file, text)
