"""The objective of attacks that look for an error of a given size: calibrated adversarial geometry optimisation."""

import math

from sparring.expected_error import ExpectedErrors
from sparring.proposers.objectives import Term, force_variance, log

__all__ = ["target_error"]


def target_error(error: float, expected: ExpectedErrors) -> Term:
    r"""Closeness of the expected error of the forces to an error to find.

    .. math:: -\left(\ln \hat e(\sigma_F) - \ln e\right)^2

    with the expected error :math:`\hat e`. Cezar et al. (2025), doi:10.1038/s41524-025-01703-5, take differences, not
    those of logarithms, whose gradient does not fade where members agree.

    Args:
        error: Error e of the forces, root mean square over components, in eV/Å.
        expected: Expected errors of the committee.

    Raises:
        ValueError: If the error is not above zero.
    """
    if not (error > 0 and math.isfinite(error)):
        raise ValueError(f"the error to find must be above zero, got {error:g} eV/Å")
    law = expected.forces
    variance = log(force_variance)
    missing = math.log(law.factor) - math.log(error)
    return Term(
        name=f"target_error({error:g} eV/Å)",
        score=lambda p, s: -(0.5 * law.exponent * variance(p, s) + missing).square(),
    )
