"""Layout of a study's folder, and how much of it has been computed: one run for each strategy and seed."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparring.config import Config
from sparring.runs.folder import read_metrics, stages_done

__all__ = ["ADVERSARIAL", "Layout", "Strategy"]

ADVERSARIAL = "adversarial"


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A way of choosing structures to label.

    Attributes:
        title: Name in tables and figures.
        changes: Changes to the configuration of the example.
        preset: Preset of the example, empty for the example itself; None for the study's.
        generations: Number of committees.
        start: Strategy whose first committee this one starts from; None if it trains its own.
    """

    title: str
    changes: Mapping[str, object] = field(default_factory=dict)
    preset: str | None = None
    generations: int = 2
    start: str | None = ADVERSARIAL


class Layout(ABC):
    """Paths and progress, which follow from the folder and the strategies."""

    folder: Path
    strategies: Mapping[str, Strategy]

    @abstractmethod
    def config(self, strategy: str, seed: int) -> Config:
        """The configuration of a run."""

    def start(self, strategy: str) -> str:
        """The strategy whose first committee this one starts from; the strategy itself if it trains its own."""
        return self.strategies[strategy].start or strategy

    def run(self, strategy: str, seed: int) -> Path:
        """The folder of a run."""
        return self.folder / strategy / f"seed-{seed}"

    def seeds_of(self, strategy: str) -> list[int]:
        """Seeds for which there is a run."""
        folders = (self.folder / strategy).glob("seed-*/")
        return sorted(int(folder.name.removeprefix("seed-")) for folder in folders if folder.is_dir())

    def generation(self, strategy: str, seed: int, number: int) -> Path:
        """The folder of a generation."""
        return self.run(strategy, seed) / f"generation-{number:02d}"

    def result(self, strategy: str, seed: int, number: int, task: str) -> Path:
        """The file of a result."""
        return self.folder / "results" / strategy / f"seed-{seed}" / f"generation-{number:02d}" / f"{task}.json"

    def generations(self, strategy: str) -> range:
        """Numbers of the committees that a strategy trains itself."""
        return range(1 if self.start(strategy) == strategy else 2, self.strategies[strategy].generations + 1)

    def ended(self, strategy: str, seed: int) -> bool:
        """True if a run has finished, or has found nothing more that could be labelled."""
        for number in range(1, self.strategies[strategy].generations + 1):
            folder = self.generation(strategy, seed, number)
            if "label" in stages_done(folder):
                labels = read_metrics(folder)["labels"]
                if labels["n_chosen"] == labels["n_failed"]:
                    return True
        return "evaluate" in stages_done(folder)

    def trained(self, strategy: str, seed: int, number: int) -> bool:
        """True if the committee exists."""
        return "evaluate" in stages_done(self.generation(strategy, seed, number))

    def committees(self) -> Iterator[tuple[str, int, int]]:
        """Strategy, seed and generation of each committee that exists, in the order of records."""
        for strategy in self.strategies:
            for generation in self.generations(strategy):
                for seed in self.seeds_of(strategy):
                    if self.trained(strategy, seed, generation):
                        yield strategy, seed, generation

    def labels_before(self, strategy: str, seed: int, generation: int) -> list[dict[str, Any]]:
        """Counts of labels of each earlier generation of a run."""
        return [
            read_metrics(folder)["labels"]
            for number in range(1, generation)
            if "label" in stages_done(folder := self.generation(strategy, seed, number))
        ]
