"""What was found in a part, as two Parquet tables: a row a picture, and a row a face."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from maskwatch.detections import Detections
from maskwatch.labels import LABELS, VERDICTS
from maskwatch.summary import Summary

IMAGES = pa.schema(
    [
        ("index", pa.int64()),
        ("path", pa.string()),
        ("bytes", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("faces", pa.int32()),
        *((name, pa.int32()) for name in VERDICTS),
        ("error", pa.string()),
    ]
)
"""Null where a picture could not be read: bytes, width, height and all counts; else null: error."""

FACES = pa.schema(
    [
        ("index", pa.int64()),
        ("path", pa.string()),
        ("face", pa.int32()),
        *((name, pa.float32()) for name in ("x1", "y1", "x2", "y2")),
        ("label", pa.string()),
        ("verdict", pa.string()),
        ("score", pa.float32()),
        *((f"{name}_score", pa.float32()) for name in LABELS),
    ]
)
"""Boxes in px of the upright picture, end exclusive; `index` and `path` as in the picture's row."""


@dataclass(frozen=True)
class PictureRow:
    """What became of one picture.

    Attributes:
        index: its place in the batch.
        path: file or address, or its name in a Parquet file.
        size_bytes: of the file, None where it could not be read.
        size_wh: width and height in px, None where it could not be decoded.
        detections: its faces.
        error: one sentence, "" if all went well.
    """

    index: int
    path: str
    size_bytes: int | None = None
    size_wh: tuple[int, int] | None = None
    detections: Detections | None = None
    error: str = ""


def summary_of(rows: Sequence[PictureRow]) -> Summary:
    """Counts of a part."""
    summary = Summary()
    for row in rows:
        summary = summary.add_failure() if row.detections is None else summary.add(row.detections)
    return summary


def images_file(rows: Sequence[PictureRow]) -> bytes:
    """The bytes of `images/part-….parquet`; the same rows give the same bytes."""
    return _file([_image(row) for row in rows], IMAGES)


def faces_file(rows: Sequence[PictureRow]) -> bytes:
    """The bytes of `faces/part-….parquet`."""
    return _file([face for row in rows for face in _faces(row)], FACES)


def _image(row: PictureRow) -> dict[str, Any]:
    values: dict[str, Any] = {"index": row.index, "path": row.path, "bytes": row.size_bytes}
    if row.size_wh is not None:
        values["width"], values["height"] = row.size_wh
    if row.detections is not None:
        values["faces"] = len(row.detections)
        counts = Summary().add(row.detections).counts
        values.update({name: counts[name] for name in VERDICTS})
    values["error"] = row.error or None
    return values


def _faces(row: PictureRow) -> list[dict[str, Any]]:
    found = row.detections
    if found is None:
        return []
    words = zip(found.label_names, found.verdict_names, strict=True)
    return [
        {
            "index": row.index,
            "path": row.path,
            "face": number,
            **dict(zip(("x1", "y1", "x2", "y2"), found.xyxy[number].tolist(), strict=True)),
            "label": label,
            "verdict": verdict,
            "score": float(found.score[number]),
            **{
                f"{name}_score": score
                for name, score in zip(LABELS, found.label_scores[number].tolist(), strict=True)
            },
        }
        for number, (label, verdict) in enumerate(words)
    ]


def _file(rows: list[dict[str, Any]], schema: pa.Schema) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer, compression="zstd")
    return buffer.getvalue()
