"""Processes that run the command line and may kill themselves with SIGKILL at a moment that a test names.

Started as a program, it imports everything once and forks one process for each line of JSON that it reads, such as
``{"arguments": ["run", "well.yaml"], "output": "log.txt", "death": {"file": "generation-01/splits.json"}}``. It answers
with the exit code, negative for a signal. A death is one of

* ``{"file": name, "count": 1, "moment": "before"}``: when a file of that name is for the count-th time about to appear
  under its name, or ``"after"`` it has,
* ``{"work": title, "count": 1, "tick": 3}``: in the count-th piece of work of that title, at the tick.
"""

import contextlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path

from sparring import cli, reporting
from sparring.commands import running
from sparring.support import progress


def kill_at_file(file, count=1, moment="before"):
    seen = []

    def deadly(appear):
        def appear_or_die(source, target):
            if str(target).endswith(file):
                seen.append(target)
            dies = len(seen) >= count and str(target).endswith(file)
            if dies and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = appear(source, target)
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return appear_or_die

    # Labels, of which the first one stays, appear by a second name.
    Path.replace, os.link = deadly(Path.replace), deadly(os.link)


def kill_at_tick(work, tick, count=1):
    seen = []

    def watch_or_die(console=None):
        def progress_bars(title):
            seen.extend([title] if title == work else [])
            deadly = title == work and len(seen) == count

            def tick_or_die(done, total):
                if deadly and done >= tick:
                    os.kill(os.getpid(), signal.SIGKILL)

            return tick_or_die

        return progress_bars

    progress.progress_bars_on = watch_or_die


def run(arguments, output, death=None):
    """In a process of its own: the command line, with no report, which is not what is tested here."""
    running.report = lambda folder: None
    if death:
        (kill_at_file if "file" in death else kill_at_tick)(**death)
    sys.argv = ["sparring", *arguments]
    with Path(output).open("w") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            cli.main()
        except SystemExit as end:
            return end.code or 0
    return 0


def main():
    assert reporting  # imported before the first fork
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            try:
                code = run(**json.loads(line))
            except BaseException:
                traceback.print_exc()
                code = 70
            os._exit(code)
        _, status = os.waitpid(process, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
