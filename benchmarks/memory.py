"""Peak memory of one way of doing a task, in a process of its own, above that of the loaded code.

Run as a script it is that process, and prints bytes: ``python benchmarks/memory.py attack ammonia 30 5 sparring``.
"""

import argparse
import re
import resource
import subprocess
import sys
from pathlib import Path

from cases import PAPER, TINY, Case
from tasks import ways

from sparring.support.malloc import keep_freed_memory

STATUS = Path("/proc/self/status")


def high_water() -> int:
    """The most bytes that this process ever had in memory.

    The kernel's own mark, where it can be read: what ``getrusage`` gives to a process that another one has started
    begins at that one's peak.
    """
    if STATUS.exists() and (mark := re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())):
        return 1024 * int(mark[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def peak_bytes(case: Case, way: str, *, n_members: int, tiny: bool = False) -> int:
    """Peak memory of two steps of a way, or of one short epoch of training, in a child process."""
    words = [case.task, case.system, str(case.n_structures), str(n_members), way]
    command = [sys.executable, __file__, *words, *(["--tiny"] if tiny else [])]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("system")
    parser.add_argument("n_structures", type=int)
    parser.add_argument("n_members", type=int)
    parser.add_argument("way")
    parser.add_argument("--tiny", action="store_true", help="tiny networks, to see that it works")
    arguments = parser.parse_args()
    keep_freed_memory()
    # PyTorch loads parts of itself when they are first used: with a tiny network, all that is needed here is.
    first = ways(Case(arguments.task, "silicon 8", 1), n_members=2, size=TINY)
    first[arguments.way]().run(2, lambda *_: None)
    before = high_water()
    case = Case(arguments.task, arguments.system, arguments.n_structures)
    build = ways(case, n_members=arguments.n_members, size=TINY if arguments.tiny else PAPER)[arguments.way]
    build().run(1 if case.task == "training" else 2, lambda *_: None)
    print(high_water() - before)


if __name__ == "__main__":
    main()
