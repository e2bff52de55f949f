"""Figures as files."""

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from sparring.plots.style import STYLE
from sparring.support.files import write_bytes

__all__ = ["rendered", "save_figure"]


def rendered(figure: Figure, formats: Sequence[str] = ("png", "svg")) -> dict[str, bytes]:
    """A figure in several formats; the same figure gives the same bytes.

    Args:
        figure: The figure, which loses its layout engine.
        formats: Formats of Matplotlib, by which the content is found in what is returned.
    """
    contents = {}
    with rc_context(STYLE):
        for name in formats:
            content = io.BytesIO()
            # A date would make the bytes different every time.
            figure.savefig(content, format=name, metadata={"Date": None} if name == "svg" else {})
            figure.set_layout_engine("none")  # laid out once, half of the time is saved
            contents[name] = content.getvalue()
    return contents


def save_figure(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write a figure as `path` with the endings .png and .svg."""
    files = path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.svg")
    for file, content in zip(files, rendered(figure).values(), strict=True):
        write_bytes(file, content)
    return files
