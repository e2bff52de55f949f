"""The text of a file, compressed or not; errors for other encodings show the command that converts it."""

import bz2
import gzip
import lzma
from pathlib import Path

__all__ = ["content_of", "text_of"]

_DECOMPRESS = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ": lzma.decompress}


def content_of(path: Path) -> bytes:
    """The bytes of a file, decompressed if it is compressed (gzip, bzip2, xz).

    Raises:
        ValueError: If it is compressed and damaged.
        OSError: If it cannot be opened.
    """
    content = path.read_bytes()
    for magic, decompress in _DECOMPRESS.items():
        if content.startswith(magic):
            try:
                return decompress(content)
            except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
                raise ValueError(f"{path}: the file is compressed and damaged ({error}); copy it again") from error
    return content


def text_of(path: Path) -> str:
    """The text of a file, which must be UTF-8, compressed or not; a byte-order mark is left out.

    Raises:
        ValueError: If it is no text, or in another encoding; the message has the command that converts it.
        OSError: If it cannot be opened.
    """
    content = content_of(path)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) and (b"\0\n" in content or b"\n\0" in content):
        raise ValueError(f"{path}: this is UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8 {path.name} > new.xyz")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in content:
            raise ValueError(
                f"{path}: this is no text file (byte {error.start} is not UTF-8), so no XYZ file"
            ) from error
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start : error.start + 1]
        raise ValueError(
            f"{path}: byte 0x{byte.hex()} in line {line} is not UTF-8 but perhaps Latin-1 "
            f"({byte.decode('latin-1')!r}); convert the file: iconv -f ISO-8859-1 -t UTF-8 {path.name} > new.xyz"
        ) from error
    if "\0" in text:
        raise ValueError(f"{path}: this is no text file (byte {text.index(chr(0))} is zero), so no XYZ file")
    return text
