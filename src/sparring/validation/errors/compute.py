"""Errors of a committee on held-out labels: in all, by energy, by the kind of structure, and beside its uncertainty."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import get_args

import numpy as np
from jaxtyping import Float, Int

from sparring.atoms.composition import composition
from sparring.atoms.dataset import Dataset
from sparring.evaluation import Differences, Errors, StructurePredictions
from sparring.units import KCAL_PER_MOL
from sparring.validation.errors.reliability import Positive, Reference, Reliability, assess, root_mean_square

__all__ = ["WINDOWS", "ErrorReport", "Part", "Window", "error_report"]

WINDOWS = tuple(KCAL_PER_MOL * cap for cap in (5.0, 10.0, 20.0, 40.0))
"""Caps of energy above the lowest label, in eV: the paper speaks of the first and the last beside its Fig. 3f."""
GROUP_KEYS = ("config_type", "source")


@dataclass(frozen=True, kw_only=True)
class Part:
    """Errors on some of the structures, in eV.

    Attributes:
        errors: Mean absolute and root mean square errors.
        energy_bias: Mean of the signed errors of energy. A constant error moves no atom; `aligned` takes it out.
        energy_mae_per_atom: Mean absolute error per atom.
        energy_rmse_per_atom: Root mean square error per atom.
    """

    errors: Errors
    energy_bias: float
    energy_mae_per_atom: float
    energy_rmse_per_atom: float


@dataclass(frozen=True, kw_only=True)
class Window:
    """Errors on structures whose labels lie above `low` and not above `high`, in eV.

    The lowest window begins with zero itself. An open end is None.
    """

    low: float
    high: float | None
    part: Part


@dataclass(frozen=True, kw_only=True)
class ErrorReport:
    """Errors of a committee on labels that it was not trained on, and the reliability of its uncertainty.

    A window or a group without structures is left out.

    Attributes:
        data: Name of the structures.
        n_members: Size of the committee.
        overall: Errors on all structures.
        up_to: Errors on all structures below each cap, as in Fig. 3f of the paper.
        between: Errors on the structures between one cap and the next, and above the last.
        group_by: Key in `info` that defines groups, None if there is none.
        groups: Errors by the value of that key.
        energy_above: Labels above the lowest known label of the composition, in eV; nan where there is no other.
        positive: Definition of unreliable structures, see :func:`error_report`.
        percentile: Percentile that defines limits of errors and variances.
        forces: Reliability of the uncertainty of forces.
        energy: Reliability of the uncertainty of energies.
        stress: Reliability of the uncertainty of stresses, None if no structure has one to compare with.
    """

    data: str
    n_members: int
    overall: Part
    up_to: tuple[Window, ...]
    between: tuple[Window, ...]
    group_by: str | None
    groups: Mapping[str, Part]
    energy_above: Float[np.ndarray, " n_structures"]
    positive: Positive
    percentile: float
    forces: Reliability
    energy: Reliability
    stress: Reliability | None = None


def error_report(
    predicted: StructurePredictions,
    dataset: Dataset,
    *,
    n_members: int,
    training: tuple[StructurePredictions, Dataset] | None = None,
    windows: Sequence[float] = WINDOWS,
    group_by: str | None = None,
    aligned: bool = False,
    positive: Positive = "beyond_training",
    percentile: float = 80.0,
    data: str = "",
) -> ErrorReport:
    r"""Errors of a committee on held-out labels, and the reliability of its uncertainty.

    The classifier of Eq. 8 calls a structure familiar if :math:`\sigma^2 < t`. The paper takes t from the training set,
    its 80th percentile, to decide where "the output of the NN is reliable"; its main text does not define which outputs
    are unreliable. With `beyond_training`, an error is unreliable from the same percentile of the training errors on.
    `worst` needs no training set: the limit is that percentile of the held-out errors themselves. Both variances are
    tested on both errors, as the paper expects that of forces to be the better descriptor. Errors of stresses are those
    of structures that have one; the variance of stresses is tested on them, beside that of forces.

    Args:
        predicted: Predictions of the committee for the held-out structures.
        dataset: Labels of these structures.
        n_members: Size of the committee.
        training: Predictions and labels of the training structures, if they are known.
        windows: Caps of energy above the lowest label of the composition, in eV.
        group_by: Key in `info` that defines groups [default: config_type or else source, if there is any].
        aligned: True to remove a constant energy per atom of each element, see :func:`sparring.evaluation.align`.
        positive: Definition of unreliable structures.
        percentile: Percentile that defines limits of errors and variances.
        data: Name of the structures.

    Raises:
        ValueError: If a prediction is not finite, a window is not positive, there is no such percentile, or no
            structure has the key.
    """
    if positive not in get_args(Positive):
        raise ValueError(f"positive must be one of {', '.join(get_args(Positive))}, got {positive!r}")
    if not 0 <= percentile <= 100:
        raise ValueError(f"a percentile lies between 0 and 100, got {percentile:g}")
    found = Differences.of(predicted, dataset, aligned=aligned)
    _require_finite(predicted)
    if not dataset.n_with_forces:
        raise ValueError(f"none of {len(dataset)} structures has forces to compare with; label some with forces")
    # Labels of another code have another zero of energy, which the training set does not have.
    above = _energies_above(dataset, None if aligned or training is None else training[1])
    up_to, between = _by_energy(found, above, windows)
    key = _group_key(dataset) if group_by is None else group_by
    trained = None if training is None else (training[0], Differences.of(*training))

    def reliability(own: str) -> Reliability:
        predictions, differences = _that_have(own, predicted, found)
        reference = None if trained is None else _reference(*trained, own)
        return assess(
            *_differences(differences, own),
            _variances(predictions, own),
            own,
            n_members=n_members,
            positive=positive,
            percentile=percentile,
            reference=reference,
        )

    return ErrorReport(
        data=data,
        n_members=n_members,
        overall=_part(found),
        up_to=up_to,
        between=between,
        group_by=key,
        groups={} if key is None else _by_group(found, dataset, key),
        energy_above=above,
        positive=positive,
        percentile=percentile,
        forces=reliability("force"),
        energy=reliability("energy"),
        stress=reliability("stress") if len(found.stress) else None,
    )


# --- parts ----------------------------------------------------------------------------------------------------------


def _part(found: Differences) -> Part:
    if not len(found.energy):
        unknown = dict.fromkeys(("energy_bias", "energy_mae_per_atom", "energy_rmse_per_atom"), math.nan)
        return Part(errors=found.errors(), **unknown)
    per_atom = found.energy / found.n_atoms[found.energy_owner]
    return Part(
        errors=found.errors(),
        energy_bias=float(found.energy.mean()),
        energy_mae_per_atom=float(np.abs(per_atom).mean()),
        energy_rmse_per_atom=float(np.sqrt(np.square(per_atom).mean())),
    )


def _energies_above(dataset: Dataset, training: Dataset | None) -> Float[np.ndarray, " n_structures"]:
    """Labels above the lowest of the composition, training set included; nan if there is only one."""
    formulas = _formulas(dataset)
    known = [
        (formula, energy)
        for data in (dataset, training)
        if data is not None
        for formula, energy, has in zip(_formulas(data), data.energy.tolist(), data.has_energy.tolist(), strict=True)
        if has
    ]
    counts = Counter(formula for formula, _ in known)
    lowest: dict[str, float] = {}
    for formula, energy in known:
        lowest[formula] = min(energy, lowest.get(formula, np.inf))
    rows = zip(formulas, dataset.has_energy.tolist(), strict=True)
    zero = np.array([lowest[formula] if has and counts[formula] > 1 else np.nan for formula, has in rows])
    above: Float[np.ndarray, " n_structures"] = dataset.energy.numpy() - zero
    return above


def _formulas(dataset: Dataset) -> list[str]:
    return [composition(atoms) for atoms in dataset.to_atoms()]


def _by_energy(
    found: Differences, above: Float[np.ndarray, " n_structures"], windows: Sequence[float]
) -> tuple[tuple[Window, ...], tuple[Window, ...]]:
    caps = sorted(set(windows))
    if not all(0 < cap < np.inf for cap in caps):
        raise ValueError(f"windows of energy end at finite values above 0 eV, got {', '.join(f'{c:g}' for c in caps)}")
    up_to = [(0.0, cap) for cap in caps]
    between = [*pairwise((0.0, *caps)), (caps[-1] if caps else 0.0, None)]
    return _filled(found, above, up_to), _filled(found, above, between)


def _filled(
    found: Differences, above: Float[np.ndarray, " n_structures"], edges: Sequence[tuple[float, float | None]]
) -> tuple[Window, ...]:
    """The windows that hold any structure."""
    windows = []
    for low, high in edges:
        inside = (above >= 0 if low == 0 else above > low) & (above <= (np.inf if high is None else high))
        if inside.any():
            windows.append(Window(low=low, high=high, part=_part(found.take(inside))))
    return tuple(windows)


def _group_key(dataset: Dataset) -> str | None:
    return next((key for key in GROUP_KEYS if any(key in info for info in dataset.info)), None)


def _by_group(found: Differences, dataset: Dataset, key: str) -> dict[str, Part]:
    if not any(key in info for info in dataset.info):
        known = ", ".join(sorted({name for info in dataset.info for name in info})) or "no keys at all"
        raise ValueError(f"no structure has the key {key!r} to group by; there are {known}")
    names = np.array([str(info.get(key, f"no {key}")) for info in dataset.info])
    return {str(name): _part(found.take(names == name)) for name in dict.fromkeys(names)}


# --- uncertainty ----------------------------------------------------------------------------------------------------


def _variances(predicted: StructurePredictions, own: str) -> dict[str, Float[np.ndarray, " n_structures"]]:
    """Variances that may detect errors of a kind."""
    if own == "stress":
        assert predicted.stress_variance is not None  # there are differences
        return {"stress": predicted.stress_variance, "force": predicted.force_variance}
    return {"force": predicted.force_variance, "energy": predicted.energy_variance}


def _differences(found: Differences, kind: str) -> tuple[Float[np.ndarray, " n_values"], Int[np.ndarray, " n_values"]]:
    """Differences of one kind, and the structure of each."""
    if kind == "stress":
        return found.stress, found.stress_owner
    return (found.force, found.owner) if kind == "force" else (found.energy, found.energy_owner)


def _that_have(
    kind: str, predicted: StructurePredictions, found: Differences
) -> tuple[StructurePredictions, Differences]:
    """The structures that have a label of a kind to compare with."""
    known = np.bincount(_differences(found, kind)[1], minlength=len(found.n_atoms)) > 0
    return predicted.take(np.flatnonzero(known).tolist()), found.take(known)


def _reference(predicted: StructurePredictions, found: Differences, kind: str) -> Reference | None:
    """Errors and variances of a kind in the training set; None if it has none."""
    predicted, found = _that_have(kind, predicted, found)
    if not len(found.n_atoms):
        return None
    error = root_mean_square(*_differences(found, kind), len(found.n_atoms))
    return Reference(error=error, variances=_variances(predicted, kind))


def _require_finite(predicted: StructurePredictions) -> None:
    sums = [energy + forces.sum() for energy, forces in zip(predicted.energy, predicted.forces, strict=True)]
    bad = np.flatnonzero(~np.isfinite(sums + predicted.force_variance + predicted.energy_variance))
    if len(bad):
        raise ValueError(
            f"the committee's predictions of {len(bad)} structures are not finite (the first is structure {bad[0]}, "
            "counting from 0); leave them out"
        )
