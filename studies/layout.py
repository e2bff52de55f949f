"""Where a study keeps its runs and results, and how far they have come: a run for each strategy and seed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sparring.config import Config
from sparring.runs.folder import read_metrics, stages_done

__all__ = ["ADVERSARIAL", "Layout", "Strategy"]

ADVERSARIAL = "adversarial"


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A way of finding structures to label.

    Attributes:
        title: For people.
        changes: What it changes in the configuration of the example.
        preset: Of the example, instead of the study's.
        generations: How many committees there are.
        start: Whose first committee it begins with; None if that is its own.
    """

    title: str
    changes: Mapping[str, object] = field(default_factory=dict)
    preset: str | None = None
    generations: int = 2
    start: str | None = ADVERSARIAL


class Layout(ABC):
    """What folder and strategies decide."""

    folder: Path
    strategies: Mapping[str, Strategy]

    @abstractmethod
    def config(self, strategy: str, seed: int) -> Config:
        """The configuration of a run."""

    def start(self, strategy: str) -> str:
        """The strategy whose first committee this one begins with; itself, if that is its own."""
        return self.strategies[strategy].start or strategy

    def run(self, strategy: str, seed: int) -> Path:
        """The folder of a run."""
        return self.folder / strategy / f"seed-{seed}"

    def seeds_of(self, strategy: str) -> list[int]:
        """Of which there is a run."""
        folders = (self.folder / strategy).glob("seed-*/")
        return sorted(int(folder.name.removeprefix("seed-")) for folder in folders if folder.is_dir())

    def generation(self, strategy: str, seed: int, number: int) -> Path:
        """The folder of a generation."""
        return self.run(strategy, seed) / f"generation-{number:02d}"

    def result(self, strategy: str, seed: int, number: int, task: str) -> Path:
        """The file of a result."""
        return self.folder / "results" / strategy / f"seed-{seed}" / f"generation-{number:02d}" / f"{task}.json"

    def generations(self, strategy: str) -> range:
        """Which committees are a strategy's own."""
        return range(1 if self.start(strategy) == strategy else 2, self.strategies[strategy].generations + 1)

    def ended(self, strategy: str, seed: int) -> bool:
        """Whether a run has come to its end, or found nothing more that could be labelled."""
        for number in range(1, self.strategies[strategy].generations + 1):
            folder = self.generation(strategy, seed, number)
            if "label" in stages_done(folder):
                labels = read_metrics(folder)["labels"]
                if labels["n_chosen"] == labels["n_failed"]:
                    return True
        return "evaluate" in stages_done(folder)

    def trained(self, strategy: str, seed: int, number: int) -> bool:
        """Whether there is a committee."""
        return "evaluate" in stages_done(self.generation(strategy, seed, number))
