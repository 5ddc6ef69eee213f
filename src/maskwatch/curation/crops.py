"""Class folders from whole pictures: crops of labelled or found faces, and masks drawn on bare ones."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from maskwatch.classifier import crop
from maskwatch.classifier_card import DEFAULT_MARGIN
from maskwatch.codec import ImageSource, encode_image, read_picture
from maskwatch.datasets import LabelledImage
from maskwatch.detections import Detections
from maskwatch.errors import ImageError
from maskwatch.files import name_key, portable_name, write_whole
from maskwatch.frames import Image, ImageFile
from maskwatch.labels import LABELS, WITHOUT_MASK
from maskwatch.synthesis import LABEL_OF_WEAR, MASK_KINDS, canonical_landmarks, draw_mask

Said = Callable[[int, int], None]


class Detects(Protocol):
    """What finds faces."""

    def detect(self, image: ImageSource, /) -> Detections:
        """Faces of one picture."""
        ...


class ClassWriter:
    """Writes crops into a folder a class and counts them.

    Raises:
        SourceError: a file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts: Counter[str] = Counter()

    def write(self, image: Image, class_name: str, name: str) -> None:
        """Write one crop as JPEG."""
        target = self.folder / portable_name(class_name) / f"{name}.jpg"
        write_whole(target, encode_image(image, ".jpg"))
        self.counts[class_name] += 1


def crops_of_labels(
    images: Sequence[LabelledImage],
    writer: ClassWriter,
    *,
    margin: float,
    least_px: float,
    report: Said = lambda done, total: None,
) -> None:
    """One crop for each labelled face of at least `least_px`, under its true label."""
    for done, labelled in enumerate(images, 1):
        keep = ~labelled.ignore & (labelled.faces.size >= least_px)
        if keep.any():
            picture = read_picture(labelled.path).image
            for row in np.flatnonzero(keep):
                name = f"{labelled.path.stem}_{row}"
                part = crop(picture, labelled.faces.xyxy[row], margin)
                writer.write(part, LABELS[labelled.faces.label[row]], name)
        report(done, len(images))


def crops_of_found(
    files: Sequence[ImageFile],
    detector: Detects,
    writer: ClassWriter,
    *,
    margin: float,
    least_px: float,
    report: Said = lambda done, total: None,
) -> list[str]:
    """One crop for each face found, under its verdict, to be sorted by hand; what could not be read."""
    failed: list[str] = []
    for _, name, picture, found in _looks(files, detector, failed, report):
        for row in np.flatnonzero(found.size >= least_px):
            part = crop(picture, found.xyxy[row], margin)
            writer.write(part, found.verdict_names[row], f"{name}_{row}")
    return failed


def synthesize(
    files: Sequence[ImageFile],
    detector: Detects,
    writer: ClassWriter,
    *,
    margin: float = DEFAULT_MARGIN,
    least_px: float = 48,
    incorrect: bool = False,
    seed: int = 42,
    report: Said = lambda done, total: None,
) -> list[str]:
    """For each bare face a crop as it is, and one with a mask drawn on; what could not be read.

    `incorrect` adds a third class with masks under the nose and on the chin. Landmarks are those of
    an upright face that fills its box, so turned heads get masks that sit badly.
    """
    failed: list[str] = []
    for number, name, picture, found in _looks(files, detector, failed, report):
        bare = (found.label == WITHOUT_MASK) & (found.size >= least_px)
        for row in np.flatnonzero(bare):
            rng = np.random.default_rng((seed, number, int(row)))
            worn = _worn(picture, found.xyxy[row], rng, incorrect=incorrect)
            for label, drawn in [(WITHOUT_MASK, picture), *worn]:
                writer.write(crop(drawn, found.xyxy[row], margin), LABELS[label], f"{name}_{row}")
    return failed


def _looks(
    files: Sequence[ImageFile], detector: Detects, failed: list[str], report: Said
) -> Iterator[tuple[int, str, Image, Detections]]:
    """Number from 1, name, picture and faces of each file; what could not be read is added to `failed`."""
    for number, (file, name) in enumerate(zip(files, _names(files), strict=True), 1):
        try:
            picture = read_picture(file.path).image
            found = detector.detect(picture)
        except ImageError as error:
            failed.append(str(error))
            continue
        finally:
            report(number, len(files))
        yield number, name, picture, found


def _worn(
    picture: Image, xyxy: npt.NDArray[np.float32], rng: np.random.Generator, *, incorrect: bool
) -> list[tuple[int, Image]]:
    landmarks = canonical_landmarks(xyxy)
    wears: list[Any] = ["over_nose"]
    if incorrect:
        wears.append(("under_nose", "on_chin")[int(rng.integers(2))])
    drawn = []
    for wear in wears:
        kind = MASK_KINDS[int(rng.integers(len(MASK_KINDS)))]
        drawn.append((LABEL_OF_WEAR[wear], draw_mask(picture, landmarks, kind=kind, wear=wear, rng=rng)))
    return drawn


def _names(files: Sequence[ImageFile]) -> list[str]:
    """A distinct name for each file, made of its place."""
    names, used = [], set()
    for file in files:
        parts = [part for part in file.relative.with_suffix("").parts if part not in ("..", os.sep)]
        stem = name = portable_name("_".join(parts)) or "image"
        number = 1
        while name_key(name) in used:
            number += 1
            name = f"{stem}-{number}"
        used.add(name_key(name))
        names.append(name)
    return names
