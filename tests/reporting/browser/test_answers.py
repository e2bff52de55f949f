"""The top of the page as a reader has it: answers side by side, or below each other where there is no room."""

import pytest

from sparring.reporting import page as pages


@pytest.fixture
def written(made_up_run, monkeypatch):
    monkeypatch.setattr(pages, "_sheets", lambda run: ())
    return pages.report(made_up_run(n_generations=2))


def places(browser):
    """Left and top of each answer."""
    return browser.run(
        "[...document.querySelectorAll('.answer')].map(one => one.getBoundingClientRect()).map(box => [box.x, box.y])"
    )


@pytest.mark.parametrize(("width", "n_columns"), [(1280, 2), (390, 1)])
def test_answers_are_the_first_thing_on_the_page(browser, written, width, n_columns):
    browser.open(written, width=width, height=800, touch=width < 400)
    found = places(browser)
    assert len(found) == 4
    assert len({x for x, _ in found}) == n_columns
    assert found[0][1] < 200
    assert browser.complaints == []


def test_a_verdict_has_a_sign_and_a_word_and_a_colour_with_contrast(browser, written):
    browser.open(written)
    signs = browser.run("[...document.querySelectorAll('.answer .state')].map(one => one.textContent.trim())")
    assert set(signs) <= {"✓good", "!look here", "?not known"}
    colours = browser.run("[...document.querySelectorAll('.answer .state')].map(one => getComputedStyle(one).color)")
    for colour in colours:
        channels = [int(one) / 255 for one in colour.removeprefix("rgb(").removesuffix(")").split(",")]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
        assert 1.05 / (luminance + 0.05) >= 4.5  # WCAG 2.1, on white
