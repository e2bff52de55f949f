r"""Plain networks of coordinates, as many as there are members in all committees of all loops, trained side by side.

It is the training of :func:`sparring.fit`: the same weights to begin with, the same minibatches, the same loss, Adam,
and the same choice of the best epoch. A test holds the two against each other. Two things make a hundred loops cheap:
networks that belong to different loops learn in one pass, each from as many points as it has, and the derivatives of
the loss are written out. Of one network, with layers l, weights W and b, and the last row w:

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

__all__ = ["Layers", "Lesson", "energies", "layers_of", "train"]


class Layers(NamedTuple):
    """Weights (n_networks, n_out, n_in) and biases (n_networks, 1, n_out) of each layer."""

    weights: list[Tensor]
    biases: list[Tensor]


class Lesson(NamedTuple):
    """What one network learns, and from what.

    Attributes:
        seed: Of the committee that it is a member of.
        member: Its number there.
        train: Its training set: points (n, n_coordinates) in Å, energies in eV, forces in eV/Å.
        validation: The same for what decides which of its weights are kept.
    """

    seed: int
    member: int
    train: tuple[Tensor, Tensor, Tensor]
    validation: tuple[Tensor, Tensor, Tensor]


def layers_of(flat: Tensor, network: CoordinateMLP) -> Layers:
    """Rows of weights, in the order of the network's parameters, as its layers; nothing is copied."""
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
    lessons: Sequence[Lesson],
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

    A network that diverges keeps what it had in its best epoch, and does not get the second chance that
    :func:`sparring.fit` gives it.

    Raises:
        RuntimeError: If a network never has a finite loss.
    """
    # Networks that have no minibatch left in an epoch are at the end, so that those that do are a slice.
    order = sorted(range(len(lessons)), key=lambda i: -len(lessons[i].train[0]))
    lessons = [lessons[i] for i in order]
    sizes = [len(lesson.train[0]) for lesson in lessons]
    x, e, f, weight = _padded([lesson.train for lesson in lessons], dtype)
    validation = _padded([lesson.validation for lesson in lessons], dtype)
    flat = torch.stack([_fresh(network, lesson) for lesson in lessons]).to(dtype)
    # A product of many small matrices is fast only where its result is contiguous: every layer has tensors of its own.
    now, moments, squares, best = (
        [part.clone() for part in _flattened(layers_of(like, network))]
        for like in (flat, torch.zeros_like(flat), torch.zeros_like(flat), flat)
    )
    best_loss = torch.full((len(flat),), torch.inf, dtype=dtype)
    n_steps = torch.zeros(len(flat), dtype=torch.float64)
    rows = torch.arange(len(flat)).unsqueeze(1)
    for epoch in range(n_epochs):
        places = _shuffled(lessons, sizes, x.shape[1], epoch)
        shuffled = [values[rows, places] for values in (x, e, f)]
        for first in range(0, sizes[0], batch_size):
            k = sum(size > first for size in sizes)
            part = slice(first, first + batch_size)
            mask = weight[:k, part] > 0
            share = mask / mask.sum(1, keepdim=True)
            some = [values[:k] for values in now]
            batch_x, batch_e, batch_f = (values[:k, part] for values in shuffled)
            gradients = _gradients(_layers(some), batch_x, batch_e, batch_f, share, energy_weight, force_weight)
            n_steps[:k] += 1
            for values, moment, square, gradient in zip(some, moments, squares, gradients, strict=True):
                update(values, moment[:k], square[:k], gradient, n_steps=n_steps[:k], learning_rate=learning_rate)
        loss = _validate(_layers(now), validation, energy_weight, force_weight)
        better = torch.nonzero(loss < best_loss).flatten()
        best_loss[better] = loss[better]
        for kept, values in zip(best, now, strict=True):
            kept[better] = values[better]
        if progress:
            progress(epoch + 1, n_epochs)
    if not bool(torch.isfinite(best_loss).all()):
        raise RuntimeError(f"a network never had a finite loss; lower learning_rate (now {learning_rate:g})")
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat([values.flatten(1) for values in best], dim=1)[back]


def _flattened(layers: Layers) -> list[Tensor]:
    """Weight and bias of one layer after the other, the order of the network's parameters."""
    return [values for pair in zip(layers.weights, layers.biases, strict=True) for values in pair]


def _layers(values: Sequence[Tensor]) -> Layers:
    return Layers(list(values[::2]), list(values[1::2]))


def _fresh(network: CoordinateMLP, lesson: Lesson) -> Tensor:
    network.initialise(torch.Generator().manual_seed(derive(lesson.seed, "weights", lesson.member)))
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def _padded(sets: Sequence[tuple[Tensor, Tensor, Tensor]], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Points, energies and forces filled up to the size of the largest set, and 1/n for each true one of n."""
    columns = [torch.nn.utils.rnn.pad_sequence(list(column), batch_first=True) for column in zip(*sets, strict=True)]
    weight = torch.nn.utils.rnn.pad_sequence([torch.full((len(s[0]),), 1 / len(s[0])) for s in sets], batch_first=True)
    return tuple(column.to(dtype) for column in (*columns, weight))


def _shuffled(lessons: Sequence[Lesson], sizes: Sequence[int], width: int, epoch: int) -> Tensor:
    """In which order each network sees its training set; fillers stay at the end."""
    places = torch.arange(width).repeat(len(lessons), 1)
    for row, (lesson, size) in enumerate(zip(lessons, sizes, strict=True)):
        generator = torch.Generator().manual_seed(derive(lesson.seed, "order", lesson.member, epoch))
        places[row, :size] = torch.randperm(size, generator=generator)
    return places


def _forward(layers: Layers, x: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """The activations a, from the points on, their slopes s, and the energies."""
    a, s = [x], []
    for weight, bias in zip(layers.weights[:-1], layers.biases[:-1], strict=True):
        z = torch.baddbmm(bias, a[-1], weight.mT)
        a.append(softplus(z))
        s.append(z.sigmoid_())
    return a, s, torch.baddbmm(layers.biases[-1], a[-1], layers.weights[-1].mT).squeeze(-1)


def _slope(layers: Layers, s: list[Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """u and v of each layer, and the derivative of the energy in the points."""
    u, v = layers.weights[-1], layers.weights[-1] * s[-1]
    us, vs = [u], [v]
    for weight, slope in zip(reversed(layers.weights[1:-1]), reversed(s[:-1]), strict=True):
        us.append(torch.bmm(vs[-1], weight))
        vs.append(us[-1] * slope)
    return us[::-1], vs[::-1], torch.bmm(vs[-1], layers.weights[0])


def _gradients(
    layers: Layers, x: Tensor, e: Tensor, f: Tensor, share: Tensor, energy_weight: float, force_weight: float
) -> list[Tensor]:
    """The gradient of the loss of Eq. 3 in all weights and biases; ``share`` is 1/n for each of n points."""
    a, s, energy = _forward(layers, x)
    u, v, slope = _slope(layers, s)
    e_bar = ((2 * energy_weight) * (energy - e) * share).unsqueeze(-1)
    # Forces have a third component, which is zero on both sides.
    u_bar = (2 / 3 * force_weight) * (slope + f) * share.unsqueeze(-1)

    # Back through the derivative, which went from the last layer to the first, ...
    gradients: list[Tensor] = []
    curl: list[Tensor] = []
    for layer, weight in enumerate(layers.weights[:-1]):
        gradients.append(torch.bmm(v[layer].mT, u_bar))
        v_bar = torch.bmm(u_bar, weight.mT)
        of_slope = v_bar * u[layer]
        curl.append(of_slope.addcmul_(of_slope, s[layer], value=-1).mul_(s[layer]))
        u_bar = v_bar.mul_(s[layer])
    # ... then back through the energy: weights get a part from both ways.
    last = torch.baddbmm(u_bar.sum(1, keepdim=True), e_bar.mT, a[-1])
    biases = [e_bar.sum(1, keepdim=True)]
    a_bar = e_bar * layers.weights[-1]
    for layer in reversed(range(len(s))):
        z_bar = a_bar.mul_(s[layer]).add_(curl[layer])
        gradients[layer].baddbmm_(z_bar.mT, a[layer])
        biases.append(z_bar.sum(1, keepdim=True))
        if layer:
            a_bar = torch.bmm(z_bar, layers.weights[layer])
    return _flattened(Layers([*gradients, last], biases[::-1]))


def _validate(layers: Layers, validation: tuple[Tensor, ...], energy_weight: float, force_weight: float) -> Tensor:
    """The square of the mean root of the losses of a network's validation set, as in :func:`sparring.fit`."""
    x, e, f, share = validation
    _, s, energy = _forward(layers, x)
    slope = _slope(layers, s)[2]
    loss = energy_weight * (energy - e).square() + force_weight / 3 * (slope + f).square().sum(-1)
    return (loss.sqrt() * share).sum(1).square()
