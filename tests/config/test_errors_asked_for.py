"""Errors that a user asks for: where a run ends, and from which expected error on candidates are labelled."""

import pytest

from sparring.config import ConfigError, difference, dump, load

OWN = "system: {kind: ammonia}\nlabels: {labeller: {kind: ase, name: emt}}\ncommittee: {potential: {kind: schnet}}\n"


@pytest.fixture
def written(tmp_path):
    def write(text, name="run.yaml"):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return load(file)

    return write


def test_an_end_is_an_error_with_its_unit_and_a_confidence(written):
    config = written(OWN + "stop: {force_error: 50 meV/Å}\n")
    assert (config.stop.force_error, config.stop.confidence) == (0.05, 0.9)
    assert written(OWN).stop is None
    assert written(dump(config), "again.yaml") == config


def test_the_end_may_change_between_a_run_and_its_continuation(written):
    before, after = (written(OWN + f"stop: {{force_error: {error} eV/Å}}\n", f"{error}.yaml") for error in (0.1, 0.05))
    assert difference(before, after) == []
    assert difference(written(OWN), after) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stop: {force_error: 0.1 eV}\n", r"stop.force_error: '0.1 eV' measures energy, wanted force"),
        ("stop: {force_error: 0.1, confidence: 0.999}\n", r"stop.confidence: .*0.99"),
        (
            "stop: {force_error: 0.1}\nselection: [{kind: budget, n: 8}]\n",
            r"selection\[0\].n: 8 labels cannot show anything with a confidence of 0.9, which takes 9; raise n",
        ),
        (
            "selection: [{kind: uncertainty_above, percentile: 50, force_error: 0.1}]\n",
            "percentile and force_error are both thresholds; leave one of them out",
        ),
        ("selection: [{kind: uncertainty_above, force_error: 0.1 Å}]\n", "measures length, wanted force"),
    ],
)
def test_what_cannot_be_is_an_error_that_says_why(written, text, message):
    with pytest.raises(ConfigError, match=message):
        written(OWN + text)


def test_a_run_without_labels_has_no_errors_to_end_by(written):
    text = "labels: {labeller: {kind: none}}\nstop: {force_error: 0.1}\n"
    with pytest.raises(ConfigError, match="stop: the errors of new labels end a run, and this one computes none"):
        written(OWN.replace("labels: {labeller: {kind: ase, name: emt}}\n", text))


def test_five_labels_are_enough_for_less_confidence(written):
    config = written(OWN + "stop: {force_error: 0.1, confidence: 0.8}\nselection: [{kind: budget, n: 5}]\n")
    assert config.stop.confidence == 0.8
