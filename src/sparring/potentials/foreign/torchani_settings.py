"""Values that rebuild a TorchANI model, as JSON has them; everything that is a weight is in the state dictionary."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["named_model", "torchani_model", "torchani_settings"]

CUTOFFS = {"CutoffCosine": (), "CutoffSmooth": ("order", "eps"), "CutoffBiweight": (), "CutoffTriweight": ()}
"""Cutoff functions of torchani, with their parameters."""
RADIAL, ANGULAR = ("eta", "shifts"), ("eta", "zeta", "shifts", "sections")
SINGLE = ("eta", "zeta")
"""Constants of the symmetry functions that are one number."""
ACTIVATIONS = {"GELU": "gelu", "TightCELU": "celu"}
FILES = {
    "ANI1x": "ani1x_state_dict.pt",
    "ANI1ccx": "ani1ccx_state_dict.pt",
    "ANI2x": "ani2x_state_dict.pt",
    "ANI2xr": "ani2xr.pt",
}
"""Published models, with the files that torchani keeps after it has downloaded them."""


def torchani_settings(model: nn.Module) -> dict[str, object]:
    """Arguments that rebuild a ``torchani.arch.ANI``.

    Raises:
        ValueError: If the model has a part that cannot be written: charges, dispersion, networks that elements share.
    """
    from torchani.nn import ANINetworks, Ensemble

    potentials: dict[str, nn.Module] = dict(model.potentials.items())  # type: ignore[union-attr, operator]
    computer, networks = potentials["nnp"].aev_computer, potentials["nnp"].neural_networks
    members = list(networks.members) if isinstance(networks, Ensemble) else [networks]
    kinds = {type(part).__name__ for name, part in potentials.items() if name != "nnp"} - {"RepulsionXTB"}
    kinds |= {type(member).__name__ for member in members if type(member) is not ANINetworks}
    kinds |= {type(potentials["nnp"]).__name__} - {"NNPotential"}
    if kinds:
        raise ValueError(
            f"a TorchANI model with {', '.join(sorted(kinds))} is not supported; Sparring reads a network for each "
            "element (ANINetworks), ensembles of them and RepulsionXTB"
        )
    repulsion = potentials.get("repulsion_xtb")
    atomics: Mapping[str, Any] = members[0].atomics  # type: ignore[assignment, union-attr]
    first = next(iter(atomics.values()))
    return {
        "symbols": list(model.symbols),  # type: ignore[arg-type]
        "cutoff_function": _cutoff_function(computer.radial.cutoff_fn),  # type: ignore[union-attr, arg-type]
        "radial": _term(computer.radial, RADIAL),  # type: ignore[union-attr, arg-type]
        "angular": _term(computer.angular, ANGULAR),  # type: ignore[union-attr, arg-type]
        "layers": {symbol: _widths(one) for symbol, one in atomics.items()},
        "activation": _activation(first.activation),
        "bias": bool(first.has_biases),
        "n_networks": len(members) if isinstance(networks, Ensemble) else None,
        "repulsion": None if repulsion is None else _repulsion(repulsion),
    }


def torchani_model(settings: Mapping[str, object]) -> nn.Module:
    """The model of these settings, with weights that mean nothing."""
    from torchani.aev import AEVComputer, ANIAngular, ANIRadial
    from torchani.arch import ANI
    from torchani.nn import ANINetworks, AtomicNetwork, Ensemble
    from torchani.potentials import RepulsionXTB
    from torchani.sae import SelfEnergy

    symbols: list[str] = settings["symbols"]  # type: ignore[assignment]
    layers: Mapping[str, list[int]] = settings["layers"]  # type: ignore[assignment]
    function = _made_cutoff(settings["cutoff_function"])  # type: ignore[arg-type]
    radial, angular, repulsion = (settings[name] for name in ("radial", "angular", "repulsion"))
    computer = AEVComputer(
        radial=ANIRadial(**radial, cutoff_fn=function),  # type: ignore[arg-type]
        angular=ANIAngular(**angular, cutoff_fn=function),  # type: ignore[arg-type]
        num_species=len(symbols),
    )

    def networks() -> nn.Module:
        options = {"activation": settings["activation"], "bias": settings["bias"]}
        made: nn.Module = ANINetworks({one: AtomicNetwork(layers[one], **options) for one in symbols})
        return made

    n_networks: int | None = settings["n_networks"]  # type: ignore[assignment]
    container = networks() if n_networks is None else Ensemble([networks() for _ in range(n_networks)])
    potentials = {}
    if isinstance(repulsion, Mapping):
        cutoff_fn = _made_cutoff(repulsion["cutoff_function"])
        potentials["repulsion_xtb"] = RepulsionXTB(symbols, cutoff=repulsion["cutoff"], cutoff_fn=cutoff_fn)
    model: nn.Module = ANI(symbols, computer, container, SelfEnergy(symbols, [0.0] * len(symbols)), potentials)
    return model


def named_model(name: str) -> nn.Module:
    """The architecture of a published model, before its weights are loaded."""
    from torchani.arch import Assembler, simple_ani
    from torchani.utils import SYMBOLS_1X, SYMBOLS_2X, SYMBOLS_2X_ZNUM_ORDER

    model: nn.Module
    if name == "ANI2xr":
        options = {"lot": "wb97x-631gd", "ensemble_size": 8, "repulsion": True, "strategy": "pyaev"}
        model = simple_ani(symbols=SYMBOLS_2X_ZNUM_ORDER, **options)
        return model
    kind = "ani2x" if name == "ANI2x" else "ani1x"
    assembler = Assembler()
    assembler.set_symbols(SYMBOLS_2X if kind == "ani2x" else SYMBOLS_1X)
    assembler.set_global_cutoff_fn("cosine")
    assembler.set_aev_computer(radial=kind, angular=kind, strategy="pyaev")
    assembler.set_atomic_networks(ctor=kind)
    assembler.set_zeros_as_self_energies()
    model = assembler.assemble(8)
    return model


def _cutoff_function(function: nn.Module) -> dict[str, object]:
    name = type(function).__name__
    if name not in CUTOFFS:
        raise ValueError(f"a TorchANI model with the cutoff function {name} is not supported; wanted {list(CUTOFFS)}")
    return {"name": name, **{one: getattr(function, one) for one in CUTOFFS[name]}}


def _made_cutoff(function: Mapping[str, object]) -> nn.Module:
    import torchani.cutoffs

    made: nn.Module = getattr(torchani.cutoffs, str(function["name"]))(
        **{name: value for name, value in function.items() if name != "name"}
    )
    return made


def _term(term: nn.Module, names: tuple[str, ...]) -> dict[str, object]:
    """Constants of a symmetry function, and its cutoff in Å."""
    if not all(isinstance(getattr(term, name, None), torch.Tensor) for name in names):
        raise ValueError(f"a TorchANI model with the symmetry function {type(term).__name__} is not supported")
    values = {name: getattr(term, name).double().flatten().tolist() for name in names}
    return {name: value[0] if name in SINGLE else value for name, value in values.items()} | {"cutoff": term.cutoff}


def _widths(network: nn.Module) -> list[int]:
    layers = [*network.layers, network.final_layer]  # type: ignore[misc]
    return [layers[0].in_features, *(layer.out_features for layer in layers)]


def _activation(module: nn.Module) -> str:
    name = type(module).__name__
    if name not in ACTIVATIONS:
        raise ValueError(f"a TorchANI model with the activation {name} is not supported; wanted {list(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def _repulsion(repulsion: nn.Module) -> dict[str, object]:
    if not math.isfinite(float(repulsion.cutoff)):  # type: ignore[arg-type]
        raise ValueError("a TorchANI model with a repulsion that never ends is not supported; give it a cutoff")
    return {"cutoff": repulsion.cutoff, "cutoff_function": _cutoff_function(repulsion.cutoff_fn)}  # type: ignore[arg-type]
