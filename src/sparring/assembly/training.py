"""The section ``training`` of a configuration as arguments."""

import torch

from sparring.config import Config
from sparring.training.trainer import SecondStage
from sparring.training.weak_labels import Taylor

__all__ = ["fit_arguments"]


def fit_arguments(config: Config) -> dict[str, object]:
    """The section ``training`` as arguments of :func:`sparring.fit`, and where and how precisely to compute.

    A replay is left out, which has to be read.
    """
    stage, taylor = (getattr(config.training, name, None) for name in ("second_stage", "taylor"))
    prior = getattr(config.committee, "prior", None)
    return {
        **config.training.arguments("splits", "second_stage", "replay", "taylor"),
        "taylor": None if taylor is None else Taylor(**taylor.arguments()),
        **({} if prior is None else {"prior_scale": prior.scale}),
        "second_stage": None if stage is None else SecondStage(**stage.arguments()),
        "dtype": getattr(torch, config.dtype),
        "device": config.device,
    }
