"""An answer about a run, and how its numbers are written."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Answer", "State", "counted", "in_words", "joined", "numbered", "percent", "shown"]

State = Literal["good", "look", "unknown"]
WORDS: dict[State, str] = {"good": "good", "look": "look here", "unknown": "not known"}
SYMBOLS: dict[State, str] = {"good": "✓", "look": "!", "unknown": "?"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer in one or two sentences.

    Attributes:
        question: Question.
        state: Verdict: good, something to look at, or not known.
        text: Answer.
        command: Command or line of the configuration that the text ends with; empty for none.
    """

    question: str
    state: State
    text: str
    command: str = ""

    @property
    def word(self) -> str:
        """The verdict in words."""
        return WORDS[self.state]

    @property
    def symbol(self) -> str:
        """The verdict as a sign, so that it does not depend on colours."""
        return SYMBOLS[self.state]

    def line(self) -> str:
        """The answer as a line of text."""
        return " ".join(part for part in (self.question, f"[{self.word}]", self.text, self.command) if part)


def shown(error: float) -> str:
    """An error with two digits.

    >>> shown(0.0834), shown(8.0), shown(126.0), shown(float("inf"))
    ('0.083', '8.0', '126', 'no bound')
    """
    if not math.isfinite(error):
        return "no bound"
    return f"{error:.{max(0, 1 - math.floor(math.log10(error)))}f}" if error > 0 else "0"


def percent(share: float) -> str:
    """A share in per cent.

    >>> percent(0.875)
    '88 %'
    """
    return f"{100 * share:.0f} %"


def counted(n: int, one: str, several: str = "") -> str:
    """A number of things.

    >>> counted(1, "bond"), counted(2, "bond"), counted(2, "copy", "copies")
    ('1 bond', '2 bonds', '2 copies')
    """
    return f"{n} {one if n == 1 else several or f'{one}s'}"


def joined(words: Sequence[str]) -> str:
    """Words as an enumeration.

    >>> joined(["1", "2", "3"])
    '1, 2 and 3'
    """
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def numbered(numbers: Sequence[int]) -> str:
    """Generations by their numbers, which rise.

    >>> numbered([2]), numbered([1, 2, 3]), numbered([1, 3])
    ('generation 2', 'generations 1 to 3', 'generations 1 and 3')
    """
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"generations {numbers[0]} to {numbers[-1]}"
    return f"generation{'s' if len(numbers) > 1 else ''} {joined([str(one) for one in numbers])}"


def in_words(parts: Sequence[str]) -> str:
    """Parts of a sentence as a sentence."""
    text = "; ".join(part for part in parts if part)
    return f"{text[:1].upper()}{text[1:]}." if text else ""
