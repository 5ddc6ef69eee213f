"""`Detections`: the one value that flows from the detector to every sink."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maskwatch import boxes
from maskwatch.errors import MissingExtraError, OptionError
from maskwatch.labels import LABELS, UNCERTAIN, VERDICTS

if TYPE_CHECKING:
    import pandas as pd
    import supervision

_CORNERS = ("x1", "y1", "x2", "y2")
_MOST_ROWS = 50
"""Rows that a notebook shows of one picture."""
_SHAPES: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
    "xyxy": ((4,), np.float32),
    "score": ((), np.float32),
    "label": ((), np.int8),
    "label_scores": ((len(LABELS),), np.float32),
    "verdict": ((), np.int8),
    "track_id": ((), np.int64),
}


@dataclass(frozen=True, eq=False)
class Detections:
    """Faces found in one picture, as parallel read-only arrays of n rows.

    Attributes:
        xyxy: (n, 4) float32, boxes in pixels of the source picture, end exclusive.
        score: (n,) float32 in 0..1, how sure the detector is of the face and its label.
        label: (n,) int8, index into `maskwatch.LABELS`.
        label_scores: (n, 3) float32 in 0..1, one score for each label.
        verdict: (n,) int8, index into `maskwatch.VERDICTS`: the label, or `uncertain`.
        track_id: (n,) int64, −1 where nothing tracks the face.

    Select rows by indexing with a boolean array, an index array or a slice; change a column with
    `dataclasses.replace`. Left out, `label_scores` hold the score at the label, `verdict` is the
    label and `track_id` is −1.

    Raises:
        OptionError: the arrays' shapes do not fit together, or a label is none of the three.

    Examples:
        >>> from maskwatch import Detections
        >>> faces = Detections(xyxy=[[0, 0, 10, 20], [30, 0, 40, 20]], score=[0.9, 0.8], label=[0, 1])
        >>> faces.verdict_names
        ['with_mask', 'without_mask']
        >>> bare = faces[faces.label == 1]
        >>> bare.to_dicts()[0]["box"]
        {'x1': 30.0, 'y1': 0.0, 'x2': 40.0, 'y2': 20.0}
    """

    xyxy: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    label: npt.NDArray[np.int8]
    label_scores: npt.NDArray[np.float32] = None  # type: ignore[assignment]
    verdict: npt.NDArray[np.int8] = None  # type: ignore[assignment]
    track_id: npt.NDArray[np.int64] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        count = len(self.xyxy)
        label = np.asarray(self.label, dtype=np.int8)
        if label.size and not (label.min() >= 0 and label.max() < len(LABELS)):
            raise OptionError(f"Detections.label must be 0 to {len(LABELS) - 1}, not {label}")
        if self.label_scores is None:
            spread = np.zeros((count, len(LABELS)), dtype=np.float32)
            spread[np.arange(count), label] = self.score
            object.__setattr__(self, "label_scores", spread)
        if self.verdict is None:
            object.__setattr__(self, "verdict", label)
        if self.track_id is None:
            object.__setattr__(self, "track_id", np.full(count, -1, dtype=np.int64))
        for name, (row_shape, dtype) in _SHAPES.items():
            given = getattr(self, name)
            array = np.array(given, dtype=dtype)
            if array.shape != (count, *row_shape):
                wanted = "×".join(map(str, (count, *row_shape)))
                raise OptionError(
                    f"Detections.{name} has shape {np.shape(given)}, but {count} boxes need {wanted}"
                )
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @classmethod
    def empty(cls) -> Detections:
        """No faces: every array has 0 rows."""
        return cls(xyxy=np.zeros((0, 4)), score=np.zeros(0), label=np.zeros(0))  # type: ignore[arg-type]

    @classmethod
    def concatenate(cls, parts: Sequence[Detections]) -> Detections:
        """All rows of `parts`, in order."""
        if not parts:
            return cls.empty()
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in _SHAPES})

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, rows: slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Detections:
        """The chosen rows as a new value: by slice, boolean array (n,) or index array."""
        if isinstance(rows, int | np.integer):
            rows = np.array([rows])
        return Detections(**{name: getattr(self, name)[rows] for name in _SHAPES})

    def __iter__(self) -> Iterator[Detections]:
        """One value of a single row for each face."""
        return (self[row : row + 1] for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Detections):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def size(self) -> npt.NDArray[np.float32]:
        """(n,) face sizes in px: the side of the square with the box's area."""
        return boxes.size(self.xyxy)

    @property
    def label_names(self) -> list[str]:
        """The n labels as words."""
        return [LABELS[index] for index in self.label]

    @property
    def verdict_names(self) -> list[str]:
        """The n verdicts as words."""
        return [VERDICTS[index] for index in self.verdict]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain dicts, ready for JSON, one a face."""
        rows = zip(self.xyxy, self.score, self.label_scores, self.track_id, strict=True)
        return [
            {
                "box": {name: round(float(value), 2) for name, value in zip(_CORNERS, xyxy, strict=True)},
                "label": label,
                "verdict": verdict,
                "score": round(float(score), 4),
                "label_scores": {
                    name: round(float(value), 4) for name, value in zip(LABELS, label_scores, strict=True)
                },
                **({"track_id": int(track_id)} if track_id >= 0 else {}),
            }
            for (xyxy, score, label_scores, track_id), label, verdict in zip(
                rows, self.label_names, self.verdict_names, strict=True
            )
        ]

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """COCO results of the picture `image_id`: categories 1 to 3 in the order of `LABELS`."""
        return [
            {
                "image_id": image_id,
                "category_id": int(label) + 1,
                "bbox": [round(float(value), 3) for value in xywh],
                "score": float(score),
            }
            for xywh, label, score in zip(boxes.to_xywh(self.xyxy), self.label, self.score, strict=True)
        ]

    def to_yolo(self, size_wh: tuple[int, int], *, with_score: bool = False) -> str:
        """YOLO text of a picture of `size_wh` pixels: `label cx cy w h` as shares of its sides.

        `with_score` adds the score as a sixth column. An empty string where there is no face.
        """
        lines = []
        for xywh, label, score in zip(boxes.to_xywh(self.xyxy), self.label, self.score, strict=True):
            left, top, width, height = xywh / np.array([*size_wh, *size_wh], dtype=np.float32)
            numbers = [left + width / 2, top + height / 2, width, height]
            if with_score:
                numbers.append(score)
            lines.append(" ".join([str(label), *(f"{number:.6f}" for number in numbers)]) + "\n")
        return "".join(lines)

    def to_supervision(self) -> supervision.Detections:
        """The same faces as a `supervision.Detections`, verdicts under `data["verdict"]`.

        Raises:
            MissingExtraError: the package `supervision` is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise MissingExtraError(
                "Detections.to_supervision() needs supervision: pip install supervision"
            ) from error
        return supervision.Detections(
            xyxy=self.xyxy.copy(),
            confidence=self.score.copy(),
            class_id=self.label.astype(int),
            tracker_id=self.track_id.copy() if (self.track_id >= 0).all() and len(self) else None,
            data={
                "class_name": np.array(self.label_names, dtype=str),
                "verdict": np.array(self.verdict_names, dtype=str),
            },
        )

    def to_pandas(self) -> pd.DataFrame:
        """One row a face: x1, y1, x2, y2, label, verdict, score, a column a label score, and track_id.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("Detections.to_pandas() needs pandas: pip install pandas") from error
        columns: dict[str, Any] = dict(zip(_CORNERS, self.xyxy.T, strict=True))
        columns |= {"label": self.label_names, "verdict": self.verdict_names, "score": self.score}
        columns |= dict(zip(LABELS, self.label_scores.T, strict=True))
        return pd.DataFrame({**columns, "track_id": self.track_id})

    def _repr_html_(self) -> str:
        """A table of the faces for notebooks; `maskwatch.show` draws them on their picture."""
        rows = "".join(
            f"<tr><td>{number}</td><td>{verdict}</td><td>{score:.2f}</td>"
            f"<td>{', '.join(f'{value:.0f}' for value in xyxy)}</td></tr>"
            for number, (verdict, score, xyxy) in enumerate(
                zip(self.verdict_names[:_MOST_ROWS], self.score, self.xyxy, strict=False)
            )
        )
        left = len(self) - _MOST_ROWS
        more = f'<tr><td colspan="4">… and {left} more</td></tr>' if left > 0 else ""
        head = "<tr><th></th><th>verdict</th><th>score</th><th>x1, y1, x2, y2</th></tr>"
        return f"<table>{head}{rows}{more}</table>"

    @property
    def is_uncertain(self) -> npt.NDArray[np.bool_]:
        """(n,) true where the verdict is `uncertain`."""
        return np.asarray(self.verdict == UNCERTAIN)
