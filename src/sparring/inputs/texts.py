"""The text of a file, compressed or not; errors for other encodings show the command that converts it."""

import bz2
import gzip
import io
import lzma
import re
import stat
from pathlib import Path

from sparring.support.checksums import require_unchanged

__all__ = ["content_of", "require_file", "text_of"]

LARGEST_FILE = 4 * 2**30
"""Largest size of a file in bytes, decompressed: reading takes several times as much memory."""
LARGEST_GROWTH, SMALL = 200, 50_000_000
"""Factor by which a compressed file may grow, and size in bytes up to which any growth is allowed."""
_OPEN = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File, b"\xfd7zXZ": lzma.LZMAFile}
_CONTROL = re.compile("[\x01-\x08\x0e-\x1f\x7f]")
_LONE_RETURN = re.compile("\r(?!\r*\n)")


def require_file(path: Path) -> None:
    """Check that a path is that of an ordinary file of a size that can be read.

    Raises:
        ValueError: If it is a folder, a pipe or a device, or too large.
        OSError: If there is no such file.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ValueError(f"{path}: this is a folder, not a file of structures; give a file")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path}: this is no ordinary file but a pipe or a device; write its content to a file first")
    if status.st_size > LARGEST_FILE:
        raise ValueError(
            f"{path}: the file has {status.st_size / 2**30:.1f} GiB, at most {LARGEST_FILE / 2**30:g} GiB are read; "
            "part it, or take a selection of its frames"
        )


def content_of(path: Path) -> bytes:
    """The bytes of a file, decompressed if it is compressed (gzip, bzip2, xz).

    Raises:
        ValueError: If it is no ordinary file, too large, or compressed and damaged.
        OSError: If it cannot be opened.
    """
    require_file(path)
    require_unchanged(path)
    content = path.read_bytes()
    for magic, opener in _OPEN.items():
        if content.startswith(magic):
            most = min(LARGEST_FILE, max(SMALL, LARGEST_GROWTH * len(content)))
            try:
                with (
                    opener(fileobj=io.BytesIO(content))
                    if opener is gzip.GzipFile
                    else opener(io.BytesIO(content)) as file
                ):
                    text = file.read(most + 1)
            except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
                raise ValueError(f"{path}: the file is compressed and damaged ({error}); copy it again") from error
            if len(text) > most:
                raise ValueError(
                    f"{path}: the file grows from {len(content) / 1e6:.3g} MB to more than {most / 1e6:.3g} MB when it "
                    "is decompressed, as no file of structures does; decompress it and look at it"
                )
            return bytes(text)
    return content


def text_of(path: Path) -> str:
    """The text of a file, which must be UTF-8, compressed or not; a byte-order mark is left out.

    Raises:
        ValueError: If it is no text, or in another encoding; the message has the command that converts it.
        OSError: If it cannot be opened.
    """
    content = content_of(path)
    if content.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")) and (b"\0\n" in content or b"\n\0" in content):
        code = "UTF-32" if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")) else "UTF-16"
        raise ValueError(f"{path}: this is {code} text; convert it: iconv -f {code} -t UTF-8 {path.name} > new.xyz")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in content:
            raise ValueError(
                f"{path}: this is no text file (byte {error.start} is not UTF-8), so no XYZ file; give the text file"
            ) from error
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start : error.start + 1]
        raise ValueError(
            f"{path}: byte 0x{byte.hex()} in line {line} is not UTF-8 but perhaps Latin-1 "
            f"({byte.decode('latin-1')!r}); convert the file: iconv -f ISO-8859-1 -t UTF-8 {path.name} > new.xyz"
        ) from error
    if "\0" in text:
        raise ValueError(
            f"{path}: this is no text file (byte {text.index(chr(0))} is zero), so no XYZ file; give the text file"
        )
    for pattern, problem in (
        (_CONTROL, "there is a control character, {!r}, in line {}; remove it"),
        (
            _LONE_RETURN,
            "the carriage return {!r} ends no line but stands within line {}; convert line ends of old systems: "
            f"tr '\\r' '\\n' < {path.name} > new.xyz",
        ),
    ):
        if found := pattern.search(text):
            line = text.count("\n", 0, found.start()) + 1
            raise ValueError(f"{path}: {problem.format(found[0], line)}")
    return text
