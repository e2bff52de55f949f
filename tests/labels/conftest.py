import importlib
from pathlib import Path

import pytest


@pytest.fixture
def toys(monkeypatch):
    """The toy labellers, under a name by which worker processes find them too."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("toy_labellers")
