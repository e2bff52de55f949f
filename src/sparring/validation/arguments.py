"""Arguments that several verbs share, and how verbs write what they find."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.figure import Figure

    from sparring.config import Config
    from sparring.support.progress import ProgressBars

__all__ = [
    "CommitteeFolder",
    "CommitteeOrRun",
    "Device",
    "EnergyKey",
    "ForcesKey",
    "Output",
    "Preset",
    "ResourcesFile",
    "StressKey",
    "TrustPickle",
    "keep_figure",
    "load_config",
    "progress_bars",
    "use_threads",
    "write_results",
]


def _consent(ctx: Any, value: bool) -> bool:  # noqa: ANN401 - Typer brings its own copy of Click, or does not
    if value:
        from sparring.potentials.foreign.consent import consented

        ctx.with_resource(consented())
    return value


def _use_resources(ctx: Any, value: Path | None) -> Path | None:  # noqa: ANN401 - as above
    if value is not None:
        from sparring.assembly.resources import using_resources

        ctx.with_resource(using_resources(value))
    return value


def _sound(folder: Path | None) -> Path | None:
    """The folder of a committee, if what its run has committed follows from each other."""
    from sparring.runs.saved_run import run_of

    run = None if folder is None else run_of(folder)
    if run is not None:
        run.require_linked()
    return folder


Preset = Annotated[str | None, typer.Option(help="Preset of the configuration file.")]
CommitteeFolder = Annotated[
    Path, typer.Argument(callback=_sound, help="Folder with a committee, e.g. runs/x/generation-03.")
]
CommitteeOrRun = Annotated[
    Path,
    typer.Argument(
        callback=_sound, help="Folder with a committee, e.g. runs/x/generation-03, or of a run: all its committees."
    ),
]
EnergyKey = Annotated[str, typer.Option(help="Name of the energies in the file, in eV.")]
ForcesKey = Annotated[str, typer.Option(help="Name of the forces in the file, in eV/Å.")]
StressKey = Annotated[
    str,
    typer.Option(help="Name of the stresses in the file, in eV/Å³ and positive under tension, or of virials, in eV."),
]
Output = Annotated[Path | None, typer.Option(help="Output folder [default: validation, in the committee's folder].")]
Device = Annotated[str, typer.Option(help="Device for the computation: cpu, cuda.")]
TrustPickle = Annotated[
    bool,
    typer.Option(
        "--trust-pickle",
        callback=_consent,
        help="Consent to read checkpoints of other packages that are pickles, which can run any program.",
    ),
]

ResourcesFile = Annotated[
    Path | None,
    typer.Option(
        "--resources",
        callback=_use_resources,
        help="Machines that compute labels, a YAML file of your own: executor, threads, budget of core hours.",
    ),
]


def load_config(config: Path, preset: str | None, *, skip_bad: bool = False) -> "Config":
    """The configuration with a preset laid over it, and with `system.skip_bad` if wrong frames are to be left out."""
    from sparring.config import load

    return load(config, preset, overrides={"system.skip_bad": True} if skip_bad else None)


def use_threads(n: int | None = None) -> None:
    """Let PyTorch compute with this number of threads; None for its own choice within the cores that there are."""
    from sparring.support.devices import use_threads

    use_threads(n)


def progress_bars() -> "ProgressBars":
    """Progress bars on a terminal, a line now and then in a log."""
    from sparring.support.progress import progress_bars_on

    return progress_bars_on()


def write_results(
    folder: Path, name: str, result: object, figure: "Figure", frames: "Sequence[Atoms] | None" = None
) -> str:
    """Write a result as JSON, its figure, and its structures if it has any; returns a line that names the files."""
    from sparring.validation.records import keep_frames, write_record

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    write_record(file, result)
    if frames is not None:
        keep_frames(file.with_suffix(".extxyz"), frames)
    keep_figure(figure, folder / name)
    return f"results: {file}, {'' if frames is None else '.extxyz, '}.png and .svg"


def keep_figure(figure: "Figure", path: Path) -> None:
    """Write a figure of a result as `path` with the endings .png and .svg."""
    from sparring.plots.saving import rendered
    from sparring.validation.records import keep

    for ending, content in rendered(figure).items():
        keep(path.with_name(f"{path.name}.{ending}"), content)
