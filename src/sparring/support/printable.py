"""Texts from data and files, as they may be shown: in a terminal, on a page, in a figure and in a spreadsheet."""

import re
import unicodedata

__all__ = ["as_cell", "file_name", "from_cell", "is_printable", "printable"]

DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
"""Characters that show the text around them in another order than it is read, and the mark of byte order."""
FORMULA = "=+-@\t\r"
"""First characters of a cell that a spreadsheet takes for a formula."""
LONGEST_NAME = 100


def is_printable(text: str) -> bool:
    """True if a text has no character that a terminal or an editor obeys; tabs and line breaks are allowed."""
    return text.isprintable() or not any(map(_is_obeyed, text))


def printable(text: str) -> str:
    r"""The text with the characters written out that a terminal or an editor would obey.

    >>> printable("\x1b[31mred")
    '\\x1b[31mred'
    """
    if text.isprintable():
        return text
    return "".join(one.encode("unicode_escape").decode() if _is_obeyed(one) else one for one in text)


def _is_obeyed(one: str) -> bool:
    if " " <= one <= "~":
        return False
    return (unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") and one not in "\n\t") or one in DIRECTIONS


def as_cell(text: str) -> str:
    """The text as a cell of a table in CSV: an apostrophe before what a spreadsheet would take for a formula.

    >>> as_cell("=1+1"), as_cell("energy"), as_cell("'=1")
    ("'=1+1", 'energy', "''=1")
    """
    return f"'{text}" if re.match(rf"'*[{re.escape(FORMULA)}]", text) else text


def from_cell(text: str) -> str:
    """The text that :func:`as_cell` has written.

    >>> from_cell("'=1+1"), from_cell("''=1")
    ('=1+1', "'=1")
    """
    return text[1:] if re.match(rf"'+[{re.escape(FORMULA)}]", text) else text


def file_name(name: str) -> str:
    """The name of a file in a folder for any name: letters, digits and . _ - stay, and it never begins with a dot.

    >>> file_name("errors_on_one_set"), file_name("../F/C=C/F")
    ('errors_on_one_set', '___F_C_C_F')
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return (re.sub(r"^\.+", lambda dots: "_" * len(dots[0]), plain) or "_")[:LONGEST_NAME]
