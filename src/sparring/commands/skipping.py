"""Frames of a user's file that a run leaves out, as a table in its folder."""

from sparring.inputs.skipping import write_skipped
from sparring.runs.folder import RunFolder
from sparring.systems.base import System

__all__ = ["SKIPPED", "keep_skipped"]

SKIPPED = "skipped.csv"
"""Name of the table in a run folder."""


def keep_skipped(system: System, run_folder: RunFolder) -> None:
    """Write the frames that a run leaves out, before it begins with the others.

    Raises:
        ValueError: If the file of the system cannot be read.
    """
    if system.skipped is None or run_folder.saved.generation(1).stages_done:
        return
    if skipped := system.skipped():
        table = run_folder.path / SKIPPED
        write_skipped(table, skipped)
        run_folder.log(f"{len(skipped)} frames of {skipped[0].file} are wrong and left out: {table}")
