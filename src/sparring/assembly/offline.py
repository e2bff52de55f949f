"""The section ``labels.labeller`` of kind ``offline`` as files that labels are asked for and come back by."""

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from sparring.atoms.reference import has_labels
from sparring.config import Config, labellers
from sparring.exchange.answers import Names
from sparring.exchange.folder import OfflineFolder
from sparring.labels import Offline
from sparring.runs.saved_run import generations

__all__ = ["names_of", "offline_folder"]


def offline_folder(config: Config, labeller: Offline, folder: Path, accept_missing: bool = False) -> OfflineFolder:
    """The files of labels: in the folder of the newest generation of a run, or else in the folder itself.

    Args:
        config: Configuration.
        labeller: Labeller of the section.
        folder: Run folder, or another one for labels that are not of a run.
        accept_missing: True to count labels as failed that were asked for before and have not come.
    """
    section = config.labels.labeller
    assert isinstance(section, labellers.Offline)

    def place() -> Path:
        existing = generations(folder)
        return existing[-1].folder if existing else folder

    def known() -> Sequence[Atoms]:
        return [atoms for atoms in config.system.build().structures() if has_labels(atoms)]

    return OfflineFolder(
        labeller=labeller,
        place=place,
        root=folder,
        names=names_of(section),
        tolerance=section.tolerance,
        accept_missing=accept_missing,
        known=known if section.align else None,
        remedy="give the same command again (--accept-missing goes on without those that have not come)",
    )


def names_of(section: labellers.Offline) -> Names:
    """Names of labels in extended XYZ files."""
    return Names(energy_key=section.energy_key, forces_key=section.forces_key, stress_key=section.stress_key)
