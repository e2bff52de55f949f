import math

import ase.units
import pytest

from sparring.units import AMU, BOHR, GPA, HARTREE, KCAL_PER_MOL, kT, quantity


@pytest.mark.parametrize(
    ("text", "dimension", "expected"),
    [
        ("20 kcal/mol", "energy", 20 * 4184 / (6.02214076e23 * 1.602176634e-19)),
        ("0.87 eV", "energy", 0.87),
        ("870meV", "energy", 0.87),
        ("1 kJ/mol", "energy", 1000 / (6.02214076e23 * 1.602176634e-19)),
        ("1 Ha", "energy", 27.211386245988),
        ("-1e-3 Hartree", "energy", -0.027211386245988),
        ("500 K", "temperature", 500.0),
        ("0.5 fs", "time", 0.5),
        ("1 ps", "time", 1000.0),
        ("0.01 Å", "length", 0.01),
        ("0.01 \N{ANGSTROM SIGN}", "length", 0.01),
        ("0.01 A\N{COMBINING RING ABOVE}", "length", 0.01),
        (".01 A", "length", 0.01),
        ("0.01 Angstrom", "length", 0.01),
        ("1 Bohr", "length", 0.529177210903),
        ("100 eV/Å", "force", 100.0),
        ("25 kcal / mol / Å", "force", 25 * 0.0433641042),
        ("1 Ha/Bohr", "force", 27.211386245988 / 0.529177210903),
        ("90 deg", "angle", math.pi / 2),
        ("180°", "angle", math.pi),
        ("4 GB", "memory", 4e9),
        ("0.02 1/fs", "rate", 0.02),
        ("10 /ps", "rate", 0.01),
        ("1 GPa", "pressure", 1 / 160.2176634),
        ("10 kbar", "pressure", 1 / 160.2176634),
        ("-1 bar", "pressure", -1e-4 / 160.2176634),
        ("0.1 eV/Å³", "pressure", 0.1),
        ("0.1 eV/A^3", "pressure", 0.1),
    ],
)
def test_a_quantity_is_read_in_the_internal_unit(text, dimension, expected):
    assert quantity(text, dimension) == pytest.approx(expected, rel=1e-9)
    assert quantity(text) == quantity(text, dimension)


@pytest.mark.parametrize("bare", [0.5, 2, "0.5", "3e-4", "2"])
def test_a_bare_number_is_already_in_the_internal_unit(bare):
    assert quantity(bare, "length") == float(bare)


def test_the_constants_agree_with_those_of_ase():
    assert pytest.approx(ase.units.kcal / ase.units.mol, rel=1e-7) == KCAL_PER_MOL
    assert pytest.approx(ase.units.Hartree, rel=1e-7) == HARTREE
    assert pytest.approx(ase.units.Bohr, rel=1e-7) == BOHR
    assert pytest.approx(ase.units.fs**-2, rel=1e-7) == AMU
    assert pytest.approx(ase.units.GPa, rel=1e-7) == GPA
    assert kT(300.0) == pytest.approx(300 * ase.units.kB, rel=1e-6)


def test_one_electronvolt_is_as_many_kilocalories_as_the_tables_say():
    assert pytest.approx(23.0605, abs=5e-5) == 1 / KCAL_PER_MOL


def test_room_temperature_is_a_fortieth_of_an_electronvolt():
    assert kT(298.15) == pytest.approx(0.025693, abs=1e-6)
    with pytest.raises(ValueError, match="not negative, got -1"):
        kT(-1.0)


@pytest.mark.parametrize(
    ("text", "dimension", "suggestion"),
    [
        ("20 kcal/mole", "energy", "kcal/mol"),
        ("5 MeV", "energy", "meV"),
        ("3 ev", "energy", "eV"),
        ("3 angstroms", "length", "Angstrom"),
        ("0.5 femto", None, None),
    ],
)
def test_an_unknown_unit_is_named_with_its_nearest_and_with_what_is_accepted(text, dimension, suggestion):
    with pytest.raises(ValueError, match="unknown unit") as error:
        quantity(text, dimension)
    message = str(error.value)
    assert text in message
    assert "eV" in message or "Å" in message
    assert suggestion is None or f"did you mean {suggestion!r}" in message


def test_a_quantity_of_another_dimension_is_refused():
    with pytest.raises(ValueError, match=r"'500 K' measures temperature, wanted energy; units of energy: eV, meV"):
        quantity("500 K", "energy")
    with pytest.raises(ValueError, match=r"'1 eV' measures energy, wanted force; units of force: eV/Å"):
        quantity("1 eV", "force")


@pytest.mark.parametrize("text", ["", "kcal/mol", "twenty eV", "nan", math.nan, math.inf, "1e999 eV", True])
def test_what_is_no_finite_number_is_refused(text):
    with pytest.raises(ValueError, match="wanted a"):
        quantity(text, "energy")


def test_an_unknown_dimension_is_refused():
    with pytest.raises(ValueError, match="unknown dimension 'enrgy'; wanted one of energy, temperature"):
        quantity("1 eV", "enrgy")
