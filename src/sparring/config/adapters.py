"""Names of adapters of foreign potentials."""

from typing import Annotated

from pydantic import AfterValidator

from sparring.support.suggestions import did_you_mean

__all__ = ["OWN", "ModelName"]

OWN = "sparring"
"""Name in place of an adapter for committees that Sparring has saved."""


def _known(name: str) -> str:
    from sparring.potentials.foreign.adapters import adapter_names  # loads PyTorch, which other sections do without

    known = [*adapter_names(), OWN]
    if name not in known:
        raise ValueError(f"unknown adapter {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}")
    return name


ModelName = Annotated[str, AfterValidator(_known)]
"""Name of an adapter that ships with Sparring or that an installed package registers, or "sparring"."""
