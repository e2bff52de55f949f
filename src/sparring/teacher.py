"""A potential as labeller: the mean energy of a committee, and its derivative (Eq. 4 and 6).

A small, fast network learns from a large one (distillation), and a run can be tried without quantum chemistry.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ase import Atoms

from sparring.committee import Committee
from sparring.committee_files import read_committee
from sparring.dynamics.calculator import CommitteeCalculator
from sparring.labels import FromCalculator, Label, LabelError
from sparring.labels.identity import code_version
from sparring.potentials.foreign.loading import load_potential
from sparring.support.digest import digest

__all__ = ["PotentialLabeller", "committee_labeller"]


class PotentialLabeller:
    """Labels by a potential of another package, or by the mean of a committee of Sparring.

    Forces are the derivative of the energy, in double precision. Where the labeller is sent to a worker process, the
    model is loaded there once, from the same files.

    Args:
        committee: Committee, or a single potential as a committee of one.
        remake: Function and arguments that make the labeller again in another process; None to send the weights.

    Attributes:
        method: Architecture with the SHA-256 of the weights and settings of the committee.
        version: Package of the model, with its version.

    Raises:
        ValueError: If the committee has no settings and weights that can be saved.
    """

    def __init__(
        self, committee: Committee, *, remake: tuple[Callable[..., "PotentialLabeller"], tuple[Any, ...]] | None = None
    ) -> None:
        self._committee = committee.to(dtype=torch.float64)
        self._remake = remake or (PotentialLabeller, (committee,))
        self._labeller = committee_labeller(self._committee)
        self.method, self.version = self._labeller.method, self._labeller.version

    @classmethod
    def from_model(
        cls, adapter: str, model: Path | str = "default", trust_pickle: bool = False, head: str | None = None
    ) -> "PotentialLabeller":
        """A model of another package, see :func:`sparring.load_potential`, or the mean of a saved committee.

        Args:
            adapter: Name of the adapter, such as "chgnet"; "sparring" for a committee.
            model: Path of a checkpoint, or the name of a model in the package; the folder of a committee.
            trust_pickle: Consent to unpickle the checkpoint, which can run any program.
            head: Name of the head of a model with several.

        Raises:
            ValueError: If the model cannot be loaded.
        """
        if Path(model).exists():
            model = str(Path(model).absolute())  # a worker has a current folder of its own
        remake = (cls.from_model, (adapter, str(model), trust_pickle, head))
        if adapter == "sparring":
            return cls(read_committee(model), remake=remake)
        potential = load_potential(adapter, model, trust_pickle=trust_pickle, head=head, dtype=torch.float64)
        return cls(Committee([potential]), remake=remake)

    def __repr__(self) -> str:
        return f"<{self.method}>"

    def __call__(self, atoms: Atoms) -> Label:
        """Compute the label of a structure.

        Raises:
            LabelError: If the model has no parameters for an element, or the structure has a charge or a spin, which
                the model does not depend on.
        """
        try:
            self._committee.require_known([atoms])
        except ValueError as error:
            raise LabelError("bad_input", f"{self.method} cannot label this structure: {error}") from error
        return self._labeller(atoms)

    def __reduce__(self) -> tuple[Callable[..., "PotentialLabeller"], tuple[Any, ...]]:
        return self._remake


def committee_labeller(committee: Committee) -> FromCalculator:
    """A labeller that evaluates a committee in the process that asks.

    Raises:
        ValueError: If the committee has no settings and weights that can be saved.
    """
    _, about = committee.state()
    facts = {name: about[name] for name in ("architecture", "revision", "hyperparameters", "weights_sha256")}
    several = f"mean of {committee.n_members} " if committee.n_members > 1 else ""
    first, precision = committee.members[0], str(committee.dtype).removeprefix("torch.")
    return FromCalculator(
        CommitteeCalculator(committee),
        method=f"{several}{about['architecture']}, sha256 {digest(facts)}, {precision}",
        version=code_version(type(getattr(first, "model", first))),
    )
