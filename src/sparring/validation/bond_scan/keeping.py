"""Scans of bonds and angles that every run on molecules makes for its report."""

from pathlib import Path

from sparring.committee_files import read_committee
from sparring.dynamics.trajectories import committee_on
from sparring.validation.bond_scan.compute import scan_bonds
from sparring.validation.records import keep_frames, write_record
from sparring.validation.run_system import start_of, system_of

__all__ = ["keep_bonds"]


def keep_bonds(folder: Path, *, device: str = "cpu") -> bool:
    """Scan bonds and angles with the committee of a generation, without labels, as `sparring validate bonds` does.

    Nothing is computed if there are scans already, whose labels would be lost. Returns True if something was.

    Args:
        folder: Folder of a generation.
        device: Device of the computation.

    Raises:
        ValueError: If the data are of several compositions, or there are no bonds.
    """
    file = folder / "validation" / "bonds.json"
    if file.exists():
        return False
    start, system = start_of(folder, None), system_of(folder)
    bonds = None if system is None or start.pbc.any() else system.bonds
    result, flagged = scan_bonds(committee_on(read_committee(folder), device), start, bonds=bonds)
    file.parent.mkdir(exist_ok=True)
    keep_frames(file.with_suffix(".extxyz"), flagged)
    write_record(file, result)
    return True
