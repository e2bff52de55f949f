"""Settings of the memory allocator for programs that free and allocate large arrays at every step."""

import ctypes
import sys

__all__ = ["keep_freed_memory"]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt(3)."""
MEBIBYTE = 2**20


def keep_freed_memory() -> bool:
    """Keep freed memory for the next step instead of handing it back to the operating system.

    A step of training or of an attack makes and drops hundreds of megabytes. Left to itself, glibc returns them and
    asks for them again, and clearing fresh pages takes up to a fifth of the time. It holds for the whole process, so it
    is for programs to call (``sparring`` does), not for libraries; elsewhere than with glibc nothing happens.

    Returns:
        True if the settings were changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {M_MMAP_THRESHOLD: 32 * MEBIBYTE, M_TRIM_THRESHOLD: 2047 * MEBIBYTE, M_TOP_PAD: 64 * MEBIBYTE}
    return all(mallopt(name, value) == 1 for name, value in settings.items())
