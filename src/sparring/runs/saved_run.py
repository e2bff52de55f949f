"""A run folder, read-only: its configuration, its versions and its generations."""

from dataclasses import dataclass
from pathlib import Path

from sparring.config import Config, load
from sparring.runs.checks import config_difference, require_linked
from sparring.runs.generation import NAME, Generation, read_json
from sparring.runs.manifests import CONFIG, VERSIONS, RunFolderError, RunManifest, is_run_manifest, read_run_manifest
from sparring.support.checksums import CHANGED, file_problem

__all__ = ["SavedRun", "generations", "run_of"]

REPORT = "report.html"
CORE_HOURS = "core_hours.json"


@dataclass(frozen=True)
class SavedRun:
    """A run on disk.

    Attributes:
        folder: The run folder.
    """

    folder: Path

    @property
    def exists(self) -> bool:
        """True if the folder has a configuration, as every run has, or had one."""
        return self.config_file.is_file() or self.exists_by_manifest

    @property
    def exists_by_manifest(self) -> bool:
        """True if the folder has the manifest of a run, damaged or not."""
        return is_run_manifest(self.folder)

    @property
    def config_file(self) -> Path:
        """Path of the complete configuration."""
        return self.folder / CONFIG

    @property
    def manifest(self) -> RunManifest | None:
        """The manifest of the run; None for a run of an older version, or before it has begun.

        Raises:
            RunFolderError: If it is damaged.
        """
        return read_run_manifest(self.folder)

    def require_config(self) -> None:
        """Refuse a configuration that is not as the run has written it.

        Raises:
            RunFolderError: If it is missing, with the remedy, or has changed, with the lines that differ.
        """
        manifest = self.manifest
        if manifest is None or not (problem := file_problem(self.config_file)):
            return
        if problem == CHANGED:
            problem += f":{config_difference(self.folder, manifest)}\nFor another configuration, give another --folder"
        raise RunFolderError(
            f"{self.config_file} {problem}; to have it as the run has written it, delete it and give the same "
            "`sparring run`"
        )

    def config_text(self) -> str:
        """Text of the complete configuration.

        Raises:
            RunFolderError: If it is missing or has changed since the run has written it.
        """
        self.require_config()
        return self.config_file.read_text(encoding="utf-8")

    def config(self) -> Config:
        """Complete configuration.

        Raises:
            RunFolderError: If it is missing or has changed since the run has written it.
            ConfigError: If it cannot be read.
        """
        self.require_config()
        return load(self.config_file)

    def versions(self) -> dict[str, str]:
        """Versions of Python and of packages by their name; empty if they are not known."""
        manifest = self.manifest
        return read_json(self.folder / VERSIONS, "delete it") if manifest is None else dict(manifest.versions)

    def require_linked(self) -> None:
        """Refuse generations that do not follow from each other; see :func:`sparring.runs.checks.require_linked`.

        Raises:
            RunFolderError: If there is one, or a manifest is damaged or missing.
        """
        require_linked(self.folder, self.generations())

    @property
    def report(self) -> Path:
        """Path of the report."""
        return self.folder / REPORT

    @property
    def core_hours_file(self) -> Path:
        """Path of the account of core hours, which does not exist before the first label."""
        return self.folder / CORE_HOURS

    def generations(self) -> list[Generation]:
        """Generations that exist, in their order."""
        return generations(self.folder)

    def generation(self, number: int) -> Generation:
        """A generation by its number, from 1; it need not exist."""
        return Generation(self.folder / f"generation-{number:02d}")


def generations(folder: Path) -> list[Generation]:
    """Generations of a run that exist, in their order; none if the folder is not that of a run."""
    found = [Generation(path) for path in folder.glob("generation-*") if path.is_dir() and NAME.fullmatch(path.name)]
    return sorted(found, key=lambda generation: generation.number)


def run_of(folder: Path) -> SavedRun | None:
    """The run of a folder, which is a run folder or that of a generation; None if it is neither."""
    candidates = (SavedRun(folder), SavedRun(folder.absolute().parent))
    return next((run for run in candidates if run.exists), None)
