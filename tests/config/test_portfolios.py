"""The section `propose`, and the sections of proposers that only it and `attack` have."""

import pytest

from sparring.config import ConfigError, difference, dump, load, settled
from sparring.config.proposers import source_of

WELL = "system: {kind: double_well_1d}\n"
AMMONIA = (
    "system: {kind: ammonia}\nlabels: {labeller: {kind: ase, name: emt}}\ncommittee: {potential: {kind: schnet}}\n"
)
THREE = """propose:
  - {kind: adversarial, share: 0.6, initial_spread: 0.2 Å, n_steps: 7}
  - {kind: scan, share: 0.2}
  - {kind: dynamics, share: 0.2, stop: {force_sigma: 1 eV/Å}}
"""


@pytest.fixture
def written(tmp_path):
    def write(text, **others):
        file = tmp_path / "run.yaml"
        file.write_text(text, encoding="utf-8")
        return load(file, **others)

    return write


def test_parts_are_completed_as_attacks_are(written, tmp_path):
    config = written(AMMONIA + THREE)
    alone = written(AMMONIA + "attack: {initial_spread: 0.2 Å, n_steps: 7}\n")
    first, scan, dynamics = config.propose
    assert config.attack is None
    assert first.space == alone.attack.space
    assert {name: getattr(first, name) for name in type(alone.attack).model_fields} == dict(alone.attack)
    assert [source_of(one) for one in config.proposers] == ["attack", "scan", "dynamics"]
    assert (first.share, scan.share, scan.n_seeds) == (0.6, 0.2, 30)
    assert (dynamics.every, dynamics.stop.force_sigma, dynamics.stop.energy_below) == (10, 1.0, 0.2)
    again = tmp_path / "again.yaml"
    again.write_text(dump(config), encoding="utf-8")
    assert load(again) == config


def test_defaults_of_the_system_are_those_of_every_part(written):
    text = WELL + "propose: [{kind: adversarial}, {kind: random, source: shaken}, {kind: dynamics, stop: {}}]\n"
    config = written(text)
    assert [one.seeds for one in config.proposers] == ["random"] * 3
    assert [one.n_seeds for one in config.proposers] == [None] * 3
    assert config.propose[0].space.axes == config.propose[1].space.axes == config.propose[2].axes == "x"
    assert source_of(config.propose[1]) == "shaken"


def test_a_preset_or_an_override_puts_one_in_the_place_of_the_other(written):
    attack = AMMONIA + "attack: {n_steps: 3}\npresets:\n  many:\n    propose: [{kind: scan}]\n"
    config = written(attack, preset="many")
    assert config.attack is None
    assert config.propose[0].kind == "scan"
    back = written(AMMONIA + THREE, overrides={"attack": {"kind": "random"}})
    assert back.propose is None
    assert back.attack.kind == "random"


def test_objectives_of_all_parts_say_what_their_weight_counts_for(written):
    config = settled(written(AMMONIA + "propose: [{kind: adversarial}, {kind: adversarial, source: other}]\n"))
    assert all("per=structure" in one.objective for one in config.propose)


def test_only_memory_may_differ_between_a_run_and_its_continuation(written):
    before = written(AMMONIA + "propose: [{kind: scan, max_memory: 1 GB}]\n")
    assert difference(before, written(AMMONIA + "propose: [{kind: scan, max_memory: 2 GB}]\n")) == []
    after = written(AMMONIA + "propose: [{kind: scan, n_values: 3}]\n")
    assert difference(before, after) == ["propose[0].n_values: 6 -> 3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (AMMONIA + "attack: {n_steps: 3}\n" + THREE, "run.yaml:5: propose: a run has `attack` or `propose`, not both"),
        (AMMONIA + "propose: []\n", "run.yaml:4: propose: wanted at least 1, got"),
        (AMMONIA + "propose: {kind: scan}\n", "propose: wanted a list such as .*; begin every item with `- `"),
        (
            AMMONIA + "propose: [{kind: scan}, {kind: scan}]\n",
            r"propose\[1\]: structures of two parts would have the source 'scan'; give one of them another `source:`",
        ),
        (AMMONIA + "propose: [{kind: scann}]\n", r"propose\[0\].kind: 'scann' is not known; did you mean scan\?"),
        (AMMONIA + "propose: [{kind: scan, share: 0}]\n", r"propose\[0\].share: must be greater than 0"),
        (AMMONIA + "propose: [{kind: scan, source: file}]\n", r"propose\[0\].source: wanted a name .* none of file"),
        (
            AMMONIA + "propose: [{kind: scan, n_valves: 3}]\n",
            r"propose\[0\].n_valves: unknown key; did you mean n_values",
        ),
        (
            AMMONIA + "propose: [{kind: adversarial, axes: x, space: {kind: cartesian}}]\n",
            r"propose\[0\].axes: is part of propose\[0\].space",
        ),
        (
            AMMONIA + "propose: [{kind: adversarial, initial_spread: 90 Å}]\n",
            r"propose\[0\].initial_spread: must be at most 10 Å",
        ),
        (AMMONIA + "propose: [{kind: dynamics, timestep: 200 fs}]\n", r"propose\[0\].timestep: must be at most 100 fs"),
        (AMMONIA + "attack: {kind: scan, fractions: [1.2, 0.8]}\n", r"fractions: wanted the smaller fraction first"),
        (AMMONIA + "attack: {kind: scan, fractions: [0.001, 0.8]}\n", r"attack.fractions\[0\]: must be at least 0.1"),
        (
            AMMONIA + "attack: {kind: dynamics, stop: {bonds: [1.1, 1.6]}}\n",
            r"attack.stop.bonds: wanted multiples of a length, one below and one above 1, got \[1.1, 1.6\]",
        ),
        (
            AMMONIA + "attack: {kind: biased_dynamics, duration: 1 ps, stop: {quiet: 2 ps}}\n",
            r"attack.stop.quiet: must be between 5 fs \(`every`\) and 1000 fs \(`duration`\), got 2000 fs",
        ),
        (AMMONIA + "attack: {kind: biased_dynamics, bias: {kind: hal, tau: 3}}\n", r"attack.bias.tau: unknown key"),
        (AMMONIA + "attack: {start: {kind: normal_mode}}\n", r"did you mean normal_modes\?"),
        (WELL + "attack: {kind: scan}\n", "attack.kind: double_well_1d is a particle, which has no bonds and angles"),
        (
            WELL + "attack: {start: {kind: normal_modes}}\n",
            "attack.start.kind: double_well_1d is a particle, which has no normal modes; use dynamics",
        ),
    ],
)
def test_a_mistake_is_located_and_named_with_its_remedy(written, text, message):
    with pytest.raises(ConfigError, match=message):
        written(text)


def test_a_key_of_a_part_is_no_key_of_an_attack(written):
    with pytest.raises(ConfigError, match=r"attack.share: unknown key here; `share` belongs in propose"):
        written(AMMONIA + "attack: {share: 0.3}\n")
