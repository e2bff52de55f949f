"""A run folder, read-only: its configuration, its versions and its generations."""

from dataclasses import dataclass
from pathlib import Path

from sparring.config import Config, load
from sparring.runs.generation import NAME, Generation, read_json

__all__ = ["SavedRun", "generations", "run_of"]

CONFIG, VERSIONS, INPUTS, CHANGES = "config.yaml", "versions.json", "inputs.json", "changes.txt"
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
        """True if the folder has a configuration, as every run has."""
        return self.config_file.is_file()

    @property
    def config_file(self) -> Path:
        """Path of the complete configuration."""
        return self.folder / CONFIG

    def config(self) -> Config:
        """Complete configuration.

        Raises:
            ConfigError: If it cannot be read.
        """
        return load(self.config_file)

    def versions(self) -> dict[str, str]:
        """Versions of Python and of packages by their name; empty if they are not known."""
        return read_json(self.folder / VERSIONS, "delete it")

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
