"""Properties of crystals that a run computes with its first and its last committee (such as ``evaluation.elastic``)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparring.config.sections import Evaluation
from sparring.starting_data.relaxation import RelaxationError
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.validation.crystals.results import computed
from sparring.validation.crystals.surfaces import About
from sparring.validation.records import read_record, write_record
from sparring.validation.registry import find

__all__ = ["CrystalTest", "crystal_tests", "keep_crystals", "missing_tests"]

KEYS = ("equation_of_state", "elastic", "phonons", "vacancy")
ARGUMENTS = {"labels": "n_labels", "points": "n_points"}
"""Arguments of functions whose names are not those of keys."""


@dataclass(frozen=True, kw_only=True)
class CrystalTest:
    """A property of crystals that a configuration asks for.

    Attributes:
        key: Key of the section, and name of the files.
        options: Options of the function that computes it.
    """

    key: str
    options: Mapping[str, int | float]

    @property
    def title(self) -> str:
        """Title of the validation, in small letters."""
        return find(self.key.replace("_", "-")).title.lower()


@dataclass(frozen=True)
class _Known:
    """The part of a result that all validations of crystals share."""

    about: About


def crystal_tests(evaluation: Evaluation) -> Iterator[CrystalTest]:
    """Properties of crystals that a configuration asks for."""
    for key in KEYS:
        section = getattr(evaluation, key)
        if section is not None:
            yield CrystalTest(key=key, options={ARGUMENTS.get(one, one): value for one, value in section})


def missing_tests(folders: Sequence[Path], evaluation: Evaluation) -> list[tuple[Path, CrystalTest]]:
    """Properties that have not been computed as wanted.

    Args:
        folders: Folders of generations.
        evaluation: Section of the configuration.
    """
    tests = tuple(crystal_tests(evaluation))
    return [(folder, test) for folder in folders for test in tests if not _is_known(folder, test)]


def keep_crystals(
    folder: Path,
    test: CrystalTest,
    *,
    device: str = "cpu",
    log: Callable[[str], None],
    progress_bars: ProgressBars = no_progress_bars,
) -> None:
    """Compute a property with the committee of a generation, as its verb below `sparring validate` does.

    A property that cannot be computed is logged.

    Args:
        folder: Folder of a generation.
        test: Property.
        device: Device of the computation.
        log: Function that is called with a line about what was computed, and about what is missing.
        progress_bars: Progress bars.
    """
    compute = find(test.key.replace("_", "-")).compute
    try:
        found, missing = computed(folder, compute, device=device, progress_bars=progress_bars, **test.options)  # type: ignore[arg-type]
    except (ValueError, RelaxationError) as error:
        log(f"{folder.name}: no {test.title}: {error}")
        return
    (folder / "validation").mkdir(exist_ok=True)
    write_record(folder / "validation" / f"{test.key}.json", found)
    log("; ".join((f"{folder.name}: {test.title} done", *missing)))


def _is_known(folder: Path, test: CrystalTest) -> bool:
    try:
        known = read_record(folder / "validation" / f"{test.key}.json", tuple[_Known, ...])
    except (ValueError, OSError):
        return False
    return all(one.about.options == test.options for one in known)
