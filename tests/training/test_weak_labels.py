from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

from sparring.atoms.curvature import HessianLabels
from sparring.atoms.dataset import Dataset
from sparring.atoms.reference import HESSIAN_DIRECTION, HESSIAN_PRODUCT, HESSIAN_STEP, with_hessian_label
from sparring.evaluation import evaluate
from sparring.inputs.extxyz import read_labelled, write_structures
from sparring.potentials import ACE, CoordinateMLP, SchNet, WithPrior
from sparring.training import fitting
from sparring.training.fitting import fit
from sparring.training.jobs import jobs_of, members_of, packed, structure_keys
from sparring.training.loss import Loss
from sparring.training.splits import Splits
from sparring.training.trainer import modules_of
from sparring.training.weak_labels import CENTRAL_STEP, REACH, HessianTerm, Taylor, weak_terms

SCHNET = {"n_features": 6, "n_filters": 6, "n_interactions": 2, "n_gaussians": 6, "cutoff": 4.0}
CHOSEN = torch.tensor([[0, 5, 3], [1, 4, 9]])
SHARE = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.4, 0.4]], dtype=torch.float64)


def labelled(frames, *, step=0.05, every=1):
    """Random labels, and Hessian-vector labels of every n-th structure."""
    generator = np.random.default_rng(0)
    for index, atoms in enumerate(frames):
        atoms.info["REF_energy"] = generator.normal()
        atoms.arrays["REF_forces"] = generator.normal(size=(len(atoms), 3))
        if index % every == 0:
            direction, product = generator.normal(size=(2, len(atoms), 3))
            frames[index] = with_hessian_label(atoms, direction / np.linalg.norm(direction), product, step)
    return Dataset.from_atoms(frames)


@pytest.fixture
def datasets(ammonia, water, rattled):
    def make(kind, **options):
        frames = rattled(ammonia, 12)
        return labelled([*frames[:5], *rattled(water, 7)] if kind == "molecules" else frames, **options)

    return make


def loss_of(dataset, network, terms=None):
    """Loss, weights and terms of two members."""
    jobs = jobs_of([dataset], [3], None, 2)
    members, network = members_of(jobs), network.for_data(dataset)
    modules = modules_of(network, members)
    data = packed(jobs, network, None, torch.float64, "cpu")
    loss = Loss(modules[0] if modules else network, data, 0.7, 1.3, torch.zeros(2, 100), modules)
    size = sum(weight.numel() for weight in loss.architecture.parameters())
    weights = 0.3 * torch.randn(2, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = weak_terms(HessianLabels.of(dataset), data, structure_keys(jobs), *(terms or (Taylor(length=0.05), 0.4)))
    return loss, weights, found


def slow_hessian_loss(loss, weights, dataset, chosen, share, weight):
    """Mean squared errors of Hessian-vector products, one member and one structure at a time."""
    labels, total = HessianLabels.of(dataset), []
    first = dataset.structures.first_atoms.tolist()
    for member, (rows, shares) in enumerate(zip(chosen.tolist(), share, strict=True)):
        one = loss._of_members(slice(member, member + 1))
        value = torch.zeros((), dtype=torch.float64)
        for row, part in zip(rows, shares, strict=True):
            if not labels.known[row]:
                continue
            n = int(dataset.structures.counts[row])
            atoms = slice(first[row], first[row] + n)
            step = float(labels.step[row]) or CENTRAL_STEP
            begin = 0.0 if labels.step[row] else -CENTRAL_STEP / 2
            slopes = []
            for offset in (begin, begin + step):
                batch = one.data.gather(torch.tensor([[row]]))
                moved = batch.positions.clone()
                moved[0, :n] += offset * labels.direction[atoms]
                batch = batch._replace(per_member={**batch.per_member, "positions": moved})
                slopes.append(
                    one.energies_and_slopes(weights[member : member + 1], batch, create_graph=False)[1][0, :n]
                )
            residual = (slopes[1] - slopes[0]) / step - labels.product[atoms]
            value = value + part * weight * residual.square().mean()
        total.append(value)
    return torch.stack(total).detach()


def along(function, weights, seed=1):
    """Direction in the weights, and the slope of a function of weights along it by finite differences."""
    direction = torch.randn(weights.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    step = 1e-5
    return direction, (function(weights + step * direction) - function(weights - step * direction)) / (2 * step)


NETWORKS = {
    "schnet": lambda: SchNet(**SCHNET),
    "ace": lambda: ACE(n_features=3, cutoff=4.0),
    "schnet with a prior": lambda: WithPrior.of(SchNet(**SCHNET)),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("kind", "options"), [("ammonia", {}), ("ammonia", {"step": 0.0}), ("molecules", {"every": 2})]
)
def test_the_gradient_of_the_hessian_loss_is_that_of_finite_differences(datasets, kind, options, network):
    dataset = datasets(kind, **options)
    loss, weights, (_, term) = loss_of(dataset, NETWORKS[network]())
    assert isinstance(term, HessianTerm)
    gradient = term.gradient(loss, weights, CHOSEN, SHARE)
    direction, slope = along(lambda w: slow_hessian_loss(loss, w, dataset, CHOSEN, SHARE, 0.4), weights)
    torch.testing.assert_close((gradient * direction).sum(1), slope, rtol=1e-5, atol=1e-7)
    equal = torch.full_like(SHARE, 1 / 3)
    torch.testing.assert_close(
        term.gradient(loss, weights, CHOSEN, None), term.gradient(loss, weights, CHOSEN, equal), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("kind", ["ammonia", "molecules"])
@pytest.mark.parametrize("epoch", [0, 1])
def test_the_gradient_of_the_taylor_loss_is_that_of_finite_differences(datasets, kind, epoch):
    loss, weights, (term, _) = loss_of(datasets(kind, every=2), SchNet(**SCHNET))
    term = term.at_epoch(epoch)
    gradient = term.gradient(loss, weights, CHOSEN, SHARE)
    direction, slope = along(lambda w: loss.gradient(w, CHOSEN, SHARE, term)[0].detach(), weights)
    torch.testing.assert_close((gradient * direction).sum(1), slope, rtol=1e-5, atol=1e-7)


def springs(atoms, rest, constant=10.0):
    """Energy in eV, forces and Hessian of springs of all coordinates to a geometry: second order is exact."""
    moved = atoms.positions - rest
    return 0.5 * constant * (moved**2).sum(), -constant * moved


def test_energies_of_displaced_structures_are_exact_to_the_order_of_their_labels(ammonia, rattled):
    frames = rattled(ammonia, 12)
    for index, atoms in enumerate(frames):
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = springs(atoms, ammonia.positions)
        direction = np.random.default_rng(index).normal(size=(4, 3))
        direction /= np.linalg.norm(direction)
        frames[index] = with_hessian_label(atoms, direction, 10.0 * direction, 0.0)
    dataset = Dataset.from_atoms(frames)
    _, _, terms = loss_of(dataset, SchNet(**SCHNET), (Taylor(length=0.03), 0.0))
    for epoch in range(4):
        term = terms[0].at_epoch(epoch)
        moved = (dataset.structures.positions + term.displacement).reshape(12, 4, 3) - torch.tensor(ammonia.positions)
        true = 5.0 * moved.square().sum((1, 2))
        size = term.displacement.reshape(12, -1).square().sum(1)
        missing = 0.0 if epoch % 2 else 5.0 * size  # along a label, the second order is known
        torch.testing.assert_close(term.energy + missing, true, rtol=1e-9, atol=1e-9)
        assert 0.1 < (size.mean() / (12 * 0.03**2)).item() < 3
        assert (term.displacement == terms[0].at_epoch(epoch).displacement).all()
    assert (terms[0].at_epoch(0).displacement != terms[0].at_epoch(2).displacement).any()


def test_structures_without_forces_have_no_part_in_the_taylor_loss(datasets, ammonia, rattled):
    frames = datasets("ammonia").to_atoms()
    for atoms in frames:
        del atoms.arrays["REF_forces"]
    frames[5].arrays["REF_forces"] = np.ones((4, 3))
    loss, weights, (term, *_) = loss_of(Dataset.from_atoms(frames), SchNet(**SCHNET))
    gradient = term.at_epoch(0).gradient(loss, weights, CHOSEN, SHARE)
    assert gradient[0].abs().max() > 0
    assert (gradient[1] == 0).all()


def well(points):
    """A double well of two coordinates with its forces, and products of its Hessian with random directions."""
    frames = []
    for index, (x, y) in enumerate(points):
        direction = np.zeros((1, 3))
        direction[0, :2] = np.random.default_rng(index).normal(size=2)
        direction /= np.linalg.norm(direction)
        hessian = np.diag([12 * x**2 - 4, 4.0, 0.0])
        hessian[0, 1] = hessian[1, 0] = 0.5
        atoms = Atoms("X", positions=[[x, y, 0.0]], info={"REF_energy": (x**2 - 1) ** 2 + 2 * y**2 + 0.5 * x * y})
        atoms.arrays["REF_forces"] = -np.array([[4 * x * (x**2 - 1) + 0.5 * y, 4 * y + 0.5 * x, 0.0]])
        frames.append(with_hessian_label(atoms, direction, direction @ hessian, 0.0))
    return Dataset.from_atoms(frames)


FEW = {"n_epochs": 250, "batch_size": 20, "energy_weight": 1.0, "patience": None, "seed": 1}


def splits(n, n_validation):
    """Two members that train on the first structures and are validated on the others."""
    train, validation = tuple(range(n)), tuple(range(n, n + n_validation))
    return Splits(test=(), train=(train,) * 2, validation=(validation,) * 2)


def force_error(data, test, splits, **options):
    """Error of the forces of a small network, after 250 steps."""
    network = CoordinateMLP(n_layers=2, n_units=16)
    return evaluate(fit(network, data, splits=splits, **FEW, **options)[0], test).force_rmse


def test_products_with_the_hessian_lower_the_error_where_labels_are_few():
    data = well(np.random.default_rng(5).uniform(-1.4, 1.4, size=(48, 2)))
    axis = np.linspace(-1.2, 1.2, 8)
    test = well([(x, y) for x in axis for y in axis])
    training = {"force_weight": 0.1, "learning_rate": 0.05, "ema_decay": 0.9}
    plain, weak = (force_error(data, test, splits(8, 40), hessian_weight=w, **training) for w in (0.0, 0.1))
    assert weak < 0.85 * plain


def test_energies_of_displaced_structures_teach_the_forces_around_the_labels():
    points = np.random.default_rng(5).uniform(-1.2, 1.2, size=(10, 2))
    near = well(points + np.random.default_rng(1).normal(scale=0.1, size=points.shape))
    training = {"force_weight": 0.0, "learning_rate": 0.03, "hessian_weight": 0.0}
    options: tuple = ({}, {"taylor": Taylor(length=0.1, weight=10.0)})
    plain, weak = (force_error(well([*points, *points]), near, splits(10, 10), **training, **o) for o in options)
    assert weak < 0.97 * plain


def test_several_committees_get_the_displacements_that_each_gets_alone(datasets):
    dataset = datasets("ammonia")
    alone = jobs_of([dataset], [7], None, 2)
    together = jobs_of([datasets("ammonia", step=0.1), dataset], [3, 7], None, 2)
    assert structure_keys(together)[12:] == structure_keys(alone)


@pytest.mark.parametrize(
    ("options", "reach"),
    [({}, REACH), ({"hessian_weight": 0.0}, 0.0), ({"taylor": Taylor(), "hessian_weight": 0.0}, REACH)],
)
def test_crystals_have_edges_as_far_as_displaced_atoms_see(salt, rattled, options, reach, monkeypatch):
    dataset, seen = labelled(rattled(salt, 8)), []

    def spy(labels, data, *more):
        seen.append(data.structures.edge_cutoff)
        return weak_terms(labels, data, *more)

    monkeypatch.setattr(fitting, "weak_terms", spy)
    fit(SchNet(**SCHNET), dataset, seed=0, n_members=2, n_epochs=1, **options)
    assert seen == [SCHNET["cutoff"] + reach]


def test_the_same_seed_gives_the_same_bits(datasets):
    training = {"n_members": 2, "n_epochs": 2, "batch_size": 4, "taylor": Taylor(), "hessian_weight": 0.1}
    one, again, other = (
        fit(SchNet(**SCHNET), datasets("molecules"), seed=seed, **training)[0].state()[1]["weights_sha256"]
        for seed in (1, 1, 2)
    )
    assert one == again != other


def test_hessian_labels_survive_a_data_set_and_a_file(datasets, tmp_path):
    dataset = datasets("molecules", every=2)
    write_structures(tmp_path / "data.extxyz", dataset.to_atoms())
    again = Dataset.from_atoms(read_labelled(tmp_path / "data.extxyz"))
    for one, other in zip(HessianLabels.of(dataset), HessianLabels.of(again), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert HessianLabels.of(dataset.take([1, 3])) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {HESSIAN_PRODUCT: None},
            f"structure 0 has '{HESSIAN_DIRECTION}' without '{HESSIAN_PRODUCT}'; give both, or leave both out",
        ),
        ({HESSIAN_DIRECTION: None}, f"structure 0 has '{HESSIAN_PRODUCT}' without '{HESSIAN_DIRECTION}'"),
        (
            {HESSIAN_PRODUCT: np.full((4, 3), np.nan)},
            f"structure 0: '{HESSIAN_PRODUCT}' must be three finite numbers for each of 4 atoms",
        ),
        ({HESSIAN_STEP: -1.0}, f"structure 0: '{HESSIAN_STEP}' must be a length in Å from 0 on, got -1.0"),
    ],
)
def test_a_hessian_label_that_is_not_whole_is_an_error(datasets, change, message):
    dataset = datasets("ammonia")
    arrays = {**dataset.arrays[0], **{k: v for k, v in change.items() if k != HESSIAN_STEP}}
    arrays = {name: values for name, values in arrays.items() if values is not None}
    info = {**dataset.info[0], **({HESSIAN_STEP: change[HESSIAN_STEP]} if HESSIAN_STEP in change else {})}
    broken = replace(dataset, arrays=(arrays, *dataset.arrays[1:]), info=(info, *dataset.info[1:]))
    with pytest.raises(ValueError, match=message):
        fit(SchNet(**SCHNET), broken, seed=0, n_members=2, n_epochs=1)


def test_options_that_make_no_sense_are_an_error(datasets):
    with pytest.raises(ValueError, match=r"hessian_weight must be a number from 0 on, got -1"):
        fit(SchNet(**SCHNET), datasets("ammonia"), seed=0, n_members=2, n_epochs=1, hessian_weight=-1.0)
    with pytest.raises(
        ValueError, match=r"the length and the weight of a Taylor loss must be positive, got 0.0 Å and 1"
    ):
        Taylor(length=0.0)
