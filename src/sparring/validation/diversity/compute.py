"""Diversity of labelled structures: a similarity map, the RMSD of each to its ground state, and its novelty.

The paper's Fig. 3a-c. A map preserves neighbourhoods, not distances. Novelty is therefore measured between SOAP
vectors, without the map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from jaxtyping import Float, Int

from sparring.atoms.composition import composition
from sparring.atoms.dataset import ENERGY, FORCES
from sparring.atoms.geometry import rmsd_matrix
from sparring.inputs.reading import read_atoms
from sparring.runs.generation import Generation
from sparring.runs.saved_run import generations
from sparring.validation.diversity.embedding import distance_to_nearest, nearest, soap, umap_embedding

__all__ = ["Diversity", "diversity", "gather"]

Composition = tuple[str, bool]
"""Sorted atomic numbers, and whether the structure is periodic."""


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """Similarity map, energies, distortion and novelty of labelled structures, one row each.

    Attributes:
        map: Positions in a 2D UMAP embedding of the SOAP vectors. The axes have no unit.
        energy: Energies in eV above the lowest label of the composition.
        rmsd: Root mean square distance of the atoms to those of the composition's ground state, in Å.
        novelty: Distance between SOAP vectors: to the nearest structure of the training set that this one was added
            to; nan for what runs started with.
        spacing: The median distance of the structures of that training set to their nearest neighbours in it: what
            `novelty` is to be compared with.
        source: Origins: normal_mode, attack, random, file and others.
        generation: First training set that contains the structure: 1 for starting data, 2 for structures that were
            found with the first committee; 0 if it is not known.
        runs: Runs or files that contain the structure.
        n_neighbors: Number of neighbours of the embedding, the structure itself included.
        seed: Random seed of the embedding.
    """

    map: Float[np.ndarray, "n_structures 2"]
    energy: Float[np.ndarray, " n_structures"]
    rmsd: Float[np.ndarray, " n_structures"]
    novelty: Float[np.ndarray, " n_structures"]
    spacing: Float[np.ndarray, " n_structures"]
    source: tuple[str, ...]
    generation: Int[np.ndarray, " n_structures"]
    runs: tuple[tuple[str, ...], ...]
    n_neighbors: int
    seed: int

    def groups(self) -> dict[str, Int[np.ndarray, " n_members"]]:
        """Rows of each group by its name; starting data comes first.

        Names count generations as the report does: "attack, generation 1" was found with the first committee.
        """
        everyone = {run for runs in self.runs for run in runs}
        members: dict[tuple[bool, str], list[int]] = {}
        for row in np.lexsort((np.arange(len(self.source)), self.generation)).tolist():
            generation, runs = int(self.generation[row]), self.runs[row]
            name = _group_name(self.source[row], generation, () if everyone == set(runs) else runs)
            members.setdefault((generation > 1, name), []).append(row)
        return {key[1]: np.array(members[key]) for key in sorted(members, key=lambda key: key[0])}


def diversity(
    structures: Sequence[Atoms],
    *,
    reference: Atoms | Sequence[Atoms] | None = None,
    seed: int,
    n_neighbors: int = 15,
    permute: bool = True,
    reflect: bool = False,
) -> Diversity:
    """Map labelled structures, and measure how far each is from its ground state and from what was known before it.

    ``info`` of a structure holds its label, ``REF_energy`` in eV, and may hold ``source``, ``generation`` and ``runs``,
    as `gather` gives them. Compositions may differ, and molecules and crystals stand side by side.

    RMSDs of molecules are those after the best translation, rotation and exchange of like atoms. The two mirror images
    of a chiral molecule are apart there unless `reflect` lets one become the other; on the map and in novelty they
    always fall together, because SOAP does not know left from right. RMSDs of crystals compare like-numbered atoms, at
    their nearest images, after the best translation, in the reference's cell: homogeneous strain does not count.

    Args:
        structures: Structures in any order. Equal ones get the same position.
        reference: Ground states, at most one of a composition; without, it is the structure of the lowest label. Labels
            of references count among the lowest.
        seed: Random seed of the embedding.
        n_neighbors: Number of neighbours, see :func:`sparring.validation.diversity.embedding.umap_embedding`.
        permute: True if atoms of one element in a molecule may be exchanged.
        reflect: True if a molecule may be mirrored.

    Raises:
        ValueError: If a structure has no label or no real atoms, fewer than four differ, or a reference fits none.
        ModuleNotFoundError: If DScribe or umap-learn is not installed.
    """
    _require_labels(structures)
    given = [reference] if isinstance(reference, Atoms) else list(reference or ())
    keys = [_composition(atoms) for atoms in structures]
    grounds = _ground_states(structures, keys, given)
    lowest = _lowest_energies([*structures, *(atoms for atoms in given if ENERGY in atoms.info)])
    rmsd = [
        _rmsd(one, grounds[key], permute=permute, reflect=reflect) for one, key in zip(structures, keys, strict=True)
    ]
    energy = [_energy(one) - lowest[key] for one, key in zip(structures, keys, strict=True)]
    vectors = soap(structures)
    mapped, n_neighbors = umap_embedding(vectors, seed=seed, n_neighbors=n_neighbors)
    generation = np.array([int(atoms.info.get("generation", 0)) for atoms in structures])
    runs = tuple(tuple(str(run) for run in atoms.info.get("runs", ())) for atoms in structures)
    novelty, spacing = _novelty(vectors, generation, runs)
    return Diversity(
        map=mapped,
        energy=np.array(energy),
        rmsd=np.array(rmsd),
        novelty=novelty,
        spacing=spacing,
        source=tuple(str(atoms.info.get("source", "file")) for atoms in structures),
        generation=generation,
        runs=runs,
        n_neighbors=n_neighbors,
        seed=seed,
    )


def gather(paths: Sequence[Path], *, energy_key: str = ENERGY, forces_key: str = FORCES) -> list[Atoms]:
    """The labelled structures of run folders and files, each once, with the names of all that hold it.

    A run folder gives what it started with and all that it labelled, a generation's folder its training set. Names are
    those of folders and files, or whole paths where these are equal, and stand under ``info["runs"]``.

    Args:
        paths: Run folders, folders of generations, files of extended XYZ.
        energy_key: Name of the energies in files, in eV.
        forces_key: Name of the forces in files, in eV/Å.

    Raises:
        ValueError: If a folder has no labelled structures, or a file cannot be used.
        OSError: If a file cannot be opened.
    """
    names = [path.resolve().name if path.is_dir() else path.stem for path in paths]
    names = [str(path) if names.count(name) > 1 else name for path, name in zip(paths, names, strict=True)]
    found: dict[tuple[object, ...], Atoms] = {}
    for path, name in zip(paths, names, strict=True):
        frames = _of_folder(path) if path.is_dir() else _of_file(path, energy_key, forces_key)
        for atoms in frames:
            atoms.info = {"source": "file", "generation": 0, **atoms.info}
            geometry = (part.tobytes() for part in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc))
            key = (*geometry, *(atoms.info[entry] for entry in (ENERGY, "source", "generation")))
            runs = found.setdefault(key, atoms).info.setdefault("runs", [])
            if name not in runs:
                runs.append(name)
    return list(found.values())


def _of_file(path: Path, energy_key: str, forces_key: str) -> list[Atoms]:
    return read_atoms(path, labels="required", energy_key=energy_key, forces_key=forces_key, allow_dummy=True)


def _of_folder(folder: Path) -> list[Atoms]:
    """Labelled structures of a run, or the training set of a generation."""
    if Generation(folder).has_dataset:
        return Generation(folder).frames()
    with_data = [generation for generation in generations(folder) if generation.has_dataset]
    if not with_data:
        raise ValueError(f"{folder} has no generation-*/dataset.extxyz; give the folder of a `sparring run`, or a file")
    # A training set holds all that came before it. What its own generation labelled is in the next, if there is one.
    last = with_data[-1]
    fresh = last.labelled()
    for atoms in fresh:
        atoms.info["generation"] = last.number + 1
    return [*last.frames(), *fresh]


def _group_name(source: str, generation: int, runs: Sequence[str]) -> str:
    words = source.replace("_", " ")
    if generation == 1:
        words = f"{words}, start"
    elif generation > 1:
        words = f"{words}, generation {generation - 1}"
    if not runs:
        return words
    # Of a file that says nothing of its structures the name says all.
    return " + ".join(runs) if (source, generation) == ("file", 0) else f"{' + '.join(runs)}: {words}"


def _require_labels(structures: Sequence[Atoms]) -> None:
    for index, atoms in enumerate(structures):
        if ENERGY not in atoms.info:
            raise ValueError(f"structure {index} ({atoms.symbols}) has no info[{ENERGY!r}]; label it (sparring label)")
        if not atoms.numbers.all():
            raise ValueError(f"structure {index} has the dummy atom X of a toy well; diversity compares real molecules")


def _composition(atoms: Atoms) -> Composition:
    return composition(atoms), bool(atoms.pbc.any())


def _energy(atoms: Atoms) -> float:
    return float(atoms.info[ENERGY])


def _lowest_energies(structures: Sequence[Atoms]) -> dict[Composition, float]:
    lowest: dict[Composition, float] = {}
    for atoms in structures:
        key = _composition(atoms)
        lowest[key] = min(lowest.get(key, np.inf), _energy(atoms))
    return lowest


def _ground_states(
    structures: Sequence[Atoms], keys: Sequence[Composition], given: Sequence[Atoms]
) -> dict[Composition, Atoms]:
    grounds: dict[Composition, Atoms] = {}
    for atoms in given:
        key = _composition(atoms)
        if key not in keys or key in grounds:
            fault = "the second of its composition" if key in grounds else "of none of these compositions"
            known = ", ".join(sorted({composition(one) for one in structures}))
            raise ValueError(f"the reference {composition(atoms)} is {fault}; wanted one each of {known}")
        grounds[key] = atoms
    for atoms, key in sorted(zip(structures, keys, strict=True), key=lambda pair: _energy(pair[0])):
        grounds.setdefault(key, atoms)
    return grounds


def _rmsd(atoms: Atoms, ground: Atoms, *, permute: bool, reflect: bool) -> float:
    by_element, by_element_of_ground = (np.argsort(one.numbers, kind="stable") for one in (atoms, ground))
    there = ground.positions[by_element_of_ground]
    if not atoms.pbc.any():
        pair = np.stack([atoms.positions[by_element], there])
        return float(rmsd_matrix(pair, atoms.numbers[by_element], permute=permute, reflect=reflect)[0, 1])
    cell = ground.cell.complete()
    moved = atoms.cell.complete().scaled_positions(atoms.positions[by_element]) @ cell.array - there
    # As seen from one atom, a translation of all sends none of them to another image.
    moved, _ = find_mic(moved - moved[0], cell, ground.pbc)
    return float(np.sqrt(((moved - moved.mean(axis=0)) ** 2).sum(axis=1).mean()))


def _novelty(
    vectors: Float[np.ndarray, "n_structures n_features"],
    generation: Int[np.ndarray, " n_structures"],
    runs: Sequence[tuple[str, ...]],
) -> tuple[Float[np.ndarray, " n_structures"], Float[np.ndarray, " n_structures"]]:
    """Distance of each structure to the training set that it was added to, and the spacing of that set."""
    novelty, spacing = np.full(len(vectors), np.nan), np.full(len(vectors), np.nan)
    kinds = list(zip(generation.tolist(), runs, strict=True))
    for now, own in dict.fromkeys(kinds):
        added = np.array([kind == (now, own) for kind in kinds])
        known = np.array([0 < before < now and (own == one or not set(own).isdisjoint(one)) for before, one in kinds])
        if known.any():
            novelty[added] = distance_to_nearest(vectors[added], vectors[known])
        if known.sum() > 1:
            spacing[added] = np.median(nearest(vectors[known], 2)[1][:, 1])
    return novelty, spacing
