"""The files of results that verbs below ``sparring validate`` write, as a report finds them in the folders of a run."""

import shlex
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sparring.validation.base import ReportedRun
from sparring.validation.records import Kind, read_record

__all__ = ["Results", "each_generation"]

T = TypeVar("T")


@dataclass(kw_only=True)
class Results:
    """Reads the results of a run, and collects what is missing and what cannot be used.

    Attributes:
        run: The run.
        missing: Commands that would compute what is missing.
        problems: Reasons why a file was not used.
    """

    run: ReportedRun
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def read(self, path: Path, kind: Kind[T]) -> T | None:
        """A result; None if there is no file, or it cannot be used."""
        if not path.is_file():
            return None
        try:
            return read_record(path, kind)
        except (ValueError, OSError) as error:
            verb = path.stem.removesuffix("_relaxed").replace("_", "-")
            again = f"compute it again with `sparring validate {verb}`"
            self.problems.append(f"{path.relative_to(self.run.folder)} cannot be read: {error}; {again}")
            return None

    def of_run(self, name: str, kind: Kind[T], command: str) -> T | None:
        """The result of the whole run; the command counts as missing until :meth:`complete`."""
        self.missing.append(command)
        return self.read(self.run.folder / "validation" / name, kind)

    def of_generations(self, name: str, kind: Kind[T]) -> dict[str, T]:
        """The results of single committees, by the names of their generations."""
        results = ((generation, self.read(path, kind)) for generation, path in self._paths(name))
        return {f"generation {generation}": result for generation, result in results if result is not None}

    def complete(self, names: Collection[str]) -> None:
        """Forget what is missing if there is a result for each committee of the run."""
        if {f"generation {generation}" for generation, _ in self._paths("")} <= set(names):
            self.missing.clear()

    def ask_for(self, name: str, command: str) -> None:
        """Note the command for each committee that has no result of that name."""
        for _, path in self._paths(name):
            if not path.is_file():
                self.missing.append(f"{command} {shlex.quote(str(path.parents[1]))}")

    def _paths(self, name: str) -> Iterator[tuple[int, Path]]:
        for generation in self.run.generations:
            yield generation, self.run.folder / f"generation-{generation:02d}" / "validation" / name


def each_generation(name: str, kind: Kind[T], *, needs_all: bool = True) -> Callable[[Results], dict[str, T] | None]:
    """A function that reads the results of a verb for each committee of a run.

    Args:
        name: Name of the verb, which writes ``validation/NAME.json`` into the folder of a committee.
        kind: Dataclass of a result, or a tuple of them.
        needs_all: True if the report asks for results of all committees; False if it is content with some.
    """

    def read(files: Results) -> dict[str, T] | None:
        file = f"{name.replace('-', '_')}.json"
        results = files.of_generations(file, kind)
        if needs_all or not results:
            files.ask_for(file, f"sparring validate {name}")
        return results or None

    return read
