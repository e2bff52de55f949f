"""Names of columns and header keys in files, and their meanings.

The table is data: the page docs/inputs.md shows it, and a test holds the two together. Names were looked up where they
come from: ASE's results of calculators, MACE's REF_ keys and its `total_charge` and `total_spin` (2S+1), NequIP's
`total_energy`, `charge` and `spin` (2S+1) of OMol25 and fairchem, `mult` of ORCA, Gaussian and AIMNet2,
`molecular_charge` and `molecular_multiplicity` of QCSchema and Psi4, `spin_multiplicity` of pymatgen.
"""

import re
from typing import NamedTuple

import numpy as np

from sparring.atoms.dataset import ENERGY, FORCES, STRESS
from sparring.atoms.reference import FORCES_MASK

__all__ = [
    "CHARGES",
    "ENERGIES",
    "FORCE_COLUMNS",
    "MULTIPLICITIES",
    "STRESSES",
    "TABLE",
    "Meaning",
    "foreign_pressure",
    "foreign_unit",
    "is_gradient",
    "like_charge",
    "like_energy",
    "like_forces",
    "like_multiplicity",
    "like_stress",
    "table",
    "unknown_vectors",
]

ENERGIES = (ENERGY, "free_energy", "energy", "total_energy")
"""Names of energies that are read by default, the first that is there."""
FORCE_COLUMNS = (FORCES, "forces")
STRESSES = (STRESS, "REF_virial", "REF_virials", "stress", "virial", "virials")
"""Names of stresses and virials; those with `REF_` go with an energy of that kind."""
CHARGES = ("charge", "total_charge", "net_charge", "molecular_charge")
MULTIPLICITIES = ("multiplicity", "mult", "spin_multiplicity", "molecular_multiplicity", "total_spin", "spin")


class Meaning(NamedTuple):
    """A row of the table.

    Attributes:
        meaning: Quantity in words.
        names: Header keys or columns that are read as this.
        becomes: Name inside, and in the files of a run.
        unit: Its unit.
        convention: Sign, zero or order that a file must keep to.
    """

    meaning: str
    names: tuple[str, ...]
    becomes: str
    unit: str
    convention: str


TABLE = (
    Meaning(
        "energy",
        ENERGIES,
        f'info["{ENERGY}"]',
        "eV",
        "total energy of the frame, the one that the forces are the derivative of: `free_energy` before `energy`. "
        "Another name: `energy_key`",
    ),
    Meaning(
        "forces",
        FORCE_COLUMNS,
        f'arrays["{FORCES}"]',
        "eV/Å",
        "-dE/dx, three columns; a gradient has the other sign and is refused. Another name: `forces_key`",
    ),
    Meaning("charge", CHARGES, 'info["charge"]', "e", "total charge, a whole number; 0 by default"),
    Meaning(
        "multiplicity",
        MULTIPLICITIES,
        'info["multiplicity"]',
        "none",
        "2S+1, also under `spin` and `total_spin` (OMol25, fairchem, MACE); must fit the number of electrons",
    ),
    Meaning("cell", ("Lattice",), "cell", "Å", "three vectors, one after the other"),
    Meaning("periodicity", ("pbc",), "pbc", "none", "T or F along each vector; all T where there is a Lattice"),
    Meaning("element", ("species",), "numbers", "none", "symbol; atomic numbers are the column `Z:I:1`"),
    Meaning("position", ("pos",), "positions", "Å", "Cartesian"),
    Meaning(
        "fixed atoms",
        ("move_mask",),
        "FixAtoms, FixCartesian",
        "none",
        "T where an atom may move, one or three columns; ASE's constraints in its own formats",
    ),
    Meaning("magnetic moments", ("initial_magmoms",), 'arrays["initial_magmoms"]', "μB", "to begin with"),
    Meaning("atomic charges", ("initial_charges",), 'arrays["initial_charges"]', "e", "to begin with"),
    Meaning("tags", ("tags",), 'arrays["tags"]', "none", "whole numbers, ASE's"),
    Meaning("kind of frame", ("config_type",), 'info["config_type"]', "none", "`IsolatedAtom` as in MACE"),
    Meaning(
        "Hessian-vector product",
        ("REF_hessian_direction", "REF_hessian_product", "REF_hessian_step"),
        "left where it is",
        "1, eV/Å², Å",
        "unit vector of all coordinates, Hessian times it, and the step of the finite difference; trained on by `fit`",
    ),
    Meaning(
        "stress, virial",
        STRESSES,
        f'info["{STRESS}"]',
        "eV/Å³, eV",
        "six components (xx, yy, zz, yz, xz, xy) or nine, positive under tension as in ASE; virial = -volume · stress. "
        "Only with pbc `T T T`. Another name: `stress_key`",
    ),
    Meaning(
        "forces that count",
        (FORCES_MASK,),
        "left where it is",
        "none",
        "T for the atoms of the core of an environment, whose forces are learnt; of such a frame nothing else is",
    ),
)


def table() -> str:
    """The table as Markdown."""
    rows = [("meaning", "names in files", "becomes", "unit", "convention"), ("---",) * 5]
    rows += [
        (
            one.meaning,
            ", ".join(f"`{name}`" for name in one.names),
            f"`{one.becomes}`" if "left" not in one.becomes else one.becomes,
            one.unit,
            one.convention,
        )
        for one in TABLE
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


# --- names that look like something ---------------------------------------------------------------------------------

_OTHER_ENERGIES = ["unit", "variance", "std", "sigma", "cutoff", "error", "weight", "kinetic", "window", "above"]
_SHORT_ENERGIES = {"e", "etot", "e_tot", "toten", "epot", "e_pot", "pe", "e0", "escf", "e_scf", "edft", "e_dft", "scf"}
_SHORT_FORCES = {"f", "frc", "fxyz"}
_VECTORS = ("vel", "moment", "magmom", "dipole", "pos", "coord", "disp", "spin", "born", "field")
_GRADIENT = re.compile(r"grad|^g$|d_?e_?(/|_by_|_)?_?d_?[xr]|jacobian")
_FOREIGN = re.compile(
    r"hartree|rydberg|kcal|kj|(?<![a-z])(ha|mha|ry|eh|au|a\.u\.?|mev|bohr|cm-1|k/mol)(?![a-z])", re.IGNORECASE
)
_PRESSURES = re.compile(r"(?<![a-z])(gpa|mpa|kpa|pa|kbar|mbar|bar|kb|atm)(?![a-z])", re.IGNORECASE)
_UNIT_WORDS = re.compile(
    r"(hartrees?|rydbergs?|kcal(/mol)?|kj(/mol)?|ha|mha|ry|eh|au|a\.u\.?|mev)(/(å|a|ang|angstrom|bohr|nm))?",
    re.IGNORECASE,
)


def like_energy(name: str, value: object) -> bool:
    """True if a header key looks like the energy of a label under an unknown name."""
    if name.startswith("committee_") or isinstance(value, bool) or not isinstance(value, (int, float, np.number, str)):
        return False
    if isinstance(value, str) and not re.match(r"\s*[+-]?\d*\.?\d", value):
        return False
    lower = name.lower().strip(":,;")
    return not any(word in lower for word in _OTHER_ENERGIES) and (
        "energ" in lower or "toten" in lower or lower in _SHORT_ENERGIES
    )


def like_forces(name: str, value: np.ndarray) -> bool:
    """True if columns look like the forces of a label under an unknown name."""
    if re.fullmatch(r"(force|forces|f)_?[xyz]", name, re.IGNORECASE) and value.ndim == 1:
        return True
    if name.startswith("committee_") or value.ndim != 2 or value.shape[1] != 3 or value.dtype.kind not in "fiu":
        return False
    lower = name.lower()
    return "forc" in lower or lower in _SHORT_FORCES or is_gradient(name)


def unknown_vectors(name: str, value: np.ndarray) -> bool:
    """True if columns are three numbers for each atom with an unknown meaning, possibly forces."""
    vectors = value.ndim == 2 and value.shape[1] == 3 and value.dtype.kind == "f"
    known = any(word in name.lower() for word in _VECTORS) or name.startswith("committee_")
    return vectors and not known


def like_stress(name: str, value: object) -> bool:
    """True if a header key looks like a stress or a virial, under a known name or another."""
    lower = name.lower()
    if name.startswith("committee_") or any(word in lower for word in (*_OTHER_ENERGIES, "uncertainty")):
        return False
    return ("stress" in lower or "virial" in lower) and np.asarray(value).shape in ((6,), (9,), (3, 3))


def is_gradient(name: str) -> bool:
    """True if a name stands for dE/dx, whose sign is opposite to a force."""
    return bool(_GRADIENT.search(name.lower())) and "forc" not in name.lower()


def like_charge(name: str) -> bool:
    """True if a header key looks like a total charge."""
    lower = name.lower()
    return ("charge" in lower and lower not in ("initial_charges", "charges")) or lower in ("q", "chg", "qtot")


def like_multiplicity(name: str) -> bool:
    """True if a header key looks like a multiplicity or a number of electrons."""
    lower = name.lower()
    if lower in ("magmom", "nelect", "n_electrons", "nelec", "uhf", "nupdown", "n_unpaired", "unpaired", "two_s", "2s"):
        return True
    return lower.startswith("multi") or "multiplic" in lower or "spin" in lower or "magnetization" in lower


def foreign_pressure(name: str) -> str | None:
    """The unit in a name, if it is one of pressure other than eV/Å³."""
    match = _PRESSURES.search(name.replace("_", " "))
    return match[0] if match else None


def foreign_unit(name: str, *, whole: bool = False) -> str | None:
    """The unit in a name, if it is one of energy or force other than eV and Å; `whole` if it must be all of it."""
    match = _UNIT_WORDS.fullmatch(name) if whole else _FOREIGN.search(name.replace("_", " "))
    return match[0] if match else None
