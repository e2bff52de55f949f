"""Charge and multiplicity in outputs of codes, and CP2K's output as a whole, which ASE does not read."""

import re
from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from sparring.units import BOHR, HARTREE

__all__ = ["is_cp2k", "read_cp2k", "require_converged", "state_of_output"]

_CHARGE = {
    "orca-output": r"Total Charge\s+Charge\s+\.+\s+(-?\d+)",
    "gaussian-out": r"Charge\s*=\s*(-?\d+)\s+Multiplicity\s*=\s*\d+",
    "nwchem-out": r"^\s*Charge\s*:\s*(-?\d+)\s*$",
    "cp2k": r"DFT\|\s+Charge\s+(-?\d+)",
}
_MULTIPLICITY = {
    "orca-output": r"Multiplicity\s+Mult\s+\.+\s+(\d+)",
    "gaussian-out": r"Charge\s*=\s*-?\d+\s+Multiplicity\s*=\s*(\d+)",
    "nwchem-out": r"^\s*Spin multiplicity\s*:\s*(\d+)\s*$",
    "cp2k": r"DFT\|\s+Multiplicity\s+(\d+)",
}
_NOT_CONVERGED = {
    "orca-output": r"SCF NOT CONVERGED|This wavefunction IS NOT CONVERGED|SERIOUS PROBLEM IN SOSCF",
    "gaussian-out": r"Convergence failure -- run terminated|Convergence criterion not met",
    "nwchem-out": r"Calculation failed to converge",
    "espresso-out": r"convergence NOT achieved",
    "aims-output": r"Self-consistency cycle not converged",
    "castep-castep": r"system has not reached the groundstate",
    "gpaw-out": r"Did not converge!",
}
"""Lines that programs print where the electronic structure has not converged."""
_NUMBER = r"[+-]?\d+\.\d+(?:[Ee][+-]?\d+)?"


def state_of_output(text: str, kind: str) -> dict[str, int]:
    """Charge and multiplicity in an output, as entries of `info`.

    Raises:
        ValueError: If the output has several.
    """
    state = {}
    for name, pattern in (("charge", _CHARGE.get(kind)), ("multiplicity", _MULTIPLICITY.get(kind))):
        found = set(re.findall(pattern, text, re.MULTILINE)) if pattern else set()
        if len(found) > 1:
            raise ValueError(
                f"the output has more than one {name} ({', '.join(sorted(found))}); convert the calculation that is "
                "meant to extended XYZ"
            )
        if found:
            state[name] = int(found.pop())
    return state


def require_converged(text: str, kind: str) -> None:
    """Check that an output does not say that its electronic structure has not converged.

    Raises:
        ValueError: If it does.
    """
    pattern = _NOT_CONVERGED.get(kind)
    found = re.search(pattern, text, re.IGNORECASE) if pattern else None
    if found:
        raise ValueError(f"the electronic structure has not converged ({found[0]!r}); compute it again")


def is_cp2k(text: str) -> bool:
    """True if a text is the main output of CP2K."""
    return "CP2K|" in text[:20_000]


def read_cp2k(text: str) -> list[Atoms]:
    """The structure of a CP2K output with its energy and, where they are printed, its forces.

    One calculation of energy and forces is read; of a relaxation or of dynamics the output does not print geometries
    together with their energies.

    Raises:
        ValueError: If the output has no geometry or several energies, or its calculation has not converged.
    """
    energies = re.findall(rf"ENERGY\| Total FORCE_EVAL.*?energy [\[(](?:a\.u\.|hartree)[\])]:?\s+({_NUMBER})", text)
    if len(energies) != 1:
        raise ValueError(
            f"a CP2K output of one calculation is read, this one has {len(energies)} energies; convert the pos-1.xyz "
            "and frc-1.xyz of a longer run to extended XYZ, in eV and eV/Å"
        )
    if "SCF run NOT converged" in text:
        raise ValueError("the SCF of this CP2K output has not converged; compute it again")
    rows = list(_coordinates(text))
    if not rows:
        raise ValueError("this CP2K output prints no ATOMIC COORDINATES; print them (SUBSYS/PRINT/ATOMIC_COORDINATES)")
    cell = np.array(
        [vector.split()[:3] for vector in re.findall(r"CELL\| Vector [abc] \[angstrom\]:?\s+(.*)", text)], float
    )
    periodic = re.search(r"(?:CELL\||POISSON\|) (?:Periodicity|Periodic)\s+(\w+)", text)
    atoms = Atoms(
        [symbol for symbol, _ in rows],
        positions=[position for _, position in rows],
        cell=cell[:3] if len(cell) >= 3 else None,
        pbc=[axis in periodic[1].upper() for axis in "XYZ"] if periodic else len(cell) >= 3,
    )
    results: dict[str, object] = {"energy": float(energies[0]) * HARTREE}
    forces = list(_forces(text))
    if forces:
        if len(forces) != len(atoms):
            raise ValueError(f"this CP2K output has {len(forces)} forces for {len(atoms)} atoms; compute it again")
        results["forces"] = np.array(forces) * (HARTREE / BOHR)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return [atoms]


def _coordinates(text: str) -> Iterator[tuple[str, list[float]]]:
    block = re.search(r"ATOMIC COORDINATES IN angstrom(.*?)\n\s*\n\s*\n", text + "\n\n\n", re.DOTALL | re.IGNORECASE)
    row = rf"^\s*\d+\s+\d+\s+([A-Z][a-z]?)\s+\d+\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})"
    for match in re.finditer(row, block[1] if block else "", re.MULTILINE):
        yield match[1], [float(value) for value in match.groups()[1:]]


def _forces(text: str) -> Iterator[list[float]]:
    block = re.search(r"ATOMIC FORCES in \[a\.u\.\](.*?)SUM OF ATOMIC FORCES", text, re.DOTALL)
    row = rf"^\s*\d+\s+\d+\s+[A-Z][a-z]?\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})"
    if block is None:
        block = re.search(r"FORCES\| Atomic forces \[hartree/bohr\](.*?)FORCES\| Sum", text, re.DOTALL)
        row = rf"^\s*FORCES\|\s+\d+\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})"
    for match in re.finditer(row, block[1] if block else "", re.MULTILINE):
        yield [float(value) for value in match.groups()]
