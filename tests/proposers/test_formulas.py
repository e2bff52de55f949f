"""Objectives as text: the formula that Python has, read and never executed."""

import random
import re
import string
from importlib.metadata import EntryPoint, EntryPoints

import pytest
import torch
from ase.build import molecule

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.structures import Structures
from sparring.committee import Prediction
from sparring.config import ConfigError, difference, dump, load
from sparring.config import objectives as section
from sparring.expected_error import ExpectedErrors, PowerLaw
from sparring.proposers import objectives
from sparring.proposers.boltzmann import boltzmann, boltzmann_weighted
from sparring.proposers.bond_window import bond_window
from sparring.proposers.energy_floor import below_floor, reachable
from sparring.proposers.formulas import PLUGIN_GROUP, needs_reference, objective_of
from sparring.proposers.mutual_repulsion import mutual_repulsion
from sparring.proposers.spaces import Cartesian
from sparring.support import plugins
from sparring.support.formulas import FormulaError, parse, text_of
from sparring.units import quantity

KT = quantity("20 kcal/mol")


@pytest.fixture
def reference(ammonia, rattled):
    frames = rattled(ammonia, 3)
    for index, atoms in enumerate(frames):
        atoms.info[ENERGY], atoms.arrays[FORCES] = 0.1 * index, 0.0 * atoms.positions
    return Dataset.from_atoms(frames)


@pytest.fixture
def config(tmp_path):
    def make(objective, name="run.yaml"):
        file = tmp_path / name
        file.write_text(f"system: {{kind: ammonia}}\nattack:\n  objective: {objective}\n", encoding="utf-8")
        return load(file)

    return make


@pytest.fixture
def brought(monkeypatch):
    """Terms of another package: one that is an objective, one that takes arguments, and one that takes the data."""
    own = ("pull", "scaled", "from_lowest")
    points = EntryPoints([EntryPoint(name, f"{__name__}:{name}", PLUGIN_GROUP) for name in own])
    for module in (plugins, section):
        monkeypatch.setattr(module, "entry_points", lambda group: points.select(group=group))


def pull(prediction, structures):
    return prediction.forces.square().mean((0, 2)).new_zeros(structures.n_structures) + 2.0


def scaled(factor, *, by="energy"):
    return lambda prediction, structures: factor * getattr(prediction, by).mean(0)


def from_lowest(*, reference):
    return lambda prediction, structures: prediction.energy.mean(0) - reference.energy.min()


FORMULAS = {
    "force_variance": lambda data: objectives.force_variance,
    "log(force_variance) + boltzmann(20 kcal/mol)": (
        lambda data: objectives.log(objectives.force_variance) + boltzmann(KT, data)
    ),
    "exp(boltzmann(20 kcal/mol, per=atom)) * energy_variance": (
        lambda data: boltzmann_weighted(objectives.energy_variance, kT=KT, reference=data, per="atom")
    ),
    "2 * (force_variance - 3) / (1 + energy_variance)": (
        lambda data: 2 * (objectives.force_variance - 3) / (1 + objectives.energy_variance)
    ),
    "-mean_energy - 1 / force_variance": lambda data: -objectives.mean_energy - 1 / objectives.force_variance,
    "1 - mean_energy": lambda data: 1 - objectives.mean_energy,
    "2 * below_floor(300 K) + reachable(300 K) + bond_window(0.8, 1.3)": (
        lambda data: 2 * below_floor(300.0, data) + reachable(300.0, data) + bond_window(0.8, 1.3, data)
    ),
    "force_variance + mutual_repulsion(0.3 Å, among=4)": (
        lambda data: objectives.force_variance + mutual_repulsion(0.3, data, among=4)
    ),
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_is_the_expression_of_python_to_the_bit(formula, committee, ammonia, rattled, reference):
    structures = Structures.from_atoms(rattled(ammonia, 4, seed=3))
    prediction = committee().predict(structures)
    text, term = objective_of(formula, reference=reference), FORMULAS[formula](reference)
    assert torch.equal(text(prediction, structures), term(prediction, structures))


@pytest.mark.parametrize("formula", [*FORMULAS, "log(energy_variance) / 2 - 0.1 * mean_energy"])
def test_the_slope_of_a_formula_is_that_of_finite_differences(
    formula, committee, ammonia, rattled, reference, slope, copies
):
    members, objective = committee(), objective_of(formula, reference=reference)
    seeds, space = Structures.from_atoms(rattled(ammonia, 1, seed=7)), Cartesian()
    delta = space.initial(seeds, torch.Generator().manual_seed(0))

    def score(points):
        moved = space.displace(copies(seeds, len(points)), points.flatten(0, 1))
        return objective(members.predict(moved), moved).reshape(len(points), -1).sum(1)

    point = delta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(point.unsqueeze(0)).sum(), point)
    largest = gradient.abs().max().item()
    torch.testing.assert_close(gradient, slope(score, delta), rtol=1e-5, atol=1e-5 * largest)


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_name_of_a_term_is_a_formula_that_gives_it_again(formula, reference):
    term = objective_of(formula, reference=reference)
    assert repr(objective_of(repr(term), reference=reference)) == repr(term)


def test_one_way_of_writing_keeps_what_brackets_mean():
    for text in ("a - (b - c)", "a / (b * c)", "-(a + b) * c", "(a + b) / (-c)", "f(a, 2 eV, key=word) - 0.5"):
        assert text_of(parse(text)) == text
    assert text_of(parse(" ((a))*(b) ")) == "a * b"


def test_energies_of_a_configuration_are_in_electronvolts_however_they_were_written(config):
    kcal, ev = (
        config("log(force_variance)+boltzmann( 20 kcal/mol )"),
        config(f"'log(force_variance) + boltzmann(kT={KT!r} eV)'"),
    )
    assert kcal == ev
    assert kcal.attack.objective == f"log(force_variance) + boltzmann({KT!r} eV)"


def test_arguments_of_terms_are_written_in_one_way(config):
    written = config("below_floor(temperature=300.0 K) + mutual_repulsion(among=4, distance=30 pm)")
    assert written.attack.objective == "below_floor(300.0 K) + mutual_repulsion(0.3 Å, among=4)"


KEYS = {
    "{kT: null}": "force_variance",
    "{kT: null, logarithm: true, uncertainty: energy_variance}": "log(energy_variance)",
    "{kT: 5 eV}": "exp(boltzmann(5 eV)) * force_variance",
    "{kT: 20 kcal/mol, per: atom, logarithm: true}": "log(force_variance) + boltzmann(20 kcal/mol, per=atom)",
}


@pytest.mark.parametrize("keys", KEYS)
def test_the_keys_of_old_still_read_and_one_warning_shows_the_formula(keys, config, tmp_path, caplog):
    old = config(keys)
    assert f'write `objective: "{KEYS[keys]}"`' in caplog.text
    assert len(caplog.records) == 1
    caplog.clear()
    assert difference(config(KEYS[keys]), old) == []
    (tmp_path / "again.yaml").write_text(dump(old), encoding="utf-8")
    assert load(tmp_path / "again.yaml") == old
    assert caplog.text == ""


BAD = {
    "force_varience": r"unknown term 'force_varience' \(character 1\), did you mean 'force_variance'\?",
    "log(force_variance) + boltzman(1 eV)": r"unknown term 'boltzman' \(character 23\), did you mean 'boltzmann'\?",
    "log()": r"log \(character 1\) takes one formula: log\(force_variance\)",
    "boltzmann": r"boltzmann \(character 1\) needs an argument: boltzmann\(20 kcal/mol\)",
    "boltzmann(20 kcl/mol)": r"kT \(character 11\): unknown unit 'kcl/mol' in '20 kcl/mol', did you mean 'kcal/mol'",
    "boltzmann(300 K)": r"kT \(character 11\): '300 K' measures temperature, wanted energy",
    "boltzmann(0 eV)": r"kT \(character 11\): must be greater than 0, got 0 eV",
    "boltzmann(1e-9 eV)": r"must be at least 1e-06 eV, got 1e-09 eV",
    "boltzmann(1 eV, per=atm)": r"per=atm \(character 21\) is not known, did you mean 'atom'\?",
    "force_variance ** 2": r"numbers, names, calls and \+ - \* / are allowed in a formula, nothing else",
    "force_variance[0]": r"'\[' is not allowed in a formula \(character 15\)",
    "force_variance / (1 - 1)": r"division by zero",
    "force_variance(2)": r"force_variance \(character 1\) takes no arguments",
    "20 kcal/mol * force_variance": r"a quantity with a unit stands alone between commas or brackets",
    "below_floor": r"below_floor \(character 1\) needs an argument: below_floor\(300 K\)",
    "target_error": r"target_error \(character 1\) needs an argument: target_error\(0.3 eV/Å\)",
    "target_error(0.3 eV)": r"error \(character 14\): '0.3 eV' measures energy, wanted force",
    "below_floor(1 eV)": r"temperature \(character 13\): '1 eV' measures energy, wanted temperature",
    "reachable(1e6 K)": r"temperature \(character 11\): must be from 0.001 to 100,000 K, got 1e\+06 K",
    "bond_window(0.8)": r"bond_window \(character 1\) takes shortest and longest: bond_window\(0.8, 1.3\)",
    "bond_window(1.2, 1.3)": r"shortest \(character 13\): must be from 0 to 0.999, got 1.2",
    "bond_window(0.8, 2 Å)": r"longest \(character 18\) is a number, got '2 Å'",
    "mutual_repulsion(0.3 Å, among=1)": r"among \(character 31\): must be a whole number from 2 to 100, got 1",
    "mutual_repulsion(0.3 Å, amon=2)": r"mutual_repulsion \(character 1\) takes distance and among: mutual_repulsion",
    "log(2 eV)": r"'2 eV' \(character 5\) is no argument of a term",
    "'2 * 3'": r"is the same for all structures",
    "3": r"wanted a formula such as 'log\(force_variance\) \+ boltzmann\(20 kcal/mol\)', got 3",
    "''": r"the formula is empty",
    "''' __import__('os') '''": r"is not allowed in a formula",
}


@pytest.mark.parametrize("formula", BAD)
def test_a_wrong_formula_is_an_error_that_says_where_and_what_to_write(formula, config):
    written = formula if formula.startswith("'") else f'"{formula}"' if formula != "3" else formula
    if formula.startswith("'''"):
        written = "\"__import__('os')\""
    with pytest.raises(ConfigError, match=rf"run.yaml:3: attack.objective: .*{BAD[formula]}"):
        config(written)


def test_terms_of_other_packages_stand_beside_ones_own(brought, config, committee, reference):
    structures = Structures.from_atoms([molecule("NH3")])
    prediction = committee().predict(structures)
    mean = prediction.energy.mean(0)
    assert objective_of("pull * 3")(prediction, structures).tolist() == [6.0]
    assert torch.equal(objective_of("scaled(2, by=energy)")(prediction, structures), 2 * mean)
    in_electronvolts = objective_of("scaled(2 kcal/mol) + 0")(prediction, structures)
    torch.testing.assert_close(in_electronvolts, quantity("2 kcal/mol") * mean)
    lowest = objective_of("from_lowest()", reference=reference)(prediction, structures)
    torch.testing.assert_close(lowest, mean - reference.energy.min())
    with pytest.raises(ValueError, match="from_lowest in the objective needs labelled structures"):
        objective_of("from_lowest()")
    needing = ("boltzmann(1 eV) + pull", "log(from_lowest())", "pull", "scaled(1)", "-force_variance")
    assert [needs_reference(text) for text in needing] == [True, True, False, False, False]
    assert config("pull + scaled(0.5 eV, by=energy)").attack.objective == "pull + scaled(0.5 eV, by=energy)"
    with pytest.raises(ConfigError, match=r"unknown term 'scald'.*did you mean 'scaled'\?"):
        config("scald(2)")


def mutated(text, generator):
    characters = list(text)
    for _ in range(generator.choice((1, 1, 2, 5))):
        place = generator.randrange(len(characters) + 1)
        kind = generator.randrange(4)
        if kind == 0 and characters:
            del characters[min(place, len(characters) - 1)]
        elif kind == 1:
            characters.insert(place, generator.choice(string.printable + "Åé\u200b\x00"))
        elif kind == 2:
            tail = generator.choice(
                ["__import__('os')", "(" * 60, "lambda: 0", "{x}", "[0]", ".real", ":=", "1e999", "**"]
            )
            characters[place:place] = tail
        else:
            other = generator.randrange(len(characters) + 1)
            characters[place:place] = characters[other : other + 9]
    return "".join(characters)


def test_whatever_is_written_is_a_formula_or_an_error_and_nothing_is_executed(monkeypatch):
    generator, texts = random.Random(0), list(FORMULAS)
    # That nothing in the package calls eval or exec is a test of the architecture.
    monkeypatch.setattr("builtins.eval", lambda *_: pytest.fail("eval was called"))
    monkeypatch.setattr("os.system", lambda *_: pytest.fail("a program was run"))
    n_good = 0
    for _ in range(300):
        text = mutated(generator.choice(texts), generator)
        try:
            read = section._read(text)
        except ValueError:
            continue
        n_good += 1
        assert section._read(read) == read
    assert 5 < n_good < 250


@pytest.mark.parametrize("text", ["(" * 500, "-" * 900 + "x", "x" + "+x" * 400, "x" * 2000, "1" * 900, "\0", "f(" * 90])
def test_absurd_formulas_are_errors(text):
    with pytest.raises(ValueError, match=r"character \d+"):
        parse(text)
    assert issubclass(FormulaError, ValueError)


def test_a_formula_that_a_comma_of_yaml_cuts_short_needs_quotes(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        "system: {kind: ammonia}\nattack: {kind: adversarial, objective: force_variance + bond_window(0.8, 1.3)}\n"
    )
    with pytest.raises(ConfigError, match=r"a formula with a comma must be in quotes"):
        load(file)


def test_a_target_error_needs_expected_errors_and_no_labelled_structures():
    law = PowerLaw(factor=2.0, exponent=1.0, ratios=(1.0,), n=9)
    expected = ExpectedErrors(forces=law, energy=None, elements={}, n_labels=9, n_test=0)
    formula = "2 * target_error(25 meV/Å) - 0.1 * mean_energy"
    assert not needs_reference(formula)
    assert repr(objective_of(formula, expected=expected)) == "2 * target_error(0.025 eV/Å) - 0.1 * mean_energy"
    with pytest.raises(ValueError, match="target_error in the objective needs the errors of at least 5 labels"):
        objective_of(formula)


def test_a_weight_may_have_a_pressure_in_any_unit(with_random_labels, salt):
    data = with_random_labels([salt, salt])
    made = objective_of("boltzmann(0.5 eV, pressure=1 GPa)", reference=data)
    same = boltzmann(0.5, data, pressure=1 / 160.2176634)
    prediction = Prediction(torch.zeros(2, 2).double(), torch.zeros(2, 2 * len(salt), 3).double())
    torch.testing.assert_close(made(prediction, data.structures), same(prediction, data.structures))
    assert "pressure=1 GPa" in repr(made)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3", "wanted a pressure with its unit, as in pressure=1 GPa, got '3'"),
        ("3 eV", "'3 eV' measures energy, wanted pressure"),
        ("-1 GPa", "must be at least 0, got -1 GPa"),
    ],
)
def test_what_is_no_pressure_is_an_error(value, message, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(f"system: {{kind: ammonia}}\nattack: {{objective: 'boltzmann(1 eV, pressure={value})'}}\n")
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(file)
