"""The plan of a batch: which picture belongs to which part, written down before the first is read.

A job that goes on after an interruption takes the list from here, so pictures that came or went in
between cannot shift the parts.

    _maskwatch/plan.parquet     a row a picture, a row group a part
    _maskwatch/plan.json        what was asked for; written last, so it means that the plan is whole
    _maskwatch/parts/00000.json a part that is done, with the digests of its files
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from maskwatch.batch.inputs import Item
from maskwatch.batch.store import Store
from maskwatch.errors import OptionError, SourceError
from maskwatch.files import name_key, portable_name

FORMAT = 1
FOLDER = "_maskwatch"
PLAN, ASKED = f"{FOLDER}/plan.parquet", f"{FOLDER}/plan.json"
_SCHEMA = pa.schema(
    [("index", pa.int64()), ("path", pa.string()), ("row", pa.int64()), ("copy", pa.string())]
)
_WRITABLE = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass(frozen=True)
class Planned:
    """One picture of a part.

    Attributes:
        index: its place in the whole batch, from 0.
        path: file or address.
        row: number of the row in a Parquet file, −1 for a picture's own file.
        copy: name of its copy below `copies/`.
    """

    index: int
    path: str
    row: int
    copy: str


@dataclass(frozen=True)
class PlanSize:
    """How many pictures and parts a plan holds."""

    pictures: int
    parts: int


def begin(store: Store, asked: dict[str, Any], items: Iterable[Item], part_size: int) -> PlanSize:
    """Write the plan of a new job, or find that of one that was begun.

    Raises:
        OptionError: the output holds something else, or the plan of another job.
        SourceError: it cannot be written.
    """
    known = store.read(ASKED)
    if known is not None:
        return _same(store, json.loads(known), asked)
    others = [name for name in store.names() if name != FOLDER]
    if others:
        raise OptionError(f"{store.name}: holds {others[0]} already; choose an empty --output")
    size = _write(store, items, part_size)
    if not size.pictures:
        raise OptionError("no pictures found; name files, globs, folders, lists, Parquet files or addresses")
    content = {**asked, "format": FORMAT, "pictures": size.pictures, "parts": size.parts}
    store.write(ASKED, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return size


class Plan:
    """A plan that was written, for a worker; parts are read one by one.

    Raises:
        SourceError: it is not there.
    """

    def __init__(self, store: Store) -> None:
        self._name = f"{store.name}/{PLAN}"
        self._file = pq.ParquetFile(store.open(PLAN))

    def part(self, number: int) -> list[Planned]:
        """The pictures of one part.

        Raises:
            SourceError: the plan cannot be read.
        """
        try:
            rows = self._file.read_row_group(number).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise SourceError(f"{self._name}: is damaged ({error}); begin with another --output") from error
        return [Planned(**row) for row in rows]


def _same(store: Store, known: dict[str, Any], asked: dict[str, Any]) -> PlanSize:
    """The size of a plan, if it was made for the same."""
    if known.get("format") != FORMAT:
        raise OptionError(f"{store.name}: begun by another maskwatch version; choose another --output")
    differing = sorted(key for key, value in asked.items() if known.get(key) != value)
    if differing:
        raise OptionError(
            f"{store.name}: begun with another {', '.join(differing).replace('_', ' ')}; run the command "
            "as before, or choose another --output"
        )
    return PlanSize(known["pictures"], known["parts"])


def _write(store: Store, items: Iterable[Item], part_size: int) -> PlanSize:
    buffer = io.BytesIO()
    pictures = parts = 0
    used: set[str] = set()
    with pq.ParquetWriter(buffer, _SCHEMA, compression="zstd") as writer:
        for group in _grouped(items, part_size):
            rows = [
                {
                    "index": pictures + offset,
                    "path": item.path,
                    "row": item.row,
                    "copy": _copy_name(item.relative, used),
                }
                for offset, item in enumerate(group)
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), row_group_size=part_size)
            pictures, parts = pictures + len(group), parts + 1
    if pictures:
        store.write(PLAN, buffer.getvalue())
    return PlanSize(pictures, parts)


def _grouped(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while group := list(itertools.islice(iterator, size)):
        yield group


def _copy_name(relative: str, used: set[str]) -> str:
    """A name below `copies/` that no other picture has, on file systems that ignore case too."""
    parts = [part for part in PurePosixPath(relative).parts if part not in ("..", "/")]
    path = PurePosixPath(*map(portable_name, parts))
    suffix = path.suffix if path.suffix.lower() in _WRITABLE else ".jpg"
    stem = path.with_suffix("").name or "image"
    name, number = str(path.with_name(stem + suffix)), 1
    while name_key(name) in used:
        number += 1
        name = str(path.with_name(f"{stem}-{number}{suffix}"))
    used.add(name_key(name))
    return name
