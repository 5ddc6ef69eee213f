"""One part of a batch: read, look, write, commit. The same code in every worker, wherever it runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from maskwatch.addresses import redact
from maskwatch.batch.inputs import NAME_COLUMNS, image_column
from maskwatch.batch.look import CarefulLooker, Encoded, Looker
from maskwatch.batch.options import Job
from maskwatch.batch.plan import FOLDER, Plan, Planned
from maskwatch.batch.rows import PictureRow, faces_file, images_file, summary_of
from maskwatch.batch.store import FileSystems, Store, is_url
from maskwatch.errors import SourceError
from maskwatch.pipeline.threads import ordered_map
from maskwatch.summary import Summary

ROWS_AT_ONCE = 64
READERS_LOCAL, READERS_REMOTE = 1, 16
CAREFUL_FROM = 3
"""A part that was started so often and never finished may hold a picture that kills workers."""


@dataclass(frozen=True)
class Receipt:
    """A part that is done.

    Attributes:
        part: its number.
        summary: what was counted.
        images_sha256, faces_sha256: digests of its two files.
    """

    part: int
    summary: Summary
    images_sha256: str
    faces_sha256: str

    def to_json(self) -> bytes:
        """As it is stored."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> Receipt:
        """Read what `to_json` wrote."""
        values = json.loads(data)
        return cls(**{**values, "summary": Summary(**values["summary"])})


def read_receipt(store: Store, part: int) -> Receipt | None:
    """The receipt of a part, or None if it is not done."""
    data = store.read(f"{FOLDER}/parts/{part:05d}.json")
    return None if data is None else Receipt.from_json(data)


class PartWorker:
    """Holds a loaded detector and does parts.

    Raises:
        ModelError: the model is missing here, or is another than the job began with.
        SourceError: the plan cannot be seen from here.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._store = Store(job.output)
        self._systems = FileSystems([*job.inputs, job.output])
        self._plan = Plan(self._store)
        self._looker = Looker(job)

    def __call__(self, part: int) -> Receipt:
        """Do one part, unless it is done.

        The files come first and the receipt last: without it the part counts as not done, and is done
        again. Two workers at the same part write the same bytes.

        Raises:
            SourceError: a store does not answer, or takes nothing.
        """
        done = read_receipt(self._store, part)
        if done is not None:
            return done
        tries = f"{FOLDER}/tries/{part:05d}"
        started = int(self._store.read(tries) or b"0") + 1
        self._store.write(tries, str(started).encode())
        if started >= CAREFUL_FROM:
            careful = CarefulLooker(self._job)
            try:
                rows = self._rows(part, careful.look)
            finally:
                careful.close()
        else:
            rows = self._rows(part, self._looker.look)
        images, faces = images_file(rows), faces_file(rows)
        digests = [hashlib.sha256(data).hexdigest() for data in (images, faces)]
        receipt = Receipt(part, summary_of(rows), *digests)
        self._store.write(f"images/part-{part:05d}.parquet", images)
        self._store.write(f"faces/part-{part:05d}.parquet", faces)
        self._store.write(f"{FOLDER}/parts/{part:05d}.json", receipt.to_json())
        self._store.remove(tries)
        return receipt

    def _rows(self, part: int, look: Callable[[Encoded], PictureRow]) -> list[PictureRow]:
        rows = []
        planned = self._plan.part(part)
        for one, encoded in self._encoded(planned):
            row = look(encoded)
            rows.append(row)
            if self._job.options.copies:
                copy = self._looker.copy(encoded, row, PurePosixPath(one.copy).suffix)
                if copy is not None:
                    self._store.write(f"copies/{one.copy}", copy)
        return rows

    def _encoded(self, planned: list[Planned]) -> Iterator[tuple[Planned, Encoded]]:
        """The bytes of pictures, read ahead."""
        files = [one for one in planned if one.row < 0]
        remote = any(is_url(one.path) for one in files)
        read = ordered_map(self._read_file, files, workers=READERS_REMOTE if remote else READERS_LOCAL)
        tables = self._read_rows([one for one in planned if one.row >= 0])
        for one in planned:
            yield one, next(read if one.row < 0 else tables)

    def _read_file(self, one: Planned) -> Encoded:
        try:
            return Encoded(one.index, one.path, self._systems.read(one.path))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            words = f"{one.path}: cannot be read ({reason}); check the path"
            return Encoded(one.index, one.path, b"", words)

    def _read_rows(self, planned: list[Planned]) -> Iterator[Encoded]:
        """The pictures of Parquet rows, of which neighbours in a file are neighbours here."""
        start = 0
        while start < len(planned):
            stop = start
            while stop < len(planned) and planned[stop].path == planned[start].path:
                stop += 1
            yield from self._read_table(planned[start:stop])
            start = stop

    def _read_table(self, planned: list[Planned]) -> Iterator[Encoded]:
        name = planned[0].path
        system, path = self._systems.locate(name)
        try:
            with system.open_input_file(path) as file, pq.ParquetFile(file) as table:
                yield from _table_rows(table, planned)
        except (OSError, pa.ArrowException) as error:
            raise SourceError(
                f"{redact(name)}: cannot be read any more ({type(error).__name__}); it was when the job began"
            ) from error


def _table_rows(table: pq.ParquetFile, planned: list[Planned]) -> Iterator[Encoded]:
    """Rows planned[0].row to planned[-1].row, one batch of a row group in memory at a time."""
    wanted = {one.row: one for one in planned}
    least, most = planned[0].row, planned[-1].row
    column = image_column(table.schema_arrow, planned[0].path)
    names = [name for name in NAME_COLUMNS if name in table.schema_arrow.names][:1]
    at = 0
    for group in range(table.metadata.num_row_groups):
        count = table.metadata.row_group(group).num_rows
        if at + count <= least or at > most:
            at += count
            continue
        for batch in table.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=[column, *names]):
            rows = range(at, at + len(batch))
            at = rows.stop
            if rows.stop <= least or rows.start > most:
                continue
            for row, values in zip(rows, batch.to_pylist(), strict=True):
                if row in wanted:
                    yield _of_row(wanted[row], values[column], values[names[0]] if names else None)


def _of_row(one: Planned, value: bytes | dict[str, object] | None, name: object) -> Encoded:
    inner = value.get("path") if isinstance(value, dict) else None
    label = name if name is not None else inner
    path = f"{one.path}#{one.row}" if label is None else str(label)
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        return Encoded(one.index, path, b"", f"{path}: its row holds no picture")
    return Encoded(one.index, path, data)
