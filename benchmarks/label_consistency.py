"""How often slips of sign, unit and order in labels are recognised from the energies and forces of a file alone.

Every data set is labelled by one method, so that anything that is found in it as it is would be a false alarm. Then
each slip is put into it.

    python benchmarks/label_consistency.py
    python benchmarks/label_consistency.py held_out      # sets that no threshold was chosen on
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.inputs.extxyz import read_structures
from sparring.labels import FromCalculator, label, labelled_atoms
from sparring.labels.base import Label
from sparring.plausibility import inconsistencies
from sparring.starting_data.sampling import normal_mode_sample
from sparring.units import BOHR, HARTREE, KCAL_PER_MOL, KJ_PER_MOL

EXAMPLES = Path(__file__).parents[1] / "examples"
N_FRAMES = 30


def labelled(frames: Sequence[Atoms], calculator: BaseCalculator) -> list[Atoms]:
    """Copies of the frames with energies and forces."""
    copies = []
    for frame in frames:
        atoms = frame.copy()
        atoms.calc = calculator
        atoms.info[ENERGY] = float(atoms.get_potential_energy())
        atoms.arrays[FORCES] = atoms.get_forces(apply_constraint=False)
        atoms.calc = None
        copies.append(atoms)
    return copies


def rattled(atoms: Atoms, calculator: BaseCalculator, stdev: float) -> list[Atoms]:
    """Frames with every coordinate displaced at random."""
    generator = np.random.default_rng(0)
    frames = [atoms.copy() for _ in range(N_FRAMES)]
    for frame in frames:
        frame.positions += generator.normal(scale=stdev, size=frame.positions.shape)
    return labelled(frames, calculator)


def trajectory(atoms: Atoms, calculator: BaseCalculator, every: int, temperature: float = 300.0) -> list[Atoms]:
    """Frames of Langevin dynamics, with a time step of 0.5 fs."""
    moving = atoms.copy()
    moving.calc = calculator
    generator = np.random.RandomState(0)
    MaxwellBoltzmannDistribution(moving, temperature_K=temperature, rng=generator)
    dynamics = Langevin(moving, 0.5 * units.fs, temperature_K=temperature, friction=0.02, rng=generator)
    frames = []
    for _ in range(N_FRAMES):
        dynamics.run(every)
        frames.append(moving.copy())
    return labelled(frames, calculator)


def normal_modes(atoms: Atoms, calculator: BaseCalculator) -> list[Atoms]:
    """Thermal displacements along normal modes."""
    labeller = FromCalculator(calculator, method="benchmark")

    def label_many(frames: Sequence[Atoms]) -> list[Atoms]:
        labels = label(frames, labeller).labels
        return [labelled_atoms(a, one, "") for a, one in zip(frames, labels, strict=True) if isinstance(one, Label)]

    sample = normal_mode_sample(atoms, calculator, label_many, n_structures=N_FRAMES, seed=0)
    return sample.structures


def noisy(frames: Sequence[Atoms], energy: float, force: float) -> list[Atoms]:
    """The frames with normal noise in their labels, as of loosely converged calculations."""
    generator = np.random.default_rng(1)
    return [
        changed(
            one,
            one.info[ENERGY] + generator.normal(scale=energy),
            one.arrays[FORCES] + generator.normal(scale=force, size=one.positions.shape),
        )
        for one in frames
    ]


def data_sets() -> Iterator[tuple[str, list[Atoms]]]:
    """Sets by name: rattled frames, trajectories, normal modes, of molecules and crystals."""
    from tblite.ase import TBLite

    gfn = TBLite(method="GFN2-xTB", verbosity=0)
    glycol = read_structures(EXAMPLES / "own_molecule.xyz")[0]
    peptide = read_structures(Path(__file__).with_name("alanine_dipeptide.xyz"))[0]
    copper = bulk("Cu", cubic=True) * (2, 2, 2)
    alloy = copper.copy()
    alloy.numbers[::4] = 79
    dimer = molecule("H2O")
    dimer += Atoms("OH2", dimer.positions + np.array([0, 0, 2.9]))
    for stdev in (0.01, 0.03, 0.06, 0.12):
        yield f"own_molecule, rattled by {stdev} Å", rattled(glycol, gfn, stdev)
    yield "NH3, rattled by 0.1 Å", rattled(molecule("NH3"), gfn, 0.1)
    yield "water dimer, rattled by 0.03 Å", rattled(dimer, gfn, 0.03)
    yield "own_molecule, normal modes 250-750 K", normal_modes(glycol, gfn)
    yield "NH3, normal modes 250-750 K", normal_modes(molecule("NH3"), gfn)
    for every in (1, 4, 20):
        yield f"own_molecule, MD 300 K every {every / 2:g} fs", trajectory(glycol, gfn, every)
    yield "own_molecule, MD 1000 K every 2 fs", trajectory(glycol, gfn, 4, 1000.0)
    yield "alanine dipeptide, MD 300 K every 2 fs", trajectory(peptide, gfn, 4)
    yield "Cu32, rattled by 0.03 Å", rattled(copper, EMT(), 0.03)
    yield "Cu32, MD 600 K every 5 fs", trajectory(copper, EMT(), 10, 600.0)
    yield "Cu24Au8, MD 300 K every 10 fs", trajectory(alloy, EMT(), 20)
    yield "alanine dipeptide, MD, noise 1 meV and 20 meV/Å", noisy(trajectory(peptide, gfn, 4), 1e-3, 0.02)
    yield "NH3, rattled by 0.03 Å, noise 1 meV and 20 meV/Å", noisy(rattled(molecule("NH3"), gfn, 0.03), 1e-3, 0.02)
    yield "Cu32, MD, noise 5 meV and 50 meV/Å", noisy(trajectory(copper, EMT(), 10, 600.0), 5e-3, 0.05)


def held_out_sets() -> Iterator[tuple[str, list[Atoms]]]:
    """Sets of other molecules, of another method and another metal."""
    from tblite.ase import TBLite

    gfn = TBLite(method="GFN1-xTB", verbosity=0)
    hot = molecule("NH3")
    hot.rattle(0.3, seed=3)
    yield "benzene, rattled by 0.05 Å", rattled(molecule("C6H6"), gfn, 0.05)
    yield "acetamide, MD 500 K every 3 fs", trajectory(molecule("CH3CONH2"), gfn, 6, 500.0)
    yield "methanethiol, normal modes 250-750 K", normal_modes(molecule("CH3SH"), gfn)
    yield "Al32, MD 400 K every 8 fs", trajectory(bulk("Al", cubic=True) * (2, 2, 2), EMT(), 16, 400.0)
    yield "NH3, MD 2000 K every 1 fs", trajectory(hot, gfn, 2, 2000.0)
    yield "silane, rattled by 0.08 Å", rattled(molecule("SiH4"), gfn, 0.08)
    yield "NaCl molecule, rattled by 0.1 Å", rattled(molecule("NaCl"), gfn, 0.1)
    yield "CO2, rattled by 0.05 Å", rattled(molecule("CO2"), gfn, 0.05)
    yield "H2O, MD every 0.5 fs, noise 2 meV and 50 meV/Å", noisy(trajectory(molecule("H2O"), gfn, 1), 2e-3, 0.05)


def changed(atoms: Atoms, energy: float | None = None, forces: np.ndarray | None = None) -> Atoms:
    """A copy with another label."""
    copy: Atoms = atoms.copy()
    if energy is not None:
        copy.info[ENERGY] = float(energy)
    if forces is not None:
        copy.arrays[FORCES] = np.asarray(forces)
    return copy


def scaled(energy: float = 1.0, force: float = 1.0, length: float = 1.0) -> Callable[[list[Atoms]], list[Atoms]]:
    """Labels in other units, which are read as eV and eV/Å; positions in units of so many Å."""

    def change(frames: list[Atoms]) -> list[Atoms]:
        made = [changed(one, one.info[ENERGY] / energy, one.arrays[FORCES] / force) for one in frames]
        for one in made:
            one.set_cell(one.cell.array / length)
            one.positions /= length
        return made

    return change


def shifted(name: str) -> Callable[[list[Atoms]], list[Atoms]]:
    """Energies or forces of the seventh frame after."""

    def change(frames: list[Atoms]) -> list[Atoms]:
        others = frames[7:] + frames[:7]
        return [
            changed(one, other.info[ENERGY], None) if name == ENERGY else changed(one, None, other.arrays[FORCES])
            for one, other in zip(frames, others, strict=True)
        ]

    return change


def reordered(frames: list[Atoms]) -> list[Atoms]:
    """Forces in another order of the atoms."""
    return [changed(one, None, np.roll(one.arrays[FORCES], 1, axis=0)) for one in frames]


SLIPS: dict[str, tuple[Callable[[list[Atoms]], list[Atoms]], str]] = {
    "gradients for forces": (scaled(force=-1.0), "gradients"),
    "energies of opposite sign": (scaled(energy=-1.0), "opposite sign"),
    "energies in kcal/mol": (scaled(energy=KCAL_PER_MOL), "kcal/mol"),
    "energies in kJ/mol": (scaled(energy=KJ_PER_MOL), "kJ/mol"),
    "energies in Hartree": (scaled(energy=HARTREE), "Hartree with eV/Å"),
    "forces in Hartree/Bohr": (scaled(force=HARTREE / BOHR), "eV with Hartree/Bohr"),
    "forces in kcal/mol/Å": (scaled(force=KCAL_PER_MOL), "eV with kcal/mol/Å"),
    "forces in kJ/mol/Å": (scaled(force=KJ_PER_MOL), "eV with kJ/mol/Å"),
    "forces in eV/Bohr": (scaled(force=1 / BOHR), "eV with eV/Bohr"),
    "Hartree, Hartree/Bohr": (scaled(HARTREE, HARTREE / BOHR), "Hartree with Hartree/Bohr"),
    "kJ/mol, kJ/mol/nm": (scaled(KJ_PER_MOL, KJ_PER_MOL / 10), "kJ/mol"),
    "gradients in Hartree/Bohr": (scaled(force=-HARTREE / BOHR), "gradients"),
    "positions in Bohr": (scaled(length=BOHR), "Bohr"),
    "positions in nm": (scaled(length=10.0), "nm"),
    "energies of other frames": (shifted(ENERGY), "do not belong together"),
    "forces of other frames": (shifted(FORCES), "do not belong together"),
    "forces in another order": (reordered, "do not belong together"),
}
"""Slips, each with the words by which it is recognised."""


def outcome(frames: Sequence[Atoms], words: str) -> str:
    """Result of the check: named (with its cause), found (stopped with another cause) or missed."""
    found = inconsistencies(frames, "file")
    stops = [one.text for one in found if one.severity == "stop"]
    if not stops:
        return "missed"
    return "named" if any(words in text for text in stops) else "found"


def main() -> None:
    """Print the table."""
    alarms: list[str] = []
    results: dict[str, list[str]] = {slip: [] for slip in SLIPS}
    names: list[str] = []
    for name, frames in held_out_sets() if "held_out" in sys.argv else data_sets():
        names.append(name)
        found = inconsistencies(frames, "file")
        alarms += [name] if found else []
        print(f"{name}: {found[0].text if found else 'no alarm'}")
        for slip, (change, words) in SLIPS.items():
            results[slip].append(outcome(change(frames), words))
    print(f"\nfalse alarms in {len(alarms)} of {len(names)} data sets: {', '.join(alarms) or 'none'}\n")
    print("| slip | named | found otherwise | missed | missed in |\n|---|---|---|---|---|")
    for slip, outcomes in results.items():
        missed = ", ".join(name for name, one in zip(names, outcomes, strict=True) if one != "named")
        counts = [str(outcomes.count(one)) for one in ("named", "found", "missed")]
        print(f"| {slip} | {' | '.join(counts)} | {missed} |")


if __name__ == "__main__":
    main()
