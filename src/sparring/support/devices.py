"""Checks of the device for tensors, and the number of threads of PyTorch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sparring.support.cores import available_cores

__all__ = ["require_device", "torch_threads", "use_threads"]


def require_device(device: torch.device | str) -> torch.device:
    """The device, if it can be used here.

    Args:
        device: Name of the device.

    Raises:
        ValueError: If there is no such device, or it lacks double precision.
    """
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise ValueError(
            f"cannot use the device {str(device)!r}: there is no such kind; use cpu, cuda, or cuda:1 for the second "
            "graphics card"
        ) from None
    reason = _reason_against(wanted)
    if reason:
        raise ValueError(f"cannot use the device {str(device)!r}: {reason}; use cpu, or another machine")
    return wanted


def _reason_against(device: torch.device) -> str | None:
    if device.type == "mps":
        return "it has no double precision, in which energies are added up"
    if device.type == "cuda":
        if torch.version.cuda is None and torch.version.hip is None:
            return f"PyTorch {torch.__version__} was installed without CUDA"
        if not torch.cuda.is_available():
            return "CUDA finds no graphics card or no driver"
        count = torch.cuda.device_count()
        if device.index is not None and device.index >= count:
            return f"there are {count} graphics cards, counted from 0"
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        return str(error).splitlines()[0]
    return None


def use_threads(n: int | None = None) -> None:
    """Set the number of threads of PyTorch.

    Args:
        n: Number of threads; None for PyTorch's own choice, but no more than there are cores for this process. Threads
            that share a core wait for one another most of the time.
    """
    torch.set_num_threads(min(torch.get_num_threads(), available_cores()) if n is None else n)


@contextmanager
def torch_threads(n: int | None = None) -> Iterator[None]:
    """Context with a number of threads of PyTorch, see :func:`use_threads`; the previous number is restored."""
    before = torch.get_num_threads()
    use_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
