"""Arguments that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

from sparring.validation.arguments import (
    CommitteeFolder,
    Preset,
    ResourcesFile,
    StressKey,
    TrustPickle,
    load_config,
    progress_bars,
    use_threads,
)

__all__ = [
    "CommitteeFolder",
    "ConfigFile",
    "ConfigOption",
    "Preset",
    "ResourcesFile",
    "StressKey",
    "TrustPickle",
    "load_config",
    "progress_bars",
    "use_threads",
]

ConfigFile = Annotated[Path, typer.Argument(help="Configuration, a YAML file.")]
ConfigOption = Annotated[Path, typer.Option("--config", help="Configuration whose sections are used.")]
