"""Write labelled pictures as a COCO folder: `annotations.json` and `images/`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskwatch import boxes
from maskwatch.datasets import LabelledImage
from maskwatch.errors import DatasetError
from maskwatch.files import check_ordinary, name_key, portable_name, saving, write_whole
from maskwatch.labels import LABELS


@dataclass
class CocoFolder:
    """Collects pictures with their faces, then writes one COCO file.

    Raises:
        DatasetError: the folder holds annotations already, or cannot be written.
    """

    folder: Path
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if (self.folder / "annotations.json").exists():
            raise DatasetError(f"{self.folder}: holds annotations already; choose another --output")
        try:
            (self.folder / "images").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatasetError(f"{self.folder}: cannot be written ({error.strerror})") from error
        self._names: set[str] = set()

    def add(self, labelled: LabelledImage) -> None:
        """Copy one picture and note its faces."""
        name = self._free_name(labelled.path.name)
        try:
            check_ordinary(labelled.path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DatasetError(f"{labelled.path}: cannot be copied ({reason}); check it") from error
        with saving(self.folder / "images" / name) as partial:
            shutil.copyfile(labelled.path, partial)
        number = len(self.images) + 1
        width, height = labelled.size_wh
        entry = {"id": number, "file_name": name, "width": width, "height": height}
        self.images.append({**entry, "set": labelled.set_name} if labelled.set_name else entry)
        for xywh, label, ignore in zip(
            boxes.to_xywh(labelled.faces.xyxy), labelled.faces.label, labelled.ignore, strict=True
        ):
            box = [round(float(value), 2) for value in xywh]
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": number,
                    "category_id": int(label) + 1,
                    "bbox": box,
                    "area": round(box[2] * box[3], 2),
                    "iscrowd": 0,
                    **({"ignore": 1} if ignore else {}),
                }
            )

    def write(self) -> Path:
        """Write the annotations; the file."""
        categories = [{"id": number, "name": name} for number, name in enumerate(LABELS, 1)]
        content = {"images": self.images, "annotations": self.annotations, "categories": categories}
        target = self.folder / "annotations.json"
        write_whole(target, json.dumps(content), sync=True)
        return target

    def _free_name(self, name: str) -> str:
        """The name, with a number where another folder had a picture of the same name."""
        name = portable_name(name)
        stem, suffix = Path(name).stem, Path(name).suffix
        number = 1
        while name_key(name) in self._names:
            number += 1
            name = f"{stem}-{number}{suffix}"
        self._names.add(name_key(name))
        return name


def write_coco(images: Sequence[LabelledImage], folder: Path) -> Path:
    """Write all pictures at once."""
    target = CocoFolder(folder)
    for image in images:
        target.add(image)
    return target.write()
