"""Runs in processes of their own, which may be killed or stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def processes():
    """Runs the command line in processes forked from one that has imported everything; gives the exit code."""
    program = [sys.executable, str(TESTS / "killed_runs.py")]
    path = os.pathsep.join([str(TESTS / "labels" / "third_party"), *filter(None, sys.path)])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path}
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server:

        def call(*arguments, output, **more):
            job = {"arguments": [str(one) for one in arguments], "output": str(output), **more}
            server.stdin.write(json.dumps(job) + "\n")
            server.stdin.flush()
            return int(server.stdout.readline())

        yield call
        server.stdin.close()
