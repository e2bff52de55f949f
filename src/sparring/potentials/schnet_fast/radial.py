r"""Features q of a distance that SchNet's filters are linear in, with their first and second derivative.

.. math:: q(d) = [f(d) \, s(a), \; f(d)], \qquad a = B \, g(d) + b, \qquad g_k(d) = e^{-(d - c_k)^2 / 2 w_k^2}

with the envelope f and the shifted softplus s. The derivatives are analytic because automatic differentiation would
pass over the features often.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

__all__ = [
    "LOWEST_EXPONENT",
    "EdgeFeatures",
    "RadialParameters",
    "edge_features",
    "parameter_gradients",
    "second_derivative",
    "shifted_softplus",
]

LOWEST_EXPONENT = -50.0
"""Gaussians are no smaller than exp of this, 2e-22. Far smaller ones, and their products with weights, are subnormal
numbers in single precision, and processors take up to fifty times as long over those."""


def shifted_softplus(x: Tensor) -> Tensor:
    """ln(0.5 eˣ + 0.5)."""
    return functional.softplus(x) - math.log(2.0)


class RadialParameters(NamedTuple):
    """Parameters of the features, with axes layer, member, (one,) feature.

    Attributes:
        centres: Centres c of the Gaussians, in Å.
        widths: Widths w of the Gaussians, in Å.
        weight: Transpose of B.
        bias: Bias b.
    """

    centres: Float[Tensor, "n_layers n_members 1 n_gaussians"]
    widths: Float[Tensor, "n_layers n_members 1 n_gaussians"]
    weight: Float[Tensor, "n_layers n_members n_gaussians n_hidden"]
    bias: Float[Tensor, "n_layers n_members 1 n_hidden"]

    def linear(self, gaussians: Tensor) -> Tensor:
        """Product B g without the bias, for all layers of the network at once."""
        product = torch.bmm(gaussians.flatten(0, 1), self.weight.flatten(0, 1))
        return product.view(*gaussians.shape[:3], self.weight.shape[-1])


class EdgeFeatures(NamedTuple):
    """Features q of edges with axes layer, member, entry, feature; and the terms of their derivatives.

    Attributes:
        q: Features.
        dq: Derivative dq/dd.
        gaussian: Gaussians g.
        dlog_gaussian: Derivative d(ln g)/dd.
        sigmoid: Sigmoid of a, which is s'(a).
        softplus: Activation s(a).
        da: Derivative da/dd.
        envelope: Envelope f, with axes member, entry, and one.
        denvelope: First derivative of f.
        d2envelope: Second derivative of f.
    """

    q: Tensor
    dq: Tensor
    gaussian: Tensor
    dlog_gaussian: Tensor
    sigmoid: Tensor
    softplus: Tensor
    da: Tensor
    envelope: Tensor
    denvelope: Tensor
    d2envelope: Tensor


def edge_features(
    distance: Float[Tensor, "n_members n_entries"],
    radial: RadialParameters,
    *,
    cutoff: float,
    envelope: bool,
) -> EdgeFeatures:
    """Features and their derivative in the distance, for all layers at once."""
    envelopes = envelope_derivatives(distance.unsqueeze(-1), cutoff=cutoff, envelope=envelope)
    f, df, _ = envelopes
    z = (distance.unsqueeze(-1) - radial.centres) / radial.widths
    gaussian = (z.square() * -0.5).clamp(min=LOWEST_EXPONENT).exp()
    dlog_gaussian = -z / radial.widths
    a = radial.linear(gaussian) + radial.bias
    da = radial.linear(gaussian * dlog_gaussian)
    sigmoid, softplus = torch.sigmoid(a), shifted_softplus(a)
    q = torch.cat([softplus * f, f.expand(*a.shape[:3], 1)], dim=-1)
    # d(f s)/dd = s f' + s' a' f
    dq = torch.addcmul(softplus * df, sigmoid * da, f)
    dq = torch.cat([dq, df.expand(*a.shape[:3], 1)], dim=-1)
    return EdgeFeatures(q, dq, gaussian, dlog_gaussian, sigmoid, softplus, da, *envelopes)


def second_derivative(features: EdgeFeatures, radial: RadialParameters) -> Tensor:
    """Second derivative of q in the distance: f s'' + 2 f' s' + f'' s, where ' is d/dd."""
    d2a = radial.linear(features.gaussian * (features.dlog_gaussian.square() - radial.widths.square().reciprocal()))
    ds = features.sigmoid * features.da
    d2s = features.sigmoid * d2a + ds * features.da * (1 - features.sigmoid)
    d2q = d2s * features.envelope + 2 * ds * features.denvelope + features.softplus * features.d2envelope
    return torch.cat([d2q, features.d2envelope.expand(*d2q.shape[:3], 1)], dim=-1)


def parameter_gradients(
    features: EdgeFeatures, radial: RadialParameters, q_bar: Tensor, dq_bar: Tensor
) -> RadialParameters:
    """Derivatives of a function of q and dq/dd in the parameters.

    Args:
        features: Features of all edges.
        radial: Parameters.
        q_bar: Derivative of the function in q.
        dq_bar: Derivative of the function in dq/dd.
    """
    q_bar, dq_bar = q_bar[..., :-1], dq_bar[..., :-1]  # the last one is the envelope alone
    gaussian, dlog_gaussian, sigmoid = features.gaussian, features.dlog_gaussian, features.sigmoid
    da_bar = dq_bar * features.envelope * sigmoid
    a_bar = sigmoid * (q_bar * features.envelope + dq_bar * features.denvelope)
    a_bar.addcmul_(da_bar, (1 - sigmoid) * features.da)
    # Through a = B g and da = B (g dlog_g), back to the Gaussians.
    a_back, da_back = (bar.flatten(0, 1) @ radial.weight.flatten(0, 1).mT for bar in (a_bar, da_bar))
    a_back, da_back = a_back.view_as(gaussian), da_back.view_as(gaussian)
    log_gaussian_bar = gaussian * (a_back + da_back * dlog_gaussian)
    dlog_gaussian_bar = gaussian * da_back
    # ln g = -(d - c)²/2w² and d(ln g)/dd = -(d - c)/w², differentiated in c and w.
    of_centres = dlog_gaussian_bar / radial.widths.square() - log_gaussian_bar * dlog_gaussian
    of_widths = dlog_gaussian * (
        log_gaussian_bar * dlog_gaussian * radial.widths - 2 * dlog_gaussian_bar / radial.widths
    )
    weight = gaussian.mT @ a_bar + (gaussian * dlog_gaussian).mT @ da_bar
    return RadialParameters(
        of_centres.sum(2, keepdim=True), of_widths.sum(2, keepdim=True), weight, a_bar.sum(2, keepdim=True)
    )


def envelope_derivatives(distance: Tensor, *, cutoff: float, envelope: bool) -> list[Tensor]:
    """The envelope of :func:`sparring.potentials.schnet.polynomial_envelope` and its first and second derivative."""
    if not envelope:
        inside = (distance < cutoff).to(distance)
        return [inside, torch.zeros_like(inside), torch.zeros_like(inside)]
    x = (distance / cutoff).clamp(max=1.0)
    f = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
    df = -168 * x**5 * (1 - x) ** 2 / cutoff
    return [f, df, -168 * x**4 * (1 - x) * (5 - 7 * x) / cutoff**2]
