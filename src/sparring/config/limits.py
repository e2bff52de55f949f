"""Limits of numbers that would make a run endless or overflow."""

from collections.abc import Iterator

from sparring.config.committees import AnyPotential
from sparring.config.problems import KeyPath
from sparring.config.sections import Config
from sparring.config.work import too_much_work
from sparring.schema.base import Section
from sparring.schema.values import bound

__all__ = ["beyond_limits"]

LIMITS: dict[str, tuple[int | float, int | float, str]] = {
    "Config.generations": (1, 1000, ""),
    "Config.threads": (1, 1024, ""),
    "NormalModes.n_structures": (1, 100_000, ""),
    "Displacements.n_structures": (1, 100_000, ""),
    "Displacements.amplitude": (0, 10, "Å"),
    "Langevin.timestep": (1e-3, 100, "fs"),
    "Own.charge": (-1000, 1000, ""),
    "Own.multiplicity": (1, 1000, ""),
    "SchNet.n_features": (1, 4096, ""),
    "SchNet.n_filters": (1, 4096, ""),
    "SchNet.n_interactions": (1, 64, ""),
    "SchNet.n_gaussians": (2, 4096, ""),
    "SchNet.cutoff": (0.5, 30, "Å"),
    "PaiNN.n_features": (1, 4096, ""),
    "PaiNN.n_interactions": (1, 64, ""),
    "PaiNN.n_radial": (1, 4096, ""),
    "PaiNN.cutoff": (0.5, 30, "Å"),
    "MACE.n_channels": (1, 1024, ""),
    "MACE.max_L": (0, 3, ""),
    "MACE.n_interactions": (1, 8, ""),
    "MACE.correlation": (1, 4, ""),
    "MACE.cutoff": (0.5, 30, "Å"),
    "MACE.n_radial": (1, 256, ""),
    "MACE.max_ell": (1, 6, ""),
    "MACE.n_readout": (1, 1024, ""),
    "ACE.n_features": (1, 4096, ""),
    "ACE.n_interactions": (1, 64, ""),
    "ACE.n_radial": (1, 4096, ""),
    "ACE.cutoff": (0.5, 30, "Å"),
    "CoordinateMLP.n_layers": (1, 64, ""),
    "CoordinateMLP.n_units": (1, 16_384, ""),
    "Committee.n_members": (2, 100, ""),
    "HeadsCommittee.n_members": (2, 100, ""),
    "Backbone.member": (0, 99, ""),
    "Training.learning_rate": (0, 10, ""),
    "Training.energy_weight": (0, 1e6, ""),
    "Training.force_weight": (0, 1e6, ""),
    "Training.stress_weight": (0, 1e6, ""),
    "Training.hessian_weight": (0, 1e6, ""),
    "Training.checkpoint": (1, 1e7, "s"),
    "FineTune.learning_rate": (0, 10, ""),
    "FineTune.energy_weight": (0, 1e6, ""),
    "FineTune.force_weight": (0, 1e6, ""),
    "FineTune.stress_weight": (0, 1e6, ""),
    "FineTune.hessian_weight": (0, 1e6, ""),
    "Replay.weight": (0, 1e6, ""),
    "ForeignCommittee.n_members": (1, 100, ""),
    "SecondStage.learning_rate": (0, 10, ""),
    "SecondStage.energy_weight": (0, 1e6, ""),
    "SecondStage.force_weight": (0, 1e6, ""),
    "SecondStage.stress_weight": (0, 1e6, ""),
    "Adversarial.learning_rate": (0, 100, ""),
    "*.n_seeds": (1, 100_000, ""),
    "Strain.radius": (1e-6, 0.9, ""),
    "Strain.initial_spread": (0, 0.9, ""),
    "RandomStrain.amplitude": (0, 0.3, ""),
    "Rigid.max_translation": (1e-6, 1000, "Å"),
    "Rigid.max_rotation": (1e-6, 1000, "rad"),
    "Rigid.initial_rotation": (0, 10, "rad"),
    "_Moving.timestep": (1e-3, 100, "fs"),
    "_Moving.time_constant": (0, 1e9, "fs"),
    "DynamicsStart.timestep": (1e-3, 100, "fs"),
    "Scan.fractions": (0.1, 10, ""),
    "EarlyStop.bonds": (0.01, 100, ""),
    "HAL.relative": (0, 1000, ""),
    "Distinct.rmsd": (0, 100, "Å"),
    "PySCF.max_cycles": (1, 10_000, ""),
    "Labels.n_workers": (1, 1024, ""),
    "*.min_distance": (0, 10, "Å"),
    "*.initial_spread": (0, 10, "Å or rad"),
    "*.radius": (0, 1000, "Å or rad"),
    "*.temperatures": (0, 100_000, "K"),
    "*.temperature": (0, 100_000, "K"),
}
"""The smallest and the largest value of keys, by section, in internal units; others are bounded by their types, or by
 the `limits` of their section."""
MOST_PARAMETERS = 1e9


def beyond_limits(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Problems with numbers that are too small or too large."""
    yield from list(_out_of_range(config, ())) or [*_too_many_parameters(config), *too_much_work(config)]


def _out_of_range(section: Section, at: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        kinds = [kind.__name__ for kind in type(section).__mro__]
        limits = section.limits.get(name) or next(
            filter(None, (LIMITS.get(f"{one}.{name}") for one in (*kinds, "*"))), None
        )
        for index, one in enumerate(value) if isinstance(value, tuple) else ((None, value),):
            place: KeyPath = (*at, name) if index is None else (*at, name, index)
            if isinstance(one, Section):
                yield from _out_of_range(one, place)
            elif limits and isinstance(one, int | float) and not limits[0] <= one <= limits[1]:
                low, high, unit = limits
                side = f"at least {bound(low)}" if one < low else f"at most {bound(high)}"
                yield place, f"must be {f'{side} {unit}'.strip()}, got {f'{_plain(one)} {unit}'.strip()}"


def _plain(number: int | float) -> str:
    return f"{number:.6g}" if isinstance(number, float) else str(number)


def _too_many_parameters(config: Config) -> Iterator[tuple[KeyPath, str]]:
    committee = config.committee
    if committee.kind not in ("trained", "mixed"):
        return
    for index, network in enumerate(committee.potentials):
        n_members = len(range(index, committee.n_members, len(committee.potentials)))
        size = _n_parameters(network) * n_members
        if size > MOST_PARAMETERS:
            several = committee.kind == "mixed"
            yield (
                ("committee", "potentials", index) if several else ("committee", "potential"),
                f"{n_members} members of this size have {size:.2g} parameters, more than {MOST_PARAMETERS:.2g}; take a "
                "smaller network",
            )


def _n_parameters(network: AnyPotential) -> int:
    """About the number of parameters of a network; zero where it is not known, as that of a plugin."""
    if network.kind == "schnet":
        n, f = network.n_features, network.n_filters
        return network.n_interactions * (2 * n * f + n * n + f * f + network.n_gaussians * f)
    if network.kind == "painn":
        n = network.n_features
        return network.n_interactions * (11 * n * n + 3 * network.n_radial * n)
    if network.kind == "ace":
        n = network.n_features
        return network.n_interactions * (9 * n * n + (5 * network.n_radial + 1700) * n)
    return network.n_layers * network.n_units**2 if network.kind == "coordinate_mlp" else 0
