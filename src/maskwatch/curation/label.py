"""Boxes for pictures that are only sorted into classes: the detector finds the face, the folder names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from maskwatch.class_folders import ClassFolders
from maskwatch.codec import read_picture
from maskwatch.curation.crops import Detects
from maskwatch.datasets import LabelledImage, label_index
from maskwatch.errors import DatasetError

CLEARLY_LARGER = 1.5
"""The face that a class folder is about is this many times as large as the next, in px a side."""


def label_class_folders(
    folders: ClassFolders,
    detector: Detects,
    *,
    set_name: str = "",
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[LabelledImage], list[Path]]:
    """Each picture with the box of its one face under the folder's label, and those without such a face.

    Smaller faces beside it are marked `ignore`, as the folder says nothing of them. A picture in
    which no face is clearly the largest is left out.

    Raises:
        DatasetError: a folder's name is no alias of our labels.
    """
    labels = [label_index(name) for name in folders.classes]
    unknown = [name for name, label in zip(folders.classes, labels, strict=True) if label is None]
    if unknown:
        raise DatasetError(f"{folders.root}: folder {unknown[0]!r} means nothing here; rename it to a label")
    labelled, without = [], []
    for done, picture in enumerate(folders.pictures, 1):
        decoded = read_picture(picture.path)
        found = detector.detect(decoded.image)
        order = np.argsort(-found.size)
        report(done, len(folders.pictures))
        if not len(order) or (
            len(order) > 1 and found.size[order[0]] < CLEARLY_LARGER * found.size[order[1]]
        ):
            without.append(picture.path)
            continue
        faces = found[order]
        label = faces.label.copy()
        label[0] = labels[picture.class_index]
        labelled.append(
            LabelledImage(
                path=picture.path,
                size_wh=decoded.size_wh,
                faces=type(faces)(xyxy=faces.xyxy, score=np.ones(len(faces), np.float32), label=label),
                ignore=np.arange(len(faces)) > 0,
                set_name=set_name,
            )
        )
    return labelled, without
