"""Checkpoints of other packages. This is the only module of Sparring that can unpickle, and only where it may."""

import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import safetensors.torch
import torch

from sparring.potentials.foreign.consent import CONSENT, is_trusted

__all__ = ["copied_checkpoint", "read_checkpoint"]


def read_checkpoint(file: Path | str, *, trust_pickle: bool = False) -> object:
    """The content of a checkpoint, on the CPU.

    A pickle can run any program while it is read. It is read with ``trust_pickle``, or if the user consents by the
    command line or the environment, or has done so before for the same content
    (:mod:`sparring.potentials.foreign.consent`). State dictionaries and safetensors run nothing, and need no consent.

    Args:
        file: Checkpoint: safetensors, or a file that ``torch.save`` wrote.
        trust_pickle: Consent to unpickle the file, for files from a source that you trust.

    Raises:
        ValueError: If there is no such file, it cannot be read, or it is a pickle that is not trusted.
    """
    file = Path(file)
    return _content(_bytes(file), file, trust_pickle)


@contextmanager
def copied_checkpoint(file: Path | str, *, trust_pickle: bool = False) -> Iterator[tuple[object, Path]]:
    """The content of a checkpoint, and a copy of the file for a package that unpickles from files only.

    The copy has the bytes that were checked; the file of the user may have changed since.

    Args:
        file: Checkpoint, as for :func:`read_checkpoint`.
        trust_pickle: Consent to unpickle the file.

    Raises:
        ValueError: As :func:`read_checkpoint`.
    """
    file = Path(file)
    content = _bytes(file)
    read = _content(content, file, trust_pickle)
    with TemporaryDirectory() as folder:
        copied = Path(folder) / file.name
        copied.write_bytes(content)
        yield read, copied


def _bytes(file: Path) -> bytes:
    if not file.is_file():
        raise ValueError(f"there is no checkpoint {file}; give the path of the file")
    return file.read_bytes()  # once, so that what is trusted is what is read


def _content(content: bytes, file: Path, trust_pickle: bool) -> object:
    if file.suffix == ".safetensors":
        try:
            return safetensors.torch.load(content)
        except safetensors.SafetensorError as error:
            raise ValueError(f"{file} cannot be read as safetensors: {error}") from error
    try:
        return _loaded(content, weights_only=True)
    except pickle.UnpicklingError as error:
        if not (trust_pickle or is_trusted(content, file)):
            raise ValueError(
                f"{file} is a pickle, not a state dictionary: reading it can run any program on this computer. If it "
                f"comes from a source that you trust, give --trust-pickle on the command line, set {CONSENT}=1 in the "
                "environment of a job, or in Python trust_pickle=True"
            ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{file} cannot be read as a checkpoint of PyTorch: {error}") from error
    try:
        return _loaded(content, weights_only=False)
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, ImportError) as error:
        raise ValueError(f"{file} cannot be unpickled: {error}; was it saved by another version?") from error


def _loaded(content: bytes, *, weights_only: bool) -> object:
    loaded: object = torch.load(io.BytesIO(content), map_location="cpu", weights_only=weights_only)
    return loaded
