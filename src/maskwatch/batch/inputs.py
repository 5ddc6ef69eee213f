"""Find the pictures of a batch: folders, globs, lists, Parquet with image bytes, object stores."""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from maskwatch.addresses import redact
from maskwatch.batch.store import FileSystems, is_url
from maskwatch.errors import OptionError, SourceError
from maskwatch.sources.images import IMAGE_SUFFIXES, find_images

LIST_SUFFIXES: Final = (".txt", ".lst", ".list")
PARQUET_SUFFIXES: Final = (".parquet", ".pq")
IMAGE_COLUMNS: Final = ("image", "bytes", "image_bytes", "jpg", "jpeg", "png", "content", "data")
NAME_COLUMNS: Final = ("path", "file_name", "filename", "name", "__key__", "id", "url")


@dataclass(frozen=True)
class Item:
    """One picture to be read.

    Attributes:
        path: file or address, without secrets.
        relative: its name below the folder it was found in, for copies.
        row: number of the row in a Parquet file, −1 for a picture's own file.
    """

    path: str
    relative: str
    row: int = -1


def list_items(inputs: Iterable[str], systems: FileSystems) -> Iterator[Item]:
    """The pictures that `inputs` name, in order; a local file that is named twice comes once.

    A folder is searched through for pictures and, where it has none, for Parquet files. A name that
    matches nothing is kept: reading it gives the row with the error.

    Raises:
        OptionError: a list or a Parquet file is not what it should be.
        SourceError: an object store does not answer, or holds nothing of that name.
    """
    for name in inputs:
        suffix = PurePosixPath(urlsplit(name).path if is_url(name) else name).suffix.lower()
        if suffix in LIST_SUFFIXES:
            yield from _listed(name, systems)
        elif is_url(name):
            yield from _remote(name, systems)
        else:
            yield from _local(name, systems)


def image_column(schema: pa.Schema, name: str) -> str:
    """The column that holds encoded pictures: of a usual name, or the only one of bytes.

    Raises:
        OptionError: there is none, or no telling which.
    """
    binary = [field.name for field in schema if _holds_bytes(field.type)]
    for candidate in IMAGE_COLUMNS:
        if candidate in binary:
            return candidate
    if len(binary) != 1:
        found = ", ".join(binary) or "none"
        raise OptionError(
            f"{name}: pictures are expected in a column of bytes called {', '.join(IMAGE_COLUMNS[:3])} …; "
            f"columns of bytes here: {found}"
        )
    return binary[0]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):  # as Hugging Face stores pictures: {bytes, path}
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _local(name: str, systems: FileSystems) -> Iterator[Item]:
    path = Path(name)
    if path.suffix.lower() in PARQUET_SUFFIXES:
        matches = sorted(glob.glob(name, recursive=True)) if not path.exists() else [name]
        for match in matches or [name]:
            yield from _parquet_rows(match, systems)
        return
    found = find_images([name])
    if not found and path.is_dir():
        tables = sorted(one for one in path.rglob("*") if one.suffix.lower() in PARQUET_SUFFIXES)
        for table in tables:
            yield from _parquet_rows(str(table), systems)
        return
    yield from (Item(str(file.path), file.relative.as_posix()) for file in found)


def _listed(name: str, systems: FileSystems) -> Iterator[Item]:
    """Paths or addresses, one a line; relative paths start at the list's folder."""
    try:
        text = systems.read(name).decode("utf-8")
    except OSError as error:
        raise SourceError(f"{redact(name)}: the list cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{redact(name)}: a list of pictures must be UTF-8 text, a path a line") from error
    for line in text.splitlines():
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        if is_url(entry) and "@" in urlsplit(entry).netloc:
            raise OptionError(
                f"{redact(name)}: {redact(entry)} holds credentials; lists are copied into the output, so "
                "give them by the environment"
            )
        if not is_url(entry) and not is_url(name):
            entry = str(Path(name).parent / entry)
        yield Item(entry, PurePosixPath(urlsplit(entry).path if is_url(entry) else entry).name)


def _remote(name: str, systems: FileSystems) -> Iterator[Item]:
    """A file, a folder or a glob in an object store."""
    parts = urlsplit(name)
    system, path = systems.locate(name)
    path = path.rstrip("/")
    prefix = f"{parts.scheme}://"
    root = path
    if glob.has_magic(path):
        root = "/".join(
            path.split("/")[: next(i for i, p in enumerate(path.split("/")) if glob.has_magic(p))]
        )
    try:
        info = system.get_file_info(root)
        if info.type == fs.FileType.File:
            found = [root]
        else:
            selector = fs.FileSelector(root, recursive=True, allow_not_found=True)
            infos = system.get_file_info(selector)
            found = sorted(one.path for one in infos if one.type == fs.FileType.File)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{redact(name)}: cannot be listed ({type(error).__name__}: {error})") from error
    if root != path:
        found = [one for one in found if fnmatch.fnmatchcase(one, path)]
    if not found:
        raise SourceError(f"{redact(name)}: nothing of that name is there; check bucket and prefix")
    pictures = [one for one in found if PurePosixPath(one).suffix.lower() in IMAGE_SUFFIXES]
    if not pictures:
        for table in (one for one in found if PurePosixPath(one).suffix.lower() in PARQUET_SUFFIXES):
            yield from _parquet_rows(f"{prefix}{table}", systems)
        return
    base = str(PurePosixPath(root).parent) if pictures == [root] else root
    for one in pictures:
        yield Item(f"{prefix}{one}", one.removeprefix(base).lstrip("/"))


def _parquet_rows(name: str, systems: FileSystems) -> Iterator[Item]:
    system, path = systems.locate(name)
    try:
        with system.open_input_file(path) as file, pq.ParquetFile(file) as table:
            image_column(table.schema_arrow, redact(name))
            count = table.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{redact(name)}: cannot be read as Parquet ({type(error).__name__})") from error
    stem = PurePosixPath(path).stem
    yield from (Item(name, f"{stem}-{row:07d}.jpg", row) for row in range(count))
