import importlib
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def chains():
    """The toy molecule with two torsions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module("chains")
