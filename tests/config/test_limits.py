"""Configurations that would kill a machine, or that say something else than people read in them."""

import random
import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from sparring.config import Config, ConfigError, load
from sparring.config.limits import LIMITS
from sparring.schema.values import Quantity

EXAMPLES = Path(__file__).parents[2] / "examples"
AMMONIA = "system: {kind: ammonia}\n"
OWN = "system: {kind: own, file: a.xyz, enlarge: {kind: %s}}\n"
LANGEVIN = "labels: {labeller: {kind: openmm, forcefield: a.xml, topology: a.pdb}}\n" + OWN


def problem(tmp_path, content):
    """The one line of the error, from the file's name on."""
    path = tmp_path / "run.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        load(path)
    (line,) = caught.value.problems
    return line.removeprefix(f"{tmp_path}/")


def bomb(n):
    """A list of lists of lists: 361 bytes for 9 to the power of 9 values."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * n)}]")
    return "\n".join(lines) + "\n"


def chain(n):
    return "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, n))


# --- files that kill --------------------------------------------------------------------------------------------------

KILLING = {
    "an alias bomb": (
        bomb(9),
        r"run\.yaml:\d+: aliases \(\*name\) stand for 4\.9e\+08 values in all; allowed are 10,000",
    ),
    "a chain of aliases": (chain(120), r"run\.yaml:\d+: aliases \(\*name\) stand for lists that are nested \d+ deep"),
    "lists in lists": (
        AMMONIA + "a: " + "[" * 1000 + "]" * 1000,
        r"run\.yaml:2: not valid YAML \(column 53\): nested more than 50 deep",
    ),
    "sections in sections": (
        "\n".join(" " * i + f"k{i}:" for i in range(500)),
        r"run\.yaml:50: .*nested more than 50 deep",
    ),
    "a file that is too large": ("# " + "x" * 1_000_000, r"run\.yaml: larger than 1 MB, so no configuration"),
    "an integer of 5000 digits": (
        AMMONIA + f"seed: {'9' * 5000}",
        r"run\.yaml:2: seed: cannot be read: an integer of 5000 digits; at most 100 are allowed",
    ),
    "a thousand presets": (
        AMMONIA + "presets:\n" + "".join(f"  p{i}: {{}}\n" for i in range(1000)),
        r"run\.yaml:2: presets: 1000 presets, more than 100",
    ),
}


@pytest.mark.parametrize("what", KILLING)
def test_a_small_file_that_would_take_all_memory_is_refused_at_once(what, tmp_path):
    content, message = KILLING[what]
    assert re.match(message, problem(tmp_path, content))


def test_a_few_aliases_are_allowed(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("attack: &a {kind: adversarial, n_steps: 3}\npresets: {x: {attack: *a}}\n" + AMMONIA)
    assert load(path, "x").attack.n_steps == 3


# --- bytes that are no text -------------------------------------------------------------------------------------------

BYTES = {
    "Latin-1": (b"seed: 1\n# \xe9\n", r"run\.yaml:2: not a text file in UTF-8 \(byte 10\); save it as UTF-8"),
    "UTF-16": (AMMONIA.encode("utf-16"), r"run\.yaml:1: a text file in UTF-16; save it as UTF-8"),
    "a NUL byte": (b"seed: 1\ndtype: \x00\n", r"run\.yaml:2: not valid YAML: unacceptable character #x0000; delete it"),
    "a NUL character": (
        b'system: {kind: own, file: "a\\0b"}\n',
        r"run\.yaml:1: system\.file: .*control characters are not",
    ),
    "half a character": (b'system: {kind: own, file: "\\ud800"}\n', r"run\.yaml:1: system\.file: .*control characters"),
    "an archive": (b"PK\x03\x04\x00\x00", r"run\.yaml:1: not valid YAML: unacceptable character #x0003"),
}


@pytest.mark.parametrize("what", BYTES)
def test_bytes_that_are_no_text_are_named_with_their_line(what, tmp_path):
    content, message = BYTES[what]
    assert re.match(message, problem(tmp_path, content))


def test_windows_has_its_own_line_ends_and_byte_order_mark(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + AMMONIA.replace("\n", "\r\n").encode() + b"seed: 4\r\n")
    assert load(path).seed == 4


def test_a_folder_is_named_with_the_configuration_in_it(tmp_path):
    (tmp_path / "config.yaml").write_text(AMMONIA)
    with pytest.raises(ConfigError, match=r"this is a folder, not a configuration; did you mean .*config\.yaml\?"):
        load(tmp_path)


# --- quantities -------------------------------------------------------------------------------------------------------

NO_QUANTITIES = [
    ("-300 kcal/mol", "must be greater than 0, got -300 kcal/mol"),
    ("20 kcal", "unknown unit 'kcal' in '20 kcal', did you mean 'kcal/mol'?"),
    ("20 kJ", "unknown unit 'kJ' in '20 kJ', did you mean 'kJ/mol'?"),
    ("1_000.5", "wanted a finite number with a unit, such as '20 kcal/mol', got '1_000.5'"),
    ("1_000 eV", "wanted a finite number with a unit, such as '20 kcal/mol', got '1_000 eV'"),
    ("'1,5 eV'", "wanted a finite number with a unit, such as '20 kcal/mol', got '1,5 eV'"),
    ("1 000 eV", "unknown unit '000 eV'"),
    ("1.2.3 eV", "wanted a finite number with a unit"),
    ("−300 kcal/mol", "wanted a finite number with a unit, such as '20 kcal/mol', got '−300 kcal/mol'"),
    ("٣ eV", "wanted a finite number with a unit, such as '20 kcal/mol', got '٣ eV'"),
    ("５ eV", "wanted a finite number with a unit"),  # noqa: RUF001
    ("inf", "wanted a finite number"),
    (".nan", "wanted a finite number"),
    ("1e999", "cannot be read: 1e999 is larger than any number that a computer holds"),
    ("1e999 eV", "wanted a finite number"),
    ("0x10", "unknown unit 'x10'"),
    ("0o17", "unknown unit 'o17'"),
    ("1:30", "unknown unit ':30'"),
    ("true", "wanted a quantity of energy such as '1.0 eV', got true"),
    ("[[[20 eV]]]", "wanted a quantity of energy such as '1.0 eV', got [[['20 eV']]]"),
    ("0 eV", "must be greater than 0, got 0 eV"),
    ("1e9 eV", "must be at most 1,000,000 eV, got 1e9 eV"),
    ("1e-9 eV", "must be at least 1e-06 eV, got 1e-09 eV"),
]


@pytest.mark.parametrize(("value", "message"), NO_QUANTITIES)
def test_a_quantity_is_read_wholly_or_not_at_all(value, message, tmp_path):
    line = problem(tmp_path, AMMONIA + f"attack:\n  objective:\n    kT: {value}\n")
    assert line.startswith(f"run.yaml:4: attack.objective.kT: {message}")


@pytest.mark.parametrize("value", ["1_0", "1_000.5", "٣", "０", "true"])  # noqa: RUF001
@pytest.mark.parametrize("key", ["n_epochs", "learning_rate", "force_weight"])
def test_a_number_is_written_in_plain_digits(key, value, tmp_path):
    assert re.match(
        rf"run\.yaml:2: training\.{key}: wanted a number, got",
        problem(tmp_path, AMMONIA + f"training: {{{key}: {value}}}"),
    )


# --- numbers that run for ever ----------------------------------------------------------------------------------------

ABSURD = {
    "generations": ("generations: 1e9", "generations: must be at most 1,000,000, got 1000000000.0"),
    "many generations": ("generations: 5000", "generations: must be at most 1,000, got 5000"),
    "a seed": ("seed: 99999999999999999999", "seed: must be less than"),
    "members": ("committee: {n_members: 1e5}", "committee.n_members: must be at most 100, got 100000"),
    "epochs": ("training: {n_epochs: 1000000000}", "training.n_epochs: must be at most 1,000,000, got 1000000000"),
    "a batch": ("training: {batch_size: 1e12}", "training.batch_size: must be at most 1,000,000"),
    "a learning rate": ("training: {learning_rate: 1e6}", "training.learning_rate: must be at most 10, got 1e+06"),
    "a weight": (
        "training: {energy_weight: 1e300}",
        "training.energy_weight: must be at most 1,000,000,000, got 1e+300",
    ),
    "features": ("committee: {potential: {n_features: 1e5}}", "committee.potential.n_features: must be at most 4,096"),
    "parameters": (
        "committee: {n_members: 50, potential: {n_features: 4096, n_filters: 4096}}",
        "committee.potential: 50 members of this size have 1.3e+10 parameters, more than 1e+09",
    ),
    "a cutoff": ("committee: {potential: {cutoff: 1 km}}", "committee.potential.cutoff: unknown unit 'km'"),
    "a long cutoff": ("committee: {potential: {cutoff: 5000}}", "committee.potential.cutoff: must be at most 30 Å"),
    "a short cutoff": ("committee: {potential: {cutoff: 1 pm}}", "committee.potential.cutoff: must be at least 0.5 Å"),
    "seeds": ("attack: {n_seeds: 1e6}", "attack.n_seeds: must be at most 100,000, got 1000000"),
    "steps": ("attack: {n_steps: 1000000000}", "attack.n_steps: must be at most 1,000,000, got 1000000000"),
    "a spread": ("attack: {initial_spread: 1000 Å}", "attack.initial_spread: must be at most 10 Å or rad, got 1000"),
    "steps of dynamics": (
        "attack: {kind: dynamics, duration: 1e12 ns}",
        "attack.duration: 1e+18 fs are 2e+18 steps of 0.5 fs, more than 1e+09; take a shorter time",
    ),
    "snapshots": (
        "attack: {kind: dynamics, duration: 1 ns, every: 1}",
        "attack.every: 30 seeds with 2e+06 frames each are 6e+07 structures, more than 1e+06; take fewer",
    ),
    "a timestep": ("attack: {kind: dynamics, timestep: 1e-300 fs}", "attack.timestep: must be at least 0.001 fs"),
    "heat": ("attack: {kind: dynamics, temperature: 1e6 K}", "attack.temperature: must be at most 100,000 K"),
    "workers": ("labels: {n_workers: 100000}", "labels.n_workers: must be at most 1,024, got 100000"),
    "a least distance": ("labels: {bounds: {min_distance: 1e3}}", "labels.bounds.min_distance: must be at most 10 Å"),
    "a largest force": (
        "labels: {bounds: {max_force: 1e300}}",
        "labels.bounds.max_force: must be at most 1,000,000 eV/Å",
    ),
    "a window": (
        "selection: [{kind: energy_window, window: -300 kcal/mol}]",
        "selection[0].window: must be greater than 0, got -300 kcal/mol",
    ),
    "a budget": ("selection: [{kind: budget, n: 1000000000}]", "selection[0].n: must be at most 1,000,000"),
    "a norm": ("attack: {bound: {norm: 1e300, radius: 1}}", "attack.bound.norm: wanted a p of at most 100, or inf"),
}


@pytest.mark.parametrize("what", ABSURD)
def test_a_number_that_no_run_could_live_with_is_refused(what, tmp_path):
    text, message = ABSURD[what]
    assert problem(tmp_path, AMMONIA + text).startswith(f"run.yaml:2: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN % "normal_modes, n_structures: 1000000", "system.enlarge.n_structures: must be at most 100,000"),
        (OWN % "displacements, amplitude: 1 nm, n_structures: 999999", "system.enlarge.n_structures: must be at most"),
        (OWN % "displacements, amplitude: 100 Å", "system.enlarge.amplitude: must be at most 10 Å, got 100 Å"),
        ("system: {kind: own, file: a.xyz, charge: 1000000}", "system.charge: must be at most 1,000, got 1000000"),
        ("system: {kind: own, file: a.xyz, multiplicity: 5000}", "system.multiplicity: must be at most 1,000"),
    ],
)
def test_a_file_is_enlarged_within_reason(text, message, tmp_path):
    assert problem(tmp_path, text).startswith(f"run.yaml:1: {message}")


def test_dynamics_of_a_force_field_has_an_end(tmp_path):
    line = problem(tmp_path, LANGEVIN % "langevin, duration: 1e9 ns")
    assert line.startswith("run.yaml:2: system.enlarge.duration: 1e+15 fs are 5e+14 steps of 2 fs, more than 1e+09")


def numbers(section, seen=frozenset()):
    """Every number of a section and of those within: its name, and what bounds it."""
    for name, field in section.model_fields.items():
        stack, types, bounds = [field.annotation, *field.metadata], [], []
        while stack:
            one = stack.pop()
            types.append(one)
            bounds += [one] if isinstance(one, Quantity) or getattr(one, "le", getattr(one, "lt", None)) else []
            stack += [*get_args(one), *getattr(one, "metadata", ())]
        inner = [one for one in types if isinstance(one, type) and issubclass(one, BaseModel)]
        for one in set(inner) - seen:
            yield from numbers(one, seen | {section})
        if not inner and {int, float} & {one for one in types if isinstance(one, type)}:
            yield f"{section.__name__}.{name}", bool(bounds) or name in ("norm", "atoms", "centres", "guest")


def test_every_number_of_a_configuration_has_an_upper_bound():
    found = dict(numbers(Config))
    assert {"Config.generations", "Adversarial.n_steps", "Bounds.max_force", "Ammonia.temperatures"} <= set(found)
    assert not [name for name, bounded in found.items() if not bounded]
    names = {name.partition(".")[2] for name in found}
    assert not [key for key in LIMITS if key not in found and key.partition(".")[2] not in names]


# --- whatever else ----------------------------------------------------------------------------------------------------

MUTATIONS = 400
PIECES = (
    *("-", "  ", "\t", "\n", ": ", "{", "}", "[", "]", "&a ", "*a", "#", "'", '"', "|", ">", "%", "@", "!!", "? "),
    *(
        "null",
        "true",
        ".nan",
        ".inf",
        "1e400",
        "-1",
        "0",
        "1_0",
        "999999999999",
        "\x00",
        "é",
        "\ufeff",
        "---\n",
        "<<: *a",
    ),
)


def mutated(text, generator):
    """The text with up to four places deleted, doubled, exchanged or written over."""
    for _ in range(generator.randint(1, 4)):
        start = generator.randrange(len(text))
        stop = min(len(text), start + generator.choice((0, 1, 3, 20, 200)))
        piece = generator.choice((generator.choice(PIECES), text[start:stop] * 2, text[stop : stop + 40], ""))
        text = text[:start] + piece + text[stop:]
    return text


def test_a_damaged_file_is_a_configuration_or_an_error_with_its_name_and_nothing_else(tmp_path):
    generator = random.Random(19)
    texts = [
        "\n".join(line.partition("#")[0].rstrip() for line in path.read_text(encoding="utf-8").splitlines()).strip()
        for path in sorted(EXAMPLES.glob("*.yaml"))
    ]
    path, refusals = tmp_path / "damaged.yaml", []
    for _ in range(MUTATIONS):
        path.write_text(mutated(generator.choice(texts), generator), encoding="utf-8")
        try:
            load(path)
        except ConfigError as error:
            refusals.append(error.problems)
    assert 0 < len(refusals) < MUTATIONS
    assert all(refusals)
    assert not [one for problems in refusals for one in problems if not one.startswith(f"{path}:") or "\n" in one]
