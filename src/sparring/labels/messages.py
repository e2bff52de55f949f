"""Words of foreign codes in messages and tables: short, and of characters that any file and terminal can show."""

__all__ = ["LONGEST", "readable", "shown"]

LONGEST = 2000
"""Characters of a text that are kept."""


def readable(value: object) -> str:
    """A value as text; empty where it has none, for its class may be anybody's and refuse.

    Control characters, which would move a cursor or end a line of a table, are written as escapes.
    """
    try:
        text = str(value)
        left_out = len(text) - LONGEST
        if left_out > 0:
            text = f"{text[:LONGEST]}... (and {left_out} characters more)"
        return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)
    except Exception:
        return ""


def shown(value: object) -> str:
    """The beginning of a value as Python writes it, on one line; its type where it cannot be written."""
    try:
        return readable(f"{value!r:.80}".replace("\n", " "))
    except Exception:
        return f"a {type(value).__name__}"
