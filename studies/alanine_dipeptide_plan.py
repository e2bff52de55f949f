"""The study of alanine dipeptide as a plan: strategies, how large it is, and the pieces that it is made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import alanine_dipeptide_tasks as tasks
from layout import ADVERSARIAL, Layout, Strategy
from loops import run_piece
from schedule import Piece

from sparring.config import Config, load
from sparring.config.sections import AlanineDipeptide, Langevin
from sparring.surfaces.torsion_maps import GRIDS

__all__ = ["ADVERSARIAL", "ATOMS", "STRATEGIES", "TASKS", "Study", "pieces"]

EXAMPLE = Path(__file__).parents[1] / "examples" / "alanine_dipeptide.yaml"
TASKS = ("run", "maps", "free-energy")
TORSIONS = {"kind": "dihedrals", "torsions": ["phi", "psi"]}
PRESET, FOR_DYNAMICS = "laptop", "dynamics"
ATOMS = "atoms"
"""The strategy that is the preset for dynamics."""
N_GENERATIONS, N_PER_GENERATION = 5, 50
"""Of the preset."""


def random_torsions(n_labels: int) -> Strategy:
    """As many structures of the data, each with both torsions turned by any angle."""
    attack = {"kind": "random", "n_seeds": n_labels, "seeds": "random", "space": {**TORSIONS, "amplitude": "180 deg"}}
    return Strategy(title=f"random torsions, {n_labels}", changes={"attack": attack, "selection": []})


def random_torsions_and_atoms(n_labels: int) -> Strategy:
    """Likewise, and each coordinate of each atom moved by up to 0.1 Å."""
    parts = [{**TORSIONS, "amplitude": "180 deg"}, {"kind": "cartesian", "amplitude": "0.1 Å"}]
    space = {"kind": "combined", "spaces": parts}
    attack = {"kind": "random", "n_seeds": n_labels, "seeds": "random", "space": space}
    changes = {"attack": attack, "selection": []}
    title = f"random torsions and atoms, {n_labels}"
    return Strategy(title=title, preset=FOR_DYNAMICS, changes=changes, start=ATOMS)


def longer_dynamics(n_labels: int, preset: str = PRESET) -> Strategy:
    """The dynamics that gave the starting data goes on until there are that many more snapshots."""
    sampling = _sampling(load(EXAMPLE, preset))
    return Strategy(
        title=f"longer dynamics, {n_labels}" + ("" if preset == PRESET else ", trained as for dynamics"),
        preset=None if preset == PRESET else preset,
        changes={"system.sampling.duration": f"{sampling.duration + n_labels * sampling.every} fs"},
        generations=1,
        start=None,
    )


def _sampling(config: Config) -> Langevin:
    assert isinstance(config.system, AlanineDipeptide)
    return config.system.sampling


PAPER_ATTACKS = {
    "attack.n_seeds": N_PER_GENERATION,
    "attack.n_steps": 200,
    "attack.space.initial_spread": "0.01 rad",
    "attack.objective": "force_variance",
    "selection": [],
}
"""The paper's, with a fifth of its steps, each of them longer; all that they find is labelled."""
STRATEGIES = {
    ADVERSARIAL: Strategy(title="attacks on (φ, ψ)", generations=N_GENERATIONS),
    "random-200": random_torsions(200),
    "dynamics-200": longer_dynamics(200),
    "random-50": random_torsions(50),
    "paper-attacks": Strategy(title="paper's attacks", changes=PAPER_ATTACKS, generations=N_GENERATIONS),
    "boltzmann": Strategy(
        title="paper's, with Boltzmann weight",
        changes={**PAPER_ATTACKS, "attack.objective": "exp(boltzmann(20 kcal/mol)) * force_variance"},
        generations=N_GENERATIONS,
    ),
    "combined": Strategy(
        title="torsions, then atoms within 0.1 Å",
        changes={
            "attack.space": {
                "kind": "combined",
                "spaces": [
                    {**TORSIONS, "initial_spread": "1 rad"},
                    # A bound on each coordinate, 0.1 Å, lets all bonds stretch at once, by 250 kcal/mol and more.
                    {
                        "kind": "cartesian",
                        "initial_spread": "0.01 Å",
                        "bound": {"norm": 2, "radius": "0.1 Å"},
                        "scale": 0.1,
                    },
                ],
            }
        },
        generations=N_GENERATIONS,
    ),
    ATOMS: Strategy(
        title="torsions, then atoms within 1 Å", preset=FOR_DYNAMICS, generations=N_GENERATIONS, start=None
    ),
    "atoms-random-200": random_torsions_and_atoms(200),
    "atoms-dynamics-200": longer_dynamics(200, FOR_DYNAMICS),
}
"""In the order in which they are computed; names are those of folders."""


@dataclass(frozen=True, kw_only=True)
class Study(Layout):
    """What is computed, and how large.

    Attributes:
        folder: Of all runs and results.
        seeds: One run of every strategy for each.
        strategies: By name.
        tasks: Of `TASKS`.
        base: The configuration that strategies change.
        preset: Of that file.
        changes: To all runs alike.
        store: Where labels are kept, for all runs together; None for a folder of the study.
        points: Of the grids, along both torsions.
        bins: Of the free energy, along each of them.
        free_energies: Whose last committee is asked for the free energy, of all seeds.
        copies: Of the molecule in the dynamics of that.
        duration: Of each of them, in fs.
        reference: Of the dynamics of the force field, in fs.
    """

    folder: Path
    seeds: tuple[int, ...] = (0, 1, 2)
    strategies: Mapping[str, Strategy] = field(default_factory=lambda: STRATEGIES)
    tasks: tuple[str, ...] = TASKS
    base: Path = EXAMPLE
    preset: str | None = PRESET
    changes: Mapping[str, object] = field(default_factory=dict)
    store: Path | None = None
    points: tuple[int, int] = (24, 24)
    bins: int = 24
    free_energies: tuple[str, ...] = (
        ADVERSARIAL,
        "dynamics-200",
        "combined",
        ATOMS,
        "atoms-random-200",
        "atoms-dynamics-200",
    )
    copies: int = 20
    duration: float = 30_000.0
    reference: float = 4e6

    @property
    def labels(self) -> Path:
        """The folder of the labels."""
        return self.store or self.folder / "labels"

    def config(self, strategy: str, seed: int) -> Config:
        """The configuration of a run."""
        chosen = {**STRATEGIES, **self.strategies}[strategy]
        options = {"seed": seed, "generations": chosen.generations, "labels.store": str(self.labels)}
        return load(self.base, chosen.preset or self.preset, {**self.changes, **chosen.changes, **options})

    def n_more(self, strategy: str) -> int:
        """Snapshots that a strategy begins with beyond those of the attacks: they have been labelled, too."""
        own, shared = (_sampling(self.config(one, seed=0)) for one in (strategy, ADVERSARIAL))
        return round((own.duration - shared.duration) / shared.every)

    def maps(self, strategy: str, seed: int, which: str) -> Path:
        """The file with the landscapes of all committees of a run."""
        return self.folder / "results" / strategy / f"seed-{seed}" / f"{which}.json"

    def free_energy(self, strategy: str, seed: int) -> Path:
        """The file of a free energy, which is that of the last committee of a run."""
        return self.folder / "results" / strategy / f"seed-{seed}" / "free_energy.json"

    def last(self, strategy: str, seed: int) -> int:
        """The number of the last committee of a run that has ended."""
        numbers = range(1, self.strategies[strategy].generations + 1)
        return max(number for number in numbers if self.trained(strategy, seed, number))


def pieces(study: Study) -> list[Piece]:
    """All pieces of a study, in the order in which they are wanted."""
    found = []
    for seed in study.seeds:
        for strategy in study.strategies:
            if "run" in study.tasks:
                found.append(run_piece(study, strategy, seed))
            if "maps" in study.tasks:
                found += _maps(study, strategy, seed)
    if "free-energy" in study.tasks:
        found += [
            _free_energy(study, one, seed)
            for seed in study.seeds
            for one in study.free_energies
            if one in study.strategies
        ]
    return found


def _maps(study: Study, strategy: str, seed: int) -> Iterator[Piece]:
    for which in GRIDS:
        file = study.maps(strategy, seed, which)
        do = partial(tasks.maps, study.run(strategy, seed), file, which=which, points=study.points)
        ready = partial(study.ended, strategy, seed)
        yield Piece(name=f"{strategy}/seed-{seed}/{which}", done=file.exists, ready=ready, do=do)


def _free_energy(study: Study, strategy: str, seed: int) -> Piece:
    file = study.free_energy(strategy, seed)

    def do() -> None:
        tasks.free_energy(
            study.config(strategy, seed),
            study.generation(strategy, seed, study.last(strategy, seed)),
            file,
            reference=study.folder / "results" / "reference",
            n_copies=study.copies,
            duration=study.duration,
            reference_duration=study.reference,
            n_bins=study.bins,
            seed=seed,
        )

    ready = partial(study.ended, strategy, seed)
    return Piece(name=f"{strategy}/seed-{seed}/free-energy", done=file.exists, ready=ready, do=do)
