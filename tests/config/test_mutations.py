"""Configurations with anything in the place of anything: each is refused by name, or is what it says."""

import os
from pathlib import Path
from time import perf_counter

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparring.config import ConfigError, dump, load
from sparring.config.limits import beyond_limits
from sparring.config.problems import MOST_SHOWN

EXAMPLES = Path(__file__).parents[2] / "examples"
MOST_SECONDS = 60
LONGEST_LINE = 700

OWN = {"kind": "own", "file": "a.xyz"}
SHORT = [
    {"system": {"kind": "double_well_2d", "n_points": 800}, "attack": {"kind": "adversarial", "n_steps": 3}},
    {
        "system": {**OWN, "unphysical": [{"kind": "distance", "between": [0, 1], "low": 0.5}]},
        "labels": {"labeller": {"kind": "ase", "name": "emt", "parameters": {"a": 1.5}}, "hessian": {"step": 0.05}},
        "propose": [
            {"kind": "scan", "n_values": 6, "fractions": [0.8, 1.2]},
            {"kind": "biased_dynamics", "bias": {"kind": "udd", "height": 0.2}, "stop": {"quiet": "1 ps"}},
            {"kind": "adversarial", "region": {"centres": [0], "radius": 3}, "start": {"kind": "normal_modes"}},
            {"kind": "random", "source": "twist", "space": {"kind": "dihedrals", "torsions": [[0, 1, 2, 3]]}},
        ],
        "selection": [{"kind": "max_det", "n": 3}, {"kind": "energy_window", "window": "1 eV"}],
    },
    {
        "system": {**OWN, "enlarge": {"kind": "langevin", "duration": "1 ps", "every": "10 fs"}},
        "labels": {"labeller": {"kind": "openmm", "forcefield": "a.xml", "topology": "a.pdb"}},
        "committee": {"kind": "mixed", "potentials": [{"kind": "painn"}, {"kind": "ace", "cutoff": 4}]},
        "training": {
            "second_stage": {"n_epochs": 3},
            "taylor": {"weight": 1},
            "splits": {"fractions": [0.6, 0.2, 0.2]},
        },
        "attack": {"kind": "dynamics", "ensemble": "npt", "pressure": "1 bar"},
        "evaluation": {"survival": {"temperature": [300, 500], "time": "1 ps"}, "phonons": {"length": 10}},
        "presets": {"hot": {"attack": {"temperature": "900 K"}}},
    },
]
"""Configurations that say little, so that a mutation hits something that counts."""

numbers = st.sampled_from(
    [0, -1, 1, 2, 10**9, 10**12, 10**30, 1e-300, -1e-300, 1e300, 1e9, float("inf"), float("-inf"), float("nan"), -0.0]
)
WORDS_OF_YAML = (
    "",
    " ",
    "x",
    "1e400",
    "1_000",
    "٣",
    "0x10",
    "1:30",
    "yes",
    "2001-01-01",
    "~",
    "<<",
    "é",
    "'",
    '"',
    "{a}",
)
WORDS_OF_OTHERS = (
    "nan eV",
    "-5 K",
    "1e300 eV",
    "<script>",
    "../../x",
    "/etc/passwd",
    "a\tb",
    "$\\frac",
    "[/]",
    "=1+1",
    "a" * 300,
)
texts = st.sampled_from((*WORDS_OF_YAML, *WORDS_OF_OTHERS, "force_variance"))
lists = st.sampled_from(
    [[], [[]], [None], [0, 0, 0, 0], [1] * 200, {}, {"a": 1}, {"kind": "x"}, {"kind": None}, {"kind": []}]
)
anything = numbers | texts | lists | st.none() | st.booleans()


def places(data, at=()):
    """The paths of all values."""
    if at:
        yield at
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in pairs:
        yield from places(value, (*at, key))


def changed(data, at, value):
    """The data with another value in a place, all else as it was."""
    if not at:
        return value
    copy = data.copy()
    copy[at[0]] = changed(data[at[0]], at[1:], value)
    return copy


def full(data, folder):
    """Every key of a configuration with its default."""
    path = folder / "short.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return yaml.safe_load(dump(load(path)))


def read_or_refused(path):
    """The configuration of a file, or None where it is refused with its name and in words that can be read."""
    started, config, problems = perf_counter(), None, ()
    try:
        config = load(path)
    except ConfigError as error:
        problems = error.problems
    assert config is not None or problems
    for line in problems:
        assert line.startswith(f"{path}:"), line
        assert line.isprintable(), line
        assert len(line) < LONGEST_LINE + len(str(path)), line
    assert perf_counter() - started < MOST_SECONDS
    return config


def require_same_when_written(config, path):
    """A configuration that is accepted is in its limits, and is the same when it is written and read."""
    assert not list(beyond_limits(config))
    path.write_text(dump(config), encoding="utf-8")
    assert load(path) == config


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return [*SHORT, *SHORT, *SHORT, *(full(data, folder) for data in SHORT)]


quietly = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@settings(quietly, max_examples=250)
@given(data=st.data())
def test_any_value_in_any_place_is_refused_by_name_or_is_what_it_says(data, bases, tmp_path):
    mutant = data.draw(st.sampled_from(bases))
    for _ in range(data.draw(st.integers(1, 2))):
        mutant = changed(mutant, data.draw(st.sampled_from(list(places(mutant)))), data.draw(anything))
    path = tmp_path / "mutant.yaml"
    path.write_text(yaml.safe_dump(mutant, allow_unicode=True, sort_keys=False), encoding="utf-8")
    config = read_or_refused(path)
    if config is not None:
        require_same_when_written(config, tmp_path / "again.yaml")


SIGNS = (
    "-",
    "  ",
    "\t",
    "\n",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "#",
    "'",
    '"',
    "|\n",
    ">\n",
    "%",
    "@",
    "? ",
    "--- ",
)
TAGS = ("!!set ", "!!float ", "!!bool ", "!!python/name:os.system ", "<<: ", "1e400")
CHARACTERS = ("\x00", "\x1b", "\u2028", "\u202e", "\ufeff")
pieces = st.sampled_from((*SIGNS, *TAGS, *CHARACTERS))


@settings(quietly, max_examples=200)
@given(
    text=st.sampled_from([yaml.safe_dump(data, sort_keys=False) for data in SHORT]),
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 12), pieces | st.text(max_size=3)), min_size=1, max_size=3
    ),
)
def test_a_text_with_any_edits_is_refused_by_name_or_is_what_it_says(text, edits, tmp_path):
    for share, length, piece in edits:
        start = int(share * len(text))
        text = text[:start] + piece + text[start + length :]
    path = tmp_path / "mutant.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    config = read_or_refused(path)
    if config is not None:
        require_same_when_written(config, tmp_path / "again.yaml")


@settings(quietly, max_examples=60)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_refused_by_name(content, tmp_path):
    path = tmp_path / "mutant.yaml"
    path.write_bytes(content)
    assert read_or_refused(path) is None


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_are_what_they_say(path, tmp_path):
    require_same_when_written(load(path), tmp_path / "again.yaml")


# --- files and words that are no configuration ------------------------------------------------------------------------

SYSTEM = "system: {kind: ammonia}\n"
WORDS = {
    "a merge key": ("a: &a {n_steps: 3}\nattack: {<<: *a}", "attack: merge keys (<<) are not read; write out the keys"),
    "a list as a key": ("? [a, b]\n: 1", "top level: keys are names, got a list or a section; delete the `?`"),
    "an empty key": ('"": 1', "top level: keys are names of 1 to 100 characters in one line, got ''"),
    "a key of two lines": ('"a\\nb": 1', r"top level: keys are names of 1 to 100 characters in one line, got 'a\nb'"),
    "a key that colours the terminal": (
        '"\\e[31mb": 1',
        r"top level: keys are names of 1 to 100 characters in one line",
    ),
    "a key with a character that nobody sees": (
        '"\\u200bseed": 1',
        r"top level: keys are names of 1 to 100 characters in one line, got '\u200bseed'",
    ),
    "a key of a script without a font": (
        "\U00018d09seed: 1",
        r"top level: keys are names of 1 to 100 characters in one line, got '\U00018d09seed'",
    ),
    "text that turns around": ('dtype: "a\\u202eb"', r"dtype: cannot be read: control characters are not allowed"),
    "a line separator": ('dtype: "a\\u2028b"', r"dtype: cannot be read: control characters are not allowed"),
    "a tag that runs": (
        "seed: !!python/object/apply:os.system [ls]",
        "seed: cannot be read: tag tag:yaml.org,2002:python",
    ),
    "a set": (
        "training: !!set {a, b}",
        "training: cannot be read: tag tag:yaml.org,2002:set is not allowed; delete it",
    ),
    "bytes": (
        "seed: !!binary aGVsbG8=",
        "seed: cannot be read: tag tag:yaml.org,2002:binary is not allowed; delete it",
    ),
    "a date": ("seed: !!timestamp 2001-01-01", "seed: cannot be read: tag tag:yaml.org,2002:timestamp is not allowed"),
    "a wrong truth": (
        "seed: !!bool maybe",
        "seed: cannot be read: 'maybe' is no bool, as its tag says; delete the tag",
    ),
    "a number of nothing": (
        "seed: !!float ''",
        "seed: cannot be read: '' is no float, as its tag says; delete the tag",
    ),
    "a number too large": (
        "seed: 1e400",
        "seed: cannot be read: 1e400 is larger than any number that a computer holds",
    ),
    "a second document": ("...\nseed: 1", "not valid YAML (column 1): found a second document after `---` or `...`"),
    "an anchor twice": ("a: &a 1\nb: &a 2", "not valid YAML (column 4): an anchor (&name) is given twice; keep one"),
    "many keys": (
        "".join(f"k{i}: 1\n" for i in range(6000)),
        "not valid YAML (column 8): more than 10,000 keys and values",
    ),
    "many proposers": (
        "propose: [" + ", ".join(["{kind: random}"] * 60) + "]",
        "propose: wanted at most 50 values, got 51",
    ),
    "a file of no name": (
        "evaluation: {file: ' '}",
        "evaluation.file: wanted the name of a file or folder, got an empty",
    ),
    "a file of a long name": (
        f"evaluation: {{file: {'a' * 300}}}",
        "evaluation.file: no file can have this name: wanted at",
    ),
    "an atom that is far": (
        "attack: {space: {kind: cartesian, atoms: [99999999]}}",
        "attack.space.atoms: wanted some atoms, counted from 0, such as [0, 3], got [99999999]",
    ),
    "an atom twice": (
        "attack: {space: {kind: cartesian, atoms: [1, 1]}}",
        "attack.space.atoms: wanted each atom once, got [1, 1]",
    ),
    "a torsion of one atom": (
        "attack: {space: {kind: dihedrals, torsions: [[0, 0, 0, 0]]}}",
        "attack.space.torsions: wanted a list of torsions, such as [phi, psi] or [[4, 6, 8, 14]]; each is a name, a "
        "SMARTS or four different atoms, got [0, 0, 0, 0]",
    ),
    "an infinite factor": (
        "attack: {objective: force_variance * (1e308 * 1e308)}",
        "attack.objective: 1e+308 * 1e+308 (character 19) is no finite number",
    ),
    "threads": ("threads: 1000000", "threads: must be at most 1,024, got 1000000"),
    "epochs of all": (
        "generations: 1000\ntraining: {n_epochs: 1000000}",
        "training.n_epochs: 1,000,000 epochs of 5 members in 1,000 generations are 5e+09, more than 1e+09; take fewer",
    ),
    "steps of all": (
        "attack: {n_seeds: 100000, n_steps: 1000000}",
        "attack.n_steps: 100,000 seeds and 1,000,000 steps are 1e+11 geometries, more than 2e+07; take fewer",
    ),
    "replicas of all": (
        "attack: {kind: dynamics, n_seeds: 1000, duration: 100 ns, every: 1000000}",
        "attack.duration: 1e+08 fs are 2e+08 steps of 0.5 fs, 2e+11 for 1,000 replicas, more than 1e+11; take fewer",
    ),
    "a long start": (
        "attack: {start: {kind: dynamics, duration: 1 ns, timestep: 0.5 fs}}",
        "attack.start.duration: 1e+06 fs are 2e+06 steps of 0.5 fs, more than 1e+06; take a shorter time",
    ),
    "a long survival": (
        "evaluation: {survival: {time: 1e12 ns}}",
        "evaluation.survival.time: 1e+18 fs are 2e+18 steps of 0.5 fs, more than 1e+09; take a shorter time",
    ),
    "a scan of all": (
        "attack: {kind: scan, n_seeds: 100000, n_values: 1000}",
        "attack.n_values: 100,000 seeds with 1e+03 values each are 1e+08 structures, more than 1e+06; take fewer",
    ),
}


@pytest.mark.parametrize("what", WORDS)
def test_words_and_products_that_no_run_could_mean_are_refused_with_the_remedy(what, tmp_path):
    text, message = WORDS[what]
    path = tmp_path / "run.yaml"
    path.write_text(SYSTEM + text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    (line,) = [one for one in caught.value.problems if "a: unknown key" not in one]
    place, _, problem = line.removeprefix(f"{path}:").partition(": ")
    assert place.isdecimal()
    assert problem.startswith(message)


def test_a_pipe_without_a_writer_is_refused_rather_than_waited_for(tmp_path):
    os.mkfifo(tmp_path / "run.yaml")
    with pytest.raises(
        ConfigError, match=r"run\.yaml: this is a pipe or a device, not a file; save the configuration in"
    ):
        load(tmp_path / "run.yaml")


def test_of_very_many_problems_the_first_are_shown_and_the_others_counted(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(SYSTEM + "".join(f"k{i}: 1\n" for i in range(90)), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    lines = str(caught.value).split("\n")
    assert len(lines) == MOST_SHOWN + 1
    assert lines[-1] == "and 60 more problems"


def test_a_key_that_belongs_in_many_sections_is_sent_to_three_of_them(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(SYSTEM + "committee: {initial_spread: 1}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"`initial_spread` belongs in .* or .* or .* and \d+ other sections$"):
        load(path)


def test_infinity_stays_what_it_is_when_a_configuration_is_written(tmp_path):
    path = tmp_path / "run.yaml"
    labels = "labels: {labeller: {kind: ase, name: emt, parameters: {a: .inf, b: [-.inf]}}}\n"
    path.write_text(SYSTEM + labels, encoding="utf-8")
    config = load(path)
    assert config.labels.labeller.parameters == {"a": float("inf"), "b": [float("-inf")]}
    require_same_when_written(config, tmp_path / "again.yaml")
