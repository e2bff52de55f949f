"""Labels in this process: of our own formulas, and of live objects that no other process can have."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping

from ase import Atoms

from sparring.labels.ase import FromCalculator
from sparring.labels.base import Labeller
from sparring.labels.store import LabelStore
from sparring.labels.worker_process import Outcome, outcome_of

__all__ = ["is_own_code", "outcomes_here"]


def is_own_code(labeller: Labeller) -> bool:
    """True for a formula of this package, such as a toy well, which neither exits nor hangs."""
    return isinstance(labeller, FromCalculator) and labeller.module.partition(".")[0] == "sparring"


def outcomes_here(
    tasks: Mapping[str, Atoms], labeller: Labeller, store: LabelStore | None
) -> Iterator[tuple[str, Outcome]]:
    """Compute labels one after another in this process; there is no limit of time or memory.

    Args:
        tasks: Structures by the keys of their labels.
        labeller: Labeller that computes them.
        store: Keeps each as soon as it is computed.
    """
    if store is not None:
        store = LabelStore(store.folder.resolve())
    for key, atoms in tasks.items():
        with contextlib.nullcontext() if is_own_code(labeller) else _fresh_folder():
            outcome = outcome_of(atoms, labeller, store)
        yield key, outcome


@contextlib.contextmanager
def _fresh_folder() -> Iterator[None]:
    with (
        tempfile.TemporaryDirectory(prefix="sparring-", ignore_cleanup_errors=True) as folder,
        contextlib.chdir(folder),
    ):
        yield
