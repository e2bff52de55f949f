"""Values that rebuild a SevenNet model, as JSON has them; everything that is a weight is in the state dictionary."""

from collections.abc import Mapping

from torch import nn

__all__ = ["sevennet_model", "sevennet_settings"]

ARCHITECTURE = (
    "_chemical_species_by_atomic_number",
    "_modal_map",
    "_normalize_sph",
    "_number_of_modalities",
    "_number_of_species",
    "_type_map",
    "act_gate",
    "act_radial",
    "act_scalar",
    "channel",
    "chemical_species",
    "cutoff",
    "cutoff_function",
    "interaction_type",
    "irreps_manual",
    "is_parity",
    "lmax",
    "lmax_edge",
    "lmax_node",
    "num_convolution_layer",
    "radial_basis",
    "readout_as_fcn",
    "readout_fcn_activation",
    "readout_fcn_hidden_neurons",
    "self_connection_type",
    "train_denominator",
    "train_shift_scale",
    "use_bias_in_linear",
    "use_modal_node_embedding",
    "use_modal_output_block",
    "use_modal_self_inter_intro",
    "use_modal_self_inter_outro",
    "use_modal_wise_scale",
    "use_modal_wise_shift",
    "use_modality",
    "weight_nn_hidden_neurons",
)
"""Keys of the configuration of sevenn that the architecture depends on; the others are about training."""
WEIGHTS = ("shift", "scale")
"""Keys whose values become weights: only their shape matters."""


def sevennet_settings(config: Mapping[str, object]) -> dict[str, object]:
    """The part of a configuration of sevenn that rebuilds the model.

    Args:
        config: Configuration as ``sevenn.util.model_from_checkpoint`` returns it.

    Raises:
        ValueError: If it is not complete.
    """
    if missing := sorted({"cutoff", "_type_map", "channel", *WEIGHTS} - set(config)):
        raise ValueError(f"the configuration of the SevenNet model is not complete: it has no {', '.join(missing)}")
    settings = {name: _plain(config[name]) for name in ARCHITECTURE if name in config}
    return settings | {name: _zeros(config[name]) for name in WEIGHTS}


def sevennet_model(settings: Mapping[str, object]) -> nn.Module:
    """The model of these settings, with weights that mean nothing."""
    from sevenn.model_build import build_E3_equivariant_model

    rows: Mapping[str, int] = settings["_type_map"]  # type: ignore[assignment]
    config = dict(settings) | {"_type_map": {int(number): row for number, row in rows.items()}, "conv_denominator": 1.0}
    model: nn.Module = build_E3_equivariant_model(config)
    return model


def _plain(value: object) -> object:
    """The value as JSON has it: keys are strings, sequences lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _zeros(value: object) -> object:
    """Zeros in place of the numbers."""
    if isinstance(value, Mapping):
        return {str(key): _zeros(one) for key, one in value.items()}
    return [_zeros(one) for one in value] if isinstance(value, list | tuple) else 0.0
