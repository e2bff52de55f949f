"""OpenMM systems from files: force fields by name or file, topologies, serialised systems."""

import math
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sparring.support.suggestions import did_you_mean

if TYPE_CHECKING:
    from openmm import System
    from openmm.app import Topology

__all__ = [
    "FORCEFIELDS",
    "Combination",
    "PathOrName",
    "forcefield_system",
    "imported",
    "read_system",
    "read_topology",
    "with_geometric_means",
]

Combination = Literal["geometric", "lorentz_berthelot"]
"""Combination rule for sigma of a pair of atoms: geometric mean (OPLS), or arithmetic mean (Amber, CHARMM)."""
PathOrName = str | os.PathLike[str]

FORCEFIELDS = {"opls-aa": Path(__file__).with_name("opls-aa.xml")}
"""The project's own force fields; opls-aa has ACE, ALA and NME."""


def imported() -> Any:  # noqa: ANN401 - OpenMM has no types
    """OpenMM itself.

    Raises:
        ModuleNotFoundError: If it is not installed, with the remedy.
    """
    try:
        import openmm
        import openmm.app
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('force fields need OpenMM: pip install "sparring[openmm]"') from error
    return openmm


def forcefield_system(
    forcefield: PathOrName | Sequence[PathOrName],
    topology: "Topology | PathOrName",
    *,
    combination: Combination | None = None,
) -> "System":
    """The `System` of a molecule in vacuum: no cutoff, no constraints, every bond free to vibrate.

    Args:
        forcefield: One or more of: "opls-aa", a file of OpenMM's own such as "amber14-all.xml", or a path.
        topology: The molecule, or a PDB or mmCIF file of it.
        combination: Combination rule; None for that of the files: geometric if one has ``combining_rule="geometric"``
            in its first element, as "opls-aa" and foyer's files have, and else OpenMM's own, Lorentz-Berthelot. Other
            files of OPLS, such as LigParGen's, need it here.

    Raises:
        ValueError: If a force field is not known or runs code of its own, or does not know a residue of the molecule.
        FileNotFoundError: If there is no such topology.
    """
    openmm = imported()
    names = [forcefield] if isinstance(forcefield, str | os.PathLike) else list(forcefield)
    files = [_forcefield_file(name) for name in names]
    molecule = topology if isinstance(topology, openmm.app.Topology) else read_topology(topology)
    try:
        field = openmm.app.ForceField(*map(str, files))
        # Constrained bonds have no energy, and potentials must be trained on their vibrations.
        system = field.createSystem(
            molecule, nonbondedMethod=openmm.app.NoCutoff, constraints=None, rigidWater=False, removeCMMotion=True
        )
    # What OpenMM raises for a file that is no force field depends on what is in it instead.
    except Exception as error:
        raise ValueError(
            f"OpenMM cannot apply {', '.join(map(str, names))} to the molecule: {error} (a residue without a template "
            "needs another force field file; names, bonds and hydrogens of the topology must be complete)"
        ) from error
    if combination is None:
        combination = "geometric" if "geometric" in map(_combining_rule, files) else "lorentz_berthelot"
    return with_geometric_means(system) if combination == "geometric" else system


def with_geometric_means(system: "System") -> "System":
    r"""A copy whose every pair of atoms has the geometric mean of sigma, as OPLS wants it.

    .. math:: \sigma_{ij} = \sqrt{\sigma_i \sigma_j},\quad \epsilon_{ij} = \sqrt{\epsilon_i \epsilon_j}

    OpenMM's `NonbondedForce` takes the arithmetic mean of sigma. It also lets any pair be an exception with numbers of
    its own: here all pairs are. Pairs that are exceptions already keep their charges and epsilon (zero for atoms one or
    two bonds apart, scaled for three). A second force beside it would do too, but takes 15 times as long.

    Raises:
        ValueError: If there is no `NonbondedForce` or it has a cutoff, which exceptions would not obey.
    """
    openmm = imported()
    copy = openmm.XmlSerializer.clone(system)
    nonbonded = [force for force in copy.getForces() if isinstance(force, openmm.NonbondedForce)]
    if len(nonbonded) != 1 or nonbonded[0].getNonbondedMethod() != openmm.NonbondedForce.NoCutoff:
        raise ValueError("geometric means need one NonbondedForce without a cutoff; build the system with NoCutoff")
    (force,) = nonbonded
    n_atoms = force.getNumParticles()
    atoms = [_plain(force.getParticleParameters(i)) for i in range(n_atoms)]
    known = set()
    for index in range(force.getNumExceptions()):
        i, j, charge, _, epsilon = force.getExceptionParameters(index)
        known |= {(i, j), (j, i)}
        force.setExceptionParameters(index, i, j, charge, math.sqrt(atoms[i][1] * atoms[j][1]), epsilon)
    for i in range(n_atoms):
        for j in range(i + 1, n_atoms):
            if (i, j) not in known:
                (q1, sigma1, epsilon1), (q2, sigma2, epsilon2) = atoms[i], atoms[j]
                force.addException(i, j, q1 * q2, math.sqrt(sigma1 * sigma2), math.sqrt(epsilon1 * epsilon2))
    return copy


def read_topology(file: PathOrName) -> "Topology":
    """The molecule in a PDB or mmCIF file; bonds that are not those of standard residues come from its CONECT records.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read.
    """
    openmm, path = imported(), Path(file)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no topology {path}; wanted a PDB or mmCIF file with all atoms of the molecule"
        )
    reader = openmm.app.PDBxFile if path.suffix.lower() in (".cif", ".mmcif", ".pdbx") else openmm.app.PDBFile
    try:
        return reader(str(path)).topology
    # Its parsers raise errors of any kind.
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a PDB or mmCIF file: {error}") from error


def read_system(file: PathOrName) -> "System":
    """A system that `openmm.XmlSerializer` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else.
    """
    openmm, path = imported(), Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"there is no system {path}; openmm.XmlSerializer.serialize(system) gives its text")
    try:
        text = path.read_text(encoding="utf-8")
        if "PythonForce" in text:
            raise ValueError(
                "it holds a PythonForce, code that OpenMM would run; build the system yourself and give that"
            )
        system = openmm.XmlSerializer.deserialize(text)
    except (openmm.OpenMMException, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path} is no serialised OpenMM system: {error}") from error
    if not isinstance(system, openmm.System):
        raise ValueError(f"{path} holds a {type(system).__name__}, wanted a System")
    return system


def _forcefield_file(name: PathOrName) -> Path:
    shipped = Path(imported().app.__file__).parent / "data"
    if str(name) in FORCEFIELDS:
        return FORCEFIELDS[str(name)]
    if Path(name).is_file():
        _refuse_code(Path(name))
        return Path(name)
    if (shipped / name).is_file():
        return shipped / name
    known = [*FORCEFIELDS, *(str(file.relative_to(shipped)) for file in shipped.rglob("*.xml"))]
    raise ValueError(
        f"unknown force field {str(name)!r}{did_you_mean(str(name), known)}; wanted {', '.join(FORCEFIELDS)}, a file "
        "of OpenMM's own such as amber14-all.xml, or a path"
    )


def _refuse_code(file: Path) -> None:
    """A force field may hold Python that OpenMM executes; files with Python are refused here."""
    try:
        root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"force field {file} is no XML: {error}") from error
    for tag in ("Script", "InitializationScript"):
        if root.find(f".//{tag}") is not None:
            raise ValueError(
                f"force field {file} holds a <{tag}>, Python that OpenMM would execute; build the System yourself and "
                "give that: sparring.OpenMM(system), or its XML"
            )
    for include in root.iter("Include"):
        inner = file.parent / include.attrib.get("file", "")
        if inner.is_file():
            _refuse_code(inner)


def _combining_rule(file: Path) -> str | None:
    with file.open("rb") as stream:
        _, root = next(ElementTree.iterparse(stream, events=("start",)))
    rule: str | None = root.attrib.get("combining_rule")
    return rule


def _plain(parameters: Sequence[Any]) -> tuple[float, ...]:
    """Quantities as numbers in e, nm and kJ/mol."""
    units = imported().unit.md_unit_system
    return tuple(value.value_in_unit_system(units) for value in parameters)
