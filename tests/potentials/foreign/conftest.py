import contextlib
import importlib
import io
import os

import numpy as np
import pytest
import torch


@pytest.fixture
def mace_model():
    """MACE with random weights, in double precision."""
    before = os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    from mace.modules import ScaleShiftMACE, interaction_classes  # before e3nn, whose tables are no state dictionary

    o3 = importlib.import_module("e3nn.o3")

    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    if before is not None:
        os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = before

    def make(seed=0, **changes):
        block = interaction_classes["RealAgnosticResidualInteractionBlock"]
        elements = changes.get("atomic_numbers", [1, 7, 8, 11, 17])
        settings = {
            "r_max": 4.0,
            "num_bessel": 4,
            "num_polynomial_cutoff": 5,
            "max_ell": 2,
            "interaction_cls": block,
            "interaction_cls_first": block,
            "num_interactions": 2,
            "num_elements": len(elements),
            "hidden_irreps": o3.Irreps("4x0e+4x1o"),
            "MLP_irreps": o3.Irreps("4x0e"),
            "atomic_energies": -np.arange(1.0, len(elements) + 1),
            "avg_num_neighbors": 3.0,
            "atomic_numbers": elements,
            "correlation": 2,
            "gate": torch.nn.functional.silu,
            "atomic_inter_scale": 1.0,
            "atomic_inter_shift": 0.0,
            **changes,
        }
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return ScaleShiftMACE(**settings).double()

    return make


@pytest.fixture
def chgnet_model():
    """CHGNet with the weights of its package."""
    from chgnet.model.model import CHGNet

    with contextlib.redirect_stdout(io.StringIO()):
        return CHGNet.load(use_device="cpu", verbose=False)


@pytest.fixture
def variance_slope(slope):
    """The gradient of a committee's σ_F² in all positions, by automatic differentiation and by finite differences."""
    from sparring.uncertainty import force_variance

    def both(committee, structures, *, step=1e-3):
        assert structures.n_structures == 1

        def variance(positions):
            batch = structures.take([0] * (positions.numel() // structures.positions.numel()))
            prediction = committee.predict(batch.with_positions(positions.reshape(-1, 3)))
            return force_variance(prediction.forces, batch.structure_index, batch.n_structures)

        positions = structures.positions.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(variance(positions).sum(), positions)
        wanted = slope(lambda points: variance(points).detach(), structures.positions, step=step)
        return gradient, wanted

    return both
