"""The files in which `sparring validate` leaves its results, as a report finds them in the folders of a run."""

import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sparring.reporting.data import Run
from sparring.runs.saved_run import SavedRun
from sparring.validation.records import read_record

__all__ = ["Results"]

T = TypeVar("T")


@dataclass(kw_only=True)
class Results:
    """The results of a run: reads them, and remembers what is not there and what cannot be used."""

    run: Run
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def read(self, path: Path, kind: type[T]) -> T | None:
        """A result, None if it is not there or cannot be used."""
        if not path.is_file():
            return None
        try:
            return read_record(path, kind)
        except (ValueError, OSError) as error:
            again = f"make it again with `sparring validate {path.stem}`"
            self.problems.append(f"{path.relative_to(self.run.folder)} cannot be read: {error}; {again}")
            return None

    def of_run(self, name: str, kind: type[T], command: str) -> T | None:
        """The result of the whole run, which is missing until it is there, and complete."""
        self.missing.append(command)
        return self.read(self.run.folder / "validation" / name, kind)

    def of_generations(self, name: str, kind: type[T]) -> dict[str, T]:
        """The results of its committees, by what people call them."""
        results = ((generation, self.read(path, kind)) for generation, path in self._paths(name))
        return {f"generation {generation}": result for generation, result in results if result is not None}

    def complete(self, names: Collection[str]) -> None:
        """Takes back what is missing if there is a result for each of the run's committees."""
        if {f"generation {generation}" for generation, _ in self._paths("")} <= set(names):
            self.missing.clear()

    def ask_for(self, name: str, command: str) -> None:
        """Notes the command for each committee that has no such result."""
        for _, path in self._paths(name):
            if not path.is_file():
                self.missing.append(f"{command} {shlex.quote(str(path.parents[1]))}")

    def _paths(self, name: str) -> Iterator[tuple[int, Path]]:
        for generation in self.run.generations:
            if generation.training is not None:
                folder = SavedRun(self.run.folder).generation(generation.number).folder
                yield generation.number, folder / "validation" / name
