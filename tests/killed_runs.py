"""Processes that run the command line and may kill or stop themselves at a moment that a test names.

Started as a program, it imports everything once and forks one process for each line of JSON that it reads, such as
``{"arguments": ["run", "well.yaml"], "output": "log.txt", "death": {"file": "generation-01/splits.json"}}``. It answers
with the exit code, negative for a signal that has ended the process. A death is one of

* ``{"file": name, "count": 1, "moment": "before"}``: when a file of that name is for the count-th time about to appear
  under its name, or ``"after"`` it has,
* ``{"work": title, "count": 1, "tick": 3}``: in the count-th piece of work of that title, at the tick,
* ``{"cpu_time": 0.2}``: when the process has computed for so many seconds, wherever it is then,
* ``{"file_there": path}``: as soon as there is a file of this path.

It is by SIGKILL, or by the signal of that number under ``"signal"``. ``"environment"`` has variables for the process.
``"labels": {"log": file, "store": folder}`` writes a line for each label of a formula that is computed: its key, and
"again" if the store has it already.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from sparring import cli, reporting
from sparring.commands import running
from sparring.labels import FromCalculator, label_key
from sparring.support import progress


def kill_at_file(file, count=1, moment="before", signal=signal.SIGKILL):
    seen = []

    def deadly(appear):
        def appear_or_die(source, target):
            if str(target).endswith(file):
                seen.append(target)
            dies = len(seen) >= count and str(target).endswith(file)
            if dies and moment == "before":
                os.kill(os.getpid(), signal)
            result = appear(source, target)
            if dies and moment == "after":
                os.kill(os.getpid(), signal)
            return result

        return appear_or_die

    # Labels, of which the first one stays, appear by a second name.
    Path.replace, os.link = deadly(Path.replace), deadly(os.link)


def kill_at_tick(work, tick, count=1, signal=signal.SIGKILL):
    seen = []

    def watch_or_die(console=None):
        def progress_bars(title):
            seen.extend([title] if title == work else [])
            deadly = title == work and len(seen) == count

            def tick_or_die(done, total):
                if deadly and done >= tick:
                    os.kill(os.getpid(), signal)

            return tick_or_die

        return progress_bars

    progress.progress_bars_on = watch_or_die


def kill_at_cpu_time(cpu_time, signal=signal.SIGKILL):
    def watch():
        while time.process_time() < cpu_time:
            time.sleep(0.001)
        os.kill(os.getpid(), signal)

    threading.Thread(target=watch, daemon=True).start()


def kill_at_file_there(file_there, signal=signal.SIGKILL):
    def watch():
        while not Path(file_there).exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal)

    threading.Thread(target=watch, daemon=True).start()


def log_labels(log, store):
    computed = FromCalculator.__call__

    def logged(self, atoms):
        key = label_key(atoms, self)
        with Path(log).open("a") as file:
            file.write(f"{key}{' again' if (Path(store) / f'{key}.json').exists() else ''}\n")
        return computed(self, atoms)

    FromCalculator.__call__ = logged


def run(arguments, output, death=None, environment=None, labels=None):
    """In a process of its own: the command line, with no report, which is not what is tested here."""
    running.report = lambda folder: None
    # A shell has programs in the background ignore Ctrl-C, and nohup has them ignore the end of the terminal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.environ.update(environment or {})
    if labels:
        log_labels(**labels)
    if death:
        ways = {
            "file": kill_at_file,
            "work": kill_at_tick,
            "cpu_time": kill_at_cpu_time,
            "file_there": kill_at_file_there,
        }
        next(kill for name, kill in ways.items() if name in death)(**death)
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
