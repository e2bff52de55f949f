"""The command line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from sparring.cli import validate
from sparring.cli.verbs import app
from sparring.support.malloc import keep_freed_memory

__all__ = ["app", "main"]

INTERRUPTED = 130
"""The exit code of what Ctrl-C ended."""
LABELS_FAILED = 3
"""The exit code of a run that stops because of its labels."""

app.add_typer(validate.app, name="validate")


def main() -> None:
    """Entry point: one line and exit code 2 for what the user can mend; a traceback only for what we must."""
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
        typer.echo(f"sparring: {error}", err=True)
        raise SystemExit(_exit_code(error)) from None


def _exit_code(error: Exception) -> int:
    from sparring.labels import LabellingError

    return LABELS_FAILED if isinstance(error, LabellingError) else 2


def _is_users(error: Exception) -> bool:
    """Errors that say by themselves what to do. Others are ours."""
    from sparring.labels import LabelError, LabellingError
    from sparring.runs.folder import RunFolderError
    from sparring.starting_data.relaxation import RelaxationError
    from sparring.training.fitting import TrainingError

    own = LabelError | LabellingError | RunFolderError | RelaxationError | TrainingError
    return isinstance(error, own | ValueError | OSError | ModuleNotFoundError)
