"""Barriers of the committees of a run, generation by generation, beside the one of the label method (Fig. 3d)."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ase import Atoms

from sparring.assembly.labels import label_service_of
from sparring.committee_files import read_committee
from sparring.config import Config
from sparring.inputs.reading import read_atoms
from sparring.labels import LabelError
from sparring.labels.base import depends_on
from sparring.runs.generation import Generation
from sparring.runs.saved_run import SavedRun, run_of
from sparring.starting_data.relaxation import RelaxationError
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.surfaces.evaluators import committee_surface, label_surface
from sparring.surfaces.minimum_energy_path import MinimumEnergyPath, neb
from sparring.validation.landscape.compute import committees
from sparring.validation.records import keep_frames, write_record

__all__ = ["LABELS", "Barriers", "barriers", "keep_barriers"]

logger = logging.getLogger(__name__)

LABELS = "labels"
"""Name of the surface of the labels beside those of committees."""


@dataclass(frozen=True, kw_only=True)
class Barriers:
    """Paths between the same two endpoints, which are relaxed on each surface.

    Attributes:
        committees: Paths by the names of the committees, in the order of their generations.
        truth: Path on the surface of the labels; None if it was not requested.
        failures: Reasons why surfaces have no path, by their names.
    """

    committees: Mapping[str, MinimumEnergyPath]
    truth: MinimumEnergyPath | None
    failures: Mapping[str, str]


def barriers(
    folder: Path,
    ends: tuple[Path, Path] | None = None,
    *,
    config: Config | None = None,
    store: Path | None = None,
    progress_bars: ProgressBars = no_progress_bars,
    **options: Any,  # noqa: ANN401 - those of neb
) -> tuple[Barriers, list[Atoms]]:
    """The paths of a committee, or of all committees of a run, and that of the label method.

    Committees for which the NEB fails are listed in `failures`; the others are still computed.

    Args:
        folder: Folder of a committee, or of a run.
        ends: Files of the two endpoints; None for those of the system of the run.
        config: Configuration whose labeller gives the reference path; None for no such path. Its energy window is
            ignored: images may be as high as the barrier.
        store: Folder for labels if neither the configuration nor the run has one.
        progress_bars: Progress bars.
        options: Options of :func:`sparring.surfaces.minimum_energy_path.neb`.

    Returns:
        The paths, and the images of all of them; ``info`` has the surface and the position on the path.

    Raises:
        ValueError: If there is no committee, or no ends and the run has none of its own.
        RelaxationError: If no committee has a path.
    """
    members = committees(folder)
    saved = run_of(folder)
    run = saved.folder if saved else None
    start, end = _ends(ends, run, next(iter(members.values())))
    loaded = {name: read_committee(place) for name, place in members.items()}
    for committee in loaded.values():
        committee.require_known([start, end])
    surfaces = {name: committee_surface(committee) for name, committee in loaded.items()}
    methods = {name: f"committee of {committee.n_members}" for name, committee in loaded.items()}
    names: tuple[str, ...] = ()
    if config is not None:
        with_state = config.system.build().electronic_state
        if with_state is not None:
            start, end = with_state([start, end])
        # One progress bar, that of the path, is enough.
        label_service = label_service_of(config, run or store or folder)
        label_service = replace(label_service, bounds=replace(label_service.bounds, energy_window=None))
        surfaces[LABELS], methods[LABELS] = label_surface(label_service), label_service.labeller.method
        names = depends_on(label_service.labeller)
    paths: dict[str, MinimumEnergyPath] = {}
    failures: dict[str, Exception] = {}
    images: list[Atoms] = []
    for name, surface in surfaces.items():
        try:
            path, frames = neb(
                start,
                end,
                surface,
                method=methods[name],
                depends_on=names if name == LABELS else (),
                progress=progress_bars(f"path of {name}"),
                **options,
            )
        except (RelaxationError, LabelError) as error:
            failures[name] = error
            continue
        paths[name] = path
        images += _annotated(frames, path, name)
    truth = paths.pop(LABELS, None)
    if not paths:
        raise next(iter(failures.values()))
    reasons = {name: str(error) for name, error in failures.items()}
    return Barriers(committees=paths, truth=truth, failures=reasons), images


def _ends(files: tuple[Path, Path] | None, run: Path | None, committee: Path) -> tuple[Atoms, Atoms]:
    if files is not None:
        start, end = (_only_structure(file) for file in files)
        return start, end
    data = Generation(committee).frames()
    endpoints = None if run is None else SavedRun(run).config().system.build().endpoints
    if endpoints is None or not data:
        raise ValueError(
            f"{committee} is no generation of a run whose system has endpoints; give two files, START.xyz and END.xyz"
        )
    return endpoints(data)


def keep_barriers(folder: Path, progress_bars: ProgressBars = no_progress_bars) -> None:
    """Write the paths of the committees of a run where its report looks for them, as `sparring validate barrier` does.

    If no committee has a path, this is logged, and there is no file.
    """
    try:
        found, frames = barriers(folder, config=SavedRun(folder).config(), progress_bars=progress_bars)
    except RelaxationError as error:
        logger.warning("no committee has a path between the endpoints: %s", error)
        return
    (folder / "validation").mkdir(exist_ok=True)
    write_record(folder / "validation" / "barrier.json", found)
    keep_frames(folder / "validation" / "barrier.extxyz", frames)


def _only_structure(file: Path) -> Atoms:
    structures = read_atoms(file, labels="ignored", allow_dummy=True)
    if len(structures) != 1:
        raise ValueError(
            f"{file} holds {len(structures)} structures; an endpoint of a path is a file with one structure"
        )
    return structures[0]


def _annotated(images: Sequence[Atoms], path: MinimumEnergyPath, surface: str) -> list[Atoms]:
    for number, image in enumerate(images):
        image.info |= {
            "surface": surface,
            "image": number,
            "coordinate": float(path.coordinate[number]),
            "energy_above_start": float(path.energy[number]),
            "energy_sigma": float(path.energy_sigma[number]),
        }
    return list(images)
