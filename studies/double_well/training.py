r"""Training of many networks of coordinates at once: all members of all committees of all loops.

It is the training of :func:`sparring.fit`: the same initial weights, the same minibatches, the same loss, Adam,
and the same choice of the best epoch; a test compares the two. Two things make a hundred loops cheap: networks of
different loops are trained in one pass, each with its own number of points, and the derivatives of the loss are written
out. For one network with layers l, weights W and b, and the last row w:

=============================  =============================================================================
:math:`z_l = W_l a_{l-1} + b`  before the activation; :math:`a_l` is its softplus, :math:`s_l` its sigmoid
:math:`E = w a + b`            energy
:math:`v_l = u_l \circ s_l`    derivative of E in :math:`z_l`; :math:`u_l = W_{l+1}^T v_{l+1}` that in :math:`a_l`
:math:`\bar y`                 derivative of the loss in y, ``y_bar`` in the code
=============================  =============================================================================
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sparring.potentials import CoordinateMLP
from sparring.support.seeds import derive
from sparring.training.adam import update

__all__ = ["Layers", "TrainingJob", "energies", "layers_of", "train"]


class Layers(NamedTuple):
    """Weights (n_networks, n_out, n_in) and biases (n_networks, 1, n_out) of each layer."""

    weights: list[Tensor]
    biases: list[Tensor]


class TrainingJob(NamedTuple):
    """The training of one network.

    Attributes:
        seed: Seed of its committee.
        member: Number of the network in the committee.
        train: Training set: points (n, n_coordinates) in Å, energies in eV, forces in eV/Å.
        validation: Validation set, in the same form.
    """

    seed: int
    member: int
    train: tuple[Tensor, Tensor, Tensor]
    validation: tuple[Tensor, Tensor, Tensor]


def layers_of(flat: Tensor, network: CoordinateMLP) -> Layers:
    """Rows of weights, in the order of the network's parameters, as its layers; views, not copies."""
    shapes = [parameter.shape for parameter in network.parameters()]
    parts = flat.split([shape.numel() for shape in shapes], dim=1)
    shaped = [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]
    return Layers(shaped[::2], [bias.unsqueeze(1) for bias in shaped[1::2]])


def energies(layers: Layers, points: Tensor) -> Tensor:
    """Energy of each network at each of its points (n_networks, n_points, n_coordinates); differentiable."""
    a = points
    for weight, bias in zip(layers.weights[:-1], layers.biases[:-1], strict=True):
        a = softplus(torch.baddbmm(bias, a, weight.mT))
    return torch.baddbmm(layers.biases[-1], a, layers.weights[-1].mT).squeeze(-1)


def train(
    network: CoordinateMLP,
    jobs: Sequence[TrainingJob],
    *,
    n_epochs: int,
    batch_size: int,
    learning_rate: float,
    energy_weight: float,
    force_weight: float,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The best weights of every network, one row each; the learning rate stays constant.

    A network that diverges keeps the weights of its best epoch; :func:`sparring.fit` would train it again.

    Raises:
        RuntimeError: If a network never has a finite loss.
    """
    # Networks with the most minibatches come first, so that those that still have one are a slice.
    order = sorted(range(len(jobs)), key=lambda i: -len(jobs[i].train[0]))
    jobs = [jobs[i] for i in order]
    sizes = [len(job.train[0]) for job in jobs]
    x, e, f, weight = _padded([job.train for job in jobs], dtype)
    validation = _padded([job.validation for job in jobs], dtype)
    flat = torch.stack([_initial_weights(network, job) for job in jobs]).to(dtype)
    # A product of many small matrices is fast only where its result is contiguous: every layer has tensors of its own.
    now, moments, squares, best = (
        [part.clone() for part in _flattened(layers_of(like, network))]
        for like in (flat, torch.zeros_like(flat), torch.zeros_like(flat), flat)
    )
    best_loss = torch.full((len(flat),), torch.inf, dtype=dtype)
    n_steps = torch.zeros(len(flat), dtype=torch.float64)
    rows = torch.arange(len(flat)).unsqueeze(1)
    for epoch in range(n_epochs):
        places = _shuffled(jobs, sizes, x.shape[1], epoch)
        shuffled = [values[rows, places] for values in (x, e, f)]
        for first in range(0, sizes[0], batch_size):
            k = sum(size > first for size in sizes)
            part = slice(first, first + batch_size)
            mask = weight[:k, part] > 0
            share = mask / mask.sum(1, keepdim=True)
            active = [values[:k] for values in now]
            batch_x, batch_e, batch_f = (values[:k, part] for values in shuffled)
            gradients = _gradients(_layers(active), batch_x, batch_e, batch_f, share, energy_weight, force_weight)
            n_steps[:k] += 1
            for values, moment, square, gradient in zip(active, moments, squares, gradients, strict=True):
                update(values, moment[:k], square[:k], gradient, n_steps=n_steps[:k], learning_rate=learning_rate)
        loss = _validate(_layers(now), validation, energy_weight, force_weight)
        better = torch.nonzero(loss < best_loss).flatten()
        best_loss[better] = loss[better]
        for best_values, values in zip(best, now, strict=True):
            best_values[better] = values[better]
        if progress:
            progress(epoch + 1, n_epochs)
    if not bool(torch.isfinite(best_loss).all()):
        raise RuntimeError(f"a network never had a finite loss; lower learning_rate (now {learning_rate:g})")
    inverse = torch.empty(len(order), dtype=torch.long)
    inverse[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat([values.flatten(1) for values in best], dim=1)[inverse]


def _flattened(layers: Layers) -> list[Tensor]:
    """Weight and bias of one layer after the other, the order of the network's parameters."""
    return [values for pair in zip(layers.weights, layers.biases, strict=True) for values in pair]


def _layers(values: Sequence[Tensor]) -> Layers:
    return Layers(list(values[::2]), list(values[1::2]))


def _initial_weights(network: CoordinateMLP, job: TrainingJob) -> Tensor:
    network.initialise(torch.Generator().manual_seed(derive(job.seed, "weights", job.member)))
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def _padded(sets: Sequence[tuple[Tensor, Tensor, Tensor]], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Points, energies and forces padded to the size of the largest set, and weights 1/n of the n true points."""
    columns = [torch.nn.utils.rnn.pad_sequence(list(column), batch_first=True) for column in zip(*sets, strict=True)]
    weight = torch.nn.utils.rnn.pad_sequence([torch.full((len(s[0]),), 1 / len(s[0])) for s in sets], batch_first=True)
    return tuple(column.to(dtype) for column in (*columns, weight))


def _shuffled(jobs: Sequence[TrainingJob], sizes: Sequence[int], width: int, epoch: int) -> Tensor:
    """Order of the training set of each network in an epoch; padding stays at the end."""
    places = torch.arange(width).repeat(len(jobs), 1)
    for row, (job, size) in enumerate(zip(jobs, sizes, strict=True)):
        generator = torch.Generator().manual_seed(derive(job.seed, "order", job.member, epoch))
        places[row, :size] = torch.randperm(size, generator=generator)
    return places


def _forward(layers: Layers, x: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """The activations a, starting with the points, their derivatives s, and the energies."""
    a, s = [x], []
    for weight, bias in zip(layers.weights[:-1], layers.biases[:-1], strict=True):
        z = torch.baddbmm(bias, a[-1], weight.mT)
        a.append(softplus(z))
        s.append(z.sigmoid_())
    return a, s, torch.baddbmm(layers.biases[-1], a[-1], layers.weights[-1].mT).squeeze(-1)


def _energy_gradient(layers: Layers, s: list[Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """u and v of each layer, and the derivative of the energy in the points."""
    u, v = layers.weights[-1], layers.weights[-1] * s[-1]
    us, vs = [u], [v]
    for weight, derivative in zip(reversed(layers.weights[1:-1]), reversed(s[:-1]), strict=True):
        us.append(torch.bmm(vs[-1], weight))
        vs.append(us[-1] * derivative)
    return us[::-1], vs[::-1], torch.bmm(vs[-1], layers.weights[0])


def _gradients(
    layers: Layers, x: Tensor, e: Tensor, f: Tensor, share: Tensor, energy_weight: float, force_weight: float
) -> list[Tensor]:
    """The gradient of the loss of Eq. 3 in all weights and biases; ``share`` is 1/n for each of n points."""
    a, s, energy = _forward(layers, x)
    u, v, gradient = _energy_gradient(layers, s)
    e_bar = ((2 * energy_weight) * (energy - e) * share).unsqueeze(-1)
    # Forces have a third component, which is zero on both sides.
    u_bar = (2 / 3 * force_weight) * (gradient + f) * share.unsqueeze(-1)

    # Backward through dE/dx, which runs from the last layer to the first, ...
    gradients: list[Tensor] = []
    z_bars: list[Tensor] = []
    for layer, weight in enumerate(layers.weights[:-1]):
        gradients.append(torch.bmm(v[layer].mT, u_bar))
        v_bar = torch.bmm(u_bar, weight.mT)
        s_bar = v_bar * u[layer]
        z_bars.append(s_bar.addcmul_(s_bar, s[layer], value=-1).mul_(s[layer]))  # ds/dz = s (1 - s)
        u_bar = v_bar.mul_(s[layer])
    # ... then backward through the energy; weights have a contribution from both.
    last = torch.baddbmm(u_bar.sum(1, keepdim=True), e_bar.mT, a[-1])
    biases = [e_bar.sum(1, keepdim=True)]
    a_bar = e_bar * layers.weights[-1]
    for layer in reversed(range(len(s))):
        z_bar = a_bar.mul_(s[layer]).add_(z_bars[layer])
        gradients[layer].baddbmm_(z_bar.mT, a[layer])
        biases.append(z_bar.sum(1, keepdim=True))
        if layer:
            a_bar = torch.bmm(z_bar, layers.weights[layer])
    return _flattened(Layers([*gradients, last], biases[::-1]))


def _validate(layers: Layers, validation: tuple[Tensor, ...], energy_weight: float, force_weight: float) -> Tensor:
    """The loss (mean of √loss)² of a network's validation set, as in :func:`sparring.fit`."""
    x, e, f, share = validation
    _, s, energy = _forward(layers, x)
    gradient = _energy_gradient(layers, s)[2]
    loss = energy_weight * (energy - e).square() + force_weight / 3 * (gradient + f).square().sum(-1)
    return (loss.sqrt() * share).sum(1).square()
