"""Packages of foreign potentials: whether they are installed, and how they are imported."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from typing import NamedTuple

__all__ = ["ADAPTER_GROUP", "EXTRAS", "Extra", "require_package", "unchanged_settings"]

ADAPTER_GROUP = "sparring.adapters"
"""Group of entry points under which other packages register adapters."""
SAFE_LOADING = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
"""Environment variable that ``import mace`` sets: it switches off the safe loading of PyTorch for the process."""


class Extra(NamedTuple):
    """The package that an adapter needs, and how it is installed.

    Attributes:
        module: Name that is imported.
        distribution: Name in the package index.
        excludes: Adapters whose packages cannot be installed beside it, since both pin versions of a third.
        reason: Requirements that exclude each other.
    """

    module: str
    distribution: str
    excludes: tuple[str, ...] = ()
    reason: str = ""


EXTRAS = {
    "mace": Extra("mace", "mace-torch", ("sevennet",), "mace-torch needs e3nn 0.4.4, sevenn a newer one"),
    "chgnet": Extra("chgnet", "chgnet"),
    "sevennet": Extra("sevenn", "sevenn", ("mace",), "sevenn needs e3nn 0.5 or newer, mace-torch 0.4.4"),
    "torchani": Extra("torchani", "torchani"),
}
"""Packages by the name of the adapter, which is the name of the extra, too."""


def require_package(name: str) -> None:
    """Check that the package of an adapter is installed.

    Args:
        name: Name of the adapter and of the extra.

    Raises:
        ValueError: If it is not.
    """
    extra = EXTRAS[name]
    if find_spec(extra.module) is not None:
        return
    beside = f" It cannot be installed beside {' and '.join(extra.excludes)}: {extra.reason}." if extra.excludes else ""
    raise ValueError(
        f"the adapter {name!r} needs the package {extra.distribution!r}, which is not installed; install it by "
        f"pip install 'sparring[{name}]'.{beside}"
    )


@contextmanager
def unchanged_settings() -> Iterator[None]:
    """Keep the safe loading of PyTorch as it was, and print nothing, whatever is imported and built meanwhile."""
    before = os.environ.get(SAFE_LOADING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.filterwarnings("ignore", f".*{SAFE_LOADING}", UserWarning)  # by e3nn, of its own tables
            warnings.filterwarnings("ignore", "The TorchScript type system", UserWarning)  # by modules of e3nn, which
            warnings.filterwarnings("ignore", ".*torch.jit", DeprecationWarning)  # are compiled when they are built
            warnings.filterwarnings("ignore", "The extensions: ", UserWarning)  # by torchani, of its CUDA code
            yield
    finally:
        os.environ.pop(SAFE_LOADING, None)
        if before is not None:
            os.environ[SAFE_LOADING] = before
