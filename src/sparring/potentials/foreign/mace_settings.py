"""Arguments that rebuild a MACE model, as JSON has them; everything that is a tensor is in the state dictionary."""

from collections.abc import Callable, Mapping

import numpy as np
from torch import nn

__all__ = ["mace_model", "mace_settings"]

IRREPS = ("hidden_irreps", "MLP_irreps", "edge_irreps")
TENSORS = ("atomic_energies", "atomic_inter_scale", "atomic_inter_shift")
"""Arguments that become buffers: only their shape matters."""


def mace_settings(model: nn.Module) -> dict[str, object]:
    """Arguments of the constructor of a ``ScaleShiftMACE``.

    The mean number of neighbours is left out: it differs between members that were trained on parts of the data.

    Raises:
        ValueError: If the model is of another class, or has an argument that cannot be written.
    """
    from mace.modules import gate_dict
    from mace.tools.scripts_utils import extract_config_mace_model

    settings: dict[str, object] = extract_config_mace_model(model)
    if "error" in settings or type(model).__name__ != "ScaleShiftMACE":
        raise ValueError(
            f"the model is a {type(model).__name__}; Sparring reads ScaleShiftMACE, the default of mace_run_train"
        )
    del settings["avg_num_neighbors"]
    gates = {function: name for name, function in gate_dict.items()}
    if settings["gate"] not in gates:
        raise ValueError(f"a MACE model with the activation {settings['gate']} is not supported")
    settings["gate"] = gates[settings["gate"]]
    for name in ("interaction_cls", "interaction_cls_first", "readout_cls"):
        settings[name] = settings[name].__name__  # type: ignore[attr-defined]
    for name in IRREPS:
        settings[name] = None if settings[name] is None else str(settings[name])
    for name in TENSORS:
        settings[name] = np.zeros_like(settings[name]).tolist()
    settings["atomic_numbers"] = settings["atomic_numbers"].tolist()  # type: ignore[attr-defined]
    return settings


def mace_model(settings: Mapping[str, object]) -> nn.Module:
    """The model of these settings, with weights that mean nothing."""
    from e3nn.o3 import Irreps
    from mace.modules import ScaleShiftMACE, gate_dict, interaction_classes, readout_classes

    converted: dict[str, Callable[[object], object]] = {
        **dict.fromkeys(("interaction_cls", "interaction_cls_first"), interaction_classes.__getitem__),
        **dict.fromkeys(
            IRREPS,
            lambda value: None if value is None else Irreps(value),
        ),
        **dict.fromkeys(TENSORS, lambda value: np.array(value, dtype=float)),
        "readout_cls": readout_classes.__getitem__,
        "gate": gate_dict.__getitem__,
    }
    arguments = {name: converted[name](value) if name in converted else value for name, value in settings.items()}
    model: nn.Module = ScaleShiftMACE(**arguments, avg_num_neighbors=1.0)
    return model
