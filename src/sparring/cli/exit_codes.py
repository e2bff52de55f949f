"""Exit codes of all verbs of the command line; docs/faults.md has the table."""

__all__ = ["FINISHED", "LABELS_AWAITED", "LABELS_FAILED", "OWN_ERROR", "STOPPED", "WRONG_INPUT"]

FINISHED = 0
"""Exit code of work that is done."""
OWN_ERROR = 1
"""Exit code of an error of Sparring itself."""
WRONG_INPUT = 2
"""Exit code of a wrong configuration, file or option, of a disk that cannot be written, and of a lack of memory."""
LABELS_AWAITED = 3
"""Exit code of a run that waits for labels which are computed elsewhere."""
LABELS_FAILED = 4
"""Exit code of a run that stops because of its labels, their executor, or their budget: somebody has to act."""
STOPPED = 5
"""Exit code after a signal to stop; everything finished is kept. After a second signal it is 128 and its number."""
