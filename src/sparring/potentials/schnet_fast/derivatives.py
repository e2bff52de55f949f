r"""SchNet for a whole committee with analytic derivatives, where automatic ones pass too often over memory.

SchNet depends on a structure through distances only, so an attack needs the energy :math:`E(d)`, its gradient
:math:`\partial E / \partial d`, and the product of the Hessian with a direction :math:`\dot d`. They are computed here
by the chain rule, forwards and backwards through the network, and are to automatic differentiation the derivatives of
one operation. Positions, cells and strain reach the distances through ordinary operations.

One interaction, where an edge has features q (see `radial`) and atom i the representation :math:`h_i`:

==============================  =====================================================================
:math:`W_{ij} = q_{ij} A^T`     filter of an edge (the last column of A is the bias, that of q the envelope)
:math:`x_j = h_j N^T + n`       source features of an atom
:math:`m_i`                     message :math:`\sum_j W_{ij} \circ x_j`
:math:`t_i = m_i U^T + u`       update before the activation s, the shifted softplus
:math:`h_i + s(t_i) V^T + v`    next representation
:math:`r_i = h_i R^T + \rho`    readout before its activation, in the end
:math:`E = \sum_i s(r_i) w^T`   energy, besides constants
:math:`\bar y`                  derivative :math:`\partial E / \partial y`, ``y_bar`` in the code
:math:`\dot y`                  derivative of y along :math:`\dot d`, ``y_dot`` in the code
==============================  =====================================================================

The derivative of s is the sigmoid, :math:`s' = \sigma`, and :math:`s'' = \sigma (1 - \sigma)`.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.potentials.schnet_fast.neighbor_table import NeighborTable, edge_products
from sparring.potentials.schnet_fast.passes import Backward, Forward
from sparring.potentials.schnet_fast.radial import (
    EdgeFeatures,
    RadialParameters,
    edge_features,
    parameter_gradients,
    second_derivative,
    shifted_softplus,
)
from sparring.potentials.schnet_fast.weight_gradients import WeightGradients
from sparring.units import KCAL_PER_MOL

__all__ = ["AnalyticSchNet"]


class AnalyticSchNet:
    """SchNets of one architecture as a function of distances, with its first and second derivatives.

    Args:
        weights: Parameters and buffers, each with a leading axis of members.
        n_interactions: Number of interactions.
        cutoff: Largest distance at which atoms interact, in Å.
        envelope: True if messages fade out at the cutoff.
        reference_energies: True if elements have energies of their own.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        *,
        n_interactions: int,
        cutoff: float,
        envelope: bool,
        reference_energies: bool,
    ) -> None:
        def of_all_layers(name: str) -> list[Tensor]:
            return [weights[f"interactions.{layer}.{name}"] for layer in range(n_interactions)]

        def bias(name: str) -> list[Tensor]:
            return [values.unsqueeze(1) for values in of_all_layers(name)]

        self.cutoff, self.envelope, self.reference_energies = cutoff, envelope, reference_energies
        self.n_layers, self.n_members = n_interactions, len(weights["embedding.weight"])
        self.radial = RadialParameters(
            centres=torch.stack(bias("seen.0.centres")),
            widths=torch.stack(bias("seen.0.widths")),
            weight=torch.stack(of_all_layers("seen.1.weight")).mT,
            bias=torch.stack(bias("seen.1.bias")),
        )
        of_filters = torch.stack(of_all_layers("filter.weight")), torch.stack(bias("filter.bias")).mT
        self.A = torch.cat(of_filters, dim=-1)
        self.A_transposed = self.A.mT.contiguous()
        self.n_filters = self.A.shape[2]
        self.N, self.n = of_all_layers("node.weight"), bias("node.bias")
        self.U, self.u = of_all_layers("update.0.weight"), bias("update.0.bias")
        self.V, self.v = of_all_layers("update.2.weight"), bias("update.2.bias")
        self.R, self.rho = weights["readout.0.weight"], weights["readout.0.bias"].unsqueeze(1)
        self.w = weights["readout.2.weight"] * KCAL_PER_MOL
        self.w_bias = weights["readout.2.bias"].unsqueeze(1) * KCAL_PER_MOL
        self.embedding, self.atomic_energy = weights["embedding.weight"], weights["atomic_energy"]

    def forward(
        self,
        distance: Float[Tensor, "n_members n_edges"],
        structures: Structures,
        table: NeighborTable,
        weight_gradients: WeightGradients | None = None,
    ) -> tuple[Float[Tensor, "n_members n_structures"], EdgeFeatures, Forward]:
        """Energies in eV, and the tensors that derivatives need.

        Args:
            distance: Length of every edge, in Å; the same for an edge and its reverse.
            structures: Structures, whose elements and structure index are used.
            table: Table of their edges.
            weight_gradients: Derivatives in the weights, which save activations here.
        """
        lengths = table.from_edges(distance)
        features = edge_features(lengths, self.radial, cutoff=self.cutoff, envelope=self.envelope)
        h = self.embedding.index_select(1, structures.atomic_numbers)
        W, products = self._new(table, h, self.n_layers), self._new(table, h, 2)
        sigmoids = torch.empty_like(h.expand(self.n_layers, *h.shape), memory_format=torch.contiguous_format)
        x = h.new_empty(self.n_layers, *h.shape[:2], self.n_filters)
        for layer in range(self.n_layers):
            torch.baddbmm(self.n[layer], h, self.N[layer].mT, out=x[layer])  # x_j = h_j N^T + n
            for part in table.parts:
                w = part.filters(W[layer])
                torch.bmm(features.q[layer, :, part.entries], self.A_transposed[layer], out=w)  # W_ij = q_ij A^T
                torch.mul(part.at_ends(x[layer]), w.unsqueeze(1), out=part.products(products))
            m = table.sum(products)  # m_i = Σ_j W_ij ∘ x_j
            t = torch.baddbmm(self.u[layer], m, self.U[layer].mT)  # t_i = m_i U^T + u
            torch.sigmoid(t, out=sigmoids[layer])
            activated = shifted_softplus(t)
            if weight_gradients:
                weight_gradients.save_forward(h, m, activated)
            h.add_(self.v[layer]).baddbmm_(activated, self.V[layer].mT)  # h_i += s(t_i) V^T + v
        r = torch.baddbmm(self.rho, h, self.R.mT)  # r_i = h_i R^T + ρ
        activated = shifted_softplus(r)
        if weight_gradients:
            weight_gradients.save_forward(h, h, activated)
        atoms = ((activated * self.w).sum(-1) + self.w_bias.squeeze(1)).double()  # E_i = s(r_i) w^T + constant
        if self.reference_energies:
            atoms = atoms + self.atomic_energy.index_select(1, structures.atomic_numbers)
        energy = atoms.new_zeros(self.n_members, structures.n_structures)
        energy = energy.index_add(1, structures.structure_index, atoms)
        return energy, features, Forward(W, x, sigmoids, torch.sigmoid(r))

    def distance_gradient(
        self,
        features: EdgeFeatures,
        forward: Forward,
        table: NeighborTable,
        weight_gradients: WeightGradients | None = None,
    ) -> tuple[Float[Tensor, "n_members n_edges"], Backward]:
        """Derivative dE/dd in eV/Å; of an edge and its reverse that share an entry, one has the sum, the other zero."""
        W, x, sigmoids, readout_sigmoid = forward
        message_bar, activation_bar = torch.empty_like(x), torch.empty_like(sigmoids)
        q_bar, products = torch.empty_like(features.q), self._new(table, x, 2)
        h_bar = torch.bmm(readout_sigmoid * self.w, self.R)  # h̄ = (σ(r) ∘ w) R
        for layer in reversed(range(self.n_layers)):
            torch.bmm(h_bar, self.V[layer], out=activation_bar[layer])
            # m̄ = (h̄ V ∘ σ(t)) U
            torch.bmm(activation_bar[layer] * sigmoids[layer], self.U[layer], out=message_bar[layer])
            for part in table.parts:
                m_bar = part.at_ends(message_bar[layer])
                W_bar = edge_products(m_bar, part.at_ends(x[layer]))  # W̄_ij = m̄_i ∘ x_j + m̄_j ∘ x_i
                q_bar[layer, :, part.entries] = torch.bmm(W_bar, self.A[layer])  # q̄_ij = W̄_ij A
                if layer:
                    torch.mul(m_bar, part.filters(W[layer]).unsqueeze(1), out=part.products(products))
            x_bar = table.sum(products) if layer else None  # x̄_j = Σ_i W_ij ∘ m̄_i
            if weight_gradients:
                weight_gradients.save_backward(h_bar, x_bar)
            if x_bar is not None:  # x of the first layer does not depend on distances
                h_bar.baddbmm_(x_bar, self.N[layer])  # h̄ += x̄ N
        # dE/dd_ij = q̄_ij · dq/dd, summed over layers
        return table.to_edges(_dot(q_bar, features.dq)), Backward(message_bar, activation_bar, q_bar)

    def hessian_vector_product(
        self,
        features: EdgeFeatures,
        forward: Forward,
        backward: Backward,
        table: NeighborTable,
        direction: Float[Tensor, "n_members n_edges"],
    ) -> Float[Tensor, "n_members n_edges"]:
        r"""Derivative of dE/dd along a direction in the distances, :math:`\partial^2 E / \partial d^2 \, \dot d`."""
        d_dot = table.from_edges(direction)
        q_bar_dot = self._tangent(features, forward, backward, table, d_dot, None)
        # d/dḋ (q̄ · q') = q̄˙ · q' + q̄ · q'' ḋ
        product = _dot(q_bar_dot, features.dq)
        product.addcmul_(_dot(backward.q_bar, second_derivative(features, self.radial)), d_dot)
        return table.to_edges(product)

    def add_weight_gradients(
        self,
        features: EdgeFeatures,
        forward: Forward,
        backward: Backward,
        table: NeighborTable,
        direction: Float[Tensor, "n_members n_edges"],
        weight_gradients: WeightGradients,
    ) -> None:
        """Add the derivatives in the weights of a function of energies and dE/dd.

        Args:
            features: Edge features of the forward pass.
            forward: Tensors of the forward pass.
            backward: Tensors of the backward pass.
            table: Table of the edges.
            direction: Derivative of the function in dE/dd.
            weight_gradients: Derivatives in the weights, with activations saved in both passes, and with the derivative
                of the function in the energies.
        """
        d_dot = table.from_edges(direction)
        q_bar = self._tangent(features, forward, backward, table, d_dot, weight_gradients)
        dq_bar = backward.q_bar * d_dot.unsqueeze(-1)
        weight_gradients.radial(parameter_gradients(features, self.radial, q_bar, dq_bar))

    def _tangent(
        self,
        features: EdgeFeatures,
        forward: Forward,
        backward: Backward,
        table: NeighborTable,
        d_dot: Float[Tensor, "n_members n_entries"],
        weight_gradients: WeightGradients | None,
    ) -> Float[Tensor, "n_layers n_members n_entries n_q"]:
        r"""Forwards along a direction and back: derivative in q of :math:`\dot E`, or of S of `weight_gradients`."""
        W, x, sigmoids, readout_sigmoid = forward
        q_dot = features.dq * d_dot.unsqueeze(-1)
        x_dot, t_dot = torch.empty_like(x), torch.empty_like(sigmoids)
        W_dot, products = torch.empty_like(W), self._new(table, x, 2)
        h_dot = torch.zeros_like(sigmoids[0])
        for layer in range(self.n_layers):
            torch.bmm(h_dot, self.N[layer].mT, out=x_dot[layer])  # zero in the first layer
            for part in table.parts:
                w_dot, product = part.filters(W_dot[layer]), part.products(products)
                torch.bmm(q_dot[layer, :, part.entries], self.A_transposed[layer], out=w_dot)
                torch.mul(part.at_ends(x[layer]), w_dot.unsqueeze(1), out=product)
                if layer:
                    product.addcmul_(part.at_ends(x_dot[layer]), part.filters(W[layer]).unsqueeze(1))
            m_dot = table.sum(products)  # ṁ_i = Σ_j Ẇ_ij ∘ x_j + W_ij ∘ ẋ_j
            torch.bmm(m_dot, self.U[layer].mT, out=t_dot[layer])
            if weight_gradients:
                weight_gradients.save_direction(h_dot, m_dot)
            h_dot.baddbmm_(sigmoids[layer] * t_dot[layer], self.V[layer].mT)  # ḣ += (σ(t) ∘ ṫ) V^T
        r_dot = torch.bmm(h_dot, self.R.mT)
        r_bar_dot = _sigmoid_derivative(readout_sigmoid) * r_dot * self.w  # r̄˙ = s''(r) ∘ ṙ ∘ w
        if weight_gradients:
            r_bar_dot.addcmul_(weight_gradients.energy_bar.unsqueeze(-1), readout_sigmoid * self.w)
            weight_gradients.readout(r_bar_dot, readout_sigmoid, readout_sigmoid * self.w, h_dot, r_dot)
        h_bar_dot = torch.bmm(r_bar_dot, self.R)
        q_bar_dot = torch.empty_like(features.q)
        for layer in reversed(range(self.n_layers)):
            # t̄˙ = h̄˙ V ∘ σ(t) + h̄ V ∘ s''(t) ∘ ṫ
            t_bar_dot = torch.bmm(h_bar_dot, self.V[layer]).mul_(sigmoids[layer])
            t_bar_dot.addcmul_(backward.activation_bar[layer], _sigmoid_derivative(sigmoids[layer]).mul_(t_dot[layer]))
            message_bar_dot = torch.bmm(t_bar_dot, self.U[layer])
            for part in table.parts:
                m_bar_dot, m_bar, x_j = map(part.at_ends, (message_bar_dot, backward.message_bar[layer], x[layer]))
                # W̄˙_ij = m̄˙_i ∘ x_j + m̄_i ∘ ẋ_j, and the same with i and j exchanged
                W_bar_dot = edge_products(m_bar_dot, x_j)
                if layer:
                    edge_products(m_bar, part.at_ends(x_dot[layer]), W_bar_dot)
                q_bar_dot[layer, :, part.entries] = torch.bmm(W_bar_dot, self.A[layer])
                if weight_gradients:
                    weight_gradients.filter(layer, W_bar_dot, features.q[layer, :, part.entries])
                    weight_gradients.filter(layer, edge_products(m_bar, x_j), q_dot[layer, :, part.entries])
                if layer or weight_gradients:
                    product = part.products(products)
                    torch.mul(m_bar_dot, part.filters(W[layer]).unsqueeze(1), out=product)
                    product.addcmul_(m_bar, part.filters(W_dot[layer]).unsqueeze(1))
            if not layer and not weight_gradients:
                break
            x_bar_dot = table.sum(products)  # x̄˙_j = Σ_i W_ij ∘ m̄˙_i + Ẇ_ij ∘ m̄_i
            if weight_gradients:
                t_bar, s_dot = backward.activation_bar[layer] * sigmoids[layer], sigmoids[layer] * t_dot[layer]
                weight_gradients.update(layer, h_bar_dot, s_dot, t_bar_dot, t_bar)
                weight_gradients.node(layer, x_bar_dot)
            h_bar_dot.baddbmm_(x_bar_dot, self.N[layer])
        if weight_gradients:
            weight_gradients.embedding(h_bar_dot)
        return q_bar_dot

    def _new(self, table: NeighborTable, like: Tensor, n_rows: int) -> Tensor:
        """Uninitialised memory for rows of values of all entries and members: one a layer, or one for each end."""
        return like.new_empty(n_rows, table.n_members * len(table.edge), self.n_filters)


def _dot(left: Tensor, right: Tensor) -> Float[Tensor, "n_members n_entries"]:
    return (left * right).sum((0, -1))


def _sigmoid_derivative(sigmoid: Tensor) -> Tensor:
    return sigmoid * (1 - sigmoid)
