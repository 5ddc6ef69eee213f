"""Labelled pictures on disk: COCO files in, `LabelledImage` out. Foreign label names end here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwatch import boxes
from maskwatch.detections import Detections
from maskwatch.errors import DatasetError
from maskwatch.files import LARGEST_TEXT_BYTES, is_folder, read_json
from maskwatch.labels import LABELS, MASK_WORN_INCORRECTLY, WITH_MASK, WITHOUT_MASK
from maskwatch.picture_header import LARGEST_SIDE
from maskwatch.suggest import did_you_mean

LABEL_ALIASES: dict[str, int] = {
    "with_mask": WITH_MASK,
    "mask": WITH_MASK,
    "masked": WITH_MASK,
    "face_mask": WITH_MASK,
    "facemask": WITH_MASK,
    "mask_worn_correctly": WITH_MASK,
    "correct_mask": WITH_MASK,
    "correctly_masked_face": WITH_MASK,
    "without_mask": WITHOUT_MASK,
    "no_mask": WITHOUT_MASK,
    "nomask": WITHOUT_MASK,
    "unmasked": WITHOUT_MASK,
    "face": WITHOUT_MASK,
    "face_nomask": WITHOUT_MASK,
    "mask_worn_incorrectly": MASK_WORN_INCORRECTLY,
    "mask_weared_incorrect": MASK_WORN_INCORRECTLY,
    "incorrect_mask": MASK_WORN_INCORRECTLY,
    "incorrectly_masked_face": MASK_WORN_INCORRECTLY,
    "incorrect": MASK_WORN_INCORRECTLY,
}
"""Names under which other data sets keep our three labels, in lower case with `_` for spaces."""


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One picture with its true faces.

    Attributes:
        path: the picture's file.
        size_wh: width and height in px as the annotation file states them.
        faces: the true boxes and labels, each with score 1.
        ignore: (n,) bool; such a face neither rewards nor punishes a detector.
        set_name: the data set it came from, or "".
    """

    path: Path
    size_wh: tuple[int, int]
    faces: Detections
    ignore: npt.NDArray[np.bool_]
    set_name: str = ""


def label_index(name: str) -> int | None:
    """The label that `name` is an alias of, or None: upper case, spaces and hyphens don't matter."""
    return LABEL_ALIASES.get(name.strip().lower().replace(" ", "_").replace("-", "_"))


def annotation_file(path: Path) -> Path:
    """`path` itself, or its `annotations.json` where it is a folder.

    Raises:
        DatasetError: there is no such file.
    """
    file = path / "annotations.json" if is_folder(path) else path
    if not os.path.isfile(file):  # noqa: PTH113 — pathlib raises for names that no file can have
        raise DatasetError(f"{file}: no such file; pass a COCO json or a folder with annotations.json")
    return file


def read_coco(path: Path, *, smallest_px: float = 8.0) -> list[LabelledImage]:
    """Read a COCO json, or a folder with `annotations.json` and `images/`.

    Extra keys understood: `images[].set` (origin) and `annotations[].ignore`. A face smaller than
    `smallest_px` (side of the square with its area), or one marked `iscrowd`, is ignored too.

    Raises:
        DatasetError: the file is no COCO json, or names a label that is no alias of ours.
    """
    file = annotation_file(path)
    try:
        content = read_json(file, LARGEST_TEXT_BYTES)
        categories = {entry["id"]: entry["name"] for entry in content["categories"]}
        by_image: dict[int, list[dict[str, Any]]] = {entry["id"]: [] for entry in content["images"]}
        if len(by_image) < len(content["images"]):
            raise ValueError("two images share an id")  # noqa: TRY301 — gets the file's name below
        for annotation in content["annotations"]:
            by_image[annotation["image_id"]].append(annotation)
        to_label = _labels_of_categories(file, categories)
        return [
            _labelled_image(file, entry, by_image[entry["id"]], to_label, smallest_px)
            for entry in content["images"]
        ]
    except DatasetError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        what = f"{type(error).__name__}: {error}"
        raise DatasetError(f"{file}: no COCO annotation file ({what}); check how it was written") from error


def of_sets(images: Sequence[LabelledImage], names: str | None, source: str) -> list[LabelledImage]:
    """The pictures whose set is one of `names`, parted by commas; all of them for None.

    Raises:
        DatasetError: `images`, from `source`, hold no such set.
    """
    if names is None:
        return list(images)
    wanted = {name.strip() for name in names.split(",")}
    known = {image.set_name for image in images}
    if not wanted <= known:
        raise DatasetError(
            f"{source}: no set {', '.join(sorted(wanted - known))}; it has {', '.join(sorted(known))}"
            f"{did_you_mean(min(wanted - known), known)}"
        )
    return [image for image in images if image.set_name in wanted]


def _labels_of_categories(file: Path, categories: dict[int, str]) -> dict[int, int]:
    labels = {key: label_index(name) for key, name in categories.items()}
    unknown = sorted(categories[key] for key, label in labels.items() if label is None)
    if unknown:
        raise DatasetError(
            f"{file}: unknown categories {', '.join(unknown)}; rename them to {', '.join(LABELS)}"
        )
    return {key: label for key, label in labels.items() if label is not None}


def _labelled_image(
    file: Path,
    entry: dict[str, Any],
    annotations: Sequence[dict[str, Any]],
    to_label: dict[int, int],
    smallest_px: float,
) -> LabelledImage:
    xywh = checked_boxes([row["bbox"] for row in annotations])
    faces = Detections(
        xyxy=boxes.from_xywh(xywh),
        score=np.ones(len(xywh), dtype=np.float32),
        label=np.array([to_label[row["category_id"]] for row in annotations], dtype=np.int8),
    )
    marked = [bool(row.get("ignore", 0) or row.get("iscrowd", 0)) for row in annotations]
    width, height = int(entry["width"]), int(entry["height"])
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise ValueError(f"a picture of {width}×{height} px")
    return LabelledImage(
        path=_picture_of(file, str(entry["file_name"])),
        size_wh=(width, height),
        faces=faces,
        ignore=np.array(marked, dtype=bool) | (faces.size < smallest_px),
        set_name=str(entry.get("set") or ""),
    )


def checked_boxes(rows: Sequence[Sequence[float]]) -> npt.NDArray[np.float32]:
    """The boxes of an annotation file, (N, 4), if they are places in a picture.

    Raises:
        ValueError: a box has not four numbers, or one that is none or far beyond any picture.
    """
    values = np.array(rows, dtype=np.float64).reshape(len(rows), 4)
    if not (np.abs(values) <= 8 * LARGEST_SIDE).all():  # false for NaN as well
        raise ValueError("a box that lies nowhere (not a number, or far outside)")
    return values.astype(np.float32)


def _picture_of(file: Path, name: str) -> Path:
    """Where an annotation file's picture lies; names that lead out of its folder are not followed.

    Raises:
        ValueError: such a name.
    """
    in_images = file.parent / "images" / name
    path = in_images if is_folder(in_images.parent) else file.parent / name
    if os.path.isabs(name) or ".." in Path(name).parts:  # noqa: PTH117 — a text, perhaps of Windows
        raise ValueError(f"picture {name!r} lies outside the folder")
    return path
