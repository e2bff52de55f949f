"""Environments of atoms, cut from structures that are too large to label.

An environment has a core, about one atom, and a shell about it, within which the forces on the core are those of the
large structure as far as the potential reaches. Only the core moves in an attack.

* ``periodic``: a cell with the lattice directions of the structure, large enough for core and shell, whose lengths are
  chosen so that atoms at opposite faces fit best. Where the structure is not larger, it stays as it is.
* ``cluster``: core and shell in vacuum. Bonds to atoms outside are cut, and end in hydrogen, where both atoms have
  single bonds only and the atom outside has no second bond to the cluster; otherwise it belongs to the cluster, too.
  So small molecules stay whole. Bonds of metals are cut and left.
"""

from typing import Literal, get_args

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from sparring.atoms.environment_cells import cell_about
from sparring.atoms.environment_clusters import cluster_about
from sparring.atoms.reference import FORCES_MASK

__all__ = ["Kind", "cut_environment"]

Kind = Literal["periodic", "cluster"]


def cut_environment(
    atoms: Atoms, centre: int, *, core: float = 3.0, shell: float = 6.0, kind: Kind | None = None
) -> Atoms:
    """Cut the surroundings of an atom.

    Atoms of the core, within a distance of the centre, can move; the others are fixed
    (:class:`ase.constraints.FixAtoms`). The array ``REF_forces_mask`` is true for the core, whose forces alone are
    learnt. The first atom is the centre. ``info["cut_from"]`` is its index. A total charge is not known any more, and
    is left out; tags and initial moments stay.

    Args:
        atoms: Structure.
        centre: Index of the atom in the middle.
        core: Radius of the core in Å.
        shell: Thickness of the shell in Å. Forces on the core are exact if the labeller's interactions are no longer.
        kind: "periodic" or "cluster"; by default periodic if the structure is along any vector.

    Raises:
        ValueError: If there is no such atom, a length is not positive, or the kind is unknown or does not fit.
    """
    if not 0 <= centre < len(atoms):
        raise ValueError(f"the centre of an environment must be an atom from 0 to {len(atoms) - 1}, got {centre}")
    if not (core > 0 and shell > 0):
        raise ValueError(f"core and shell of an environment must be positive lengths, got {core} Å and {shell} Å")
    kind = kind or ("periodic" if atoms.pbc.any() else "cluster")
    if kind not in get_args(Kind):
        raise ValueError(f"an environment is {' or '.join(get_args(Kind))}, got {kind!r}")
    if kind == "periodic" and not atoms.pbc.any():
        raise ValueError("a structure without periodic boundaries has no periodic environments; cut a cluster")
    about = cell_about if kind == "periodic" else cluster_about
    cut = about(_bare(atoms), centre, core + shell)
    distance = np.linalg.norm(cut.get_distances(0, range(len(cut)), mic=True, vector=True), axis=1)
    inside = (distance <= core) & (cut.arrays.pop("cap") == 0)
    cut.set_constraint(FixAtoms(indices=np.flatnonzero(~inside)))
    cut.set_array(FORCES_MASK, inside)
    cut.info["cut_from"] = centre
    return cut


def _bare(atoms: Atoms) -> Atoms:
    """A copy with tags, initial moments and charges only."""
    kept = ("numbers", "positions", "tags", "initial_magmoms", "initial_charges")
    bare: Atoms = atoms.copy()
    bare.set_constraint()
    bare.info.clear()
    for name in set(bare.arrays) - set(kept):
        del bare.arrays[name]
    return bare
