"""Facts about a run that answers are made of, from its folder."""

import logging
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sparring.config.reading import read
from sparring.config.sections import Stop
from sparring.expected_error import CONFIDENCE
from sparring.reporting.reading import labels_structures
from sparring.runs.expectations import NewLabels, new_labels_of_run
from sparring.runs.generation import Generation
from sparring.runs.saved_run import SavedRun
from sparring.support.checksums import DamagedFileError
from sparring.systems.registry import read_system
from sparring.validation.bond_scan.scans import BondScan
from sparring.validation.errors.common_set import CommonErrors, known_comparison
from sparring.validation.records import read_record
from sparring.validation.survival.trials import Survival

__all__ = ["Facts", "facts_of", "stop_of"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A run as far as answers need it.

    Attributes:
        folder: Folder of the run.
        newest: Newest generation that has a committee.
        is_molecular: False for a particle in a model potential.
        has_labels: False for a run that ends with the structures to be labelled.
        n_planned: Planned number of generations; None if the configuration does not say it.
        stop: Errors at which the run ends; None if it has no target.
        rounds: New labels of each generation that has some.
        survival: Survival of copies with the newest committee; None if it was not tested.
        bonds: Scans of bonds and angles with the newest committee; None if there are none.
        failed_labels: Number of failed labels of the run by reason, those of starting structures included.
        n_failed_in_newest: Number of failed labels in the newest generation that has labels.
        n_evaluated: Number of generations whose committee has been evaluated.
        ended_early: True if a generation found nothing to label, which ends a run.
        common: Errors of all committees on one set; None where they are not known.
    """

    folder: Path
    newest: Generation
    is_molecular: bool
    has_labels: bool
    n_planned: int | None
    stop: Stop | None
    rounds: tuple[NewLabels, ...]
    survival: Survival | None
    bonds: BondScan | None
    failed_labels: Mapping[str, int]
    n_failed_in_newest: int
    n_evaluated: int
    ended_early: bool
    common: CommonErrors | None

    @property
    def confidence(self) -> float:
        """Confidence of the errors found."""
        return CONFIDENCE if self.stop is None else self.stop.confidence

    @property
    def met(self) -> NewLabels | None:
        """The first round of labels that met the target; None if there is none."""
        if self.stop is None:
            return None
        return next((one for one in self.rounds if one.error_found < self.stop.force_error), None)

    @property
    def is_finished(self) -> bool:
        """True if no further generation is to come."""
        last = self.n_planned if self.met is None else self.met.generation + 1
        return self.ended_early or (last is not None and self.n_evaluated >= last)

    def command(self, verb: str) -> str:
        """A command about the newest committee."""
        return f"sparring validate {verb} {shlex.quote(str(self.newest.folder))}"


def facts_of(folder: Path) -> Facts | None:
    """The facts of a run; None before there is a committee."""
    saved = SavedRun(folder)
    sections: dict[str, Any] = read(saved.config_file, saved.config_text()).data
    generations = saved.generations()
    trained = [one for one in generations if one.metrics().get("n_members") is not None]
    if not trained:
        return None
    stop, newest = stop_of(sections), trained[-1]
    labelled = [one for one in generations if one.labelled() or one.label_failures()]
    return Facts(
        folder=folder,
        newest=newest,
        is_molecular=read_system(sections["system"]).is_molecular,
        has_labels=labels_structures(sections),
        n_planned=sections.get("generations"),
        stop=stop,
        rounds=new_labels_of_run(saved, CONFIDENCE if stop is None else stop.confidence),
        survival=_record(newest, "survival", Survival),
        bonds=_record(newest, "bonds", BondScan),
        failed_labels=dict(
            Counter(row["reason"].replace("_", " ") for one in generations for row in one.failure_rows()).most_common()
        ),
        n_failed_in_newest=len(labelled[-1].label_failures()) if labelled else 0,
        n_evaluated=sum(one.metrics().get("errors") is not None for one in generations),
        ended_early="label" in newest.stages_done and not newest.labelled(),
        common=_comparison(folder),
    )


def stop_of(sections: Mapping[str, Any]) -> Stop | None:
    """The section ``stop`` of a configuration."""
    section = sections.get("stop")
    return None if section is None else Stop.model_validate(section)


def _record(generation: Generation, name: str, kind: type[T]) -> T | None:
    """The results of a validation; None where there are none, or none that can be read, which the report says below."""
    try:
        return read_record(generation.folder / "validation" / f"{name}.json", kind)
    except DamagedFileError as error:
        logger.warning("%s", error)
        return None
    except (ValueError, OSError):
        return None


def _comparison(folder: Path) -> CommonErrors | None:
    try:
        return known_comparison(folder)
    except (ValueError, OSError):
        return None
