"""Files in and out: reads that end, and writes that leave the old file or the new one, never half of it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from maskwatch.errors import DatasetError, SourceError

LARGEST_TEXT_BYTES: Final = 2**30
"""Annotation files of a million pictures have this order of size."""
LARGEST_SETTINGS_BYTES: Final = 2**20
"""Rules, training options, lists of names: what people write by hand is far smaller."""
_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$)", re.IGNORECASE)
_LONGEST_NAME = 200
"""Bytes of a file's name that leave room for an ending; file systems allow 255."""


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """The content of an ordinary file of at most `most_bytes`.

    Pipes, devices and sockets are not read: they may never end, or answer to being opened.

    Raises:
        OSError: it is missing, no ordinary file, or too large; `strerror` says which.
        ValueError: the path holds a NUL.
    """
    check_ordinary(path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:  # noqa: PTH123 — a descriptor, so that no pipe blocks
        state = os.fstat(file.fileno())
        _refuse_unless_ordinary(state.st_mode)
        content = file.read(most_bytes + 1) if state.st_size <= most_bytes else b""
    if state.st_size > most_bytes or len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes:,} bytes")
    return content


def check_ordinary(path: Path) -> None:
    """Raise an OSError unless `path` is an ordinary file; for libraries that open it themselves.

    Raises:
        OSError: as `read_bytes`.
        ValueError: the path holds a NUL.
    """
    _refuse_unless_ordinary(os.stat(path).st_mode)  # noqa: PTH116 — pathlib has no stat for bytes


def read_text(path: Path, most_bytes: int) -> str:
    """As `read_bytes`, for UTF-8.

    Raises:
        OSError, ValueError: as `read_bytes`.
        UnicodeDecodeError: it is no UTF-8.
    """
    return read_bytes(path, most_bytes).decode("utf-8-sig")


def read_json(path: Path, most_bytes: int) -> Any:
    """A JSON document; NaN and Infinity, which JSON does not know, are refused.

    Raises:
        OSError: as `read_bytes`.
        ValueError: it is no JSON, or nested deeper than any document of ours.
    """
    try:
        return json.loads(read_text(path, most_bytes), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; False for names that no file can have, where pathlib raises."""
    return os.path.isdir(path)  # noqa: PTH112 — see above


def portable_name(name: str) -> str:
    """`name` of one file or folder as Windows and macOS can have it too; most names stay as they are.

    `:` and its like become `_`; a device's name (CON, nul.jpg) gets one behind it; no dot or space ends it.
    """
    if name in (".", ".."):
        return name
    name = _FORBIDDEN.sub("_", name)
    if _RESERVED.match(name):
        name = _RESERVED.sub(r"\1_", name, count=1)
    kept = name.rstrip(". ")
    return kept + "_" * (len(name) - len(kept))


def name_key(name: str) -> str:
    """The same for names that some file system holds to be one: in other case, or composed otherwise."""
    return unicodedata.normalize("NFC", name).casefold()


def same_file(first: Path, second: Path) -> bool:
    """Whether both paths exist and lead to the same file."""
    try:
        return first.samefile(second)
    except (OSError, ValueError):
        return False


def write_whole(path: Path, content: bytes | str, *, sync: bool = False) -> None:
    """Write a file, its folders too, so that nobody ever sees half of it; text is UTF-8.

    Characters that UTF-8 cannot hold (bytes of a file's name that are no text) are escaped, in the way
    that JSON understands.

    Raises:
        SourceError: it cannot be written; what was there before is still there.
    """
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    with saving(path, sync=sync) as partial:
        partial.write_bytes(data)


@contextlib.contextmanager
def saving(path: Path, *, sync: bool = False, ending: str = ".partial") -> Iterator[Path]:
    """As `replacing`, for what has no better words for a disk's refusal.

    Raises:
        SourceError: the file cannot be written.
    """
    try:
        with replacing(path, sync=sync, ending=ending) as partial:
            yield partial
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> SourceError:
    """The words for a file that the disk refuses."""
    reason = error.strerror or type(error).__name__
    return SourceError(f"{path}: cannot be written ({reason}); free space or choose another place")


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = False, ending: str = ".partial") -> Iterator[Path]:
    """Gives a neighbour of `path` to be written; it takes the place of `path` when the block is left.

    After an error the neighbour is deleted, so that a full disk does not stay full. After a kill it is
    left behind, and is replaced by the next attempt. With `sync` the data are on the disk before the
    name changes, for what a power failure must not cost. `ending` is for libraries that choose a format
    by it.

    Raises:
        OSError: a folder or the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _neighbour(path, ending)
    partial.unlink(missing_ok=True)  # also a link that somebody laid there
    try:
        yield partial
        if sync:
            _flush(partial)
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Gives a neighbour of `folder` to be filled; it takes that name when the block is left without error.

    A folder under its final name is therefore whole. What an earlier kill left is deleted first.

    Raises:
        DatasetError: `folder` is there and holds something.
        SourceError: a folder cannot be made.
    """
    partial = _neighbour(folder, ".partial")
    try:
        if folder.exists():
            folder.rmdir()  # fails unless it is empty
    except OSError as error:
        raise DatasetError(f"{folder}: is not empty; choose another --output") from error
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        partial.replace(folder)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise cannot_write(folder, error) from error
        raise


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _neighbour(path: Path, ending: str) -> Path:
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return path.with_name(name + ending)


def _refuse_unless_ordinary(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "no ordinary file but a pipe, socket or device")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
