"""An unknown name gets the known one that is most similar."""

import pytest

from sparring.support.suggestions import did_you_mean, most_similar


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("ammonai", ["ammonia", "own"], "ammonia"),
        ("AMMONIA", ["ammonia", "own"], "ammonia"),
        ("pbe0", ["PBE", "PBE0"], "PBE0"),
        ("xyzzy", ["ammonia", "own"], None),
        ("anything", [], None),
    ],
)
def test_the_most_similar_name_is_found_regardless_of_capitals(name, known, expected):
    assert most_similar(name, known) == expected
    assert did_you_mean(name, known) == (f", did you mean {expected!r}?" if expected else "")
