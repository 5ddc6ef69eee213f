"""Annotated (or anonymised) copies of pictures, and face crops, as files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from maskwatch.annotate import annotate, blur_faces
from maskwatch.codec import encode_image, read_picture
from maskwatch.detections import Detections
from maskwatch.files import name_key, portable_name, write_whole
from maskwatch.frames import Image, ImageFile

_WRITABLE = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


class AnnotatedImages:
    """Writes annotated copies below one folder, and never over a file that is an input.

    Safe to call from several threads: the names of all outputs are settled at the start.
    """

    def __init__(
        self,
        folder: Path,
        files: Iterable[ImageFile],
        *,
        annotated: bool = True,
        blur: bool = False,
        crops: bool = False,
    ) -> None:
        """Write below `folder`; `crops` adds one file a face in `crops/<verdict>/`."""
        self._folder = folder
        self._annotated = annotated
        self._blur = blur
        self._crops = crops
        self._targets = _settle_targets(folder, list(files))

    def target(self, file: ImageFile) -> Path:
        """Where the copy of `file` goes."""
        return self._targets[file.path]

    def write(self, file: ImageFile, detections: Detections) -> None:
        """Annotate and write one picture.

        Raises:
            ImageError: the picture cannot be read.
            SourceError: a file cannot be written.
        """
        if not (self._annotated or self._blur or self._crops):
            return
        image = read_picture(file.path).image
        target = self.target(file)
        if self._crops:
            self._write_crops(image, detections, target)
        if self._blur:
            image = blur_faces(image, detections)
        if self._annotated:
            image = annotate(image, detections)
        if self._annotated or self._blur:
            write_whole(target, encode_image(image, target.suffix))

    def _write_crops(self, image: Image, detections: Detections, target: Path) -> None:
        """One file a face, with a margin, named after the picture."""
        relative = target.relative_to(self._folder)
        name = "_".join(relative.with_suffix("").parts)
        for row, (face, verdict) in enumerate(zip(detections, detections.verdict_names, strict=True)):
            margin = 0.15 * float(face.size[0])
            x1, y1, x2, y2 = face.xyxy[0]
            left, top = max(0, int(x1 - margin)), max(0, int(y1 - margin))
            crop = image[top : int(y2 + margin) + 1, left : int(x2 + margin) + 1]
            if 0 in crop.shape:
                continue  # the picture has changed since it was looked at
            path = self._folder / "crops" / verdict / f"{name}_{row}.jpg"
            write_whole(path, encode_image(crop, ".jpg"))


def _settle_targets(folder: Path, files: list[ImageFile]) -> dict[Path, Path]:
    """A distinct target for every file, none of them an input."""
    inputs = {os.path.realpath(file.path) for file in files}
    used: set[str] = set()
    targets = {}
    for file in files:
        kept = [part for part in file.relative.parts if part not in ("..", os.sep, file.relative.anchor)]
        relative = Path(*map(portable_name, kept))
        suffix = relative.suffix if relative.suffix.lower() in _WRITABLE else ".jpg"
        stem = relative.with_suffix("").name or "image"
        target = folder / relative.with_name(stem + suffix)
        number = 1
        while os.path.realpath(target) in inputs or name_key(str(target)) in used:
            number += 1
            ending = "-annotated" if number == 2 else f"-annotated-{number - 1}"
            target = folder / relative.with_name(stem + ending + suffix)
        used.add(name_key(str(target)))
        targets[file.path] = target
    return targets
