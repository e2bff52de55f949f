"""Whatever a labeller returns or raises is a label or a counted failure with a readable message."""

import importlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from sparring.labels import Bounds, Label, LabelError, LabelStore, label
from sparring.labels.ase import as_labeller
from sparring.labels.messages import LONGEST, readable
from sparring.runs.failures import read_failures, write_failures


@pytest.fixture
def strange(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("strange_labellers")


def asked(names):
    return [
        Atoms("H2", positions=[[0, 0, 0], [0, 0, 1 + 0.001 * i]], info={"do": name}) for i, name in enumerate(names)
    ]


@pytest.mark.parametrize("n_workers", [1, 2])
def test_80_odd_results_and_errors_are_counted_failures_with_words_that_tell_what_was_wrong(
    strange, tmp_path, n_workers
):
    expected = {name: ("bad_result", words) for name, (_, words) in strange.BAD.items()}
    expected |= {name: (reason, words) for name, (_, reason, words) in strange.FAILS.items()}
    assert len(expected) >= 80
    names = [*expected, *strange.GOOD]
    report = label(
        asked(names), strange.Strange(), store=tmp_path / "labels", n_workers=n_workers, failed=tmp_path / "failed"
    )
    wrong = {
        name: str(result)
        for name, result in zip(names, report.labels, strict=True)
        if name in expected
        and not (
            isinstance(result, LabelError)
            and result.reason == expected[name][0]
            and expected[name][1] in str(result)
            and len(str(result)) < LONGEST + 500
        )
    }
    assert not wrong
    for name, result in zip(names, report.labels, strict=True):
        if name in strange.GOOD:
            assert isinstance(result, Label), f"{name}: {result}"
            assert (result.energy, result.forces.shape, result.wall_time) == (
                2.0 if name == "integer" else 1.5,
                (2, 3),
                0.0,
            )
    failures = [(name, result) for name, result in zip(names, report.labels, strict=True) if name in expected]
    write_failures(tmp_path / "failures.csv", failures)
    read = read_failures(tmp_path / "failures.csv")
    assert [(one.reason, one.message) for one in read] == [(one.reason, one.message) for _, one in failures]
    assert all(type(pickle.loads(pickle.dumps(error))) is LabelError for _, error in failures)
    # Those that are labels, but not to be trained on, are kept: the same answer is not computed twice.
    kept = [name for name, (reason, _) in expected.items() if reason in ("not_finite", "force", "not_converged")]
    assert len(LabelStore(tmp_path / "labels")) == len(strange.GOOD) + len(kept) - len({"message object"})


def test_what_is_not_finite_is_refused_without_bounds_too(strange):
    off = Bounds(min_distance=None, max_force=None, energy_window=None)
    names = ["energy nan", "energy infinite", "force infinite", "stress nan", "force of 1e12"]
    reasons = [getattr(one, "reason", None) for one in label(asked(names), strange.Strange(), bounds=off).labels]
    assert reasons == ["not_finite"] * 4 + [None]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"method": None}, "the method of a labeller must be a text that is not empty.* got None"),
        ({"method": " "}, "the method of a labeller must be a text that is not empty.* got ' '"),
        ({"version": 2}, "the version of a labeller must be a text .* got 2"),
        ({"depends_on": "tags"}, "depends_on of a labeller must be a tuple of names .* got 'tags'"),
    ],
)
def test_a_labeller_without_a_name_is_refused_at_once(strange, attributes, message):
    with pytest.raises(ValueError, match=message):
        label(asked(["integer"]), strange.Unnamed(**attributes))


def test_a_name_that_cannot_be_read_is_refused_at_once(strange):
    text = r"the method of a labeller cannot be read \(RuntimeError: the licence server does not answer\)"
    with pytest.raises(ValueError, match=text):
        as_labeller(strange.Shy())


def test_a_method_that_changes_from_call_to_call_is_a_counted_failure(strange, tmp_path):
    report = label(asked(["integer", "half precision"]), strange.Fickle(), store=tmp_path)
    assert [error.reason for error in report.failures] == ["bad_result"] * 2


def test_texts_of_others_are_short_and_of_characters_that_any_file_and_terminal_can_show():
    assert readable("line\n\ttab é Å 水") == "line\n\ttab é Å 水"
    assert readable("\x1b[31mred\x07\r\x00\u202e") == "\\x1b[31mred\\x07\\r\\x00\\u202e"
    assert readable("x" * 3 * LONGEST) == "x" * LONGEST + "... (and 4000 characters more)"
    assert readable(np.float64(1.5)) == "1.5"
