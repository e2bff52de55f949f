"""Checkpoints of other packages. This is the only module of Sparring that can unpickle, and only where it may."""

import pickle
from pathlib import Path

import safetensors.torch
import torch

__all__ = ["read_checkpoint"]


def read_checkpoint(file: Path | str, *, trust_pickle: bool = False) -> object:
    """The content of a checkpoint, on the CPU.

    A pickle can run any program while it is read. State dictionaries and safetensors cannot, and are read without
    ``trust_pickle``.

    Args:
        file: Checkpoint: safetensors, or a file that ``torch.save`` wrote.
        trust_pickle: Consent to unpickle the file, for files from a source that you trust.

    Raises:
        ValueError: If there is no such file, it cannot be read, or it is a pickle that is not trusted.
    """
    file = Path(file)
    if not file.is_file():
        raise ValueError(f"there is no checkpoint {file}; give the path of the file")
    if file.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(file)
        except safetensors.SafetensorError as error:
            raise ValueError(f"{file} cannot be read as safetensors: {error}") from error
    try:
        content: object = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not trust_pickle:
            raise ValueError(
                f"{file} is a pickle, not a state dictionary: reading it can run any program on this computer. If it "
                "comes from a source that you trust, set trust_pickle: true (in Python, trust_pickle=True)"
            ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{file} cannot be read as a checkpoint of PyTorch: {error}") from error
    else:
        return content
    try:
        content = torch.load(file, map_location="cpu", weights_only=False)
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, ImportError) as error:
        raise ValueError(f"{file} cannot be unpickled: {error}; was it saved by another version?") from error
    return content
