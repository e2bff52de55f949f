r"""Derivatives of a loss in the weights of SchNets, from tensors that the derivatives of the energy need anyway.

A loss depends on the weights through energies E and their gradients in the distances. With the derivative of the loss
in dE/dd as a direction :math:`\dot d`, and that in the energies as :math:`\bar E`, its gradient is that of

.. math:: S = \dot E + \sum_s \bar E_s E_s

and for a linear layer :math:`y = x W^T + b`, which along the direction is :math:`\dot y = \dot x W^T`,

.. math:: \frac{\partial S}{\partial W} = \left(\frac{\partial S}{\partial y}\right)^T x + \bar y^T \dot x,
    \qquad \frac{\partial S}{\partial b} = \sum \frac{\partial S}{\partial y}

where :math:`\bar y = \partial E / \partial y` is known from the backward pass, and :math:`\partial S / \partial y` from
the backward pass along the direction.
"""

from collections.abc import Mapping

from jaxtyping import Float, Int
from torch import Tensor

from sparring.potentials.schnet_fast.radial import RadialParameters
from sparring.units import KCAL_PER_MOL

__all__ = ["WeightGradients"]


class WeightGradients:
    """Activations saved in the passes through the network, and the derivatives in its weights that follow from them.

    Names are those of :class:`sparring.potentials.schnet_fast.derivatives.AnalyticSchNet`; ``total`` is a derivative of
    S.

    Args:
        gradient: Derivatives in the weights, by name, with a leading axis of members; added to in place.
        atomic_numbers: Elements of the atoms.
    """

    energy_bar: Float[Tensor, "n_members n_atoms"]
    """Derivative of the loss in the energy of each atom's structure; set once the loss is known."""

    def __init__(self, gradient: Mapping[str, Tensor], atomic_numbers: Int[Tensor, " n_atoms"]) -> None:
        self.gradient = gradient
        self.atomic_numbers = atomic_numbers
        self.h: list[Tensor] = []
        self.m: list[Tensor] = []
        self.activated: list[Tensor] = []
        self.h_bar: list[Tensor] = []
        self.x_bar: list[Tensor | None] = []
        self.h_dot: list[Tensor] = []
        self.m_dot: list[Tensor] = []

    # --- saved activations ----------------------------------------------------------------------------------------

    def save_forward(self, h: Tensor, m: Tensor, activated: Tensor) -> None:
        """Save the input h, the message m and the activation s(t) of an interaction, or of the readout in the end."""
        self.h.append(h.clone())
        self.m.append(m)
        self.activated.append(activated)

    def save_backward(self, h_bar: Tensor, x_bar: Tensor | None) -> None:
        """Save the derivatives in the output h and the source features x; the last interaction comes first."""
        self.h_bar.insert(0, h_bar.clone())
        self.x_bar.insert(0, x_bar)

    def save_direction(self, h_dot: Tensor, m_dot: Tensor) -> None:
        """Save the derivatives of h and m along the direction."""
        self.h_dot.append(h_dot.clone())
        self.m_dot.append(m_dot)

    # --- derivatives in the weights -------------------------------------------------------------------------------

    def readout(self, total: Tensor, sigmoid: Tensor, r_bar: Tensor, h_dot: Tensor, r_dot: Tensor) -> None:
        """Both layers of the readout; ``total`` is dS/dr."""
        self._linear("readout.0", total, self.h[-1])
        self._add("readout.0.weight", r_bar, h_dot)
        energy_bar = self.energy_bar.unsqueeze(-1)
        last = sigmoid * r_dot + energy_bar * self.activated[-1]
        self.gradient["readout.2.weight"].add_(last.sum(1, keepdim=True), alpha=KCAL_PER_MOL)
        self.gradient["readout.2.bias"].add_(energy_bar.sum(1), alpha=KCAL_PER_MOL)

    def update(self, layer: int, total: Tensor, s_dot: Tensor, t_total: Tensor, t_bar: Tensor) -> None:
        """U, u, V and v of an interaction; ``total`` is the derivative of S in its output h, ``t_total`` dS/dt."""
        name = f"interactions.{layer}.update"
        self._linear(f"{name}.2", total, self.activated[layer])
        self._add(f"{name}.2.weight", self.h_bar[layer], s_dot)
        self._linear(f"{name}.0", t_total, self.m[layer])
        self._add(f"{name}.0.weight", t_bar, self.m_dot[layer])

    def node(self, layer: int, total: Tensor) -> None:
        """N and n of an interaction; ``total`` is dS/dx."""
        self._linear(f"interactions.{layer}.node", total, self.h[layer])
        x_bar = self.x_bar[layer]
        if x_bar is not None:
            self._add(f"interactions.{layer}.node.weight", x_bar, self.h_dot[layer])

    def filter(self, layer: int, bar: Tensor, q: Tensor) -> None:
        """One term of the derivative in A: dS/dW with q, or the derivative of E in W with q along the direction."""
        product = bar.mT @ q
        self.gradient[f"interactions.{layer}.filter.weight"].add_(product[..., :-1])
        self.gradient[f"interactions.{layer}.filter.bias"].add_(product[..., -1])

    def radial(self, gradients: RadialParameters) -> None:
        """Parameters of the edge features, in all layers."""
        for layer in range(len(self.m_dot)):
            name = f"interactions.{layer}.seen"
            self.gradient[f"{name}.0.centres"].add_(gradients.centres[layer].squeeze(1))
            self.gradient[f"{name}.0.widths"].add_(gradients.widths[layer].squeeze(1))
            self.gradient[f"{name}.1.weight"].add_(gradients.weight[layer].mT)
            self.gradient[f"{name}.1.bias"].add_(gradients.bias[layer].squeeze(1))

    def embedding(self, total: Tensor) -> None:
        """Embeddings of the elements; ``total`` is the derivative of S in the first h."""
        self.gradient["embedding.weight"].index_add_(1, self.atomic_numbers, total)

    def _linear(self, name: str, total: Tensor, x: Tensor) -> None:
        self._add(f"{name}.weight", total, x)
        self.gradient[f"{name}.bias"].add_(total.sum(1))

    def _add(self, name: str, bar: Tensor, x: Tensor) -> None:
        self.gradient[name].baddbmm_(bar.mT, x)
