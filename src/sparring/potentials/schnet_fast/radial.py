r"""What SchNet's filters are made of: narrow features q of a distance, with their slope and curvature.

.. math:: q(d) = [f(d) \, s(B \, g(d) + b), \; f(d)], \qquad g_k(d) = e^{-(d - c_k)^2 / 2 w_k^2}

with the envelope f and the shifted softplus s. Written out, since automatic differentiation would pass over them often.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

__all__ = ["LOWEST_EXPONENT", "Narrow", "Radial", "curvature", "narrow_features", "radial_bars", "shifted_softplus"]

LOWEST_EXPONENT = -50.0
"""Gaussians are no smaller than exp of this, 2e-22. Far smaller ones, and what weights make of them, are no normal
numbers in single precision, and processors take up to fifty times as long over those."""


def shifted_softplus(x: Tensor) -> Tensor:
    """ln(0.5 eˣ + 0.5)."""
    return functional.softplus(x) - math.log(2.0)


class Radial(NamedTuple):
    """Parameters of the narrow features, with axes layer, member, (one,) feature.

    Attributes:
        centres: c of the Gaussians, in Å.
        widths: w of the Gaussians, in Å.
        weight: The transpose of B.
        bias: b.
    """

    centres: Float[Tensor, "n_layers n_members 1 n_gaussians"]
    widths: Float[Tensor, "n_layers n_members 1 n_gaussians"]
    weight: Float[Tensor, "n_layers n_members n_gaussians n_hidden"]
    bias: Float[Tensor, "n_layers n_members 1 n_hidden"]

    def layer(self, gaussians: Tensor) -> Tensor:
        """The linear layer without its bias, for all layers of the network in one product."""
        product = torch.bmm(gaussians.flatten(0, 1), self.weight.flatten(0, 1))
        return product.view(*gaussians.shape[:3], self.weight.shape[-1])


class Narrow(NamedTuple):
    """Features q of edges with axes layer, member, place, feature; and what their derivatives are made of.

    Attributes:
        value: q.
        slope: Derivative of q in the distance.
        gaussian: g.
        steepness: Derivative of ln g.
        sigmoid: Of what the activation is taken of.
        softplus: The activation.
        rise: Derivative of what the activation is taken of.
        fade: f, with axes member, place, and one.
        fade_slope: Its derivative.
        fade_curvature: Its second derivative.
    """

    value: Tensor
    slope: Tensor
    gaussian: Tensor
    steepness: Tensor
    sigmoid: Tensor
    softplus: Tensor
    rise: Tensor
    fade: Tensor
    fade_slope: Tensor
    fade_curvature: Tensor


def narrow_features(
    distance: Float[Tensor, "n_members n_places"],
    radial: Radial,
    *,
    cutoff: float,
    envelope: bool,
    filled: Float[Tensor, " n_places"] | None,
) -> Narrow:
    """The features and their slope in the distance, for all layers at once; zero where no edge stands."""
    fades = fade(distance.unsqueeze(-1), cutoff=cutoff, envelope=envelope)
    if filled is not None:
        fades = [values * filled.unsqueeze(-1) for values in fades]
    f, f_slope, _ = fades
    z = (distance.unsqueeze(-1) - radial.centres) / radial.widths
    gaussian = (z.square() * -0.5).clamp(min=LOWEST_EXPONENT).exp()
    steepness = -z / radial.widths
    a = radial.layer(gaussian) + radial.bias
    rise = radial.layer(gaussian * steepness)
    sigmoid, softplus = torch.sigmoid(a), shifted_softplus(a)
    value = torch.cat([softplus * f, f.expand(*a.shape[:3], 1)], dim=-1)
    slope = torch.addcmul(softplus * f_slope, sigmoid * rise, f)
    slope = torch.cat([slope, f_slope.expand(*a.shape[:3], 1)], dim=-1)
    return Narrow(value, slope, gaussian, steepness, sigmoid, softplus, rise, *fades)


def curvature(narrow: Narrow, radial: Radial) -> Tensor:
    """Second derivative of q in the distance."""
    bent = radial.layer(narrow.gaussian * (narrow.steepness.square() - radial.widths.square().reciprocal()))
    first = narrow.sigmoid * narrow.rise
    second = narrow.sigmoid * bent + first * narrow.rise * (1 - narrow.sigmoid)
    curved = second * narrow.fade + 2 * first * narrow.fade_slope + narrow.softplus * narrow.fade_curvature
    return torch.cat([curved, narrow.fade_curvature.expand(*curved.shape[:3], 1)], dim=-1)


def radial_bars(narrow: Narrow, radial: Radial, value_bar: Tensor, slope_bar: Tensor) -> Radial:
    """Derivatives in the parameters, given those in the features and in their slope.

    Args:
        narrow: The features.
        radial: The parameters.
        value_bar: Derivative of whatever is to be differentiated in the value of the features.
        slope_bar: The same in their slope.
    """
    value_bar, slope_bar = value_bar[..., :-1], slope_bar[..., :-1]  # the last one is the envelope alone
    gaussian, steepness, sigmoid = narrow.gaussian, narrow.steepness, narrow.sigmoid
    rise_bar = slope_bar * narrow.fade * sigmoid
    a_bar = sigmoid * (value_bar * narrow.fade + slope_bar * narrow.fade_slope)
    a_bar.addcmul_(rise_bar, (1 - sigmoid) * narrow.rise)
    a_back, rise_back = (bar.flatten(0, 1) @ radial.weight.flatten(0, 1).mT for bar in (a_bar, rise_bar))
    a_back, rise_back = a_back.view_as(gaussian), rise_back.view_as(gaussian)
    log_bar = gaussian * (a_back + rise_back * steepness)  # of ln g
    steepness_bar = gaussian * rise_back
    of_centres = steepness_bar / radial.widths.square() - log_bar * steepness
    of_widths = steepness * (log_bar * steepness * radial.widths - 2 * steepness_bar / radial.widths)
    weight = gaussian.mT @ a_bar + (gaussian * steepness).mT @ rise_bar
    return Radial(of_centres.sum(2, keepdim=True), of_widths.sum(2, keepdim=True), weight, a_bar.sum(2, keepdim=True))


def fade(distance: Tensor, *, cutoff: float, envelope: bool) -> list[Tensor]:
    """The envelope of :func:`sparring.potentials.schnet.polynomial_envelope`, its slope and its curvature."""
    if not envelope:
        inside = (distance < cutoff).to(distance)
        return [inside, torch.zeros_like(inside), torch.zeros_like(inside)]
    x = (distance / cutoff).clamp(max=1.0)
    value = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
    slope = -168 * x**5 * (1 - x) ** 2 / cutoff
    return [value, slope, -168 * x**4 * (1 - x) * (5 - 7 * x) / cutoff**2]
