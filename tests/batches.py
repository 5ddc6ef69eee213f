"""Pictures for batches, and what batches wrote."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import pyarrow.parquet as pq

from maskwatch.batch import BatchOptions
from maskwatch.batch.job import Workers
from maskwatch.frames import Image

OPTIONS = BatchOptions(max_side=320, part_size=4)
LOCAL = Workers(count=1, local=True)


def make_pictures(folder: Path, astronaut: Image, masked: Image, count: int) -> Path:
    """`count` pictures of one face each, in turn bare and masked, and two files that are no pictures."""
    (folder / "sub").mkdir(parents=True)
    for number in range(count):
        image = (astronaut, masked)[number % 2][: 320 + 8 * number]
        name = f"bare_{number}.jpg" if number % 2 == 0 else f"sub/masked_{number}.png"
        cv2.imwrite(str(folder / name), cv2.resize(image, None, fx=0.7, fy=0.7)[..., ::-1])
    (folder / "broken_1.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / "broken_2.png").touch()
    return folder


def images(out: Path) -> list[dict]:
    """Rows of pictures, in order."""
    return _rows(out / "images")


def faces(out: Path) -> list[dict]:
    """Rows of faces, in order."""
    return _rows(out / "faces")


def _rows(folder: Path) -> list[dict]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def digests(out: Path) -> dict[str, str]:
    """Every file of a result and its digest."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }
