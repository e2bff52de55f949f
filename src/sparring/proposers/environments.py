"""Environments of the most uncertain atoms of large structures, as seeds of attacks and for labels."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from sparring.atoms.environments import Kind, cut_environment
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.proposers.regions import atom_variances

__all__ = ["cut"]


def cut(
    committee: Committee,
    structures: Sequence[Atoms],
    *,
    n: int = 1,
    core: float = 3.0,
    shell: float = 6.0,
    kind: Kind | None = None,
) -> list[Atoms]:
    """Cut the environments of the most uncertain atoms of each structure (:func:`sparring.atoms.environments`).

    An atom in the core of another environment gets none of its own. Each has ``info["cut_from"]``, the index of the
    atom, ``info["structure"]``, that of the structure, and ``info["atom_uncertainty_before"]``, in eV/Å.

    Args:
        committee: Committee whose forces on atoms count.
        structures: Structures of any size.
        n: Largest number of environments of a structure.
        core: Radius of the core in Å.
        shell: Thickness of the shell in Å.
        kind: "periodic" or "cluster"; by default periodic for structures that are.

    Raises:
        ValueError: If the committee does not know an element, has one member only, or a length or n is not positive.
    """
    if n < 1:
        raise ValueError(f"wanted at least one environment of each structure, got n={n}")
    committee.require_known(structures)
    batch = Structures.from_atoms(structures, ignore_constraints=True)
    spread = atom_variances(committee, batch).sqrt().cpu().split(batch.counts.tolist())
    found = []
    for index, (atoms, sigma) in enumerate(zip(structures, spread, strict=True)):
        centres: list[int] = []
        for atom in np.argsort(-sigma.numpy(), kind="stable").tolist():
            if len(centres) == n:
                break
            if centres and atoms.get_distances(atom, centres, mic=True).min() <= core:
                continue
            centres.append(atom)
            environment = cut_environment(atoms, atom, core=core, shell=shell, kind=kind)
            environment.info.update(structure=index, atom_uncertainty_before=float(sigma[atom]))
            found.append(environment)
    return found
