"""Structures that go out to be labelled, each with all that its label depends on."""

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from sparring.exchange.answers import KEY
from sparring.inputs.extxyz import read_structures
from sparring.labels.base import label_input

__all__ = ["outgoing", "read_outgoing"]

TOLD = (
    "source",
    "frame",
    "force_variance",
    "expected_force_error",
    "expected_energy_error",
    "expected_stress_error",
)
"""Names in `info` that tell somebody who labels a structure where it is from, and how large the errors may be."""


def outgoing(atoms: Atoms, key: str, depends_on: Sequence[str] = ()) -> Atoms:
    """A structure as it goes out: geometry, key, charge, multiplicity and what labels depend on, without labels.

    Args:
        atoms: Structure.
        key: Key of its label.
        depends_on: Names in info or arrays that labels depend on besides the standard ones.
    """
    bare = label_input(atoms, depends_on)
    bare.info = {KEY: key, **bare.info, **{name: atoms.info[name] for name in TOLD if name in atoms.info}}
    return bare


def read_outgoing(file: Path) -> dict[str, Atoms]:
    """Structures of such a file by their keys; none if there is no file."""
    if not file.exists():
        return {}
    return {str(atoms.info[KEY]): atoms for atoms in read_structures(file, allow_dummy=True, allow_empty=True)}
