"""Names in data that a browser, a spreadsheet, a terminal or Matplotlib would obey."""

import csv
import io
import json
import logging
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ase.io import read
from rich.console import Console

from sparring.cli.showing import PrintableFormatter, printable_output
from sparring.inputs.extxyz import write_structures
from sparring.labels import LabelError
from sparring.plots.saving import rendered
from sparring.plots.style import panels
from sparring.reporting import explore
from sparring.reporting.page import report
from sparring.runs.failures import read_failures, write_failures
from sparring.support.printable import file_name
from sparring.support.progress import progress_bars_on
from sparring.support.tables import Column, Table

SCRIPT = "<script>alert(1)</script>"
NAMES = {
    "a script": SCRIPT,
    "the end of a script": '</script><img src=x onerror="alert(1)">',
    "a link": "javascript:alert(1)//'\"><a href='javascript:alert(1)'>",
    "a formula": r"$\frac$ of $",
    "a recursive SMARTS": "[$(C)][$([OH])]",
    "a colour": "\x1b[31mred",
    "another line": "a\u2028b",
    "another direction": "a\u202eb",
    "markup": "[bold]a[/] [/bold] :smile:",
}


class Page(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.values, self.data, self.inside = [], [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.values += [(name, value or "") for name, value in attributes]
        self.inside = dict(attributes).get("id") if tag == "script" else None

    def handle_data(self, data):
        if self.inside:
            self.data[self.inside] = self.data.get(self.inside, "") + data


@pytest.fixture(scope="module")
def page(tmp_path_factory, write_run):
    """The page of a finished run in which every text that comes from data is hostile."""
    folder = write_run(tmp_path_factory.mktemp("hostile") / "<b>run $x [bold]", n_generations=2)
    names = list(NAMES.values())
    for number in (1, 2):
        for file in (folder / f"generation-{number:02d}").glob("*.extxyz"):
            frames = read(file, ":")
            for place, atoms in enumerate(frames):
                atoms.info |= {"note": names[place % len(names)]}
                if atoms.info.get("source") == "attack":
                    atoms.info["source"] = names[place % len(names)]
            write_structures(file, frames)
    failures = ((place, LabelError("crashed", name, Path(name))) for place, name in enumerate(names))
    write_failures(folder / "generation-01" / "failures.csv", failures)
    (folder / "versions.json").write_text(json.dumps({name: name for name in names}), encoding="utf-8")
    return report(folder)


def test_names_in_data_are_texts_of_the_page_and_nothing_else(page):
    text = page.read_text(encoding="utf-8")
    parsed = Page(text)
    assert parsed.tags.count("script") <= 2
    assert not {"iframe", "object", "embed", "form", "base"} & set(parsed.tags)
    assert all(value.startswith("data:") for name, value in parsed.values if name == "src")
    assert not [one for one in parsed.values if one[0].startswith("on") or "javascript:" in one[1]]
    assert SCRIPT not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert r"\x1b[31mred" in text
    assert r"a\u202eb" in text


def test_names_in_data_are_texts_of_what_the_explorer_shows(page):
    shown = json.loads(Page(page.read_text(encoding="utf-8")).data["explorer-data"])
    assert any(SCRIPT in json.dumps(group, ensure_ascii=False) for group in shown["groups"])
    folder = Path(explore.__file__).parent / "explorer"
    assert not re.search(
        "innerHTML|outerHTML|insertAdjacentHTML|document.write|eval", "".join(map(Path.read_text, folder.glob("*.js")))
    )


def test_figures_with_hostile_names_are_pictures_without_scripts(page):
    files = sorted((page.parent / "figures").glob("*.svg"))
    assert len(files) >= 5
    for file in files:
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(file).iter()}
        assert not {"script", "foreignObject", "a"} & tags
        assert SCRIPT not in file.read_text(encoding="utf-8")


def test_a_table_of_failures_has_no_formulas_of_a_spreadsheet_and_reads_back_as_it_was(tmp_path):
    messages = ["=1+1", "+1", "-1", "@x", "\t=1", "'=1", "''x", "plain", "1=1", *NAMES.values()]
    file = tmp_path / "failures.csv"
    write_failures(file, ((message, LabelError("crashed", message)) for message in messages))
    with file.open(encoding="utf-8", newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
    assert [error.message for error in read_failures(file)] == messages


@pytest.mark.parametrize("what", NAMES)
def test_any_name_can_stand_in_a_figure(what):
    figure, (ax,) = panels()
    ax.plot([0, 1], [1, 0], label=NAMES[what])
    ax.set(title=NAMES[what], xlabel=NAMES[what], ylabel="σ$_F$ of the committee")
    ax.set_xticks([0, 1], [NAMES[what], "$x"])
    ax.legend()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        ElementTree.fromstring(rendered(figure, ("svg",))["svg"])
    assert ax.get_ylabel() == "σ$_F$ of the committee"


def test_a_dollar_in_a_name_is_drawn_as_a_dollar():
    drawn = []
    for name in ("a$b$c", r"a\$b\$c"):
        figure, (ax,) = panels()
        ax.set_title(name)
        drawn.append(re.sub(rb"<!--.*?-->", b"", rendered(figure, ("svg",))["svg"]))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("errors_on_one_set", "errors_on_one_set"),
        ("../../F/C=C/F", "___.._F_C_C_F"),
        (".hidden", "_hidden"),
        ("a\0b", "a_b"),
        ("", "_"),
        ("x" * 5000, "x" * 100),
    ],
)
def test_the_name_of_a_file_stays_in_its_folder(name, file, tmp_path):
    assert file_name(name) == file
    (tmp_path / file_name(name)).touch()
    assert [one.name for one in tmp_path.iterdir()] == [file]


@pytest.mark.parametrize("what", NAMES)
def test_a_table_shows_any_name_in_one_cell(what):
    table = Table(columns=(Column(title="name", left=True), Column(title="n")), rows=((NAMES[what], 1),))
    assert table.text().isprintable() or table.text().replace("\n", "").isprintable()
    assert not re.search(r"<[A-Za-z/]", table.markdown())
    assert Page(table.html()).tags.count("td") == 2
    assert set(Page(table.html()).tags) == {"table", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize("what", NAMES)
def test_a_terminal_shows_any_name_as_it_is(what):
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    bar = progress_bars_on(console)(NAMES[what])
    bar(1, 2)
    bar(2, 2)
    stream = io.StringIO()
    with printable_output(stream):
        print(NAMES[what])  # noqa: T201
    assert stream.getvalue().removesuffix("\n").isprintable()
    record = logging.LogRecord("sparring", logging.WARNING, "", 1, "%s", (NAMES[what],), None)
    assert PrintableFormatter("%(message)s").format(record).isprintable()
