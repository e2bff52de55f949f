"""Division of a number by shares."""

import pytest

from sparring.support.shares import apportioned

MANY = {"a": 99, "b": 99, "c": 99}


@pytest.mark.parametrize(
    ("n", "shares", "available", "expected"),
    [
        (10, (0.6, 0.2, 0.2), MANY, (6, 2, 2)),
        (20, (3.0, 1.0, 1.0), MANY, (12, 4, 4)),
        (3, (0.6, 0.2, 0.2), MANY, (2, 1, 0)),
        (1, (1.0, 1.0, 1.0), MANY, (1, 0, 0)),
        (10, (0.6, 0.2, 0.2), {"a": 2, "b": 99, "c": 99}, (2, 4, 4)),
        (10, (0.6, 0.2, 0.2), {"a": 2, "b": 3, "c": 99}, (2, 3, 5)),
        (10, (0.6, 0.2, 0.2), {"a": 2, "c": 1}, (2, 0, 1)),
        (0, (0.6, 0.2, 0.2), MANY, (0, 0, 0)),
    ],
)
def test_a_part_gets_its_share_and_what_others_cannot_take(n, shares, available, expected):
    assert tuple(apportioned(n, dict(zip("abc", shares, strict=True)), available).values()) == expected
