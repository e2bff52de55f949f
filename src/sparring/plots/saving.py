"""Figures as the bytes of files."""

import io
import re
from collections.abc import Callable, Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from sparring.plots.style import STYLE
from sparring.support.printable import printable

__all__ = ["rendered"]

INDEX = re.compile(r"(\$_[A-Z]\$)")


def rendered(figure: Figure, formats: Sequence[str] = ("png", "svg")) -> dict[str, bytes]:
    """A figure in several formats; the same figure gives the same bytes.

    Args:
        figure: The figure, which loses its layout engine.
        formats: Formats of Matplotlib, by which the content is found in what is returned.
    """
    contents = {}
    _show_names(figure)
    with rc_context(STYLE):
        for name in formats:
            content = io.BytesIO()
            # A date would make the bytes different every time.
            figure.savefig(content, format=name, metadata={"Date": None} if name == "svg" else {})
            figure.set_layout_engine("none")  # laid out once, half of the time is saved
            contents[name] = content.getvalue()
    return contents


def _show_names(figure: Figure) -> None:
    """Show names of data in a figure as they are: only indices such as σ$_F$ are formulas for Matplotlib."""
    for text in figure.findobj(Text):
        text.set_text(_plain(text.get_text()))
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            for formatter in (axis.get_major_formatter(), axis.get_minor_formatter()):
                if isinstance(formatter, FixedFormatter):
                    formatter.seq = [_plain(str(one)) for one in formatter.seq]
                elif isinstance(formatter, FuncFormatter):  # also that of set_xticks with labels
                    formatter.func = _with_plain_text(formatter.func)


def _with_plain_text(label: Callable[..., str]) -> Callable[..., str]:
    return lambda *value: _plain(label(*value))


def _plain(text: str) -> str:
    r"""A text without characters of control, whose dollars are dollars.

    >>> _plain("σ$_F$ of [$(C)]")
    'σ$_F$ of [\\$(C)]'
    """
    parts = INDEX.split(printable(text).replace("\t", " "))
    return "".join(one if INDEX.fullmatch(one) else re.sub(r"(?<!\\)\$", r"\\$", one) for one in parts)
