"""Number of labels of a run by purpose, and the time that they take on the available cores."""

from dataclasses import dataclass
from typing import NamedTuple

from ase import Atoms

from sparring.assembly.proposing import n_candidates
from sparring.config import Config, sections
from sparring.labels import Label
from sparring.plausibility import Finding
from sparring.support.cores import Cores, cores
from sparring.systems.base import StartCost, System
from sparring.systems.own.structures import is_labelled

__all__ = ["Counts", "Estimate", "count_labels", "offline_lines", "shown_duration"]

RELAXATION_STEPS = (10, 40)
"""Typical numbers of labels of a relaxation, one after the other; the maximum is 300."""


class Counts(NamedTuple):
    """Labels of a run.

    Attributes:
        n_start: Number of labels before the first training, without those of relaxations.
        n_hessian: Number of these labels that are for Hessians by central differences.
        n_relaxations: Number of relaxations, whose labels are computed one after the other.
        n_attacks: Maximum number of labels of attacks in all generations.
    """

    n_start: int
    n_hessian: int
    n_relaxations: int
    n_attacks: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Cost of a run.

    Attributes:
        method: Method of the labels.
        label: Label of a starting structure; None for offline labels, of which none is computed.
        n_start: Approximate number of labels before the first training, without those of relaxations.
        n_labels: Maximum number of labels of attacks in all generations.
        n_generations: Number of committees that are trained.
        n_hessian: Number of starting labels that are displaced structures of Hessians.
        n_relaxations: Number of relaxations, each of which needs further labels.
        n_compared: Number of labels of the file that are computed again for comparison.
        n_workers: Number of processes that compute labels.
        cores: Cores that this process may use; None for a new count.
        seconds_per_label: Time of one label on this machine, in seconds.
        findings: Problems of the input.
        n_crystals: Number of structures that are periodic in all three directions.
        n_with_stress: Number of these with a stress in the file.
        labels_have_stress: True if labels of them have a stress; None if none was computed.
    """

    method: str
    label: Label | None
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
    n_crystals: int = 0
    n_with_stress: int = 0
    labels_have_stress: bool | None = None

    @property
    def seconds(self) -> float:
        """Time that all labels take on this machine, in seconds; relaxations with a typical number of steps."""
        parallel = self.n_start + self.n_labels + self.n_compared
        at_once = max(1, min(self.n_workers, (self.cores or cores()).n))
        in_turn = self.n_relaxations * sum(RELAXATION_STEPS) / 2
        return (parallel / at_once + in_turn) * self.seconds_per_label

    def lines(self) -> list[str]:
        """The estimate as lines of text."""
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
            *([self._stresses()] if self.n_crystals else []),
            total,
        ]

    def _stresses(self) -> str:
        """Number of crystals with a stress, in words."""
        in_file = f"{self.n_with_stress} of {self.n_crystals} crystals have a stress in the file"
        known = {True: ", new labels have one, too", False: ", new labels have none", None: ""}
        return in_file + known[self.labels_have_stress]


def offline_lines(estimate: Estimate) -> list[str]:
    """The labels of a run that are computed elsewhere, as lines of text."""
    start = (
        f"about {estimate.n_start} structures to begin with, and" if estimate.n_start else "no structure of the file;"
    )
    return [
        f"offline labels by {estimate.method}: none is computed here",
        f"{start} at most {estimate.n_labels} from attacks are written to generation-NN/offline/to_label.extxyz in the "
        "run folder",
        "the run stops there with exit code 3, reads labels from the same folder, and goes on when all are there",
        f"{estimate.n_generations} committees are trained",
    ]


def count_labels(config: Config, system: System, structures: list[Atoms]) -> Counts:
    """The labels of a run that begins with these structures."""
    if system.cost is None:
        cost = StartCost(sum(not is_labelled(atoms) for atoms in structures), len(structures))
    else:
        cost = system.cost(structures)
    return Counts(cost.n_labels, cost.n_hessian, cost.n_relaxations, _n_attacks(config, cost.n_structures, structures))


def _n_attacks(config: Config, n_data: int, structures: list[Atoms]) -> int:
    """Labels of attacks, if every attack passes the selection but for its budgets."""
    budgets = [
        step.n for step in config.selection if isinstance(step, sections.Budget | sections.MaxDet | sections.LCMD)
    ]
    n_labels = 0
    n_attacked = config.generations - (config.labels.labeller.kind != "none")
    for _ in range(n_attacked):
        n_labels += min([sum(n_candidates(config, n_data + n_labels, structures).values()), *budgets])
    return n_labels


def shown_duration(seconds: float) -> str:
    """A duration in the largest suitable unit.

    >>> shown_duration(0.4), shown_duration(480.0), shown_duration(1e5)
    ('less than a second', 'about 8 min', 'about 28 h')
    """
    for size, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s")):
        if seconds >= 2 * size or (name == "s" and seconds >= 1):
            return f"about {seconds / size:.{0 if seconds >= 10 * size else 1}f} {name}".replace(".0 ", " ")
    return "less than a second"
