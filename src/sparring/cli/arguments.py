"""What several verbs share: their arguments, and who looks on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sparring.config import Config
    from sparring.support.progress import ProgressBars

__all__ = ["CommitteeFolder", "ConfigFile", "ConfigOption", "Preset", "load_config", "progress_bars", "use_threads"]

Preset = Annotated[str | None, typer.Option(help="A preset of the configuration file.")]
ConfigFile = Annotated[Path, typer.Argument(help="The configuration, a YAML file.")]
ConfigOption = Annotated[Path, typer.Option("--config", help="The configuration whose sections are used.")]
CommitteeFolder = Annotated[Path, typer.Argument(help="A folder with a committee, e.g. runs/x/generation-03.")]


def load_config(config: Path, preset: str | None) -> "Config":
    """The configuration with a preset laid over it."""
    from sparring.config import load

    return load(config, preset)


def use_threads(n: int | None = None) -> None:
    """Let PyTorch compute with so many threads; None for its own choice within the cores that there are."""
    from sparring.support.devices import use_threads

    use_threads(n)


def progress_bars() -> "ProgressBars":
    """Progress bars on a terminal, a line now and then in a log."""
    from sparring.support.progress import progress_bars_on

    return progress_bars_on()
