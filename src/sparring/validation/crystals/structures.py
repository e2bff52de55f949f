"""Crystals of a run, of which the properties are computed."""

from pathlib import Path

from ase import Atoms

from sparring.atoms.dataset import ENERGY
from sparring.atoms.inheritance import geometry_of
from sparring.atoms.primitive import has_vacuum, is_crystal, primitive
from sparring.inputs.extxyz import read_labelled
from sparring.inputs.reading import read_atoms
from sparring.runs.generation import DATASET as DATA
from sparring.runs.saved_run import run_of

__all__ = ["crystals_of", "formula_of", "require_crystal"]

MOST_IN_UNIT = 24
"""Largest number of atoms of a formula unit of a crystal; that of a cell with a defect has more."""


def require_crystal(atoms: Atoms) -> None:
    """Refuse a structure that is no crystal.

    Raises:
        ValueError: If it is not periodic in three directions, or has a layer of vacuum.
    """
    formula = atoms.get_chemical_formula()
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        along = "".join("T" if one else "F" for one in atoms.pbc)
        raise ValueError(
            f"{formula} is no crystal: it is periodic along {int(atoms.pbc.sum())} directions (pbc={along}), and a "
            "crystal along three; give a bulk structure"
        )
    if has_vacuum(atoms):
        raise ValueError(f"{formula} is a slab or a molecule in a box, with an empty layer; give a bulk structure")


def formula_of(atoms: Atoms) -> str:
    """The formula unit of a crystal: "Cu" for a cell of 32 atoms."""
    return str(atoms.symbols.formula.reduce()[0])


def crystals_of(folder: Path, file: Path | None = None) -> list[Atoms]:
    """The crystals of a file, or those of lowest energy per atom of each formula that the run began with.

    They are the same for all committees of a run. Those of the data are reduced to their smallest cells
    (:func:`sparring.atoms.primitive.primitive`); those of a file are taken as they are. Cells whose formula unit has
    more than 24 atoms, such as those with a vacancy in a compound, are left out.

    Args:
        folder: Folder of a committee.
        file: File of structures.

    Raises:
        ValueError: If there is no crystal, or one of the file is none.
    """
    if file is not None:
        structures = read_atoms(file, labels="ignored")
        for atoms in structures:
            require_crystal(atoms)
        return [geometry_of(atoms) for atoms in structures]
    run = run_of(folder)
    data = (folder if run is None else run.generation(1).folder) / DATA
    if not data.exists():
        raise ValueError(f"{folder} is not a generation of a run: it has no {DATA}; give CRYSTALS.xyz, a file")
    lowest: dict[str, Atoms] = {}
    for atoms in read_labelled(data, allow_dummy=True):
        name = formula_of(atoms)
        if is_crystal(atoms) and len(Atoms(name)) <= MOST_IN_UNIT:
            lowest[name] = min(atoms, lowest.get(name, atoms), key=_energy)
    if not lowest:
        raise ValueError(
            f"{data} has no crystal: no structure is periodic in three directions and without vacuum; give "
            "CRYSTALS.xyz, a file with bulk structures"
        )
    return [primitive(lowest[name]) for name in sorted(lowest)]


def _energy(atoms: Atoms) -> float:
    return float(atoms.info[ENERGY]) / len(atoms)
