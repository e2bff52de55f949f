"""Tables: one value, the same numbers as text, as HTML and as Markdown."""

import math
import re

import numpy as np
import pytest

from sparring.support.tables import Column, Table, TextRows

KCAL = 0.5
"""Size of a unit of the tests."""


@pytest.fixture
def table():
    columns = (
        Column(title="", left=True),
        Column(title="barrier", unit="u", format="{:+z.2f}", size=KCAL),
        Column(title="stable", format="{:.0f} %\n[{:.0f}, {:.0f}]", group="dynamics"),
        Column(title="copies", group="dynamics"),
    )
    rows = (("generation 1", -1.0, (50.0, 30.0, 70.0), 20), ("a | b <c>", None, None, 3))
    return Table(columns=columns, rows=rows, caption=("two rows",))


def test_text_html_and_markdown_have_the_same_numbers(table):
    found = [re.findall(r"\d+(?:\.\d+)?", text) for text in (table.text(), table.html(), table.markdown())]
    assert found[0][:1] + found[0][1:] == found[2]
    assert [number for number in found[1] if number not in ("2",)] == [*found[2]]


def test_text_has_a_caption_groups_and_columns_that_line_up(table):
    lines = table.text().split("\n")
    assert lines == [
        "two rows",
        "                           dynamics",
        "              barrier (u)         stable  copies",
        "generation 1        -2.00  50 % [30, 70]      20",
        "a | b <c>               -              -       3",
    ]


def test_html_has_typographic_minus_and_dash_and_is_escaped(table):
    html = table.html()
    assert "<td>−2.00</td>" in html
    assert "<td>–</td>" in html
    assert "<td>50 %\n[30, 70]</td>" in html
    assert "<td>a | b &lt;c&gt;</td>" in html
    assert '<th scope="colgroup" colspan="2">dynamics</th>' in html


def test_markdown_escapes_what_would_end_a_cell(table):
    lines = table.markdown().split("\n")
    assert lines[1] == "| :-- | --: | --: | --: |"
    assert lines[3] == "| a \\| b &lt;c> | - | - | 3 |"
    assert "| dynamics copies |" in lines[0]


@pytest.mark.parametrize("value", [math.nan, math.inf, (1.0, math.nan)])
def test_a_number_that_is_not_finite_is_named(value):
    assert Column(title="", format="{:.1f}").text(value) == "not finite"


def test_nothing_is_minus_zero():
    assert Column(title="", format="{:z.2f}").text(-1e-9) == "0.00"


def test_a_column_without_values_can_be_left_out(table):
    empty = Table(columns=table.columns[:2], rows=(("a", None), ("b", "")))
    assert empty.without_empty_columns().headings == ("",)
    assert table.without_empty_columns() == table


def test_a_row_has_as_many_cells_as_there_are_columns(table):
    with pytest.raises(ValueError, match="a row has 1 cells, the table has 4 columns"):
        Table(columns=table.columns, rows=(("a",),))


def test_groups_with_the_same_headings_can_stand_below_one_another():
    columns = [Column(title="", left=True)]
    columns += [Column(title=title, group=group) for group in ("first", "second") for title in ("5", "10")]
    rows = (("points", 1, 2, "", ""), ("a", 100, 4, 5, 6))
    assert Table(columns=tuple(columns), rows=rows).stacked_text().split("\n") == [
        "          5  10",
        "first",
        "points    1   2",
        "a       100   4",
        "second",
        "a         5   6",
    ]


@pytest.mark.parametrize("seed", range(3))
def test_cells_of_any_width_are_two_blanks_apart_and_numbers_end_below_each_other(seed):
    generator = np.random.default_rng(seed)
    rows = [[f"{10.0 ** generator.integers(-3, 12):g}" for _ in range(3)] for _ in range(5)]
    columns = (Column(title="name", left=True), Column(title="E"), Column(title="copies"))
    lines = Table(columns=columns, rows=tuple(map(tuple, rows))).text().split("\n")
    assert [line.split() for line in lines] == [["name", "E", "copies"], *rows]
    assert len({len(line) for line in lines}) == 1


def test_a_row_that_is_wider_than_those_before_it_widens_what_follows():
    table = TextRows((Column(title="a"), Column(title="b")), (3, 3))
    assert table.line(["1", "2"]) == "  1    2"
    assert table.line(["123456", "2"]) == "123456    2"
    assert table.row([1, None]) == "     1    -"
