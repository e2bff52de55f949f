"""The figures of a study as files."""

from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

__all__ = ["Album"]


@dataclass(frozen=True)
class Album:
    """A folder of figures.

    Attributes:
        output: The folder.
        captions: Of what has been saved, by name.
    """

    output: Path
    captions: dict[str, str] = field(default_factory=dict, init=False)

    def save(self, name: str, figure: Figure | None, caption: str) -> None:
        """Write a figure as PNG and SVG; None, for which there are no data yet, leaves none."""
        if figure is None:
            return
        for kind in ("png", "svg"):
            figure.savefig(self.output / f"{name}.{kind}", metadata={"Date": None} if kind == "svg" else None)
        self.captions[name] = caption
