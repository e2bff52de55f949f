"""Arguments that rebuild a MACE model, as JSON has them; everything that is a tensor is in the state dictionary."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import nn

__all__ = ["mace_model", "mace_settings", "new_settings"]

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


def new_settings(
    atomic_numbers: Sequence[int],
    *,
    n_channels: int,
    max_L: int,
    n_interactions: int,
    correlation: int,
    cutoff: float,
    n_radial: int,
    max_ell: int,
    n_readout: int,
) -> dict[str, object]:
    """Arguments of a new model, with the other choices of ``mace_run_train``.

    Args:
        atomic_numbers: Atomic numbers of the elements, in increasing order.
        n_channels: Number of channels.
        max_L: Highest order of the features.
        n_interactions: Number of interactions.
        correlation: Number of neighbours in a product.
        cutoff: Cutoff in Å.
        n_radial: Number of radial functions.
        max_ell: Highest order of the spherical harmonics.
        n_readout: Width of the last readout.
    """
    block = "RealAgnosticResidualInteractionBlock"
    features = "+".join(f"{n_channels}x{order}{'eo'[order % 2]}" for order in range(max_L + 1))
    return {
        "r_max": cutoff,
        "num_bessel": n_radial,
        "num_polynomial_cutoff": 5,
        "max_ell": max_ell,
        "interaction_cls": block,
        "interaction_cls_first": block,
        "num_interactions": n_interactions,
        "num_elements": len(atomic_numbers),
        "hidden_irreps": features,
        "MLP_irreps": f"{n_readout}x0e",
        "atomic_energies": [[0.0] * len(atomic_numbers)],
        "atomic_numbers": list(atomic_numbers),
        "correlation": correlation,
        "gate": "silu",
        "atomic_inter_scale": [1.0],
        "atomic_inter_shift": [0.0],
    }


def mace_model(settings: Mapping[str, object]) -> nn.Module:
    """The model of these settings, with weights that mean nothing."""
    import mace.modules  # noqa: F401 - before e3nn, whose tables PyTorch refuses to load unless mace allows it
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
