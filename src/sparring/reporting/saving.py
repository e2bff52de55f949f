"""Figures as files."""

import io
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from sparring.reporting.style import STYLE
from sparring.support.files import write_bytes

__all__ = ["save_figure"]


def save_figure(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write a figure as `path` with the endings .png and .svg; the same figure gives the same bytes."""
    files = path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.svg")
    with rc_context(STYLE):
        for file in files:
            content = io.BytesIO()
            # A date would make the bytes others every time.
            metadata = {"Date": None} if file.suffix == ".svg" else {}
            figure.savefig(content, format=file.suffix[1:], metadata=metadata)
            figure.set_layout_engine("none")  # laid out once, half of the time is saved
            write_bytes(file, content.getvalue())
    return files
