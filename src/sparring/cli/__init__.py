"""The command line."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer

from sparring.cli import committee_verbs, label_verbs, run_verbs, validate
from sparring.cli.exit_codes import LABELS_AWAITED, LABELS_FAILED, OWN_ERROR, STOPPED, WRONG_INPUT
from sparring.cli.showing import printable_output
from sparring.support.faults import InjectedFault, prepare
from sparring.support.files import DISK_FULL
from sparring.support.malloc import keep_freed_memory
from sparring.support.printable import printable
from sparring.support.stopping import Stopped, stopping_by_signals

__all__ = ["app", "main"]

INTERRUPTED = 130
"""Exit code that Typer makes of Ctrl-C where no handler of ours is installed."""
NO_MEMORY = (
    "the memory of this machine, or of its GPU, does not suffice; take fewer seeds, members or structures at a time "
    "(attack.max_memory, training.batch_size), or a larger machine, then give the same command again: what was "
    "finished is kept"
)

app = typer.Typer(
    help="Train committees of neural-network potentials, and make them robust by attacking their own uncertainty.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(run_verbs.app)
app.add_typer(committee_verbs.app)
app.add_typer(label_verbs.app)
app.add_typer(validate.app, name="validate")


def main() -> None:
    """Entry point: one line and exit code 2 for errors that users can fix; a traceback only for our own."""
    # With several threads NumPy's sums differ in their last bits from those of the processes that label.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Threads that spin while they wait for one another starve each other as soon as another program needs a core. To
    # spin briefly costs a twentieth on an idle machine, and is a third faster on a busy one.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    keep_freed_memory()
    with stopping_by_signals(), _user_errors():
        prepare()
        with printable_output(sys.stdout):
            app(standalone_mode=True)


@contextmanager
def _user_errors() -> Iterator[None]:
    try:
        yield
    except Stopped as stop:
        raise SystemExit(_stopped(stop)) from None
    except SystemExit as end:
        if end.code == INTERRUPTED:
            raise SystemExit(_stopped(Stopped(signal.SIGINT))) from None
        raise
    except InjectedFault as fault:
        typer.echo(f"sparring: {fault}", err=True)
        raise SystemExit(OWN_ERROR) from None
    except Exception as error:
        if not _is_users(error):
            if not _is_lack_of_memory(error):
                raise
            typer.echo(f"sparring: {NO_MEMORY}", err=True)
            raise SystemExit(WRONG_INPUT) from None
        typer.echo(f"sparring: {printable(str(error))}{_remedy(error)}", err=True)
        raise SystemExit(_exit_code(error)) from None


def _stopped(stop: Stopped) -> int:
    """The exit code after a signal, with one sentence on standard error, if there is anybody who could read it."""
    kept = "what was finished is kept, and the same command goes on from there"
    if not stop.where:
        kept = "files that were finished are kept; the same command starts the rest again"
    with suppress(OSError):
        typer.echo(f"{stop}; {kept}", err=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # The terminal is gone: what is left to write must not be an error at the end of the process.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return STOPPED


def _remedy(error: Exception) -> str:
    """The end of the message about a disk that cannot be written; empty for other errors."""
    if not isinstance(error, OSError) or error.errno not in DISK_FULL:
        return ""
    return "; make room or mend it, then give the same command again: nothing that was finished is lost"


def _exit_code(error: Exception) -> int:
    from sparring.labels import BudgetUsedUp, ExecutorError, LabellingError, LabelsMissing

    if isinstance(error, LabelsMissing):
        return LABELS_AWAITED
    return LABELS_FAILED if isinstance(error, LabellingError | BudgetUsedUp | ExecutorError) else WRONG_INPUT


def _is_lack_of_memory(error: Exception) -> bool:
    """True for the errors of Python and of torch, on a CPU and on a GPU."""
    allocators = ("can't allocate memory", "out of memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error).lower() for words in allocators)
    )


def _is_users(error: Exception) -> bool:
    """True for errors whose message has a remedy for users; others are errors of Sparring."""
    from sparring.labels import AnswerError, BudgetUsedUp, ExecutorError, LabelError, LabellingError, LabelsMissing
    from sparring.runs.folder import RunFolderError
    from sparring.starting_data.relaxation import RelaxationError
    from sparring.training.fitting import TrainingError

    labels = AnswerError | BudgetUsedUp | ExecutorError | LabelError | LabellingError | LabelsMissing
    own = labels | RunFolderError | RelaxationError | TrainingError
    return isinstance(error, own | ValueError | OSError | ModuleNotFoundError)
