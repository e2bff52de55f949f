"""How many labels a run takes, what they are for, and how long they take on the cores that there are."""

from dataclasses import dataclass
from typing import NamedTuple

from ase import Atoms

from sparring.assembly.proposing import candidates_per_seed
from sparring.config import Config, sections
from sparring.labels import Label, n_langevin_snapshots
from sparring.plausibility import Finding
from sparring.starting_data.sampling import n_hessian_labels
from sparring.support.cores import Cores, cores
from sparring.systems.own import is_labelled

__all__ = ["Counts", "Estimate", "count_labels", "shown_duration"]

RELAXATION_STEPS = (10, 40)
"""Labels that relaxing a molecule typically takes, one after the other; it may take up to 300."""


class Counts(NamedTuple):
    """Labels of a run.

    Attributes:
        n_start: Labels before the first training, without those of relaxations.
        n_hessian: Those of them that Hessians by central differences take.
        n_relaxations: Relaxations, in which labels wait for one another.
        n_attacks: Labels of attacks in all generations, at most.
    """

    n_start: int
    n_hessian: int
    n_relaxations: int
    n_attacks: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run would do, and what one label costs.

    Attributes:
        method: Method of the labels.
        label: Label of a structure that the run would begin with.
        n_start: Labels to begin with, about; without those of relaxations.
        n_labels: Labels of attacks in all generations, at most.
        n_generations: Committees that are trained.
        n_hessian: Labels to begin with that are displaced structures of Hessians.
        n_relaxations: Relaxations, each of which takes further labels.
        n_compared: Labels that comparing the file's labels with the labeller's takes.
        n_workers: Processes that label.
        cores: Cores that this process may use; None for those that there are when it is asked.
        seconds_per_label: Time that a label took here, in seconds.
        findings: Faults and doubts about the input.
    """

    method: str
    label: Label
    n_start: int
    n_labels: int
    n_generations: int
    n_hessian: int = 0
    n_relaxations: int = 0
    n_compared: int = 0
    n_workers: int = 1
    cores: Cores | None = None
    seconds_per_label: float = 0.0
    findings: tuple[Finding, ...] = ()

    @property
    def seconds(self) -> float:
        """Time that all labels take on this machine, in seconds; relaxations with a typical number of steps."""
        parallel = self.n_start + self.n_labels + self.n_compared
        at_once = max(1, min(self.n_workers, (self.cores or cores()).n))
        in_turn = self.n_relaxations * sum(RELAXATION_STEPS) / 2
        return (parallel / at_once + in_turn) * self.seconds_per_label

    def lines(self) -> list[str]:
        """The estimate in words, one line each."""
        low, high = RELAXATION_STEPS
        hessian = f"{self.n_hessian} of {self.n_start} labels to begin with are displaced structures of Hessians"
        relaxations = (
            f"{self.n_relaxations} relaxation{'s' * (self.n_relaxations > 1)} on top: each of {low} to {high} labels "
            "as a rule, 300 at most, one after the other"
        )
        stops = any(finding.severity == "stop" for finding in self.findings)
        agree = "they differ, see below" if stops else "nothing against mixing them was found"
        compared = f"{self.n_compared} labels of the file are computed once more, to compare them: {agree}"
        workers = f"{self.n_workers} worker{'s' * (self.n_workers > 1)}"
        limit = self.cores or cores()
        there = f"{limit.n} core{'s' * (limit.n > 1)} (limited by {limit.limited_by})"
        total = (
            f"all labels take {shown_duration(self.seconds)}, at {self.seconds_per_label:.2g} s each with "
            f"{workers} on {there}; training is not counted, and one that is interrupted begins anew"
        )
        return [
            *([hessian] if self.n_hessian else []),
            *([relaxations] if self.n_relaxations else []),
            *([compared] if self.n_compared else []),
            total,
        ]


def count_labels(config: Config, structures: list[Atoms]) -> Counts:
    """The labels of a run that begins with these structures."""
    n_hessian, n_relaxations = _n_hessian(config, structures)
    system = config.system
    if isinstance(system, sections.Ammonia):
        n_start = system.n_structures + n_hessian
    elif isinstance(system, sections.AlanineDipeptide):
        n_start = _n_snapshots(system.sampling)
    else:
        enlarge = system.enlarge if isinstance(system, sections.Own) else None
        n_unlabelled = sum(not is_labelled(atoms) for atoms in structures)
        n_start = n_unlabelled + n_hessian + _n_added(enlarge, structures)
    return Counts(n_start, n_hessian, n_relaxations, _n_attacks(config, structures))


def _n_hessian(config: Config, structures: list[Atoms]) -> tuple[int, int]:
    """Labels of Hessians, and relaxations."""
    system = config.system
    if isinstance(system, sections.Ammonia):
        # The minimum to begin with, and for the barrier the pyramid and the planar molecule.
        return 6 * 4, 3
    if not isinstance(system, sections.Own) or not isinstance(system.enlarge, sections.NormalModes):
        return 0, 0
    # Structures are shared out over the frames with more than one atom, the first ones first.
    frames = [atoms for atoms in structures if len(atoms) > 1][: system.enlarge.n_structures]
    return sum(map(n_hessian_labels, frames)), len(frames)


def _n_added(
    enlarge: sections.NormalModes | sections.Displacements | sections.Langevin | None, structures: list[Atoms]
) -> int:
    """By how many structures a file is enlarged, without the minima that normal modes need."""
    if isinstance(enlarge, sections.Langevin):
        return len(structures) * _n_snapshots(enlarge)
    return enlarge.n_structures if enlarge else 0


def _n_snapshots(section: sections.Langevin) -> int:
    return n_langevin_snapshots(duration=section.duration, every=section.every, timestep=section.timestep)


def _n_attacks(config: Config, structures: list[Atoms]) -> int:
    """Labels of attacks, if every attack passes the selection but for its budgets."""
    system, n_data = config.system, len(structures)
    if isinstance(system, sections.Ammonia):
        n_data = system.n_structures
    elif isinstance(system, sections.AlanineDipeptide):
        n_data = _n_snapshots(system.sampling)
    elif isinstance(system, sections.Own):
        n_minima = _n_hessian(config, structures)[1]
        n_data += _n_added(system.enlarge, structures) + n_minima
    budgets = [step.n for step in config.selection if isinstance(step, sections.Budget)]
    n_labels = 0
    for _ in range(config.generations - 1):
        n_seeds = config.attack.n_seeds or n_data + n_labels
        n_labels += min([n_seeds * candidates_per_seed(config), *budgets])
    return n_labels


def shown_duration(seconds: float) -> str:
    """About how long, as people say it.

    >>> shown_duration(0.4), shown_duration(480.0), shown_duration(1e5)
    ('less than a second', 'about 8 min', 'about 28 h')
    """
    for size, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s")):
        if seconds >= 2 * size or (name == "s" and seconds >= 1):
            return f"about {seconds / size:.{0 if seconds >= 10 * size else 1}f} {name}".replace(".0 ", " ")
    return "less than a second"
