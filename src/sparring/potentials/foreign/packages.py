"""Packages of foreign potentials: whether they are installed, and how they are imported."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec

__all__ = ["require_package", "unchanged_settings"]

SAFE_LOADING = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
"""Environment variable that ``import mace`` sets: it switches off the safe loading of PyTorch for the process."""


def require_package(name: str) -> None:
    """Check that the package of an adapter is installed.

    Args:
        name: Name of the package, of the adapter and of the extra.

    Raises:
        ValueError: If it is not.
    """
    if find_spec(name) is None:
        raise ValueError(
            f"the adapter {name!r} needs the package {name!r}, which is not installed; install it by "
            f"pip install 'sparring[{name}]'. Packages that pin other versions of e3nn cannot be installed beside"
        )


@contextmanager
def unchanged_settings() -> Iterator[None]:
    """Keep the safe loading of PyTorch as it was, and print nothing, whatever is imported and built meanwhile."""
    before = os.environ.get(SAFE_LOADING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.filterwarnings("ignore", f".*{SAFE_LOADING}", UserWarning)  # by e3nn, of its own tables
            warnings.filterwarnings("ignore", "The TorchScript type system", UserWarning)  # by modules of e3nn
            yield
    finally:
        os.environ.pop(SAFE_LOADING, None)
        if before is not None:
            os.environ[SAFE_LOADING] = before
