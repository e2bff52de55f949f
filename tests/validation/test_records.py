from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from jaxtyping import Bool, Float, Int

from sparring.surfaces.grids import Variable
from sparring.validation.records import read_record, write_record


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str
    height: float


@dataclass(frozen=True, kw_only=True)
class Whole:
    values: Float[np.ndarray, "n 2"]
    counts: Int[np.ndarray, " n"]
    kept: Bool[np.ndarray, " n"]
    parts: tuple[Part, ...]
    by_name: Mapping[str, Part]
    interval: tuple[float, float]
    best: Part | None
    missing: Part | None


WHOLE = Whole(
    values=np.array([[1.5, np.nan], [0.1, 1e-300]]),
    counts=np.array([3, 4]),
    kept=np.array([True, False]),
    parts=(Part(name="a", height=1.0), Part(name="b", height=float("nan"))),
    by_name={"a": Part(name="a", height=2.0)},
    interval=(0.25, 0.75),
    best=Part(name="ü", height=np.float64(0.1)),
    missing=None,
)


def test_a_result_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "whole.json"
    write_record(path, WHOLE)
    back = read_record(path, Whole)
    np.testing.assert_array_equal(back.values, WHOLE.values)
    assert [array.dtype.kind for array in (back.values, back.counts, back.kept)] == ["f", "i", "b"]
    assert back.parts[0] == WHOLE.parts[0]
    assert np.isnan(back.parts[1].height)
    assert (back.by_name, back.interval, back.best, back.missing) == (
        WHOLE.by_name,
        WHOLE.interval,
        WHOLE.best,
        None,
    )


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "a"}'])
def test_a_file_that_holds_something_else_is_named(tmp_path, text):
    path = tmp_path / "part.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"part\.json does not hold a Part"):
        read_record(path, Part)


def test_a_result_from_before_a_field_was_there_has_its_default(tmp_path):
    (tmp_path / "old.json").write_text('{"name": "R", "unit": "", "values": [1.0, 2.0]}', encoding="utf-8")
    assert read_record(tmp_path / "old.json", Variable).period is None
    (tmp_path / "old.json").write_text('{"name": "R", "unit": ""}', encoding="utf-8")
    with pytest.raises(ValueError, match="does not hold a Variable: 'values'"):
        read_record(tmp_path / "old.json", Variable)
