import importlib
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(autouse=True, scope="session")
def studies():
    """Studies are packages of the repository, which is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield


@pytest.fixture(scope="session")
def tiny():
    """The tiny study of ammonia, and the modules of the study."""
    pytest.importorskip("tblite")
    pytest.importorskip("rdkit")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        before = list(sys.path)
        yield importlib.import_module("tiny_ammonia")
        sys.path[:] = before


@pytest.fixture(scope="session")
def small():
    """The tiny study of alanine dipeptide, and the modules of the study."""
    pytest.importorskip("openmm")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        before = list(sys.path)
        yield importlib.import_module("tiny_alanine_dipeptide")
        sys.path[:] = before


@pytest.fixture
def jobs():
    """The module that runs jobs."""
    return importlib.import_module("studies.common.jobs")
