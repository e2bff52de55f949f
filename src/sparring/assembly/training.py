"""The section ``training`` of a configuration as arguments."""

from pathlib import Path

import torch

from sparring.atoms.dataset import Dataset
from sparring.config import Config
from sparring.runs.generation import CHECKPOINTS
from sparring.runs.saved_run import SavedRun
from sparring.training.trainer import SecondStage
from sparring.training.weak_labels import Taylor

__all__ = ["checkpoint_arguments", "fit_arguments"]


def fit_arguments(config: Config) -> dict[str, object]:
    """The section ``training`` as arguments of :func:`sparring.fit`, and where and how precisely to compute.

    A replay is left out, which has to be read, and so are checkpoints, which need a folder.
    """
    stage, taylor = (getattr(config.training, name, None) for name in ("second_stage", "taylor"))
    prior = getattr(config.committee, "prior", None)
    return {
        **config.training.arguments("splits", "second_stage", "replay", "taylor", "checkpoint"),
        "taylor": None if taylor is None else Taylor(**taylor.arguments()),
        **({} if prior is None else {"prior_scale": prior.scale}),
        "second_stage": None if stage is None else SecondStage(**stage.arguments()),
        "dtype": getattr(torch, config.dtype),
        "device": config.device,
    }


def checkpoint_arguments(config: Config, folder: Path | None, dataset: Dataset) -> dict[str, object]:
    """Arguments of :func:`sparring.fit` about checkpoints, which are in the folder of a generation.

    Args:
        config: Configuration.
        folder: Run folder; or folder of the committee, if the data are not those of a run; None for no checkpoints.
        dataset: Data of the generation.
    """
    interval = getattr(config.training, "checkpoint", None)
    if interval is None or folder is None:
        return {}
    saved, own = SavedRun(folder), folder
    if saved.exists:
        own = saved.generation(max(int(str(info.get("generation", 1))) for info in dataset.info)).folder
    return {"checkpoint": own / CHECKPOINTS, "checkpoint_interval": interval}
