"""Base class of the sections of a configuration."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

__all__ = ["Section"]


class Section(BaseModel):
    """A part of the configuration. Frozen, and unknown keys are errors.

    Attributes:
        limits: The smallest and the largest value of keys, with their unit, where their type does not say it.
    """

    limits: ClassVar[Mapping[str, tuple[int | float, int | float, str]]] = {}
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    def arguments(self, *leave_out: str) -> dict[str, object]:
        """The values by name, as keyword arguments of the function behind this section; ``kind`` is left out."""
        names = [name for name in type(self).model_fields if name not in ("kind", *leave_out)]
        return {name: getattr(self, name) for name in names}
