"""The table of adapters: those that ship with Sparring, and those that installed packages register."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import nn

from sparring.potentials.base import Architecture
from sparring.potentials.foreign.chgnet import CHGNetPotential
from sparring.potentials.foreign.mace import MACEPotential
from sparring.potentials.foreign.packages import ADAPTER_GROUP, require_package
from sparring.potentials.foreign.sevennet import SevenNetPotential
from sparring.potentials.foreign.torchani import TorchANIPotential
from sparring.support.plugins import names, registered
from sparring.support.suggestions import did_you_mean

__all__ = ["ADAPTERS", "Adapter", "adapter_class", "adapter_names"]


@runtime_checkable
class Adapter(Protocol):
    """A class of potentials, as a package registers it under the entry-point group "sparring.adapters".

    It is a :class:`sparring.Architecture` with ``elements`` and ``cutoff``, whose ``kind`` is the name of the entry
    point, so that committees of it are saved and read. A method ``add_reference_energies(energies)``, with energies in
    eV by atomic number, lets members with other zeros of energy be aligned and saved.
    """

    def from_module(self, model: nn.Module, *, head: str | None = None) -> Architecture:
        """The potential of a module of the other package."""

    def from_file(self, file: Path | str, *, trust_pickle: bool = False, head: str | None = None) -> Architecture:
        """The potential of a checkpoint, or of a model by its name.

        Pickles are read by :func:`sparring.potentials.foreign.checkpoints.read_checkpoint` only.
        """


ADAPTERS: dict[str, type[Architecture]] = {
    kind.kind: kind for kind in (MACEPotential, CHGNetPotential, SevenNetPotential, TorchANIPotential)
}
"""Adapters that ship with Sparring; their packages are in :data:`sparring.potentials.foreign.packages.EXTRAS`."""


def adapter_names() -> list[str]:
    """Names of all adapters: those that ship with Sparring first."""
    return [*ADAPTERS, *(name for name in names(ADAPTER_GROUP) if name not in ADAPTERS)]


def adapter_class(name: str) -> Adapter:
    """The adapter of a name, whose package is installed.

    Raises:
        ValueError: If there is none, its package is not installed, or what another package registers is no adapter.
    """
    if name in ADAPTERS:
        require_package(name)
        made = ADAPTERS[name]
        assert isinstance(made, Adapter)
        return made
    known = adapter_names()
    if name not in known:
        raise ValueError(f"unknown adapter {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}")
    point = registered(ADAPTER_GROUP, name, "adapter")
    where = f"adapter {name!r} is registered as {point.value}"
    try:
        made = point.load()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{where}, which cannot be imported: {error}; reinstall the package") from error
    if not (isinstance(made, type) and issubclass(made, Architecture) and isinstance(made, Adapter)):
        raise ValueError(f"{where}, which is not a subclass of sparring.Architecture with from_module and from_file")
    if getattr(made, "kind", None) != name:
        raise ValueError(f"{where}, whose kind is {getattr(made, 'kind', None)!r}; it must be the name of the adapter")
    return made
