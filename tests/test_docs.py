"""The documentation: small, without figures that no page shows, and with names that exist."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FIGURES = sorted(file for kind in ("png", "svg", "jpg", "gif") for file in DOCS.rglob(f"*.{kind}"))
RECORDS = sorted(DOCS.rglob("*.json"))
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
TO_HEADING = re.compile(r"\]\((?!\w+:)([^)\s#]*)#([^)]+)\)")


def targets(page):
    """Files to which a page links, also those of its pictures."""
    links = LINK.findall(page.read_text(encoding="utf-8"))
    return [(page.parent / link).resolve() for link in links if not link.startswith(("http:", "https:", "mailto:"))]


def test_the_documentation_takes_less_than_three_megabytes():
    assert sum(file.stat().st_size for file in DOCS.rglob("*") if file.is_file()) < 3_000_000


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: file.name)
def test_a_record_is_small(file):
    assert file.stat().st_size < 100_000


@pytest.mark.parametrize("file", FIGURES, ids=lambda file: file.stem)
def test_a_figure_is_shown_on_a_page_and_is_there_in_one_form(file):
    assert file.resolve() in {target for page in PAGES for target in targets(page)}
    assert [other.name for other in FIGURES if other.with_suffix("") == file.with_suffix("")] == [file.name]


@pytest.mark.parametrize("file", [file for file in FIGURES if file.suffix == ".svg"], ids=lambda file: file.stem)
def test_an_svg_is_small(file):
    assert file.stat().st_size <= 150_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_links_to_files_that_exist(page):
    missing = [target for target in targets(page) if not target.exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_to_a_heading_leads_to_one(page):
    for link, name in TO_HEADING.findall(page.read_text(encoding="utf-8")):
        target = page.parent / link if link else page
        headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert name in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_index_lists_every_page():
    listed = set(targets(DOCS / "index.md"))
    assert {page.resolve() for page in PAGES[1:]} - {(DOCS / "index.md").resolve()} <= listed


# --- equations ------------------------------------------------------------------------------------------------------

EQUATIONS = (DOCS / "equations.md").read_text(encoding="utf-8")
FUNCTIONS = sorted(set(re.findall(r"`(sparring\.[\w.]+)`", EQUATIONS)))
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", EQUATIONS)))


def named(path):
    """The object of a dotted path: the longest part that is a module, and attributes of it."""
    parts = path.split(".")
    for n_parts in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:n_parts]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[n_parts:]:
            found = getattr(found, attribute)
        return found
    raise ModuleNotFoundError(path)


@pytest.mark.parametrize("path", FUNCTIONS)
def test_a_function_of_the_equations_exists(path):
    assert named(path) is not None


@pytest.mark.parametrize(("file", "test"), TESTS, ids=[test for _, test in TESTS])
def test_a_test_of_the_equations_exists(file, test):
    assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("number", range(1, 16))
def test_every_equation_of_the_paper_has_an_entry(number):
    assert re.search(rf"^- \*\*Eq\. {number}\*\* ", EQUATIONS, flags=re.MULTILINE)
