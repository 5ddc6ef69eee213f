"""Files on disk and in object stores alike, read and written whole, through pyarrow's file systems."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from maskwatch.addresses import redact
from maskwatch.errors import MissingExtraError, OptionError, SourceError

try:
    import pyarrow as pa
    from pyarrow import fs
except ImportError as error:
    raise MissingExtraError.for_extra("batch", "pyarrow", "batch") from error

TRIES = 4
FIRST_PAUSE_S = 0.5
PARTIAL_FOLDER = "_maskwatch/partial"
"""Where local files are written before they take their place; what is left in it was never finished."""


def is_url(name: str) -> bool:
    """Whether `name` has a scheme and an authority, so is no path of this machine."""
    return "://" in name


class FileSystems:
    """The file system behind each address; those with credentials are known from `urls`.

    Raises:
        OptionError: an address cannot be understood.
    """

    def __init__(self, urls: Iterable[str] = ()) -> None:
        self._urls = {_base(url): url for url in urls if is_url(url)}
        self._known: dict[tuple[str, str], fs.FileSystem] = {}

    def locate(self, name: str) -> tuple[fs.FileSystem, str]:
        """The file system of a path or address, and the path in it."""
        if not is_url(name):
            return self._known.setdefault(("", ""), fs.LocalFileSystem()), name
        base = _base(name)
        if base not in self._known:
            self._known[base] = _open(self._urls.get(base, name))
        parts = urlsplit(name)
        host = parts.netloc.rpartition("@")[2]
        return self._known[base], f"{host}{parts.path}" if host else parts.path

    def read(self, name: str) -> bytes:
        """All of one file; a remote one is tried again when its store falters.

        Raises:
            FileNotFoundError, IsADirectoryError, PermissionError: there is no such file for us.
            OSError: a local file cannot be read.
            SourceError: a remote store does not answer.
        """
        if not is_url(name):
            return Path(name).read_bytes()
        system, path = self.locate(name)
        for pause_s in _pauses():
            try:
                with system.open_input_stream(path) as stream:
                    return bytes(stream.read())
            except (FileNotFoundError, IsADirectoryError, PermissionError):
                raise
            except (OSError, pa.ArrowException) as error:
                if pause_s is None:
                    raise SourceError(
                        f"{redact(name)}: its store does not answer ({_words(error)})"
                    ) from error
                time.sleep(pause_s)
        raise AssertionError("unreachable")


class Store:
    """The files of one output, below a folder or an address; each is there whole or not at all.

    Raises:
        OptionError: the address cannot be understood.
    """

    def __init__(self, address: str) -> None:
        self.name = redact(address)
        self.is_local = not is_url(address)
        root = os.path.abspath(address) if self.is_local else address
        self._fs, self._root = FileSystems([address]).locate(root)
        self._root = self._root.rstrip("/")

    def path(self, name: str) -> str:
        """Where `name` lies in the file system."""
        return f"{self._root}/{name}"

    def open(self, name: str) -> pa.NativeFile:
        """One file for reading at any place.

        Raises:
            SourceError: it is not there, or its store does not answer.
        """
        try:
            return self._fs.open_input_file(self.path(name))
        except (OSError, pa.ArrowException) as error:
            raise SourceError(
                f"{self.name}/{name}: cannot be read ({_words(error)}); on a cluster, every node needs "
                "the same --output: a shared folder or an object store"
            ) from error

    def read(self, name: str) -> bytes | None:
        """One file, or None where there is none.

        Raises:
            SourceError: the store does not answer.
        """
        for pause_s in _pauses():
            try:
                with self._fs.open_input_stream(self.path(name)) as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None
            except (OSError, pa.ArrowException) as error:
                if pause_s is None:
                    raise self._failure(name, "read", error) from error
                time.sleep(pause_s)
        raise AssertionError("unreachable")

    def write(self, name: str, data: bytes) -> None:
        """One file, at once: nobody ever sees a part of it, whenever we die.

        Raises:
            SourceError: it cannot be written.
        """
        for pause_s in _pauses():
            try:
                if self.is_local:
                    _replace(Path(self.path(name)), data, Path(self.path(PARTIAL_FOLDER)))
                else:  # an object appears when its upload is complete
                    with self._fs.open_output_stream(self.path(name)) as stream:
                        stream.write(data)
                return
            except (OSError, pa.ArrowException) as error:
                if pause_s is None or self.is_local:
                    raise self._failure(name, "written", error) from error
                time.sleep(pause_s)

    def names(self, folder: str = "") -> list[str]:
        """Names of the files and folders in `folder`, sorted; none where it is missing.

        Raises:
            SourceError: the store does not answer.
        """
        selector = fs.FileSelector(self.path(folder).rstrip("/"), allow_not_found=True)
        try:
            return sorted(info.base_name for info in self._fs.get_file_info(selector))
        except (OSError, pa.ArrowException) as error:
            raise self._failure(folder, "listed", error) from error

    def remove(self, name: str) -> None:
        """Forget one file, if it is there."""
        with contextlib.suppress(OSError):
            self._fs.delete_file(self.path(name))

    def remove_folder(self, name: str) -> None:
        """Forget one folder and what is in it, if it is there."""
        with contextlib.suppress(OSError):
            self._fs.delete_dir(self.path(name))

    def _failure(self, name: str, verb: str, error: BaseException) -> SourceError:
        return SourceError(
            f"{self.name}/{name}: cannot be {verb} ({_words(error)}); see to the store, then run the same "
            "command again"
        )


def _replace(path: Path, data: bytes, folder: Path) -> None:
    """Write a file in `folder`, onto the disk, then put it in the place of `path`."""
    for parent in (path.parent, folder):
        parent.mkdir(parents=True, exist_ok=True)
    partial = folder / uuid.uuid4().hex
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _pauses() -> Iterator[float | None]:
    """Pauses between tries; None after the last."""
    yield from (FIRST_PAUSE_S * 2**number for number in range(TRIES - 1))
    yield None


def _base(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.rpartition("@")[2]


def _open(url: str) -> fs.FileSystem:
    """Pyarrow's own file system for `url`, or fsspec's where pyarrow has none."""
    parts = urlsplit(url)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if parts.scheme == "s3" and endpoint and "endpoint_override" not in parts.query:
        at = urlsplit(endpoint)
        query = urlencode([*parse_qsl(parts.query), ("endpoint_override", at.netloc), ("scheme", at.scheme)])
        url = urlunsplit(parts._replace(query=query))
    try:
        return fs.FileSystem.from_uri(url)[0]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as reason:
        try:
            import fsspec

            return fs.PyFileSystem(fs.FSSpecHandler(fsspec.core.url_to_fs(url)[0]))
        except (ImportError, ValueError) as error:
            raise OptionError(
                f"{redact(url)}: no address that pyarrow or fsspec can open ({error}); "
                "s3://, gs:// and hdfs:// work out of the box"
            ) from reason
    except OSError as error:
        raise SourceError(f"{redact(url)}: its store does not answer ({_words(error)})") from error


def _words(error: BaseException) -> str:
    """An error in one line, without addresses that may hold secrets."""
    strerror = getattr(error, "strerror", None)
    first = (strerror or str(error) or type(error).__name__).splitlines()[0]
    return " ".join(redact(word) for word in first.split())[:300]
