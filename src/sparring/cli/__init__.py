"""The command line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from sparring.cli import committee_verbs, run_verbs, validate
from sparring.support.malloc import keep_freed_memory
from sparring.support.printable import printable

__all__ = ["app", "main"]

INTERRUPTED = 130
"""Exit code after Ctrl-C."""
LABELS_FAILED = 3
"""Exit code of a run that stops because of its labels."""

app = typer.Typer(
    help="Train committees of neural-network potentials, and make them robust by attacking their own uncertainty.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(run_verbs.app)
app.add_typer(committee_verbs.app)
app.add_typer(validate.app, name="validate")


def main() -> None:
    """Entry point: one line and exit code 2 for errors that users can fix; a traceback only for our own."""
    # With several threads NumPy's sums differ in their last bits from those of the processes that label.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Threads that spin while they wait for one another starve each other as soon as another program needs a core. To
    # spin briefly costs a twentieth on an idle machine, and is a third faster on a busy one.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    keep_freed_memory()
    with _user_errors():
        app(standalone_mode=True)


@contextmanager
def _user_errors() -> Iterator[None]:
    try:
        yield
    except SystemExit as end:
        # Typer makes this of Ctrl-C.
        if end.code == INTERRUPTED:
            typer.echo("stopped; what was finished is kept, and the same command goes on from there", err=True)
        raise
    except Exception as error:
        if not _is_users(error):
            raise
        typer.echo(f"sparring: {printable(str(error))}", err=True)
        raise SystemExit(_exit_code(error)) from None


def _exit_code(error: Exception) -> int:
    from sparring.labels import LabellingError

    return LABELS_FAILED if isinstance(error, LabellingError) else 2


def _is_users(error: Exception) -> bool:
    """True for errors whose message has a remedy for users; others are errors of Sparring."""
    from sparring.labels import LabelError, LabellingError
    from sparring.runs.folder import RunFolderError
    from sparring.starting_data.relaxation import RelaxationError
    from sparring.training.fitting import TrainingError

    own = LabelError | LabellingError | RunFolderError | RelaxationError | TrainingError
    return isinstance(error, own | ValueError | OSError | ModuleNotFoundError)
