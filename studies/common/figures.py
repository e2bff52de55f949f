"""Figures of a study as files, one file a figure: a small SVG for line plots, otherwise a PNG with a palette."""

import io
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from sparring.plots.style import STYLE
from sparring.support.files import write_bytes

__all__ = ["DPI", "LARGEST_SVG", "FigureFolder", "save_figure"]

LARGEST_SVG = 150_000
"""Bytes of the largest SVG that is kept."""
DPI = 120
"""Resolution of a PNG."""


@dataclass(frozen=True)
class FigureFolder:
    """A folder of figures, with the caption of each file that has been written.

    Attributes:
        output: The folder.
        captions: Captions by file name, in the order of the figures.
    """

    output: Path
    captions: dict[str, str] = field(default_factory=dict, init=False)

    def save(self, name: str, figure: Figure | None, caption: str, *, is_map: bool = False) -> None:
        """Write a figure; None stands for a figure without data, which has no file."""
        if figure is not None:
            self.captions[save_figure(figure, self.output / name, is_map=is_map).name] = caption


def save_figure(figure: Figure, path: Path, *, is_map: bool = False) -> Path:
    """Write a figure as one file and give its path; a file of the same figure in the other form is removed.

    The form is SVG if its size is at most `LARGEST_SVG`; of larger figures and of maps it is PNG with `DPI` and a
    palette of 256 colours. The same figure gives the same bytes.

    Args:
        figure: Figure to write.
        path: Path without its ending.
        is_map: Switch for maps of filled contours, which are always PNG.
    """
    files = {kind: path.with_name(f"{path.name}.{kind}") for kind in ("svg", "png")}
    with rc_context(STYLE):
        kind = "png" if is_map else "svg"
        content = _drawn(figure, kind)
        if kind == "svg" and len(content) > LARGEST_SVG:
            kind = "png"
            content = _drawn(figure, kind)
    if kind == "png":
        content = with_palette(content)
    for other, file in files.items():
        if other == kind:
            write_bytes(file, content)
        else:
            file.unlink(missing_ok=True)
    return files[kind]


def _drawn(figure: Figure, kind: str) -> bytes:
    content = io.BytesIO()
    # Dates would make the bytes differ from call to call.
    figure.savefig(content, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else {})
    figure.set_layout_engine("none")  # the layout is computed once
    return content.getvalue()


def with_palette(png: bytes) -> bytes:
    """The same picture with a palette of 256 colours, which takes about a quarter of the bytes."""
    content = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    # Of Pillow's methods this one distorts no colour by more than a tenth; median cut turns orange lines red.
    few = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=5, dither=Image.Dither.NONE)
    few.save(content, format="PNG", optimize=True)
    return content.getvalue()
