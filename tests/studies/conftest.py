import importlib
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def tiny():
    """The tiny study of ammonia, and the modules of the study, which are scripts and import each other."""
    pytest.importorskip("tblite")
    pytest.importorskip("rdkit")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        before = list(sys.path)
        yield importlib.import_module("tiny_ammonia")
        sys.path[:] = before


@pytest.fixture(scope="session")
def small():
    """The tiny study of alanine dipeptide, likewise."""
    pytest.importorskip("openmm")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        before = list(sys.path)
        yield importlib.import_module("tiny_alanine_dipeptide")
        sys.path[:] = before


@pytest.fixture
def schedule(monkeypatch):
    """The module that does work in pieces."""
    monkeypatch.syspath_prepend(str(HERE.parents[1] / "studies"))
    return importlib.import_module("schedule")
