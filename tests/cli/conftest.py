import pytest


@pytest.fixture
def undrawn(monkeypatch):
    """Results without figures, which take longest; each verb has a test that looks at its own."""
    monkeypatch.setattr("sparring.plots.saving.rendered", lambda figure: {})
